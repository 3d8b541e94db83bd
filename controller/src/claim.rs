//! Claims queued instances and launches them. Only the claim's own proof can be launched, and only as often as there
//! are free slots: nothing is claimed that cannot be started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bot_model::capacity::Limits;
use bot_model::capacity::ledger::Refusal;
use bot_model::capacity::queue::has_timed_out;
use bot_model::document::BotInstance;
use bot_model::ids::{InstanceId, JobName};
use bot_model::lifecycle::{Status, Step};
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_model::schedule::Due;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::capacity::{self, Admitted};
use bot_store::protocol::claim::{self, Claimed, Claimer};
use bot_store::protocol::run::Purpose;
use bot_store::protocol::settle::settle;
use bot_store::protocol::{Advanced, InstanceRecord, Note};
use bot_store::{StoreError, clock};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::engine::{Engine, lock};
use crate::launch::{LaunchError, LaunchSpec, Launched, RunCommand};
use crate::metrics::Metrics;
use crate::reap::decide::{MAX_ATTEMPTS, backoff};

/// A call without a scheduled end is not joined again when its bot was last heard of this long ago: after a reboot, the next
/// morning. Rests on wall clocks, and may: at worst the rest of a call is not recorded, or an empty one is looked into.
const GONE_FOR_LONG: Duration = Duration::from_secs(30 * 60);
/// Launches at once.
pub(crate) const AT_ONCE: usize = 8;

/// An instance whose launch is in hand: until this is dropped, as it is where a pass is cut off by its deadline, the reaper leaves it alone.
pub(crate) struct InFlight {
    all: Arc<Mutex<BTreeSet<InstanceId>>>,
    id: InstanceId,
}

impl InFlight {
    fn of(all: &Arc<Mutex<BTreeSet<InstanceId>>>, id: &InstanceId) -> Self {
        lock(all).insert(id.clone());
        Self { all: Arc::clone(all), id: id.clone() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.id);
    }
}

impl Engine {
    /// Claims what is queued, due and startable, and launches it. Answers with how many were claimed.
    pub async fn claim(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        self.give_back().await;
        let queued = self.instances(&[Status::Queued]).await?;
        {
            let mut served = lock(&self.served);
            served
                .extend(queued.iter().map(|record| (record.instance.id.clone(), crate::discover::meetings_of(&record.instance))));
        }
        let (room, held_by) = self.room().await;
        let mut candidates = Vec::new();
        for record in queued {
            match self.due(&record.instance, now) {
                Due::Early => {}
                Due::Now if has_timed_out(&record.instance, self.pace.window.lead, now) => self.time_out(&record, now).await?,
                Due::Now if claim::is_claimable(&record, false) && self.may_launch(&record) => candidates.push(record),
                Due::Now => {}
                Due::Missed => self.miss(&record, room == 0, now).await?,
            }
        }
        let finalizes = |record: &InstanceRecord| self.command_for(&record.instance, now) == RunCommand::Finalize;
        let (finalizing, recording): (Vec<_>, Vec<_>) = candidates.into_iter().partition(finalizes);
        // What was recorded is made into files, whatever else is full.
        let mut claimed = 0;
        for claims in finalizing.chunks(self.pace.max_claims) {
            claimed += self.claim_and_launch(claims.to_vec(), RunCommand::Finalize).await.0;
        }
        Ok(claimed + self.claim_in_order(recording, (room, held_by), now).await?)
    }

