//! Judges a recording by its content: the time code in its frames, and the beeps in its sound.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::timecode::{self, CELLS, Reading, WRAPS_AFTER_MS};

/// Samples a second that the sound is decoded to.
const SAMPLE_RATE: usize = 16_000;
/// Length of the windows in which a tone's beginning is looked for: 5 ms.
const WINDOW: usize = SAMPLE_RATE / 200;
/// Length of the window in which it must then be heard: 50 ms, long enough to tell it from its neighbours.
const HEARD_FOR: usize = SAMPLE_RATE / 20;
/// Amplitude (of 32,767) that a beep has at least. Measured over 50 ms: a beep 16,000, another tone's leakage below 310.
const BEEP_AMPLITUDE: f64 = 2_000.0;
/// A second is silent below this root mean square (of 32,767): -60 dBFS.
const SILENCE: f64 = 32.8;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// Length of the video in seconds, by its frames.
    pub duration_secs: f64,
    /// Frames in the file.
    pub frames: usize,
    /// Frames whose time code could be read.
    pub decoded_frames: usize,
    /// Frames whose time code differs from the one before.
    pub unique_frames: usize,
    /// Longest step from one time code to the next, in milliseconds.
    pub longest_gap_ms: u32,
    /// Whole seconds without sound, from the first sound on: a call takes a moment to connect.
    pub silent_seconds: usize,
    /// Beeps heard.
    pub beeps: usize,
    /// Median of sound against picture in milliseconds, positive where the sound is late; `None` without pairs.
    pub av_offset_ms: Option<f64>,
}

/// Why a file could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// ffmpeg is missing or refuses the file.
    #[error("ffmpeg cannot read {file}: {message}")]
    Unreadable {
        /// The file.
        file: String,
        /// ffmpeg's words.
        message: String,
    },
}

/// Judges a recording of the replica's page at 1280x720 whose clock beeps at 1 kHz.
///
/// # Errors
/// When ffmpeg (`FFMPEG_PATH`, else from the path) cannot decode the file.
pub fn judge(file: &Path) -> Result<Judgement, JudgeError> {
    judge_tone(file, 1_000.0)
}

/// The same for a clock that beeps at `tone_hz`.
///
/// # Errors
/// As [`judge`].
pub fn judge_tone(file: &Path, tone_hz: f64) -> Result<Judgement, JudgeError> {
    let rate = 60.0;
    // A fixed fine rate turns frame numbers into times whatever the file's own rate is.
    let filter = format!("fps={rate}:round=near,{}", timecode::FFMPEG_FILTER);
    let picture = decode(file, &["-map", "0:v:0", "-vf", &filter, "-f", "rawvideo", "-pix_fmt", "gray"])?;
    let count = decode(
        file,
        &["-map", "0:v:0", "-vf", "scale=1:1:flags=neighbor,format=gray", "-f", "rawvideo", "-fps_mode", "passthrough"],
    )?;
    let sound = decode(
        file,
        &["-map", "0:a:0", "-ac", "1", "-ar", &SAMPLE_RATE.to_string(), "-af", "aresample=async=1:first_pts=0", "-f", "s16le"],
    )?;
    let readings = readings(&picture);
    let samples: Vec<i16> = sound.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let beeps = onsets(&samples, tone_hz);
    Ok(Judgement {
        duration_secs: readings.len() as f64 / rate,
        frames: count.len(),
        decoded_frames: if readings.is_empty() { 0 } else { readings.iter().flatten().count() * count.len() / readings.len() },
        unique_frames: if readings.iter().any(Option::is_some) { steps(&readings).count() + 1 } else { 0 },
        longest_gap_ms: steps(&readings).max().unwrap_or_default(),
        silent_seconds: silent_seconds(&samples),
        av_offset_ms: offset(&readings, rate, &beeps),
        beeps: beeps.len(),
    })
}

/// The time codes of a recording's frames in their order, as [`Reading::ms`]; frames that show none are left out. Good to 10 ms
/// and to what the picture took to be drawn, sent and grabbed.
///
/// # Errors
/// As [`judge`].
pub fn time_codes(file: &Path) -> Result<Vec<u32>, JudgeError> {
    let picture = decode(
        file,
        &["-map", "0:v:0", "-vf", timecode::FFMPEG_FILTER, "-f", "rawvideo", "-pix_fmt", "gray", "-fps_mode", "passthrough"],
    )?;
    Ok(readings(&picture).into_iter().flatten().map(|reading| reading.ms).collect())
}

