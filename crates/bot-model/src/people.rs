//! The people of a call, on their way from the meeting-bot to `timeline.json`: the journal that the bot appends to while the call
//! runs, and the raw objects in which the manager carries it out.
//!
//! The journal is [`JOURNAL_FILE`] in the session's folder, beside the parts: one [`Line`] of JSON each, only ever appended to, so
//! that whatever a crash leaves can be read up to its last whole line. A rejoined session appends to the same file, with another
//! [`Noted::Began`]. In the bucket it lies in pieces, `{gcs_path}/raw/a{attempt}-{run}/people/{from}-{to}-{crc32c}.jsonl`, where
//! `from` and `to` are its bytes. Names and texts come from the page: they are cleaned ([`clean_name`], [`clean_text`]) and bounded.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::segment::is_run_label;

/// File name of the journal in the session's folder.
pub const JOURNAL_FILE: &str = "people.jsonl";
/// The shape of the lines that this version writes.
pub const JOURNAL_VERSION: u32 = 1;
/// Longest name, in characters.
pub const NAME_CHARACTERS: usize = 128;
/// Longest chat message, in characters; more is cut off.
pub const TEXT_CHARACTERS: usize = 4_000;

/// What somebody in the call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person, as far as can be told.
    Person,
    /// Another bot: told by its name alone.
    Bot,
    /// This bot itself.
    #[serde(rename = "self")]
    Own,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it happened, by the bot's clock; not when it was noticed.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub what: Noted,
}

/// What is noted. `person` is a number of the session, from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Noted {
    /// A session is in the call; numbers of persons start anew.
    Began {
        /// [`JOURNAL_VERSION`].
        version: u32,
    },
    /// Somebody is there.
    Joined {
        /// Who.
        person: u32,
        /// [`key_of`] what the platform calls them; stable within the session.
        key: String,
        /// As shown.
        name: String,
        /// What they are.
        role: Role,
    },
    /// Somebody goes by another name now.
    Named {
        /// Who.
        person: u32,
        /// The new name.
        name: String,
    },
    /// Somebody is not there any more.
    Left {
        /// Who.
        person: u32,
    },
    /// Somebody began to speak.
    Speaking {
        /// Who.
        person: u32,
    },
    /// Somebody stopped.
    Silent {
        /// Who.
        person: u32,
    },
    /// A message in the chat.
    Chat {
        /// [`key_of`] what the platform calls it: a message is noted once.
        key: String,
        /// As shown.
        author: String,
        /// What was written.
        text: String,
        /// The text was longer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// From here on something is left out, because the journal has grown to its bound.
    Full {
        /// What.
        of: Kind,
    },
    /// The session is over.
    Ended,
}

/// What a journal can be full of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Participants.
    Participants,
    /// Chat messages.
    Chat,
    /// Everything.
    All,
}

/// A short, stable stand-in for what the platform calls something: 16 hex digits.
pub fn key_of(platform_key: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(platform_key.as_bytes())[..8])
}

/// A name fit to be stored: one line, no control or direction marks, bounded.
pub fn clean_name(name: &str) -> String {
    let shown = name.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !is_direction_mark(*c));
    // Twice the bound is enough to collapse white space in: a name of megabytes is not walked through.
    let shown: String = shown.take(2 * NAME_CHARACTERS).collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(NAME_CHARACTERS).collect()
}

/// A message fit to be stored, and whether something of it was cut off: line breaks and tabs stay, other control and direction
/// marks go.
pub fn clean_text(text: &str) -> (String, bool) {
    let mut characters = text.trim().chars().filter(|c| matches!(c, '\n' | '\t') || !(c.is_control() || is_direction_mark(*c)));
    let kept: String = characters.by_ref().take(TEXT_CHARACTERS).collect();
    let is_cut = characters.next().is_some();
    (kept, is_cut)
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A piece of a journal in the bucket: whole lines, and equal names mean equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// The attempt.
    pub attempt: u32,
    /// The run.
    pub run: String,
    /// Where it begins in the journal, in bytes.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// crc32c (Castagnoli) of its bytes.
    pub crc32c: u32,
}

impl Piece {
    /// Path relative to `{gcs_path}/raw/`.
    pub fn path(&self) -> String {
        let Self { attempt, run, from, to, crc32c } = self;
        format!("{}{from:010}-{to:010}-{crc32c:08x}.jsonl", Self::folder(*attempt, run))
    }

    /// The folder of a run's pieces, relative to `{gcs_path}/raw/`, with its slash.
    pub fn folder(attempt: u32, run: &str) -> String {
        format!("a{attempt}-{run}/people/")
    }

    /// The inverse of [`Piece::path`]; `None` for anything that it could not have made.
    pub fn parse(path: &str) -> Option<Self> {
        let (run_folder, rest) = path.split_once('/')?;
        let (attempt, run) = run_folder.strip_prefix('a')?.split_once('-')?;
        let mut numbers = rest.strip_prefix("people/")?.strip_suffix(".jsonl")?.split('-');
        let piece = Self {
            attempt: attempt.parse().ok()?,
            run: run.to_owned(),
            from: numbers.next()?.parse().ok()?,
            to: numbers.next()?.parse().ok()?,
            crc32c: u32::from_str_radix(numbers.next()?, 16).ok()?,
        };
        (is_run_label(&piece.run) && piece.from < piece.to && piece.path() == path).then_some(piece)
    }
}

