//! Keeping the lease in a call, and leaving it: asked to, fenced, or stopped.

use bot_model::lifecycle::Step;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::clock;
use bot_store::protocol::{Note, slot};
use tokio::time::Instant;

use super::{CutShort, Follower};
use crate::keeper::Kept;
use crate::retry::store_within;

impl Follower<'_, '_> {
    pub(super) async fn note(&mut self, event: &'static str, step: Step) {
        let progress = self.progress();
        let kept = self.keeper.step(step, Note::new("manager", event), |facts| facts.recording = progress.clone()).await;
        self.heed(kept).await;
    }

    pub(super) async fn keep_lease(&mut self) {
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
        } else if self.began.elapsed() > self.config.limits.longest_stay() + self.config.patience.overstay {
            tracing::warn!("the meeting-bot has kept none of its limits");
            let kind = if self.admitted_at.is_some() { OutcomeKind::MaxDuration } else { OutcomeKind::LobbyTimeout };
            self.leave(kind).await;
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

    pub(super) async fn cut(&mut self, why: CutShort) {
        if self.cut_short.is_none() {
            tracing::info!(?why, "leaving the call");
            self.cut_short = Some(why);
        }
        self.leave(OutcomeKind::Evicted).await;
    }

    async fn leave(&mut self, reason: OutcomeKind) {
        // From the first time on: a fenced run is told so with every renewal, and its bot's time to leave must end.
        let asked_at = self.leaving.map_or_else(Instant::now, |(_, asked_at)| asked_at);
        self.leaving = Some((reason, asked_at));
        if let Err(error) = self.sidecar.leave(reason).await {
            tracing::warn!(%error, "the meeting-bot did not hear the request to leave");
        }
    }

    /// The bot has left, though its run goes on: a later occurrence on the same link need not wait for that. (A twin that comes meanwhile
    /// is still handed over, for as long as nobody waits.)
    pub(super) async fn make_room(&self) {
        let Some(key) = &self.keeper.facts().call_key else { return };
        if !self.somebody_waits().await {
            return;
        }
        let releasing = slot::release(self.keeper.store(), key, &self.config.instance, self.config.attempt);
        if let Err(error) = store_within("release", releasing).await {
            tracing::warn!(%error, "the live-call slot could not be released; it frees itself when the instance ends");
        }
    }

    pub(super) fn left_by_ourselves(&self) -> Outcome {
        Outcome::new(self.leaving.map_or(OutcomeKind::AskedToLeave, |(reason, _)| reason))
    }

    /// The bot was asked to leave and says nothing of it: it is ended, and what it laid down is carried out all the same.
    pub(super) async fn left_without_a_word(&mut self) -> Option<Outcome> {
        let (_, asked_at) = self.leaving?;
        if asked_at.elapsed() < self.config.patience.leaving {
            return None;
        }
        tracing::warn!("the meeting-bot did not leave in time");
        if let Err(error) = self.sidecar.shut_down().await {
            tracing::warn!(%error, "nor did it hear the request to end");
        }
        Some(self.left_by_ourselves())
    }

    fn is_past_its_end(&self) -> bool {
        self.keeper.facts().end_time.is_some_and(|end| end < clock::now())
    }

    async fn somebody_waits(&self) -> bool {
        let Some(key) = &self.keeper.facts().call_key else { return false };
        let asked = slot::somebody_waits(self.keeper.store(), key, &self.config.instance);
        store_within("slot", asked).await.unwrap_or(false)
    }
}
