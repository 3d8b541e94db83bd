//! The end of what the browser says on its standard error, where it also writes its pages' consoles. Read from there and not over
//! the protocol: a page can tell when its runtime is being listened to, and could flood the connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;

/// Lines kept.
const LINES: usize = 400;
/// Bytes of a line kept.
const LINE_BYTES: usize = 1_000;
/// What is copied into the log file, for somebody who keeps the scratch folder.
const LOG_BYTES: u64 = 4 << 20;

/// The latest lines; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Console(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<String>,
    open: Vec<u8>,
}

impl Console {
    /// Reads until the browser ends.
    pub(super) fn follow(mut from: ChildStderr, mut log: File) -> Self {
        let console = Self::default();
        let heard = console.clone();
        tokio::spawn(async move {
            let (mut buffer, mut logged) = (vec![0; 8_192], 0u64);
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                let bytes = &buffer[..read];
                heard.hear(bytes);
                if logged < LOG_BYTES {
                    logged += read as u64;
                    let _ = log.write_all(bytes);
                }
            }
        });
        console
    }

    fn hear(&self, bytes: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if *byte == b'\n' {
                let open = std::mem::take(&mut lines.open);
                lines.add(&open);
            } else if lines.open.len() < LINE_BYTES {
                lines.open.push(*byte);
            }
        }
    }

    /// The latest lines, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).whole.iter().cloned().collect()
    }
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes);
        let line: String = without_head(&line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Of a machine without a system bus, which the browser finds remarkable several times a second.
        if line.trim().is_empty() || line.starts_with("ERROR bus ") || line.starts_with("ERROR object_proxy ") {
            return;
        }
        self.whole.push_back(line);
        if self.whole.len() > LINES {
            self.whole.pop_front();
        }
    }
}

/// `[process:thread:date/time:LEVEL:folder/source.cc:line] text` as `LEVEL source text`.
fn without_head(line: &str) -> String {
    let Some((head, text)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return line.to_owned() };
    let fields: Vec<&str> = head.split(':').collect();
    match fields.as_slice() {
        [_, _, _, level, source, ..] if level.chars().all(|c| c.is_ascii_uppercase()) => {
            let source = source.rsplit('/').next().unwrap_or_default();
            format!("{level} {}{text}", source.trim_end_matches(".cc"))
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_kept_and_none_grows_without_end() {
        let console = Console::default();
        console.hear(b"[1:2:1121/110054.484583:INFO:CONSOLE:7] \"hello\", source: x (7)\n");
        assert_eq!(console.lines(), ["INFO CONSOLE \"hello\", source: x (7)"]);
        for _ in 0..20_000 {
            console.hear(&[b'x'; 500]);
        }
        console.hear(b"\n\x1b[31mend\n");
        let lines = console.lines();
        assert_eq!((lines[1].len(), lines[2].as_str()), (LINE_BYTES, " [31mend"));
        for number in 0..10_000 {
            console.hear(format!("line {number}\n").as_bytes());
        }
        assert_eq!((console.lines().len(), console.lines()[399].as_str()), (LINES, "line 9999"));
    }
}
