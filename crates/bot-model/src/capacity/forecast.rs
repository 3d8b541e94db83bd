//! Known meetings are known load: how many bots there will be in each quarter of an hour, against how many there may be.
//!
//! Quarters of an hour begin alike in every time zone, since every offset in use is a multiple of one; only their labels differ.

use chrono::{DateTime, TimeDelta, Utc};

/// Seconds of a bucket.
pub const BUCKET_SECS: i64 = 900;

/// From when to when a bot holds a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// When it is sent.
    pub from: DateTime<Utc>,
    /// When it will have left.
    pub to: DateTime<Utc>,
}

/// A quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Its begin.
    pub starts_at: DateTime<Utc>,
    /// The most bots at any one moment of it.
    pub bots: u32,
    /// By how many they exceed the places.
    pub shortfall: u32,
}

/// The begin of the bucket that an instant is in.
pub fn bucket_of(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant
        - TimeDelta::seconds(instant.timestamp().rem_euclid(BUCKET_SECS))
        - TimeDelta::nanoseconds(i64::from(instant.timestamp_subsec_nanos()))
}

/// The buckets of so many hours from the one that `now` is in. What ended before `now` is over.
pub fn forecast(now: DateTime<Utc>, hours: u32, loads: &[Load], places: Option<u32>) -> Vec<Bucket> {
    let first = bucket_of(now);
    let mut changes: Vec<(DateTime<Utc>, i64)> = loads
        .iter()
        .filter(|load| load.to > load.from && load.to > now)
        .flat_map(|load| [(load.from, 1), (load.to, -1)])
        .collect();
    // Who leaves in the moment in which another comes makes room for it.
    changes.sort_unstable();
    let (mut at, mut bots) = (0, 0_i64);
    let buckets = 0..i64::from(hours) * 3600 / BUCKET_SECS;
    let bucket = |index: i64| {
        let starts_at = first + TimeDelta::seconds(index * BUCKET_SECS);
        let ends_at = starts_at + TimeDelta::seconds(BUCKET_SECS);
        while changes.get(at).is_some_and(|(when, _)| *when <= starts_at) {
            bots += changes[at].1;
            at += 1;
        }
        let mut most = bots;
        while changes.get(at).is_some_and(|(when, _)| *when < ends_at) {
            bots += changes[at].1;
            most = most.max(bots);
            at += 1;
        }
        let bots = u32::try_from(most).unwrap_or_default();
        Bucket { starts_at, bots, shortfall: places.map_or(0, |places| bots.saturating_sub(places)) }
    };
    buckets.map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    #[test]
    fn buckets_hold_their_peak_and_its_shortfall() {
        let load = |from: i64, to: i64| Load { from: at(60 * from), to: at(60 * to) };
        // A quarter of an hour begins at `at(0)`.
        let loads = [load(0, 30), load(5, 10), load(10, 15), load(14, 16), load(-60, -1)];
        let found: Vec<_> = forecast(at(1), 1, &loads, Some(2)).iter().map(|bucket| (bucket.bots, bucket.shortfall)).collect();
        assert_eq!(found, [(3, 1), (2, 0), (0, 0), (0, 0)]);
    }

    proptest! {
        #[test]
        fn a_bucket_s_peak_is_the_peak_of_its_seconds(
            loads in prop::collection::vec((-100_i64..150, 1_i64..100), 0..30), second in 0_i64..900,
        ) {
            // In minutes, so that every minute can be looked at.
            let loads: Vec<Load> =
                loads.into_iter().map(|(from, minutes)| Load { from: at(60 * from), to: at(60 * (from + minutes)) }).collect();
            let now = at(second);
            let counted: Vec<&Load> = loads.iter().filter(|load| load.to > now).collect();
            let found = forecast(now, 2, &loads, None);
            prop_assert_eq!(found.len(), 8);
            for bucket in found {
                let minutes = (0..15).map(|minute| bucket.starts_at + TimeDelta::minutes(minute));
                let most = minutes.map(|at| counted.iter().filter(|load| load.from <= at && at < load.to).count()).max();
                prop_assert_eq!(bucket.bots as usize, most.unwrap_or_default());
            }
        }

        #[test]
        fn buckets_are_quarters_of_an_hour_in_every_zone(
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()), seconds in 1_767_225_600_i64..1_956_528_000,
        ) {
            use chrono::Timelike as _;
            let bucket = bucket_of(DateTime::from_timestamp(seconds, 5).unwrap());
            prop_assert_eq!(bucket.with_timezone(&zone).minute() % 15, 0);
        }
    }
}
