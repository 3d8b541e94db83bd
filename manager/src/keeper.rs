//! Keeps the run lease: every change of the instance goes through here, on the newest version and only while the run is ours.

use std::time::Duration;

use bot_model::document::{Facts, RecordingProgress};
use bot_model::lease::{HeldLease, LeaseTimings};
use bot_model::lifecycle::Step;
use bot_model::outcome::Outcome;
use bot_store::protocol::run::{
    Renewal, end_run, freeze, freeze_again, renew, set_debug, set_greeted, set_joining, set_outcome, set_path, set_pointer,
};
use bot_store::protocol::{Advanced, InstanceRecord, Note, advance};
use bot_store::{Store, StoreError, clock};
use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep_until};

use crate::retry::{slow, store_within};

/// The lease of this run.
pub struct Keeper<'a> {
    store: &'a dyn Store,
    record: InstanceRecord,
    held: HeldLease,
    timings: LeaseTimings,
    begun: Instant,
    renewal_due: Instant,
}

/// How a change through the keeper ended.
#[derive(Debug)]
pub enum Kept {
    /// Done.
    Done,
    /// The run is not ours any more: drain, say nothing, go.
    Fenced(String),
    /// The lifecycle refuses the step.
    Refused,
    /// The store could not be reached; try again later.
    Unreachable(StoreError),
}

impl<'a> Keeper<'a> {
    /// Keeps a lease that was bound by a write sent at `sent_at`.
    pub fn new(store: &'a dyn Store, record: InstanceRecord, timings: LeaseTimings, sent_at: Instant) -> Self {
        let held = HeldLease::taken(timings, Duration::ZERO);
        Self { store, record, held, timings, begun: sent_at, renewal_due: sent_at + timings.renew_every }
    }

    /// The instance as last seen.
    pub fn record(&self) -> &InstanceRecord {
        &self.record
    }

    /// The facts as last seen.
    pub fn facts(&self) -> &Facts {
        &self.record.instance.facts
    }

