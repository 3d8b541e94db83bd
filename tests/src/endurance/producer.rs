//! Segments of a long recording, made in seconds: one minute is encoded, and ffmpeg repeats it by copy, with time going on, in the
//! very form that the capture writes. They are closed, one after the other, when asked to.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bot_model::people::{JOURNAL_FILE, JOURNAL_VERSION, Line, Noted, Role};
use bot_model::quality::{Figures, Stretch};
use bot_model::segment::{INIT_FILE, PART_INFO_FILE, PartInfo, part_folder, quality_file, segment_file};
use chrono::{DateTime, TimeDelta, Utc};

/// Length of a segment, as the capture's default.
pub const SEGMENT_SECS: u32 = 4;
/// Segments of a minute, for which the capture writes how it was.
const MINUTE: u32 = 60 / SEGMENT_SECS;
const RATE: u32 = 15;

/// The producer.
pub struct Producer {
    store: PathBuf,
    part: PathBuf,
    journal: File,
    started_at: DateTime<Utc>,
    closed: u32,
    count: u32,
}

impl Producer {
    /// Makes `secs` of segments in `store`, to be closed in `session`, which lies on the same disk.
    pub fn new(store: &Path, session: &Path, secs: u32) -> Result<Self> {
        let part = session.join(part_folder(0));
        std::fs::create_dir_all(store)?;
        std::fs::create_dir_all(&part)?;
        make(store, secs)?;
        // The minute is some milliseconds longer than itself, so that now and then two segments become one.
        let count = (0..).take_while(|seq| store.join(segment_file(*seq)).is_file()).count() as u32;
        ensure!(count >= secs / SEGMENT_SECS * 99 / 100, "ffmpeg made {count} segments of {secs} s");
        let started_at = Utc::now();
        let info = PartInfo { part: 0, started_at, audio_lag_ms: 0, width: 320, height: 180, frames_per_second: RATE };
        std::fs::write(part.join(PART_INFO_FILE), serde_json::to_vec(&info)?)?;
        std::fs::rename(store.join(INIT_FILE), part.join(INIT_FILE))?;
        let mut producer = Self {
            store: store.to_owned(),
            part,
            journal: File::create(session.join(JOURNAL_FILE))?,
            started_at,
            closed: 0,
            count,
        };
        producer.note(0, Noted::Began { version: JOURNAL_VERSION })?;
        let name = "Clara".to_owned();
        producer.note(0, Noted::Joined { person: 1, key: "1".into(), name, role: Role::Person })?;
        Ok(producer)
    }

    /// Segments in all.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Closes the next so many segments, with what belongs to them; answers how many are closed.
    pub fn close(&mut self, segments: u32) -> Result<u32> {
        for seq in self.closed..(self.closed + segments).min(self.count) {
            std::fs::rename(self.store.join(segment_file(seq)), self.part.join(segment_file(seq)))?;
            self.closed = seq + 1;
            let spoken = if seq % 2 == 0 { Noted::Speaking { person: 1 } } else { Noted::Silent { person: 1 } };
            self.note(seq * SEGMENT_SECS, spoken)?;
            if self.closed.is_multiple_of(MINUTE) {
                self.tell_how_it_was(self.closed / MINUTE - 1)?;
            }
        }
        Ok(self.closed)
    }

    fn at(&self, secs: u32) -> DateTime<Utc> {
        self.started_at + TimeDelta::seconds(secs.into())
    }

    fn note(&mut self, secs: u32, what: Noted) -> Result<()> {
        let line = serde_json::to_string(&Line { at: self.at(secs), what })?;
        Ok(writeln!(self.journal, "{line}")?)
    }

    fn tell_how_it_was(&self, minute: u32) -> Result<()> {
        let figures = Figures { watched_secs: 60.0, frames: 900, speaking_secs: 30.0, ..Figures::default() };
        let stretch = Stretch { from: self.at(minute * 60), figures, events: Vec::new() };
        let draft = self.store.join(quality_file(minute));
        std::fs::write(&draft, serde_json::to_vec(&stretch)?)?;
        Ok(std::fs::rename(draft, self.part.join(quality_file(minute)))?)
    }
}

fn make(store: &Path, secs: u32) -> Result<()> {
    let group = (RATE * SEGMENT_SECS).to_string();
    let rate = format!("testsrc=size=320x180:rate={RATE}");
    ffmpeg(
        store,
        &[
            &["-f", "lavfi", "-i", &rate, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "60"][..],
            &["-c:v", "libx264", "-preset", "ultrafast", "-crf", "40", "-pix_fmt", "yuv420p", "-bf", "0"],
            &["-g", &group, "-keyint_min", &group, "-sc_threshold", "0", "-c:a", "aac", "-b:a", "32k", "minute.mp4"],
        ]
        .concat(),
    )?;
    ffmpeg(
        store,
        &[
            &["-stream_loop", "-1", "-i", "minute.mp4", "-t", &secs.to_string(), "-c", "copy"][..],
            &["-f", "hls", "-hls_time", "4", "-hls_segment_type", "fmp4", "-hls_playlist_type", "event", "-hls_list_size", "0"],
            &["-hls_flags", "independent_segments+temp_file", "-hls_fmp4_init_filename", INIT_FILE],
            &["-hls_segment_filename", "seg-%06d.m4s", "index.m3u8"],
        ]
        .concat(),
    )
}

fn ffmpeg(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.current_dir(folder).args(["-nostdin", "-loglevel", "error"]).args(arguments);
    let status = command.status().context("ffmpeg is missing: install the package ffmpeg")?;
    ensure!(status.success(), "ffmpeg could not make the segments");
    Ok(())
}
