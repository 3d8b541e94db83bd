//! An existing image, followed as if it spoke our own contract.
//!
//! It knows one job and a busy flag. That the bot is in the call shows by the file that begins to grow; the file is cut into
//! segments while it does ([`cutter`]). That the call is over shows by the flag; how it ended, by what the image reports ([`callbacks`])
//! and by what it recorded ([`verdict`]). It has no request to leave: it is asked to end, which only some of these images know, and
//! otherwise it leaves when its container is ended, right after this manager.

mod base64_name;
mod callbacks;
mod cutter;
mod cutting;
mod scan;
mod source;
mod verdict;

use std::time::Duration;

use base64_name::stem;
use bot_model::meeting_url::Platform;
use bot_model::outcome::OutcomeKind;
use bot_model::session::{MediaHealth, PeopleNow, SessionEnd, SessionLimits, SessionPhase, SessionState, StartSession};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Asker, ReferenceSettings, SidecarError};
use callbacks::Callbacks;
use cutter::{Cut, Cutter};
use cutting::Cutting;
use source::Place;
use verdict::verdict;

/// The image ends its own recording at its own limit and then still closes its file; past this it is given up.
const OVER_THE_LIMIT: Duration = Duration::from_secs(120);
/// Up to three tries of its own, with pauses of 30, 60 and 90 seconds.
const OWN_TRIES: Duration = Duration::from_secs(180);
/// Two readings of one process's start differ by less.
const SAME_START: Duration = Duration::from_secs(3);

/// An image that speaks the reference contract.
#[derive(Debug)]
pub(super) struct Reference {
    asker: Asker,
    settings: ReferenceSettings,
    /// Made for this run alone, so that the recording's folder is ours alone and a report is known by its token.
    user_id: String,
    bot_id: String,
    token: String,
    boots: Boots,
    callbacks: Option<Callbacks>,
    cutting: Option<Cutting>,
    job: Option<Job>,
    /// A join whose answer was lost: a later "busy" may well mean us.
    may_have_joined: bool,
}

#[derive(Debug)]
struct Job {
    session_id: String,
    boot: u32,
    limits: SessionLimits,
    asked_at: Instant,
    phase: SessionPhase,
    phase_since: DateTime<Utc>,
    admitted: Option<(DateTime<Utc>, Instant)>,
    left_at: Option<DateTime<Utc>>,
    leaving: Option<OutcomeKind>,
    end: Option<SessionEnd>,
}

/// How often the process was seen to have been started.
#[derive(Debug, Default)]
struct Boots {
    count: u32,
    started: Option<Instant>,
}

impl Boots {
    /// Takes in how long the process says that it has been up.
    fn seen(&mut self, uptime: Duration) {
        let Some(started) = Instant::now().checked_sub(uptime) else { return };
        if self.started.is_some_and(|known| started > known + SAME_START) {
            self.count += 1;
        }
        self.started = Some(started);
    }
}

#[derive(Deserialize)]
struct Busy {
    data: u8,
}

#[derive(Deserialize)]
struct Health {
    uptime: f64,
}

/// Whether the image has a job.
pub(super) async fn busy(asker: &Asker) -> Result<bool, SidecarError> {
    let busy: Busy = asker.get("/isbusy").await?.json().await.map_err(|_| SidecarError::Strange)?;
    Ok(busy.data != 0)
}

impl Reference {
    pub(super) fn new(asker: Asker, settings: ReferenceSettings) -> Self {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        Self {
            asker,
            settings,
            user_id: format!("bot-{}", random()),
            bot_id: random(),
            token: random(),
            boots: Boots::default(),
            callbacks: None,
            cutting: None,
            job: None,
            may_have_joined: false,
        }
    }

    /// Joins the call, or finds that it has.
    pub(super) async fn start(&mut self, session: &StartSession) -> Result<SessionState, SidecarError> {
        if self.job.as_ref().is_none_or(|job| job.session_id != session.session_id) {
            self.get_ready(session).await;
            self.join(session).await?;
            self.job = Some(Job::new(session, self.boots.count));
        }
        Ok(self.told())
    }

    /// What the session would say of itself.
    pub(super) async fn state(&mut self) -> Result<SessionState, SidecarError> {
        let is_busy = busy(&self.asker).await?;
        if let Ok(answer) = self.asker.get("/health").await
            && let Ok(Health { uptime }) = answer.json().await
            && let Ok(uptime) = Duration::try_from_secs_f64(uptime)
        {
            self.boots.seen(uptime);
        }
        if self.job.as_ref().is_some_and(|job| job.end.is_none() && job.boot != self.boots.count) {
            tracing::warn!("the meeting-bot was started anew; its job is gone");
            self.job = None;
        }
        self.follow(is_busy).await;
        Ok(self.told())
    }

    /// Asks it to end, the only thing that makes some of these images leave.
    pub(super) async fn leave(&mut self, reason: OutcomeKind) -> Result<(), SidecarError> {
        if let Some(job) = &mut self.job {
            job.leaving.get_or_insert(reason);
        }
        self.asker.shut_down().await
    }

    /// Cuts what was written until now, to the last byte.
    pub(super) async fn close(&mut self) -> Option<DateTime<Utc>> {
        if let Some(cutting) = &mut self.cutting {
            cutting.finish().await;
        }
        self.callbacks = None;
        self.cut().since
    }

