//! The recording of one session: starts parts, watches them, begins a new one when the running one stalls or dies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bot_model::session::{CaptureSettings, MediaHealth};
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::health::{PictureWatch, Signals, sink_is_right, stall_limit};
use super::part::{Closed, Part, PartError, Way};
use super::picture::Thumbnail;
use crate::sink::Asker;

const LOOK_EVERY: Duration = Duration::from_millis(500);
const SINK_EVERY: u64 = 8;
/// A picture is looked at each so many segments.
const PICTURE_EVERY: u32 = 2;
/// Less free space than this ends the recording in order, while there is still room to close it.
const LEAST_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// So many parts in a row may end without one closed segment before capture counts as failed.
const FRUITLESS_PARTS: u32 = 3;

/// Makes the ffmpeg command with its environment (display, sink, private folders).
pub type FfmpegFactory = Box<dyn Fn() -> Command + Send + Sync>;

/// What a recording needs.
pub struct Setup {
    /// Where parts are written.
    pub output: PathBuf,
    /// Size and rate.
    pub settings: CaptureSettings,
    /// Such as `:7`.
    pub display: String,
    /// The program.
    pub ffmpeg: FfmpegFactory,
    /// Asks the sound server.
    pub sink: Asker,
    /// How long sound takes to the sink.
    pub sound_lag: Duration,
    /// True for a process of this bot's own browser.
    pub is_ours: Box<dyn Fn(i32) -> bool + Send + Sync>,
}

impl Setup {
    fn start_part(&self) -> Result<Part, PartError> {
        Part::start(&self.output, &self.settings, &Way { display: &self.display, sound_lag: self.sound_lag }, (self.ffmpeg)())
    }
}

/// What the recorder tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A part began.
    PartStarted(u32),
    /// A watchdog signal began or ended.
    Watchdog(&'static str, bool),
    /// Capture does not work; nothing more will come.
    Failed(String),
    /// The disk is nearly full; what is recorded is kept.
    DiskFull,
}

/// A running recording.
pub struct Recorder {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// Changes all the time.
    pub health: watch::Receiver<MediaHealth>,
    /// In order.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// Tell it whether others are in the call.
    pub others: watch::Sender<bool>,
}

impl Recorder {
    /// Starts the first part at once.
    pub fn start(setup: Setup) -> Result<Self, PartError> {
        let part = setup.start_part()?;
        let (stop, stopped) = watch::channel(false);
        let (health_out, health) = watch::channel(MediaHealth { sink_is_right: true, ..MediaHealth::default() });
        let (reports_out, reports) = mpsc::unbounded_channel();
        let (others, others_in) = watch::channel(false);
        let run = Run {
            setup,
            started: Instant::now(),
            last_closed: Closed::default(),
            grew_at: Instant::now(),
            before: Closed::default(),
            fruitless: 0,
            picture: PictureWatch::default(),
            pictured: None,
            signals: Signals::default(),
            sink_right: true,
            looks: 0,
            others: others_in,
            health: health_out,
            reports: reports_out,
        };
        let task = tokio::spawn(run.record(part, stopped));
        Ok(Self { stop, task, health, reports, others })
    }

