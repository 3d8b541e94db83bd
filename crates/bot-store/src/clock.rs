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

/// A number from 0 to 1.
pub fn chance() -> f64 {
    // The lower bits of an id carry its version; 32 upper ones are enough.
    f64::from((random_id().as_u128() >> 96) as u32) / f64::from(u32::MAX)
}

/// Time and chance of a simulation, for the thread that it runs on.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::cell::{Cell, RefCell};

    use chrono::{DateTime, Utc};

    type Clock = Box<dyn Fn() -> DateTime<Utc>>;

    thread_local! {
        static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
        static STATE: Cell<u64> = const { Cell::new(0) };
        static COUNT: Cell<u128> = const { Cell::new(0) };
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
