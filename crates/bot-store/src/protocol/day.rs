//! What organizations have begun today, counted over their bots' documents: what the ledger is told when it begins to count a day, so
//! that a limit that is set at noon holds for the morning, too.
//!
//! Asked for once a day and organization, and only where a limit a day holds: from then on the ledger counts by itself.

use std::collections::{BTreeMap, BTreeSet};

use bot_model::capacity::ledger::Ledger;
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::document::BotInstance;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;

use super::capacity::every;
use crate::listing::{ListField, Listed, Listing};
use crate::{Store, StoreError};

/// A bot that was made before midnight and sent after it was made at most this long before.
const WAITED: TimeDelta = TimeDelta::hours(2);
/// Organizations that are counted at the same time.
const AT_ONCE: usize = 16;

/// What was counted for a ledger that then could not be written: right for a newer one that does not count the day either.
pub(super) type Counted = BTreeMap<String, u32>;

/// Has the ledger count the present day of each of these organizations that has a limit a day. True where that changed the ledger.
pub(super) async fn count(
    store: &dyn Store,
    (ledger, counted): (&mut Ledger, &mut Counted),
    organizations: BTreeSet<&str>,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let limited = organizations.into_iter().map(|name| (name, limits.of(name)));
    let missing: Vec<(&str, OrganizationLimits)> =
        limited.filter(|(name, own)| own.max_bots_per_day.is_some() && !ledger.counts_day(name, own, now)).collect();
    let unknown: Vec<_> = missing.iter().filter(|(name, _)| !counted.contains_key(*name)).collect();
    for some in unknown.chunks(AT_ONCE) {
        let counts = try_join_all(some.iter().map(|(name, own)| begun(store, name, own, now))).await?;
        counted.extend(some.iter().zip(counts).map(|((name, _), begun)| ((*name).to_owned(), begun)));
    }
    for (name, own) in &missing {
        ledger.count_day(name, own, counted.get(*name).copied().unwrap_or_default(), now);
    }
    Ok(!missing.is_empty())
}

async fn begun(store: &dyn Store, organization: &str, own: &OrganizationLimits, now: DateTime<Utc>) -> Result<u32, StoreError> {
    let began = own.time_zone.day_began(now);
    let listing = Listing { from: Some(began - WAITED), ..Listing::newest(Listed::Instances) };
    let found = every(store, &listing.with(ListField::Organization, vec![organization.to_owned()])).await?;
    let count = found.iter().filter(|instance| is_begun_since(instance, began)).count();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// True for a bot that was sent for the first time at `began` or later, as far as its document tells.
fn is_begun_since(instance: &BotInstance, began: DateTime<Utc>) -> bool {
    let facts = &instance.facts;
    let was_sent = facts.attempt > 0 || instance.is_recorded();
    let is_since = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at >= began);
    was_sent && (is_since(facts.created_at) || (facts.attempt <= 1 && is_since(facts.claim.claimed_at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bot_model::ids::InstanceId;
    use bot_model::meeting_url::MeetingUrl;

    #[test]
    fn a_bot_counts_for_the_day_in_which_it_was_sent_first() {
        let began: DateTime<Utc> = "2026-11-21T08:00:00Z".parse().unwrap();
        let (before, after) = (Some(began - TimeDelta::minutes(5)), Some(began + TimeDelta::minutes(5)));
        let url = MeetingUrl::parse("https://zoom.us/j/123456789").unwrap();
        for (created_at, attempt, claimed_at, counts) in [
            (after, 0, None, false),
            (after, 1, after, true),
            (after, 3, after, true),
            (before, 0, None, false),
            (before, 1, before, false),
            (before, 1, after, true),
            // When it was sent first is no longer known: it is taken to have been sent when it was made.
            (before, 2, after, false),
        ] {
            let mut instance = BotInstance::queued(InstanceId::parse("b").unwrap(), url.clone());
            (instance.facts.created_at, instance.facts.attempt, instance.facts.claim.claimed_at) =
                (created_at, attempt, claimed_at);
            assert_eq!(is_begun_since(&instance, began), counts, "{created_at:?} {attempt} {claimed_at:?}");
        }
    }
}
