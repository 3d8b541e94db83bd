//! The one place for tries and their pauses: exponential with full jitter, under a total deadline.
//!
//! Never nested: what a call retries here, its callers do not retry again. Where a loop goes on for another reason (a spool, a
//! terminal commit), it takes its [`Pauses`] from here and calls what does not retry.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable as _};
use bot_store::clock;
use tokio::time::Instant;

/// The first pause is at most this long.
const FIRST: Duration = Duration::from_millis(400);

/// Pauses between tries: each a random share of a bound that doubles. They end where the next would pass the deadline.
#[derive(Debug)]
pub struct Pauses {
    bounds: <ExponentialBuilder as BackoffBuilder>::Backoff,
    until: Option<Instant>,
}

impl Pauses {
    /// Pauses of at most `longest` each, over `total`.
    pub fn over(total: Duration, longest: Duration) -> Self {
        Self { until: Some(Instant::now() + total), ..Self::endless(longest) }
    }

    /// Pauses without an end, for what must never be given up.
    pub fn endless(longest: Duration) -> Self {
        let bounds = ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(longest).without_max_times();
        Self { bounds: bounds.build(), until: None }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.bounds.next()?.mul_f64(clock::chance());
        let is_in_time = self.until.is_none_or(|until| Instant::now() + pause < until);
        is_in_time.then_some(pause)
    }
}

/// Calls until it succeeds, fails for good, or `total` has passed; the last call is cut off there.
///
/// # Errors
/// The last try's; where the deadline cut it off, what `late` makes.
pub async fn retried<T, E, F>(
    total: Duration,
    is_transient: impl Fn(&E) -> bool,
    late: impl FnOnce() -> E,
    call: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let tries = call.retry(Pauses::over(total, Duration::from_secs(8))).when(is_transient);
    tokio::time::timeout(total, tries).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_total_deadline_cuts_off_a_try_that_hangs() {
        let hangs = || std::future::pending::<Result<(), &str>>();
        assert_eq!(retried(Duration::from_millis(20), |_| true, || "late", hangs).await, Err("late"));
    }

    #[tokio::test]
    async fn pauses_end_with_the_total_deadline() {
        assert_eq!(Pauses::over(Duration::ZERO, Duration::from_secs(8)).next(), None);
        assert!(Pauses::over(Duration::from_secs(3600), Duration::from_secs(8)).take(50).count() == 50);
    }

    #[tokio::test]
    async fn what_fails_for_good_is_tried_once() {
        let tries = Cell::new(0);
        let call = || async {
            tries.set(tries.get() + 1);
            Err::<(), _>("no")
        };
        assert_eq!(retried(Duration::from_secs(60), |_| false, || "late", call).await, Err("no"));
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test]
    async fn pauses_are_spread_over_their_whole_bound() {
        let longest = Duration::from_secs(8);
        let late: Vec<Duration> = Pauses::endless(longest).skip(10).take(200).collect();
        assert!(late.iter().all(|pause| *pause <= longest));
        assert!(late.iter().any(|pause| *pause < longest / 4) && late.iter().any(|pause| *pause > longest * 3 / 4));
    }
}
