//! One owner a path: recurring meetings reuse a `gcs_path`, and two recordings must never share one.

use bot_model::document::{BotInstance, Fields};
use bot_model::ids::PathKey;
use bot_model::object_prefix::ObjectPrefix;
use serde_json::json;

use crate::{Commit, DocumentKey, Store, StoreError, Write};

/// Reserves the wanted prefix for this instance, or the one below it where another owns that already. Asking again
/// gives the same answer.
pub async fn reserve(store: &dyn Store, instance: &BotInstance, wanted: &ObjectPrefix) -> Result<ObjectPrefix, StoreError> {
    if owns(store, instance, wanted).await? {
        return Ok(wanted.clone());
    }
    let below = wanted.below(&instance.id);
    owns(store, instance, &below).await.map(|_| below)
}

async fn owns(store: &dyn Store, instance: &BotInstance, prefix: &ObjectPrefix) -> Result<bool, StoreError> {
    let key = DocumentKey::PathOwner(PathKey::derive(prefix));
    let mut fields = Fields::new();
    fields.insert("gcs_path".into(), json!(prefix));
    fields.insert("bot_instance_id".into(), json!(instance.id));
    if let Ok(Commit::Applied(_)) = store.commit(vec![Write::create(key.clone(), fields)]).await {
        return Ok(true);
    }
    // Taken, or the answer was lost: the document tells.
    let owner = store.read(&key).await?;
    Ok(owner.is_some_and(|record| record.fields.get("bot_instance_id") == Some(&json!(instance.id))))
}