    /// Listens for reports, and watches for the file, before anything is asked of the image.
    async fn get_ready(&mut self, session: &StartSession) {
        if self.callbacks.is_none() {
            let port = self.settings.callback_port;
            match Callbacks::listen(port, &self.token).await {
                Ok(callbacks) => self.callbacks = Some(callbacks),
                Err(error) => {
                    tracing::warn!(%error, port, "the meeting-bot's reports cannot be heard; the busy flag and the file are all there is")
                }
            }
        }
        if self.cutting.is_none() {
            self.settings.recording_roots.iter().for_each(|root| prepare(root));
            let place = Place {
                roots: self.settings.recording_roots.clone(),
                user: self.user_id.clone(),
                stem: stem(&self.user_id, &self.bot_id),
            };
            self.cutting = Some(Cutting::start(Cutter::new(place, session.output_dir.clone())));
        }
    }

    async fn join(&mut self, session: &StartSession) -> Result<(), SidecarError> {
        let provider = match session.meeting.platform() {
            Platform::Meet => "google",
            Platform::Teams => "microsoft",
            Platform::Zoom => "zoom",
            other @ Platform::Other(_) => {
                let message = format!("an existing image joins Meet, Teams and Zoom, not {other}");
                return Err(SidecarError::Refused { status: 400, message });
            }
        };
        // Rebuilt from what was parsed; a practice room's address is the bot's own to resolve.
        let url = session.meeting.join_url(None).unwrap_or_else(|| session.meeting.expose());
        let body = json!({
            "url": url,
            "name": session.display_name,
            "bearerToken": self.token,
            "teamId": self.user_id,
            "userId": self.user_id,
            "botId": self.bot_id,
            "eventId": self.bot_id,
            "timezone": "UTC",
        });
        match self.asker.post(&format!("/{provider}/join"), &body).await {
            Ok(_) => {}
            Err(SidecarError::Refused { status: 409, .. }) if self.may_have_joined => {}
            Err(error) => {
                self.may_have_joined |= matches!(error, SidecarError::Silent(_));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn follow(&mut self, is_busy: bool) {
        let cut = self.cut();
        let Some(job) = self.job.as_mut().filter(|job| job.end.is_none()) else { return };
        if let Some(since) = cut.since {
            job.enter(SessionPhase::Recording, since);
            job.admitted.get_or_insert_with(|| (since, Instant::now()));
        }
        let ended = if is_busy { job.over_its_time() } else { Some(OutcomeKind::Ended) };
        let Some(kind) = ended else { return };
        if is_busy {
            tracing::warn!(%kind, "the meeting-bot goes on past its time; asking it to end");
            let _ = self.asker.shut_down().await;
        }
        if let Some(cutting) = &mut self.cutting {
            cutting.finish().await;
        }
        let cut = self.cut();
        let reports = self.callbacks.as_ref().map(Callbacks::reports).unwrap_or_default();
        if let Some(job) = &mut self.job {
            job.admitted = job.admitted.or_else(|| cut.since.map(|since| (since, Instant::now())));
            let recorded = job.admitted.filter(|_| cut.bytes > 0).map(|(_, at)| at.elapsed());
            let told = || verdict(&reports, recorded, Duration::from_secs(job.limits.max_recording_secs));
            let kind = if is_busy { kind } else { job.leaving.unwrap_or_else(told) };
            job.finish(kind);
        }
    }

    fn cut(&self) -> Cut {
        self.cutting.as_ref().map(Cutting::so_far).unwrap_or_default()
    }

    fn told(&self) -> SessionState {
        let (cut, job) = (self.cut(), self.job.as_ref());
        SessionState {
            boot_id: format!("reference-{}", self.boots.count),
            session_id: job.map(|job| job.session_id.clone()),
            phase: job.map_or(SessionPhase::Idle, |job| job.phase),
            phase_since: job.map_or_else(Utc::now, |job| job.phase_since),
            admitted_at: job.and_then(|job| job.admitted).map(|(at, _)| at),
            left_at: job.and_then(|job| job.left_at),
            others_in_call: None,
            people: PeopleNow::default(),
            has_greeted: false,
            media: MediaHealth { part: cut.part, segments: cut.segments, bytes: cut.bytes, ..MediaHealth::default() },
            end: job.and_then(|job| job.end.clone()),
            last_event: 0,
        }
    }
}

impl Job {
    fn new(session: &StartSession, boot: u32) -> Self {
        Self {
            session_id: session.session_id.clone(),
            boot,
            limits: session.limits.clone(),
            asked_at: Instant::now(),
            phase: SessionPhase::Joining,
            phase_since: Utc::now(),
            admitted: None,
            left_at: None,
            leaving: None,
            end: None,
        }
    }

    fn enter(&mut self, phase: SessionPhase, at: DateTime<Utc>) {
        if phase > self.phase {
            (self.phase, self.phase_since) = (phase, at);
        }
    }

    /// The image has limits of its own; these are for one that does not keep them.
    fn over_its_time(&self) -> Option<OutcomeKind> {
        let limits = &self.limits;
        match self.admitted {
            Some((_, at)) => {
                let longest = Duration::from_secs(limits.max_recording_secs) + OVER_THE_LIMIT;
                (at.elapsed() > longest).then_some(OutcomeKind::MaxDuration)
            }
            None => {
                let longest = Duration::from_secs(limits.join_timeout_secs + limits.lobby_timeout_secs) + OWN_TRIES;
                (self.asked_at.elapsed() > longest).then_some(OutcomeKind::LobbyTimeout)
            }
        }
    }

    fn finish(&mut self, kind: OutcomeKind) {
        let at = Utc::now();
        self.enter(SessionPhase::Ended, at);
        self.left_at = self.admitted.map(|_| at);
        self.end = Some(SessionEnd { kind, detail: String::new(), at });
    }
}

/// The image runs as another user than we do, in the same pod; what it finds it can write to.
fn prepare(root: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let is_new = root.parent().is_some_and(std::path::Path::is_dir) && !root.exists();
    if is_new && std::fs::create_dir(root).is_ok() {
        let _ = std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o777));
    }
}