/// The fewest of one run's pieces that hold everything that they all hold, in order; each with how many of its first bytes the
/// one before holds already. Pieces overlap where a restarted manager carried out what was there already.
pub fn cover(mut pieces: Vec<Piece>) -> Vec<(Piece, u64)> {
    pieces.sort_by_key(|piece| (piece.from, std::cmp::Reverse(piece.to)));
    let (mut chosen, mut covered) = (Vec::<(Piece, u64)>::new(), 0);
    let mut best: Option<Piece> = None;
    for piece in pieces {
        if piece.from > covered
            && let Some(taken) = best.take_if(|best| best.to > covered)
        {
            let skip = covered.saturating_sub(taken.from);
            covered = taken.to;
            chosen.push((taken, skip));
        }
        if best.as_ref().is_none_or(|best| piece.to > best.to) {
            best = Some(piece);
        }
    }
    if let Some(taken) = best.filter(|best| best.to > covered) {
        chosen.push((taken.clone(), covered.saturating_sub(taken.from)));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(from: u64, to: u64) -> Piece {
        Piece { attempt: 1, run: "r1".into(), from, to, crc32c: 7 }
    }

    fn spans(pieces: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let chosen = cover(pieces.iter().map(|(from, to)| piece(*from, *to)).collect());
        chosen.into_iter().map(|(piece, skip)| (piece.from + skip, piece.to)).collect()
    }

    #[test]
    fn overlapping_pieces_are_read_once_and_a_lost_one_leaves_a_hole() {
        assert_eq!(spans(&[(0, 10), (10, 20), (20, 30)]), [(0, 10), (10, 20), (20, 30)]);
        assert_eq!(spans(&[(0, 10), (10, 20), (0, 30)]), [(0, 30)]);
        assert_eq!(spans(&[(0, 10), (0, 25), (10, 20), (20, 30)]), [(0, 25), (25, 30)]);
        assert_eq!(spans(&[(0, 10), (20, 30)]), [(0, 10), (20, 30)]);
        assert_eq!(spans(&[]), []);
    }

    proptest! {
        #[test]
        fn every_byte_of_every_piece_is_read_exactly_once(pieces in proptest::collection::vec((0u64..60, 1u64..20), 0..12)) {
            let pieces: Vec<(u64, u64)> = pieces.into_iter().map(|(from, length)| (from, from + length)).collect();
            let read = spans(&pieces);
            for byte in 0..80 {
                let holds = |(from, to): &(u64, u64)| (*from..*to).contains(&byte);
                let times = read.iter().filter(|span| holds(span)).count();
                prop_assert_eq!(times, usize::from(pieces.iter().any(holds)), "byte {}: {:?} of {:?}", byte, read, pieces);
            }
        }

        #[test]
        fn piece_names_round_trip_and_nothing_else_is_one(run in "[a-z0-9]{1,32}", from in 0u64..1 << 40, length in 1u64..9_999, crc in any::<u32>(), text in ".{0,60}") {
            let piece = Piece { attempt: 3, run, from, to: from + length, crc32c: crc };
            prop_assert_eq!(crate::segment::RawName::parse(&piece.path()), None);
            prop_assert_eq!(Piece::parse(&piece.path()), Some(piece));
            if let Some(piece) = Piece::parse(&text) {
                prop_assert_eq!(piece.path(), text);
            }
        }
    }

    #[test]
    fn names_and_texts_are_cleaned_and_bounded() {
        assert_eq!(clean_name(" A\u{0}l\u{202e}ice\n\t B\u{7f} "), "A lice B");
        assert_eq!(clean_name(&"x".repeat(10_000_000)).chars().count(), NAME_CHARACTERS);
        assert_eq!(clean_text("one\ntwo\u{1b}[31m\u{202e}"), ("one\ntwo[31m".into(), false));
        let (text, cut) = clean_text(&"ä".repeat(10_000_000));
        assert_eq!((text.chars().count(), cut), (TEXT_CHARACTERS, true));
    }

    #[test]
    fn lines_read_back_and_need_no_field_that_is_not_theirs() {
        let at = DateTime::from_timestamp(1_800_000_000, 250_000_000).unwrap();
        let chat = Line { at, what: Noted::Chat { key: key_of("k"), author: "A".into(), text: "hi".into(), cut: false } };
        let text = serde_json::to_string(&chat).unwrap();
        assert!(!text.contains("cut") && text.contains(r#""event":"chat""#), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), chat);
        let ended = Line { at, what: Noted::Ended };
        assert_eq!(serde_json::to_string(&ended).unwrap(), r#"{"at":"2027-01-15T08:00:00.250Z","event":"ended"}"#);
    }
}
