//! Segments: how a recording lies on disk while it is made, and in the bucket's `raw/` folder.
//!
//! On disk, below the session's `output_dir`: one folder a **part** (`p000`, `p001`, …, one ffmpeg run each), holding
//! `part.json` ([`PartInfo`], written first), `init.mp4`, `seg-000000.m4s`, … and, once the part is over,
//! `part-end.json` ([`PartEnd`]). A segment appears under its final name only when it is closed and is never written
//! again. `init.mp4` is empty until the first segment closes (measured, reference media.md), so it counts
//! only together with `seg-000000.m4s`. About once a minute `quality-000000.json`, … ([`crate::quality::Stretch`]) says how the
//! picture and the sound were; each is final once it is there.
//!
//! A part that one of the existing images recorded lies there under the same names: `init.mp4` is its head (of a WebM, all before the
//! first cluster), the segments are byte runs, and together they are the file as it was. The first bytes tell which it is.
//!
//! In the bucket: `{gcs_path}/raw/a{attempt}-{run}/p{part}/{seq:06}-{crc32c:08x}.m4s`, `init-{crc32c:08x}.mp4`,
//! `part-{crc32c:08x}.json` and `quality{seq:06}-{crc32c:08x}.json`. The checksum in the name makes a create-only upload idempotent: "exists" means "identical".

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// File name of [`PartInfo`] in a part's folder.
pub const PART_INFO_FILE: &str = "part.json";
/// File name of [`PartEnd`] in a part's folder.
pub const PART_END_FILE: &str = "part-end.json";
/// File name of the initialisation segment in a part's folder.
pub const INIT_FILE: &str = "init.mp4";

/// Facts about a part that its segments alone do not tell; written once, before the first segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartInfo {
    /// From 0, in the order of recording within one session folder.
    pub part: u32,
    /// Wall clock of the part's first frame.
    pub started_at: DateTime<Utc>,
    /// How many milliseconds the sound lags the picture in the segments as captured, measured at the start of this
    /// part; the finalizer shifts the sound by the negative. 0 where the capture compensates already.
    pub audio_lag_ms: i64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub frames_per_second: u32,
}

/// Written when a part was closed in order; absent after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEnd {
    /// When capture stopped.
    pub ended_at: DateTime<Utc>,
    /// Number of closed segments.
    pub segments: u32,
}

/// Folder name of a part on disk.
pub fn part_folder(part: u32) -> String {
    format!("p{part:03}")
}

/// The part number of a folder name, if it is one.
pub fn parse_part_folder(name: &str) -> Option<u32> {
    let digits = name.strip_prefix('p')?;
    (digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// File name of a closed segment on disk.
pub fn segment_file(seq: u32) -> String {
    format!("seg-{seq:06}.m4s")
}

/// The sequence number of a segment's file name, if it is one.
pub fn parse_segment_file(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".m4s")?;
    (digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// File name of a stretch's quality on disk.
pub fn quality_file(seq: u32) -> String {
    format!("quality-{seq:06}.json")
}

/// What a raw object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "seq")]
pub enum RawKind {
    /// [`PartInfo`] as JSON.
    Part,
    /// The initialisation segment.
    Init,
    /// A media segment and its sequence number.
    Segment(u32),
    /// How a stretch of the part was: [`crate::quality::Stretch`] as JSON, and its sequence number.
    Quality(u32),
}

/// The name of one raw object below `{gcs_path}/raw/`; equal names mean equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RawName {
    /// The controller's attempt number, from 1.
    pub attempt: u32,
    /// Identifies the pod or process group that recorded: `[a-z0-9]{1,32}`.
    pub run: String,
    /// The part, from 0.
    pub part: u32,
    /// What it is.
    #[serde(flatten)]
    pub kind: RawKind,
    /// crc32c (Castagnoli) of the bytes.
    pub crc32c: u32,
}

impl RawName {
    /// Path relative to `{gcs_path}/raw/`.
    pub fn path(&self) -> String {
        let Self { attempt, run, part, kind, crc32c } = self;
        let folder = format!("a{attempt}-{run}/p{part}");
        match kind {
            RawKind::Part => format!("{folder}/part-{crc32c:08x}.json"),
            RawKind::Init => format!("{folder}/init-{crc32c:08x}.mp4"),
            RawKind::Segment(seq) => format!("{folder}/{seq:06}-{crc32c:08x}.m4s"),
            RawKind::Quality(seq) => format!("{folder}/quality{seq:06}-{crc32c:08x}.json"),
        }
    }

    /// The inverse of [`RawName::path`]; `None` for anything that it could not have made.
    pub fn parse(path: &str) -> Option<Self> {
        let mut pieces = path.split('/');
        let (run_folder, part_folder, file) = (pieces.next()?, pieces.next()?, pieces.next()?);
        let (attempt, run) = run_folder.strip_prefix('a')?.split_once('-')?;
        let (stem, extension) = file.rsplit_once('.')?;
        let (head, crc) = stem.split_once('-')?;
        let kind = match (head, extension) {
            ("part", "json") => RawKind::Part,
            ("init", "mp4") => RawKind::Init,
            (seq, "m4s") => RawKind::Segment(seq.parse().ok()?),
            (quality, "json") => RawKind::Quality(quality.strip_prefix("quality")?.parse().ok()?),
            _ => return None,
        };
        let name = Self {
            attempt: attempt.parse().ok()?,
            run: run.to_owned(),
            part: part_folder.strip_prefix('p')?.parse().ok()?,
            kind,
            crc32c: u32::from_str_radix(crc, 16).ok()?,
        };
        (pieces.next().is_none() && is_run_label(&name.run) && name.path() == path).then_some(name)
    }
}

/// True for `[a-z0-9]{1,32}`.
pub fn is_run_label(run: &str) -> bool {
    (1..=32).contains(&run.len()) && run.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn raw_names_round_trip(attempt in 1u32..1000, run in "[a-z0-9]{1,32}", part in 0u32..1000, seq in 0u32..2_000_000, crc in any::<u32>(), which in 0..4) {
            let kind = match which { 0 => RawKind::Part, 1 => RawKind::Init, 2 => RawKind::Quality(seq), _ => RawKind::Segment(seq) };
            let name = RawName { attempt, run, part, kind, crc32c: crc };
            prop_assert_eq!(RawName::parse(&name.path()), Some(name));
        }

        #[test]
        fn parsing_never_panics_and_accepts_only_what_it_prints(text in ".{0,60}") {
            if let Some(name) = RawName::parse(&text) {
                prop_assert_eq!(name.path(), text);
            }
        }
    }

    #[test]
    fn disk_names_round_trip() {
        assert_eq!(parse_part_folder(&part_folder(7)), Some(7));
        assert_eq!(parse_segment_file(&segment_file(1_234_567)), Some(1_234_567));
        assert_eq!(parse_segment_file("seg-000001.m4s.tmp"), None);
        assert_eq!(parse_part_folder("p1"), None);
    }
}
