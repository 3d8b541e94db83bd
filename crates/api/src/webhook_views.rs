//! Webhooks as they are shown: endpoints without their secrets, and what was delivered to them.

use bot_store::Version;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use webhooks::delivery::{self, Delivery, State as DeliveryState};
use webhooks::endpoint::{self, Endpoint};

use crate::input::etag;

/// An endpoint, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    /// Its id.
    pub(crate) id: String,
    /// Changes with every change; for `If-Match`.
    pub(crate) etag: String,
    /// Where is posted.
    url: String,
    /// For people.
    description: String,
    /// Whose events it gets; absent with `all_organizations`.
    organization: Option<String>,
    /// It gets everybody's events, and the installation's own.
    all_organizations: bool,
    /// The types that it wants; empty is all of them.
    event_types: Vec<String>,
    /// It gets events.
    is_enabled: bool,
    /// Why it was switched off, where nobody asked for it: `410 Gone`, or days of failure.
    disabled_reason: Option<String>,
    /// Since when it is off.
    disabled_at: Option<DateTime<Utc>>,
    /// Since when every try failed.
    failing_since: Option<DateTime<Utc>>,
    /// The secrets that sign, the newest first.
    secrets: Vec<SecretView>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Name of the key that made it.
    created_by: String,
}

/// A secret, without itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookSecret)]
pub(crate) struct SecretView {
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it stops signing; absent for the present one.
    expires_at: Option<DateTime<Utc>>,
}

/// One event for one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(crate) struct DeliveryView {
    /// Its id.
    id: String,
    /// The `webhook-id`: the same at every try and every replay.
    event_id: String,
    /// Such as `bot.done`.
    event_type: String,
    /// `pending`, `delivered` or `failed`.
    state: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it was over.
    ended_at: Option<DateTime<Utc>>,
    /// When it is tried next.
    next_attempt_at: Option<DateTime<Utc>>,
    /// Why it was given up.
    reason: Option<String>,
    /// Tries so far.
    attempt_count: u32,
    /// The latest tries, oldest first.
    attempts: Vec<AttemptView>,
    /// What is posted.
    body: String,
}

/// One try.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
pub(crate) struct AttemptView {
    /// When it began.
    tried_at: DateTime<Utc>,
    /// `accepted`, `gone`, `refused`, `timed_out`, `unreachable`, `untrusted_tls`, `forbidden_address` or `unsigned`.
    result: String,
    /// The receiver's status, where it answered.
    status: Option<u16>,
    /// How long it took.
    millis: u64,
    /// The answer's first characters, or what went wrong.
    answer: String,
}

impl WebhookView {
    pub(crate) fn of(endpoint: Endpoint, version: &Version) -> Self {
        let secret = |signing: &endpoint::Signing| SecretView { created_at: signing.created_at, expires_at: signing.expires_at };
        Self {
            etag: etag(version),
            secrets: endpoint.secrets.iter().map(secret).collect(),
            id: endpoint.id,
            url: endpoint.url,
            description: endpoint.description,
            organization: (!endpoint.all_organizations).then_some(endpoint.organization),
            all_organizations: endpoint.all_organizations,
            event_types: endpoint.event_types,
            is_enabled: endpoint.is_enabled,
            disabled_reason: endpoint.disabled_reason,
            disabled_at: endpoint.disabled_at,
            failing_since: endpoint.failing_since_at,
            created_at: endpoint.created_at,
            created_by: endpoint.created_by,
        }
    }
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let attempt = |attempt: delivery::Attempt| AttemptView {
            tried_at: attempt.tried_at,
            result: attempt.result,
            status: attempt.status,
            millis: attempt.millis,
            answer: attempt.answer,
        };
        let state = match delivery.state {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Failed => "failed",
        };
        Self {
            id: delivery.id(),
            event_id: delivery.event_id,
            event_type: delivery.event_type,
            state: state.into(),
            created_at: delivery.created_at,
            ended_at: delivery.ended_at,
            next_attempt_at: delivery.next_attempt_at,
            reason: delivery.reason,
            attempt_count: delivery.attempt_count,
            attempts: delivery.attempts.into_iter().map(attempt).collect(),
            body: delivery.body,
        }
    }
}
