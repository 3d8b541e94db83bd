//! The file that an existing image writes: where it lies, and what was appended to it since the last look.
//!
//! It is held open, so that it can be read to its end even where the image has deleted it after an upload of its own.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::scan::first_cluster;

/// Extensions of files that grow by being appended to.
const GROWING: [&str; 2] = ["webm", "mkv"];
/// Extensions of files that are whole only at the end (`UPLOADER_FILE_EXTENSION=.mp4`).
const WHOLE: [&str; 1] = ["mp4"];
/// Bytes read at once; bounds memory.
const READ_AT_ONCE: usize = 4 << 20;
/// So many of the bytes read last are compared with what lies in their place before more is read.
const COMPARED: usize = 4096;
/// The head of a WebM ends within this.
const HEAD_WITHIN: usize = 1 << 20;

/// Where the file will lie: `{root}/{user}/{stem}.{extension}`.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) roots: Vec<PathBuf>,
    pub(super) user: String,
    pub(super) stem: String,
}

/// The file, as far as it was read.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    path: PathBuf,
    position: u64,
    read_last: Vec<u8>,
    head: Option<usize>,
}

impl Place {
    /// The file, once there is something in it. One that is whole only at the end is looked for at the end alone, and so is any other
    /// recording in the folder, which nobody but this job writes to.
    pub(super) fn find(&self, is_over: bool) -> Option<PathBuf> {
        let exact = |extensions: &[&str]| {
            let names = extensions.iter().map(|extension| format!("{}.{extension}", self.stem));
            let files = names.flat_map(|name| self.roots.iter().map(move |root| root.join(&self.user).join(&name)));
            files.into_iter().find(|file| is_filled(file))
        };
        exact(&GROWING).or_else(|| is_over.then(|| exact(&WHOLE).or_else(|| self.newest()))?)
    }

    fn newest(&self) -> Option<PathBuf> {
        let folders = self.roots.iter().filter_map(|root| std::fs::read_dir(root.join(&self.user)).ok());
        let files = folders.flatten().flatten().map(|entry| entry.path());
        let known = |file: &Path| file.extension().and_then(|text| text.to_str()).is_some_and(is_known);
        let recordings = files.filter(|file| known(file) && is_filled(file));
        recordings.max_by_key(|file| file.metadata().and_then(|facts| facts.modified()).unwrap_or(SystemTime::UNIX_EPOCH))
    }
}

fn is_known(extension: &str) -> bool {
    GROWING.contains(&extension) || WHOLE.contains(&extension)
}

fn is_filled(file: &Path) -> bool {
    file.metadata().is_ok_and(|facts| facts.is_file() && facts.len() > 0)
}

