//! The playlist (RFC 8216) of a recording, made of what lies in `raw/`: pure.
//!
//! Every part is an ffmpeg run with a clock of its own, so that each begins with a discontinuity and its own initialisation segment.
//! The playlist only grows at its end (`EVENT`), whatever comes to the bucket when: see [`in_order`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::document::{FrozenList, FrozenPart};
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

/// What is in a playlist, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ordered {
    /// The parts that have begun, each without what came too late for it.
    pub parts: Vec<FrozenPart>,
    /// Segments that came too late: `video.mp4` has them.
    pub late: usize,
}

/// What players may be told of these objects, by when each was written: whatever was told before is a beginning of it. A part takes no more
/// segments once a later one has begun, for they would have to be put before what players have read; an attempt that carries out late
/// what it recorded (it was cut off, or another pod found its disk) comes into `video.mp4` alone. The bucket's own times make every replica say the
/// same, and say it again after a restart.
///
/// `is_told` is whether a part that has begun, at an instant of the bucket, may be told yet: not before whatever was written earlier
/// is sure to be listed. `is_over` says that nothing will follow, so that also a part that never began is told.
pub fn in_order(
    written: &BTreeMap<RawName, DateTime<Utc>>,
    is_over: bool,
    is_told: impl Fn(&RawName, DateTime<Utc>) -> bool,
) -> Ordered {
    let all: Vec<(&RawName, DateTime<Utc>)> = written.iter().map(|(name, at)| (name, *at)).collect();
    let groups: Vec<_> = all.chunk_by(|(a, _), (b, _)| (a.attempt, &a.run, a.part) == (b.attempt, &b.run, b.part)).collect();
    let (mut kept, mut late, mut closed_at) = (Vec::new(), 0, None);
    for (index, group) in groups.iter().enumerate().rev() {
        let is_in_time = |at: DateTime<Utc>| closed_at.is_none_or(|closed| at <= closed);
        let begun = begun_at(group).filter(|(_, at)| is_in_time(*at)).filter(|(first, at)| index == 0 || is_told(first, *at));
        // One that has not begun is told as far as it is there when a later one begins.
        if begun.is_none() && closed_at.is_none() && index > 0 && !is_over {
            continue;
        }
        let is_segment = |name: &RawName| matches!(name.kind, RawKind::Segment(_));
        late += group.iter().filter(|(name, at)| is_segment(name) && !is_in_time(*at)).count();
        kept.extend(group.iter().filter(|(_, at)| is_in_time(*at)).map(|(name, _)| (*name).clone()));
        closed_at = begun.map(|(_, at)| at).into_iter().chain(closed_at).min();
    }
    Ordered { parts: FrozenList::from_raw_names(kept).parts, late }
}

/// When a part could first be played, and its first segment; `None` where it cannot be yet.
fn begun_at<'a>(group: &[(&'a RawName, DateTime<Utc>)]) -> Option<(&'a RawName, DateTime<Utc>)> {
    let of = |kind: RawKind| group.iter().find(|(name, _)| name.kind == kind).copied();
    let (first, at) = of(RawKind::Segment(0))?;
    Some((first, at.max(of(RawKind::Init)?.1).max(of(RawKind::Part)?.1)))
}

/// The playlist. `is_over` says that nothing will follow; then a remark tells of segments that came too late for it.
pub fn playlist(parts: &[Timed], is_over: bool, late: usize) -> String {
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
    if is_over && late > 0 {
        let _ = writeln!(text, "# {late} segments came too late for this list; video.mp4 has them");
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
        assert_eq!(playlist(&[first.clone(), second.clone()], false, 1), expected);
        assert_eq!(playlist(&[first.clone(), second.clone()], true, 0), format!("{expected}#EXT-X-ENDLIST\n"));
        let remark = "# 2 segments came too late for this list; video.mp4 has them\n";
        assert_eq!(playlist(&[first, second], true, 2), format!("{expected}{remark}#EXT-X-ENDLIST\n"));
    }

    #[test]
    fn a_hole_at_the_end_of_a_recording_in_progress_hides_what_lies_behind_it() {
        let parts = vec![part(1, 0, 0, 3), part(1, 0, 5, 2), part(1, 1, 0, 4), part(1, 1, 6, 1)];
        assert_eq!(without_tail(parts.clone()), parts[..3]);
        assert_eq!(without_tail(vec![part(1, 0, 1, 3)]), []);
        assert_eq!(without_tail(Vec::new()), []);
    }

    /// The objects of a part, each with the second it was written in: head, then segments from 0 on; `None` was not written.
    fn written(attempt: u32, seconds: &[Option<i64>]) -> Vec<(RawName, DateTime<Utc>)> {
        let names = part(attempt, 0, 0, u32::try_from(seconds.len()).unwrap()).raw_names();
        let first = seconds.iter().flatten().min().copied().unwrap_or_default();
        let at = |second| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        let times = [Some(first); 2].into_iter().chain(seconds.iter().copied());
        names.into_iter().zip(times).filter_map(|(name, second)| Some((name, at(second?)))).collect()
    }

    fn told(parts: &[FrozenPart]) -> Vec<RawName> {
        parts.iter().flat_map(FrozenPart::raw_names).filter(|name| matches!(name.kind, RawKind::Segment(_))).collect()
    }

    #[test]
    fn what_an_earlier_attempt_carries_out_late_is_not_put_before_what_players_have_read() {
        let first = [Some(1), Some(2), None, Some(4), Some(60)];
        let all: BTreeMap<_, _> = [written(1, &first), written(2, &[Some(20), Some(24)])].concat().into_iter().collect();
        let ordered = in_order(&all, false, |_, _| true);
        let ranges: Vec<_> = ordered.parts.iter().map(|part| (part.attempt, part.first_seq, part.segments())).collect();
        assert_eq!((ranges, ordered.late), (vec![(1, 0, 2), (1, 3, 1), (2, 0, 2)], 1));
        let before = in_order(&all, false, |name, _| name.attempt == 1);
        assert_eq!((before.parts.iter().all(|part| part.attempt == 1), before.late), (true, 0), "the second is not told yet");
        // A part that is carried out whole after a later one has begun.
        let all = [written(1, &[Some(30), Some(31)]), written(2, &[Some(20)])].concat().into_iter().collect();
        let ordered = in_order(&all, false, |_, _| true);
        assert_eq!((told(&ordered.parts).len(), ordered.late), (1, 2));
    }

    proptest::proptest! {
        /// Three attempts whose segments come in any order: what is told at each second begins with what was told before.
        #[test]
        fn whatever_comes_when_a_playlist_only_grows_at_its_end(
            times in proptest::collection::vec(proptest::collection::vec(proptest::option::weighted(0.9, 0_i64..30), 1..6), 1..4),
        ) {
            let objects: Vec<_> = (1..).zip(&times).flat_map(|(attempt, seconds)| written(attempt, seconds)).collect();
            let mut before: Vec<RawName> = Vec::new();
            for second in 0..=31 {
                let now = DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
                let there = objects.iter().filter(|(_, at)| *at <= now).cloned().collect();
                let ordered = in_order(&there, false, |_, at| at < now);
                let live = told(&without_tail(ordered.parts));
                proptest::prop_assert!(live.starts_with(&before), "{before:?}\n{live:?}");
                before = live;
            }
        }
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
