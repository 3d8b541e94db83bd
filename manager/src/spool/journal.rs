//! Carries the journal of the people out beside the segments: what has come to it since the last look, in pieces of whole lines.
//! Best effort: it never holds a segment up, and what is missing in the bucket still lies on the disk.

use std::collections::HashSet;
use std::io::SeekFrom;
use std::path::Path;
use std::time::Duration;

use bot_model::people::{JOURNAL_FILE, Piece, cover};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::{Instant, timeout};

use super::Route;
use crate::objects::{Label, Objects};

/// What the loss of the pod may cost.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// For one piece; a bucket that takes longer has segments to take.
const PIECE_WITHIN: Duration = Duration::from_secs(5);
/// For everything that is left at the end.
const REST_WITHIN: Duration = Duration::from_secs(8);
/// Largest piece; longer than any line.
const PIECE_BYTES: u64 = 1 << 20;
/// So many pieces are laid down once more as few large ones, for whoever has to fetch them.
const MANY: u32 = 16;

/// How far a run's journal is.
pub(super) struct Journal {
    done: u64,
    pieces: u32,
    due: Instant,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { done: 0, pieces: 0, due: Instant::now() }
    }

    /// Begins after what is in the bucket without a hole: names below `raw/`.
    pub(super) fn knowing(route: &Route, known: &HashSet<String>) -> Self {
        let own = |piece: &Piece| (piece.attempt, &piece.run) == (route.attempt, &route.run);
        let pieces: Vec<Piece> = known.iter().filter_map(|name| Piece::parse(name)).filter(own).collect();
        let mut done = 0;
        for (piece, skip) in cover(pieces) {
            if piece.from + skip == done {
                done = piece.to;
            }
        }
        Self { done, ..Self::new() }
    }

    /// Carries what is new, if it is time.
    pub(super) async fn look(&mut self, objects: &Objects, route: &Route) {
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + LOOK_EVERY;
        let _ = timeout(PIECE_WITHIN, Box::pin(self.carry_next(objects, route))).await;
    }

    /// Carries the rest.
    pub(super) async fn finish(&mut self, objects: &Objects, route: &Route) {
        let rest = async {
            while self.carry_next(objects, route).await {}
            if self.pieces > MANY {
                self.done = 0;
                while self.carry_next(objects, route).await {}
            }
        };
        if timeout(REST_WITHIN, Box::pin(rest)).await.is_err() {
            tracing::warn!("the last of who was in the call is not in the bucket; it is on the disk");
        }
    }

    /// True where a piece was carried.
    async fn carry_next(&mut self, objects: &Objects, route: &Route) -> bool {
        let Some(bytes) = whole_lines(&route.folder.join(JOURNAL_FILE), self.done).await else { return false };
        let to = self.done + bytes.len() as u64;
        let crc32c = crc32c::crc32c(&bytes);
        let piece = Piece { attempt: route.attempt, run: route.run.clone(), from: self.done, to, crc32c };
        let label = Label { content_type: "application/x-ndjson", crc32c, segments_sha256: String::new() };
        match objects.put_new_once(&route.prefix.journal(&piece), bytes, &label).await {
            Ok(_) => {
                (self.done, self.pieces) = (to, self.pieces + 1);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "who is in the call could not be carried out yet");
                false
            }
        }
    }
}

/// The whole lines that begin at `from`, as many as fit into a piece; `None` where there is none.
async fn whole_lines(file: &Path, from: u64) -> Option<Bytes> {
    let mut file = tokio::fs::File::open(file).await.ok()?;
    file.seek(SeekFrom::Start(from)).await.ok()?;
    let mut bytes = Vec::new();
    file.take(PIECE_BYTES).read_to_end(&mut bytes).await.ok()?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    bytes.truncate(end);
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bot_model::object_prefix::ObjectPrefix;
    use std::io::Write as _;

    struct Disk {
        disk: tempfile::TempDir,
        bucket: tempfile::TempDir,
        route: Route,
    }

    impl Disk {
        fn new() -> Self {
            let (disk, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let prefix = ObjectPrefix::parse("x").unwrap();
            let route = Route { prefix, attempt: 1, run: "r".into(), folder: disk.path().to_owned() };
            Self { disk, bucket, route }
        }

        fn append(&self, text: &str) {
            let file = self.disk.path().join(JOURNAL_FILE);
            std::fs::File::options().create(true).append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
        }

        async fn objects(&self) -> Objects {
            Objects::open(&format!("file://{}", self.bucket.path().display())).await.unwrap()
        }

        async fn pieces(&self) -> Vec<Piece> {
            let names = self.objects().await.list("x/raw/").await.unwrap();
            names.iter().map(|name| Piece::parse(name).unwrap()).collect()
        }

        /// What a reader of the bucket gets.
        async fn carried(&self) -> String {
            let (objects, mut text) = (self.objects().await, String::new());
            for (piece, skip) in cover(self.pieces().await) {
                let bytes = objects.get(&self.route.prefix.journal(&piece)).await.unwrap().unwrap();
                text.push_str(std::str::from_utf8(&bytes[skip as usize..]).unwrap());
            }
            text
        }
    }

    #[tokio::test]
    async fn only_whole_lines_are_carried_and_each_once() {
        let disk = Disk::new();
        let (objects, mut journal) = (disk.objects().await, Journal::new());
        disk.append("one\ntw");
        journal.look(&objects, &disk.route).await;
        assert_eq!(disk.carried().await, "one\n");
        disk.append("o\nthree\n");
        journal.look(&objects, &disk.route).await;
        assert_eq!(disk.pieces().await.len(), 1, "it was not time yet");
        journal.finish(&objects, &disk.route).await;
        assert_eq!(disk.carried().await, "one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn a_restarted_carrier_and_one_that_knows_the_bucket_change_nothing_of_what_is_read() {
        let disk = Disk::new();
        let objects = disk.objects().await;
        disk.append("one\n");
        Journal::new().finish(&objects, &disk.route).await;
        disk.append("two\n");
        Journal::new().finish(&objects, &disk.route).await;
        disk.append("three\n");
        let known = disk.pieces().await.iter().map(Piece::path).collect();
        Journal::knowing(&disk.route, &known).finish(&objects, &disk.route).await;
        assert_eq!(disk.carried().await, "one\ntwo\nthree\n");
        assert_eq!(disk.pieces().await.last().unwrap().from, 8);
    }

    #[tokio::test]
    async fn many_small_pieces_are_laid_down_as_one_at_the_end() {
        let disk = Disk::new();
        let (objects, mut journal) = (disk.objects().await, Journal::new());
        for number in 0..20 {
            disk.append(&format!("{number}\n"));
            journal.due = Instant::now();
            journal.look(&objects, &disk.route).await;
        }
        journal.finish(&objects, &disk.route).await;
        assert_eq!(cover(disk.pieces().await).len(), 1);
        assert_eq!(disk.carried().await.lines().count(), 20);
    }
}
