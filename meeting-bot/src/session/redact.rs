//! Takes out of a text what must not leave the bot: what is known of this call (its secret, the people, their messages, the
//! identity), and what looks like a secret, an address or somebody's name. Pure. Rather too much than too little: what is left is
//! for finding out why a page was not understood, and the page's own words are enough for that.

/// Shorter ones would take half of the page along.
const SHORTEST_SECRET: usize = 3;
const SHORTEST_NAME_PART: usize = 3;
const SHORTEST_MESSAGE: usize = 4;
/// Characters of letters and digits in one word from which on it is taken for a token.
const TOKEN_CHARACTERS: usize = 20;
/// Digits in a row from which on they are taken for a passcode, a telephone number or a meeting's id.
const NUMBER_DIGITS: usize = 6;

/// Words after which, with a colon or an equals sign, a secret stands.
const LABELS: &[&str] = &[
    "passcode",
    "password",
    "pwd",
    "pin",
    "token",
    "secret",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "session",
    "sid",
    "key",
    "apikey",
    "tk",
    "sig",
    "signature",
    "code",
    "conference id",
    "meeting id",
];
/// What stands beside names before anybody is known.
const ABOUT_PEOPLE: &[&str] = &[
    " is in this call",
    " are in this call",
    " is in this meeting",
    " are in this meeting",
    " is already in",
    " are already in",
    " has joined",
    " joined the",
    " has left",
    " left the",
    " is presenting",
    " invited you",
    "organized by",
    "organised by",
    "hosted by",
    "host:",
    "organizer:",
    "organiser:",
    "signed in as",
    "invited by",
];

/// What is known to be private.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    known: Vec<Known>,
}

#[derive(Clone)]
struct Known {
    needle: String,
    label: &'static str,
    is_word: bool,
}

impl Redactor {
    /// Secrets are taken out wherever they stand.
    #[must_use]
    pub(super) fn secrets(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        let known = secrets.into_iter().filter(|secret| secret.trim().chars().count() >= SHORTEST_SECRET);
        self.known.extend(known.map(|secret| Known { needle: lower(secret.trim()), label: "[secret]", is_word: false }));
        self
    }

    /// Names are taken out as words, whole and in parts.
    #[must_use]
    pub(super) fn names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        for name in names {
            let parts = name.split(|c: char| !c.is_alphanumeric()).filter(|part| part.chars().count() >= SHORTEST_NAME_PART);
            for needle in std::iter::once(name.trim()).chain(parts).filter(|needle| !needle.is_empty()) {
                self.known.push(Known { needle: lower(needle), label: "[name]", is_word: true });
            }
        }
        self
    }

    /// Messages are taken out line by line.
    #[must_use]
    pub(super) fn messages(mut self, messages: impl IntoIterator<Item = String>) -> Self {
        for message in messages {
            let lines = message.lines().map(str::trim).filter(|line| line.chars().count() >= SHORTEST_MESSAGE);
            self.known.extend(lines.map(|line| Known { needle: lower(line), label: "[message]", is_word: false }));
        }
        self
    }

    /// The text without any of it.
    pub(super) fn redact(&self, text: &str) -> String {
        let text = self.without_known(text);
        let lines = text.lines().map(|line| if is_about_people(line) { "[who is there]".to_owned() } else { plain(line) });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn without_known(&self, text: &str) -> String {
        let low = lower(text);
        // One character for one, so that places in the one are places in the other.
        let (original, places): (Vec<char>, Vec<usize>) =
            (text.chars().collect(), low.char_indices().map(|(at, _)| at).collect());
        let mut found: Vec<(usize, usize, &'static str)> = Vec::new();
        for known in &self.known {
            for (at, _) in low.match_indices(known.needle.as_str()) {
                let end = at + known.needle.len();
                if known.is_word && !stands_alone(&low, at, end) {
                    continue;
                }
                let index = |place: usize| places.binary_search(&place).unwrap_or_else(|next| next);
                found.push((index(at), index(end), known.label));
            }
        }
        found.sort_unstable_by_key(|(from, to, _)| (*from, std::cmp::Reverse(*to)));
        let (mut out, mut done) = (String::new(), 0);
        for (from, to, label) in found {
            if from >= done {
                out.extend(original.get(done..from).unwrap_or_default());
                out.push_str(label);
            }
            done = done.max(to);
        }
        out.extend(original.get(done..).unwrap_or_default());
        out
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} private texts)", self.known.len())
    }
}

fn lower(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// Latin letters and digits go on to either side in a longer word; scripts without spaces do not tell.
fn stands_alone(text: &str, from: usize, to: usize) -> bool {
    let goes_on = |a: Option<char>, b: Option<char>| {
        let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && c < '\u{500}');
        is_letter(a) && is_letter(b)
    };
    let (before, own, after) = (&text[..from], &text[from..to], &text[to..]);
    !goes_on(before.chars().next_back(), own.chars().next()) && !goes_on(own.chars().next_back(), after.chars().next())
}

fn is_about_people(line: &str) -> bool {
    let line = lower(line);
    let line = line.trim();
    // "You left the meeting" is about the bot.
    !line.starts_with("you ") && ABOUT_PEOPLE.iter().any(|phrase| line.contains(phrase))
}

