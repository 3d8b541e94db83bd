//! One part: one ffmpeg run in a folder of its own, laid out as [`bot_model::segment`] says.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bot_model::segment::{self, PartEnd, PartInfo};
use bot_model::session::CaptureSettings;
use chrono::{DateTime, Utc};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::time::Instant;

use super::command;
use super::meter::Meter;
use crate::children::{ChildGroup, SpawnError};

/// At its end a part is given so long to take in what was grabbed by then: a tenth of a second usually.
const CATCH_UP: Duration = Duration::from_millis(2_500);
const CATCH_UP_EVERY: Duration = Duration::from_millis(40);
/// No sound for so long: nothing more will come. A machine at its limit has been seen to pause for two seconds.
const STANDS_STILL: Duration = Duration::from_millis(2_500);
/// ffmpeg closes a segment within a fraction of this.
const QUIT: Duration = Duration::from_millis(2_500);
const TERMINATE: Duration = Duration::from_millis(1_000);
/// Lines of ffmpeg's output kept for the debug log.
const LAST_LINES: usize = 12;

/// Why there is no part.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// ffmpeg could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The folder could not be written.
    #[error("cannot write the part's folder: {0}")]
    Io(#[from] std::io::Error),
}

/// What ffmpeg says while it runs.
#[derive(Debug)]
struct Heard {
    meter: Meter,
    last_lines: Vec<String>,
}

/// Where picture and sound come from.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// Such as `:7`.
    pub display: &'a str,
    /// How much later than its picture a sound arrives.
    pub sound_lag: Duration,
}

/// A running part.
#[derive(Debug)]
pub struct Part {
    number: u32,
    folder: PathBuf,
    process: ChildGroup,
    heard: Arc<Mutex<Heard>>,
    began: Instant,
}

/// What lies closed in a part's folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    /// Closed segments.
    pub segments: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl Part {
    /// Starts the next free part below `output`. `ffmpeg` is the prepared program with its environment.
    pub fn start(output: &Path, settings: &CaptureSettings, way: &Way<'_>, mut ffmpeg: Command) -> Result<Self, PartError> {
        let number = next_part(output)?;
        let folder = output.join(segment::part_folder(number));
        std::fs::create_dir(&folder)?;
        let started_at = truncate(Utc::now());
        let info = PartInfo {
            part: number,
            started_at,
            // Both inputs share the wall clock and the sound's lag is taken off it (see `command`): nothing is left to shift.
            audio_lag_ms: 0,
            width: settings.width,
            height: settings.height,
            frames_per_second: settings.frames_per_second,
        };
        write_json(&folder.join(segment::PART_INFO_FILE), &info)?;
        ffmpeg.args(command::arguments(settings, way, started_at)).current_dir(&folder);
        ffmpeg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = ChildGroup::spawn("ffmpeg", &mut ffmpeg)?;
        let began = Instant::now();
        let heard = Heard { meter: Meter::new(settings.frames_per_second), last_lines: Vec::new() };
        let heard = Arc::new(Mutex::new(heard));
        if let Some(stderr) = process.child_mut().stderr.take() {
            tokio::spawn(listen(stderr, heard.clone()));
        }
        if let Some(stdout) = process.child_mut().stdout.take() {
            tokio::spawn(measure(stdout, heard.clone(), began));
        }
        Ok(Self { number, folder, process, heard, began })
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is closed by now.
    pub fn closed(&self) -> Closed {
        closed(&self.folder)
    }

    /// What ffmpeg says of picture and sound.
    pub fn meter(&self) -> Meter {
        self.heard().meter.clone()
    }

    /// Since it began.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The end of what ffmpeg said.
    pub fn last_lines(&self) -> Vec<String> {
        self.heard().last_lines.clone()
    }

    /// Its exit status once it has ended by itself.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.has_ended()
    }

    /// Ends it: `q`, then SIGTERM, then SIGKILL; the segment that was open is closed by the first two. Writes
    /// `part-end.json`.
    pub async fn stop(mut self) -> Closed {
        self.catch_up().await;
        let ended_at = Utc::now();
        if let Some(mut stdin) = self.process.child_mut().stdin.take() {
            let _ = stdin.write_all(b"q").await;
            let _ = stdin.flush().await;
            if self.process.wait_for(QUIT).await.is_none() {
                tracing::warn!(part = self.number, "ffmpeg did not end on q");
                self.process.signal(Signal::TERM);
                if self.process.wait_for(TERMINATE).await.is_none() {
                    self.process.signal(Signal::KILL);
                    self.process.wait_for(TERMINATE).await;
                }
            }
        }
        self.write_end(ended_at)
    }

    /// Waits for what was grabbed by now to be in the file. Upon `q` ffmpeg throws away what its queues hold: nothing on a machine with
    /// room, and 3.6 s of 9 where ffmpeg was starved for six of them (measured; of these a wait of 2.5 s saved one). The sound says how far
    /// ffmpeg is: its time is told with each packet, and ffmpeg takes picture and sound in by their order (measured: no frame is taken in
    /// while no sound comes).
    async fn catch_up(&mut self) {
        let until = self.began.elapsed();
        while self.began.elapsed() < until + CATCH_UP && self.process.has_ended().is_none() {
            let meter = self.meter();
            if meter.sound_reached() >= until || meter.sound_age(self.began.elapsed()) > STANDS_STILL {
                return;
            }
            tokio::time::sleep(CATCH_UP_EVERY).await;
        }
    }

    /// Writes down the end of a part whose ffmpeg has ended.
    pub fn conclude(self) -> Closed {
        self.write_end(Utc::now())
    }

    fn write_end(&self, ended_at: DateTime<Utc>) -> Closed {
        let closed = self.closed();
        let end = PartEnd { ended_at, segments: closed.segments };
        if let Err(error) = write_json(&self.folder.join(segment::PART_END_FILE), &end) {
            tracing::error!(part = self.number, %error, "cannot write the part's end");
        }
        closed
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(stderr: ChildStderr, heard: Arc<Mutex<Heard>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.contains("Opening") {
            if heard.last_lines.len() == LAST_LINES {
                heard.last_lines.remove(0);
            }
            heard.last_lines.push(line);
        }
    }
}

async fn measure(stdout: ChildStdout, heard: Arc<Mutex<Heard>>, began: Instant) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        heard.lock().unwrap_or_else(PoisonError::into_inner).meter.line(&line, began.elapsed());
    }
}

