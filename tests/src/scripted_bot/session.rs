//! The one session of a scripted bot: what its manager sees, and what it was asked to do.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bot_model::outcome::OutcomeKind;
use bot_model::session::{DEAD_MAN_SWITCH, SessionEnd, SessionPhase, SessionState, StartSession};
use chrono::Utc;
use tokio::sync::watch;

use super::capture;

/// How a request to start was met.
pub(super) enum Started {
    Anew,
    Already,
    Busy,
}

pub(super) struct Session {
    pub(super) stage: PathBuf,
    pub(super) run: String,
    inner: Mutex<Inner>,
    /// Why to leave, once asked.
    leaving: watch::Sender<Option<OutcomeKind>>,
    /// The process shall end.
    ending: watch::Sender<bool>,
}

struct Inner {
    state: SessionState,
    polled: Option<Instant>,
}

impl Session {
    pub(super) fn new(stage: PathBuf, run: String) -> Self {
        let state = SessionState::idle(uuid::Uuid::new_v4().simple().to_string(), Utc::now());
        let inner = Mutex::new(Inner { state, polled: None });
        Self { stage, run, inner, leaving: watch::channel(None).0, ending: watch::channel(false).0 }
    }

    pub(super) fn start(self: &Arc<Self>, wanted: StartSession) -> Started {
        let mut inner = self.lock();
        inner.polled = Some(Instant::now());
        match &inner.state.session_id {
            Some(id) if *id == wanted.session_id => return Started::Already,
            Some(_) => return Started::Busy,
            None => {}
        }
        inner.state.session_id = Some(wanted.session_id.clone());
        inner.state.phase = SessionPhase::Joining;
        drop(inner);
        tokio::spawn(capture::attend(Arc::clone(self), wanted));
        Started::Anew
    }

    /// The state, as a poll: the manager's sign of life.
    pub(super) fn polled(&self) -> SessionState {
        self.lock().polled = Some(Instant::now());
        self.state()
    }

    pub(super) fn state(&self) -> SessionState {
        self.lock().state.clone()
    }

    pub(super) fn leave(&self, reason: OutcomeKind) {
        self.leaving.send_if_modified(|asked| asked.is_none() && asked.replace(reason).is_none());
    }

    pub(super) fn end_process(&self) {
        self.ending.send_replace(true);
    }

    pub(super) async fn asked_to_end(&self) {
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// Why to leave, once somebody asks.
    pub(super) async fn asked_to_leave(&self) -> OutcomeKind {
        let mut asked = self.leaving.subscribe();
        let reason = asked.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        reason.unwrap_or(OutcomeKind::Evicted)
    }

    /// Answers once no manager has polled for as long as the dead-man switch allows.
    pub(super) async fn abandoned(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.lock().polled.is_some_and(|polled| polled.elapsed() > DEAD_MAN_SWITCH) {
                return;
            }
        }
    }

    /// Answers once the session is over, or where there is none.
    pub(super) async fn ended(&self) {
        while !matches!(self.state().phase, SessionPhase::Idle | SessionPhase::Ended) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn enter(&self, phase: SessionPhase) {
        let mut inner = self.lock();
        (inner.state.phase, inner.state.phase_since) = (phase, Utc::now());
        if phase == SessionPhase::Recording {
            inner.state.admitted_at = Some(Utc::now());
        }
    }

    pub(super) fn captured(&self, part: u32, bytes: u64) {
        let media = &mut self.lock().state.media;
        media.part = Some(part);
        media.segments += 1;
        media.bytes += bytes;
    }

    pub(super) fn end(&self, kind: OutcomeKind) {
        let mut inner = self.lock();
        let now = Utc::now();
        if inner.state.admitted_at.is_some() {
            inner.state.left_at = Some(now);
        }
        (inner.state.phase, inner.state.phase_since) = (SessionPhase::Ended, now);
        inner.state.end.get_or_insert(SessionEnd { kind, detail: String::new(), at: now });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
