//! One owner a path: recurring meetings reuse a `gcs_path`, and two recordings must never share one.

use bot_model::document::{BotInstance, Fields};
use bot_model::ids::{InstanceId, PathKey};
use bot_model::object_prefix::ObjectPrefix;
use serde_json::json;

use super::InstanceRecord;
use crate::{Commit, DocumentKey, Store, StoreError, StoreErrorKind, Write};

/// Reserves the wanted prefix for this instance, or the one below it where another owns that already. Asking again
/// gives the same answer.
pub async fn reserve(store: &dyn Store, instance: &BotInstance, wanted: &ObjectPrefix) -> Result<ObjectPrefix, StoreError> {
    if owns(store, instance, wanted).await? {
        return Ok(wanted.clone());
    }
    own_below(store, instance, wanted).await
}

/// Reserves the wanted prefix for a pointer to this instance's files. A prefix whose owner ended without a recording (it handed its
/// meetings over) is taken over: nothing will ever be written there by it.
pub async fn reserve_pointer(
    store: &dyn Store,
    instance: &BotInstance,
    wanted: &ObjectPrefix,
) -> Result<ObjectPrefix, StoreError> {
    if owns(store, instance, wanted).await? || takes_over(store, instance, wanted).await? {
        return Ok(wanted.clone());
    }
    own_below(store, instance, wanted).await
}

/// The prefix below another's, which nobody else can want.
async fn own_below(store: &dyn Store, instance: &BotInstance, wanted: &ObjectPrefix) -> Result<ObjectPrefix, StoreError> {
    let below = wanted.below(&instance.id);
    if owns(store, instance, &below).await? {
        return Ok(below);
    }
    Err(StoreError { kind: StoreErrorKind::Refused, operation: "reserve", message: "both prefixes have other owners".into() })
}

async fn takes_over(store: &dyn Store, instance: &BotInstance, prefix: &ObjectPrefix) -> Result<bool, StoreError> {
    let Some(found) = store.read(&DocumentKey::PathOwner(PathKey::derive(prefix))).await? else { return Ok(false) };
    let owner = found.fields.get("bot_instance_id").and_then(serde_json::Value::as_str).and_then(InstanceId::parse);
    let Some(owner) = owner else { return Ok(false) };
    let recorded = |owner: &BotInstance| !owner.facts.artifacts.is_empty() || owner.is_recorded();
    match InstanceRecord::read(store, &owner).await? {
        Some(owner) if owner.instance.phase.is_terminal() && !recorded(&owner.instance) => {
            let write = Write::update(found.key, found.version, owned(instance, prefix));
            Ok(store.commit(vec![write]).await?.is_applied())
        }
        _ => Ok(false),
    }
}

fn owned(instance: &BotInstance, prefix: &ObjectPrefix) -> Fields {
    let mut fields = Fields::new();
    fields.insert("gcs_path".into(), json!(prefix));
    fields.insert("bot_instance_id".into(), json!(instance.id));
    fields
}

async fn owns(store: &dyn Store, instance: &BotInstance, prefix: &ObjectPrefix) -> Result<bool, StoreError> {
    let key = DocumentKey::PathOwner(PathKey::derive(prefix));
    let created = store.commit(vec![Write::create(key.clone(), owned(instance, prefix))]).await;
    if let Ok(Commit::Applied(_)) = created {
        return Ok(true);
    }
    // Taken, or the answer was lost: the document tells. Where there is none, nobody has it, and the write may still be on its way: to
    // call that taken would put each attempt's segments into a place of their own.
    match (store.read(&key).await?, created) {
        (Some(owner), _) => Ok(owner.fields.get("bot_instance_id") == Some(&json!(instance.id))),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => {
            let message = "its document came and went".to_owned();
            Err(StoreError { kind: StoreErrorKind::Unavailable, operation: "reserve", message })
        }
    }
}
