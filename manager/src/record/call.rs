//! One stay in a call, as the manager follows it: the session's state is polled each second (which is also the bot's sign of
//! life), its phases become steps of the lifecycle, the lease is renewed, segments are carried out.

use std::path::PathBuf;
use std::time::Duration;

use bot_model::document::RecordingProgress;
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_model::session::{CaptureSettings, SessionPhase, SessionState, StartSession};
use bot_store::protocol::{Note, slot};
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout};

use super::RunError;
use crate::config::Config;
use crate::keeper::{Keeper, Kept};
use crate::objects::Objects;
use crate::sidecar::Sidecar;
use crate::spool::{Carried, Route, Spool};

/// How often the session is polled; well below the bot's dead-man switch.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// A meeting-bot that does not answer for this long is gone; a restarted one joins again.
const SILENT_MEANS_LOST: Duration = Duration::from_secs(60);
/// How often a lost bot may join again.
const MAX_REJOINS: u32 = 5;
/// How often a bot that broke before it was ever admitted is tried again.
const MAX_TRIES_BEFORE_ADMISSION: u32 = 2;
/// What is left after a SIGTERM to carry out what lies on the disk.
const DRAIN_ON_STOP: Duration = Duration::from_secs(60);

/// How a stay ended.
#[derive(Debug)]
pub(super) struct Called {
    /// The call's outcome.
    pub(super) outcome: Outcome,
    /// Why the manager itself ended it, if it did.
    pub(super) cut_short: Option<CutShort>,
    /// What was recorded.
    pub(super) progress: Option<RecordingProgress>,
    /// Where this run's parts lie.
    pub(super) folder: PathBuf,
    /// Everything recorded is in the bucket.
    pub(super) is_drained: bool,
}

/// Why a manager leaves a call that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CutShort {
    /// SIGTERM.
    Stopped,
    /// Another run owns the instance.
    Fenced(String),
}

struct Follower<'k, 'a> {
    config: &'a Config,
    keeper: &'k mut Keeper<'a>,
    sidecar: Sidecar,
    session: StartSession,
    carried: watch::Receiver<Carried>,
    earlier: RecordingProgress,
    admitted_at: Option<DateTime<Utc>>,
    left_at: Option<DateTime<Utc>>,
    boot_id: Option<String>,
    rejoins: u32,
    answered: Instant,
    leaving: Option<OutcomeKind>,
    cut_short: Option<CutShort>,
}

/// Joins the call and follows it to its end; everything recorded is in the bucket when this answers, or, where the time
/// was cut short, on the disk.
pub(super) async fn follow<'a>(
    config: &'a Config,
    keeper: &mut Keeper<'a>,
    objects: &Objects,
    stop: &mut watch::Receiver<bool>,
) -> Result<Called, RunError> {
    let folder = config.scratch.join("session");
    tokio::fs::create_dir_all(&folder).await?;
    let prefix = keeper.facts().gcs_path.clone();
    let route =
        prefix.map(|prefix| Route { prefix, attempt: config.attempt, run: config.run_id.clone(), folder: folder.clone() });
    let Some(route) = route else { return Err(std::io::Error::other("no path was reserved").into()) };
    let (spool, carried) = Spool::new(objects.clone(), route);
    let (finish, finished) = watch::channel(false);
    let spooling = tokio::spawn(spool.run(finished));
    let earlier = keeper.facts().recording.clone();
    let sidecar = Sidecar::new(&config.sidecar_url).map_err(std::io::Error::other)?;
    let mut follower = Follower {
        session: start_session(config, keeper, &folder),
        config,
        keeper,
        sidecar,
        carried,
        admitted_at: None,
        left_at: None,
        boot_id: None,
        rejoins: 0,
        answered: Instant::now(),
        leaving: None,
        cut_short: None,
        earlier: earlier.unwrap_or(RecordingProgress { started_at: Utc::now(), ended_at: None, parts: 0, segments: 0, bytes: 0 }),
    };
    let outcome = follower.until_the_end(stop).await;
    let _ = finish.send(true);
    let is_drained = follower.drain(spooling, stop).await;
    Ok(Called { outcome, cut_short: follower.cut_short.clone(), progress: follower.progress(), folder, is_drained })
}

