//! What the loops share, and the loops' lives: independent tasks that end at the next safe point when asked to.
//!
//! Each loop's pass is a public function of its own module, so that tests drive it step by step. Hints only make a pass come sooner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bot_model::document::{BotInstance, DocumentError, Fields};
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::lifecycle::{Phase, Status};
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::protocol::{InstanceRecord, heartbeat};
use bot_store::{Commit, Hint, InstanceQuery, Record, Store, StoreError, Write, clock, outbox};
use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::capacity;
use crate::config::Pace;
use crate::discover::Look;
use crate::launch::Launcher;
use crate::metrics::Metrics;
use crate::reap::Memory;

/// Documents in one page of a query.
pub(crate) const PAGE: usize = 200;
/// From a pass to the next that a hint asks for, at least: the first hint after a while is heeded at once.
const HINT_GAP: Duration = Duration::from_millis(100);
/// From one reap to the next that a change asks for, at least.
const REAP_GAP: Duration = Duration::from_secs(1);
/// From one look to the next at runs that are over and wait for their backoff.
const WAITING_GAP: Duration = Duration::from_secs(2);
/// From a look at everything that left something undone to the next: a call may be without its bot meanwhile.
const UNDONE_GAP: Duration = Duration::from_secs(5);
/// Between heartbeats; a quarter of the time after which others take over.
const BEAT_EVERY: Duration = Duration::from_secs(15);
/// Longest pass; what is not done by then is done by the next.
const PASS_DEADLINE: Duration = Duration::from_secs(300);
/// SIGTERM to exit.
pub const STOP_BUDGET: Duration = Duration::from_secs(5);

fn until_next(last: Option<Instant>, every: Duration) -> Duration {
    last.map_or(Duration::ZERO, |at| every.saturating_sub(at.elapsed()))
}

/// What the loops share.
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) controller_id: String,
    pub(crate) pace: Pace,
    /// For the scrape.
    pub metrics: Metrics,
    pub(crate) memory: Mutex<Memory>,
    pub(crate) capacity: Mutex<capacity::Memory>,
    /// Instances whose launch this process is in the middle of.
    pub(crate) in_flight: Arc<Mutex<BTreeSet<InstanceId>>>,
    /// Failed launches, with when to try again.
    pub(crate) failures: Mutex<BTreeMap<InstanceId, (u32, Instant)>>,
    /// The live instances of the last look, with the meetings that each serves.
    pub(crate) served: Mutex<BTreeMap<InstanceId, Vec<MeetingPath>>>,
    started: Instant,
    last_poll: Mutex<Option<Instant>>,
    pub(crate) stop: CancellationToken,
    wanted: Mutex<Look>,
    cancel_wanted: Mutex<Look>,
    wake: Wake,
    outbox: Arc<Notify>,
}

#[derive(Default)]
struct Wake {
    discover: Notify,
    cancel: Notify,
    claim: Notify,
}

