//! The end of what the programs of a run wrote: bounded, and cut at whole lines. Reads only; decides nothing.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use api::logs::{LogError, LogOf, RunLogs};
use async_trait::async_trait;
use bot_model::ids::JobName;

use super::{LaunchError, Launcher, RunKey};

/// How much of each log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Lines at most.
    pub lines: usize,
    /// Bytes at most.
    pub bytes: u64,
}

/// The end of what one program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramLog {
    /// Which, such as `manager`.
    pub program: String,
    /// Whole lines, or why there are none, in parentheses.
    pub text: String,
}

impl Tail {
    /// The end of a file; `None` where there is none.
    pub(super) fn of_file(self, file: &Path) -> std::io::Result<Option<String>> {
        let mut file = match std::fs::File::open(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        let from = length.saturating_sub(self.bytes);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(self.bytes).read_to_end(&mut bytes)?;
        Ok(Some(self.of(&bytes, from > 0)))
    }

    /// The last lines of `bytes`, of which the first is left out where it `is_cut`.
    pub(super) fn of(self, bytes: &[u8], is_cut: bool) -> String {
        let keep = bytes.len().saturating_sub(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        let text = String::from_utf8_lossy(bytes.get(keep..).unwrap_or_default());
        let whole = if is_cut || keep > 0 { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
        let lines: Vec<&str> = whole.lines().collect();
        let last = lines.get(lines.len().saturating_sub(self.lines)..).unwrap_or_default();
        last.iter().flat_map(|line| [line, "\n"]).collect()
    }
}

/// A launcher's logs as the API asks for them.
pub struct Logs(pub Arc<dyn Launcher>);

#[async_trait]
impl RunLogs for Logs {
    async fn tail(&self, of: &LogOf) -> Result<Option<String>, LogError> {
        let run = RunKey { job: JobName::for_instance(&of.bot), attempt: of.attempt };
        let tail = Tail { lines: of.lines, bytes: of.bytes };
        let logs = self.0.logs(&run, tail).await.map_err(|error| match error {
            LaunchError::Refused { .. } => LogError { message: error.to_string(), is_transient: false },
            _ => LogError { message: error.to_string(), is_transient: true },
        })?;
        let section = |log: &ProgramLog| format!("==> {} <==\n{}\n", log.program, log.text);
        Ok(logs.map(|logs| logs.iter().map(section).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_whole_lines_within_both_bounds() {
        let of = |lines, bytes, text: &str| Tail { lines, bytes }.of(text.as_bytes(), false);
        assert_eq!(of(2, 100, "one\ntwo\nthree\n"), "two\nthree\n");
        assert_eq!(of(9, 8, "one\ntwo\nthree\n"), "three\n");
        assert_eq!(of(9, 2, "one\ntwo\nthree\n"), "");
        assert_eq!(of(9, 100, "unfinished"), "unfinished\n");
        assert_eq!(Tail { lines: 9, bytes: 100 }.of(b"\xff\xfe\nlast\n", true), "last\n");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        assert_eq!(Tail { lines: 1, bytes: 4 }.of_file(&file).unwrap(), None);
        std::fs::write(&file, "one\ntwo\nsix\n").unwrap();
        assert_eq!(Tail { lines: 9, bytes: 9 }.of_file(&file).unwrap().unwrap(), "two\nsix\n".to_owned());
    }
}
