//! One stay in a call, as the manager follows it: the session's state is polled each second (which is also the bot's sign of
//! life), its phases become steps of the lifecycle, the lease is renewed, segments are carried out.

mod drain;
mod greeting;
mod leaving;

use std::path::PathBuf;
use std::time::Duration;

use bot_model::display_name::display_name as clean_name;
use bot_model::document::RecordingProgress;
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_model::scratch::{EarlierRun, SESSION_FOLDER};
use bot_model::session::{SessionPhase, SessionState, StartSession};
use bot_store::kill_point::KillPoint;
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{RunError, stopped};
use crate::config::Config;
use crate::keeper::Keeper;
use crate::objects::Objects;
use crate::picture::Pictures;
use crate::sidecar::{Sidecar, SidecarError};
use crate::spool::{Carried, Route};
pub(super) use drain::added;
use drain::{Hauled, haul};

/// How often the session is polled; well below the bot's dead-man switch.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How often a lost bot may join again.
const MAX_REJOINS: u32 = 5;
/// How often a bot that broke before it was ever admitted is tried again.
const MAX_TRIES_BEFORE_ADMISSION: u32 = 2;

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
    /// The meeting-bot did not take our session, being busy with another.
    Refused,
}

struct Follower<'k, 'a> {
    config: &'a Config,
    keeper: &'k mut Keeper<'a>,
    sidecar: Sidecar,
    session: StartSession,
    carried: watch::Receiver<Carried>,
    earlier: Option<RecordingProgress>,
    admitted_at: Option<DateTime<Utc>>,
    left_at: Option<DateTime<Utc>>,
    pictures: Option<Pictures>,
    boot_id: Option<String>,
    rejoins: u32,
    began: Instant,
    answered: Instant,
    refused_since: Option<Instant>,
    leaving: Option<(OutcomeKind, Instant)>,
    cut_short: Option<CutShort>,
}

/// Joins the call and follows it to its end; everything recorded is in the bucket when this answers, also what the `left` runs
/// had left on this disk, or, where the time was cut short, still on the disk.
pub(super) async fn follow<'a>(
    config: &'a Config,
    keeper: &mut Keeper<'a>,
    objects: &Objects,
    left: Vec<EarlierRun>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Called, RunError> {
    let folder = config.scratch.join(SESSION_FOLDER);
    tokio::fs::create_dir_all(&folder).await?;
    let prefix = keeper.facts().gcs_path.clone();
    let route =
        prefix.map(|prefix| Route { prefix, attempt: config.attempt, run: config.run_id.clone(), folder: folder.clone() });
    let Some(route) = route else { return Err(std::io::Error::other("no path was reserved").into()) };
    let pictures =
        config.picture_every.and_then(|every| Pictures::begin(objects.clone(), route.prefix.clone(), &config.sidecar_url, every));
    let Hauled { hauling, finish, carried } = haul(objects, route, left);
    let sidecar =
        Sidecar::new(&config.sidecar_url, config.sidecar_contract, config.reference.clone()).map_err(std::io::Error::other)?;
    let mut follower = Follower {
        session: start_session(config, keeper, &folder),
        earlier: keeper.facts().recording.clone(),
        config,
        keeper,
        sidecar,
        carried,
        admitted_at: None,
        left_at: None,
        pictures,
        boot_id: None,
        rejoins: 0,
        began: Instant::now(),
        answered: Instant::now(),
        refused_since: None,
        leaving: None,
        cut_short: None,
    };
    let outcome = follower.until_the_end(stop).await;
    follower.pictures.iter().for_each(Pictures::finish);
    // What the bot wrote until now is on the disk before nothing more is expected there.
    let recorded_since = follower.sidecar.close().await;
    follower.admitted_at = follower.admitted_at.or(recorded_since);
    let _ = finish.send(true);
    let is_drained = follower.drain(hauling, &outcome, stop).await;
    if let Some(pictures) = follower.pictures.take() {
        pictures.ended().await;
    }
    Ok(Called { outcome, cut_short: follower.cut_short.clone(), progress: follower.progress(), folder, is_drained })
}

