//! Which names in a call are other bots': they do not count as people, or two notetakers would wait for each other for ever.

/// Longest list and longest pattern that are accepted.
const PATTERNS: usize = 200;
const CHARACTERS: usize = 100;

/// Names that notetakers and recorders give themselves, as seen in public. `*` stands for anything; case does not matter.
/// Only what no person is called: a pattern that fits a person would make the bot leave them.
pub const DEFAULT_PATTERNS: &[&str] = &[
    "*notetaker*",
    "*note taker*",
    "*note-taker*",
    "*notetaking*",
    "*ai notes*",
    "*meeting notes*",
    "*meeting bot*",
    "*recording bot*",
    "*meeting recorder*",
    "*meeting assistant*",
    "*otter.ai*",
    "*otterpilot*",
    "*fireflies.ai*",
    "*read.ai*",
    "*fathom.video*",
    "*tl;dv*",
    "*tldv*",
    "*avoma*",
    "*gong.io*",
    "*chorus.ai*",
    "*sembly*",
    "*meetgeek*",
    "*supernormal*",
    "*recall.ai*",
    "*circleback.ai*",
    "*fellow.app*",
    "*krisp.ai*",
    "*spinach.ai*",
    "*bluedot*",
    "*equal time*",
    "*grain.com*",
    "*zoom ai companion*",
];

/// The default patterns.
pub fn defaults() -> Vec<String> {
    DEFAULT_PATTERNS.iter().map(|pattern| (*pattern).to_owned()).collect()
}

/// Reads a list of patterns, separated by commas. `None` where one is too long, there are too many, or one would fit every name.
pub fn parse_patterns(text: &str) -> Option<Vec<String>> {
    let patterns: Vec<String> = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect();
    let fits = |pattern: &String| pattern.chars().count() <= CHARACTERS && pattern.chars().any(|c| c != '*');
    (patterns.len() <= PATTERNS && patterns.iter().all(fits)).then_some(patterns)
}

/// True where `name` fits one of the patterns.
pub fn is_other_bot<P: AsRef<str>>(name: &str, patterns: &[P]) -> bool {
    let name = name.to_lowercase();
    patterns.iter().any(|pattern| fits(&name, &pattern.as_ref().to_lowercase()))
}

/// `*` is any run of characters; everything else stands for itself.
fn fits(name: &str, pattern: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return name == pattern };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        let Some((_, after)) = left.split_once(piece) else { return false };
        left = after;
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notetakers_are_no_people_and_people_are_no_notetakers() {
        for name in
            ["Ann's Notetaker (Otter.ai)", "Fireflies.ai Notetaker Ben", "READ.AI MEETING NOTES", "OtterPilot", "Meeting Bot"]
        {
            assert!(is_other_bot(name, DEFAULT_PATTERNS), "{name}");
        }
        for name in ["Ann Otter", "Fred", "Gong Li", "Abbott", "Robot Wars Fan", "Jamie", "Grain Farmer", "Bot Smith", ""] {
            assert!(!is_other_bot(name, DEFAULT_PATTERNS), "{name}");
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("acme recorder", "Acme Recorder", true),
            ("acme recorder", "Acme Recorder 2", false),
            ("acme*", "Acme Recorder 2", true),
            ("*recorder", "Acme Recorder", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("a*b", "a+b", true),
            ("tl;dv*", "tl;dv (Ann)", true),
        ] {
            assert_eq!(is_other_bot(name, &[pattern]), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_list_that_would_fit_everybody_is_refused() {
        assert_eq!(parse_patterns(" a*, ,b "), Some(vec!["a*".to_owned(), "b".to_owned()]));
        assert_eq!(parse_patterns("a,*"), None);
        assert_eq!(parse_patterns(&"x".repeat(101)), None);
        assert_eq!(parse_patterns(&vec!["x"; 201].join(",")), None);
    }
}
