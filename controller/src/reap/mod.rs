//! Compares what the store says with what runs, both ways, and acts on [`decide`]'s answers. Thin: every judgement is there.

pub mod decide;
mod observe;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bot_model::capacity::ledger::Refusal;
use bot_model::document::BotInstance;
use bot_model::ids::{InstanceId, JobName};
use bot_model::lease::Sightings;
use bot_model::lifecycle::Status;
use bot_model::outcome::Outcome;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::claim::Relaunch;
use bot_store::protocol::{Advanced, InstanceRecord, capacity, claim};
use bot_store::{StoreError, Version};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use crate::claim::AT_ONCE;
use crate::discover::meetings_of;
use crate::engine::{Engine, lock};
use crate::launch::{Observed, RunCommand, RunKey, RunState, TroubleKind};
use crate::metrics::Metrics;
use decide::{Action, Evidence, Observation, decide, lost_outcome};

/// A Job without a pod for this long, and nobody says why, has met a policy, or a quota that this identity may not read of.
const NO_POD_FOR: Duration = Duration::from_secs(15);

/// What of a run can call for something to be done.
type Standing = (RunState, Option<TroubleKind>);

/// What came of judging an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// Whatever was to do is done.
    Done,
    /// Its run is over, and nothing is to be done about it yet.
    Waits,
    /// Store or cluster did not answer.
    Undone,
}

/// What the reaper remembers between its looks, all of it rebuilt by looking again.
pub struct Memory {
    progress: Sightings<InstanceId, String>,
    carried: Sightings<InstanceId, (u32, u64)>,
    evidence: Sightings<InstanceId, (u32, Evidence)>,
    owners: Sightings<String, Option<Version>>,
    strangers: BTreeSet<RunKey>,
    pending: Sightings<RunKey, Option<TroubleKind>>,
    /// How each run stood when it was last judged for good.
    judged: BTreeMap<RunKey, Standing>,
    /// A run that is over waits for something to be done about it: its backoff is not over yet.
    has_waiting: bool,
    /// Something could not be done since the last look at everything began: store or cluster did not answer.
    is_undone: bool,
    alerted: BTreeSet<(InstanceId, &'static str)>,
    /// Instances whose outcome this process has counted.
    pub(crate) counted: BTreeSet<InstanceId>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            progress: Sightings::new(),
            carried: Sightings::new(),
            evidence: Sightings::new(),
            owners: Sightings::new(),
            strangers: BTreeSet::new(),
            pending: Sightings::new(),
            judged: BTreeMap::new(),
            has_waiting: false,
            is_undone: false,
            alerted: BTreeSet::new(),
            counted: BTreeSet::new(),
        }
    }
}

impl Engine {
    /// One look at everything live.
    pub async fn reap(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        lock(&self.memory).is_undone = true;
        let Some((runs, unsaved)) = self.runs().await else { return Ok(()) };
        self.count_stuck(&runs);
        let alive = runs.iter().filter(|run| !run.state.is_over()).count();
        self.metrics.runs_alive.set(i64::try_from(alive).unwrap_or(i64::MAX));
        let (records, is_whole) = self.concerned(&runs).await?;
        self.remember_served(&records);
        self.measure(&records, now);
        let is_done = self.judge(&records, &runs, &unsaved, now).await?;
        lock(&self.memory).is_undone = !(is_whole && is_done);
        self.give_back().await;
        self.look_for_room().await;
        self.account(&records, now).await?;
        self.strangers(&runs, &records).await;
        let there: BTreeSet<&RunKey> = runs.iter().map(|run| &run.key).collect();
        lock(&self.memory).judged.retain(|key, _| there.contains(key));
        Ok(())
    }

    /// A look at those alone whose run has ended or got into trouble since it was last judged: every document read is billed.
    pub async fn reap_changed(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        // Until all of it is done; what was undone before stays so.
        let was_undone = std::mem::replace(&mut lock(&self.memory).is_undone, true);
        let Some((runs, unsaved)) = self.runs().await else { return Ok(()) };
        let calls = |run: &&Observed| run.state.is_over() || run.trouble.is_some();
        let changed: BTreeSet<InstanceId> = {
            let judged = &lock(&self.memory).judged;
            let is_new = |run: &&Observed| judged.get(&run.key) != Some(&standing(run));
            runs.iter().filter(calls).filter(is_new).map(|run| run.instance_id.clone()).collect()
        };
        let mut records = Vec::new();
        for id in changed {
            records.extend(InstanceRecord::read(self.store.as_ref(), &id).await?);
        }
        let is_done = self.judge(&records, &runs, &unsaved, now).await?;
        lock(&self.memory).is_undone = was_undone || !is_done;
        self.give_back().await;
        self.look_for_room().await;
        Ok(())
    }

