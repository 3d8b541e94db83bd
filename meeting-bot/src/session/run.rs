//! The run of one session, from a start request to its end. Whatever happens, the last segment is closed, everything
//! that was started is taken down, and a typed outcome is published.

use std::sync::Arc;
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::{DEAD_MAN_SWITCH, SessionEventKind, SessionPhase, StartSession};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::hub::Hub;
use super::studio::Studio;
use crate::capture::recorder::{Recorder, Report};
use crate::config::Config;
use crate::platform::decide::Decision;
use crate::platform::engine::{Engine, Tick};
use crate::platform::pack::Pack;

/// Looks a second: twice in the call, more often before, where every moment would be lost to the recording.
const TICK: Duration = Duration::from_millis(250);
/// A page that gives no look for this long is unresponsive.
const UNRESPONSIVE: Duration = Duration::from_secs(45);
/// For the leave button and what follows it; together with closing the last segment inside the leave budget.
const LEAVE_STEPS: Duration = Duration::from_secs(3);
const TAKE_DOWN: Duration = Duration::from_secs(4);

/// How it ended.
type End = (OutcomeKind, String);

/// Runs the session to its end.
pub async fn run(hub: Arc<Hub>, config: Arc<Config>, request: StartSession) {
    let (kind, detail) = match Pack::load(request.meeting.platform(), config.packs.as_deref()) {
        Ok(pack) => with_pack(&hub, &config, &request, pack).await,
        Err(error) => (OutcomeKind::JoinPageNotRecognised, error.to_string()),
    };
    hub.end(kind, detail);
}

async fn with_pack(hub: &Hub, config: &Config, request: &StartSession, pack: Pack) -> End {
    tracing::info!(session_id = request.session_id, platform = %pack.platform, pack = pack.version, "session starts");
    let bringing_up = Studio::bring_up(config, &request.capture, request.meeting.is_practice());
    let studio = tokio::select! {
        biased;
        end = called_away(hub) => return end,
        studio = bringing_up => match studio {
            Ok(studio) => studio,
            Err(error) => return (error.kind(), error.to_string()),
        },
    };
    hub.show(Some(studio.browser.page().clone()));
    let mut call = Call { hub, request, recorder: None };
    let mut engine = None;
    let end = match call.open(&studio, config, pack).await {
        Ok(opened) => call.drive(&studio, engine.insert(opened)).await,
        Err(end) => end,
    };
    call.close(studio, engine, end).await
}

/// Ends when the manager asks to leave or has gone away.
async fn called_away(hub: &Hub) -> End {
    let mut wish = hub.leave_wish();
    let gone = async {
        let mut ticks = interval(Duration::from_millis(500));
        while hub.unpolled_for() < DEAD_MAN_SWITCH {
            ticks.tick().await;
        }
    };
    let asked = async { wish.wait_for(Option::is_some).await.ok().and_then(|kind| *kind) };
    tokio::select! {
        kind = asked => (kind.unwrap_or(OutcomeKind::AskedToLeave), "asked to leave".to_owned()),
        () = gone => (OutcomeKind::ManagerLost, format!("no manager has polled for {} s", DEAD_MAN_SWITCH.as_secs())),
    }
}

async fn broken(failure: &mut watch::Receiver<Option<&'static str>>) -> &'static str {
    failure.wait_for(Option::is_some).await.ok().and_then(|what| *what).unwrap_or("the browser has ended")
}

struct Call<'a> {
    hub: &'a Hub,
    request: &'a StartSession,
    recorder: Option<Recorder>,
}

