//! When a place will be free, and who gets it: from how long calls lasted, and from the ends that meetings announce.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// With fewer measured calls than this, a call is taken to last [`UNKNOWN`].
const FEWEST: usize = 5;
/// What nothing was measured of.
const UNKNOWN: TimeDelta = TimeDelta::minutes(30);
/// A bot that lives is taken to stay for this at least.
const LEAST: TimeDelta = TimeDelta::seconds(30);
/// From a scheduled end to the free place: people hang up late, and files are made.
const AFTER_END: TimeDelta = TimeDelta::seconds(90);

/// How long bots held their places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    sorted: Vec<TimeDelta>,
}

impl History {
    /// Of measured times.
    pub fn new(held: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<TimeDelta> = held.into_iter().filter_map(|held| TimeDelta::from_std(held).ok()).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// How many were measured.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// What half of them stay below.
    pub fn typical(&self) -> TimeDelta {
        if self.sorted.len() < FEWEST { UNKNOWN } else { self.sorted[self.sorted.len() / 2] }
    }

    /// How much longer one lasts that has lasted so long already.
    pub fn rest_after(&self, lasted: TimeDelta) -> TimeDelta {
        let longer = &self.sorted[self.sorted.partition_point(|held| *held <= lasted)..];
        match longer.get(longer.len() / 2) {
            Some(total) if self.sorted.len() >= FEWEST => (*total - lasted).max(LEAST),
            // Longer than all that was measured: those that last long go on for long.
            _ if lasted > self.typical() => (lasted / 4).max(LEAST),
            _ => (self.typical() - lasted).max(LEAST),
        }
    }

    /// When a bot that has held its place since then will have left.
    pub fn expected_end(&self, since: DateTime<Utc>, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
        match end.map(|end| end + AFTER_END).filter(|end| *end > now) {
            Some(end) => end,
            None => now + self.rest_after(now - since),
        }
    }
}

/// A bot that holds a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Whose.
    pub organization: String,
    /// When it will have left.
    pub until: DateTime<Utc>,
}

/// A request that waits, in the order of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub organization: String,
    /// Its limit at once.
    pub at_once: Option<u32>,
    /// Not before: a day that has to begin first.
    pub not_before: DateTime<Utc>,
    /// How long it will hold its place.
    pub lasts: TimeDelta,
}

/// When each of those who wait gets a place. Without a limit it is at once; with a limit of 0 never.
pub fn starts(now: DateTime<Utc>, places: Option<u32>, holding: &[Holding], waiting: &[Waiting]) -> Vec<Option<DateTime<Utc>>> {
    let ends = |organization: Option<&str>| {
        let mine = holding.iter().filter(|held| organization.is_none_or(|of| held.organization == of));
        mine.map(|held| held.until).collect::<Vec<_>>()
    };
    let mut all = places.map(|places| Places::new(now, places, ends(None)));
    let mut own: BTreeMap<&str, Places> = BTreeMap::new();
    let mut answers = Vec::with_capacity(waiting.len());
    for request in waiting {
        let of = request.organization.as_str();
        let mine = request.at_once.map(|most| &*own.entry(of).or_insert_with(|| Places::new(now, most, ends(Some(of)))));
        let next = [all.as_ref(), mine].into_iter().flatten().map(Places::next).collect::<Option<Vec<_>>>();
        let start = next.map(|free| free.into_iter().chain([now, request.not_before]).max().unwrap_or(now));
        if let Some(start) = start {
            let until = start + request.lasts;
            all.iter_mut().for_each(|places| places.take(until));
            own.get_mut(of).filter(|_| request.at_once.is_some()).into_iter().for_each(|places| places.take(until));
        }
        answers.push(start);
    }
    answers
}

/// Places by when each is free.
struct Places(BinaryHeap<Reverse<DateTime<Utc>>>);

impl Places {
    fn new(now: DateTime<Utc>, places: u32, mut ends: Vec<DateTime<Utc>>) -> Self {
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        ends.sort_unstable();
        // Where more are held than there are, the first ones to end free nothing.
        let ends = ends.split_off(ends.len().saturating_sub(places));
        let free = places.saturating_sub(ends.len());
        // More free places than anybody waits for need not be listed one by one.
        Self(ends.into_iter().chain(std::iter::repeat_n(now, free.min(100_000))).map(Reverse).collect())
    }

    fn next(&self) -> Option<DateTime<Utc>> {
        self.0.peek().map(|Reverse(at)| *at)
    }

    fn take(&mut self, until: DateTime<Utc>) {
        if self.0.pop().is_some() {
            self.0.push(Reverse(until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + 60 * minute, 0).unwrap()
    }

    fn waits(organization: &str, at_once: Option<u32>, not_before: i64) -> Waiting {
        Waiting { organization: organization.into(), at_once, not_before: at(not_before), lasts: TimeDelta::minutes(30) }
    }

    #[test]
    fn history_tells_how_long_a_call_goes_on() {
        let history = History::new([10, 20, 30, 40, 50].map(|minutes| Duration::from_secs(60 * minutes)));
        assert_eq!(history.typical(), TimeDelta::minutes(30));
        assert_eq!(history.rest_after(TimeDelta::minutes(35)), TimeDelta::minutes(15), "those that last longer than 35 last 50");
        assert_eq!(history.rest_after(TimeDelta::minutes(80)), TimeDelta::minutes(20));
        assert_eq!(history.expected_end(at(0), Some(at(60)), at(10)), at(60) + AFTER_END);
        assert_eq!(history.expected_end(at(0), Some(at(5)), at(10)), at(40), "it overran its end: history tells");
        assert_eq!(History::default().expected_end(at(0), None, at(0)), at(30));
    }

    #[test]
    fn who_waits_gets_the_next_free_place_in_order() {
        let held = |organization: &str, until| Holding { organization: organization.into(), until: at(until) };
        let holding = [held("a", 10), held("b", 5)];
        let waiting = [waits("a", None, 0), waits("a", None, 0), waits("b", None, 0)];
        assert_eq!(starts(at(0), Some(3), &holding, &waiting), [Some(at(0)), Some(at(5)), Some(at(10))]);
        assert_eq!(starts(at(0), None, &holding, &waiting), [Some(at(0)); 3]);
        assert_eq!(
            starts(at(0), Some(1), &holding, &waiting[..1]),
            [Some(at(10))],
            "over the limit: the last one to end frees it"
        );
        assert_eq!(starts(at(0), Some(0), &[], &waiting[..1]), [None]);
    }

    #[test]
    fn an_organization_s_own_limits_are_waited_for_too() {
        let holding = [Holding { organization: "a".into(), until: at(10) }];
        let waiting = [waits("a", Some(1), 0), waits("b", Some(1), 0), waits("c", None, 90)];
        assert_eq!(starts(at(0), Some(9), &holding, &waiting), [Some(at(10)), Some(at(0)), Some(at(90))]);
    }
}
