//! The run of one session, from a start request to its end. Whatever happens, the last segment is closed, everything
//! that was started is taken down, and a typed outcome is published.

use std::sync::Arc;
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::people::{Line, Noted};
use bot_model::session::{DEAD_MAN_SWITCH, SessionEventKind, SessionPhase, StartSession};
use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::bundle::Evidence;
use super::hub::Hub;
use super::journal::Journal;
use super::mend::Turn;
use super::people::{Crowd, Moment, Tracker};
use super::redact::Redactor;
use super::remedy::Ladder;
use super::studio::Studio;
use crate::capture::journal::QualityJournal;
use crate::capture::part::Closed;
use crate::capture::recorder::{Present, Recorder, Report};
use crate::config::Config;
use crate::platform::decide::Decision;
use crate::platform::engine::{Engine, Tick};
use crate::platform::pack::Pack;

/// Looks a second: twice in the call, more often before, where every moment would be lost to the recording.
const TICK: Duration = Duration::from_millis(250);
/// A page that gives no look for this long is unresponsive.
const UNRESPONSIVE: Duration = Duration::from_secs(45);
/// For the leave button and what follows it; together with closing the last segment inside the leave budget.
pub(super) const LEAVE_STEPS: Duration = Duration::from_secs(3);
pub(super) const TAKE_DOWN: Duration = Duration::from_secs(4);

/// How it ended.
pub(super) type End = (OutcomeKind, String);

/// Runs the session to its end.
pub async fn run(hub: Arc<Hub>, config: Arc<Config>, request: StartSession) {
    let mut evidence = Evidence::default();
    let (kind, detail) = match Pack::load(request.meeting.platform(), config.packs.as_deref()) {
        Ok(pack) => with_pack(&hub, &config, &request, pack, &mut evidence).await,
        Err(error) => (OutcomeKind::JoinPageNotRecognised, error.to_string()),
    };
    // Before the end is told: the manager then carries out what lies there.
    if config.debug_bundle.wants(kind) {
        evidence.write(&request.output_dir, &hub.events_after(0), (kind, &detail, Utc::now()));
    }
    hub.end(kind, detail);
}

async fn with_pack(hub: &Hub, config: &Config, request: &StartSession, pack: Pack, evidence: &mut Evidence) -> End {
    tracing::info!(session_id = request.session_id, platform = %pack.platform, pack = pack.version, "session starts");
    let bringing_up = Studio::bring_up(config, &request.capture, request.meeting.is_practice());
    let mut studio = tokio::select! {
        biased;
        end = called_away(hub) => return end,
        studio = bringing_up => match studio {
            Ok(studio) => studio,
            Err(error) => return (error.kind(), error.to_string()),
        },
    };
    let mut call = Call::new(hub, request);
    loop {
        hub.show(Some(studio.browser.page().clone()));
        let mut engine = None;
        let turn = match call.open(&studio, config, pack.clone()).await {
            Ok(opened) => call.drive(&mut studio, engine.insert(opened)).await,
            Err(end) => Turn::Over(end),
        };
        studio = match turn {
            Turn::Over(end) => {
                // After these the page shows what it says about it, and nobody any more.
                let is_over = matches!(end.0, OutcomeKind::Removed | OutcomeKind::HostEnded);
                let is_in_call = call.recorder.is_some() && !is_over;
                *evidence = Evidence::gather(&studio.browser, is_in_call, call.redactor(config)).await;
                return call.close(studio, engine, end, evidence).await;
            }
            Turn::Again(remedy) => match call.step_out(studio, engine, remedy, config).await {
                Ok(studio) => studio,
                Err(end) => return call.ended(end),
            },
        };
    }
}

/// Ends when the manager asks to leave or has gone away.
pub(super) async fn called_away(hub: &Hub) -> End {
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

pub(super) struct Call<'a> {
    pub(super) hub: &'a Hub,
    pub(super) request: &'a StartSession,
    pub(super) recorder: Option<Recorder>,
    tracker: Tracker,
    journal: Option<Journal>,
    pub(super) quality: QualityJournal,
    pub(super) ladder: Ladder,
    pub(super) began: Instant,
    /// By earlier recorders.
    pub(super) closed: Closed,
    /// It was joined again.
    pub(super) again: bool,
    pub(super) met_somebody: bool,
}

