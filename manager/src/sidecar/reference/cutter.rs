//! Cuts the file that an existing image appends to into the parts and segments of [`bot_model::segment`], while it grows.
//!
//! From there on it is carried out, frozen and finalized like any other recording. A part is one WebM, from one header to the next;
//! its initialisation segment is what lies before the first cluster, its segments are byte runs that together are the file. They are
//! cut where a cluster begins, if one does, so that a segment that never arrives costs its own time alone.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bot_model::segment::{INIT_FILE, PART_END_FILE, PART_INFO_FILE, PartEnd, PartInfo, part_folder, segment_file};
use chrono::{DateTime, Utc};

use super::scan::{HEADER_BYTES, first_cluster, is_header, last_cluster, next_header};
use super::source::{Place, Source};
use crate::spool::part_numbers;

/// What a killed pod may lose, with what the image itself had not written yet (two seconds).
const CUT_EVERY: Duration = Duration::from_secs(4);
/// A segment is cut at this size whatever its age; bounds memory here and in the spool.
const LONGEST_SEGMENT: usize = 8 << 20;
/// Of a container that is no WebM: what counts as its initialisation segment.
const HEAD_BYTES: usize = 256;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cut {
    /// When the first bytes of the recording were seen.
    pub(super) since: Option<DateTime<Utc>>,
    /// The part that is being written.
    pub(super) part: Option<u32>,
    /// Segments.
    pub(super) segments: u64,
    /// Bytes in segments.
    pub(super) bytes: u64,
}

/// The cutter of one file.
#[derive(Debug)]
pub(super) struct Cutter {
    place: Place,
    output: PathBuf,
    cut_every: Duration,
    source: Option<Source>,
    pending: Vec<u8>,
    part: Option<Part>,
    next_part: u32,
    cut_at: Instant,
    cut: Cut,
}

#[derive(Debug)]
struct Part {
    folder: PathBuf,
    next: u32,
}

impl Cutter {
    /// Cuts the file at `place` into parts below `output`, after those that lie there.
    pub(super) fn new(place: Place, output: PathBuf) -> Self {
        let next_part = part_numbers(&output).last().map_or(0, |last| last + 1);
        Self {
            place,
            output,
            cut_every: CUT_EVERY,
            source: None,
            pending: Vec::new(),
            part: None,
            next_part,
            cut_at: Instant::now(),
            cut: Cut::default(),
        }
    }

    /// Cuts what was appended since the last look; with `is_over`, everything. Where the disk fails, nothing is lost: the next look
    /// goes on where this one stopped.
    pub(super) fn look(&mut self, is_over: bool) -> io::Result<Cut> {
        if self.source.is_none() {
            let Some(path) = self.place.find(is_over) else { return Ok(self.cut) };
            self.source = Some(Source::open(path)?);
        }
        loop {
            let Some(source) = &mut self.source else { return Ok(self.cut) };
            let more = source.read_on(is_over)?;
            let is_all = more.is_empty();
            if !is_all && self.cut.since.is_none() {
                self.cut.since = Some(Utc::now());
            }
            self.pending.extend(more);
            while self.cut_one(is_over && is_all)? {}
            if is_all {
                break;
            }
        }
        if is_over {
            self.end_part()?;
        }
        Ok(self.cut)
    }

    /// Cuts one piece off what is pending; false where there is none to cut yet.
    fn cut_one(&mut self, is_over: bool) -> io::Result<bool> {
        if self.pending.is_empty() {
            return Ok(false);
        }
        if self.part.is_none() {
            return self.begin_part(is_over);
        }
        let header = next_header(&self.pending, 0);
        let cut = match header {
            // The part is over, and another one begins here.
            Some(0) => {
                self.end_part()?;
                return Ok(true);
            }
            Some(at) => at,
            None if is_over => self.pending.len().min(LONGEST_SEGMENT),
            None => self.due().unwrap_or_default(),
        };
        if cut == 0 {
            return Ok(false);
        }
        self.lay_segment(cut.min(LONGEST_SEGMENT))?;
        Ok(true)
    }

    /// Where to cut, if it is time: where the newest cluster begins, or before what could still become a header.
    fn due(&self) -> Option<usize> {
        let is_full = self.pending.len() >= LONGEST_SEGMENT;
        if !is_full && self.cut_at.elapsed() < self.cut_every {
            return None;
        }
        let clusters = last_cluster(&self.pending).filter(|at| *at > 0);
        clusters.or_else(|| self.pending.len().checked_sub(HEADER_BYTES))
    }

    fn begin_part(&mut self, is_over: bool) -> io::Result<bool> {
        let is_opaque = !is_header(&self.pending);
        let head = if is_opaque {
            (is_over || self.pending.len() >= LONGEST_SEGMENT).then_some(HEAD_BYTES)
        } else {
            first_cluster(&self.pending)
        };
        // The image died before its first cluster and began again.
        if let Some(again) = next_header(&self.pending, 1).filter(|again| !is_opaque && head.is_none_or(|head| *again < head)) {
            self.pending.drain(..again);
            return Ok(true);
        }
        // An image that died in its first second leaves a head alone, which no player could show.
        let Some(head) = head.filter(|head| *head < self.pending.len()) else { return Ok(false) };
        let folder = self.output.join(part_folder(self.next_part));
        std::fs::create_dir_all(&folder)?;
        let info = PartInfo {
            part: self.next_part,
            started_at: Utc::now(),
            audio_lag_ms: 0,
            // Unknown here, and needed by nobody.
            width: 0,
            height: 0,
            frames_per_second: 0,
        };
        lay(&folder, PART_INFO_FILE, &serde_json::to_vec_pretty(&info)?)?;
        lay(&folder, INIT_FILE, &self.pending[..head])?;
        self.pending.drain(..head);
        self.part = Some(Part { folder, next: 0 });
        self.cut.part = Some(self.next_part);
        self.next_part += 1;
        self.cut_at = Instant::now();
        Ok(true)
    }