    /// Runs that wait for a node or a quota, for longer than making a pod takes: with many of them no further ones are launched.
    fn count_stuck(&self, runs: &[Observed]) {
        let at = self.monotonic();
        let mut memory = lock(&self.memory);
        let mut is_stuck = |run: &Observed| {
            let trouble = run.trouble.as_ref().map(|trouble| trouble.kind).filter(|_| run.state == RunState::Pending);
            let waits_for = memory.pending.unchanged_for(&run.key, trouble, at);
            match trouble {
                Some(TroubleKind::Unschedulable | TroubleKind::Quota) => true,
                Some(TroubleKind::NoPod) => waits_for >= NO_POD_FOR,
                _ => false,
            }
        };
        let stuck = runs.iter().filter(|run| is_stuck(run)).count();
        memory.pending.retain(|key| runs.iter().any(|run| run.key == *key));
        drop(memory);
        lock(&self.capacity).stuck = stuck;
    }

    /// What runs, and what earlier runs left on this machine; `None` where that cannot be told.
    async fn runs(&self) -> Option<(Vec<Observed>, Vec<JobName>)> {
        // Runs first: an instance read later than its run can only be further on.
        let runs = match self.launcher.list().await {
            Ok(runs) => runs,
            Err(error) => {
                tracing::warn!(%error, "the launcher cannot say what runs; nothing is reaped");
                return None;
            }
        };
        // Segments on a disk are a recording, too: without this an instance would end as if nothing had been recorded.
        match self.launcher.unsaved().await {
            Ok(unsaved) => Some((runs, unsaved)),
            Err(error) => {
                tracing::warn!(%error, "the launcher cannot say what its runs left; nothing is reaped");
                None
            }
        }
    }

    /// True where all that was to do is done.
    async fn judge(
        &self,
        records: &[InstanceRecord],
        runs: &[Observed],
        unsaved: &[JobName],
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let owners = self.silent_owners(records).await?;
        // Together, for each may wait for store and cluster: after an outage of both there are many, and each is a call without its bot.
        let judged: Vec<BoxFuture<'_, Judged>> =
            records.iter().map(|record| self.judge_one(record, runs, (&owners, unsaved), now).boxed()).collect();
        let judged: Vec<Judged> = futures::stream::iter(judged).buffer_unordered(AT_ONCE).collect().await;
        lock(&self.memory).has_waiting = judged.contains(&Judged::Waits);
        Ok(!judged.contains(&Judged::Undone))
    }

    async fn judge_one(
        &self,
        record: &InstanceRecord,
        runs: &[Observed],
        (owners, unsaved): (&BTreeSet<String>, &[JobName]),
        now: DateTime<Utc>,
    ) -> Judged {
        if self.stop.is_cancelled() {
            return Judged::Done;
        }
        let Some(seen) = self.observe(record, runs, (owners, unsaved), now) else { return Judged::Done };
        let action = decide(&seen);
        if !self.is_certain(record, &seen, action).await {
            return Judged::Undone;
        }
        match self.act(record, runs, (&seen, action), now).await {
            Ok(()) if self.remember_judged(record, runs, action) => Judged::Waits,
            Ok(()) => Judged::Done,
            Err(error) => {
                self.failed("reap", &error);
                // What is refused for good is refused in 5 s, too.
                if error.is_transient() { Judged::Undone } else { Judged::Done }
            }
        }
    }

    /// Notes how the instance's runs stood; true where that of the present attempt is over and yet nothing could be done. Runs of
    /// earlier attempts may lie there as long as the call lasts, and wait for nothing.
    fn remember_judged(&self, record: &InstanceRecord, runs: &[Observed], action: Action) -> bool {
        let mine = runs.iter().filter(|run| run.instance_id == record.instance.id);
        let attempt = record.instance.facts.attempt;
        let waits = |run: &&Observed| action == Action::Wait && run.state.is_over() && run.key.attempt == attempt;
        let (waiting, judged): (Vec<_>, Vec<_>) = mine.partition(waits);
        lock(&self.memory).judged.extend(judged.into_iter().map(|run| (run.key.clone(), standing(run))));
        !waiting.is_empty()
    }

    /// True where [`Engine::reap_changed`] has something to look at, although nothing changed.
    pub fn has_waiting(&self) -> bool {
        lock(&self.memory).has_waiting
    }

