//! After the end: what is noted of a recording whose raw segments were deleted. The instance's phase stays as it is.

use chrono::{DateTime, Utc};

use super::InstanceRecord;
use crate::{Commit, DocumentKey, Store, StoreError, Write};

/// Notes that the raw segments are gone. Best effort: on a conflict the next pass finds nothing to delete and notes it.
pub async fn raw_deleted(store: &dyn Store, record: &InstanceRecord, now: DateTime<Utc>) -> Result<Commit, StoreError> {
    let mut instance = record.instance.clone();
    instance.facts.raw_deleted_at = Some(now);
    let key = DocumentKey::Instance(instance.id.clone());
    store.commit(vec![Write::update(key, record.version.clone(), instance.encode(store.naming()))]).await
}
