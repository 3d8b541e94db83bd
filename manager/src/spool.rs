//! Carries the recording out while it is being made: each closed file of a part goes to the bucket as it closes.
//!
//! The disk is the backlog: an outage of the bucket costs nothing but time. Nothing local is deleted here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bot_model::object_prefix::ObjectPrefix;
use bot_model::segment::{INIT_FILE, PART_INFO_FILE, RawKind, RawName, parse_part_folder, part_folder, segment_file};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::objects::{Label, ObjectError, Objects};

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Pause after a failed upload, on top of the bucket's own retries.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

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
    /// Files that lay on the disk, closed, and were not in the bucket yet at the last look.
    pub waiting: u64,
}

/// How far a part is.
#[derive(Debug, Default)]
struct Part {
    info: bool,
    init: bool,
    next: u32,
}

/// The carrier of one run.
pub struct Spool {
    objects: Objects,
    route: Route,
    parts: BTreeMap<u32, Part>,
    carried: Carried,
    told: watch::Sender<Carried>,
}

/// What one look did.
enum Looked {
    /// Everything closed is in the bucket.
    Clear,
    /// Something was uploaded, and more may wait.
    Moved,
}

impl Spool {
    /// A carrier, and where to read how far it is.
    pub fn new(objects: Objects, route: Route) -> (Self, watch::Receiver<Carried>) {
        let (told, read) = watch::channel(Carried::default());
        (Self { objects, route, parts: BTreeMap::new(), carried: Carried::default(), told }, read)
    }

    /// Carries until `finish` turns true and everything closed by then is in the bucket. It never gives up: whoever has to
    /// stop earlier drops the future, and the disk keeps what is left.
    pub async fn run(mut self, mut finish: watch::Receiver<bool>) -> Carried {
        loop {
            let last_look = *finish.borrow_and_update();
            match self.look().await {
                Ok(Looked::Moved) => {}
                Ok(Looked::Clear) if last_look => return self.carried,
                Ok(Looked::Clear) => {
                    let _ = tokio::time::timeout(LOOK_EVERY, finish.changed()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a segment could not be uploaded; it stays on disk and is tried again");
                    sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Looked, ObjectError> {
        let mut looked = Looked::Clear;
        for number in part_numbers(&self.route.folder) {
            let folder = self.route.folder.join(part_folder(number));
            while let Some((kind, file)) = next_file(&folder, self.parts.entry(number).or_default()) {
                let Ok(bytes) = std::fs::read(&file) else { break };
                if kind == RawKind::Init && bytes.is_empty() {
                    break;
                }
                self.carry(number, kind, bytes.into()).await?;
                looked = Looked::Moved;
            }
        }
        Ok(looked)
    }

    async fn carry(&mut self, part: u32, kind: RawKind, bytes: Bytes) -> Result<(), ObjectError> {
        let begun = Instant::now();
        let crc32c = crc32c::crc32c(&bytes);
        let size = bytes.len() as u64;
        let Route { prefix, attempt, run, .. } = &self.route;
        let name = RawName { attempt: *attempt, run: run.clone(), part, kind, crc32c };
        let content_type = if kind == RawKind::Part { "application/json" } else { "video/mp4" };
        let label = Label { content_type, crc32c, segments_sha256: String::new() };
        self.objects.put_new(&prefix.raw(&name), bytes, &label).await?;
        let state = self.parts.entry(part).or_default();
        match kind {
            RawKind::Part => state.info = true,
            RawKind::Init => state.init = true,
            RawKind::Segment(seq) => {
                state.next = seq + 1;
                self.carried.parts += u32::from(seq == 0);
                self.carried.segments += 1;
                self.carried.bytes += size;
                tracing::debug!(part, seq, bytes = size, millis = begun.elapsed().as_millis() as u64, "segment carried out");
            }
        }
        let _ = self.told.send(self.carried);
        Ok(())
    }
}

/// The next closed file of a part that is not in the bucket yet.
fn next_file(folder: &Path, part: &mut Part) -> Option<(RawKind, PathBuf)> {
    let closed = |name: &str| Some(folder.join(name)).filter(|file| file.is_file());
    if !part.info {
        return closed(PART_INFO_FILE).map(|file| (RawKind::Part, file));
    }
    let segment = closed(&segment_file(part.next))?;
    if !part.init {
        // Empty until the first segment closes (measured), so it counts only now.
        return closed(INIT_FILE).map(|file| (RawKind::Init, file));
    }
    Some((RawKind::Segment(part.next), segment))
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
    async fn a_repeated_carry_adds_nothing() {
        let (bucket, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for part in ["p000", "p001"] {
            let folder = disk.path().join(part);
            write(&folder, "part.json", part.as_bytes());
            write(&folder, "init.mp4", b"init");
            for seq in 0..3 {
                write(&folder, &segment_file(seq), format!("{part}{seq}").as_bytes());
            }
        }
        let once = carried(bucket.path(), disk.path()).await;
        assert_eq!(once.len(), 10);
        assert_eq!(carried(bucket.path(), disk.path()).await, once);
    }
}