    /// True where something is left undone that the next look at everything takes up.
    pub fn is_undone(&self) -> bool {
        lock(&self.memory).is_undone
    }

    /// Nothing is done on a run's absence before it was looked for anew: what is known of runs may lag behind.
    async fn is_certain(&self, record: &InstanceRecord, seen: &Observation, action: Action) -> bool {
        if seen.evidence != Evidence::None || matches!(action, Action::Wait | Action::Alert(_)) {
            return true;
        }
        let run = RunKey { job: JobName::for_instance(&record.instance.id), attempt: record.instance.facts.attempt };
        match self.launcher.is_absent(&run).await {
            Ok(is_absent) => is_absent,
            Err(error) => {
                tracing::warn!(bot_instance_id = %record.instance.id, %error, "whether its run is gone cannot be told; it is looked at again");
                false
            }
        }
    }

    /// Every live instance, and that of every run; false where one of those could not be read now.
    async fn concerned(&self, runs: &[Observed]) -> Result<(Vec<InstanceRecord>, bool), StoreError> {
        let mut is_whole = true;
        let mut records = self.instances(&[Status::Processing]).await?;
        let mut known: BTreeSet<InstanceId> = records.iter().map(|record| record.instance.id.clone()).collect();
        for run in runs {
            if known.insert(run.instance_id.clone()) {
                match InstanceRecord::read(self.store.as_ref(), &run.instance_id).await {
                    Ok(record) => records.extend(record),
                    Err(error) => {
                        is_whole &= !error.is_transient();
                        self.failed("read", &error);
                    }
                }
            }
        }
        self.metrics.phases(|phase| records.iter().filter(|record| record.instance.phase == phase).count());
        Ok((records, is_whole))
    }

    fn remember_served(&self, records: &[InstanceRecord]) {
        let live = records.iter().filter(|record| !record.instance.phase.is_terminal());
        // Added only; the cancel pass drops what has ended, so that no instance is between two looks of two loops.
        lock(&self.served).extend(live.map(|record| (record.instance.id.clone(), meetings_of(&record.instance))));
        let mut memory = lock(&self.memory);
        let keep: BTreeSet<&InstanceId> = records.iter().map(|record| &record.instance.id).collect();
        memory.progress.retain(|id| keep.contains(id));
        memory.carried.retain(|id| keep.contains(id));
        memory.evidence.retain(|id| keep.contains(id));
        memory.alerted.retain(|(id, _)| keep.contains(id));
    }

    async fn act(
        &self,
        record: &InstanceRecord,
        runs: &[Observed],
        (seen, action): (&Observation, Action),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let id = &record.instance.id;
        match action {
            Action::Wait => return Ok(()),
            Action::Alert(reason) => {
                if lock(&self.memory).alerted.insert((id.clone(), reason)) {
                    Metrics::reason(&self.metrics.alerts, reason);
                    let detail = detail(runs, &record.instance);
                    tracing::warn!(bot_instance_id = %id, attempt = record.instance.facts.attempt, phase = %record.instance.phase, reason, detail, "needs a look");
                }
                return Ok(());
            }
            Action::Adopt => {
                let job = JobName::for_instance(id);
                if let Advanced::Applied(_) = claim::adopted(self.store.as_ref(), record, &job, now).await? {
                    tracing::info!(bot_instance_id = %id, job_name = %job, attempt = record.instance.facts.attempt, "adopted");
                }
            }
            Action::TakeOver => {
                tracing::info!(bot_instance_id = %id, "a stale claim is taken over");
                self.take_over(record, now).await?;
            }
            Action::Relaunch(reason) => self.relaunch(record, &said(reason, runs, record), RunCommand::Record, None, now).await?,
            Action::Finalize(reason) => {
                let outcome = lost_outcome(seen).map(|kind| Outcome::with_detail(kind, said(reason, runs, record)));
                self.relaunch(record, &said(reason, runs, record), RunCommand::Finalize, outcome, now).await?;
            }
            Action::Settle { step, kind, why } => {
                if let Some(run) = runs.iter().find(|run| run.instance_id == *id && run.state == RunState::Pending) {
                    self.tell(self.launcher.stop(&run.key).await);
                }
                self.end(record, step, Outcome::with_detail(kind, said(why, runs, record)), now).await?;
            }
            Action::Withdraw => {
                let why = said("withdrawn", runs, record);
                if let Advanced::Applied(_) = claim::withdraw(self.store.as_ref(), record, Refusal::Cluster, &why, now).await? {
                    tracing::info!(bot_instance_id = %id, why, "its run has no room; it waits in the queue");
                    // The document first: a run that was left behind is found again by the next launch.
                    for run in runs.iter().filter(|run| run.instance_id == *id && run.state == RunState::Pending) {
                        self.tell(self.launcher.stop(&run.key).await);
                    }
                }
            }
            Action::RemoveRun => {
                for run in runs.iter().filter(|run| run.instance_id == *id && run.state.is_over()) {
                    self.tell(self.launcher.remove(&run.key).await);
                }
                self.settled(&record.instance);
                tracing::info!(bot_instance_id = %id, phase = %record.instance.phase, "the run is over and was removed");
            }
        }
        Metrics::count(&self.metrics.reaped, name_of(action));
        Ok(())
    }