impl Source {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { file: File::open(&path)?, path, position: 0, read_last: Vec::new(), head: None })
    }

    /// Reads on, a bounded number of bytes; none where nothing was appended.
    pub(super) fn read_on(&mut self, is_over: bool) -> io::Result<Vec<u8>> {
        if is_over && self.was_replaced() {
            self.file = File::open(&self.path)?;
        }
        if !self.is_in_place(self.position)? && !self.found_again()? {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; READ_AT_ONCE];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], self.position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        if self.head.is_none() && self.position == 0 {
            self.head = first_cluster(&bytes[..filled.min(HEAD_WITHIN)]);
        }
        self.position += filled as u64;
        self.read_last.extend_from_slice(&bytes[filled.saturating_sub(COMPARED)..]);
        let surplus = self.read_last.len().saturating_sub(COMPARED);
        self.read_last.drain(..surplus);
        Ok(bytes)
    }

    /// Another file lies at the path by now (not: none).
    fn was_replaced(&self) -> bool {
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let (now, held) = (self.path.metadata(), self.file.metadata());
        now.is_ok_and(|now| held.is_ok_and(|held| !same(&now, &held)))
    }

    /// What was read last still lies before `position`.
    fn is_in_place(&self, position: u64) -> io::Result<bool> {
        let Some(from) = position.checked_sub(self.read_last.len() as u64) else { return Ok(false) };
        let mut there = vec![0; self.read_last.len()];
        match self.file.read_exact_at(&mut there, from) {
            Ok(()) => Ok(there == self.read_last),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Some images write a length into the head when the recording is over, which moves all that follows.
    fn found_again(&mut self) -> io::Result<bool> {
        let mut head = vec![0; HEAD_WITHIN];
        let filled = self.file.read_at(&mut head, 0)?;
        let (Some(now), Some(before)) = (first_cluster(&head[..filled]), self.head) else { return Ok(false) };
        let moved = (self.position + now as u64).saturating_sub(before as u64);
        if !self.is_in_place(moved)? {
            return Ok(false);
        }
        (self.position, self.head) = (moved, Some(now));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path) -> Place {
        std::fs::create_dir_all(root.join("u")).unwrap();
        Place { roots: vec![root.join("absent"), root.to_owned()], user: "u".into(), stem: "s".into() }
    }

    fn webm(head: &[u8], blocks: &[u8]) -> Vec<u8> {
        [head, &[0x1f, 0x43, 0xb6, 0x75, 0x81, 0xe7], blocks].concat()
    }

    /// Bytes of which no two places look alike.
    fn noise(seed: u32) -> Vec<u8> {
        (0..9000_u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
    }

    #[test]
    fn the_exact_name_goes_before_any_other_and_an_mp4_waits_for_the_end() {
        let root = tempfile::tempdir().unwrap();
        let (place, folder) = (place(root.path()), root.path().join("u"));
        assert_eq!(place.find(true), None);
        std::fs::write(folder.join("s.mp4"), "m").unwrap();
        std::fs::write(folder.join("backup.wav"), "w").unwrap();
        assert_eq!((place.find(false), place.find(true)), (None, Some(folder.join("s.mp4"))));
        std::fs::write(folder.join("other.webm"), "o").unwrap();
        std::fs::write(folder.join("s.webm"), "").unwrap();
        assert_eq!(place.find(false), None, "an empty file is no recording");
        std::fs::write(folder.join("s.webm"), "x").unwrap();
        assert_eq!(place.find(false), Some(folder.join("s.webm")));
    }

    #[test]
    fn a_file_that_was_deleted_is_read_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("s.webm");
        std::fs::write(&file, webm(b"head", b"one")).unwrap();
        let mut source = Source::open(file.clone()).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(source.read_on(true).unwrap(), webm(b"head", b"one"));
    }

    #[test]
    fn a_length_that_was_written_into_the_head_neither_doubles_nor_costs_a_byte() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("s.webm");
        std::fs::write(&file, webm(b"head", &noise(1))).unwrap();
        let mut source = Source::open(file.clone()).unwrap();
        source.read_on(false).unwrap();
        for replaced in [false, true] {
            let longer = webm(if replaced { b"head and duration, too" } else { b"head and duration" }, &noise(1));
            let tail: &[u8] = if replaced { b"the end of it all" } else { b"the end" };
            let whole = [&longer[..], tail].concat();
            if replaced {
                std::fs::remove_file(&file).unwrap();
            }
            std::fs::write(&file, whole).unwrap();
            let wanted: &[u8] = if replaced { b" of it all" } else { b"the end" };
            assert_eq!(source.read_on(true).unwrap(), wanted);
        }
    }

    #[test]
    fn a_file_that_became_another_gives_nothing_more() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("s.webm");
        std::fs::write(&file, webm(b"head", &noise(1))).unwrap();
        let mut source = Source::open(file.clone()).unwrap();
        source.read_on(false).unwrap();
        std::fs::write(&file, webm(b"head", &noise(2))).unwrap();
        assert!(source.read_on(true).unwrap().is_empty());
    }
}
