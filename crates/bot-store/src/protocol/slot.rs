//! The live-call slot: ids can split (a rounded or a moved start), so the last guard before the join is a document keyed by
//! organisation and native meeting id, held by compare-and-set until the bot has left.

use bot_model::document::Fields;
use bot_model::ids::{CallKey, InstanceId};
use bot_model::lifecycle::{Step, next};
use bot_model::outcome::{Outcome, OutcomeKind};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Advanced, InstanceRecord, Note, commit_change, unreadable};
use crate::guard::Guard;
use crate::{Commit, DocumentKey, Record, Store, StoreError, Write};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The instance.
    pub instance: InstanceId,
    /// Its attempt: a later attempt of the same instance takes the slot over, for a relaunch had evidence that the
    /// earlier run ended.
    pub attempt: u32,
    /// Start of its occurrence, to tell a twin from a later occurrence on the same link.
    pub start_time: Option<DateTime<Utc>>,
}

/// Answer to [`acquire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// Ours until released.
    Held,
    /// Another instance is in the call, or on the way; it has been told that somebody waits.
    Taken {
        /// Who.
        holder: InstanceId,
        /// Start of the holder's occurrence.
        start_time: Option<DateTime<Utc>>,
    },
    /// Lost a race: ask again.
    Lost,
}

/// Takes the slot if it is free, ours, or held by an instance that has ended or is gone.
pub async fn acquire(store: &dyn Store, key: &CallKey, holder: &Holder, now: DateTime<Utc>) -> Result<Slot, StoreError> {
    if !Guard::LiveCallSlot.stands() {
        return Ok(Slot::Held);
    }
    let document = DocumentKey::Slot(key.clone());
    let Some(found) = store.read(&document).await? else {
        return taken_if(store, vec![Write::create(document, held_by(holder, now))]).await;
    };
    let owner = text(&found, "bot_instance_id").and_then(InstanceId::parse);
    let is_free = match &owner {
        None => true,
        Some(owner) if *owner == holder.instance => {
            let attempt = found.fields.get("attempt").and_then(serde_json::Value::as_u64).unwrap_or_default();
            if attempt == u64::from(holder.attempt) {
                return Ok(Slot::Held);
            }
            attempt < u64::from(holder.attempt)
        }
        Some(owner) => has_ended(store, owner).await?,
    };
    match owner {
        _ if is_free => taken_if(store, vec![Write::update(document, found.version.clone(), held_by(holder, now))]).await,
        Some(owner) => {
            let start_time = text(&found, "start_time").and_then(|text| text.parse().ok());
            tell_that_somebody_waits(store, found, holder).await?;
            Ok(Slot::Taken { holder: owner, start_time })
        }
        None => Ok(Slot::Lost),
    }
}

/// Frees the slot if it is this instance's.
pub async fn release(store: &dyn Store, key: &CallKey, instance: &InstanceId) -> Result<(), StoreError> {
    let document = DocumentKey::Slot(key.clone());
    let Some(found) = store.read(&document).await? else { return Ok(()) };
    if text(&found, "bot_instance_id") == Some(instance.as_str()) {
        let mut fields = Fields::new();
        fields.insert("bot_instance_id".into(), serde_json::Value::Null);
        store.commit(vec![Write::update(document, found.version, fields)]).await?;
    }
    Ok(())
}

/// True when another instance waits for this slot: the holder leaves once its own end has passed.
pub async fn somebody_waits(store: &dyn Store, key: &CallKey, holder: &InstanceId) -> Result<bool, StoreError> {
    let found = store.read(&DocumentKey::Slot(key.clone())).await?;
    Ok(found
        .is_some_and(|record| text(&record, "bot_instance_id") == Some(holder.as_str()) && text(&record, "waiting").is_some()))
}

/// Starts further apart than this are two occurrences on one link; less is one occurrence whose start was rounded or moved.
const ONE_OCCURRENCE: TimeDelta = TimeDelta::minutes(15);

