//! The playlist (RFC 8216) of a recording, made of what lies in `raw/`: pure.
//!
//! Every part is an ffmpeg run with a clock of its own, so that each begins with a discontinuity and its own initialisation segment.
//! While a call is on, the playlist only grows at its end.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::document::FrozenPart;
use crate::segment::{RawKind, RawName};

/// Segments are cut this long ([`crate::session::CaptureSettings`]); what a player is told may only be longer, and never changes.
const USUAL_SECS: f64 = 4.0;

/// A part, and how long each of its segments is.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// Which segments.
    pub part: FrozenPart,
    /// Wall clock of the part's first frame, where its first segment is among them.
    pub started_at: Option<DateTime<Utc>>,
    /// Seconds of each segment; those beyond its end are not in the playlist yet.
    pub secs: Vec<f64>,
}

/// The playlist. `is_over` says that nothing will follow.
pub fn playlist(parts: &[Timed], is_over: bool) -> String {
    let longest = parts.iter().flat_map(|part| &part.secs).copied().fold(USUAL_SECS, f64::max);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{:.0}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT-SEGMENTS\n",
        longest.round()
    );
    for (index, Timed { part, started_at, secs }) in parts.iter().filter(|timed| !timed.secs.is_empty()).enumerate() {
        if index > 0 {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let names = part.raw_names();
        let of_kind = |wanted: fn(&RawKind) -> bool| names.iter().filter(move |name| wanted(&name.kind));
        for init in of_kind(|kind| *kind == RawKind::Init) {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"{}\"", file_name(init));
        }
        if let Some(at) = started_at {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", at.to_rfc3339_opts(SecondsFormat::Millis, true));
        }
        for (segment, secs) in of_kind(|kind| matches!(kind, RawKind::Segment(_))).zip(secs) {
            let _ = write!(text, "#EXTINF:{secs:.3},\n{}\n", file_name(segment));
        }
    }
    if is_over {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// What of a recording in progress can be played: a list of the parts, of which the last ends at its first hole. Segments are carried out
/// a few at once, so a hole there will be filled, and what lies behind it would have to be moved then.
pub fn without_tail(parts: Vec<FrozenPart>) -> Vec<FrozenPart> {
    let is_of =
        |part: &FrozenPart, last: &FrozenPart| (part.attempt, &part.run, part.part) == (last.attempt, &last.run, last.part);
    let Some(last) = parts.last() else { return parts };
    let first = parts.iter().position(|part| is_of(part, last)).unwrap_or_default();
    let begins = parts.get(first).is_some_and(|part| part.first_seq == 0);
    parts.into_iter().take(first + usize::from(begins)).collect()
}

/// The name of a raw object as one segment of an address.
pub fn file_name(name: &RawName) -> String {
    name.path().replace('/', "_")
}

/// The inverse of [`file_name`], for what a player may fetch: initialisation segments and segments.
pub fn of_file_name(text: &str) -> Option<RawName> {
    let name = RawName::parse(&text.replace('_', "/"))?;
    matches!(name.kind, RawKind::Init | RawKind::Segment(_)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(attempt: u32, part: u32, first_seq: u32, segments: u32) -> FrozenPart {
        FrozenPart {
            attempt,
            run: "r".into(),
            part,
            info_crc32c: 1,
            init_crc32c: 2,
            first_seq,
            segment_crc32c: (0..segments).map(|seq| format!("{seq:08x}")).collect(),
            quality_crc32c: String::new(),
        }
    }

    #[test]
    fn a_playlist_names_each_part_with_its_own_head() {
        let started_at = DateTime::from_timestamp(1_800_000_000, 0);
        let first = Timed { part: part(1, 0, 0, 2), started_at, secs: vec![4.0, 4.0] };
        let second = Timed { part: part(2, 0, 0, 2), started_at: None, secs: vec![2.5] };
        let expected = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n\
            #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"a1-r_p0_init-00000002.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z\n\
            #EXTINF:4.000,\na1-r_p0_000000-00000000.m4s\n#EXTINF:4.000,\na1-r_p0_000001-00000001.m4s\n#EXT-X-DISCONTINUITY\n\
            #EXT-X-MAP:URI=\"a2-r_p0_init-00000002.mp4\"\n#EXTINF:2.500,\na2-r_p0_000000-00000000.m4s\n";
        assert_eq!(playlist(&[first.clone(), second.clone()], false), expected);
        assert_eq!(playlist(&[first, second], true), format!("{expected}#EXT-X-ENDLIST\n"));
    }

    #[test]
    fn a_hole_at_the_end_of_a_recording_in_progress_hides_what_lies_behind_it() {
        let parts = vec![part(1, 0, 0, 3), part(1, 0, 5, 2), part(1, 1, 0, 4), part(1, 1, 6, 1)];
        assert_eq!(without_tail(parts.clone()), parts[..3]);
        assert_eq!(without_tail(vec![part(1, 0, 1, 3)]), []);
        assert_eq!(without_tail(Vec::new()), []);
    }

    #[test]
    fn a_player_may_fetch_media_alone() {
        let [info, init, segment] = part(1, 0, 0, 1).raw_names().try_into().unwrap();
        assert_eq!((of_file_name(&file_name(&init)), of_file_name(&file_name(&segment))), (Some(init), Some(segment)));
        for text in [file_name(&info), "a1-r_p0_../x".into(), "..".into(), String::new()] {
            assert_eq!(of_file_name(&text), None, "{text}");
        }
    }
}
