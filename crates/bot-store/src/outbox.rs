//! The outbox: what shall be told to others is a document, written in the same commit as the change that it tells of.
//!
//! So nothing that happened is left untold, whenever a process dies and whatever the clocks say: an event stays here until it was handed
//! to every endpoint that wants it (crate `webhooks`), and goes in the commit that hands it over. Whoever tells of something else than a
//! bot's phases makes an [`Event`] and puts [`write`] into the commit of its change.

use bot_model::configuration::Naming;
use bot_model::document::{BotInstance, Fields, Meeting};
use bot_model::ids::MeetingPath;
use bot_model::outcome::{Outcome, OutcomeKind};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{DocumentKey, Record, Write, clock};

/// No bot can be started, as all that this installation can hold are busy.
pub const CAPACITY_EXHAUSTED: &str = "capacity.exhausted";
/// A request left the queue, having waited for too long.
pub const QUEUE_TIMEOUT: &str = "queue.timeout";
/// Meetings that one event names at most.
const MOST_MEETINGS: usize = 100;
/// Longest id of an event; with an endpoint's it still names a document.
const LONGEST_ID: usize = 128;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The `webhook-id`; the same for every endpoint and every try.
    pub id: String,
    /// Such as `bot.done` or [`CAPACITY_EXHAUSTED`].
    pub event_type: String,
    /// Whose it is; empty for the installation's own, which only endpoints of the whole installation get.
    pub organization: String,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// What a receiver is told. Ids, phases, outcomes, files: no address with its passcode, no title, no name, no e-mail address.
    pub data: Fields,
}

impl Event {
    /// An event with an id of its own. `data` has to be an object.
    pub fn new(event_type: &str, organization: &str, occurred_at: DateTime<Utc>, data: Value) -> Self {
        let data = match data {
            Value::Object(fields) => fields,
            _ => Fields::new(),
        };
        let id = format!("evt_{}", clock::ordered_id().simple());
        Self { id, event_type: event_type.to_owned(), organization: organization.to_owned(), occurred_at, data }
    }

    /// The same with an id that follows from its type and `key` alone: whatever is written under it again, by whichever replica, is
    /// delivered once (as long as deliveries are kept, 7 days). For alerts: one a period, with the period's beginning in the key.
    pub fn once_per(self, key: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
        let id: String = format!("evt_{}_{key}", self.event_type).chars().map(plain).take(LONGEST_ID).collect();
        Self { id, ..self }
    }

    /// From its document; `None` for one that is damaged.
    pub fn of(record: &Record) -> Option<Self> {
        let DocumentKey::Outbox(id) = &record.key else { return None };
        let text = |name: &str| record.fields.get(name).and_then(Value::as_str);
        Some(Self {
            id: id.clone(),
            event_type: text("type")?.to_owned(),
            organization: text("creator_organization_id").unwrap_or_default().to_owned(),
            occurred_at: text("occurred_at")?.parse().ok()?,
            data: record.fields.get("data").and_then(Value::as_object).cloned().unwrap_or_default(),
        })
    }
}

/// The write that puts an event into the outbox, for the commit of the change that it tells of. Where the outbox holds an event of this
/// id ([`Event::once_per`]), the whole commit is a conflict: such an event goes into a commit of its own, whose conflict means "told already".
pub fn write(event: Event) -> Write {
    let mut fields = Fields::new();
    fields.insert("type".into(), json!(event.event_type));
    fields.insert("creator_organization_id".into(), json!(event.organization));
    fields.insert("occurred_at".into(), json!(event.occurred_at));
    fields.insert("data".into(), event.data.into());
    Write::create(DocumentKey::Outbox(event.id), fields)
}

