//! `recording.json`: what a recording consists of, for people and programs that find only the bucket.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::document::{Artifact, FrozenList, FrozenPart, TimelineEvent};
use crate::ids::InstanceId;
use crate::meeting_url::Platform;
use crate::outcome::Outcome;
use crate::quality::Quality;
use crate::segment::{RawKind, RawName};
use crate::timeline::PeopleSummary;

/// The shape of `recording.json` that this version writes.
pub const MANIFEST_VERSION: u32 = 1;

/// `recording.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingManifest {
    /// [`MANIFEST_VERSION`].
    pub schema_version: u32,
    /// The instance.
    pub bot_instance_id: InstanceId,
    /// The platform.
    pub platform: Platform,
    /// Wall clock of the first recorded frame.
    pub started_at: DateTime<Utc>,
    /// Wall clock of the last.
    pub ended_at: DateTime<Utc>,
    /// Length of `video.mp4` in seconds.
    pub duration_secs: f64,
    /// How the call ended, as far as known when the files were made.
    pub outcome: Option<Outcome>,
    /// Parts in order.
    pub parts: Vec<ManifestPart>,
    /// Times between two parts that nobody recorded.
    pub gaps: Vec<Gap>,
    /// `video.mp4` and `audio.m4a`, and `timeline.json` where there is one.
    pub artifacts: Vec<Artifact>,
    /// Hash of the frozen list that the files were made of.
    pub segments_sha256: String,
    /// How picture and sound were; absent where nobody watched them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Names below `raw/` that the files were made of; the only ones that retention may delete.
    pub raw: Vec<String>,
    /// Who was there and who spoke, where the bot told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<PeopleSummary>,
    /// Full address of the folder of the latest debug bundle, where a session left one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug: Option<String>,
    /// What happened.
    #[serde(default)]
    pub timeline: Vec<TimelineEvent>,
}

/// One ffmpeg run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// The attempt that recorded it.
    pub attempt: u32,
    /// The run that recorded it.
    pub run: String,
    /// The part within the run.
    pub part: u32,
    /// Wall clock of its first frame.
    pub started_at: DateTime<Utc>,
    /// Where it begins in `video.mp4`, in seconds.
    pub offset_secs: f64,
    /// Its length in seconds.
    pub duration_secs: f64,
    /// Number of segments.
    pub segments: u32,
}

/// A time that nobody recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Wall clock of its beginning.
    pub from: DateTime<Utc>,
    /// Its length in seconds. `video.mp4` leaves it out.
    pub duration_secs: f64,
}

/// `recording.json` in the path that a linked meeting asked for, where the one set of files lies in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingPointer {
    /// [`MANIFEST_VERSION`].
    pub schema_version: u32,
    /// The instance that recorded.
    pub bot_instance_id: InstanceId,
    /// Full address of the [`RecordingManifest`].
    pub recording: String,
    /// Full addresses of `video.mp4` and `audio.m4a`.
    pub files: Vec<String>,
}

impl FrozenPart {
    /// The raw names of this part: info, initialisation segment, then the segments and the qualities in order.
    pub fn raw_names(&self) -> Vec<RawName> {
        let name = |kind, crc32c| RawName { attempt: self.attempt, run: self.run.clone(), part: self.part, kind, crc32c };
        let mut names = vec![name(RawKind::Part, self.info_crc32c), name(RawKind::Init, self.init_crc32c)];
        names.extend((self.first_seq..).zip(checksums(&self.segment_crc32c)).map(|(seq, crc)| name(RawKind::Segment(seq), crc)));
        names.extend((0..).zip(checksums(&self.quality_crc32c)).map(|(seq, crc)| name(RawKind::Quality(seq), crc)));
        names
    }

    /// Number of segments.
    pub fn segments(&self) -> u32 {
        u32::try_from(self.segment_crc32c.len() / 8).unwrap_or(u32::MAX)
    }
}

impl FrozenList {
    /// Freezes what lies in `raw/`: the same names, in whatever order they come, give the same list.
    ///
    /// A part without its info or initialisation segment cannot be played and is left out; a missing segment ends
    /// its run of segments, and what follows becomes another frozen part of the same part. Where one name exists with
    /// two checksums (impossible unless a disk lied), the smaller checksum wins, so that all finalizers agree.
    pub fn from_raw_names(names: impl IntoIterator<Item = RawName>) -> Self {
        let mut names: Vec<RawName> = names.into_iter().collect();
        names.sort();
        names.dedup_by(|later, earlier| {
            (&later.attempt, &later.run, &later.part, &later.kind)
                == (&earlier.attempt, &earlier.run, &earlier.part, &earlier.kind)
        });
        let mut parts = Vec::new();
        for same in names.chunk_by(|a, b| (a.attempt, &a.run, a.part) == (b.attempt, &b.run, b.part)) {
            parts.extend(frozen_parts(same));
        }
        Self { sha256: hash(&parts), parts }
    }