    fn lay_segment(&mut self, bytes: usize) -> io::Result<()> {
        let Some(part) = &mut self.part else { return Ok(()) };
        lay(&part.folder, &segment_file(part.next), &self.pending[..bytes])?;
        part.next += 1;
        self.pending.drain(..bytes);
        self.cut.segments += 1;
        self.cut.bytes += bytes as u64;
        self.cut_at = Instant::now();
        Ok(())
    }

    fn end_part(&mut self) -> io::Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        let end = PartEnd { ended_at: Utc::now(), segments: part.next };
        lay(&part.folder, PART_END_FILE, &serde_json::to_vec_pretty(&end)?)?;
        self.part = None;
        Ok(())
    }
}

/// A file appears under its name only once it is whole.
fn lay(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.tmp"));
    std::fs::write(&draft, bytes)?;
    std::fs::rename(draft, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    struct Desk {
        folder: tempfile::TempDir,
        cutter: Cutter,
    }

    impl Desk {
        fn new(cut_every: Duration) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("u")).unwrap();
            let place = Place { roots: vec![folder.path().to_owned()], user: "u".into(), stem: "s".into() };
            let cutter = Cutter { cut_every, ..Cutter::new(place, folder.path().join("session")) };
            Self { folder, cutter }
        }

        fn append(&self, bytes: &[u8]) {
            let file = self.folder.path().join("u/s.webm");
            std::fs::File::options().create(true).append(true).open(file).unwrap().write_all(bytes).unwrap();
        }

        /// Every part's bytes, put together again, and the number of its segments.
        fn parts(&self) -> Vec<(Vec<u8>, u32)> {
            let session = self.folder.path().join("session");
            let whole = |part: u32| {
                let folder = session.join(part_folder(part));
                let mut bytes = std::fs::read(folder.join(INIT_FILE)).unwrap();
                let mut count = 0;
                while let Ok(segment) = std::fs::read(folder.join(segment_file(count))) {
                    bytes.extend(segment);
                    count += 1;
                }
                (bytes, count)
            };
            part_numbers(&session).into_iter().map(whole).collect()
        }
    }

    fn head() -> Vec<u8> {
        [&[0x1a, 0x45, 0xdf, 0xa3, 0x9f, 0x42, 0x82, 0x84][..], b"webm", &[0; 60]].concat()
    }

    fn cluster(content: u8, length: usize) -> Vec<u8> {
        [&[0x1f, 0x43, 0xb6, 0x75, 0x81, 0xe7][..], &vec![content; length]].concat()
    }

    #[test]
    fn what_was_cut_is_the_file_byte_for_byte() {
        let mut desk = Desk::new(Duration::ZERO);
        let mut whole = Vec::new();
        for piece in [head(), cluster(1, 500), vec![2; 700], cluster(3, 900), cluster(4, 20)] {
            desk.append(&piece);
            whole.extend(piece);
            desk.cutter.look(false).unwrap();
        }
        assert!(desk.parts()[0].1 >= 2, "nothing left before the end");
        let cut = desk.cutter.look(true).unwrap();
        let parts = desk.parts();
        assert_eq!((parts.len(), &parts[0].0), (1, &whole));
        assert_eq!((cut.segments, cut.part), (u64::from(parts[0].1), Some(0)));
    }

    #[test]
    fn a_second_header_begins_a_second_part_wherever_it_is_torn() {
        let (one, two) = ([head(), cluster(1, 300)].concat(), [head(), cluster(2, 400)].concat());
        for torn in [0, 1, 3, 4, 30, 63, 64, 100] {
            let mut desk = Desk::new(Duration::ZERO);
            desk.append(&[&one[..], &two[..torn]].concat());
            desk.cutter.look(false).unwrap();
            desk.append(&two[torn..]);
            desk.cutter.look(true).unwrap();
            let parts: Vec<Vec<u8>> = desk.parts().into_iter().map(|(bytes, _)| bytes).collect();
            assert_eq!(parts, [one.clone(), two.clone()], "torn at {torn}");
        }
    }

    #[test]
    fn a_head_alone_is_no_part() {
        let mut desk = Desk::new(Duration::ZERO);
        desk.append(&head());
        let cut = desk.cutter.look(true).unwrap();
        assert!(desk.parts().is_empty() && cut.segments == 0 && cut.since.is_some());
    }

    #[test]
    fn a_large_recording_is_cut_into_segments_of_bounded_size() {
        let mut desk = Desk::new(Duration::from_secs(3600));
        let whole = [head(), cluster(1, 3 * LONGEST_SEGMENT)].concat();
        desk.append(&whole);
        desk.cutter.look(true).unwrap();
        let parts = desk.parts();
        assert!(parts[0].0 == whole && parts[0].1 == 4, "{}", parts[0].1);
    }
}
