//! The recording of one session: starts parts, watches them, begins a new one when the running one stalls or dies, or when it is
//! asked to.

use std::path::PathBuf;
use std::time::Duration;

use bot_model::quality::Happening;
use bot_model::session::{CaptureSettings, MediaHealth};
use futures::future::BoxFuture;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::health::stall_limit;
use super::journal::QualityJournal;
use super::part::{Closed, Part, PartError, Way};
use super::signals::Signals;
use super::watch::{Watch, free_bytes};
use crate::sink::Asker;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Less free space than this ends the recording in order, while there is still room to close it.
const LEAST_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// So many parts in a row may end without one closed segment before capture counts as failed.
const FRUITLESS_PARTS: u32 = 3;

/// Makes the ffmpeg command with its environment (display, sink, private folders).
pub type FfmpegFactory = Box<dyn Fn() -> Command + Send + Sync>;
/// Makes a PNG of what the page shows, on another way than the display.
pub type Screen = Box<dyn Fn() -> BoxFuture<'static, Option<Vec<u8>>> + Send + Sync>;

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
    /// What the page shows.
    pub screen: Screen,
    /// Where to write down how it was.
    pub journal: QualityJournal,
    /// Closed by earlier recorders of the session.
    pub before: Closed,
}

impl Setup {
    fn start_part(&self) -> Result<Part, PartError> {
        let way = Way { display: &self.display, sound_lag: self.sound_lag };
        let part = Part::start(&self.output, &self.settings, &way, (self.ffmpeg)())?;
        self.journal.begin(part.folder());
        Ok(part)
    }
}

/// What the platform's page says of the people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Present {
    /// Somebody else is in the call.
    pub others: bool,
    /// Somebody else speaks.
    pub speaking: bool,
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
    renew: mpsc::UnboundedSender<()>,
    task: JoinHandle<()>,
    /// Changes all the time.
    pub health: watch::Receiver<MediaHealth>,
    /// In order.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// Tell it what the page says.
    pub present: watch::Sender<Present>,
}

impl Recorder {
    /// Starts the first part at once.
    pub fn start(setup: Setup) -> Result<Self, PartError> {
        let part = setup.start_part()?;
        let (stop, stopped) = watch::channel(false);
        let (renew, renewals) = mpsc::unbounded_channel();
        let (health_out, health) = watch::channel(MediaHealth { sink_is_right: true, ..MediaHealth::default() });
        let (reports_out, reports) = mpsc::unbounded_channel();
        let (present, present_in) = watch::channel(Present::default());
        let run = Run {
            before: setup.before,
            setup,
            last_closed: Closed::default(),
            grew_at: Instant::now(),
            fruitless: 0,
            watch: Watch::new(),
            signals: Signals::default(),
            started: Instant::now(),
            present: present_in,
            health: health_out,
            reports: reports_out,
        };
        let task = tokio::spawn(run.record(part, stopped, renewals));
        Ok(Self { stop, renew, task, health, reports, present })
    }

    /// Ends the running part and begins another.
    pub fn renew(&self) {
        // A recorder that has ended says so by its reports.
        let _ = self.renew.send(());
    }

    /// Closes the last segment and ends; answers what was closed, earlier recorders of the session included.
    pub async fn stop(self) -> Closed {
        self.stop.send_replace(true);
        let _ = self.task.await;
        let health = self.health.borrow();
        Closed { segments: u32::try_from(health.segments).unwrap_or(u32::MAX), bytes: health.bytes }
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
    watch: Watch,
    signals: Signals,
    present: watch::Receiver<Present>,
    health: watch::Sender<MediaHealth>,
    reports: mpsc::UnboundedSender<Report>,
}

/// Why a part is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Exited,
    Stalled,
    Asked,
}

