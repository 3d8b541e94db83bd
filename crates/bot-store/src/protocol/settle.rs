//! The end: one commit writes the terminal phase, its event, and the result on every linked meeting.

use bot_model::document::{Artifact, BotInstance, Fields};
use bot_model::lifecycle::{IllegalStep, Phase, Step, next};
use bot_model::outcome::{Outcome, OutcomeKind};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::slot::{hand_meetings, recorder_of};
use super::{Advanced, InstanceRecord, Note, commit_change};
use crate::outbox::{self, Event};
use crate::{DocumentKey, Precondition, Store, StoreError, Write, WriteMode};

/// Ends an instance. `step` is `Complete`, `Fail`, `Cancel` or `Miss`; artifacts belong to `Complete`, or to a failure that
/// left some files all the same. The meetings of one that failed with nothing recorded go to the bot that did record their call,
/// where there is one; who only came when that call was over is cancelled as one too many.
pub async fn settle(
    store: &dyn Store,
    record: &InstanceRecord,
    step: Step,
    outcome: Outcome,
    artifacts: Vec<Artifact>,
    note: Note,
    now: DateTime<Utc>,
) -> Result<Advanced, StoreError> {
    let recorded = record.instance.is_recorded();
    let phase = match next(record.instance.phase, step) {
        // What an earlier attempt recorded is finalized, whatever became of the meeting (invariant I3).
        Ok(Phase::Cancelled | Phase::Missed) if recorded => {
            return Ok(Advanced::Illegal(IllegalStep { phase: record.instance.phase, step }));
        }
        Ok(phase) => phase,
        Err(illegal) => return Ok(Advanced::Illegal(illegal)),
    };
    let mut instance = record.instance.clone();
    instance.phase = phase;
    instance.facts.processed_at = Some(now);
    instance.facts.artifacts = artifacts;
    instance.facts.outcome = Some(outcome.clone());
    let came_to_nothing = !recorded && matches!(step, Step::Fail | Step::Miss) && outcome.kind != OutcomeKind::InvalidDocument;
    let occurrence = (instance.facts.start_time, instance.facts.start_time.or(instance.facts.created_at));
    let recorder = match &instance.facts.call_key {
        Some(key) if came_to_nothing => recorder_of(store, key, occurrence, Some(&instance.id)).await?,
        _ => None,
    };
    if let Some(recorder) = recorder {
        let note = note.detail(format!("{} Its meetings get the recording of bot {}.", outcome.message, recorder.instance.id));
        // The call is over and recorded: nothing failed, this bot was one too many, as where it finds the other in the call.
        if let (OutcomeKind::EndedBeforeAdmission, Ok(phase)) = (outcome.kind, next(record.instance.phase, Step::Cancel)) {
            let message = format!("Bot {} recorded this call.", recorder.instance.id);
            instance.phase = phase;
            instance.facts.outcome = Some(Outcome { message, ..Outcome::new(OutcomeKind::Cancelled) });
        }
        let others = hand_meetings(store, &mut instance, recorder, now).await?;
        return commit_change(store, record, instance, note, now, others).await;
    }
    let mut others =
        results_on_meetings(store, &instance.facts.linked_meetings, phase, &outcome, &instance.facts.artifacts).await?;
    if outcome.kind == OutcomeKind::QueueTimeout {
        others.push(outbox::write(timed_out(&instance, now)));
    }
    commit_change(store, record, instance, note.detail(&outcome.message), now, others).await
}

/// Beside the end itself: who sent the request may want to send it elsewhere.
fn timed_out(instance: &BotInstance, now: DateTime<Utc>) -> Event {
    let facts = &instance.facts;
    let data = json!({
        "bot_id": instance.id, "organization": facts.creator_organization_id, "priority": facts.priority,
        "queued_at": facts.created_at, "start_time": facts.start_time, "queue_timeout_seconds": facts.queue_timeout_secs,
    });
    Event::new(outbox::QUEUE_TIMEOUT, &facts.creator_organization_id, now, data)
}

/// One write for each linked meeting that still exists and is still linked. A deleted one is left out: a result
/// must not resurrect it.
async fn results_on_meetings(
    store: &dyn Store,
    linked: &[bot_model::document::LinkedMeeting],
    phase: Phase,
    outcome: &Outcome,
    artifacts: &[Artifact],
) -> Result<Vec<Write>, StoreError> {
    let mut writes = Vec::new();
    for meeting in linked {
        let key = DocumentKey::Meeting(meeting.path.clone());
        if store.read(&key).await?.is_some() {
            let mut fields = meeting_result(bot_status(phase, Some(outcome)), Some(outcome), artifacts);
            if let Some(pointer) = &meeting.pointer {
                fields.insert("recording_pointer".into(), json!(pointer));
            }
            writes.push(Write { key, precondition: Precondition::Exists, mode: WriteMode::Merge(fields) });
        }
    }
    Ok(writes)
}

/// The `bot_status` of a meeting: the phase, but `missed` also where no instance was ever made.
pub(super) fn bot_status(phase: Phase, outcome: Option<&Outcome>) -> &'static str {
    match outcome.map(|outcome| outcome.kind) {
        Some(OutcomeKind::Missed) => Phase::Missed.as_str(),
        _ => phase.as_str(),
    }
}

/// The result's fields on a meeting document.
pub(super) fn meeting_result(status: &str, outcome: Option<&Outcome>, artifacts: &[Artifact]) -> Fields {
    let mut fields = Fields::new();
    fields.insert("bot_status".into(), json!(status));
    fields.insert("bot_outcome".into(), json!(outcome));
    let objects: Fields = artifacts.iter().map(|file| (file.name.file_name().replace('.', "_"), json!(file.object))).collect();
    fields.insert("recording_files".into(), if objects.is_empty() { serde_json::Value::Null } else { objects.into() });
    fields
}
