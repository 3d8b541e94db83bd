//! What the API answers, as far as pages show it. Whatever is absent is empty: an API that says less shows less.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

type At = Option<DateTime<Utc>>;

/// Who the session's key is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Me {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) organizations: Vec<String>,
    pub(crate) all_organizations: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) kind: String,
    pub(crate) attribution: String,
    pub(crate) class: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Place {
    pub(crate) place: Option<u64>,
    pub(crate) tier: String,
    pub(crate) waits_for: Option<String>,
    pub(crate) estimated_start_at: At,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) started_at: At,
    pub(crate) ended_at: At,
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) crc32c: String,
    pub(crate) duration_secs: Option<f64>,
    pub(crate) codecs: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bot {
    pub(crate) id: String,
    pub(crate) etag: String,
    pub(crate) phase: String,
    pub(crate) platform: String,
    pub(crate) meeting_url: String,
    pub(crate) meeting_ids: Vec<String>,
    pub(crate) organization: String,
    pub(crate) user: String,
    pub(crate) bot_name: Option<String>,
    pub(crate) priority: i64,
    pub(crate) start_time: At,
    pub(crate) end_time: At,
    pub(crate) created_at: At,
    pub(crate) ended_at: At,
    pub(crate) cancel_requested_at: At,
    pub(crate) attempt: u32,
    pub(crate) recording: Option<Progress>,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) queue: Option<Place>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bots {
    pub(crate) bots: Vec<Bot>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Meeting {
    pub(crate) id: String,
    pub(crate) etag: String,
    pub(crate) meeting_url: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) organization: String,
    pub(crate) user: String,
    pub(crate) title: Option<String>,
    #[serde(deserialize_with = "readable")]
    pub(crate) start_time: At,
    #[serde(deserialize_with = "readable")]
    pub(crate) end_time: At,
    pub(crate) bot_name: Option<String>,
    pub(crate) priority: i64,
    pub(crate) status: Option<String>,
    pub(crate) bot_status: Option<String>,
    pub(crate) bot_id: Option<String>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) problem: Option<String>,
    #[serde(deserialize_with = "readable")]
    pub(crate) updated_at: At,
    pub(crate) updated_by: Option<String>,
}

/// A backend may have written anything as a time; what cannot be read is not shown.
fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<At, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Meetings {
    pub(crate) meetings: Vec<Meeting>,
    pub(crate) next_cursor: Option<String>,
}

/// What became of a request for a bot.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Scheduled {
    pub(crate) result: String,
    pub(crate) meeting: Option<Meeting>,
    pub(crate) bot: Option<Bot>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TimelineEvent {
    pub(crate) occurred_at: At,
    pub(crate) phase: String,
    pub(crate) event: String,
    pub(crate) actor: String,
    pub(crate) attempt: u32,
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Timeline {
    pub(crate) events: Vec<TimelineEvent>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Statistics {
    pub(crate) bots_by_phase: std::collections::BTreeMap<String, u64>,
    pub(crate) outcomes: std::collections::BTreeMap<String, u64>,
    pub(crate) slots: Slots,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Slots {
    pub(crate) total: u64,
    pub(crate) used: Option<u64>,
}

/// `timeline.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct People {
    pub(crate) participants: Vec<Participant>,
    pub(crate) speaking: Vec<Speaking>,
    pub(crate) chat: Vec<Chat>,
    pub(crate) duration_secs: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Participant {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) present: Vec<Span>,
    pub(crate) present_secs: f64,
    pub(crate) speaking_secs: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Span {
    pub(crate) from_secs: f64,
    pub(crate) to_secs: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Speaking {
    pub(crate) participant: u32,
    pub(crate) from_secs: f64,
    pub(crate) to_secs: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Chat {
    pub(crate) secs: f64,
    pub(crate) author: String,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) organizations: Vec<String>,
    pub(crate) all_organizations: bool,
    pub(crate) created_by: String,
    pub(crate) created_at: At,
    pub(crate) expires_at: At,
    pub(crate) last_used_at: At,
    pub(crate) revoked_at: At,
}

/// A new key.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MadeKey {
    pub(crate) key: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<Key>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    #[serde(deserialize_with = "readable")]
    pub(crate) occurred_at: At,
    pub(crate) actor: Option<String>,
    pub(crate) actor_name: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) organization: Option<String>,
    pub(crate) request_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Audit {
    pub(crate) entries: Vec<Entry>,
    pub(crate) next_cursor: Option<String>,
}

/// The next hours.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Forecast {
    pub(crate) buckets: Vec<Quarter>,
    pub(crate) places: u64,
    pub(crate) most: u64,
    pub(crate) shortfall: u64,
    #[serde(deserialize_with = "readable")]
    pub(crate) first_shortfall_at: At,
    pub(crate) is_partial: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Quarter {
    #[serde(deserialize_with = "readable")]
    pub(crate) starts_at: At,
    pub(crate) bots: u64,
}

/// Places for bots.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Capacity {
    pub(crate) places: u64,
    pub(crate) held: Option<u64>,
    pub(crate) is_exhausted: bool,
    pub(crate) reason: Option<String>,
    pub(crate) changed_at: At,
    pub(crate) limits: DeploymentLimits,
    pub(crate) organizations: Vec<Use>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeploymentLimits {
    /// Of an organization without limits of its own.
    pub(crate) organization: Limits,
}

/// What an organization may have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    pub(crate) organization: String,
    pub(crate) time_zone: String,
    pub(crate) max_active_bots: Option<u64>,
    pub(crate) max_bots_per_day: Option<u64>,
    pub(crate) is_own: bool,
    pub(crate) etag: String,
    pub(crate) updated_by: Option<String>,
    #[serde(deserialize_with = "readable")]
    pub(crate) updated_at: At,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Organizations {
    pub(crate) organizations: Vec<Limits>,
    pub(crate) next_cursor: Option<String>,
}

/// What an organization has of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Use {
    pub(crate) organization: String,
    pub(crate) limits: Limits,
    pub(crate) active: u64,
    pub(crate) waiting: u64,
    pub(crate) begun_today: u64,
    pub(crate) next_day_at: At,
}

/// Who waits, in order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Queue {
    pub(crate) entries: Vec<QueueEntry>,
    pub(crate) length: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QueueEntry {
    pub(crate) bot_id: String,
    pub(crate) priority: i64,
    pub(crate) place: u64,
    pub(crate) tier: String,
    pub(crate) waits_for: Option<String>,
    pub(crate) estimated_start_at: At,
    pub(crate) waiting_since: At,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) etag: String,
    pub(crate) url: String,
    pub(crate) event_types: Vec<String>,
    pub(crate) organization: Option<String>,
    pub(crate) all_organizations: bool,
    pub(crate) description: String,
    pub(crate) created_at: At,
    pub(crate) is_enabled: bool,
    pub(crate) disabled_reason: Option<String>,
    pub(crate) failing_since: At,
}

/// A webhook with its new secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WithSecret {
    pub(crate) webhook: Webhook,
    pub(crate) secret: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Webhooks {
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) event_types: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) created_at: At,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) next_attempt_at: At,
    pub(crate) ended_at: At,
    pub(crate) attempt_count: u32,
    pub(crate) attempts: Vec<Attempt>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Attempt {
    pub(crate) tried_at: At,
    pub(crate) result: String,
    pub(crate) status: Option<u16>,
    pub(crate) millis: u64,
    /// The first characters of the answer, or what went wrong.
    pub(crate) answer: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deliveries {
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) next_cursor: Option<String>,
}
