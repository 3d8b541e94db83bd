//! Carries the recording out while it is being made: each closed file of a part goes to the bucket as it closes, and beside them
//! the journal of the people ([`journal`]).
//!
//! The disk is the backlog: an outage of the bucket costs nothing but time. Nothing local is deleted here. A few segments are on
//! their way at once, fewer where the bucket does not keep up; they are accounted for in order.

mod journal;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bot_model::fragments::is_cut_short;
use bot_model::object_prefix::ObjectPrefix;
use bot_model::segment::{
    INIT_FILE, PART_INFO_FILE, RawKind, RawName, parse_part_folder, part_folder, quality_file, segment_file,
};
use bot_store::kill_point::KillPoint;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::objects::{Label, ObjectError, Objects};
use crate::retry::Pauses;
use journal::Journal;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Longest pause between tries while the bucket refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Segments on their way at once, where the bucket keeps up: bounds memory to as many segments.
const AT_ONCE: usize = 4;

/// Whose recording it is, and where it goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The recording's prefix.
    pub prefix: ObjectPrefix,
    /// The attempt.
    pub attempt: u32,
    /// The run.
    pub run: String,
    /// The session's output folder.
    pub folder: PathBuf,
}

/// What is in the bucket so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Parts with at least one segment.
    pub parts: u32,
    /// Segments.
    pub segments: u64,
    /// Bytes of segments.
    pub bytes: u64,
    /// Segments of this disk that are in the bucket, whoever brought them there, and those that are spoiled: nothing more is to be had.
    pub saved: u64,
}

impl std::ops::AddAssign for Carried {
    fn add_assign(&mut self, other: Self) {
        self.parts += other.parts;
        self.segments += other.segments;
        self.bytes += other.bytes;
        self.saved += other.saved;
    }
}

/// How far a part is.
#[derive(Debug, Default)]
struct Part {
    info: bool,
    init: bool,
    next: u32,
    next_quality: u32,
}

/// The carrier of one run.
pub struct Spool {
    objects: Objects,
    route: Route,
    known: HashSet<String>,
    parts: BTreeMap<u32, Part>,
    at_once: usize,
    carried: Carried,
    told: watch::Sender<Carried>,
    journal: Journal,
}

/// What one look did.
#[derive(PartialEq)]
enum Looked {
    /// Everything closed is in the bucket.
    Clear,
    /// Something was uploaded, and more may wait.
    Moved,
}

/// What became of one file.
enum Laid {
    /// It is in the bucket, with so many bytes.
    Written(u64),
    /// It was there before this spool began.
    Known,
    /// It is not whole and never will be: passed over, which costs its own time alone.
    Spoiled,
    /// The disk did not give it: looked at again later.
    Unreadable,
}

impl Spool {
    /// A carrier, and where to read how far it is.
    pub fn new(objects: Objects, route: Route) -> (Self, watch::Receiver<Carried>) {
        let (told, read) = watch::channel(Carried::default());
        let (known, parts, carried) = (HashSet::new(), BTreeMap::new(), Carried::default());
        (Self { objects, route, known, parts, at_once: 1, carried, told, journal: Journal::new() }, read)
    }

    /// Neither uploads nor counts what is in the bucket already: names below `raw/`.
    #[must_use]
    pub fn knowing(self, known: HashSet<String>) -> Self {
        let journal = Journal::knowing(&self.route, &known);
        Self { known, journal, ..self }
    }

