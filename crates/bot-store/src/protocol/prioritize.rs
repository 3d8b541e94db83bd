//! A change of priority, while nothing was launched yet: afterwards there is nothing that it could decide.

use bot_model::lifecycle::Phase;
use chrono::{DateTime, Utc};

use super::{Advanced, InstanceRecord, Note, commit_change};
use crate::{Store, StoreError};

/// Answer to [`prioritize`].
#[allow(clippy::large_enum_variant, reason = "an answer that is taken apart at once, never stored")]
#[derive(Debug, Clone, PartialEq)]
pub enum Prioritized {
    /// Committed; the instance as it is now.
    Applied(InstanceRecord),
    /// Somebody changed the document in between: read again.
    Conflict,
    /// It is past the queue.
    TooLate(Phase),
}

/// Sets the priority of a queued instance.
pub async fn prioritize(
    store: &dyn Store,
    record: &InstanceRecord,
    priority: i64,
    note: Note,
    now: DateTime<Utc>,
) -> Result<Prioritized, StoreError> {
    if record.instance.phase != Phase::Queued {
        return Ok(Prioritized::TooLate(record.instance.phase));
    }
    let mut instance = record.instance.clone();
    instance.facts.priority = priority;
    Ok(match commit_change(store, record, instance, note, now, Vec::new()).await? {
        Advanced::Applied(after) => Prioritized::Applied(after),
        Advanced::Conflict | Advanced::Illegal(_) => Prioritized::Conflict,
    })
}
