//! The run lease: binds an instance to (attempt, run) before its bot may join, and is renewed while it runs.
//!
//! Fenced means another attempt, another run or a terminal phase; a lost compare-and-set alone is not.

use bot_model::document::{BotInstance, Facts, FrozenList, Meeting, RecordingProgress, Run};
use bot_model::ids::{CallKey, InstanceId, MeetingPath};
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::Outcome;
use chrono::{DateTime, Utc};

use super::{Advanced, InstanceRecord, Note, advance};
use crate::guard::Guard;
use crate::{Commit, DocumentKey, Record, Store, StoreError, StoreErrorKind, Write};

/// Compare-and-set is tried this often against a document that others keep changing.
const TRIES: u32 = 8;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Joins the call and records.
    Record,
    /// Makes files of what was recorded; joins nothing, so the meeting is not asked again.
    Finalize,
}

/// Answer to [`bind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Bind {
    /// The run is ours; its meeting was read again and the instance brought up to date.
    Bound(InstanceRecord),
    /// Not ours: do nothing, say nothing.
    Fenced(String),
    /// Ours, but the meeting was cancelled or deleted: end it without joining.
    Cancelled(InstanceRecord),
    /// Ours, but the meeting document became unusable; the reason.
    Unusable(InstanceRecord, String),
}

/// Takes the run lease for (`attempt`, `run_id`), to record reading the meeting again. Repeatable by the same run. A run that
/// comes to record what is being finalized already, or was claimed for that alone, finalizes.
pub async fn bind(
    store: &dyn Store,
    id: &InstanceId,
    (attempt, run_id): (u32, &str),
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Bind, StoreError> {
    for _ in 0..TRIES {
        let Some(record) = InstanceRecord::read(store, id).await? else {
            return Ok(Bind::Fenced("the instance does not exist".into()));
        };
        if let Some(reason) = fenced(&record.instance, attempt, run_id) {
            return Ok(Bind::Fenced(reason));
        }
        let is_finalized = record.instance.phase == Phase::Finalizing || record.instance.facts.claim.claim_finalizes;
        let finalizes = purpose == Purpose::Finalize || is_finalized;
        let fresh = if finalizes { Freshness::Same } else { meeting_again(store, &record.instance).await? };
        let step = if finalizes { Step::Finalize } else { Step::Join };
        let renewals = record.instance.facts.run.as_ref().map_or(0, |run| run.renewals + 1);
        let run = Run { pod_uid: run_id.to_owned(), attempt, renewals, renewed_at: now, ended_at: None };
        let edit = |facts: &mut Facts| {
            if let Freshness::Changed(meeting) = &fresh {
                take_over(facts, meeting);
            }
            facts.run = Some(run);
        };
        let advanced = advance(store, &record, step, Note::new("manager", "bound"), now, edit).await?;
        match (advanced, fresh) {
            (Advanced::Applied(bound), _) if !finalizes && bound.instance.facts.cancel_requested_at.is_some() => {
                return Ok(Bind::Cancelled(bound));
            }
            (Advanced::Applied(bound), Freshness::Cancelled) => return Ok(Bind::Cancelled(bound)),
            (Advanced::Applied(bound), Freshness::Unusable(reason)) => return Ok(Bind::Unusable(bound, reason)),
            (Advanced::Applied(bound), _) => return Ok(Bind::Bound(bound)),
            (Advanced::Illegal(illegal), _) => return Ok(Bind::Fenced(illegal.to_string())),
            (Advanced::Conflict, _) => {}
        }
    }
    Err(contended("bind"))
}

/// Answer to [`renew`].
#[allow(clippy::large_enum_variant, reason = "an answer that is taken apart at once, never stored")]
#[derive(Debug, Clone, PartialEq)]
pub enum Renewal {
    /// Still ours; the instance as it is now, with a cancellation if one was asked for.
    Renewed(InstanceRecord),
    /// Not ours any more.
    Fenced(String),
}

/// Renews the lease and reports progress. `record` may be out of date; what others wrote is kept.
pub async fn renew(
    store: &dyn Store,
    record: &InstanceRecord,
    progress: Option<&RecordingProgress>,
    now: DateTime<Utc>,
) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| {
        if let Some(run) = &mut instance.facts.run {
            run.renewals += 1;
            run.renewed_at = now;
        }
        if let Some(progress) = progress {
            instance.facts.recording = Some(progress.clone());
        }
    })
    .await
}