impl Run {
    async fn record(mut self, mut part: Part, mut stopped: watch::Receiver<bool>, mut renewals: mpsc::UnboundedReceiver<()>) {
        self.report(Report::PartStarted(part.number()));
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                _ = ticks.tick() => {}
            }
            self.count(&part);
            let present = *self.present.borrow();
            // The slow looks must not delay the end of the recording.
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                () = self.watch.look(&self.setup, &part, self.last_closed, present) => {}
            }
            self.publish(&part);
            if let Some(why) = self.why_renew(&mut part, &mut renewals) {
                match self.replace(part, why).await {
                    Some(next) => part = next,
                    None => return,
                }
            }
        }
        let health = self.health.borrow().clone();
        self.last_closed = part.stop().await;
        self.setup.journal.close();
        self.tell(MediaHealth { segment_age_secs: 0.0, ..health });
    }

    fn why_renew(&self, part: &mut Part, renewals: &mut mpsc::UnboundedReceiver<()>) -> Option<Why> {
        let asked = renewals.try_recv().is_ok();
        if part.has_ended().is_some() {
            return Some(Why::Exited);
        }
        let stalled = self.grew_at.elapsed() > stall_limit(self.setup.settings.segment_secs);
        if stalled { Some(Why::Stalled) } else { asked.then_some(Why::Asked) }
    }

    fn count(&mut self, part: &Part) {
        let closed = part.closed();
        if closed != self.last_closed {
            self.last_closed = closed;
            self.grew_at = Instant::now();
            self.fruitless = 0;
        }
    }

    fn publish(&mut self, part: &Part) {
        let present = *self.present.borrow();
        let (moment, health) = self.watch.moment(&self.setup, part, present);
        self.setup.journal.count(&moment);
        if health.free_bytes.is_some_and(|free| free < LEAST_FREE_BYTES) {
            self.report(Report::DiskFull);
        }
        let health = MediaHealth { segment_age_secs: self.grew_at.elapsed().as_secs_f64(), ..health };
        for (name, raised) in self.signals.changes(&health, self.setup.settings.segment_secs, self.started.elapsed()) {
            self.watchdog(name, raised);
        }
        self.tell(health);
    }

    fn tell(&self, health: MediaHealth) {
        self.health.send_replace(MediaHealth {
            segments: u64::from(self.before.segments) + u64::from(self.last_closed.segments),
            bytes: self.before.bytes + self.last_closed.bytes,
            ..health
        });
    }

    fn watchdog(&self, signal: &'static str, raised: bool) {
        self.setup.journal.note(Happening::Watchdog { signal: signal.to_owned(), raised });
        self.report(Report::Watchdog(signal, raised));
    }

    /// Ends a part that died or stalled, or is to be renewed, and begins the next; `None` when capture has failed for good.
    async fn replace(&mut self, part: Part, why: Why) -> Option<Part> {
        tracing::warn!(part = part.number(), ?why, output = ?part.last_lines(), "a new part begins");
        if why == Why::Exited {
            self.watchdog("capture_exited", true);
        }
        let closed = if why == Why::Exited { part.conclude() } else { part.stop().await };
        self.setup.journal.close();
        self.before.segments += closed.segments;
        self.before.bytes += closed.bytes;
        self.last_closed = Closed::default();
        self.fruitless = if closed.segments == 0 { self.fruitless + 1 } else { 0 };
        if self.fruitless >= FRUITLESS_PARTS {
            self.failed(format!("{} parts in a row ended without a segment", self.fruitless));
            return None;
        }
        self.grew_at = Instant::now();
        self.watch.begin();
        match self.setup.start_part() {
            Ok(next) => {
                self.report(Report::PartStarted(next.number()));
                if why == Why::Exited {
                    self.watchdog("capture_exited", false);
                }
                Some(next)
            }
            Err(error) => {
                self.failed(error.to_string());
                None
            }
        }
    }

    /// A full disk makes ffmpeg fail in many ways; it is told by its own name.
    fn failed(&self, why: String) {
        let full = free_bytes(&self.setup.output).is_some_and(|free| free < LEAST_FREE_BYTES);
        self.report(if full { Report::DiskFull } else { Report::Failed(why) });
    }

    fn report(&self, report: Report) {
        // A session that no longer listens is about to stop the recording.
        let _ = self.reports.send(report);
    }
}
