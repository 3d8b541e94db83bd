//! When a delivery is tried again: exponential with full jitter, over a day, and once more at its very end.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Upper bounds of the delays after the first, second, … failure; the last one counts on.
pub const DELAYS: [Duration; 10] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1_800),
    Duration::from_secs(3_600),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(4 * 3_600),
    Duration::from_secs(8 * 3_600),
    Duration::from_secs(8 * 3_600),
];
/// A delivery is tried for this long.
pub const TRIED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// A receiver's `Retry-After` is heeded up to here.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// No two tries are closer than a quarter of the delay's bound, at most this.
const LEAST: Duration = Duration::from_secs(1);

/// When tries are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// As [`DELAYS`].
    pub delays: Vec<Duration>,
    /// As [`TRIED_FOR`].
    pub tried_for: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { delays: DELAYS.to_vec(), tried_for: TRIED_FOR }
    }
}

impl Schedule {
    /// The next try after the `failures`th failure of a round that began at `began_at`, or `None` where it is given up. `chance` is from
    /// 0 to 1. Whatever the dice say, the last try comes when the time is over, so that who is back within a day gets everything.
    pub fn next(
        &self,
        failures: u32,
        began_at: DateTime<Utc>,
        now: DateTime<Utc>,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<DateTime<Utc>> {
        let end = began_at + delta(self.tried_for);
        if now >= end {
            return None;
        }
        let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(self.delays.len().saturating_sub(1));
        let bound = self.delays.get(index).copied().unwrap_or(LEAST);
        let drawn = bound.mul_f64(chance.clamp(0.0, 1.0)).max(LEAST.min(bound / 4));
        let wanted = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        Some((now + delta(drawn.max(wanted))).min(end))
    }
}

/// A duration for arithmetic on instants.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn the_first_try_again_is_within_seconds_and_the_delays_grow() {
        let schedule = Schedule::default();
        let after = |failures| schedule.next(failures, at(0), at(0), None, 1.0).unwrap() - at(0);
        assert_eq!(after(1).num_seconds(), 5);
        assert_eq!(after(3).num_seconds(), 120);
        assert_eq!(after(200), after(10));
        assert_eq!(schedule.next(1, at(0), at(0), None, 0.0), Some(at(1)), "never at once");
    }

    #[test]
    fn a_receiver_s_wish_is_heeded_within_bounds() {
        let schedule = Schedule::default();
        let wish = |seconds| schedule.next(1, at(0), at(0), Some(Duration::from_secs(seconds)), 0.5).unwrap() - at(0);
        assert_eq!(wish(90).num_seconds(), 90);
        assert_eq!(wish(0).num_milliseconds(), 2_500, "it does not shorten the delay");
        assert_eq!(wish(u64::MAX).num_seconds(), 3_600);
    }

    proptest! {
        #[test]
        fn every_round_ends_and_its_last_try_is_at_its_end(draws in proptest::collection::vec(0.0_f64..=1.0, 60), wish in 0_u64..100_000) {
            let schedule = Schedule::default();
            let (mut now, mut tries) = (at(0), vec![at(0)]);
            let wish = Some(Duration::from_secs(wish)).filter(|_| draws[0] > 0.5);
            // Longer than any round can be.
            for failures in 1..100_000_u32 {
                match schedule.next(failures, at(0), now, wish, draws[failures as usize % draws.len()]) {
                    Some(next) => {
                        prop_assert!(next > now && next <= at(86_400));
                        now = next;
                        tries.push(next);
                    }
                    None => break,
                }
            }
            prop_assert_eq!(*tries.last().unwrap(), at(86_400));
            prop_assert!(tries.windows(2).all(|pair| (pair[1] - pair[0]).num_seconds() <= 8 * 3_600 + 1));
        }
    }
}