    /// Closes the last segment and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

struct Run {
    setup: Setup,
    started: Instant,
    last_closed: Closed,
    grew_at: Instant,
    /// Closed in earlier parts.
    before: Closed,
    fruitless: u32,
    picture: PictureWatch,
    pictured: Option<u32>,
    signals: Signals,
    sink_right: bool,
    looks: u64,
    others: watch::Receiver<bool>,
    health: watch::Sender<MediaHealth>,
    reports: mpsc::UnboundedSender<Report>,
}

impl Run {
    async fn record(mut self, mut part: Part, mut stopped: watch::Receiver<bool>) {
        self.report(Report::PartStarted(part.number()));
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                _ = ticks.tick() => {}
            }
            self.look(&part);
            // The slow looks must not delay the end of the recording.
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                () = self.look_closer(&part) => {}
            }
            self.publish(&part);
            let ended = part.has_ended();
            let stalled = self.grew_at.elapsed() > stall_limit(self.setup.settings.segment_secs);
            if ended.is_none() && !stalled {
                continue;
            }
            match self.replace(part, ended.is_some()).await {
                Some(next) => part = next,
                None => return,
            }
        }
        let number = part.number();
        let closed = part.stop().await;
        self.last_closed = closed;
        self.publish_as(number, Duration::ZERO);
    }

    fn look(&mut self, part: &Part) {
        let closed = part.closed();
        if closed != self.last_closed {
            self.last_closed = closed;
            self.grew_at = Instant::now();
            self.fruitless = 0;
        }
    }

    async fn look_closer(&mut self, part: &Part) {
        self.looks += 1;
        let now = self.started.elapsed();
        if self.looks % SINK_EVERY == 1 {
            if free_bytes(&self.setup.output).is_some_and(|free| free < LEAST_FREE_BYTES) {
                self.report(Report::DiskFull);
            }
            let others = *self.others.borrow();
            // No answer from a sound server is no evidence of a wrong one; silence is seen elsewhere.
            if let Ok(streams) = self.setup.sink.streams().await {
                self.sink_right = sink_is_right(&streams, &self.setup.is_ours, others, now);
            }
        }
        let newest = self.last_closed.segments.checked_sub(1);
        if newest != self.pictured && newest.is_some_and(|newest| newest % PICTURE_EVERY == 0) {
            self.pictured = newest;
            if let Some(picture) = Thumbnail::of_segment(part.folder(), newest.unwrap_or_default()).await {
                self.picture.see(picture, now);
            }
        }
    }

    fn publish(&mut self, part: &Part) {
        self.publish_as(part.number(), part.silent_for());
    }

    fn publish_as(&mut self, number: u32, silent_for: Duration) {
        let now = self.started.elapsed();
        let health = MediaHealth {
            part: Some(number),
            segments: u64::from(self.before.segments + self.last_closed.segments),
            bytes: self.before.bytes + self.last_closed.bytes,
            segment_age_secs: self.grew_at.elapsed().as_secs_f64(),
            black_secs: self.picture.black.lasted(now).as_secs_f64(),
            frozen_secs: self.picture.frozen.lasted(now).as_secs_f64(),
            silent_secs: silent_for.as_secs_f64(),
            sink_is_right: self.sink_right,
        };
        for (name, raised) in self.signals.changes(&health, self.setup.settings.segment_secs) {
            self.report(Report::Watchdog(name, raised));
        }
        self.health.send_replace(health);
    }

    /// Ends a part that died or stalled and begins the next; `None` when capture has failed for good.
    async fn replace(&mut self, part: Part, exited: bool) -> Option<Part> {
        tracing::warn!(part = part.number(), exited, output = ?part.last_lines(), "capture is interrupted, a new part begins");
        if exited {
            self.report(Report::Watchdog("capture_exited", true));
        }
        let closed = if exited { part.conclude() } else { part.stop().await };
        self.before.segments += closed.segments;
        self.before.bytes += closed.bytes;
        self.fruitless = if closed.segments == 0 { self.fruitless + 1 } else { 0 };
        if self.fruitless >= FRUITLESS_PARTS {
            self.report(Report::Failed(format!("{} parts in a row ended without a segment", self.fruitless)));
            return None;
        }
        (self.last_closed, self.pictured) = (Closed::default(), None);
        self.grew_at = Instant::now();
        match self.setup.start_part() {
            Ok(next) => {
                self.report(Report::PartStarted(next.number()));
                if exited {
                    self.report(Report::Watchdog("capture_exited", false));
                }
                Some(next)
            }
            Err(error) => {
                self.report(Report::Failed(error.to_string()));
                None
            }
        }
    }

    fn report(&self, report: Report) {
        // A session that no longer listens is about to stop the recording.
        let _ = self.reports.send(report);
    }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let facts = rustix::fs::statvfs(folder).ok()?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}