    /// Claims as many as there is room for, the first of the queue first, and notes who has to wait for what.
    async fn claim_in_order(
        &self,
        mut candidates: Vec<InstanceRecord>,
        (mut room, held_by): (usize, Refusal),
        now: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        candidates.sort_by_cached_key(|record| (self.order(&record.instance, now), record.instance.id.clone()));
        let all: Vec<&InstanceRecord> = candidates.iter().collect();
        let is_counted = !candidates.is_empty() && self.is_counted().await?;
        let (mut left, mut turned_away, mut claimed) = (candidates.clone(), BTreeMap::new(), 0);
        if !is_counted {
            let mut waiting = left.split_off(room.min(left.len()));
            turned_away.extend(waiting.drain(..).map(|record| (record.instance.id, held_by)));
            for claims in shuffled(std::mem::take(&mut left)).chunks(self.pace.max_claims) {
                if self.stop.is_cancelled() {
                    break;
                }
                let (won, refused) = self.claim_and_launch(claims.to_vec(), RunCommand::Record).await;
                claimed += won;
                turned_away.extend(refused);
            }
        }
        while !left.is_empty() && room > 0 && !self.stop.is_cancelled() {
            let limits = self.limits(&left).await?;
            let admitted = self.claim_placed(std::mem::take(&mut left), room, &limits, now).await?;
            turned_away.extend(admitted.turned_away);
            (claimed, room) = (claimed + admitted.claimed.len(), room.saturating_sub(admitted.claimed.len()));
            if !admitted.claimed.is_empty() {
                left = admitted.left;
            }
            turned_away.extend(self.launch_all(admitted.claimed, RunCommand::Record).await);
        }
        turned_away.extend(left.into_iter().map(|record| (record.instance.id, held_by)));
        self.write_down(&all, &turned_away, now).await;
        self.waiting(&all, turned_away, now).await;
        Ok(claimed)
    }

