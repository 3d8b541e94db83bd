//! Reads what ffmpeg says of itself while it captures: frames, loudness, and how far sound and picture are. Pure.
//!
//! Two kinds of lines come on its standard output: the progress (`-progress`: `frame=`, `dup_frames=`, `drop_frames=`) and, for
//! each packet of sound as it goes into the file, its time there and its loudness (`astats`, `ametadata`). Times are since the
//! part's start, on the bot's own monotonic clock.

use std::time::Duration;

use super::drift::Drift;

/// Below this the sound counts as silence, in dBFS.
pub const SILENCE_DB: f64 = -60.0;
/// At full scale, in dBFS: the largest 16-bit sample is 0.0003 below.
const FULL_SCALE_DB: f64 = -0.02;

/// What is known of a running part by now.
#[derive(Debug, Clone, PartialEq)]
pub struct Meter {
    /// Written.
    pub frames: u64,
    /// Of these, repetitions.
    pub duplicated: u64,
    /// Left out.
    pub dropped: u64,
    /// When sound last went into the file, silence included.
    pub sound_at: Option<Duration>,
    /// When it was last louder than [`SILENCE_DB`].
    pub loud_at: Option<Duration>,
    /// When samples were last at full scale.
    pub clipped_at: Option<Duration>,
    /// Sound against picture.
    pub drift: Drift,
    frames_per_second: f64,
    sound_secs: f64,
    peak_db: f64,
}

impl Meter {
    /// For a part with so many frames a second.
    pub fn new(frames_per_second: u32) -> Self {
        Self {
            frames: 0,
            duplicated: 0,
            dropped: 0,
            sound_at: None,
            loud_at: None,
            clipped_at: None,
            drift: Drift::default(),
            frames_per_second: f64::from(frames_per_second.max(1)),
            sound_secs: 0.0,
            peak_db: f64::NEG_INFINITY,
        }
    }

    /// Takes in a line that came at `now`. Lines of other kinds are ignored.
    pub fn line(&mut self, line: &str, now: Duration) {
        if let Some((_, secs)) = line.split_once("pts_time:") {
            if let Ok(secs) = secs.trim().parse::<f64>() {
                self.sound_secs = secs;
                self.sound_at = Some(now);
                self.drift.sound(now.as_secs_f64() - secs, now);
            }
            return;
        }
        let Some((key, value)) = line.trim().split_once('=') else { return };
        match key {
            "frame" => self.frame(value, now),
            "dup_frames" => self.duplicated = value.parse().unwrap_or(self.duplicated),
            "drop_frames" => self.dropped = value.parse().unwrap_or(self.dropped),
            "lavfi.astats.Overall.Peak_level" => self.peak(value, now),
            // How many samples in a row are at the peak: one alone is no clipping.
            "lavfi.astats.Overall.Flat_factor" => {
                let flat = value.parse::<f64>().is_ok_and(|factor| factor > 0.0);
                if flat && self.peak_db >= FULL_SCALE_DB {
                    self.clipped_at = Some(now);
                }
            }
            _ => {}
        }
    }

    /// How long there has been no sound.
    pub fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.loud_at.unwrap_or_default())
    }

    /// Up to where the sound is in the file, by the part's clock.
    pub fn sound_reached(&self) -> Duration {
        Duration::try_from_secs_f64(self.sound_secs).unwrap_or_default()
    }

    /// How long ffmpeg has handed on neither sound nor silence.
    pub fn sound_age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.sound_at.unwrap_or_default())
    }

    fn frame(&mut self, value: &str, now: Duration) {
        let Ok(frames) = value.trim().parse::<u64>() else { return };
        if frames > self.frames {
            self.frames = frames;
            self.drift.picture(now.as_secs_f64() - frames as f64 / self.frames_per_second, now);
        }
    }

    fn peak(&mut self, value: &str, now: Duration) {
        self.peak_db = value.parse().unwrap_or(f64::NEG_INFINITY);
        if self.peak_db > SILENCE_DB {
            self.loud_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: f64) -> Duration {
        Duration::from_secs_f64(secs)
    }

    #[test]
    fn ffmpegs_own_lines_are_understood() {
        let mut meter = Meter::new(15);
        for line in ["frame=30", "fps=15.0", "dup_frames=2", "drop_frames=1", "speed=   1x", "progress=continue"] {
            meter.line(line, at(2.1));
        }
        assert_eq!((meter.frames, meter.duplicated, meter.dropped), (30, 2, 1));
        meter.line("frame:258  pts:383275  pts_time:7.9849", at(8.0));
        meter.line("lavfi.astats.Overall.Peak_level=-18.059174", at(8.0));
        meter.line("lavfi.astats.Overall.Flat_factor=0.000000", at(8.0));
        assert_eq!((meter.silent_for(at(9.5)), meter.sound_age(at(9.0))), (at(1.5), at(1.0)));
        assert_eq!(meter.sound_reached(), at(7.9849));
        assert_eq!(meter.clipped_at, None);
    }

    #[test]
    fn digital_silence_and_a_whisper_below_the_threshold_are_silence() {
        let mut meter = Meter::new(15);
        for (secs, level) in [(1.0, "-30.0"), (2.0, "-inf"), (3.0, "-75.2")] {
            meter.line(&format!("lavfi.astats.Overall.Peak_level={level}"), at(secs));
        }
        assert_eq!(meter.silent_for(at(4.0)), at(3.0));
    }

    #[test]
    fn samples_in_a_row_at_full_scale_are_clipped_and_a_single_one_is_not() {
        let mut meter = Meter::new(15);
        meter.line("lavfi.astats.Overall.Peak_level=0.000000", at(1.0));
        meter.line("lavfi.astats.Overall.Flat_factor=0.000000", at(1.0));
        assert_eq!(meter.clipped_at, None);
        meter.line("lavfi.astats.Overall.Flat_factor=12.5", at(2.0));
        assert_eq!(meter.clipped_at, Some(at(2.0)));
    }

    #[test]
    fn foreign_lines_change_nothing() {
        let mut meter = Meter::new(15);
        let fresh = meter.clone();
        for line in ["pts_time:NaN", "pts_time:inf", "pts_time:-1"] {
            meter.line(line, at(1.0));
            assert_eq!(meter.sound_reached(), Duration::ZERO, "{line}");
        }
        let mut meter = fresh.clone();
        for line in ["", "pts_time:", "frame=", "frame=abc", "=", "lavfi.astats.Overall.Peak_level", "out_time=N/A"] {
            meter.line(line, at(1.0));
        }
        assert_eq!(meter, fresh);
    }
}