/// A line without what looks private.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut follows_label = false;
    for word in line.split_inclusive(is_border) {
        let border = word.chars().next_back().filter(|c| is_border(*c));
        let word = border.map_or(word, |border| &word[..word.len() - border.len_utf8()]);
        let low = lower(word);
        let bare = low.trim_end_matches([':', '=']);
        if word.is_empty() || bare.is_empty() {
            follows_label |= !word.is_empty() && ends_with_label(&out);
            out.push_str(word);
        } else if follows_label {
            out.push_str("[secret]");
            follows_label = false;
        } else if let Some((name, _)) = low.split_once(['=', ':']).filter(|(name, value)| is_label(name) && !value.is_empty()) {
            out.push_str(&format!("{name}=[secret]"));
        } else {
            out.push_str(&looked_at(word, &low));
            follows_label = bare.len() < low.len() && (is_label(bare) || ends_with_label(&out));
        }
        out.extend(border);
    }
    without_numbers(&out)
}

fn is_border(c: char) -> bool {
    c.is_whitespace() || "\"'`<>(){}[],;|&?".contains(c)
}

fn is_label(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    LABELS.contains(&word) || LABELS.iter().any(|label| label.len() > 3 && word.ends_with(label))
}

/// The text so far ends with a label: of one word or two.
fn ends_with_label(text: &str) -> bool {
    let end = lower(text.trim_end_matches(|c: char| !c.is_alphanumeric()));
    LABELS.iter().any(|label| end.ends_with(label))
}

fn looked_at(word: &str, low: &str) -> String {
    if low.contains("://") || low.starts_with("www.") {
        return "[address]".to_owned();
    }
    if low.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.')) {
        return "[e-mail]".to_owned();
    }
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_.~+/=-:%".contains(c));
    let (digits, letters) = (word.chars().any(|c| c.is_ascii_digit()), word.chars().any(|c| c.is_ascii_alphabetic()));
    if is_plain && digits && letters && word.len() >= TOKEN_CHARACTERS { "[token]".to_owned() } else { word.to_owned() }
}

/// Runs of digits, also in groups of them ("123 456 789", "+1 555-0100").
fn without_numbers(line: &str) -> String {
    let characters: Vec<char> = line.chars().collect();
    let (mut out, mut at) = (String::new(), 0);
    while let Some(c) = characters.get(at) {
        if !c.is_ascii_digit() {
            out.push(*c);
            at += 1;
            continue;
        }
        let (mut end, mut digits) = (at, 0);
        while let Some(c) = characters.get(end) {
            let joins = |c: char| matches!(c, ' ' | '-' | '\u{a0}' | '\u{202f}');
            let goes_on = c.is_ascii_digit() || (joins(*c) && characters.get(end + 1).is_some_and(char::is_ascii_digit));
            if !goes_on {
                break;
            }
            digits += usize::from(c.is_ascii_digit());
            end += 1;
        }
        if digits >= NUMBER_DIGITS {
            out.push_str("[number]");
        } else {
            out.extend(characters.get(at..end).unwrap_or_default());
        }
        at = end.max(at + 1);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::default()
            .secrets(["Xy7".to_owned(), "abc-defg-hij".to_owned()])
            .names(["Zoë O'Neill".to_owned(), "李雷".to_owned(), "Jo".to_owned()])
            .messages(["the budget is 7 million\nplease keep it quiet".to_owned()])
    }

    #[test]
    fn nothing_private_is_left() {
        let page = "Meeting abc-defg-hij (ABC-DEFG-HIJ)\nZOË O'NEILL\nhello Zoë, O'Neill and 李雷的屏幕\nPasscode: 8x7Kq\nxY7\n\
                    Passcode\n{\"token\":\"s3cr\"} auth=zz9 https://zoom.us/j/1?pwd=SECRET\nmail zoe.oneill@example.org\nJo: hi\n\
                    eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc\nDial +1 555-010-0199 or 123 456 789#\nThe budget is 7 million!\nPlease keep it quiet\n\
                    Alice Smith and Bob are in this call\nSigned in as carol\nMeeting ID: 99 11";
        let left = redactor().redact(page);
        for canary in [
            "abc-defg", "ABC-D", "Zo", "ZO", "Neill", "NEILL", "李雷", "8x7Kq", "xY7", "s3cr", "zz9", "SECRET", "zoom.us",
            "oneill", "Jo:", "eyJ", "0199", "456", "million", "quiet", "Alice", "Bob", "carol", "99 11",
        ] {
            assert!(!left.contains(canary), "{canary} is left in:\n{left}");
        }
    }

    #[test]
    fn the_page_s_own_words_are_left() {
        let page = "You left the meeting\nAsk to join\nJoin now\nEnter the passcode to join this meeting\nYou can't join this video call\n\
                    Your meeting code has expired\nError 404 at 12:30\nWaiting for the host to join\nUncaught TypeError: x is null";
        assert_eq!(redactor().redact(page), page);
    }

    #[test]
    fn a_name_inside_another_word_is_left_and_any_text_is_survived() {
        assert_eq!(redactor().redact("Join Jo"), "Join [name]");
        for odd in ["", "\n\n", "İstanbul ẞ ﬁ", "a=", "=:=", "token:", "\u{202f}1\u{202f}", "é\u{301}"] {
            let _ = redactor().redact(odd);
        }
        assert_eq!(format!("{:?}", Redactor::default().secrets(["CANARY".to_owned()])), "Redactor(1 private texts)");
    }
}