impl Call<'_> {
    /// Opens the call's page.
    async fn open(&self, studio: &Studio, config: &Config, pack: Pack) -> Result<Engine, End> {
        let unusable = || (OutcomeKind::InvalidDocument, "the address needs a practice room, and none is configured".to_owned());
        let address = self.request.meeting.join_url(config.practice_origin.as_deref()).ok_or_else(unusable)?;
        let mut address = url::Url::parse(&address).map_err(|_| unusable())?;
        for (name, value) in &pack.query {
            address.query_pairs_mut().append_pair(name, value);
        }
        let broken = |error: crate::browser::CdpError| (OutcomeKind::PageUnresponsive, error.to_string());
        if let Err(error) = studio.browser.deny_devices(&address.origin().ascii_serialization()).await {
            tracing::warn!(%error, "cannot deny microphone and camera");
        }
        if let Err(error) = studio.browser.keep_to_one_page().await {
            tracing::warn!(%error, "cannot refuse downloads");
        }
        self.hub.enter(SessionPhase::Joining);
        tokio::select! {
            biased;
            end = called_away(self.hub) => return Err(end),
            opened = studio.browser.page().navigate(address.as_str()) => opened.map_err(broken)?,
        }
        let practice_host = self.request.meeting.is_practice().then(|| host_of(&address));
        let limits = self.request.limits.clone();
        let mut engine = Engine::new(studio.browser.page().clone(), pack, practice_host, limits, &self.request.display_name);
        engine.with_passcode(self.request.meeting.passcode().map(str::to_owned));
        engine.greet(self.request.greeting.clone());
        Ok(engine)
    }

    /// Ticks until there is a reason to end.
    async fn drive(&mut self, studio: &Studio, engine: &mut Engine) -> End {
        let mut failure = studio.browser.failure();
        let mut answered = Instant::now();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let silent_for = self.follow_recorder();
            let silent_for = match silent_for {
                Ok(silent_for) => silent_for,
                Err(end) => return end,
            };
            let tick = async {
                ticks.tick().await;
                engine.tick(silent_for).await
            };
            let ticked = tokio::select! {
                biased;
                end = called_away(self.hub) => return end,
                what = broken(&mut failure) => return (OutcomeKind::BrowserCrashed, what.to_owned()),
                ticked = tick => ticked,
            };
            match ticked {
                Ok(tick) => {
                    answered = Instant::now();
                    if let Some(end) = self.take(&tick, studio) {
                        return end;
                    }
                }
                Err(error) if answered.elapsed() > UNRESPONSIVE => return (OutcomeKind::PageUnresponsive, error.to_string()),
                Err(error) => tracing::debug!(%error, "no look at the page"),
            }
        }
    }

    /// Acts on one look.
    fn take(&mut self, tick: &Tick, studio: &Studio) -> Option<End> {
        if let Some(name) = &tick.step {
            tracing::info!(step = name, "step done");
            self.hub.event(SessionEventKind::Step { name: name.clone() });
        }
        match tick.decision {
            Decision::Stay => {}
            Decision::Wait => self.hub.enter(SessionPhase::WaitingRoom),
            Decision::End(kind, why) => return Some((kind, why.to_owned())),
            Decision::Record => {
                if self.recorder.is_none() {
                    match studio.record(&self.request.output_dir, &self.request.capture) {
                        Ok(recorder) => self.recorder = Some(recorder),
                        Err(error) => return Some((OutcomeKind::CaptureFailed, error.to_string())),
                    }
                    self.hub.enter(SessionPhase::Recording);
                }
                self.hub.others(tick.others);
                if let Some(recorder) = &self.recorder {
                    recorder.others.send_replace(tick.others.is_some_and(|others| others > 0));
                }
            }
        }
        None
    }

    /// Passes the recorder's reports on; answers how long it has been silent.
    fn follow_recorder(&mut self) -> Result<Duration, End> {
        let Some(recorder) = &mut self.recorder else { return Ok(Duration::ZERO) };
        while let Ok(report) = recorder.reports.try_recv() {
            match report {
                Report::PartStarted(part) => self.hub.event(SessionEventKind::PartStarted { part }),
                Report::Watchdog(signal, raised) => {
                    tracing::warn!(signal, raised, "watchdog");
                    self.hub.event(SessionEventKind::Watchdog { signal: signal.to_owned(), raised });
                }
                Report::DiskFull => return Err((OutcomeKind::DiskFull, "less than 64 MiB are free".to_owned())),
                Report::Failed(why) => return Err((OutcomeKind::CaptureFailed, why)),
            }
        }
        let health = recorder.health.borrow().clone();
        let silent_for = Duration::from_secs_f64(health.silent_secs.max(0.0));
        self.hub.media(health);
        Ok(silent_for)
    }

    /// Leaves the call, closes the last segment, takes everything down.
    async fn close(mut self, studio: Studio, engine: Option<Engine>, end: End) -> End {
        self.hub.enter(SessionPhase::Leaving);
        tracing::info!(outcome = %end.0, "leaving");
        if let Ok(Ok(png)) = timeout(Duration::from_millis(1_500), studio.browser.page().screenshot()).await {
            self.hub.keep_screenshot(png);
        }
        let health = self.recorder.as_ref().map(|recorder| recorder.health.clone());
        let stopped = async {
            if let Some(recorder) = self.recorder.take() {
                recorder.stop().await;
            }
        };
        let left = async {
            if let Some(mut engine) = engine {
                let gone = timeout(LEAVE_STEPS, engine.leave(LEAVE_STEPS)).await.unwrap_or(false);
                tracing::info!(by_button = gone, "left the page");
            }
            self.hub.left();
        };
        tokio::join!(stopped, left);
        if let Some(health) = health {
            self.hub.media(health.borrow().clone());
        }
        self.hub.show(None);
        if timeout(TAKE_DOWN, studio.take_down()).await.is_err() {
            tracing::warn!("taking down took too long; the rest was killed");
        }
        self.without_recording(end)
    }

    /// In the call, but nothing captured: that is the outcome, unless a more telling failure was found.
    fn without_recording(&self, end: End) -> End {
        let state = self.hub.state();
        let empty = state.admitted_at.is_some() && state.media.segments == 0;
        let completed = end.0.class() == bot_model::outcome::OutcomeClass::Completed;
        if empty && completed { (OutcomeKind::NoRecording, end.1) } else { end }
    }
}

fn host_of(address: &url::Url) -> String {
    let host = address.host_str().unwrap_or_default();
    address.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
