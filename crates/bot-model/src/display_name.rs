//! The bot's name in a call: untrusted text that is typed into a web page and shown to people.

/// Longest name, in characters. The platforms' own limits are about the same.
pub const LONGEST: usize = 64;

/// `text` without control, bidirectional and invisible characters, white space as single spaces, at most [`LONGEST`] characters.
/// Empty where nothing is left.
pub fn display_name(text: &str) -> String {
    let hidden = |c: char| matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
    let shown: String = text
        .chars()
        .filter(|c| !hidden(*c) && (!c.is_control() || c.is_whitespace()))
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .take(LONGEST * 4)
        .collect();
    let words: Vec<&str> = shown.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_would_not_see_is_left_out() {
        for (text, name) in [
            ("Recorder Zo\u{eb}", "Recorder Zo\u{eb}"),
            (" Note\u{202e}\u{0}taker \u{7}", "Notetaker"),
            ("two\nlines\tand  spaces", "two lines and spaces"),
            ("\u{200b}\u{1b}\u{feff}", ""),
        ] {
            assert_eq!(display_name(text), name);
        }
        assert_eq!(display_name(&"n".repeat(10_000)).len(), LONGEST);
    }

    proptest! {
        #[test]
        fn every_name_is_short_printable_and_stays_as_it_is(text in any::<String>()) {
            let name = display_name(&text);
            prop_assert!(name.chars().count() <= LONGEST && !name.chars().any(char::is_control));
            prop_assert_eq!(display_name(&name), name.clone());
        }
    }
}