/// A bot's new phase: `bot.{phase}`. `unique` is what makes the timeline's line unique, so that the two are known to be one.
pub(crate) fn of_bot(naming: &Naming, bot: &BotInstance, cause: &str, at: DateTime<Utc>, unique: String) -> Event {
    let facts = &bot.facts;
    let file = |file: &bot_model::document::Artifact| {
        json!({
            "name": file.name.file_name(), "object": file.object, "content_type": file.name.content_type(), "bytes": file.bytes,
            "crc32c": file.crc32c, "duration_secs": file.duration_secs,
            "href": format!("/v1/bots/{}/artifacts/{}", bot.id, file.name.file_name()),
        })
    };
    let meetings = facts.linked_meetings.iter().take(MOST_MEETINGS).map(|linked| meeting_id(naming, &linked.path));
    let data = json!({
        "bot_id": bot.id, "meeting_ids": meetings.collect::<Vec<_>>(), "phase": bot.phase, "cause": cause, "attempt": facts.attempt,
        "platform": facts.meeting_url.platform().to_string(), "organization": facts.creator_organization_id,
        "start_time": facts.start_time, "end_time": facts.end_time, "handed_to": facts.handed_to,
        "recording": facts.recording.as_ref().map(|recording| {
            json!({ "started_at": recording.started_at, "ended_at": recording.ended_at, "bytes": recording.bytes })
        }),
        "outcome": facts.outcome.as_ref().map(outcome), "artifacts": facts.artifacts.iter().map(file).collect::<Vec<_>>(),
    });
    let event = Event::new(&format!("bot.{}", bot.phase), &facts.creator_organization_id, at, data);
    Event { id: format!("evt_{unique}"), ..event }
}

/// The end of a meeting that never got a bot.
pub(crate) fn of_meeting(naming: &Naming, record: &Record, ended: &Outcome, at: DateTime<Utc>) -> Event {
    let meetings: Vec<String> = match &record.key {
        DocumentKey::Meeting(path) => vec![meeting_id(naming, path)],
        _ => Vec::new(),
    };
    let phase = if ended.kind == OutcomeKind::Missed { "missed" } else { "failed" };
    let organization = Meeting::organization(&record.fields);
    let data = json!({
        "bot_id": null, "meeting_ids": meetings, "phase": phase, "organization": organization, "outcome": outcome(ended), "artifacts": [],
    });
    Event::new(&format!("bot.{phase}"), &organization, at, data)
}

/// A document that asked for a bot directly and cannot be used.
pub fn of_unusable(record: &Record, ended: &Outcome, at: DateTime<Utc>) -> Event {
    let organization = Meeting::organization(&record.fields);
    let bot = record.key.path().rsplit('/').next().unwrap_or_default().to_owned();
    let data = json!({
        "bot_id": bot, "meeting_ids": [], "phase": "failed", "organization": organization, "outcome": outcome(ended), "artifacts": [],
    });
    Event::new("bot.failed", &organization, at, data)
}

fn outcome(outcome: &Outcome) -> Value {
    json!({
        "kind": outcome.kind, "class": outcome.kind.class(), "attribution": outcome.attribution, "message": outcome.message,
    })
}

/// The API's id of a meeting: its document's own where it lies in the configured collection, else the path.
fn meeting_id(naming: &Naming, path: &MeetingPath) -> String {
    let plain = format!("{}/{}", naming.meetings_collection, path.document_id());
    if plain == path.as_str() { path.document_id().to_owned() } else { path.as_str().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_from_its_write() {
        let event = Event::new("bot.done", "a", DateTime::UNIX_EPOCH, json!({ "n": 1 }));
        let written = write(event.clone());
        let crate::WriteMode::Merge(fields) = written.mode else { panic!("it is written") };
        let record = Record { key: written.key, fields, version: crate::Version::from_adapter("1") };
        assert_eq!(Event::of(&record), Some(event));
    }

    #[test]
    fn an_event_that_is_due_once_a_period_has_one_id() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let event = |seconds| Event::new(CAPACITY_EXHAUSTED, "", at(seconds), json!({})).once_per("2027-01-15T08:00:00Z/x");
        assert_eq!(event(1).id, event(2).id);
        assert_eq!(event(1).id, "evt_capacity-exhausted_2027-01-15T08-00-00Z-x");
        assert!(event(1).id.len() <= LONGEST_ID);
    }
}
