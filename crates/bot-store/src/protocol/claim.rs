//! Claims: a controller's right to launch, and only before the launch. One compare-and-set on the document's own version.

use std::time::Duration;

use bot_model::capacity::ledger::Refusal;
use bot_model::document::{Claim, Facts};
use bot_model::ids::JobName;
use bot_model::lifecycle::{Phase, Step, next};
use bot_model::outcome::Outcome;
use chrono::{DateTime, Utc};

use super::run::Purpose;
use super::{Advanced, InstanceRecord, Note, advance, told};
use crate::{Commit, DocumentKey, Store, StoreError, StoreErrorKind, Write, clock};

/// Who claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimer {
    /// `CONTROLLER_ID`.
    pub controller_id: String,
    /// `CLAIM_TTL_SECONDS`.
    pub ttl: Duration,
}

/// Proof that this process holds the claim on an instance. Only this module makes one; a launch demands it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    record: InstanceRecord,
}

impl Claimed {
    /// The instance, as claimed.
    pub fn record(&self) -> &InstanceRecord {
        &self.record
    }
}

/// Whether an instance may be claimed now. `is_stale` says that its present claim has run out by the observer's
/// own clock, which alone can decide it. A cancelled one is claimed only to finish what it recorded.
pub fn is_claimable(record: &InstanceRecord, is_stale: bool) -> bool {
    match record.instance.phase {
        Phase::Queued => record.instance.facts.cancel_requested_at.is_none() || record.instance.may_be_recorded(),
        Phase::Claimed => is_stale,
        _ => false,
    }
}

/// Claims each record or not, to join its call, in few round trips; the answers in their order, `None` for a lost race.
pub async fn claim_all(
    store: &dyn Store,
    records: Vec<InstanceRecord>,
    claimer: &Claimer,
    now: DateTime<Utc>,
) -> Vec<Result<Option<Claimed>, StoreError>> {
    claim_all_for(store, records, claimer, Purpose::Record, now).await
}

