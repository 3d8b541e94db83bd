//! What is known of instances and of their runs, for the judgement and for who watches.

use std::collections::BTreeSet;
use std::time::Duration;

use bot_model::document::BotInstance;
use bot_model::ids::JobName;
use bot_model::lifecycle::Phase;
use bot_model::schedule::Due;
use bot_store::StoreError;
use bot_store::protocol::{InstanceRecord, heartbeat};
use chrono::{DateTime, Utc};

use super::decide::{Evidence, Observation};
use super::own_run;
use crate::claim::is_recording_over;
use crate::engine::{Engine, lock};
use crate::launch::Observed;

/// A claim of this very controller that it does not work on any more (it was restarted) is taken up after this long.
const OWN_CLAIM: Duration = Duration::from_secs(5);

impl Engine {
    /// Owners of bare claims whose heartbeat has stopped.
    pub(super) async fn silent_owners(&self, records: &[InstanceRecord]) -> Result<BTreeSet<String>, StoreError> {
        let owners: BTreeSet<String> = records
            .iter()
            .filter(|record| record.instance.phase == Phase::Claimed)
            .filter_map(|record| record.instance.facts.claim.claimed_by.clone())
            .filter(|owner| *owner != self.controller_id)
            .collect();
        let mut silent = BTreeSet::new();
        for owner in owners {
            let beat = heartbeat::last_beat(self.store.as_ref(), &owner).await?;
            let now = self.monotonic();
            if lock(&self.memory).owners.unchanged_for(&owner, beat, now) >= self.pace.owner_silent {
                silent.insert(owner);
            }
        }
        Ok(silent)
    }

    /// What is known of an instance; `None` where what was read cannot go together and is read again next time.
    pub(super) fn observe(
        &self,
        record: &InstanceRecord,
        runs: &[Observed],
        (silent, unsaved): (&BTreeSet<String>, &[JobName]),
        now: DateTime<Utc>,
    ) -> Option<Observation> {
        let instance = &record.instance;
        let facts = &instance.facts;
        if lock(&self.in_flight).contains(&instance.id) {
            return None;
        }
        let evidence = self.evidence(instance, runs)?;
        let mut memory = lock(&self.memory);
        let at = self.monotonic();
        let unchanged_for = memory.progress.unchanged_for(&instance.id, fingerprint(instance), at);
        let evidence_for = memory.evidence.unchanged_for(&instance.id, (facts.attempt, evidence), at);
        let owner = facts.claim.claimed_by.as_deref().unwrap_or_default();
        let is_own = owner == self.controller_id && unchanged_for >= OWN_CLAIM;
        let has_unsaved = unsaved.contains(&JobName::for_instance(&instance.id));
        Some(Observation {
            phase: instance.phase,
            attempt: facts.attempt,
            evidence,
            unchanged_for,
            evidence_for,
            is_claim_stale: is_own || silent.contains(owner) || unchanged_for >= self.pace.claim_ttl,
            is_meeting_on: self.is_meeting_on(instance, now),
            is_joinable: self.due(instance, now) != Due::Missed,
            is_recorded: instance.is_recorded() || has_unsaved,
            is_unlooked: instance.may_be_recorded(),
            is_recording_over: is_recording_over(instance),
            is_cancelled: facts.cancel_requested_at.is_some(),
            finalize_attempts: facts.finalize_attempts,
            lease_ttl: self.pace.lease.ttl,
            max_unleased: self.pace.max_unleased,
            trouble: own_run(runs, instance).and_then(|run| run.trouble.as_ref()).map(|trouble| trouble.kind),
        })
    }

    fn evidence(&self, instance: &BotInstance, runs: &[Observed]) -> Option<Evidence> {
        let attempt = instance.facts.attempt;
        let job = JobName::for_instance(&instance.id);
        let mine: Vec<&Observed> = runs.iter().filter(|run| run.key.job == job).collect();
        if mine.iter().any(|run| run.key.attempt > attempt) {
            return None;
        }
        if mine.iter().any(|run| run.key.attempt < attempt && !run.state.is_over()) {
            return Some(Evidence::OlderAlive);
        }
        if let Some(run) = mine.iter().find(|run| run.key.attempt == attempt) {
            return Some(Evidence::Seen(run.state));
        }
        let owner = instance.facts.claim.claimed_by.as_deref().unwrap_or_default();
        // Before the launch nothing can be hidden: whoever launches takes the claim first.
        let is_visible = instance.phase == Phase::Claimed || owner == self.controller_id || self.launcher.sees_runs_of(owner);
        Some(if is_visible { Evidence::None } else { Evidence::Invisible })
    }

    /// What an operator watches: who is past the end, and whose segments do not come.
    pub(super) fn measure(&self, records: &[InstanceRecord], now: DateTime<Utc>) {
        let live = || records.iter().map(|record| &record.instance).filter(|instance| !instance.phase.is_terminal());
        let overdue = live().filter_map(|instance| Some((now - instance.facts.end_time?).as_seconds_f64())).fold(0.0, f64::max);
        self.metrics.oldest_overdue.set(overdue);
        let at = self.monotonic();
        let mut memory = lock(&self.memory);
        let mut age = |instance: &BotInstance| {
            let segments = instance.facts.recording.as_ref().map_or(0, |recording| recording.segments);
            memory.carried.unchanged_for(&instance.id, (instance.facts.attempt, segments), at).as_secs_f64()
        };
        let oldest = live().filter(|instance| instance.phase == Phase::Recording).map(&mut age).fold(0.0, f64::max);
        self.metrics.segment_age.set(oldest);
    }
}

/// What changes with a claim, a step or a renewal.
fn fingerprint(instance: &BotInstance) -> String {
    let facts = &instance.facts;
    let (run, renewals) = facts.run.as_ref().map_or(("", 0), |run| (run.pod_uid.as_str(), run.renewals));
    let claim = facts.claim.claim_id.as_deref().unwrap_or_default();
    format!("{}/{}/{claim}/{run}/{renewals}", instance.phase, facts.attempt)
}
