//! Lists by time, for people and programs that look: documents of one kind, filtered by equal values, in the order of the one instant
//! that each kind has. The engine's own queries are [`crate::MeetingQuery`] and [`crate::InstanceQuery`].
//!
//! A document without that instant is in no list (Firestore's rule, kept by every adapter).

use std::collections::BTreeMap;

use bot_model::configuration::Naming;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{DocumentKey, Record};

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listed {
    /// Meetings, by `start_time`.
    Meetings,
    /// Bot instances, by `created_at`.
    Instances,
    /// The timelines of all instances, by `occurred_at`.
    Events,
    /// API keys, by `created_at`.
    ApiKeys,
    /// The audit log, by `occurred_at`.
    Audit,
    /// Remembered answers, by `expires_at`.
    Replays,
    /// Events in the outbox, by `occurred_at`.
    Outbox,
    /// Webhook endpoints, by `created_at`.
    Endpoints,
    /// Webhook deliveries, by `created_at`.
    Deliveries,
    /// Deliveries that are not over, by `due_at`.
    Pending,
    /// Organizations with limits of their own, by `updated_at`.
    Organizations,
}

/// A field that a list can be filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListField {
    /// `creator_organization_id`.
    Organization,
    /// The configured status field of a meeting or an instance.
    Status,
    /// An instance's phase.
    Phase,
    /// An instance's platform.
    Platform,
    /// The kind of an instance's outcome.
    Outcome,
    /// The endpoint of a delivery.
    Endpoint,
    /// The state of a delivery.
    State,
}

/// Which documents, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Of which kind.
    pub kind: Listed,
    /// Each field holds one of these values. Over all fields together at most 30 combinations, Firestore's limit.
    pub equal: BTreeMap<ListField, Vec<String>>,
    /// The instant is this or later.
    pub from: Option<DateTime<Utc>>,
    /// The instant is earlier than this.
    pub before: Option<DateTime<Utc>>,
    /// Latest first; else earliest first.
    pub is_newest_first: bool,
}

impl Listed {
    /// The kind of a document; `None` for one that no list has.
    pub fn of(key: &DocumentKey) -> Option<Self> {
        match key {
            DocumentKey::Meeting(_) => Some(Self::Meetings),
            DocumentKey::Instance(_) => Some(Self::Instances),
            DocumentKey::Event(..) => Some(Self::Events),
            DocumentKey::ApiKey(_) => Some(Self::ApiKeys),
            DocumentKey::Audit(_) => Some(Self::Audit),
            DocumentKey::Replay(_) => Some(Self::Replays),
            DocumentKey::Outbox(_) => Some(Self::Outbox),
            DocumentKey::Endpoint(_) => Some(Self::Endpoints),
            DocumentKey::Delivery(_) => Some(Self::Deliveries),
            DocumentKey::Pending(_) => Some(Self::Pending),
            DocumentKey::Organization(_) => Some(Self::Organizations),
            DocumentKey::Slot(_) | DocumentKey::PathOwner(_) | DocumentKey::Controller(_) => None,
            DocumentKey::Capacity(_) => None,
        }
    }

    /// The field that holds the instant.
    pub fn instant_field(self) -> &'static str {
        match self {
            Self::Meetings => "start_time",
            Self::Instances | Self::ApiKeys | Self::Endpoints | Self::Deliveries => "created_at",
            Self::Events | Self::Audit | Self::Outbox => "occurred_at",
            Self::Replays => "expires_at",
            Self::Pending => "due_at",
            Self::Organizations => "updated_at",
        }
    }

    /// The instant of a document of this kind, in microseconds since 1970 (what Firestore keeps).
    pub fn micros(self, fields: &bot_model::document::Fields) -> Option<i64> {
        let text = fields.get(self.instant_field()).and_then(Value::as_str)?;
        DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.timestamp_micros())
    }
}

impl ListField {
    /// The stored name.
    pub fn name(self, kind: Listed, naming: &Naming) -> &str {
        match (self, kind) {
            (Self::Organization, _) => "creator_organization_id",
            (Self::Status, Listed::Meetings) => &naming.meeting_status_field,
            (Self::Status, _) => &naming.instance_status_field,
            (Self::Phase, _) => "phase",
            (Self::Platform, _) => "platform",
            (Self::Outcome, _) => "outcome_kind",
            (Self::Endpoint, _) => "endpoint_id",
            (Self::State, _) => "state",
        }
    }
}

impl Listing {
    /// Everything of a kind, newest first.
    pub fn newest(kind: Listed) -> Self {
        Self { kind, equal: BTreeMap::new(), from: None, before: None, is_newest_first: true }
    }

    /// Everything of a kind, oldest first.
    pub fn oldest(kind: Listed) -> Self {
        Self { is_newest_first: false, ..Self::newest(kind) }
    }

    /// The same, where `field` is one of `values`.
    pub fn with(mut self, field: ListField, values: Vec<String>) -> Self {
        self.equal.insert(field, values);
        self
    }

    /// The instant of a record that this list has, by filters and window; the collection is the adapter's to honour.
    pub fn place_of(&self, record: &Record, naming: &Naming) -> Option<i64> {
        let micros = (Listed::of(&record.key) == Some(self.kind)).then(|| self.kind.micros(&record.fields)).flatten()?;
        let holds = |(field, values): (&ListField, &Vec<String>)| {
            let value = record.fields.get(field.name(self.kind, naming)).and_then(Value::as_str);
            value.is_some_and(|value| values.iter().any(|wanted| wanted == value))
        };
        let is_within = self.from.is_none_or(|from| micros >= from.timestamp_micros())
            && self.before.is_none_or(|before| micros < before.timestamp_micros());
        (is_within && self.equal.iter().all(holds)).then_some(micros)
    }
}

/// The cursor after a document: its instant and its path.
pub fn cursor_after(micros: i64, path: &str) -> String {
    format!("{micros} {path}")
}

/// What [`cursor_after`] made of.
pub fn of_cursor(cursor: &str) -> Option<(i64, &str)> {
    let (micros, path) = cursor.split_once(' ')?;
    let is_path = !path.is_empty() && path.split('/').all(|part| !part.is_empty()) && path.split('/').count().is_multiple_of(2);
    is_path.then_some((micros.parse().ok()?, path))
}
