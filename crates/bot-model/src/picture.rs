//! The live picture: a JPEG that says in its own comment when it was taken, whichever bucket it lies in. Pure.

use chrono::{DateTime, SecondsFormat, Utc};

/// Between two pictures where nothing else is said.
pub const DEFAULT_EVERY_SECS: u64 = 10;
/// Largest picture that is carried out: many times that of a busy page.
pub const MOST_BYTES: usize = 2 * 1024 * 1024;

const START: [u8; 2] = [0xff, 0xd8];
const COMMENT: [u8; 2] = [0xff, 0xfe];
const KEY: &str = "taken_at=";

/// The same picture with the instant that it was taken at; `None` where it is no JPEG, or too large.
pub fn stamped(jpeg: &[u8], at: DateTime<Utc>) -> Option<Vec<u8>> {
    let rest = jpeg.strip_prefix(&START).filter(|rest| rest.len() < MOST_BYTES)?;
    let text = format!("{KEY}{}", at.to_rfc3339_opts(SecondsFormat::Secs, true));
    let length = u16::try_from(text.len() + 2).ok()?.to_be_bytes();
    Some([&START, &COMMENT, length.as_slice(), text.as_bytes(), rest].concat())
}

/// When a picture of ours was taken.
pub fn taken_at(jpeg: &[u8]) -> Option<DateTime<Utc>> {
    let rest = jpeg.strip_prefix(&START)?.strip_prefix(&COMMENT)?;
    let length = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
    let text = std::str::from_utf8(rest.get(2..length)?).ok()?;
    text.strip_prefix(KEY)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_says_when_it_was_taken() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let picture = stamped(&[0xff, 0xd8, 0xff, 0xdb, 1, 2], at).unwrap();
        assert_eq!((taken_at(&picture), &picture[picture.len() - 4..]), (Some(at), [0xff, 0xdb, 1, 2].as_slice()));
        for length in 0..picture.len() - 4 {
            assert_eq!(taken_at(&picture[..length]), None);
        }
        assert_eq!(stamped(b"<html>", at), None);
        assert_eq!(stamped(&[[0xff, 0xd8].as_slice(), &[0; MOST_BYTES]].concat(), at), None);
    }
}
