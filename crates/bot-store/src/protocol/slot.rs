//! The live-call slot: ids can split (a rounded or a moved start), so the last guard before the join is a document keyed by
//! organisation and native meeting id, held by compare-and-set until the bot has left.

use bot_model::document::{BotInstance, Fields};
use bot_model::ids::{CallKey, InstanceId};
use bot_model::lifecycle::{Phase, Step, next};
use bot_model::outcome::{Outcome, OutcomeKind};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::settle::{bot_status, meeting_result};
use super::{Advanced, InstanceRecord, Note, commit_change, unreadable};
use crate::guard::Guard;
use crate::{Commit, DocumentKey, Record, Store, StoreError, Write, clock, outbox};

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
        return taken_if(store, vec![Write::create(document, held_by(holder, None, now))]).await;
    };
    let owner = text(&found, "bot_instance_id").and_then(InstanceId::parse);
    let is_free = match &owner {
        None => true,
        Some(owner) if *owner == holder.instance => {
            let attempt = attempt_of(&found);
            if attempt == u64::from(holder.attempt) {
                return Ok(Slot::Held);
            }
            attempt < u64::from(holder.attempt)
        }
        Some(owner) => has_ended(store, owner).await?,
    };
    match owner {
        _ if is_free => {
            let fields = held_by(holder, Some(&found), now);
            taken_if(store, vec![Write::update(document, found.version.clone(), fields)]).await
        }
        Some(owner) => {
            let start_time = text(&found, "start_time").and_then(|text| text.parse().ok());
            tell_that_somebody_waits(store, found, holder).await?;
            Ok(Slot::Taken { holder: owner, start_time })
        }
        None => Ok(Slot::Lost),
    }
}

/// Frees the slot if it is this instance's and no later attempt of it has taken it over: a run that was overtaken while nobody saw it
/// must not let a second bot into the call.
pub async fn release(store: &dyn Store, key: &CallKey, instance: &InstanceId, attempt: u32) -> Result<(), StoreError> {
    let document = DocumentKey::Slot(key.clone());
    let Some(found) = store.read(&document).await? else { return Ok(()) };
    if text(&found, "bot_instance_id") == Some(instance.as_str()) && attempt_of(&found) <= u64::from(attempt) {
        let mut fields = Fields::new();
        fields.insert("bot_instance_id".into(), serde_json::Value::Null);
        // Whoever recorded the call may be the one before: this one perhaps came when it was over, and has not settled yet.
        let before = holders(&found).into_iter().find(|before| *before != instance.as_str());
        fields.insert("former_bot_instance_id".into(), json!(before));
        fields.insert("last_bot_instance_id".into(), json!(instance));
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
pub(super) const ONE_OCCURRENCE: TimeDelta = TimeDelta::minutes(15);

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
        // One that was told to leave records nothing more for anybody: it is waited for.
        Ok(phase) if !found.instance.phase.is_terminal() && found.instance.facts.cancel_requested_at.is_none() => phase,
        Ok(_) => return Ok(Advanced::Conflict),
        Err(illegal) => return Ok(Advanced::Illegal(illegal)),
    };
    let mut ended = record.instance.clone();
    let others = hand_meetings(store, &mut ended, found, now).await?;
    ended.phase = phase;
    ended.facts.processed_at = Some(now);
    // Nobody cancelled the meeting: it goes to the other bot.
    let message = format!("Bot {holder} is in this call already.");
    ended.facts.outcome = Some(Outcome { message, ..Outcome::new(OutcomeKind::Cancelled) });
    let note = Note::new("manager", "joined_holder").detail(holder);
    commit_change(store, record, ended, note, now, others).await
}

