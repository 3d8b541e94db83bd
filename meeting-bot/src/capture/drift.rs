//! Whether a part's sound moves against its picture: pure.
//!
//! Each second of the recording reaches the muxer some time after it was: the picture by the encoder and the frame's own length,
//! the sound by its packets. These delays vary with the load, but their smallest values over a window do not; where the smallest
//! delay of the sound grows against that of the picture, the sample count lags behind the frame count on the wall clock, and the
//! recording's sound is early by as much; and the other way round.

use std::time::Duration;

/// Long enough for an undelayed frame and packet on a loaded machine.
const WINDOW: Duration = Duration::from_secs(20);
/// The first windows hold the start of both inputs.
const SETTLING: u32 = 1;

/// The measurement of one part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drift {
    began: Option<Duration>,
    least_sound: Option<f64>,
    least_picture: Option<f64>,
    windows: u32,
    base: Option<f64>,
    latest: Option<f64>,
}

impl Drift {
    /// Sound reached the file `delay` seconds after its time.
    pub fn sound(&mut self, delay: f64, now: Duration) {
        self.turn(now);
        self.least_sound = Some(self.least_sound.map_or(delay, |least| least.min(delay)));
    }

    /// A frame did.
    pub fn picture(&mut self, delay: f64, now: Duration) {
        self.turn(now);
        self.least_picture = Some(self.least_picture.map_or(delay, |least| least.min(delay)));
    }

    /// How far the sound has moved since the part began, in milliseconds: positive when there is more sound than time, so that it is
    /// played late. `None` before two windows have passed.
    pub fn millis(&self) -> Option<i64> {
        Some(((self.base? - self.latest?) * 1_000.0).round() as i64)
    }

    fn turn(&mut self, now: Duration) {
        let began = *self.began.get_or_insert(now);
        if now.saturating_sub(began) < WINDOW {
            return;
        }
        self.began = Some(now);
        if let (Some(sound), Some(picture)) = (self.least_sound.take(), self.least_picture.take()) {
            self.windows += 1;
            let apart = sound - picture;
            if self.windows == SETTLING + 1 {
                self.base = Some(apart);
            } else if self.windows > SETTLING + 1 {
                self.latest = Some(apart);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured after `secs` where sound is made at `rate` times its speed, with load that delays most of it.
    fn measured(secs: u32, rate: f64) -> Option<i64> {
        let mut drift = Drift::default();
        for tick in 0..secs * 20 {
            let now = f64::from(tick) / 20.0;
            let load = f64::from(tick * 7_919 % 97) / 150.0;
            drift.sound(now - (now - load) * rate, Duration::from_secs_f64(now));
            if tick % 10 == 0 {
                drift.picture(0.2 + load, Duration::from_secs_f64(now));
            }
        }
        drift.millis()
    }

    #[test]
    fn steady_sound_does_not_drift_however_the_load_varies() {
        assert_eq!(measured(50, 1.0), None, "too early to tell");
        assert!(measured(600, 1.0).unwrap().abs() <= 10);
    }

    #[test]
    fn a_clock_that_runs_fast_or_slow_is_seen() {
        // A thousandth of ten minutes is 600 ms; the first windows are not counted.
        let fast = measured(600, 1.001).unwrap();
        assert!((520..=600).contains(&fast), "{fast}");
        let slow = measured(600, 0.999).unwrap();
        assert!((-600..=-520).contains(&slow), "{slow}");
    }
}
