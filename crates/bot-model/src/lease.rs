//! Lease arithmetic without clocks: expiry means "unchanged for the TTL on my own monotonic clock", never a
//! comparison of two machines' clocks.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The run lease's clocks. A manager renews every `renew_every`; others suspect it after `ttl` without a change;
/// it starts nothing new and writes nothing final after `self_fence` without a successful renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimings {
    /// Between renewals.
    pub renew_every: Duration,
    /// Unchanged for this long: suspect, to be investigated. Never "dead".
    pub ttl: Duration,
    /// The holder's own limit; well below `ttl`.
    pub self_fence: Duration,
}

impl Default for LeaseTimings {
    fn default() -> Self {
        Self { renew_every: Duration::from_secs(20), ttl: Duration::from_secs(60), self_fence: Duration::from_secs(40) }
    }
}

impl LeaseTimings {
    /// Timings in the default's proportions for a given TTL.
    pub fn from_ttl(ttl: Duration) -> Self {
        Self { renew_every: ttl / 3, ttl, self_fence: ttl * 2 / 3 }
    }
}

/// Remembers when each thing was last seen to change, on the observer's monotonic clock.
///
/// `fingerprint` is whatever changes with a renewal (the document's version). `now` is any monotonic reading,
/// as the time since the observer's start.
#[derive(Debug, Default)]
pub struct Sightings<K, F> {
    seen: HashMap<K, (F, Duration)>,
}

impl<K: Eq + Hash + Clone, F: PartialEq> Sightings<K, F> {
    /// An observer that has seen nothing.
    pub fn new() -> Self {
        Self { seen: HashMap::new() }
    }

    /// Notes what was seen and answers for how long it has been unchanged; zero at the first sight, so that a restarted
    /// observer waits a whole TTL before it suspects anything.
    pub fn unchanged_for(&mut self, key: &K, fingerprint: F, now: Duration) -> Duration {
        match self.seen.get(key) {
            Some((known, since)) if *known == fingerprint => now.saturating_sub(*since),
            _ => {
                self.seen.insert(key.clone(), (fingerprint, now));
                Duration::ZERO
            }
        }
    }

    /// Forgets everything but `keep`.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.seen.retain(|key, _| keep(key));
    }
}

/// The holder's side of a run lease: what it may still do, by its own monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease {
    timings: LeaseTimings,
    renewed_at: Duration,
}

impl HeldLease {
    /// A lease just taken. `now` must be read *before* the write was sent, so that the holder never believes longer
    /// than the others do.
    pub fn taken(timings: LeaseTimings, now: Duration) -> Self {
        Self { timings, renewed_at: now }
    }

    /// A renewal whose write was sent at `sent_at` has succeeded.
    pub fn renewed(&mut self, sent_at: Duration) {
        self.renewed_at = self.renewed_at.max(sent_at);
    }

    /// True while new steps (join, a terminal write) may begin.
    pub fn is_fresh(&self, now: Duration) -> bool {
        self.unrenewed_for(now) < self.timings.self_fence
    }

    /// How long ago the last successful renewal was sent.
    pub fn unrenewed_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.renewed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_restarted_observer_waits_a_whole_ttl() {
        let mut sightings = Sightings::new();
        assert_eq!(sightings.unchanged_for(&"a", 7, SECOND * 1000), Duration::ZERO);
        assert_eq!(sightings.unchanged_for(&"a", 7, SECOND * 1059), SECOND * 59);
        assert_eq!(sightings.unchanged_for(&"a", 8, SECOND * 1060), Duration::ZERO);
    }

    #[test]
    fn the_holder_stops_before_the_others_suspect() {
        let timings = LeaseTimings::default();
        let held = HeldLease::taken(timings, SECOND * 5);
        assert!(held.is_fresh(SECOND * 44));
        assert!(!held.is_fresh(SECOND * 45));
        assert!(timings.self_fence < timings.ttl);
    }

    #[test]
    fn a_late_answer_of_an_early_renewal_does_not_shorten_the_lease() {
        let mut held = HeldLease::taken(LeaseTimings::default(), SECOND * 20);
        held.renewed(SECOND * 10);
        assert_eq!(held.unrenewed_for(SECOND * 25), SECOND * 5);
    }
}