/// Moves an instance's meetings to the bot that has their recording, with its result where it has ended. The writes belong to the
/// commit that ends `ended`.
pub(super) async fn hand_meetings(
    store: &dyn Store,
    ended: &mut BotInstance,
    holder: InstanceRecord,
    now: DateTime<Utc>,
) -> Result<Vec<Write>, StoreError> {
    let InstanceRecord { instance: mut holding, version } = holder;
    let meetings = std::mem::take(&mut ended.facts.linked_meetings);
    ended.facts.handed_to = Some(holding.id.clone());
    let mut writes = Vec::new();
    for mut meeting in meetings {
        let key = DocumentKey::Meeting(meeting.path.clone());
        if store.read(&key).await?.is_some() {
            let outcome = holding.facts.outcome.as_ref();
            let mut fields = match holding.phase.is_terminal() {
                true => meeting_result(bot_status(holding.phase, outcome), outcome, &holding.facts.artifacts),
                false => Fields::from_iter([("bot_status".to_owned(), json!(holding.phase))]),
            };
            fields.insert(store.naming().meeting_bot_instance_field.clone(), json!(holding.id));
            writes.push(Write::merge_existing(key, fields));
        }
        meeting.gcs_path = meeting.gcs_path.or_else(|| ended.facts.gcs_path.clone());
        if !holding.is_linked(&meeting.path) {
            holding.facts.linked_meetings.push(meeting);
        }
    }
    if holding.phase.is_terminal() {
        // Of its end these meetings' backend has heard nothing.
        let unique = clock::ordered_id().simple().to_string();
        writes.push(outbox::write(outbox::of_bot(store.naming(), &holding, "meetings_handed_over", now, unique)));
    }
    writes.push(Write::update(DocumentKey::Instance(holding.id.clone()), version, holding.encode(store.naming())));
    Ok(writes)
}

/// The bot that holds or last held a call's slot, where it is another one than `not` and recorded the occurrence that starts at `own`.
/// Where one of the two has no start, it is the same occurrence if the bot had not left by `since`: a link serves for many calls, and
/// nobody is given the recording of an earlier one.
pub(super) async fn recorder_of(
    store: &dyn Store,
    key: &CallKey,
    (own, since): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    not: Option<&InstanceId>,
) -> Result<Option<InstanceRecord>, StoreError> {
    let Some(slot) = store.read(&DocumentKey::Slot(key.clone())).await? else { return Ok(None) };
    for other in holders(&slot) {
        let Some(other) = InstanceId::parse(other).filter(|other| Some(other) != not) else { continue };
        let Some(found) = InstanceRecord::read(store, &other).await? else { continue };
        let its = found.instance.facts.start_time;
        let ended_at = left_at(&found.instance);
        let is_one = match (own, its) {
            (Some(_), Some(_)) => !is_later_occurrence(own, its) && !is_later_occurrence(its, own),
            _ => since.is_some_and(|since| ended_at.is_none_or(|ended_at| ended_at >= since)),
        };
        if is_one && found.instance.is_recorded() && found.instance.phase != Phase::Failed {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// When a bot left its call for good, or had ended at the latest; `None` while it may be in it.
fn left_at(instance: &BotInstance) -> Option<DateTime<Utc>> {
    let left_at = instance.facts.recording.as_ref().and_then(|recording| recording.ended_at);
    let has_left = instance.phase == Phase::Finalizing || instance.phase.is_terminal();
    has_left.then_some(left_at.or(instance.facts.processed_at)).flatten()
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

/// Who holds a slot, and who held it before, the last first.
fn holders(slot: &Record) -> Vec<&str> {
    ["bot_instance_id", "last_bot_instance_id", "former_bot_instance_id"]
        .into_iter()
        .filter_map(|field| text(slot, field))
        .collect()
}

/// A slot in this holder's hands; who had it before is kept.
fn held_by(holder: &Holder, before: Option<&Record>, now: DateTime<Utc>) -> Fields {
    let mut earlier = before.map(holders).unwrap_or_default();
    earlier.retain(|id| *id != holder.instance.as_str());
    let mut fields = Fields::new();
    fields.insert("last_bot_instance_id".into(), json!(earlier.first()));
    fields.insert("former_bot_instance_id".into(), json!(earlier.get(1)));
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

fn attempt_of(slot: &Record) -> u64 {
    slot.fields.get("attempt").and_then(serde_json::Value::as_u64).unwrap_or_default()
}

fn text<'a>(record: &'a Record, field: &str) -> Option<&'a str> {
    record.fields.get(field).and_then(serde_json::Value::as_str)
}