impl Engine {
    /// An engine that runs nothing yet.
    pub fn new(store: Arc<dyn Store>, launcher: Arc<dyn Launcher>, controller_id: &str, pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            store,
            launcher,
            controller_id: controller_id.to_owned(),
            metrics: Metrics::of(&pace.limits),
            pace,
            memory: Mutex::default(),
            capacity: Mutex::default(),
            in_flight: Arc::default(),
            failures: Mutex::default(),
            served: Mutex::default(),
            started: Instant::now(),
            last_poll: Mutex::new(None),
            stop: CancellationToken::new(),
            wanted: Mutex::new(Look::Everything),
            cancel_wanted: Mutex::new(Look::Everything),
            wake: Wake::default(),
            outbox: Arc::default(),
        })
    }

    /// Runs every loop until `stop` is cancelled. What is in hand is finished within [`STOP_BUDGET`].
    pub async fn run(self: &Arc<Self>) {
        let mut tasks = tokio::task::JoinSet::new();
        if self.pace.is_listening {
            tasks.spawn(clock::inherited(Arc::clone(self).hints()));
        }
        tasks.spawn(clock::inherited(Arc::clone(self).beats()));
        tasks.spawn(clock::inherited(Arc::clone(self).discover_loop()));
        tasks.spawn(clock::inherited(Arc::clone(self).cancel_loop()));
        tasks.spawn(clock::inherited(Arc::clone(self).claim_loop()));
        tasks.spawn(clock::inherited(Arc::clone(self).reap_loop()));
        tasks.spawn(clock::inherited(Arc::clone(self).sweeps()));
        self.stop.cancelled().await;
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_BUDGET.saturating_sub(Duration::from_millis(500)), all).await.is_err() {
            tracing::warn!("a step did not end in time; what it had committed stands, and the rest is taken up again");
        }
    }

    /// Asks the loops to end; the bots go on.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Told whenever something may have come into the outbox.
    pub fn outbox_hints(&self) -> Arc<Notify> {
        Arc::clone(&self.outbox)
    }

    /// Cancelled when the loops shall end.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The shared store.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The same, to be held.
    pub fn shared_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The launcher, to be held.
    pub fn shared_launcher(&self) -> Arc<dyn Launcher> {
        Arc::clone(&self.launcher)
    }

    /// The launcher.
    pub fn launcher(&self) -> &dyn Launcher {
        self.launcher.as_ref()
    }

    /// How long ago meetings were last looked for with success.
    pub fn poll_age(&self) -> Option<Duration> {
        lock(&self.last_poll).map(|at| at.elapsed())
    }

    /// Older than this, and the controller is not ready.
    pub fn poll_limit(&self) -> Duration {
        3 * self.pace.poll + Duration::from_secs(30)
    }

    pub(crate) fn polled(&self) {
        *lock(&self.last_poll) = Some(Instant::now());
    }

    /// The observer's own monotonic clock.
    pub(crate) fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn wake_claim(&self) {
        self.wake.claim.notify_one();
    }

    pub(crate) fn failed(&self, what: &'static str, error: &StoreError) {
        self.metrics.store_error(error.kind);
        tracing::warn!(what, kind = ?error.kind, operation = error.operation, error = error.message, "the store refused or could not be reached");
    }

    /// Every instance of these statuses that can be read. An unreadable queued one is given its reason; an unknown status is counted and left alone.
    pub(crate) async fn instances(&self, statuses: &[Status]) -> Result<Vec<InstanceRecord>, StoreError> {
        let naming = self.store.naming();
        let query = InstanceQuery::WithStatus(statuses.iter().map(|status| naming.status_value(*status).to_owned()).collect());
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.store.instances(&query, cursor.as_deref(), PAGE).await?;
            for record in page.records {
                match InstanceRecord::from_record(&record, naming) {
                    Ok(instance) => found.push(instance),
                    Err(error) => self.unusable(&record, &error).await,
                }
            }
            cursor = page.next;
            if cursor.is_none() || self.stop.is_cancelled() {
                return Ok(found);
            }
        }
    }

    async fn unusable(&self, record: &Record, error: &DocumentError) {
        let naming = self.store.naming();
        let phase = BotInstance::stored_phase(&record.fields, naming);
        let (DocumentError::Field(_), Ok(Phase::Queued)) = (error, phase) else {
            self.metrics.unknown_status.inc();
            tracing::debug!(document = record.key.path(), %error, "an instance is left alone");
            return;
        };
        let outcome = Outcome::with_detail(OutcomeKind::InvalidDocument, error);
        let mut fields = Fields::new();
        fields.insert(naming.instance_status_field.clone(), naming.status_value(Status::Failed).into());
        fields.insert("phase".into(), Phase::Failed.as_str().into());
        fields.insert("outcome".into(), json!(outcome));
        fields.insert("outcome_kind".into(), json!(outcome.kind));
        fields.insert("processed_at".into(), json!(clock::now()));
        let event = outbox::write(outbox::of_unusable(record, &outcome, clock::now()));
        match self.store.commit(vec![Write::update(record.key.clone(), record.version.clone(), fields), event]).await {
            Ok(Commit::Applied(_)) => {
                self.metrics.quarantined.inc();
                self.metrics.outcome(&outcome, "unknown");
                tracing::warn!(document = record.key.path(), %error, "an unusable instance was given its reason");
            }
            Ok(Commit::Conflict) => {}
            Err(error) => self.failed("quarantine", &error),
        }
    }

    /// Nothing is due, queued, live or running. One look; ask twice.
    pub async fn is_idle(&self) -> bool {
        let looked = self.poll_age().is_some() && lock(&self.wanted).is_nothing();
        let live = self.instances(&[Status::Queued, Status::Processing]).await.map_or(1, |live| live.len());
        let runs = self.launcher.list().await.map_or(1, |runs| runs.len());
        looked && live == 0 && runs == 0
    }

    /// Hints wake the loops; a stream that ends or fails is opened again, and everything is looked at meanwhile.
    async fn hints(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            match self.store.watch().await {
                Ok(mut hints) => {
                    // Of what changed before it was open no hint comes, and a meeting without a start is in no window.
                    self.hinted(Hint::Anything);
                    loop {
                        tokio::select! {
                            biased;
                            () = self.stop.cancelled() => return,
                            hint = hints.next() => match hint {
                                Some(hint) => self.hinted(hint),
                                None => break,
                            }
                        }
                    }
                }
                Err(error) => {
                    self.failed("watch", &error);
                    self.hinted(Hint::Anything);
                }
            }
            self.pause(self.pace.poll, &Notify::new()).await;
        }
    }

    fn hinted(&self, hint: Hint) {
        let look = match hint {
            Hint::Outbox => {
                self.outbox.notify_one();
                return;
            }
            Hint::Instances => None,
            Hint::Meeting(path) => Some(Look::These(BTreeSet::from([path]))),
            Hint::Anything => {
                self.outbox.notify_one();
                Some(Look::Everything)
            }
        };
        if let Some(look) = look {
            self.want(look);
        }
        self.wake.claim.notify_one();
    }

    fn want(&self, look: Look) {
        lock(&self.wanted).add(look.clone());
        lock(&self.cancel_wanted).add(look);
        self.wake.discover.notify_one();
        self.wake.cancel.notify_one();
    }

    /// Asks for another look at these meetings.
    pub(crate) fn look_again(&self, paths: Vec<MeetingPath>) {
        self.want(Look::These(paths.into_iter().collect()));
    }

    async fn sweeps(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            self.pause(self.pace.sweep, &Notify::new()).await;
            self.want(Look::Everything);
        }
    }

    async fn beats(self: Arc<Self>) {
        let mut beats = 0;
        while !self.stop.is_cancelled() {
            beats += 1;
            if let Err(error) = heartbeat::beat(self.store.as_ref(), &self.controller_id, beats, clock::now()).await {
                self.failed("heartbeat", &error);
            }
            self.pause(BEAT_EVERY, &Notify::new()).await;
        }
    }

    async fn discover_loop(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let look = std::mem::take(&mut *lock(&self.wanted));
            let done = self.pass("discover", self.discover(look.clone(), clock::now())).await;
            if !done {
                lock(&self.wanted).add(look);
            }
            self.pause(self.pace.poll, if done { &self.wake.discover } else { &NEVER }).await;
        }
    }

    async fn cancel_loop(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let look = std::mem::take(&mut *lock(&self.cancel_wanted));
            if !self.pass("cancel", self.cancel(look.clone(), clock::now())).await {
                lock(&self.cancel_wanted).add(look);
            }
            self.pause(self.pace.sweep, &self.wake.cancel).await;
        }
    }

    async fn claim_loop(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            self.pass("claim", self.claim(clock::now())).await;
            self.pause(self.pace.poll, &self.wake.claim).await;
        }
    }

    async fn reap_loop(self: Arc<Self>) {
        let mut looked_at_all: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            let begun = Instant::now();
            if until_next(looked_at_all, self.reap_every()).is_zero() {
                looked_at_all = Some(begun);
                self.pass("reap", self.reap(clock::now())).await;
            } else {
                self.pass("reap_changed", self.reap_changed(clock::now())).await;
            }
            let until_next = until_next(looked_at_all, self.reap_every()).max(REAP_GAP);
            let rest = if self.has_waiting() { until_next.min(WAITING_GAP) } else { until_next };
            tokio::select! {
                biased;
                () = self.launcher.changed() => {
                    // Calls end on the hour, many at once.
                    self.pause(REAP_GAP.saturating_sub(begun.elapsed()), &NEVER).await;
                }
                () = self.pause(rest, &NEVER) => {}
            }
        }
    }

    fn reap_every(&self) -> Duration {
        if self.is_undone() { self.pace.reap.min(UNDONE_GAP) } else { self.pace.reap }
    }

    /// Runs a pass under its deadline; false where it failed.
    async fn pass<T>(&self, name: &'static str, pass: impl Future<Output = Result<T, StoreError>>) -> bool {
        let begun = Instant::now();
        let ended = tokio::time::timeout(PASS_DEADLINE, pass).await;
        self.metrics.pass(name, begun.elapsed().as_secs_f64());
        match ended {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                self.failed(name, &error);
                false
            }
            Err(_) => {
                tracing::error!(name, "a pass did not end within its deadline");
                false
            }
        }
    }

    /// Until the interval is over, a hint comes, or it is time to stop. Hints in a burst make one pass.
    async fn pause(&self, interval: Duration, hint: &Notify) {
        let begun = Instant::now();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(interval) => {}
            () = hint.notified() => {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(HINT_GAP.saturating_sub(begun.elapsed())) => {}
                }
            }
        }
    }
}

/// A hint that never comes: after a failure the interval is waited out.
static NEVER: Notify = Notify::const_new();

/// A panic while a lock was held leaves plain data behind, which stays usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
