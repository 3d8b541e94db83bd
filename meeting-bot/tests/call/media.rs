//! Reads a recording back by its content: flashes, beeps, tones.

use std::path::Path;
use std::process::Command;

const RATE: usize = 8_000;

/// `init.mp4` and all segments of a part, byte by byte.
pub(crate) fn joined(part: &Path) -> std::path::PathBuf {
    let mut bytes = std::fs::read(part.join("init.mp4")).unwrap();
    let mut seq = 0;
    while let Ok(segment) = std::fs::read(part.join(bot_model::segment::segment_file(seq))) {
        bytes.extend(segment);
        seq += 1;
    }
    let path = part.join("joined.mp4");
    std::fs::write(&path, bytes).unwrap();
    path
}

pub(crate) struct Pictures {
    /// Seconds and mean brightness of the upper right corner, a frame each.
    pub(crate) brightness: Vec<(f64, f64)>,
}

pub(crate) fn pictures(file: &Path) -> Pictures {
    let filter = format!("movie={},crop=480:480:iw-480:0,signalstats", file.display());
    let output = run(
        "ffprobe",
        &["-f", "lavfi", "-i", &filter, "-show_entries", "frame=pts_time:frame_tags=lavfi.signalstats.YAVG", "-of", "csv=p=0"],
    );
    let text = String::from_utf8(output).unwrap();
    let brightness = text.lines().filter_map(|line| {
        let mut fields = line.split(',');
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Pictures { brightness: brightness.collect() }
}

impl Pictures {
    pub(crate) fn flashes(&self) -> Vec<f64> {
        let pairs = self.brightness.windows(2);
        pairs.filter(|pair| pair[0].1 <= 120.0 && pair[1].1 > 120.0).map(|pair| pair[1].0).collect()
    }
}

/// Mono samples from the recording's time 0.
pub(crate) fn sound(file: &Path) -> Vec<f32> {
    let path = file.to_str().unwrap();
    let bytes = run(
        "ffmpeg",
        &[
            "-copyts",
            "-i",
            path,
            "-map",
            "0:a",
            "-af",
            "aresample=async=1:first_pts=0",
            "-ac",
            "1",
            "-ar",
            "8000",
            "-f",
            "s16le",
            "-",
        ],
    );
    bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect()
}

/// Where a beep begins after at least 100 ms without one, in seconds.
pub(crate) fn beeps(sound: &[f32]) -> Vec<f64> {
    let mut last_loud: Option<usize> = None;
    let mut found = Vec::new();
    for (index, _) in sound.iter().enumerate().filter(|(_, sample)| sample.abs() > 0.05) {
        if last_loud.is_none_or(|last| index - last > RATE / 10) {
            found.push(index as f64 / RATE as f64);
        }
        last_loud = Some(index);
    }
    found
}

/// The power at `hertz` (Goertzel), relative to the whole power; 1 for a pure tone.
pub(crate) fn share_of(sound: &[f32], hertz: f64) -> f64 {
    let block = RATE / 20;
    let (mut at, mut whole) = (0.0, 1e-12);
    for chunk in sound.chunks_exact(block) {
        let factor = 2.0 * (2.0 * std::f64::consts::PI * hertz / RATE as f64).cos();
        let (mut one, mut two) = (0.0, 0.0);
        for sample in chunk {
            (one, two) = (f64::from(*sample) + factor * one - two, one);
        }
        at += 2.0 * (one * one + two * two - factor * one * two) / block as f64;
        whole += chunk.iter().map(|sample| f64::from(sample * sample)).sum::<f64>();
    }
    at / whole
}

/// Median of (beep − nearest flash) in milliseconds: positive when the sound is late.
pub(crate) fn audio_lag_ms(flashes: &[f64], beeps: &[f64]) -> f64 {
    let nearest = |flash: &f64| beeps.iter().map(|beep| beep - flash).min_by(|a, b| a.abs().total_cmp(&b.abs()));
    let mut lags: Vec<f64> = flashes.iter().filter_map(nearest).collect();
    lags.sort_by(f64::total_cmp);
    lags[lags.len() / 2] * 1_000.0
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(["-v", "error"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