/// What lies closed in `folder`. Segments appear under their final name only when they are closed.
pub fn closed(folder: &Path) -> Closed {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let segments = entries.filter(|entry| entry.file_name().to_str().and_then(segment::parse_segment_file).is_some());
    segments.fold(Closed::default(), |sum, entry| Closed {
        segments: sum.segments + 1,
        bytes: sum.bytes + entry.metadata().map_or(0, |metadata| metadata.len()),
    })
}

fn next_part(output: &Path) -> std::io::Result<u32> {
    let mut next = 0;
    for entry in std::fs::read_dir(output)? {
        if let Some(number) = entry?.file_name().to_str().and_then(segment::parse_part_folder) {
            next = next.max(number + 1);
        }
    }
    Ok(next)
}

pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, serde_json::to_vec_pretty(value)?)?;
    std::fs::rename(temporary, path)
}

/// To the microseconds that ffmpeg's option can express.
fn truncate(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_part_takes_the_next_free_number_and_never_an_old_folder() {
        let output = tempfile::tempdir().unwrap();
        assert_eq!(next_part(output.path()).unwrap(), 0);
        std::fs::create_dir(output.path().join("p000")).unwrap();
        std::fs::create_dir(output.path().join("p007")).unwrap();
        std::fs::create_dir(output.path().join("other")).unwrap();
        assert_eq!(next_part(output.path()).unwrap(), 8);
    }

    #[test]
    fn only_closed_segments_count() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("seg-000000.m4s", 10), ("seg-000001.m4s.tmp", 5), ("init.mp4", 3), ("index.m3u8", 2)] {
            std::fs::write(folder.path().join(name), vec![0u8; bytes]).unwrap();
        }
        assert_eq!(closed(folder.path()), Closed { segments: 1, bytes: 10 });
    }
}
