//! What the steps share, and their life: look at the outbox and at what is due whenever something may have changed, and at times anyway.
//!
//! Nothing that matters is kept in memory: whoever dies in the middle leaves documents that say what is left to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bot_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::alert::Alert;
use crate::deliver::Receiver;
use crate::endpoint;
use crate::metrics::Metrics;
use crate::post::Poster;
use crate::safe::Safe;
use crate::schedule::Schedule;

/// Between two looks that hints ask for.
const HINT_GAP: Duration = Duration::from_millis(20);
/// After a look that the store refused.
const AFTER_ERROR: Duration = Duration::from_secs(2);
/// While some receiver's tries are all under way, others that are due behind them are looked for this often.
pub(crate) const BLOCKED_LOOK: Duration = Duration::from_secs(5);
/// SIGTERM to the end: tries that have begun may end until then.
const STOP_BUDGET: Duration = Duration::from_secs(4);

/// Clocks and limits.
#[derive(Debug, Clone)]
pub struct Pace {
    /// When a try is repeated.
    pub schedule: Schedule,
    /// Between looks when no hint comes.
    pub poll: Duration,
    /// A try, at most.
    pub deadline: Duration,
    /// Whose try was not heard of for this long is taken to be dead, and the delivery is tried by another. Longer than a try.
    pub claim: Duration,
    /// An endpoint that accepted nothing for this long is switched off.
    pub disabled_after: Duration,
    /// Deliveries are kept for this long.
    pub kept: Duration,
    /// Tries of one endpoint under way at once, in one replica; one alone while it fails.
    pub at_once: usize,
    /// Between removals of what is no longer kept, and looks at the oldest that waits.
    pub tidy: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            poll: Duration::from_secs(60),
            deadline: Duration::from_secs(15),
            claim: Duration::from_secs(60),
            disabled_after: Duration::from_secs(5 * 86_400),
            kept: Duration::from_secs(7 * 86_400),
            at_once: 4,
            tidy: Duration::from_secs(300),
        }
    }
}

/// The deliverer of one replica.
pub struct Webhooks {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) poster: Poster,
    pub(crate) pace: Pace,
    pub(crate) metrics: Metrics,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) safe: Safe,
    pub(crate) slots: Arc<Slots>,
    hints: Arc<Notify>,
}

/// What a replica delivers with.
pub struct Parts {
    /// The shared store.
    pub store: Arc<dyn Store>,
    /// The client.
    pub poster: Poster,
    /// Clocks and limits.
    pub pace: Pace,
    /// Where to count.
    pub metrics: Metrics,
    /// Who is told when all bots are busy, besides the endpoints.
    pub alerts: Vec<Alert>,
    /// What opens the secrets of endpoints.
    pub safe: Safe,
    /// Told whenever something may have come into the outbox.
    pub hints: Arc<Notify>,
}

impl Webhooks {
    /// One that does nothing yet.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, poster, pace, metrics, alerts, safe, hints } = parts;
        Arc::new(Self { store, poster, pace, metrics, alerts, safe, hints, slots: Arc::default() })
    }

    /// Delivers until `stop` is cancelled. What is under way then has a few seconds to end; what is cut off is tried again by another
    /// replica, or by the next one.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tries = JoinSet::new();
        let tidying = tokio::spawn(Arc::clone(&self).tidy_for_ever(stop.clone()));
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let rest = self.look(&mut tries).await.unwrap_or_else(|error| {
                tracing::warn!(kind = ?error.kind, operation = error.operation, error = error.message, "webhooks could not be looked at");
                AFTER_ERROR
            });
            while tries.try_join_next().is_some() {}
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.hints.notified() => tokio::time::sleep_until(begun + HINT_GAP).await,
                () = self.slots.freed.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        let _ = tokio::time::timeout(STOP_BUDGET, async { while tries.join_next().await.is_some() {} }).await;
        tidying.abort();
    }

    /// One look at everything: how long the next can wait.
    async fn look(self: &Arc<Self>, tries: &mut JoinSet<()>) -> Result<Duration, StoreError> {
        while self.fan_out(tries).await? {}
        self.deliver_due(tries).await
    }

    /// Everybody who could want something, by id.
    pub(crate) async fn receivers(&self) -> Result<Receivers, StoreError> {
        let endpoints = endpoint::all(self.store.as_ref()).await?.into_iter();
        let endpoints = endpoints.map(|found| Receiver::Endpoint(Box::new(found.endpoint)));
        let alerts = self.alerts.iter().cloned().map(Receiver::Alert);
        Ok(endpoints.chain(alerts).map(|receiver| (receiver.id().to_owned(), Arc::new(receiver))).collect())
    }

    /// A place for one more try, if the receiver has one. One that fails has one alone.
    pub(crate) fn slot(&self, receiver: &Receiver) -> Option<Slot> {
        let most = if receiver.is_failing() { 1 } else { self.pace.at_once };
        self.slots.take(receiver.id(), most)
    }

    /// How many places it has left.
    pub(crate) fn free_slots(&self, receiver: &Receiver) -> usize {
        let most = if receiver.is_failing() { 1 } else { self.pace.at_once };
        most.saturating_sub(self.slots.under_way(receiver.id()))
    }
}

/// Receivers by id.
pub(crate) type Receivers = HashMap<String, Arc<Receiver>>;

/// Tries under way, by receiver: a slow one fills its own places, never another's.
#[derive(Default)]
pub(crate) struct Slots {
    under_way: Mutex<HashMap<String, usize>>,
    pub(crate) freed: Notify,
}

impl Slots {
    fn take(self: &Arc<Self>, receiver: &str, most: usize) -> Option<Slot> {
        let mut under_way = self.lock();
        let count = under_way.entry(receiver.to_owned()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Slot { slots: Arc::clone(self), receiver: receiver.to_owned() })
    }

    fn under_way(&self, receiver: &str) -> usize {
        self.lock().get(receiver).copied().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One try's place; dropped, it is free again.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    receiver: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut under_way = self.slots.lock();
        if let Some(count) = under_way.get_mut(&self.receiver) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.receiver);
            }
        }
        drop(under_way);
        self.slots.freed.notify_one();
    }
}