/// The same for a purpose.
pub async fn claim_all_for(
    store: &dyn Store,
    records: Vec<InstanceRecord>,
    claimer: &Claimer,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Vec<Result<Option<Claimed>, StoreError>> {
    // A record whose phase allows no claim is a lost race: its answer keeps its place.
    let claims: Vec<Option<(InstanceRecord, Vec<Write>)>> =
        records.iter().map(|record| claim_writes(store, record, claimer, purpose, now)).collect();
    let groups = claims.iter().flatten().map(|(_, writes)| writes.clone()).collect();
    let mut commits = store.commit_each(groups).await.into_iter();
    let mut answers = Vec::with_capacity(claims.len());
    for claim in claims {
        let answered = match claim {
            Some((claimed, _)) => commits.next().map(|commit| (claimed, commit)),
            None => None,
        };
        answers.push(match answered {
            None => Ok(None),
            Some((claimed, Ok(Commit::Applied(versions)))) => {
                Ok(versions.into_iter().next().map(|version| Claimed { record: InstanceRecord { version, ..claimed } }))
            }
            Some((_, Ok(Commit::Conflict))) => Ok(None),
            Some((claimed, Err(error))) if error.kind == StoreErrorKind::Unknown => recognise(store, &claimed).await,
            Some((_, Err(error))) => Err(error),
        });
    }
    answers
}

/// Claims every record in one commit with `others`, or none; `None` for a lost race. For records whose phase allows a claim.
pub(super) async fn claim_together(
    store: &dyn Store,
    records: &[InstanceRecord],
    others: Vec<Write>,
    claimer: &Claimer,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Claimed>>, StoreError> {
    let claims: Vec<_> = records.iter().filter_map(|record| claim_writes(store, record, claimer, Purpose::Record, now)).collect();
    if claims.len() < records.len() {
        return Ok(None);
    }
    let writes = claims.iter().flat_map(|(_, writes)| writes.clone()).chain(others).collect();
    match store.commit(writes).await {
        Ok(Commit::Applied(versions)) => {
            // The first write of each claim is the instance's.
            let firsts = claims.iter().scan(0, |at, (_, writes)| Some(std::mem::replace(at, *at + writes.len())));
            let versions = firsts.filter_map(|at| versions.get(at).cloned()).collect::<Vec<_>>();
            let claimed = |((record, _), version)| Claimed { record: InstanceRecord { version, ..record } };
            Ok(Some(claims.into_iter().zip(versions).map(claimed).collect()))
        }
        Ok(Commit::Conflict) => Ok(None),
        Err(error) if error.kind == StoreErrorKind::Unknown => {
            let mut found = Vec::new();
            for (record, _) in claims {
                found.extend(recognise(store, &record).await?);
            }
            Ok((!found.is_empty()).then_some(found))
        }
        Err(error) => Err(error),
    }
}

/// The claimed instance and the write that makes it so. A takeover keeps the attempt: nothing was launched under it.
fn claim_writes(
    store: &dyn Store,
    record: &InstanceRecord,
    claimer: &Claimer,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Option<(InstanceRecord, Vec<Write>)> {
    let mut claimed = record.clone();
    claimed.instance.phase = next(record.instance.phase, Step::Claim).ok()?;
    let facts = &mut claimed.instance.facts;
    facts.attempt = facts.attempt.max(1);
    // A backend that queued it directly may have left it out, and lists go by it.
    facts.created_at = facts.created_at.or(Some(now));
    facts.claim = Claim { claim_finalizes: purpose == Purpose::Finalize, ..new_claim(claimer, now) };
    let write = Write::update(
        DocumentKey::Instance(claimed.instance.id.clone()),
        record.version.clone(),
        claimed.instance.encode(store.naming()),
    );
    let note = Note::new("controller", if record.instance.phase == Phase::Claimed { "claim_taken_over" } else { "claimed" });
    let (_, told) = told(store.naming(), Some(record.instance.phase), &claimed.instance, note, now);
    Some((claimed, std::iter::once(write).chain(told).collect()))
}

fn new_claim(claimer: &Claimer, now: DateTime<Utc>) -> Claim {
    Claim {
        claimed_by: Some(claimer.controller_id.clone()),
        claimed_at: Some(now),
        claim_expires_at: chrono::Duration::from_std(claimer.ttl).ok().map(|ttl| now + ttl),
        claim_id: Some(clock::random_id().to_string()),
        claim_finalizes: false,
    }
}

/// After a lost answer: it is ours if the document carries our claim id.
async fn recognise(store: &dyn Store, claimed: &InstanceRecord) -> Result<Option<Claimed>, StoreError> {
    let found = InstanceRecord::read(store, &claimed.instance.id).await?;
    let ours = |record: &InstanceRecord| record.instance.facts.claim.claim_id == claimed.instance.facts.claim.claim_id;
    Ok(found.filter(|record| ours(record) && record.instance.phase == Phase::Claimed).map(|record| Claimed { record }))
}

/// Writes that the Job exists. `Conflict` may mean that the manager was faster: then its own state stands.
pub async fn launched(store: &dyn Store, claimed: &Claimed, job: &JobName, now: DateTime<Utc>) -> Result<Advanced, StoreError> {
    let note = Note::new("controller", "launched");
    advance(store, &claimed.record, Step::Launch, note, now, |facts| is_launched(facts, job)).await
}

/// Writes that a Job found running belongs to this instance (controller restarted between launch and `launched`).
pub async fn adopted(
    store: &dyn Store,
    record: &InstanceRecord,
    job: &JobName,
    now: DateTime<Utc>,
) -> Result<Advanced, StoreError> {
    advance(store, record, Step::Launch, Note::new("controller", "adopted"), now, |facts| is_launched(facts, job)).await
}

fn is_launched(facts: &mut Facts, job: &JobName) {
    (facts.job_name, facts.waits_for) = (Some(job.clone()), None);
}

/// Gives a claim back unlaunched.
pub async fn release(store: &dyn Store, claimed: &Claimed, reason: &str, now: DateTime<Utc>) -> Result<Advanced, StoreError> {
    let note = Note::new("controller", "released").detail(reason);
    let edit = |facts: &mut Facts| (facts.claim, facts.waits_for) = (Claim::default(), None);
    advance(store, &claimed.record, Step::Release, note, now, edit).await
}

/// Gives a claim back for which there was no room after all, and writes what it waits for.
pub async fn put_back(
    store: &dyn Store,
    claimed: &Claimed,
    limit: Refusal,
    why: &str,
    now: DateTime<Utc>,
) -> Result<Advanced, StoreError> {
    back_into_the_queue(store, &claimed.record, limit, Note::new("controller", "released").detail(why), now).await
}

/// Takes a launch back for which there was no room after all: no pod was made, so no manager has bound it (then this is a conflict). The
/// attempt stays the same, as nothing ran under it. What is left of the run is to be removed; until then, a launch finds it.
pub async fn withdraw(
    store: &dyn Store,
    record: &InstanceRecord,
    limit: Refusal,
    why: &str,
    now: DateTime<Utc>,
) -> Result<Advanced, StoreError> {
    if record.instance.phase != Phase::Launched || record.instance.facts.run.is_some() {
        return Ok(Advanced::Conflict);
    }
    back_into_the_queue(store, record, limit, Note::new("controller", "withdrawn").detail(why), now).await
}

async fn back_into_the_queue(
    store: &dyn Store,
    record: &InstanceRecord,
    limit: Refusal,
    note: Note,
    now: DateTime<Utc>,
) -> Result<Advanced, StoreError> {
    let waits_for = record.instance.waiting_for(limit, now);
    let edit = |facts: &mut Facts| {
        (facts.claim, facts.job_name, facts.waits_for) = (Claim::default(), None, Some(waits_for));
    };
    advance(store, record, Step::Release, note, now, edit).await
}

/// Decides on a new attempt, on the caller's evidence that the old run has ended. Raises the attempt, so that the old
/// run is fenced from here on, and answers with the claim on the new one.
pub async fn relaunch(
    store: &dyn Store,
    record: &InstanceRecord,
    claimer: &Claimer,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Option<Claimed>, StoreError> {
    relaunch_with(store, record, claimer, reason, Relaunch::default(), now).await
}

/// What goes with a relaunch.
#[derive(Debug, Default)]
pub struct Relaunch {
    /// How the call ended for the bot, where the new attempt shall not join it again and nothing better is known.
    pub outcome: Option<Outcome>,
    /// Further writes of the same commit.
    pub others: Vec<Write>,
}

/// The same, with more.
pub async fn relaunch_with(
    store: &dyn Store,
    record: &InstanceRecord,
    claimer: &Claimer,
    reason: &str,
    more: Relaunch,
    now: DateTime<Utc>,
) -> Result<Option<Claimed>, StoreError> {
    let Ok(phase) = next(record.instance.phase, Step::Relaunch) else { return Ok(None) };
    let mut instance = record.instance.clone();
    instance.phase = phase;
    instance.facts.attempt += 1;
    instance.facts.claim = new_claim(claimer, now);
    (instance.facts.run, instance.facts.waits_for) = (None, None);
    instance.facts.outcome = instance.facts.outcome.or(more.outcome);
    let note = Note::new("controller", "relaunched").detail(reason);
    let (_, told) = told(store.naming(), Some(record.instance.phase), &instance, note, now);
    let write =
        Write::update(DocumentKey::Instance(instance.id.clone()), record.version.clone(), instance.encode(store.naming()));
    let claimed = InstanceRecord { instance, version: record.version.clone() };
    match store.commit(std::iter::once(write).chain(told).chain(more.others).collect()).await {
        Ok(Commit::Applied(versions)) => {
            Ok(versions.into_iter().next().map(|version| Claimed { record: InstanceRecord { version, ..claimed } }))
        }
        Ok(Commit::Conflict) => Ok(None),
        Err(error) if error.kind == StoreErrorKind::Unknown => recognise(store, &claimed).await,
        Err(error) => Err(error),
    }
}
