//! ffmpeg's command line for one part. Pure.
//!
//! Picture and sound are put on one clock: both inputs stamp what they grab with the wall clock, `-copyts` keeps
//! those stamps, and `-itsoffset` subtracts the part's start from both. Without it ffmpeg starts each input at zero by
//! itself, and the sound is early by however long the second input took to open (120–230 ms measured, growing with load).
//! Measured this way with a local page: -1 ms idle, +20 ms with six busy loops on two cores, over 16 flashes with beeps
//! each. A call's sound comes later than its picture by its way to the sink, which is measured and taken off ([`Way`]).
//!
//! The fast AAC coder takes 0.48 CPU s a minute where the default takes 0.83 (measured, speech-like sound, equal size).
//!
//! Traps found by measuring: x264's look-ahead holds the muxer's sound back, so `q` would cut the last 0.7 s of it
//! (`-rc-lookahead 0`, no B-frames); PulseAudio's default fragments come two seconds at a time (`-fragment_size`);
//! a second, slower output in the same ffmpeg starves the sound input by as much as that output lags (5 s seen).

use bot_model::session::CaptureSettings;
use chrono::{DateTime, Utc};
use ffmpeg_sidecar::command::FfmpegCommand;

use super::part::Way;
use crate::sink::SINK_NAME;

/// Frames a queue may hold; more let ffmpeg grow by gigabytes when it falls behind (measured).
const PICTURE_QUEUE: &str = "16";

/// For each packet of sound (some 40 ms) its time in the file and the loudness of the last few, on standard output. `async` keeps
/// the sound on its stamps, which come from the wall clock as the picture's do. The loudness is measured before: what is put on its
/// stamps is computed anew, and no two samples at full scale stay alike (a howl showed no clipping that way).
const SOUND: &str = "astats=metadata=1:reset=5:measure_perchannel=none:measure_overall=Peak_level+Flat_factor,\
    aresample=async=500:first_pts=0,ametadata=mode=print:file=-:direct=1";

/// The arguments for a part that starts at `started_at`, to be run in the part's folder.
pub fn arguments(settings: &CaptureSettings, way: &Way<'_>, started_at: DateTime<Utc>) -> Vec<String> {
    let mut command = FfmpegCommand::new_with_path("ffmpeg");
    let (picture_zero, sound_zero) = (minus(started_at), minus(started_at + way.sound_lag));
    let rate = settings.frames_per_second.to_string();
    let group = (settings.frames_per_second * settings.segment_secs).to_string();
    let size = format!("{}x{}", settings.width, settings.height);
    // What the meter reads: see `super::meter`.
    command.args(["-hide_banner", "-nostats", "-progress", "pipe:1", "-stats_period", "1", "-copyts"]);
    command.args(["-itsoffset", &picture_zero, "-thread_queue_size", PICTURE_QUEUE, "-f", "x11grab", "-draw_mouse", "0"]);
    command.args(["-framerate", &rate, "-video_size", &size]).input(way.display);
    command.args(["-itsoffset", &sound_zero, "-thread_queue_size", "1024", "-f", "pulse", "-fragment_size", "7680"]);
    command.args(["-sample_rate", "48000", "-channels", "2"]).input(format!("{SINK_NAME}.monitor"));
    command.args(["-map", "0:v", "-map", "1:a", "-vsync", "cfr", "-r", &rate]);
    command.args(["-c:v", "libx264", "-preset", &settings.preset, "-crf", &settings.crf.to_string(), "-threads", "1"]);
    command.args(["-pix_fmt", "yuv420p", "-bf", "0", "-rc-lookahead", "0"]);
    command.args(["-g", &group, "-keyint_min", &group, "-sc_threshold", "0"]);
    command.args(["-af", SOUND]);
    command.args(["-c:a", "aac", "-aac_coder", "fast", "-b:a", "96k"]);
    command.args(["-f", "hls", "-hls_time", &settings.segment_secs.to_string(), "-hls_segment_type", "fmp4"]);
    // Nobody reads the list. A whole one takes 11 KiB of memory a segment (measured), 100 MiB in ten hours, and is written anew each time.
    command.args(["-hls_list_size", "2"]);
    command.args(["-hls_flags", "independent_segments+temp_file", "-hls_fmp4_init_filename", "init.mp4"]);
    command.args(["-hls_segment_filename", "seg-%06d.m4s"]).output("index.m3u8");
    command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// As an offset that takes `at` to zero.
fn minus(at: DateTime<Utc>) -> String {
    format!("-{}.{:06}", at.timestamp(), at.timestamp_subsec_micros())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_inputs_are_put_on_the_parts_own_clock() {
        let started_at = DateTime::from_timestamp_micros(1_795_237_825_000_042).unwrap();
        let way = Way { display: ":7", sound_lag: Duration::from_millis(30) };
        let arguments = arguments(&CaptureSettings::default(), &way, started_at);
        let zeros: Vec<_> = arguments.windows(2).filter(|pair| pair[0] == "-itsoffset").map(|pair| pair[1].as_str()).collect();
        assert_eq!(zeros, ["-1795237825.000042", "-1795237825.030042"]);
        assert!(arguments.contains(&"-copyts".to_owned()));
    }

    #[test]
    fn every_segment_starts_with_a_key_frame() {
        let settings = CaptureSettings { frames_per_second: 15, segment_secs: 4, ..CaptureSettings::default() };
        let arguments = arguments(&settings, &Way { display: ":7", sound_lag: Duration::ZERO }, DateTime::UNIX_EPOCH);
        assert!(arguments.windows(2).any(|pair| pair == ["-g", "60"]));
        assert!(arguments.windows(2).any(|pair| pair == ["-keyint_min", "60"]));
    }
}