/// Marks this run as drained: it will add nothing more to the bucket.
pub async fn end_run(
    store: &dyn Store,
    record: &InstanceRecord,
    progress: Option<&RecordingProgress>,
    now: DateTime<Utc>,
) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| {
        if let Some(run) = &mut instance.facts.run {
            run.ended_at.get_or_insert(now);
        }
        if let Some(progress) = progress {
            instance.facts.recording = Some(progress.clone());
        }
    })
    .await
}

/// Freezes the list of segments. The first one stands: every later call answers with it.
pub async fn freeze(store: &dyn Store, record: &InstanceRecord, list: &FrozenList) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| {
        instance.facts.frozen.get_or_insert_with(|| list.clone());
    })
    .await
}

/// Replaces the list of segments by one that holds more, because raw objects came after the freeze. Compare-and-set on the list
/// itself: where another list than `replaces` stands by now, that one stays.
pub async fn freeze_again(
    store: &dyn Store,
    record: &InstanceRecord,
    replaces: &str,
    list: &FrozenList,
) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| {
        if instance.facts.frozen.as_ref().is_some_and(|frozen| frozen.sha256 == replaces) {
            instance.facts.frozen = Some(list.clone());
        }
    })
    .await
}

/// Notes where the pointer of a linked meeting lies.
pub async fn set_pointer(
    store: &dyn Store,
    record: &InstanceRecord,
    meeting: &MeetingPath,
    address: &str,
) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| {
        for linked in instance.facts.linked_meetings.iter_mut().filter(|linked| linked.path == *meeting) {
            linked.pointer = Some(address.to_owned());
        }
    })
    .await
}

/// Notes where the latest debug bundle lies.
pub async fn set_debug(store: &dyn Store, record: &InstanceRecord, address: &str) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| instance.facts.debug = Some(address.to_owned())).await
}

/// Notes how the call ended for the bot, while what it recorded is still on its way: nobody sends a bot there again.
pub async fn set_outcome(store: &dyn Store, record: &InstanceRecord, outcome: &Outcome) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| instance.facts.outcome = Some(outcome.clone())).await
}

/// Notes that the greeting was posted; the first time stands.
pub async fn set_greeted(store: &dyn Store, record: &InstanceRecord, now: DateTime<Utc>) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| {
        instance.facts.greeted_at.get_or_insert(now);
    })
    .await
}

/// Notes that the run holds the call's slot and joins next: whoever finds the instance without it looks into the bucket.
pub async fn set_joining(store: &dyn Store, record: &InstanceRecord) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| instance.facts.joining_attempt = instance.facts.attempt).await
}

/// Where the files lie, once reserved; the first answer stands.
pub async fn set_path(
    store: &dyn Store,
    record: &InstanceRecord,
    path: &bot_model::object_prefix::ObjectPrefix,
) -> Result<Renewal, StoreError> {
    rewrite(store, record, |instance| instance.facts.gcs_path = Some(path.clone())).await
}