    /// Every raw name, in order.
    pub fn raw_names(&self) -> Vec<RawName> {
        self.parts.iter().flat_map(FrozenPart::raw_names).collect()
    }

    /// True when there is nothing to make files of.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// Eight hex digits each.
fn checksums(digits: &str) -> impl Iterator<Item = u32> + '_ {
    let eights = digits.as_bytes().chunks_exact(8);
    eights.filter_map(|crc| std::str::from_utf8(crc).ok().and_then(|text| u32::from_str_radix(text, 16).ok()))
}

fn frozen_parts(names: &[RawName]) -> Vec<FrozenPart> {
    let crc = |kind| names.iter().find(|name| name.kind == kind).map(|name| name.crc32c);
    let (Some(info), Some(init), Some(first)) = (crc(RawKind::Part), crc(RawKind::Init), names.first()) else {
        return Vec::new();
    };
    let segments: Vec<(u32, u32)> = names
        .iter()
        .filter_map(|name| match name.kind {
            RawKind::Segment(seq) => Some((seq, name.crc32c)),
            _ => None,
        })
        .collect();
    // Facts about the part, so they stand once, with its first segments; from the first on without a hole.
    let qualities = names.iter().filter_map(|name| match name.kind {
        RawKind::Quality(seq) => Some((seq, name.crc32c)),
        _ => None,
    });
    let qualities = (0..).zip(qualities).take_while(|(due, (seq, _))| due == seq);
    let mut quality_crc32c: String = qualities.map(|(_, (_, crc))| format!("{crc:08x}")).collect();
    segments
        .chunk_by(|a, b| a.0 + 1 == b.0)
        .map(|run| FrozenPart {
            quality_crc32c: std::mem::take(&mut quality_crc32c),
            attempt: first.attempt,
            run: first.run.clone(),
            part: first.part,
            info_crc32c: info,
            init_crc32c: init,
            first_seq: run.first().map_or(0, |(seq, _)| *seq),
            segment_crc32c: run.iter().map(|(_, crc)| format!("{crc:08x}")).collect(),
        })
        .collect()
}

fn hash(parts: &[FrozenPart]) -> String {
    let mut hasher = Sha256::new();
    for name in parts.iter().flat_map(FrozenPart::raw_names) {
        hasher.update(name.path().as_bytes());
        hasher.update(b"\n");
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(part: u32, kind: RawKind, crc32c: u32) -> RawName {
        RawName { attempt: 1, run: "r1".into(), part, kind, crc32c }
    }

    fn part(part: u32, segments: std::ops::Range<u32>) -> Vec<RawName> {
        let mut names = vec![name(part, RawKind::Part, 1), name(part, RawKind::Init, 2)];
        names.extend(segments.map(|seq| name(part, RawKind::Segment(seq), seq + 10)));
        names
    }

    #[test]
    fn a_gap_ends_a_frozen_part() {
        let mut names = part(0, 0..5);
        names.retain(|name| name.kind != RawKind::Segment(2));
        let list = FrozenList::from_raw_names(names);
        assert_eq!(list.parts.iter().map(|part| (part.first_seq, part.segments())).collect::<Vec<_>>(), [(0, 2), (3, 2)]);
    }

    #[test]
    fn a_part_without_its_init_is_left_out() {
        let mut names = part(0, 0..2);
        names.extend(part(1, 0..2).into_iter().filter(|name| name.kind != RawKind::Init));
        assert_eq!(FrozenList::from_raw_names(names).parts.len(), 1);
    }

    #[test]
    fn ten_hours_fit_into_a_document() {
        let list = FrozenList::from_raw_names(part(0, 0..9_000));
        assert!(serde_json::to_vec(&list).unwrap().len() < 100_000);
    }

    proptest! {
        #[test]
        fn two_finalizers_freeze_the_same_list(count in 1u32..40, seed in any::<u64>()) {
            let names = part(0, 0..count);
            let mut shuffled = names.clone();
            shuffled.sort_by_key(|name| (u64::from(name.crc32c) + 1).wrapping_mul(seed | 1).rotate_left(17));
            let list = FrozenList::from_raw_names(names.clone());
            prop_assert_eq!(&list, &FrozenList::from_raw_names(shuffled));
            prop_assert_eq!(list.raw_names(), names);
        }
    }
}
