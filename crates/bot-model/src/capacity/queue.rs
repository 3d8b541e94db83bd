//! Who comes first. A request's place follows from one number that never changes while it waits, so that every replica and every
//! answer of the API has the same order: when it began to wait, less what its priority is worth in waiting.
//!
//! So nobody starves: whoever asks later than what the highest priority is worth stands behind everybody who waits already.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::document::BotInstance;

/// Priorities beyond count as this.
pub const MOST_PRIORITY: i64 = 1_000;
/// One tier's worth of priority.
const TIER: i64 = 100;

/// Names for ranges of priority, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Below 0.
    Low,
    /// 0 to 99.
    Normal,
    /// 100 to 499.
    High,
    /// 500 and above.
    Urgent,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Urgent];

    /// The tier of a priority.
    pub fn of(priority: i64) -> Self {
        match priority {
            i64::MIN..0 => Self::Low,
            0..100 => Self::Normal,
            100..500 => Self::High,
            500.. => Self::Urgent,
        }
    }

    /// As in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

/// The order of the queue: smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(i64);

impl Order {
    /// By when it began to wait and its priority; 100 of priority are worth `ageing` of waiting.
    pub fn new(since: DateTime<Utc>, priority: i64, ageing: Duration) -> Self {
        let worth = i64::try_from(ageing.as_millis()).unwrap_or(i64::MAX / (2 * MOST_PRIORITY));
        let priority = priority.clamp(-MOST_PRIORITY, MOST_PRIORITY);
        Self(since.timestamp_millis().saturating_sub(priority.saturating_mul(worth) / TIER))
    }

    /// Of an instance. One that was in its call already comes first: people wait for it to come back.
    pub fn of(instance: &BotInstance, lead: Duration, ageing: Duration, now: DateTime<Utc>) -> Self {
        if instance.is_recorded() || instance.facts.attempt > 1 {
            return Self(i64::MIN);
        }
        Self::new(waiting_since(instance, lead, now), instance.facts.priority, ageing)
    }
}

/// When an instance began to wait: when it was made, but not before its bot was to be sent. `now` where its document does not say.
pub fn waiting_since(instance: &BotInstance, lead: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
    let lead = TimeDelta::from_std(lead).unwrap_or_default();
    let due = instance.facts.start_time.and_then(|start| start.checked_sub_signed(lead));
    instance.facts.created_at.max(due.filter(|_| instance.facts.created_at.is_some())).unwrap_or(now)
}

/// True where a request has waited for longer than it allows, and its bot was not sent yet.
pub fn has_timed_out(instance: &BotInstance, lead: Duration, now: DateTime<Utc>) -> bool {
    let is_new = !instance.is_recorded() && instance.facts.attempt <= 1 && instance.facts.run.is_none();
    let limit = instance.facts.queue_timeout_secs.and_then(|secs| TimeDelta::try_seconds(i64::try_from(secs).ok()?));
    is_new && limit.is_some_and(|limit| now - waiting_since(instance, lead, now) > limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGEING: Duration = Duration::from_secs(300);

    fn order(second: i64, priority: i64) -> Order {
        Order::new(DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap(), priority, AGEING)
    }

    #[test]
    fn a_priority_is_worth_waiting() {
        assert!(order(0, 0) < order(1, 0), "first come, first served");
        assert!(order(10, 9) < order(0, 0), "the urgent overtakes");
        assert!(order(301, 100) > order(0, 0), "and stands behind who has waited longer than that is worth");
        assert!(order(0, i64::MIN) > order(0, -999) && order(0, i64::MAX) == order(0, 1_000));
    }

    proptest! {
        #[test]
        fn nobody_is_overtaken_by_who_comes_later_than_priorities_are_worth(
            since in 0_i64..100_000, later in 6_001_i64..1_000_000, one in any::<i64>(), other in any::<i64>(),
        ) {
            // From the lowest to the highest it is 20 tiers of 300 s.
            prop_assert!(order(since, one) < order(since + later, other));
        }

        #[test]
        fn tiers_follow_priorities(one in any::<i64>(), other in any::<i64>()) {
            prop_assert!(one > other || Tier::of(one) <= Tier::of(other));
        }
    }
}
