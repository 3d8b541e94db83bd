//! Whether what is said is recorded: the platform's own speaking signal against the recording's sound. Pure.
//!
//! Neither alone says anything: a call may well be silent, and an indicator may well lag behind. Somebody who has been shown as
//! speaking for many seconds, without one sound since, is not being recorded.

use std::time::Duration;

/// Longer than this without sound is no gap between two words.
pub const PAUSE: Duration = Duration::from_millis(1_500);
/// So much sound shows that the way from the call to the recording works: a click does not.
const ENOUGH_SECS: f64 = 1.0;

/// What has been said and not been heard.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Speech {
    unheard_secs: f64,
    heard_secs: f64,
}

impl Speech {
    /// Takes in `secs` in which somebody was speaking or not, by the platform, while the recording had been silent for so long.
    pub fn see(&mut self, is_speaking: bool, silent_for: Duration, secs: f64) {
        if silent_for < PAUSE {
            self.heard_secs += secs;
            if self.heard_secs >= ENOUGH_SECS {
                self.unheard_secs = 0.0;
            }
        } else {
            self.heard_secs = 0.0;
            self.unheard_secs += if is_speaking { secs } else { 0.0 };
        }
    }

    /// So long has somebody spoken since a sound was last recorded.
    pub fn unheard_secs(&self) -> f64 {
        self.unheard_secs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unheard seconds after stretches of (seconds, somebody speaks, there is sound).
    fn unheard(stretches: &[(u32, bool, bool)]) -> f64 {
        let (mut speech, mut silent) = (Speech::default(), Duration::ZERO);
        for (secs, is_speaking, sounds) in stretches {
            for _ in 0..secs * 2 {
                silent = if *sounds { Duration::ZERO } else { silent + Duration::from_millis(500) };
                speech.see(*is_speaking, silent, 0.5);
            }
        }
        speech.unheard_secs()
    }

    #[test]
    fn speech_without_sound_adds_up_over_pauses_until_sound_is_recorded() {
        assert!(unheard(&[(10, true, false)]) >= 8.0);
        assert!(unheard(&[(5, true, false), (30, false, false), (5, true, false)]) >= 8.0, "pauses do not make it good");
        assert!(unheard(&[(20, true, false), (2, false, true)]) < f64::EPSILON);
    }

    #[test]
    fn a_silent_call_and_a_call_with_sound_are_no_missing_speech() {
        assert!(unheard(&[(600, false, false)]) < f64::EPSILON);
        assert!(unheard(&[(600, true, true)]) < f64::EPSILON);
        assert!(unheard(&[(30, true, true), (2, true, false), (30, true, true)]) < f64::EPSILON, "a lagging indicator");
    }

    #[test]
    fn a_click_is_no_proof_of_sound() {
        let mut speech = Speech::default();
        for tick in 0..40 {
            let silent = if tick == 20 { Duration::ZERO } else { Duration::from_secs(5) };
            speech.see(true, silent, 0.5);
        }
        assert!(speech.unheard_secs() > 15.0);
    }
}