    /// Carries until `finish` turns true and everything closed by then is in the bucket. It never gives up: whoever has to
    /// stop earlier drops the future, and the disk keeps what is left.
    pub async fn run(mut self, mut finish: watch::Receiver<bool>) -> Carried {
        let mut pauses = Pauses::endless(LONGEST_PAUSE);
        loop {
            let last_look = *finish.borrow_and_update();
            match self.look().await {
                Ok(looked) => {
                    pauses = Pauses::endless(LONGEST_PAUSE);
                    self.journal.look(&self.objects, &self.route).await;
                    match looked {
                        Looked::Clear if last_look => {
                            self.journal.finish(&self.objects, &self.route).await;
                            return self.carried;
                        }
                        Looked::Clear => drop(tokio::time::timeout(LOOK_EVERY, finish.changed()).await),
                        Looked::Moved => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a segment could not be uploaded; it stays on disk and is tried again");
                    self.at_once = 1;
                    sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Looked, ObjectError> {
        let mut looked = Looked::Clear;
        for number in part_numbers(&self.route.folder) {
            if self.look_at(number).await? == Looked::Moved {
                looked = Looked::Moved;
            }
        }
        Ok(looked)
    }

    /// A part's head goes first and alone: without it no segment of the part can be played.
    async fn look_at(&mut self, number: u32) -> Result<Looked, ObjectError> {
        let part = self.parts.entry(number).or_default();
        let folder = self.route.folder.join(part_folder(number));
        let next = match next_head(&folder, part) {
            Head::Waits => return Ok(Looked::Clear),
            Head::Next(kind) => vec![kind],
            Head::There => closed(&folder, part),
        };
        let (objects, route, known) = (&self.objects, &self.route, &self.known);
        let files =
            stream::iter(next.into_iter().map(|kind| async move { (kind, lay(objects, route, known, number, kind).await) }));
        let mut results = files.buffered(self.at_once);
        let mut looked = Looked::Clear;
        while let Some((kind, laid)) = results.next().await {
            match laid? {
                Laid::Unreadable => return Ok(Looked::Clear),
                laid => account(part, &mut self.carried, kind, &laid),
            }
            if kind == RawKind::Segment(0) {
                KillPoint::FirstPart.pass(&route.run).await;
            }
            looked = Looked::Moved;
            self.at_once = (self.at_once + 1).min(AT_ONCE);
            let _ = self.told.send(self.carried);
        }
        Ok(looked)
    }
}

fn account(part: &mut Part, carried: &mut Carried, kind: RawKind, laid: &Laid) {
    match kind {
        RawKind::Part => part.info = true,
        RawKind::Init => part.init = true,
        RawKind::Quality(seq) => part.next_quality = seq + 1,
        RawKind::Segment(seq) => {
            part.next = seq + 1;
            carried.saved += 1;
            if let Laid::Written(bytes) = laid {
                *carried += Carried { parts: u32::from(seq == 0), segments: 1, bytes: *bytes, saved: 0 };
            }
        }
    }
}

/// True for what was carried out of the same file, whatever its bytes were.
fn is_of_the_same_file(path: &str, name: &RawName) -> bool {
    let other = RawName::parse(path);
    other.is_some_and(|other| RawName { crc32c: name.crc32c, ..other } == *name)
}

/// Brings one file into the bucket, under the name that its bytes give it.
async fn lay(
    objects: &Objects,
    Route { prefix, attempt, run, folder }: &Route,
    known: &HashSet<String>,
    part: u32,
    kind: RawKind,
) -> Result<Laid, ObjectError> {
    let file = folder.join(part_folder(part)).join(disk_name(kind));
    let bytes = match tokio::fs::read(&file).await {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) => {
            tracing::warn!(%error, part, ?kind, "a closed file could not be read");
            return Ok(Laid::Unreadable);
        }
    };
    let crc32c = crc32c::crc32c(&bytes);
    let name = RawName { attempt: *attempt, run: run.clone(), part, kind, crc32c };
    let is_spoiled = bytes.is_empty() || (matches!(kind, RawKind::Segment(_)) && is_cut_short(&bytes));
    if known.contains(&name.path()) || (is_spoiled && known.iter().any(|path| is_of_the_same_file(path, &name))) {
        return Ok(Laid::Known);
    }
    if is_spoiled {
        tracing::warn!(part, ?kind, "a closed file is empty or cut short: its disk was full, or the machine lost its power");
        let is_head = matches!(kind, RawKind::Part | RawKind::Init);
        return Ok(if is_head { Laid::Unreadable } else { Laid::Spoiled });
    }
    let size = bytes.len() as u64;
    let is_json = matches!(kind, RawKind::Part | RawKind::Quality(_));
    let content_type = if is_json { "application/json" } else { "video/mp4" };
    let label = Label { content_type, crc32c, segments_sha256: String::new() };
    objects.put_new_once(&prefix.raw(&name), bytes, &label).await?;
    tracing::debug!(part, ?kind, bytes = size, "carried out");
    Ok(Laid::Written(size))
}

/// How a part's head stands.
enum Head {
    /// Nothing of it can be uploaded yet.
    Waits,
    /// This is next.
    Next(RawKind),
    /// Both files of it are in the bucket.
    There,
}

fn next_head(folder: &Path, part: &Part) -> Head {
    if !part.info {
        return if folder.join(PART_INFO_FILE).is_file() { Head::Next(RawKind::Part) } else { Head::Waits };
    }
    if part.init {
        return Head::There;
    }
    // Empty until the first segment closes (measured), so it counts only then.
    let has_bytes = folder.join(INIT_FILE).metadata().is_ok_and(|init| init.len() > 0);
    if has_bytes && folder.join(segment_file(0)).is_file() { Head::Next(RawKind::Init) } else { Head::Waits }
}

/// What is closed and not carried yet, the segments first.
fn closed(folder: &Path, part: &Part) -> Vec<RawKind> {
    let segments = (part.next..).take_while(|seq| folder.join(segment_file(*seq)).is_file()).map(RawKind::Segment);
    let qualities = (part.next_quality..).take_while(|seq| folder.join(quality_file(*seq)).is_file()).map(RawKind::Quality);
    segments.chain(qualities).take(16 * AT_ONCE).collect()
}

/// The name of a raw object's file in its part's folder.
pub fn disk_name(kind: RawKind) -> String {
    match kind {
        RawKind::Part => PART_INFO_FILE.to_owned(),
        RawKind::Init => INIT_FILE.to_owned(),
        RawKind::Segment(seq) => segment_file(seq),
        RawKind::Quality(seq) => quality_file(seq),
    }
}

/// The parts that lie in a session's folder, in order.
pub fn part_numbers(folder: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut numbers: Vec<u32> = entries.flatten().filter_map(|entry| parse_part_folder(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }

    async fn spool(bucket: &Path, folder: &Path) -> Spool {
        let objects = Objects::open(&format!("file://{}", bucket.display())).await.unwrap();
        let route = Route { prefix: ObjectPrefix::parse("x").unwrap(), attempt: 1, run: "r".into(), folder: folder.to_owned() };
        Spool::new(objects, route).0
    }

    async fn carried(bucket: &Path, folder: &Path) -> Vec<String> {
        let (finish, finished) = watch::channel(true);
        spool(bucket, folder).await.run(finished).await;
        drop(finish);
        Objects::open(&format!("file://{}", bucket.display())).await.unwrap().list("x/raw/").await.unwrap()
    }

    #[tokio::test]
    async fn the_empty_init_of_an_unfinished_first_segment_is_not_carried() {
        let (bucket, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let part = disk.path().join("p000");
        write(&part, "part.json", b"{}");
        write(&part, "init.mp4", b"");
        write(&part, "seg-000000.m4s.tmp", b"open");
        assert_eq!(carried(bucket.path(), disk.path()).await.len(), 1);
        write(&part, "init.mp4", b"init");
        write(&part, "seg-000000.m4s", b"closed");
        assert_eq!(carried(bucket.path(), disk.path()).await.len(), 3);
    }

    #[tokio::test]
    async fn a_spoiled_segment_is_passed_over_and_never_takes_the_place_of_a_whole_one() {
        let (bucket, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let part = disk.path().join("p000");
        let cut_short = [&12_u32.to_be_bytes()[..], b"styp....", &99_u32.to_be_bytes(), b"mdat..."].concat();
        for (name, bytes) in [("part.json", &b"{}"[..]), ("init.mp4", b"init")] {
            write(&part, name, bytes);
        }
        for (seq, bytes) in [(0, &b"first"[..]), (1, &cut_short), (2, b""), (3, b"last")] {
            write(&part, &segment_file(seq), bytes);
        }
        let names = carried(bucket.path(), disk.path()).await;
        let has = |seq: u32| names.iter().any(|name| name.contains(&format!("/{seq:06}-")));
        assert_eq!([0, 1, 2, 3].map(has), [true, false, false, true], "{names:?}");
        // The power goes, and with it what was in a segment that is in the bucket.
        write(&part, &segment_file(0), b"");
        let known: HashSet<String> = names.iter().cloned().collect();
        let (finish, finished) = watch::channel(true);
        let carried = spool(bucket.path(), disk.path()).await.knowing(known).run(finished).await;
        drop(finish);
        assert_eq!((carried.segments, carried.saved), (0, 4));
        let objects = Objects::open(&format!("file://{}", bucket.path().display())).await.unwrap();
        assert_eq!(objects.list("x/raw/").await.unwrap(), names);
    }

    #[tokio::test]
    async fn a_repeated_carry_adds_nothing() {
        let (bucket, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for part in ["p000", "p001"] {
            let folder = disk.path().join(part);
            write(&folder, "part.json", part.as_bytes());
            write(&folder, "init.mp4", b"init");
            for seq in 0..3 {
                write(&folder, &segment_file(seq), format!("{part}{seq}").as_bytes());
            }
            write(&folder, &quality_file(0), b"{}");
        }
        let once = carried(bucket.path(), disk.path()).await;
        assert_eq!(once.len(), 12);
        assert_eq!(carried(bucket.path(), disk.path()).await, once);
    }
}
