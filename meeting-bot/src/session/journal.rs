//! The journal of the people on this disk (see [`bot_model::people`]): appended to line by line and never rewritten, bounded, and
//! no reason to end a recording where it cannot be written.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bot_model::people::{JOURNAL_FILE, Kind, Line, Noted};

/// All messages together: some 100,000 of usual length.
const CHAT_BYTES: u64 = 16 << 20;
/// The whole journal: ten hours in which somebody begins or ceases to speak every quarter of a second are half of it.
const ALL_BYTES: u64 = 32 << 20;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: Option<File>,
    bytes: u64,
    chat_bytes: u64,
    most: (u64, u64),
    is_full_of: [bool; 2],
}

impl Journal {
    /// Opens the journal of a session's folder, after what an earlier session wrote there.
    pub fn open(folder: &Path) -> Self {
        Self::bounded(folder, (CHAT_BYTES, ALL_BYTES))
    }

    fn bounded(folder: &Path, most: (u64, u64)) -> Self {
        let opened = opened(&folder.join(JOURNAL_FILE));
        if let Err(error) = &opened {
            tracing::warn!(%error, "who is in the call cannot be written down");
        }
        let (file, bytes) = opened.map_or((None, 0), |(file, bytes)| (Some(file), bytes));
        Self { file, bytes, chat_bytes: 0, most, is_full_of: [false; 2] }
    }

    /// Appends lines in one write.
    pub fn write(&mut self, lines: &[Line]) {
        let mut text = String::new();
        for line in lines {
            self.add(line, &mut text);
        }
        self.append(&text);
    }

    fn add(&mut self, line: &Line, text: &mut String) {
        let is_chat = matches!(line.what, Noted::Chat { .. });
        let Ok(written) = serde_json::to_string(line) else { return };
        let length = written.len() as u64 + 1;
        let all = self.bytes + text.len() as u64 + length;
        let of = if all > self.most.1 {
            Some(Kind::All)
        } else if is_chat && self.chat_bytes + length > self.most.0 {
            Some(Kind::Chat)
        } else {
            None
        };
        let Some(of) = of.filter(|_| !matches!(line.what, Noted::Ended)) else {
            self.chat_bytes += if is_chat { length } else { 0 };
            text.push_str(&written);
            text.push('\n');
            return;
        };
        let is_told = std::mem::replace(&mut self.is_full_of[usize::from(of == Kind::All)], true);
        if !is_told && let Ok(full) = serde_json::to_string(&Line { at: line.at, what: Noted::Full { of } }) {
            text.push_str(&full);
            text.push('\n');
        }
    }

    fn append(&mut self, text: &str) {
        let Some(file) = self.file.as_mut().filter(|_| !text.is_empty()) else { return };
        match file.write_all(text.as_bytes()) {
            Ok(()) => self.bytes += text.len() as u64,
            Err(error) => {
                tracing::warn!(%error, "who is in the call is not written down any more");
                self.file = None;
            }
        }
    }
}

/// At its end, and at the beginning of a line even where a killed process left half a one.
fn opened(path: &Path) -> std::io::Result<(File, u64)> {
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    if bytes == 0 {
        return Ok((file, 0));
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok((file, bytes));
    }
    file.write_all(b"\n")?;
    Ok((file, bytes + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn line(what: Noted) -> Line {
        Line { at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(), what }
    }

    fn chat(text: &str) -> Line {
        line(Noted::Chat { key: "k".into(), author: "A".into(), text: text.into(), cut: false })
    }

    fn read(folder: &Path) -> Vec<Result<Line, ()>> {
        let text = std::fs::read_to_string(folder.join(JOURNAL_FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).map_err(drop)).collect()
    }

    #[test]
    fn a_killed_session_s_half_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(JOURNAL_FILE), "{\"at\":\"20").unwrap();
        Journal::open(folder.path()).write(&[line(Noted::Left { person: 1 })]);
        Journal::open(folder.path()).write(&[line(Noted::Ended)]);
        let lines = read(folder.path());
        assert_eq!(lines, [Err(()), Ok(line(Noted::Left { person: 1 })), Ok(line(Noted::Ended))]);
    }

    #[test]
    fn chat_alone_cannot_fill_the_journal_and_nothing_grows_past_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::bounded(folder.path(), (1_000, 4_000));
        for _ in 0..100 {
            journal.write(&[chat(&"x".repeat(100)), line(Noted::Speaking { person: 1 })]);
        }
        journal.write(&[line(Noted::Ended)]);
        let lines = read(folder.path());
        let full: Vec<Kind> =
            lines.iter().flatten().filter_map(|line| if let Noted::Full { of } = line.what { Some(of) } else { None }).collect();
        assert_eq!(full, [Kind::Chat, Kind::All]);
        assert_eq!(lines.last(), Some(&Ok(line(Noted::Ended))));
        assert!(std::fs::metadata(folder.path().join(JOURNAL_FILE)).unwrap().len() < 4_300);
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_the_journal_alone() {
        let mut journal = Journal::open(Path::new("/nowhere/at/all"));
        journal.write(&[line(Noted::Ended)]);
    }
}
