//! The audit log: who asked for which change. Written before, or in the same commit as, what it tells of, and never changed.

use bot_model::document::Fields;
use bot_store::{DocumentKey, Store, StoreError, Write, clock};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::access::Principal;

/// One change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Such as `meeting.create`.
    pub(crate) action: &'static str,
    /// The document's id.
    pub(crate) target: &'a str,
    /// Whose it is.
    pub(crate) organization: &'a str,
    /// In which request.
    pub(crate) request_id: &'a str,
}

/// The write of an entry. Its id sorts by time and is unique.
pub(crate) fn write(actor: &Principal, entry: &Entry<'_>, now: DateTime<Utc>) -> Write {
    let id = format!("{}-{}", now.to_rfc3339_opts(SecondsFormat::Millis, true), clock::ordered_id().simple());
    let value = json!({
        "occurred_at": now, "actor": actor.id, "actor_name": actor.name, "action": entry.action, "target": entry.target,
        "creator_organization_id": entry.organization, "request_id": entry.request_id,
    });
    let fields = match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    };
    Write::create(DocumentKey::Audit(id), fields)
}

/// Writes an entry by itself, before what it tells of: what cannot be logged is not done.
pub(crate) async fn note(store: &dyn Store, actor: &Principal, entry: &Entry<'_>) -> Result<(), StoreError> {
    store.commit(vec![write(actor, entry, clock::now())]).await.map(|_| ())
}
