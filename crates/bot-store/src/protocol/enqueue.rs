//! From a meeting document to its bot instance: create, link a twin, arm again, or refuse with a reason.

use bot_model::document::{BotInstance, Fields, LinkedMeeting, Meeting, MeetingProblem};
use bot_model::ids::{CallKey, InstanceId};
use bot_model::lifecycle::Phase;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_model::schedule::{Due, StartWindow};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::settle::{bot_status, meeting_result};
use super::slot::{ONE_OCCURRENCE, recorder_of};
use super::{InstanceRecord, Known, Note, commit_known, told, unreadable};
use crate::{Commit, DocumentKey, Record, Store, StoreError, Write, outbox};

/// Armed again this often at most; past it something writes the document in a loop.
const MAX_GENERATIONS: u32 = 100;

/// Hand-overs followed at most; a chain of more cannot come about within one call.
const MAX_HAND_OVERS: u32 = 8;

/// What became of a meeting document.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// Not due yet.
    Early,
    /// Served already.
    AlreadyLinked(InstanceId),
    /// A new instance, queued.
    Created(InstanceId),
    /// Linked to an instance that another document made for the same occurrence.
    Twin(InstanceId),
    /// Its link had been cleared after its instance ended: the next generation, queued.
    Rearmed(InstanceId),
    /// Its time has passed; the document says so.
    Missed,
    /// Unusable; the document says why.
    Rejected(MeetingProblem),
    /// Cancelled, deleted or changed meanwhile: look again.
    Lost,
}

/// Decides on a meeting as it was read, and commits. Only `record`'s own version is linked: an edit in between is `Lost`.
pub async fn enqueue(
    store: &dyn Store,
    record: &Record,
    window: &StartWindow,
    now: DateTime<Utc>,
) -> Result<Enqueued, StoreError> {
    let naming = store.naming();
    let DocumentKey::Meeting(path) = &record.key else { return Ok(Enqueued::Lost) };
    if let Some(id) = Meeting::link(&record.fields, naming) {
        return Ok(Enqueued::AlreadyLinked(id));
    }
    let meeting = match Meeting::decode(path, &record.fields, naming) {
        Ok(meeting) => meeting,
        Err(problem) => {
            let outcome = Outcome::with_detail(OutcomeKind::InvalidDocument, &problem);
            note_on_meeting(store, record, &outcome, now).await?;
            return Ok(Enqueued::Rejected(problem));
        }
    };
    if !naming.meeting_status_values.contains(&meeting.status) {
        return Ok(Enqueued::Lost);
    }
    match window.due(meeting.start_time, meeting.end_time, now) {
        Due::Early => Ok(Enqueued::Early),
        Due::Now => link_or_create(store, record, &meeting, now).await,
        Due::Missed => {
            if let Some(recorder) = recorder(store, record, &meeting).await? {
                return link(store, record, &meeting, recorder, now).await;
            }
            note_on_meeting(store, record, &Outcome::new(OutcomeKind::Missed), now).await?;
            Ok(Enqueued::Missed)
        }
    }
}

/// Writes an outcome on a meeting that gets no instance, once: an unchanged outcome is not written again.
async fn note_on_meeting(store: &dyn Store, record: &Record, outcome: &Outcome, now: DateTime<Utc>) -> Result<(), StoreError> {
    let fields = meeting_result(bot_status(Phase::Failed, Some(outcome)), Some(outcome), &[]);
    if fields.iter().all(|(key, value)| value.is_null() || record.fields.get(key) == Some(value)) {
        return Ok(());
    }
    // A conflict means that the document changed: the next look decides anew.
    let event = outbox::write(outbox::of_meeting(store.naming(), record, outcome, now));
    let write = Write::update(record.key.clone(), record.version.clone(), fields);
    store.commit(vec![write, event]).await.map(|_: Commit| ())
}

/// The bot that recorded the call of a meeting that was found too late. Looked for once: a missed meeting says that it is.
async fn recorder(store: &dyn Store, record: &Record, meeting: &Meeting) -> Result<Option<InstanceRecord>, StoreError> {
    if record.fields.get("bot_status").is_some_and(|status| status == Phase::Missed.as_str()) {
        return Ok(None);
    }
    let key = CallKey::derive(&meeting.organization, &meeting.url);
    let since = meeting.start_time.or(meeting.end_time.map(|end| end - ONE_OCCURRENCE));
    recorder_of(store, &key, (meeting.start_time, since), None).await
}

async fn link_or_create(
    store: &dyn Store,
    record: &Record,
    meeting: &Meeting,
    now: DateTime<Utc>,
) -> Result<Enqueued, StoreError> {
    let first = InstanceId::derive(&meeting.organization, &meeting.url, meeting.start_time, &meeting.path);
    for generation in 1..=MAX_GENERATIONS {
        let id = first.generation(generation);
        let Some(existing) = store.read(&DocumentKey::Instance(id.clone())).await? else {
            return create(store, record, meeting, id, generation, now).await;
        };
        let existing = InstanceRecord::from_record(&existing, store.naming()).map_err(|error| unreadable(&error))?;
        let existing = serving(store, existing).await?;
        let ended = existing.instance.phase.is_terminal();
        // This document knew it: its link was cleared to ask for another bot.
        let was_ours = ended && existing.instance.is_linked(&meeting.path);
        // Another document's cancel is no answer to this one.
        let others_cancel = !existing.instance.is_linked(&meeting.path)
            && (existing.instance.phase == Phase::Cancelled || existing.instance.facts.cancel_requested_at.is_some());
        if !was_ours && !others_cancel {
            return link(store, record, meeting, existing, now).await;
        }
    }
    Ok(Enqueued::Lost)
}