    async fn relaunch(
        &self,
        record: &InstanceRecord,
        reason: &str,
        command: RunCommand,
        outcome: Option<Outcome>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut more = Relaunch { outcome, others: Vec::new() };
        if command == RunCommand::Record {
            // What makes files is never held up.
            if self.room().await.0 == 0 {
                return Ok(());
            }
            if self.is_counted().await? {
                let limits = self.limits(std::slice::from_ref(record)).await?;
                let found = capacity::place_for(self.store.as_ref(), &record.instance, &limits, now).await?;
                let Some(found) = found else { return Ok(()) };
                more.others = found;
            }
        }
        KillPoint::Claiming.pass(&self.controller_id).await;
        match claim::relaunch_with(self.store.as_ref(), record, &self.claimer(), reason, more, now).await? {
            Some(claimed) => {
                tracing::warn!(bot_instance_id = %record.instance.id, attempt = claimed.record().instance.facts.attempt, reason, "launched again");
                let (claimed, held) = self.hold(claimed);
                self.launch(claimed, held, command).await;
            }
            None => drop(self.metrics.lease_conflicts.inc()),
        }
        Ok(())
    }

    /// Runs of this store that no instance knows: forgotten when over, reported when alive, and never ended.
    async fn strangers(&self, runs: &[Observed], records: &[InstanceRecord]) {
        let known: BTreeSet<&InstanceId> = records.iter().map(|record| &record.instance.id).collect();
        let strange: Vec<&Observed> = runs.iter().filter(|run| !known.contains(&run.instance_id)).collect();
        for run in &strange {
            let is_new = lock(&self.memory).strangers.insert(run.key.clone());
            match (is_new, run.state.is_over()) {
                (true, _) => {
                    Metrics::reason(&self.metrics.alerts, "run_without_instance");
                    tracing::warn!(job_name = %run.key.job, attempt = run.key.attempt, state = ?run.state, "a run has no instance");
                }
                (false, true) => self.tell(self.launcher.remove(&run.key).await),
                (false, false) => {}
            }
        }
        lock(&self.memory).strangers.retain(|key| strange.iter().any(|run| run.key == *key));
    }

    fn tell(&self, result: Result<(), crate::launch::LaunchError>) {
        if let Err(error) = result {
            tracing::warn!(%error, "the launcher could not do it; it is tried again");
        }
    }
}

fn standing(run: &Observed) -> Standing {
    (run.state, run.trouble.as_ref().map(|trouble| trouble.kind))
}

/// The run of the instance's present attempt.
fn own_run<'a>(runs: &'a [Observed], instance: &BotInstance) -> Option<&'a Observed> {
    runs.iter().find(|run| run.instance_id == instance.id && run.key.attempt == instance.facts.attempt)
}

/// What the place where it runs says of its trouble; empty where there is none.
fn detail<'a>(runs: &'a [Observed], instance: &BotInstance) -> &'a str {
    own_run(runs, instance).and_then(|run| run.trouble.as_ref()).map_or("", |trouble| trouble.detail.as_str())
}

fn said(why: &str, runs: &[Observed], record: &InstanceRecord) -> String {
    match detail(runs, &record.instance) {
        "" => why.to_owned(),
        detail => format!("{why}: {detail}"),
    }
}

fn name_of(action: Action) -> &'static str {
    match action {
        Action::Wait => "wait",
        Action::Alert(_) => "alert",
        Action::Adopt => "adopt",
        Action::TakeOver => "take_over",
        Action::Relaunch(_) => "relaunch",
        Action::Finalize(_) => "finalize",
        Action::Settle { .. } => "settle",
        Action::Withdraw => "withdraw",
        Action::RemoveRun => "remove_run",
    }
}