/// Changes facts, not the phase, as long as the run is that of `record`; tries again on a conflict with an unrelated write.
async fn rewrite(store: &dyn Store, record: &InstanceRecord, edit: impl Fn(&mut BotInstance)) -> Result<Renewal, StoreError> {
    let mut current = record.clone();
    let (attempt, run_id) = match &record.instance.facts.run {
        Some(run) => (run.attempt, run.pod_uid.clone()),
        None => return Ok(Renewal::Fenced("the instance is bound to no run".into())),
    };
    for _ in 0..TRIES {
        if let Some(reason) = fenced(&current.instance, attempt, &run_id) {
            return Ok(Renewal::Fenced(reason));
        }
        let mut instance = current.instance.clone();
        edit(&mut instance);
        let write =
            Write::update(DocumentKey::Instance(instance.id.clone()), current.version.clone(), instance.encode(store.naming()));
        match store.commit(vec![write]).await {
            Ok(Commit::Applied(versions)) => {
                let version = versions.into_iter().next().unwrap_or_else(|| current.version.clone());
                return Ok(Renewal::Renewed(InstanceRecord { instance, version }));
            }
            // These edits are repeatable, so an unknown outcome is simply tried again on what is there now.
            Ok(Commit::Conflict) => {}
            Err(error) if error.kind == StoreErrorKind::Unknown => {}
            Err(error) => return Err(error),
        }
        match InstanceRecord::read(store, &record.instance.id).await? {
            Some(found) => current = found,
            None => return Ok(Renewal::Fenced("the instance does not exist".into())),
        }
    }
    Err(contended("renew"))
}

/// Why (`attempt`, `run_id`) does not own the instance, if it does not.
fn fenced(instance: &BotInstance, attempt: u32, run_id: &str) -> Option<String> {
    let facts = &instance.facts;
    if instance.phase.is_terminal() {
        return Some(format!("the instance is {}", instance.phase));
    }
    if facts.attempt != attempt && Guard::Attempt.stands() {
        return Some(format!("attempt {} owns the instance, not {attempt}", facts.attempt));
    }
    match &facts.run {
        Some(run) if is_another(run, attempt, run_id) && Guard::RunLease.stands() => {
            Some("another run of this attempt owns the instance".into())
        }
        _ if matches!(instance.phase, Phase::Queued) => Some("the instance was not launched".into()),
        _ => None,
    }
}

fn is_another(run: &Run, attempt: u32, run_id: &str) -> bool {
    run.attempt == attempt && run.pod_uid != run_id && run.ended_at.is_none()
}

enum Freshness {
    Same,
    Changed(Box<Meeting>),
    Cancelled,
    Unusable(String),
}

/// Reads the meeting that the instance was made for, as it is now. Where it is cancelled or deleted, any other linked meeting
/// that still wants the bot keeps it.
async fn meeting_again(store: &dyn Store, instance: &BotInstance) -> Result<Freshness, StoreError> {
    let Some(path) = &instance.facts.meeting_path else { return Ok(Freshness::Same) };
    let Some(record) = wanted(store, path).await? else {
        for linked in instance.facts.linked_meetings.iter().filter(|linked| &linked.path != path) {
            if wanted(store, &linked.path).await?.is_some() {
                return Ok(Freshness::Same);
            }
        }
        return Ok(Freshness::Cancelled);
    };
    Ok(match Meeting::decode(path, &record.fields, store.naming()) {
        Ok(meeting) => Freshness::Changed(Box::new(meeting)),
        Err(problem) => Freshness::Unusable(problem.to_string()),
    })
}

/// A meeting document that is neither deleted nor cancelled.
async fn wanted(store: &dyn Store, path: &MeetingPath) -> Result<Option<Record>, StoreError> {
    let naming = store.naming();
    let found = store.read(&DocumentKey::Meeting(path.clone())).await?;
    let is_cancelled = |record: &Record| {
        Meeting::status(&record.fields, naming)
            .is_some_and(|status| naming.meeting_cancel_values.iter().any(|value| value == status))
    };
    Ok(found.filter(|record| !is_cancelled(record)))
}

/// Brings an instance up to date with its meeting before the join. Where the files lie stays, once reserved.
fn take_over(facts: &mut Facts, meeting: &Meeting) {
    facts.meeting_url = meeting.url.clone();
    facts.start_time = meeting.start_time;
    facts.end_time = meeting.end_time;
    facts.bot_name = meeting.bot_name.clone();
    facts.call_key = Some(CallKey::derive(&meeting.organization, &meeting.url));
}

fn contended(operation: &'static str) -> StoreError {
    StoreError { kind: StoreErrorKind::Unavailable, operation, message: format!("the document kept changing over {TRIES} tries") }
}