    /// The store.
    pub fn store(&self) -> &'a dyn Store {
        self.store
    }

    /// True while new steps may begin.
    pub fn is_fresh(&self) -> bool {
        self.held.is_fresh(self.begun.elapsed())
    }

    /// For how long no renewal has succeeded.
    pub fn unrenewed_for(&self) -> Duration {
        self.held.unrenewed_for(self.begun.elapsed())
    }

    /// Renews if it is time; reports progress.
    pub async fn renew_if_due(&mut self, progress: Option<&RecordingProgress>) -> Kept {
        if Instant::now() < self.renewal_due {
            return Kept::Done;
        }
        let sent = self.begun.elapsed();
        let record = self.record.clone();
        let kept = self.rewritten(renew(self.store, &record, progress, clock::now())).await;
        // After a failure the next try comes sooner: the lease is running out.
        let wait = if matches!(kept, Kept::Done) { self.timings.renew_every } else { self.timings.renew_every / 4 };
        self.renewal_due = Instant::now() + wait;
        if matches!(kept, Kept::Done) {
            self.held.renewed(sent);
        }
        kept
    }

    /// Does `work` with the lease renewed beside it, however long it takes. `Err` with the reason where the run was fenced: then
    /// the work is given up.
    ///
    /// # Errors
    /// Fenced.
    pub async fn keeping<T>(&mut self, work: impl Future<Output = T>) -> Result<T, String> {
        // Boxed: what it is laid out in grows too deep otherwise.
        let work = Box::pin(work);
        tokio::select! {
            biased;
            done = work => Ok(done),
            reason = self.renew_until_fenced() => Err(reason),
        }
    }

    async fn renew_until_fenced(&mut self) -> String {
        loop {
            sleep_until(self.renewal_due).await;
            match self.renew_if_due(None).await {
                Kept::Fenced(reason) => return reason,
                Kept::Unreachable(error) => tracing::warn!(%error, "the store does not answer; the work goes on"),
                Kept::Done | Kept::Refused => {}
            }
        }
    }

    /// Takes a step; a conflict with an unrelated write is resolved by renewing on what is there now.
    pub async fn step(&mut self, step: Step, note: Note, edit: impl Fn(&mut Facts)) -> Kept {
        for _ in 0..8 {
            let sent = self.begun.elapsed();
            let call = advance(self.store, &self.record, step, note.clone(), clock::now(), &edit);
            match store_within("step", call).await {
                Ok(Advanced::Applied(record)) => {
                    self.record = record;
                    self.held.renewed(sent);
                    return Kept::Done;
                }
                Ok(Advanced::Illegal(illegal)) => {
                    tracing::warn!(%illegal, "step refused");
                    return Kept::Refused;
                }
                Ok(Advanced::Conflict) => match self.refresh().await {
                    Kept::Done => {}
                    other => return other,
                },
                Err(error) => return Kept::Unreachable(error),
            }
        }
        Kept::Unreachable(slow("step"))
    }

    /// Reads what is there now, and whether it is still ours, by renewing.
    pub async fn refresh(&mut self) -> Kept {
        let sent = self.begun.elapsed();
        let record = self.record.clone();
        let kept = self.rewritten(renew(self.store, &record, None, clock::now())).await;
        if matches!(kept, Kept::Done) {
            self.held.renewed(sent);
        }
        kept
    }

    /// Reports progress and renews.
    pub async fn report(&mut self, progress: &RecordingProgress) -> Kept {
        let record = self.record.clone();
        self.rewritten(renew(self.store, &record, Some(progress), clock::now())).await
    }

    /// Marks the run as drained.
    pub async fn end_run(&mut self, progress: Option<&RecordingProgress>) -> Kept {
        let record = self.record.clone();
        self.rewritten(end_run(self.store, &record, progress, clock::now())).await
    }

    /// Freezes a list of segments; the record then holds the one that stands.
    pub async fn freeze(&mut self, list: &bot_model::document::FrozenList) -> Kept {
        let record = self.record.clone();
        self.rewritten(freeze(self.store, &record, list)).await
    }

    /// Replaces the list of segments whose hash is `replaces` by a longer one; the record then holds the one that stands.
    pub async fn freeze_again(&mut self, replaces: &str, list: &bot_model::document::FrozenList) -> Kept {
        let record = self.record.clone();
        self.rewritten(freeze_again(self.store, &record, replaces, list)).await
    }

    /// Notes where a linked meeting's pointer lies.
    pub async fn set_pointer(&mut self, meeting: &bot_model::ids::MeetingPath, address: &str) -> Kept {
        let record = self.record.clone();
        self.rewritten(set_pointer(self.store, &record, meeting, address)).await
    }

    /// Notes where the latest debug bundle lies.
    pub async fn set_debug(&mut self, address: &str) -> Kept {
        let record = self.record.clone();
        self.rewritten(set_debug(self.store, &record, address)).await
    }

    /// Notes how the call ended.
    pub async fn set_outcome(&mut self, outcome: &Outcome) -> Kept {
        let record = self.record.clone();
        self.rewritten(set_outcome(self.store, &record, outcome)).await
    }

    /// Notes that the bot has greeted.
    pub async fn set_greeted(&mut self, now: DateTime<Utc>) -> Kept {
        let record = self.record.clone();
        self.rewritten(set_greeted(self.store, &record, now)).await
    }

    /// Notes that the join comes next.
    pub async fn set_joining(&mut self) -> Kept {
        let record = self.record.clone();
        self.rewritten(set_joining(self.store, &record)).await
    }

    /// Notes where the files go.
    pub async fn set_path(&mut self, path: &bot_model::object_prefix::ObjectPrefix) -> Kept {
        let record = self.record.clone();
        self.rewritten(set_path(self.store, &record, path)).await
    }

    async fn rewritten(&mut self, call: impl Future<Output = Result<Renewal, StoreError>>) -> Kept {
        match store_within("renew", call).await {
            Ok(Renewal::Renewed(record)) => {
                self.record = record;
                Kept::Done
            }
            Ok(Renewal::Fenced(reason)) => Kept::Fenced(reason),
            Err(error) => Kept::Unreachable(error),
        }
    }
}
