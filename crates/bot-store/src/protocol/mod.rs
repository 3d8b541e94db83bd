//! The protocol, written once above the port: who may change what, on which evidence, in which single commit.
//!
//! Every verb reads what it decides on, decides by `bot_model`, and commits the change, its timeline event and its
//! notification of linked meetings together. Losing a race is a value. A commit whose answer was lost is recognised by its
//! event, whose id the writer chose.

pub mod cancel;
pub mod capacity;
pub mod claim;
mod day;
pub mod enqueue;
pub mod exhaustion;
pub mod heartbeat;
pub mod organizations;
pub mod paths;
pub mod prioritize;
pub mod retain;
#[cfg(any(test, feature = "conformance"))]
pub mod rules;
pub mod run;
pub mod settle;
pub mod slot;

use bot_model::configuration::Naming;
use bot_model::document::{BotInstance, DocumentError, Facts, Fields, TimelineEvent};
use bot_model::ids::InstanceId;
use bot_model::lifecycle::{IllegalStep, Phase, Step, next};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{Commit, DocumentKey, Record, Store, StoreError, StoreErrorKind, Version, Write, clock, outbox};

/// An instance together with the version that it was read in.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRecord {
    /// The document.
    pub instance: BotInstance,
    /// What a conditional write names.
    pub version: Version,
}

impl InstanceRecord {
    /// Decodes a record; an error names why the document must be left alone or refused.
    pub fn from_record(record: &Record, naming: &Naming) -> Result<Self, DocumentError> {
        let DocumentKey::Instance(id) = &record.key else {
            return Err(DocumentError::Field("not a bot instance".into()));
        };
        Ok(Self { instance: BotInstance::decode(id, &record.fields, naming)?, version: record.version.clone() })
    }

    /// Reads an instance. An unreadable document is an error of kind `Refused`.
    pub async fn read(store: &dyn Store, id: &InstanceId) -> Result<Option<Self>, StoreError> {
        let Some(record) = store.read(&DocumentKey::Instance(id.clone())).await? else { return Ok(None) };
        Self::from_record(&record, store.naming()).map(Some).map_err(|error| unreadable(&error))
    }
}

/// What goes on the timeline with a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// `controller`, `manager`, `cli` or `api`.
    pub actor: &'static str,
    /// A snake_case name.
    pub event: &'static str,
    /// For a person; no address, passcode or name.
    pub detail: String,
}

impl Note {
    /// A note without detail.
    pub fn new(actor: &'static str, event: &'static str) -> Self {
        Self { actor, event, detail: String::new() }
    }

    /// The same with a detail.
    pub fn detail(self, detail: impl std::fmt::Display) -> Self {
        Self { detail: detail.to_string(), ..self }
    }
}

/// How a change ended.
#[allow(clippy::large_enum_variant, reason = "an answer that is taken apart at once, never stored")]
#[derive(Debug, Clone, PartialEq)]
pub enum Advanced {
    /// Committed; the instance as it is now.
    Applied(InstanceRecord),
    /// Somebody changed the document in between: read again.
    Conflict,
    /// The lifecycle does not allow it.
    Illegal(IllegalStep),
}

/// Takes one step of the lifecycle, editing facts on the way, in one commit with its timeline event.
pub async fn advance(
    store: &dyn Store,
    record: &InstanceRecord,
    step: Step,
    note: Note,
    now: DateTime<Utc>,
    edit: impl FnOnce(&mut Facts),
) -> Result<Advanced, StoreError> {
    let phase = match next(record.instance.phase, step) {
        Ok(phase) => phase,
        Err(illegal) => return Ok(Advanced::Illegal(illegal)),
    };
    let mut instance = record.instance.clone();
    instance.phase = phase;
    edit(&mut instance.facts);
    commit_change(store, record, instance, note, now, Vec::new()).await
}

/// Commits a changed instance, one timeline event and further writes, all or nothing. A lost answer is resolved by
/// looking for the event.
async fn commit_change(
    store: &dyn Store,
    before: &InstanceRecord,
    after: BotInstance,
    note: Note,
    now: DateTime<Utc>,
    others: Vec<Write>,
) -> Result<Advanced, StoreError> {
    let key = DocumentKey::Instance(after.id.clone());
    let (event_key, told) = told(store.naming(), Some(before.instance.phase), &after, note, now);
    let mut writes = vec![Write::update(key, before.version.clone(), after.encode(store.naming()))];
    writes.extend(told);
    writes.extend(others);
    match commit_known(store, writes, &event_key).await? {
        Known::Applied(Some(version)) => Ok(Advanced::Applied(InstanceRecord { instance: after, version })),
        Known::Applied(None) => match InstanceRecord::read(store, &after.id).await? {
            Some(record) => Ok(Advanced::Applied(record)),
            None => Ok(Advanced::Conflict),
        },
        Known::Conflict => Ok(Advanced::Conflict),
    }
}

enum Known {
    /// With the first write's version, where the answer arrived.
    Applied(Option<Version>),
    Conflict,
}

/// Commits, and where the answer is lost, finds out by the existence of `witness`, a document that this commit creates.
async fn commit_known(store: &dyn Store, writes: Vec<Write>, witness: &DocumentKey) -> Result<Known, StoreError> {
    match store.commit(writes).await {
        Ok(Commit::Applied(versions)) => Ok(Known::Applied(versions.into_iter().next())),
        Ok(Commit::Conflict) => Ok(Known::Conflict),
        Err(error) if error.kind == StoreErrorKind::Unknown => match store.read(witness).await? {
            Some(_) => Ok(Known::Applied(None)),
            None => Err(StoreError { kind: StoreErrorKind::Unavailable, ..error }),
        },
        Err(error) => Err(error),
    }
}

/// What is told of a change in the commit that makes it: a line on the timeline, and where the phase is another one than `before`, an
/// event in the outbox. With the line's key, whose existence is the proof of the commit. The line's id sorts by time and is unique.
fn told(
    naming: &Naming,
    before: Option<Phase>,
    after: &BotInstance,
    note: Note,
    now: DateTime<Utc>,
) -> (DocumentKey, Vec<Write>) {
    let stamp = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    let unique = clock::ordered_id().simple().to_string();
    let key = DocumentKey::Event(after.id.clone(), format!("{stamp}-{unique}"));
    let outbox = (before != Some(after.phase)).then(|| outbox::write(outbox::of_bot(naming, after, note.event, now, unique)));
    let event = TimelineEvent {
        occurred_at: now,
        phase: after.phase,
        event: note.event.into(),
        actor: note.actor.into(),
        attempt: after.facts.attempt,
        detail: note.detail,
        creator_organization_id: after.facts.creator_organization_id.clone(),
    };
    let line = Write::create(key.clone(), as_fields(&event));
    (key, std::iter::once(line).chain(outbox).collect())
}

fn as_fields(value: &impl serde::Serialize) -> Fields {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => Fields::new(),
    }
}

fn unreadable(error: &DocumentError) -> StoreError {
    StoreError { kind: StoreErrorKind::Refused, operation: "decode", message: error.to_string() }
}
