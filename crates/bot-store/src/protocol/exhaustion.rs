//! Whether bots wait for want of capacity, as one state of the whole deployment: each change is told once, whichever replica sees it.

use bot_model::capacity::ledger::Refusal;
use bot_model::document::Fields;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::outbox::{self, Event};
use crate::{Commit, DocumentKey, Store, StoreError, Write};

/// The state as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exhaustion {
    /// What holds bots back; `None` where none waits.
    pub reason: Option<Refusal>,
    /// Since when it is so.
    pub since: Option<DateTime<Utc>>,
}

fn key() -> DocumentKey {
    DocumentKey::Capacity("state".into())
}

/// The state; free where nobody ever said otherwise.
pub async fn read(store: &dyn Store) -> Result<Exhaustion, StoreError> {
    Ok(store.read(&key()).await?.map(|record| decode(&record.fields)).unwrap_or_default())
}

fn decode(fields: &Fields) -> Exhaustion {
    let reason = fields.get("reason").and_then(|reason| serde_json::from_value(reason.clone()).ok());
    let since = fields.get("changed_at").and_then(Value::as_str).and_then(|at| at.parse().ok());
    Exhaustion { reason, since }
}

/// Says that bots wait for this reason, or that none waits any more. Changing from free to exhausted puts one `capacity.exhausted`
/// into the outbox, in the same commit. Answers true where this call made the change.
pub async fn tell(store: &dyn Store, reason: Option<Refusal>, waiting: usize, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let found = store.read(&key()).await?;
    let before = found.as_ref().map(|record| decode(&record.fields)).unwrap_or_default();
    if before.reason.is_some() == reason.is_some() {
        return Ok(false);
    }
    let mut fields = Fields::new();
    fields.insert("reason".into(), json!(reason));
    fields.insert("changed_at".into(), json!(now));
    let write = match found {
        Some(record) => Write::update(record.key, record.version, fields),
        None => Write::create(key(), fields),
    };
    let data = json!({"reason": reason.map(Refusal::as_str), "waiting": waiting});
    let told = reason.map(|_| outbox::write(Event::new(outbox::CAPACITY_EXHAUSTED, "", now, data)));
    // Where a replica was faster, it told.
    Ok(matches!(store.commit(std::iter::once(write).chain(told).collect()).await?, Commit::Applied(_)))
}
