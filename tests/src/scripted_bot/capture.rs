//! One stay in a call: join at the room, lay a segment down every [`SEGMENT`], leave when asked or when the call is over.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bot_model::outcome::OutcomeKind;
use bot_model::segment::{INIT_FILE, PART_END_FILE, PART_INFO_FILE, PartEnd, PartInfo, part_folder, segment_file};
use bot_model::session::{SessionPhase, StartSession};
use chrono::Utc;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::session::Session;
use super::{ROOM_SOCKET, SEGMENT, TEMPLATE, template};
use crate::chaos::room::{Answer, Says};

/// Attends the call of `wanted` to its end, whatever that is.
pub(super) async fn attend(session: Arc<Session>, wanted: StartSession) {
    let ended = stay(&session, &wanted).await;
    let kind = ended.unwrap_or_else(|error| {
        // Its log may lie on the disk that is full.
        let _ = writeln!(std::io::stderr(), "the capture broke: {error:#}");
        let is_full = |error: &std::io::Error| error.kind() == ErrorKind::StorageFull;
        let is_full = error.downcast_ref().is_some_and(is_full);
        if is_full { OutcomeKind::DiskFull } else { OutcomeKind::CaptureFailed }
    });
    session.end(kind);
}

async fn stay(session: &Session, wanted: &StartSession) -> Result<OutcomeKind> {
    let mut room = Seat::take(session, wanted).await?;
    if room.answer().await? != Answer::In {
        return Ok(OutcomeKind::EndedBeforeAdmission);
    }
    session.enter(SessionPhase::Recording);
    let mut capture = Capture::begin(session, wanted)?;
    let kind = record(session, &mut room, &mut capture).await?;
    session.enter(SessionPhase::Leaving);
    capture.close_part()?;
    room.say(&Says::Leave).await?;
    while room.answer().await? != Answer::Out {}
    Ok(kind)
}

async fn record(session: &Session, room: &mut Seat, capture: &mut Capture) -> Result<OutcomeKind> {
    let mut ticks = interval_at(tokio::time::Instant::now() + SEGMENT, SEGMENT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over = None;
    loop {
        tokio::select! {
            answer = room.answer(), if over.is_none() => {
                anyhow::ensure!(answer? == Answer::Over, "the room said something strange");
                over = Some(OutcomeKind::HostEnded);
            }
            reason = session.asked_to_leave(), if over.is_none() => over = Some(reason),
            _ = ticks.tick() => {
                // What lies there when a leave is asked for is closed first: it was captured.
                let says = capture.close_segment(session)?;
                room.say(&says).await?;
                if let Some(kind) = over {
                    return Ok(kind);
                }
            }
        }
    }
}

/// A seat in the room: losing it, however, is having left.
struct Seat {
    hears: Lines<BufReader<OwnedReadHalf>>,
    speaks: OwnedWriteHalf,
}

impl Seat {
    async fn take(session: &Session, wanted: &StartSession) -> Result<Self> {
        let connecting = UnixStream::connect(session.stage.join(ROOM_SOCKET));
        let (hears, speaks) = timeout(SEGMENT * 5, connecting).await?.context("the room")?.into_split();
        let mut seat = Self { hears: BufReader::new(hears).lines(), speaks };
        let joins = Says::Join {
            call: wanted.meeting.native_id(),
            session: wanted.session_id.clone(),
            run: session.run.clone(),
            boot: session.state().boot_id,
        };
        seat.say(&joins).await?;
        Ok(seat)
    }

    async fn say(&mut self, says: &Says) -> Result<()> {
        let line = serde_json::to_string(says)? + "\n";
        timeout(SEGMENT * 5, self.speaks.write_all(line.as_bytes())).await?.context("the room")
    }

    /// Safe to drop at its await: a line is whole or not there.
    async fn answer(&mut self) -> Result<Answer> {
        let line = self.hears.next_line().await?.context("the room is gone")?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// What is laid down on the disk.
struct Capture {
    template: PathBuf,
    output: PathBuf,
    run: String,
    part: u32,
    next: u32,
}

impl Capture {
    fn begin(session: &Session, wanted: &StartSession) -> Result<Self> {
        let (template, output) = (session.stage.join(TEMPLATE), wanted.output_dir.clone());
        // A session that joins again beside what an earlier one of this run laid down.
        let taken = (0..).find(|part| !output.join(part_folder(*part)).exists()).unwrap_or_default();
        let capture = Self { template, output, run: session.run.clone(), part: taken, next: 0 };
        capture.begin_part()?;
        Ok(capture)
    }

    fn folder(&self) -> PathBuf {
        self.output.join(part_folder(self.part))
    }

    fn begin_part(&self) -> Result<()> {
        let folder = self.folder();
        std::fs::create_dir_all(&folder)?;
        let (width, height) = template::SIZE;
        let info = PartInfo {
            part: self.part,
            started_at: Utc::now(),
            audio_lag_ms: 0,
            width,
            height,
            frames_per_second: template::FRAMES_PER_SECOND,
        };
        lay_down(&folder, PART_INFO_FILE, &serde_json::to_vec(&info)?)?;
        lay_down(&folder, INIT_FILE, &std::fs::read(self.template.join(INIT_FILE))?)
    }

    /// Closes the segment that is open. It is followed by a box that players skip and that names it, so that no two are alike.
    fn close_segment(&mut self, session: &Session) -> Result<Says> {
        let mut bytes = std::fs::read(self.template.join(segment_file(self.next)))?;
        bytes.extend(free_box(&format!("{} part {} segment {}", self.run, self.part, self.next)));
        lay_down(&self.folder(), &segment_file(self.next), &bytes)?;
        session.captured(self.part, bytes.len() as u64);
        let says = Says::Captured { part: self.part, seq: self.next, crc32c: crc32c::crc32c(&bytes) };
        self.next += 1;
        if !self.template.join(segment_file(self.next)).exists() {
            // As long as the template is: as if ffmpeg had been started again.
            self.close_part()?;
            (self.part, self.next) = (self.part + 1, 0);
            self.begin_part()?;
        }
        Ok(says)
    }

    fn close_part(&self) -> Result<()> {
        let end = PartEnd { ended_at: Utc::now(), segments: self.next };
        lay_down(&self.folder(), PART_END_FILE, &serde_json::to_vec(&end)?)
    }
}

/// Under its final name only when it is whole.
fn lay_down(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let draft = folder.join(format!("{name}.tmp"));
    std::fs::write(&draft, bytes)?;
    Ok(std::fs::rename(draft, folder.join(name))?)
}

/// `free` of ISO/IEC 14496-12.
fn free_box(text: &str) -> Vec<u8> {
    let size = u32::try_from(text.len() + 8).unwrap_or(8);
    [&size.to_be_bytes()[..], b"free", text.as_bytes()].concat()
}
