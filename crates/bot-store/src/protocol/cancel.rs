//! Cancelling: before anything runs the instance ends at once; a running bot is asked to leave and ends by itself.

use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::{Outcome, OutcomeKind};
use chrono::{DateTime, Utc};

use super::settle::settle;
use super::{Advanced, InstanceRecord, Note, commit_change};
use crate::{Store, StoreError};

/// Cancels; what was recorded already is finished all the same. `Applied` with a terminal phase means ended; with another, that the manager was asked; asking twice is one.
pub async fn cancel(store: &dyn Store, record: &InstanceRecord, note: Note, now: DateTime<Utc>) -> Result<Advanced, StoreError> {
    if record.instance.phase == Phase::Queued && !record.instance.may_be_recorded() {
        let outcome = Outcome::new(OutcomeKind::Cancelled);
        return settle(store, record, Step::Cancel, outcome, Vec::new(), note, now).await;
    }
    if record.instance.phase.is_terminal() || record.instance.facts.cancel_requested_at.is_some() {
        return Ok(Advanced::Applied(record.clone()));
    }
    let mut instance = record.instance.clone();
    instance.facts.cancel_requested_at = Some(now);
    commit_change(store, record, instance, note, now, Vec::new()).await
}
