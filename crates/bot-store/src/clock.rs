//! The wall clock and chance, as one seam: what decides on the time of day or draws a number asks here, so that a simulation can
//! put both on rails. Without the feature `simulation` it is the machine's clock and randomness, and nothing else.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The time of day.
pub fn now() -> DateTime<Utc> {
    #[cfg(feature = "simulation")]
    if let Some(now) = simulated::now() {
        return now;
    }
    Utc::now()
}

/// 128 random bits, as an id.
pub fn random_id() -> Uuid {
    #[cfg(feature = "simulation")]
    if let Some(bits) = simulated::bits() {
        return Uuid::from_u128(bits);
    }
    Uuid::new_v4()
}

/// An id that sorts by when it was made.
pub fn ordered_id() -> Uuid {
    #[cfg(feature = "simulation")]
    if let Some(count) = simulated::count() {
        return Uuid::from_u128(count);
    }
    Uuid::now_v7()
}

/// A task that goes by the clock of whoever starts it.
#[cfg(not(feature = "simulation"))]
pub fn inherited<F: Future>(task: F) -> F {
    task
}

/// A task that goes by the clock of whoever starts it.
#[cfg(feature = "simulation")]
pub fn inherited<F: Future>(task: F) -> simulated::OnClock<F> {
    simulated::OnClock::inherited(task)
}

/// A number from 0 to 1.
pub fn chance() -> f64 {
    // The lower bits of an id carry its version; 32 upper ones are enough.
    f64::from((random_id().as_u128() >> 96) as u32) / f64::from(u32::MAX)
}

/// Time and chance of a simulation, for the thread that it runs on.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::cell::{Cell, RefCell};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::task::{Context, Poll};

    use chrono::{DateTime, TimeDelta, Utc};

    type Clock = Box<dyn Fn() -> DateTime<Utc>>;
    /// Milliseconds by which a machine's clock is ahead.
    pub type Skew = Arc<AtomicI64>;

    thread_local! {
        static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
        static STATE: Cell<u64> = const { Cell::new(0) };
        static COUNT: Cell<u128> = const { Cell::new(0) };
        static SKEW: RefCell<Option<Skew>> = const { RefCell::new(None) };
    }

    /// A task on a machine whose clock is wrong.
    pub struct OnClock<F> {
        skew: Option<Skew>,
        task: Pin<Box<F>>,
    }

    impl<F: Future> OnClock<F> {
        /// On a machine of its own.
        pub fn new(skew: Skew, task: F) -> Self {
            Self { skew: Some(skew), task: Box::pin(task) }
        }

        /// On the machine that the present task runs on.
        pub(super) fn inherited(task: F) -> Self {
            Self { skew: SKEW.with_borrow(Clone::clone), task: Box::pin(task) }
        }
    }

    impl<F: Future> Future for OnClock<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            let outer = SKEW.replace(self.skew.clone());
            let polled = self.task.as_mut().poll(context);
            SKEW.replace(outer);
            polled
        }
    }

    /// Takes this thread's time from `clock` and its chance from `seed`, until [`end`].
    pub fn begin(seed: u64, clock: impl Fn() -> DateTime<Utc> + 'static) {
        CLOCK.replace(Some(Box::new(clock)));
        STATE.set(seed);
        COUNT.set(0);
    }

    /// Back to the machine's own.
    pub fn end() {
        CLOCK.replace(None);
    }

    pub(super) fn now() -> Option<DateTime<Utc>> {
        let ahead = SKEW.with_borrow(|skew| skew.as_ref().map_or(0, |skew| skew.load(Ordering::Relaxed)));
        true_now().map(|now| now + TimeDelta::milliseconds(ahead))
    }

    /// The time of day, whatever the present task's machine believes; none outside of a simulation.
    pub fn true_now() -> Option<DateTime<Utc>> {
        CLOCK.with_borrow(|clock| clock.as_ref().map(|clock| clock()))
    }

    pub(super) fn bits() -> Option<u128> {
        CLOCK.with_borrow(Option::is_some).then(|| u128::from(next()) << 64 | u128::from(next()))
    }

    pub(super) fn count() -> Option<u128> {
        CLOCK.with_borrow(Option::is_some).then(|| {
            COUNT.set(COUNT.get() + 1);
            COUNT.get()
        })
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough to draw faults.
    pub fn next() -> u64 {
        STATE.set(STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut mixed = STATE.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