/// Whether whoever did not get the slot belongs to a later occurrence than its holder, and so waits instead of joining it.
/// Without both starts they count as one: a second bot in the call is the worse mistake.
pub fn is_later_occurrence(own: Option<DateTime<Utc>>, holder: Option<DateTime<Utc>>) -> bool {
    matches!((own, holder), (Some(own), Some(holder)) if own - holder > ONE_OCCURRENCE)
}

/// Hands the meetings of an instance that recorded nothing over to the holder of its call, which gives them its result, and
/// ends the instance: one commit. `Conflict` asks to look at the slot again.
pub async fn join_holder(
    store: &dyn Store,
    record: &InstanceRecord,
    holder: &InstanceId,
    now: DateTime<Utc>,
) -> Result<Advanced, StoreError> {
    let Some(found) = InstanceRecord::read(store, holder).await? else { return Ok(Advanced::Conflict) };
    let phase = match next(record.instance.phase, Step::Cancel) {
        Ok(phase) if !found.instance.phase.is_terminal() => phase,
        Ok(_) => return Ok(Advanced::Conflict),
        Err(illegal) => return Ok(Advanced::Illegal(illegal)),
    };
    let (mut ended, mut holding) = (record.instance.clone(), found.instance.clone());
    let meetings = std::mem::take(&mut ended.facts.linked_meetings);
    ended.phase = phase;
    ended.facts.processed_at = Some(now);
    ended.facts.handed_to = Some(holder.clone());
    ended.facts.outcome = Some(Outcome::with_detail(OutcomeKind::Cancelled, format!("Bot {holder} is in this call already.")));
    let mut others = Vec::new();
    for mut meeting in meetings {
        let key = DocumentKey::Meeting(meeting.path.clone());
        if store.read(&key).await?.is_some() {
            let mut fields = Fields::new();
            fields.insert(store.naming().meeting_bot_instance_field.clone(), json!(holder));
            fields.insert("bot_status".into(), json!(holding.phase));
            others.push(Write::merge_existing(key, fields));
        }
        meeting.gcs_path = meeting.gcs_path.or_else(|| record.instance.facts.gcs_path.clone());
        if !holding.is_linked(&meeting.path) {
            holding.facts.linked_meetings.push(meeting);
        }
    }
    others.push(Write::update(DocumentKey::Instance(holder.clone()), found.version, holding.encode(store.naming())));
    let note = Note::new("manager", "joined_holder").detail(holder);
    commit_change(store, record, ended, note, now, others).await
}

async fn taken_if(store: &dyn Store, writes: Vec<Write>) -> Result<Slot, StoreError> {
    match store.commit(writes).await {
        Ok(Commit::Applied(_)) => Ok(Slot::Held),
        Ok(Commit::Conflict) => Ok(Slot::Lost),
        // Unknown: asking again finds it ours if it was applied.
        Err(error) if error.is_transient() => Ok(Slot::Lost),
        Err(error) => Err(error),
    }
}

fn held_by(holder: &Holder, now: DateTime<Utc>) -> Fields {
    let mut fields = Fields::new();
    fields.insert("bot_instance_id".into(), json!(holder.instance));
    fields.insert("attempt".into(), json!(holder.attempt));
    fields.insert("start_time".into(), json!(holder.start_time));
    fields.insert("acquired_at".into(), json!(now));
    fields.insert("waiting".into(), serde_json::Value::Null);
    fields
}

async fn has_ended(store: &dyn Store, id: &InstanceId) -> Result<bool, StoreError> {
    match store.read(&DocumentKey::Instance(id.clone())).await? {
        None => Ok(true),
        Some(record) => {
            let record = InstanceRecord::from_record(&record, store.naming()).map_err(|error| unreadable(&error))?;
            Ok(record.instance.phase.is_terminal())
        }
    }
}

async fn tell_that_somebody_waits(store: &dyn Store, found: Record, holder: &Holder) -> Result<(), StoreError> {
    if text(&found, "waiting").is_none() {
        let mut fields = Fields::new();
        fields.insert("waiting".into(), json!(holder.instance));
        store.commit(vec![Write::update(found.key, found.version, fields)]).await?;
    }
    Ok(())
}

fn text<'a>(record: &'a Record, field: &str) -> Option<&'a str> {
    record.fields.get(field).and_then(serde_json::Value::as_str)
}
