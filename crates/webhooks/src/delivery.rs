//! One event for one endpoint: a document with the log of its tries, and while it is not over a second one, by when it is due.

use bot_model::document::Fields;
use bot_store::outbox::Event;
use bot_store::{DocumentKey, Record, Version, Write, clock};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Tries that a delivery remembers, the latest; a round of a day makes at most about as many.
const MOST_ATTEMPTS: usize = 24;

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was not accepted yet, and is tried again.
    Pending,
    /// It was accepted.
    Delivered,
    /// It was given up; it can be replayed.
    Failed,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub tried_at: DateTime<Utc>,
    /// From the closed list of [`crate::post::Outcome`].
    pub result: String,
    /// The receiver's answer, where there was one.
    #[serde(default)]
    pub status: Option<u16>,
    /// How long it took.
    pub millis: u64,
    /// The answer's first characters, without control characters.
    #[serde(default)]
    pub answer: String,
}

/// A delivery. Field names are the stored ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// To which endpoint.
    pub endpoint_id: String,
    /// The `webhook-id`.
    pub event_id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// How far it is.
    pub state: State,
    /// What is posted, to the byte: every try signs the same.
    pub body: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Tries so far, over all rounds.
    #[serde(default)]
    pub attempt_count: u32,
    /// The latest tries, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// When it was over.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it was given up.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it is tried next, as far as known.
    #[serde(default)]
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// What is due, and who has it in hand. Field names are the stored ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// To which endpoint.
    pub endpoint_id: String,
    /// When to try; for one that is in hand, when somebody else takes it up.
    pub due_at: DateTime<Utc>,
    /// When this round of tries began.
    pub began_at: DateTime<Utc>,
    /// Failures of this round.
    pub failures: u32,
    /// Changes with every claim, so that each is a change whatever the clocks say.
    pub claim: String,
}

impl Delivery {
    /// A new one.
    pub fn new(endpoint_id: &str, event: &Event, now: DateTime<Utc>) -> Self {
        Self {
            endpoint_id: endpoint_id.to_owned(),
            event_id: event.id.clone(),
            event_type: event.event_type.clone(),
            state: State::Pending,
            body: body(event),
            created_at: now,
            attempt_count: 0,
            attempts: Vec::new(),
            ended_at: None,
            reason: None,
            next_attempt_at: Some(now),
        }
    }

    /// Its document's id, from endpoint and event: the same event comes to an endpoint once.
    pub fn id(&self) -> String {
        id(&self.endpoint_id, &self.event_id)
    }

    /// From its document.
    pub fn of(record: &Record) -> Option<(Self, Version)> {
        let DocumentKey::Delivery(_) = &record.key else { return None };
        Some((serde_json::from_value(record.fields.clone().into()).ok()?, record.version.clone()))
    }

    /// The write that makes it.
    pub fn create(&self) -> Write {
        Write::create(DocumentKey::Delivery(self.id()), as_fields(self))
    }

    /// The write that changes it.
    pub fn update(&self, version: Version) -> Write {
        Write::update(DocumentKey::Delivery(self.id()), version, as_fields(self))
    }

    /// Adds a try to the log.
    pub fn note(&mut self, attempt: Attempt) {
        self.attempt_count += 1;
        self.attempts.push(attempt);
        let surplus = self.attempts.len().saturating_sub(MOST_ATTEMPTS);
        self.attempts.drain(..surplus);
    }

    /// Ends it: accepted, or given up for a reason.
    pub fn end(&mut self, reason: Option<&str>, now: DateTime<Utc>) {
        self.state = if reason.is_none() { State::Delivered } else { State::Failed };
        self.reason = reason.map(str::to_owned);
        self.ended_at = Some(now);
        self.next_attempt_at = None;
    }

    /// Another round, with the same id and the same body. The writes, where it is over.
    pub fn replay(mut self, version: Version, now: DateTime<Utc>) -> Option<Vec<Write>> {
        if self.state == State::Pending {
            return None;
        }
        self.state = State::Pending;
        self.reason = None;
        self.ended_at = None;
        self.next_attempt_at = Some(now);
        let pending = Pending::new(&self.endpoint_id, now, now);
        Some(vec![self.update(version), pending.create(&self.id())])
    }
}

impl Pending {
    /// Due at `due_at`.
    pub fn new(endpoint_id: &str, due_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { endpoint_id: endpoint_id.to_owned(), due_at, began_at: now, failures: 0, claim: clock::random_id().to_string() }
    }

    /// From its document, with the delivery's id.
    pub fn of(record: &Record) -> Option<(String, Self, Version)> {
        let DocumentKey::Pending(id) = &record.key else { return None };
        Some((id.clone(), serde_json::from_value(record.fields.clone().into()).ok()?, record.version.clone()))
    }

    /// The write that makes it.
    pub fn create(&self, id: &str) -> Write {
        Write::create(DocumentKey::Pending(id.to_owned()), as_fields(self))
    }

    /// The write that changes it.
    pub fn update(&self, id: &str, version: Version) -> Write {
        Write::update(DocumentKey::Pending(id.to_owned()), version, as_fields(self))
    }
}

/// The id of an endpoint's delivery of an event.
pub fn id(endpoint_id: &str, event_id: &str) -> String {
    format!("{endpoint_id}~{event_id}")
}

/// What is posted, after the specification: type, timestamp, data.
fn body(event: &Event) -> String {
    let timestamp = event.occurred_at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    json!({ "type": event.event_type, "timestamp": timestamp, "data": event.data }).to_string()
}

fn as_fields(value: &impl Serialize) -> Fields {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => Fields::new(),
    }
}