    /// Claims the first of these, each with its place, in one commit.
    async fn claim_placed(
        &self,
        records: Vec<InstanceRecord>,
        room: usize,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Result<Admitted, StoreError> {
        KillPoint::Claiming.pass(&self.controller_id).await;
        let most = room.min(self.pace.max_claims);
        let admitted = capacity::claim_placed(self.store.as_ref(), records, most, &self.claimer(), limits, now).await;
        if let Ok(admitted) = &admitted {
            self.metrics.lease_conflicts.inc_by(admitted.conflicts.into());
            for _ in &admitted.claimed {
                Metrics::count(&self.metrics.claims, "won");
            }
        } else {
            Metrics::count(&self.metrics.claims, "error");
        }
        admitted
    }

    /// Takes a stale claim over, to launch it: with a place where it may join its call.
    pub(crate) async fn take_over(&self, record: &InstanceRecord, now: DateTime<Utc>) -> Result<(), StoreError> {
        let command = self.command_for(&record.instance, now);
        if command == RunCommand::Record {
            if self.room().await.0 == 0 {
                return Ok(());
            }
            if self.is_counted().await? {
                let records = vec![record.clone()];
                let limits = self.limits(&records).await?;
                let admitted = self.claim_placed(records, 1, &limits, now).await?;
                self.launch_all(admitted.claimed, command).await;
                return Ok(());
            }
        }
        self.claim_and_launch(vec![record.clone()], command).await;
        Ok(())
    }

    /// Claims these records, without places, and launches the ones that were won. Answers with how many those were, and for which of
    /// them there was no room after all.
    async fn claim_and_launch(&self, records: Vec<InstanceRecord>, command: RunCommand) -> (usize, Vec<(InstanceId, Refusal)>) {
        if records.is_empty() {
            return (0, Vec::new());
        }
        KillPoint::Claiming.pass(&self.controller_id).await;
        let mut won = Vec::new();
        let purpose = match command {
            RunCommand::Record => Purpose::Record,
            RunCommand::Finalize => Purpose::Finalize,
        };
        for answer in claim::claim_all_for(self.store.as_ref(), records, &self.claimer(), purpose, clock::now()).await {
            match answer {
                Ok(Some(claimed)) => {
                    Metrics::count(&self.metrics.claims, "won");
                    won.push(claimed);
                }
                Ok(None) => drop(self.metrics.lease_conflicts.inc()),
                Err(error) => {
                    Metrics::count(&self.metrics.claims, "error");
                    self.failed("claim", &error);
                }
            }
        }
        (won.len(), self.launch_all(won, command).await)
    }

    /// Launches these; answers for which there was no room after all.
    async fn launch_all(&self, won: Vec<Claimed>, command: RunCommand) -> Vec<(InstanceId, Refusal)> {
        // Of all of them from now on: whose turn comes later is nobody else's meanwhile.
        let held: Vec<(Claimed, InFlight)> = won.into_iter().map(|claimed| self.hold(claimed)).collect();
        let launches = futures::stream::iter(held).map(|(claimed, held)| async move {
            let id = held.id.clone();
            self.launch(claimed, held, command).await.map(|refusal| (id, refusal))
        });
        launches.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// A claim in hand: to be launched without a wait in between.
    pub(crate) fn hold(&self, claimed: Claimed) -> (Claimed, InFlight) {
        let held = InFlight::of(&self.in_flight, &claimed.record().instance.id);
        (claimed, held)
    }

    /// Launches a claim; whatever happens, the claim is used, given back or left to run out. Answers what there was no room by.
    pub(crate) async fn launch(&self, claimed: Claimed, _held: InFlight, command: RunCommand) -> Option<Refusal> {
        KillPoint::Claimed.pass(&self.controller_id).await;
        let launched = self.launcher.launch(&LaunchSpec::new(&claimed, command)).await;
        let refusal = launched.as_ref().err().and_then(LaunchError::want_of_room);
        let noted = match launched {
            Ok(launched) => self.launched(&claimed, command, launched).await,
            Err(error) => self.not_launched(&claimed, &error).await,
        };
        if let Err(error) = noted {
            // The run is there or is not: the reaper finds out and writes it.
            self.failed("launched", &error);
        }
        refusal
    }

    async fn launched(&self, claimed: &Claimed, command: RunCommand, launched: Launched) -> Result<(), StoreError> {
        KillPoint::JobCreated.pass(&self.controller_id).await;
        let instance = &claimed.record().instance;
        let result = match launched {
            Launched::Started => "started",
            Launched::AlreadyThere => "already_there",
        };
        Metrics::count(&self.metrics.launches, result);
        let job = JobName::for_instance(&instance.id);
        tracing::info!(bot_instance_id = %instance.id, job_name = %job, attempt = instance.facts.attempt, command = command.as_str(), result, "launched");
        lock(&self.failures).remove(&instance.id);
        if instance.facts.attempt == 1 {
            self.observe_lag(instance);
        }
        // A conflict means that the manager was faster; then its own state stands.
        claim::launched(self.store.as_ref(), claimed, &job, clock::now()).await?;
        KillPoint::Launched.pass(&self.controller_id).await;
        Ok(())
    }

    async fn not_launched(&self, claimed: &Claimed, error: &LaunchError) -> Result<(), StoreError> {
        let record = claimed.record();
        let id = &record.instance.id;
        let refusal = error.want_of_room();
        Metrics::count(&self.metrics.launches, if refusal.is_some() { "full" } else { "failed" });
        if let Some(refusal) = refusal {
            tracing::info!(bot_instance_id = %id, %error, "there is no room; the claim is given back");
            if record.instance.may_be_recorded() {
                // It is not held back with the others: its own next try is.
                self.put_off(id);
            }
            let why = error.to_string();
            return claim::put_back(self.store.as_ref(), claimed, refusal, &why, clock::now()).await.map(drop);
        }
        let failures = self.put_off(id);
        tracing::error!(bot_instance_id = %id, attempt = record.instance.facts.attempt, failures, %error, "a launch failed");
        if failures < MAX_ATTEMPTS || record.instance.may_be_recorded() {
            return claim::release(self.store.as_ref(), claimed, "the launch failed", clock::now()).await.map(drop);
        }
        lock(&self.failures).remove(id);
        let outcome = Outcome::with_detail(OutcomeKind::LaunchFailed, error);
        self.end(record, Step::Fail, outcome, clock::now()).await
    }

    /// Lets the next launch of an instance wait, for longer each time. Answers how often that was so.
    fn put_off(&self, id: &InstanceId) -> u32 {
        let mut failures = lock(&self.failures);
        let (count, again_at) = failures.entry(id.clone()).or_insert((0, Instant::now()));
        *count += 1;
        *again_at = Instant::now() + backoff(*count + 1);
        *count
    }

    /// Settles and counts. A conflict is looked at again by the next pass.
    pub(crate) async fn end(
        &self,
        record: &InstanceRecord,
        step: Step,
        outcome: Outcome,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let note = Note::new("controller", "settled");
        if let Advanced::Applied(after) = settle(self.store.as_ref(), record, step, outcome, Vec::new(), note, now).await? {
            tracing::info!(bot_instance_id = %after.instance.id, phase = %after.instance.phase, "settled");
            self.settled(&after.instance);
        }
        Ok(())
    }

    async fn miss(&self, record: &InstanceRecord, is_full: bool, now: DateTime<Utc>) -> Result<(), StoreError> {
        // What stands on the document outlives who saw it wait.
        let waited_for = self.why_it_waits(&record.instance).or(is_full.then_some(Refusal::Machine));
        let (step, kind, reason) = match waited_for {
            Some(refusal) if refusal.is_the_organization_s() => {
                (Step::Fail, OutcomeKind::OrganizationLimit, "organization_limit")
            }
            Some(_) => (Step::Fail, OutcomeKind::NoCapacity, "no_capacity"),
            None => (Step::Miss, OutcomeKind::Missed, "too_late"),
        };
        Metrics::reason(&self.metrics.missed, reason);
        self.end(record, step, Outcome::new(kind), now).await
    }

    pub(crate) fn claimer(&self) -> Claimer {
        Claimer { controller_id: self.controller_id.clone(), ttl: self.pace.claim_ttl }
    }

    pub(crate) async fn free_slots(&self) -> usize {
        match self.launcher.free_slots().await {
            Ok(slots) => {
                self.metrics.slots_free.set(i64::try_from(slots).unwrap_or(i64::MAX));
                slots
            }
            Err(error) => {
                tracing::warn!(%error, "the launcher cannot say what is free; nothing is claimed");
                0
            }
        }
    }

    /// When an instance is due. What was recorded already is always due: it is to be finalized at least. And the window around
    /// the start is for the first join: a bot that was lost on its way comes back as long as the call goes on.
    pub(crate) fn due(&self, instance: &BotInstance, now: DateTime<Utc>) -> Due {
        if instance.may_be_recorded() || (instance.facts.attempt > 1 && self.is_meeting_on(instance, now)) {
            return Due::Now;
        }
        self.pace.window.due(instance.facts.start_time, instance.facts.end_time, now)
    }

    /// True while the call can still go on and nobody cancelled it. A meeting that overruns its end is not joined again, nor is one
    /// without an end whose bot has been gone for long.
    pub(crate) fn is_meeting_on(&self, instance: &BotInstance, now: DateTime<Utc>) -> bool {
        let facts = &instance.facts;
        let begun = facts.recording.as_ref().map(|recording| recording.started_at).or(facts.start_time).or(facts.created_at);
        let gone = facts.run.as_ref().map(|run| run.renewed_at + GONE_FOR_LONG);
        let latest = begun.map(|begun| begun + self.pace.max_recording);
        let end = facts.end_time.or_else(|| latest.into_iter().chain(gone).min());
        facts.cancel_requested_at.is_none() && end.is_none_or(|end| now < end)
    }

    /// What the next run of an instance is to do, by its document alone, so that whoever takes over decides alike.
    pub(crate) fn command_for(&self, instance: &BotInstance, now: DateTime<Utc>) -> RunCommand {
        let is_over = is_recording_over(instance) || !self.is_meeting_on(instance, now);
        if instance.may_be_recorded() && is_over { RunCommand::Finalize } else { RunCommand::Record }
    }

    fn may_launch(&self, record: &InstanceRecord) -> bool {
        lock(&self.failures).get(&record.instance.id).is_none_or(|(_, again_at)| *again_at <= Instant::now())
    }

    fn observe_lag(&self, instance: &BotInstance) {
        let lead = chrono::Duration::from_std(self.pace.window.lead).unwrap_or_default();
        let due = instance.facts.start_time.map(|start| start - lead).max(instance.facts.created_at);
        if let Some(lag) = due.and_then(|due| (clock::now() - due).to_std().ok()) {
            self.metrics.scheduled_lag.observe(lag.max(Duration::ZERO).as_secs_f64());
        }
    }
}

/// True where the call is over for the bot: its outcome is known, or the list of segments is frozen. (A bot that was sent out by
/// SIGTERM has left, too, but knows no outcome.)
pub(crate) fn is_recording_over(instance: &BotInstance) -> bool {
    instance.facts.frozen.is_some() || instance.facts.outcome.is_some()
}

/// Those that are all claimed now: the urgent first, and equals in an order of chance, so that replicas that see the same page do not
/// fight over its head.
fn shuffled(mut candidates: Vec<InstanceRecord>) -> Vec<InstanceRecord> {
    candidates.sort_by_cached_key(|record| (std::cmp::Reverse(record.instance.facts.priority), clock::random_id()));
    candidates
}