fn decode(file: &Path, arguments: &[&str]) -> Result<Vec<u8>, JudgeError> {
    let unreadable = |message: String| JudgeError::Unreadable { file: file.display().to_string(), message };
    let output = Command::new(std::env::var_os("FFMPEG_PATH").unwrap_or_else(|| "ffmpeg".into()))
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(file)
        .args(arguments)
        .arg("pipe:1")
        .output()
        .map_err(|error| unreadable(error.to_string()))?;
    if !output.status.success() {
        return Err(unreadable(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(output.stdout)
}

fn readings(picture: &[u8]) -> Vec<Option<Reading>> {
    picture.as_chunks::<CELLS>().0.iter().map(timecode::read).collect()
}

/// The steps, in milliseconds, from each time code to the next different one.
fn steps(readings: &[Option<Reading>]) -> impl Iterator<Item = u32> {
    let codes: Vec<u32> = readings.iter().flatten().map(|reading| reading.ms).collect();
    let steps: Vec<u32> =
        codes.windows(2).map(|pair| (pair[1] + WRAPS_AFTER_MS - pair[0]) % WRAPS_AFTER_MS).filter(|step| *step > 0).collect();
    steps.into_iter()
}

/// Seconds at which the tone begins: loud after at least 300 ms without.
fn onsets(samples: &[i16], tone_hz: f64) -> Vec<f64> {
    let power: Vec<f64> = samples.chunks_exact(WINDOW).map(|window| tone(window, tone_hz)).collect();
    let loudest = power.iter().copied().fold(0.0, f64::max);
    // Well above other voices and below the beep's own edge.
    let threshold = (loudest * 0.25).max(BEEP_AMPLITUDE / 4.0);
    let is_heard =
        |from: usize| samples.get(from..from + HEARD_FOR).is_some_and(|window| tone(window, tone_hz) >= BEEP_AMPLITUDE);
    let mut onsets = Vec::new();
    let mut quiet = 60;
    for (index, power) in power.iter().enumerate() {
        if *power < threshold {
            quiet += 1;
        } else {
            if quiet >= 60 && is_heard(index * WINDOW) {
                onsets.push((index * WINDOW) as f64 / SAMPLE_RATE as f64);
            }
            quiet = 0;
        }
    }
    onsets
}

/// Amplitude of one frequency in a window (Goertzel).
fn tone(window: &[i16], hz: f64) -> f64 {
    let coefficient = 2.0 * (2.0 * std::f64::consts::PI * hz / SAMPLE_RATE as f64).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in window {
        (last, before) = (f64::from(*sample) + coefficient * last - before, last);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / window.len() as f64
}

fn silent_seconds(samples: &[i16]) -> usize {
    let loudness = |second: &[i16]| {
        let sum: f64 = second.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (sum / second.len() as f64).sqrt()
    };
    samples
        .chunks_exact(SAMPLE_RATE)
        .skip_while(|second| loudness(second) < SILENCE)
        .filter(|second| loudness(second) < SILENCE)
        .count()
}

/// Frames this near to a beep, in seconds, tell how late the picture was when it sounded.
const NEARBY: f64 = 1.0;

/// Median over the beeps of "how late the sound is" minus "how late the picture is". A beep begins at a whole second of the clock,
/// so it tells how late the sound is; each new time code tells when it was drawn, so it tells how late the picture is. (The
/// flashes would do for the eye, but a flash waits for the next frame: at 15 frames a second by up to 67 ms, the same in all of
/// a recording.)
fn offset(readings: &[Option<Reading>], rate: f64, beeps: &[f64]) -> Option<f64> {
    let mut lags: Vec<(f64, f64)> = Vec::new();
    let mut last = None;
    for (index, reading) in readings.iter().enumerate() {
        if let Some(reading) = reading.filter(|reading| last != Some(reading.ms)) {
            last = Some(reading.ms);
            lags.push((index as f64 / rate, index as f64 / rate - f64::from(reading.ms) / 1_000.0));
        }
    }
    let offsets = beeps.iter().filter_map(|beep| {
        let nearby = lags.iter().filter(|(at, _)| (at - beep).abs() <= NEARBY).map(|(_, lag)| *lag);
        // Whole seconds between the two cancel out: beeps come each second.
        let late = beep - median(nearby.collect())?;
        Some((late - late.round()) * 1_000.0)
    });
    median(offsets.collect())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second_of(tone_hz: f64, from: usize, to: usize) -> Vec<i16> {
        let wave = |at: usize| (12_000.0 * (2.0 * std::f64::consts::PI * tone_hz * at as f64 / SAMPLE_RATE as f64).sin()) as i16;
        (0..SAMPLE_RATE).map(|at| if (from..to).contains(&at) { wave(at) } else { 0 }).collect()
    }

    #[test]
    fn beeps_are_found_by_their_frequency_and_silence_by_its_absence() {
        let mut samples = second_of(1_000.0, 1_600, 3_200);
        samples.extend(second_of(440.0, 0, SAMPLE_RATE));
        samples.extend(second_of(1_000.0, 8_000, 9_600));
        samples.extend(vec![0; SAMPLE_RATE]);
        assert!(onsets(&samples, 1_300.0).is_empty(), "a tone that was never played");
        let onsets = onsets(&samples, 1_000.0);
        assert_eq!(onsets.len(), 2, "{onsets:?}");
        assert!((onsets[0] - 0.1).abs() < 0.006 && (onsets[1] - 2.5).abs() < 0.006, "{onsets:?}");
        assert_eq!(silent_seconds(&samples), 1);
    }

    /// Five seconds at 15 frames a second whose picture is `late_ms` behind the clock.
    fn picture(late_ms: u32) -> Vec<Option<Reading>> {
        let at = |tick: u32| tick / 4 * 4 * 1_000 / 60 + 10_000 - late_ms;
        (0..300).map(|tick| Some(Reading { ms: at(tick) / 10 * 10, flash: false })).collect()
    }

    #[test]
    fn the_offset_is_how_much_later_the_sound_is_than_the_picture() {
        for (picture_ms, sound_ms) in [(0, 40), (200, 40), (130, 330), (90, 90)] {
            let beeps: Vec<f64> = (1..5).map(|second| f64::from(second) + f64::from(sound_ms) / 1_000.0).collect();
            let offset = offset(&picture(picture_ms), 60.0, &beeps).unwrap();
            let wanted = f64::from(sound_ms) - f64::from(picture_ms);
            assert!((offset - wanted).abs() <= 10.0, "{offset} for {wanted}");
        }
        assert_eq!(offset(&picture(0), 60.0, &[]), None);
    }
}
