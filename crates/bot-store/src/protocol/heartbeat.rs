//! A controller's sign of life, so that the claims of a dead one are taken over before their TTL.

use bot_model::document::Fields;
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{Commit, DocumentKey, Store, StoreError, Write};

/// A claim counts as stale this long after its owner's heartbeat last changed.
pub const OWNER_SILENT_SECS: u64 = 60;

/// Writes this controller's heartbeat. Best effort: a conflict with another process of the same name is ignored.
pub async fn beat(store: &dyn Store, controller_id: &str, beats: u64, now: DateTime<Utc>) -> Result<(), StoreError> {
    let key = DocumentKey::Controller(controller_id.to_owned());
    let mut fields = Fields::new();
    fields.insert("beats".into(), json!(beats));
    fields.insert("beat_at".into(), json!(now));
    let updated = store.commit(vec![Write::merge_existing(key.clone(), fields.clone())]).await?;
    if updated == Commit::Conflict {
        store.commit(vec![Write::create(key, fields)]).await?;
    }
    Ok(())
}

/// What changes with every beat of a controller; `None` where it never beat.
pub async fn last_beat(store: &dyn Store, controller_id: &str) -> Result<Option<crate::Version>, StoreError> {
    Ok(store.read(&DocumentKey::Controller(controller_id.to_owned())).await?.map(|record| record.version))
}