impl<'a> Call<'a> {
    fn new(hub: &'a Hub, request: &'a StartSession) -> Self {
        Self {
            hub,
            request,
            recorder: None,
            tracker: Tracker::new(&request.display_name, &request.limits.other_bot_names),
            journal: None,
            quality: QualityJournal::default(),
            ladder: Ladder::default(),
            began: Instant::now(),
            closed: Closed::default(),
            again: false,
            met_somebody: false,
        }
    }

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
        let limits = self.limits();
        let mut engine = Engine::new(studio.browser.page().clone(), pack, practice_host, limits, &self.request.display_name);
        engine.with_passcode(self.request.meeting.passcode().map(str::to_owned));
        // Who greeted once does not greet again.
        engine.greet(self.request.greeting.clone().filter(|_| !self.again));
        if config.reads_chat {
            engine.read_chat();
        }
        Ok(engine)
    }

    /// Ticks until there is a reason to end.
    async fn drive(&mut self, studio: &mut Studio, engine: &mut Engine) -> Turn {
        let mut failure = studio.browser.failure();
        let mut answered = Instant::now();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let silent_for = self.follow_recorder();
            let silent_for = match silent_for {
                Ok(silent_for) => silent_for,
                Err(end) => return Turn::Over(end),
            };
            let hub = self.hub;
            tokio::select! {
                biased;
                end = called_away(hub) => return Turn::Over(end),
                remedy = self.remedy(studio) => if let Some(remedy) = remedy { return Turn::Again(remedy) },
            }
            let tick = async {
                ticks.tick().await;
                engine.tick(silent_for).await
            };
            let ticked = tokio::select! {
                biased;
                end = called_away(self.hub) => return Turn::Over(end),
                what = broken(&mut failure) => return Turn::Over((OutcomeKind::BrowserCrashed, what.to_owned())),
                ticked = tick => ticked,
            };
            match ticked {
                Ok(tick) => {
                    answered = Instant::now();
                    if engine.has_greeted() {
                        self.hub.greeted();
                    }
                    if let Some(end) = self.take(&tick, studio) {
                        return Turn::Over(end);
                    }
                }
                Err(error) if answered.elapsed() > UNRESPONSIVE => {
                    return Turn::Over((OutcomeKind::PageUnresponsive, error.to_string()));
                }
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
                    match studio.record(&self.request.output_dir, &self.request.capture, &self.quality, self.closed) {
                        Ok(recorder) => self.recorder = Some(recorder),
                        Err(error) => return Some((OutcomeKind::CaptureFailed, error.to_string())),
                    }
                    self.hub.enter(SessionPhase::Recording);
                }
                self.hub.others(tick.others);
                if let Some(recorder) = &self.recorder {
                    let others = tick.others.is_some_and(|others| others > 0);
                    self.met_somebody |= others;
                    recorder.present.send_replace(Present { others, speaking: speaks(&tick.crowd) });
                }
                self.follow_people(&tick.crowd);
            }
        }
        None
    }

    /// Writes down who came, went, spoke and wrote.
    fn follow_people(&mut self, crowd: &Crowd) {
        let lines = self.tracker.look(crowd, self.now());
        if lines.is_empty() {
            return;
        }
        self.journal.get_or_insert_with(|| Journal::open(&self.request.output_dir)).write(&lines);
        for event in lines.iter().filter_map(event_of) {
            self.hub.event(event);
        }
        self.hub.people(self.tracker.now(), self.tracker.roster());
    }

    fn now(&self) -> Moment {
        Moment { since: self.began.elapsed(), at: Utc::now() }
    }

    /// Knows everything private of this session.
    fn redactor(&self, config: &Config) -> Redactor {
        let identity = config.identity.state.iter().flat_map(|state| state.secrets());
        let (names, messages) = self.tracker.private();
        let secrets = self.request.meeting.private_texts().into_iter().chain(identity);
        let greeting = self.request.greeting.clone();
        let names = names.into_iter().chain([self.request.display_name.clone()]);
        Redactor::default().secrets(secrets).names(names).messages(messages.into_iter().chain(greeting))
    }

    /// Passes the recorder's reports on; answers how long it has been silent.
    fn follow_recorder(&mut self) -> Result<Duration, End> {
        let Some(recorder) = &mut self.recorder else { return Ok(Duration::ZERO) };
        while let Ok(report) = recorder.reports.try_recv() {
            match report {
                Report::PartStarted(part) => self.hub.event(SessionEventKind::PartStarted { part }),
                Report::Watchdog(signal, raised) => {
                    tracing::warn!(signal, raised, "watchdog");
                    self.ladder.told(signal, raised, self.began.elapsed());
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
    async fn close(mut self, studio: Studio, engine: Option<Engine>, end: End, evidence: &Evidence) -> End {
        self.hub.enter(SessionPhase::Leaving);
        tracing::info!(outcome = %end.0, "leaving");
        if let Some(png) = &evidence.screenshot {
            self.hub.keep_screenshot(png.clone());
        }
        self.stop_and_leave(engine).await;
        self.hub.left();
        self.hub.show(None);
        if timeout(TAKE_DOWN, studio.take_down()).await.is_err() {
            tracing::warn!("taking down took too long; the rest was killed");
        }
        self.ended(end)
    }

    /// Out of the call and with nothing left to take down.
    fn ended(&mut self, end: End) -> End {
        self.hub.left();
        let now = self.now();
        if let Some(journal) = &mut self.journal {
            journal.write(&self.tracker.end(now));
        }
        self.quality.close();
        self.without_recording(self.of_the_whole(end))
    }

    /// In the call, but nothing captured: that is the outcome, unless a more telling failure was found.
    fn without_recording(&self, end: End) -> End {
        let state = self.hub.state();
        let empty = state.admitted_at.is_some() && state.media.segments == 0;
        let completed = end.0.class() == bot_model::outcome::OutcomeClass::Completed;
        if empty && completed { (OutcomeKind::NoRecording, end.1) } else { end }
    }
}

/// Somebody else speaks, by the platform's own signal.
fn speaks(crowd: &Crowd) -> bool {
    let own = crowd.people.iter().flatten().find(|person| person.is_self).map(|person| &person.key);
    crowd.speaking.iter().any(|key| Some(key) != own)
}

/// What the session's events tell of a line: numbers alone.
fn event_of(line: &Line) -> Option<SessionEventKind> {
    match line.what {
        Noted::Joined { person, .. } => Some(SessionEventKind::PersonJoined { person }),
        Noted::Left { person } => Some(SessionEventKind::PersonLeft { person }),
        Noted::Speaking { person } => Some(SessionEventKind::Speaking { person, began: true }),
        Noted::Silent { person } => Some(SessionEventKind::Speaking { person, began: false }),
        _ => None,
    }
}

fn host_of(address: &url::Url) -> String {
    let host = address.host_str().unwrap_or_default();
    address.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
