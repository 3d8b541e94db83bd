//! The remedies' effects: what [`super::remedy`] decided is done here.
//!
//! Never two bots in the call: the page that was in it is gone, and where it does not answer, its browser is, before the call is
//! joined again. Nothing that is recorded is touched: the running part is closed, and another begins once the bot is back.

use std::time::Duration;

use bot_model::outcome::{OutcomeClass, OutcomeKind};
use bot_model::quality::Happening;
use bot_model::session::{SessionEventKind, SessionLimits};
use tokio::time::timeout;

use super::remedy::Remedy;
use super::run::{Call, End, LEAVE_STEPS, TAKE_DOWN, called_away};
use super::studio::{Rebound, Studio};
use crate::config::Config;
use crate::platform::engine::Engine;

/// A rebind is over by then, helpful or not: the sound server starts, and the browser's streams come back.
const REBIND: Duration = Duration::from_secs(40);

/// How a stay in the call ended.
pub(super) enum Turn {
    /// For good.
    Over(End),
    /// To be joined again.
    Again(Remedy),
}

impl Call<'_> {
    /// Does what is due about what the watchdogs say. A remedy for which the call must be left is answered.
    pub(super) async fn remedy(&mut self, studio: &mut Studio) -> Option<Remedy> {
        let (recorder, now) = (self.recorder.as_ref()?, self.began.elapsed());
        let health = recorder.health.borrow().clone();
        let (remedy, signal) = self.ladder.next(&health, now)?;
        if remedy != Remedy::Rebind {
            self.note_remedy(remedy, signal);
            return Some(remedy);
        }
        let rebound = timeout(REBIND, studio.rebind()).await;
        match &rebound {
            // A foreign stream is not ours to move, and a capture that works is not to be broken for it.
            Ok(Ok(Rebound::Nothing)) if signal == "wrong_sink" => return None,
            Ok(Ok(done)) => tracing::info!(?done, "sink and browser are together again"),
            Ok(Err(error)) => tracing::warn!(%error, "the sink could not be mended"),
            Err(_) => tracing::warn!("the sink could not be mended in time"),
        }
        self.note_remedy(remedy, signal);
        if matches!(rebound, Ok(Ok(Rebound::Nothing | Rebound::Moved))) {
            if let Some(recorder) = &self.recorder {
                recorder.renew();
            }
            return None;
        }
        let next = self.ladder.leave(signal, self.began.elapsed())?;
        self.note_remedy(next, signal);
        Some(next)
    }

    fn note_remedy(&self, remedy: Remedy, signal: &'static str) {
        let (remedy, signal) = (remedy.as_str().to_owned(), signal.to_owned());
        tracing::warn!(remedy, signal, "remedy");
        self.quality.note(Happening::Remedy { remedy: remedy.clone(), signal: signal.clone() });
        self.hub.event(SessionEventKind::Remedy { remedy, signal });
    }

    /// Out of the call, with everything recorded closed; answers the studio in which to join again.
    pub(super) async fn step_out(
        &mut self,
        studio: Studio,
        engine: Option<Engine>,
        remedy: Remedy,
        config: &Config,
    ) -> Result<Studio, End> {
        self.stop_and_leave(engine).await;
        self.again = true;
        let has_left = remedy == Remedy::Reload && studio.browser.page().navigate("about:blank").await.is_ok();
        if has_left {
            return Ok(studio);
        }
        self.hub.show(None);
        if timeout(TAKE_DOWN, studio.take_down()).await.is_err() {
            tracing::warn!("taking down took too long; the rest was killed");
        }
        tokio::select! {
            biased;
            end = called_away(self.hub) => Err(end),
            studio = Studio::bring_up(config, &self.request.capture, self.request.meeting.is_practice()) => {
                studio.map_err(|error| (error.kind(), error.to_string()))
            }
        }
    }

    /// Closes the last segment while the page is left.
    pub(super) async fn stop_and_leave(&mut self, engine: Option<Engine>) {
        let recorder = self.recorder.take();
        let stopped = async {
            if let Some(recorder) = recorder {
                let health = recorder.health.clone();
                let closed = recorder.stop().await;
                Some((closed, health.borrow().clone()))
            } else {
                None
            }
        };
        let left = async {
            if let Some(mut engine) = engine {
                let gone = timeout(LEAVE_STEPS, engine.leave(LEAVE_STEPS)).await.unwrap_or(false);
                tracing::info!(by_button = gone, "left the page");
            }
        };
        let (stopped, ()) = tokio::join!(stopped, left);
        if let Some((closed, health)) = stopped {
            self.closed = closed;
            self.hub.media(health);
        }
        for signal in self.ladder.let_go() {
            self.quality.note(Happening::Watchdog { signal: signal.to_owned(), raised: false });
            self.hub.event(SessionEventKind::Watchdog { signal: signal.to_owned(), raised: false });
        }
    }

    /// The limits of a further stay: time in the call counts from the first.
    pub(super) fn limits(&self) -> SessionLimits {
        let mut limits = self.request.limits.clone();
        let Some(admitted_at) = self.hub.state().admitted_at.filter(|_| self.again) else { return limits };
        let spent = (chrono::Utc::now() - admitted_at).num_seconds().unsigned_abs();
        limits.max_recording_secs = limits.max_recording_secs.saturating_sub(spent).max(1);
        if self.met_somebody {
            limits.no_one_joined_secs = limits.everyone_left_secs;
        }
        limits
    }

    /// What an end says of the whole session, where it was that of a further stay: a recording is there.
    pub(super) fn of_the_whole(&self, (kind, detail): End) -> End {
        if !self.again {
            return (kind, detail);
        }
        let kind = match kind {
            OutcomeKind::EndedBeforeAdmission => OutcomeKind::HostEnded,
            OutcomeKind::NoOneJoined if self.met_somebody => OutcomeKind::EveryoneLeft,
            kind if kind.class() == OutcomeClass::NotAdmitted => OutcomeKind::Removed,
            kind => kind,
        };
        (kind, format!("{detail}, after it was joined again"))
    }
}