fn start_session(config: &Config, keeper: &Keeper<'_>, folder: &std::path::Path) -> StartSession {
    let facts = keeper.facts();
    StartSession {
        session_id: format!("{}-a{}-{}", config.instance, config.attempt, config.run_id),
        meeting: facts.meeting_url.clone(),
        display_name: facts.bot_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| config.default_bot_name.clone()),
        output_dir: folder.to_owned(),
        limits: config.limits.clone(),
        capture: CaptureSettings::default(),
        greeting: None,
    }
}

impl Follower<'_, '_> {
    async fn until_the_end(&mut self, stop: &mut watch::Receiver<bool>) -> Outcome {
        let mut ticks = interval(POLL_EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.wait_for(|stop| *stop), if self.cut_short.is_none() => self.cut(CutShort::Stopped).await,
            }
            if let Some(outcome) = self.look().await {
                return outcome;
            }
            self.keep_lease().await;
        }
    }

    /// Asks the bot where it stands and acts on it; answers the outcome once it has left.
    async fn look(&mut self) -> Option<Outcome> {
        match self.sidecar.state().await {
            Ok(state) => {
                self.answered = Instant::now();
                self.saw(state).await
            }
            Err(error) if self.answered.elapsed() > SILENT_MEANS_LOST => {
                tracing::error!(%error, "the meeting-bot is lost");
                Some(Outcome::new(OutcomeKind::SidecarLost))
            }
            Err(_) if self.cut_short.is_some() && self.answered.elapsed() > Duration::from_secs(15) => {
                Some(Outcome::new(OutcomeKind::Evicted))
            }
            Err(error) => {
                tracing::debug!(%error, "no answer from the meeting-bot");
                None
            }
        }
    }

    async fn saw(&mut self, state: SessionState) -> Option<Outcome> {
        let is_ours = state.session_id.as_deref() == Some(self.session.session_id.as_str());
        if !is_ours {
            return self.start(&state).await;
        }
        if self.admitted_at.is_none() {
            self.admitted_at = state.admitted_at;
        }
        self.left_at = state.left_at.or(self.left_at);
        self.take_steps(state.phase).await;
        let end = state.end.filter(|_| state.phase == SessionPhase::Ended)?;
        let can_rejoin =
            matches!(end.kind, OutcomeKind::BrowserCrashed | OutcomeKind::CaptureFailed | OutcomeKind::PageUnresponsive);
        let tries = if self.admitted_at.is_some() { MAX_REJOINS } else { MAX_TRIES_BEFORE_ADMISSION };
        if can_rejoin && self.leaving.is_none() && self.rejoins < tries {
            // A fresh process is a fresh browser; its supervisor brings it back.
            tracing::warn!(kind = %end.kind, "the session broke; a fresh meeting-bot joins again");
            let _ = self.sidecar.shut_down().await;
            self.session.session_id = format!("{}-r{}", self.session.session_id, self.rejoins + 1);
            return None;
        }
        Some(Outcome::new(end.kind))
    }

    /// Starts our session on a bot that has none of ours: at first, or after its restart (a changed boot id, never an end).
    async fn start(&mut self, state: &SessionState) -> Option<Outcome> {
        if self.leaving.is_some() {
            // It restarted while we were leaving, so it is in no call.
            return Some(self.left_by_ourselves());
        }
        let restarted = self.boot_id.as_ref().is_some_and(|boot| *boot != state.boot_id);
        if restarted {
            self.rejoins += 1;
            self.note("sidecar_restarted", Step::Join).await;
        }
        if self.rejoins > MAX_REJOINS {
            return Some(Outcome::new(OutcomeKind::SidecarLost));
        }
        if !self.keeper.is_fresh() {
            return None;
        }
        match self.sidecar.start(&self.session).await {
            Ok(_) => {
                self.boot_id = Some(state.boot_id.clone());
                None
            }
            Err(crate::sidecar::SidecarError::Refused { status: 400, message }) => {
                tracing::error!(message, "the meeting-bot refuses the session");
                Some(Outcome::with_detail(OutcomeKind::InvalidDocument, "The meeting-bot refused the session."))
            }
            // 409: the old session of a restarted manager is still leaving. Silence: asked again; the id makes it one session.
            Err(error) => {
                tracing::info!(%error, "the session did not start yet");
                None
            }
        }
    }

    /// The session's phase as steps of the instance's lifecycle.
    async fn take_steps(&mut self, phase: SessionPhase) {
        let now = self.keeper.record().instance.phase;
        match (phase, now) {
            (SessionPhase::WaitingRoom, Phase::Joining) => self.note("waiting_room", Step::EnterWaitingRoom).await,
            (SessionPhase::Recording, Phase::Joining | Phase::WaitingRoom) => self.note("recording", Step::Record).await,
            _ => {}
        }
    }

    async fn note(&mut self, event: &'static str, step: Step) {
        let progress = self.progress();
        let kept = self.keeper.step(step, Note::new("manager", event), |facts| facts.recording = progress.clone()).await;
        self.heed(kept).await;
    }

    async fn keep_lease(&mut self) {
        let progress = self.progress();
        let kept = self.keeper.renew_if_due(progress.as_ref()).await;
        self.heed(kept).await;
        if self.leaving.is_some() {
            return;
        }
        if self.keeper.facts().cancel_requested_at.is_some() {
            self.leave(OutcomeKind::AskedToLeave).await;
        } else if self.config.max_unleased.is_some_and(|limit| self.keeper.unrenewed_for() > limit) {
            self.cut(CutShort::Fenced("the lease could not be renewed within MAX_UNLEASED_SECONDS".into())).await;
        } else if self.is_past_its_end() && self.somebody_waits().await {
            self.leave(OutcomeKind::AskedToLeave).await;
        }
    }

    async fn heed(&mut self, kept: Kept) {
        match kept {
            Kept::Fenced(reason) => self.cut(CutShort::Fenced(reason)).await,
            Kept::Unreachable(error) => tracing::warn!(%error, "the store does not answer; recording goes on"),
            Kept::Done | Kept::Refused => {}
        }
    }

    async fn cut(&mut self, why: CutShort) {
        if self.cut_short.is_none() {
            tracing::info!(?why, "leaving the call");
            self.cut_short = Some(why);
        }
        self.leave(OutcomeKind::Evicted).await;
    }

    async fn leave(&mut self, reason: OutcomeKind) {
        self.leaving = Some(reason);
        if let Err(error) = self.sidecar.leave(reason).await {
            tracing::warn!(%error, "the meeting-bot did not hear the request to leave");
        }
    }

    fn left_by_ourselves(&self) -> Outcome {
        Outcome::new(self.leaving.unwrap_or(OutcomeKind::AskedToLeave))
    }

    fn is_past_its_end(&self) -> bool {
        self.keeper.facts().end_time.is_some_and(|end| end < Utc::now())
    }

    async fn somebody_waits(&self) -> bool {
        let Some(key) = &self.keeper.facts().call_key else { return false };
        slot::somebody_waits(self.keeper.store(), key, &self.config.instance).await.unwrap_or(false)
    }

    /// What was recorded by this run and by those before it.
    fn progress(&self) -> Option<RecordingProgress> {
        let carried = *self.carried.borrow();
        let earlier = &self.earlier;
        if self.admitted_at.is_none() && earlier.segments == 0 {
            return None;
        }
        Some(RecordingProgress {
            started_at: if earlier.segments > 0 { earlier.started_at } else { self.admitted_at.unwrap_or(earlier.started_at) },
            ended_at: self.left_at,
            parts: earlier.parts + carried.parts,
            segments: earlier.segments + carried.segments,
            bytes: earlier.bytes + carried.bytes,
        })
    }

    /// Waits until everything is in the bucket, keeping the lease meanwhile. Only a SIGTERM bounds it; then false.
    async fn drain(&mut self, mut spooling: tokio::task::JoinHandle<Carried>, stop: &mut watch::Receiver<bool>) -> bool {
        let mut stopped_at = (self.cut_short == Some(CutShort::Stopped)).then(Instant::now);
        loop {
            if let Ok(carried) = timeout(POLL_EVERY, &mut spooling).await {
                return carried.is_ok();
            }
            if *stop.borrow() {
                let since = *stopped_at.get_or_insert_with(Instant::now);
                self.cut_short.get_or_insert(CutShort::Stopped);
                if since.elapsed() > DRAIN_ON_STOP {
                    tracing::error!("segments are left on the disk: the bucket did not take them in time");
                    spooling.abort();
                    return false;
                }
            }
            let progress = self.progress();
            if let Kept::Fenced(reason) = self.keeper.renew_if_due(progress.as_ref()).await {
                self.cut_short.get_or_insert(CutShort::Fenced(reason));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}