/// The instance that serves whom this one served: one that met another bot in its call handed its meetings over.
async fn serving(store: &dyn Store, mut record: InstanceRecord) -> Result<InstanceRecord, StoreError> {
    for _ in 0..MAX_HAND_OVERS {
        let Some(next) = record.instance.facts.handed_to.clone() else { break };
        match InstanceRecord::read(store, &next).await? {
            Some(found) => record = found,
            None => break,
        }
    }
    Ok(record)
}

async fn create(
    store: &dyn Store,
    record: &Record,
    meeting: &Meeting,
    id: InstanceId,
    generation: u32,
    now: DateTime<Utc>,
) -> Result<Enqueued, StoreError> {
    let instance = instance_for(meeting, id.clone(), now);
    let (witness, told) = told(store.naming(), None, &instance, Note::new("controller", "queued"), now);
    let mut writes = vec![
        Write::create(DocumentKey::Instance(id.clone()), instance.encode(store.naming())),
        Write::update(record.key.clone(), record.version.clone(), link_fields(store, &instance, now)),
    ];
    writes.extend(told);
    match commit_known(store, writes, &witness).await? {
        Known::Applied(_) if generation > 1 => Ok(Enqueued::Rearmed(id)),
        Known::Applied(_) => Ok(Enqueued::Created(id)),
        Known::Conflict => Ok(Enqueued::Lost),
    }
}

/// The instance of a meeting, as it is first written.
fn instance_for(meeting: &Meeting, id: InstanceId, now: DateTime<Utc>) -> BotInstance {
    let mut instance = BotInstance::queued(id, meeting.url.clone());
    let facts = &mut instance.facts;
    facts.meeting_path = Some(meeting.path.clone());
    facts.start_time = meeting.start_time;
    facts.end_time = meeting.end_time;
    facts.bot_name = meeting.bot_name.clone();
    facts.gcs_path = meeting.gcs_path.clone();
    facts.creator_organization_id = meeting.organization.clone();
    facts.creator_user_id = meeting.user.clone();
    facts.priority = meeting.priority;
    facts.queue_timeout_secs = meeting.queue_timeout_secs;
    facts.created_at = Some(now);
    facts.call_key = Some(CallKey::derive(&meeting.organization, &meeting.url));
    facts.linked_meetings = vec![LinkedMeeting { path: meeting.path.clone(), gcs_path: None, pointer: None }];
    instance
}

async fn link(
    store: &dyn Store,
    record: &Record,
    meeting: &Meeting,
    existing: InstanceRecord,
    now: DateTime<Utc>,
) -> Result<Enqueued, StoreError> {
    let id = existing.instance.id.clone();
    let mut instance = existing.instance.clone();
    let known = instance.is_linked(&meeting.path);
    if !known {
        let own_path = meeting.gcs_path.clone().filter(|path| Some(path) != instance.facts.gcs_path.as_ref());
        instance.facts.linked_meetings.push(LinkedMeeting { path: meeting.path.clone(), gcs_path: own_path, pointer: None });
    }
    let mut fields = link_fields(store, &instance, now);
    if instance.phase.is_terminal() {
        let status = bot_status(instance.phase, instance.facts.outcome.as_ref());
        fields.extend(meeting_result(status, instance.facts.outcome.as_ref(), &instance.facts.artifacts));
    }
    // Of an end that is past this meeting's own backend has heard nothing: it is told again.
    let before = (!instance.phase.is_terminal()).then_some(instance.phase);
    let (witness, told) = told(store.naming(), before, &instance, Note::new("controller", "meeting_linked"), now);
    let mut writes = vec![
        Write::update(DocumentKey::Instance(id.clone()), existing.version, instance.encode(store.naming())),
        Write::update(record.key.clone(), record.version.clone(), fields),
    ];
    writes.extend(told);
    match commit_known(store, writes, &witness).await? {
        Known::Applied(_) => Ok(Enqueued::Twin(id)),
        Known::Conflict => Ok(Enqueued::Lost),
    }
}

/// What a meeting says once it is linked.
fn link_fields(store: &dyn Store, instance: &BotInstance, now: DateTime<Utc>) -> Fields {
    let mut fields = Fields::new();
    fields.insert(store.naming().meeting_bot_instance_field.clone(), json!(instance.id));
    fields.insert("bot_status".into(), json!(bot_status(instance.phase, instance.facts.outcome.as_ref())));
    fields.insert("bot_enqueued_at".into(), json!(now));
    fields.insert("bot_outcome".into(), serde_json::Value::Null);
    fields
}