fn start_session(config: &Config, keeper: &Keeper<'_>, folder: &std::path::Path) -> StartSession {
    let facts = keeper.facts();
    StartSession {
        session_id: format!("{}-a{}-{}", config.instance, config.attempt, config.run_id),
        meeting: facts.meeting_url.clone(),
        display_name: display_name(facts.bot_name.as_deref(), &config.default_bot_name),
        output_dir: folder.to_owned(),
        limits: config.limits.clone(),
        capture: config.capture.clone(),
        greeting: greeting::greeting(config, keeper),
    }
}

/// A backend may have written the instance itself, and the default is a setting: neither is trusted to be a name.
fn display_name(given: Option<&str>, default: &str) -> String {
    let names = [given.unwrap_or_default(), default, "Meeting Bot"].map(clean_name);
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

impl Follower<'_, '_> {
    async fn until_the_end(&mut self, stop: &mut watch::Receiver<bool>) -> Outcome {
        let mut ticks = interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(stop), if self.cut_short.is_none() => self.cut(CutShort::Stopped).await,
                _ = ticks.tick() => {}
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
                let ended = self.saw(state).await;
                if ended.is_some() { ended } else { self.left_without_a_word().await }
            }
            // Nothing was ever begun, so there is nothing to wait for.
            Err(_) if self.leaving.is_some() && self.boot_id.is_none() => Some(self.left_by_ourselves()),
            Err(error) if self.answered.elapsed() > self.config.patience.silent => {
                tracing::error!(%error, "the meeting-bot is lost");
                Some(Outcome::new(OutcomeKind::SidecarLost))
            }
            Err(error) => {
                tracing::debug!(%error, "no answer from the meeting-bot");
                self.left_without_a_word().await
            }
        }
    }

    async fn saw(&mut self, state: SessionState) -> Option<Outcome> {
        let is_ours = state.session_id.as_deref() == Some(self.session.session_id.as_str());
        if !is_ours {
            return self.start(&state).await;
        }
        // Also where the answer to the start was lost, or this manager was restarted beside its bot.
        self.boot_id.get_or_insert(state.boot_id);
        self.refused_since = None;
        if self.admitted_at.is_none() {
            self.admitted_at = state.admitted_at;
        }
        // A further stay has not ended when the first one did.
        if state.admitted_at.is_some() {
            self.left_at = state.left_at;
        }
        if state.has_greeted {
            self.has_greeted().await;
        }
        let is_there = matches!(state.phase, SessionPhase::WaitingRoom | SessionPhase::Recording);
        self.pictures.iter().for_each(|pictures| pictures.show(is_there));
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
        if end.kind == OutcomeKind::DiskFull && state.media.segments == 0 && self.leaving.is_none() {
            // Nothing was recorded for want of a disk: another run may have one, on another node or later.
            self.cut_short.get_or_insert(CutShort::Refused);
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
            // Once: what keeps us from joining again, such as a store that is away, is no further restart.
            self.boot_id = Some(state.boot_id.clone());
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
                self.refused_since = None;
                KillPoint::Joined.pass(&self.config.run_id).await;
            }
            Err(SidecarError::Refused { status: 400, message }) => {
                tracing::error!(message, "the meeting-bot refuses the session");
                return Some(Outcome::with_detail(OutcomeKind::InvalidDocument, "The meeting-bot refused the session."));
            }
            Err(error) => return self.not_started(&error).await,
        }
        None
    }

    /// 409: the old session of a restarted manager is still leaving, which is soon over. Silence: asked again; the id makes it
    /// one session. Neither goes on for ever.
    async fn not_started(&mut self, error: &SidecarError) -> Option<Outcome> {
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.config.patience.refused {
            tracing::info!(%error, "the session did not start yet");
            return None;
        }
        tracing::error!(%error, "the meeting-bot never took the session");
        self.cut_short.get_or_insert(CutShort::Refused);
        Some(Outcome::with_detail(OutcomeKind::SidecarLost, "It was busy with another session."))
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
}
