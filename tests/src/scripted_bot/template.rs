//! The recording that scripted bots lay down, made once by a real ffmpeg: small, but decodable to the last frame.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use bot_model::segment::{INIT_FILE, segment_file};

use super::SEGMENT;

/// Pixels.
pub const SIZE: (u32, u32) = (160, 90);
/// Of the picture.
pub const FRAMES_PER_SECOND: u32 = 10;
/// Segments of a part.
pub const SEGMENTS: u32 = 30;
/// Frames of a segment.
pub const FRAMES: u64 = FRAMES_PER_SECOND as u64 * SEGMENT.as_secs();

/// Records the template into `folder`: about a second of CPU.
pub fn record(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let ((width, height), secs) = (SIZE, SEGMENT.as_secs());
    let gop = FRAMES.to_string();
    let mut command = Command::new(std::env::var_os("FFMPEG_PATH").unwrap_or_else(|| "ffmpeg".into()));
    command.current_dir(folder).args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i"]);
    command.arg(format!("testsrc=size={width}x{height}:rate={FRAMES_PER_SECOND}"));
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", &(u64::from(SEGMENTS) * secs).to_string()]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", &gop, "-keyint_min", &gop]);
    command.args(["-sc_threshold", "0", "-c:a", "aac", "-b:a", "32k", "-ac", "2", "-f", "hls", "-hls_time", &secs.to_string()]);
    command.args(["-hls_segment_type", "fmp4", "-hls_list_size", "0", "-hls_flags", "independent_segments+temp_file"]);
    command.args(["-hls_fmp4_init_filename", INIT_FILE, "-hls_segment_filename", "seg-%06d.m4s", "index.m3u8"]);
    let ended = command.status().context("ffmpeg is missing: install the package ffmpeg")?;
    let is_whole = folder.join(segment_file(SEGMENTS - 1)).is_file() && !folder.join(segment_file(SEGMENTS)).exists();
    anyhow::ensure!(ended.success() && is_whole, "ffmpeg made another number of segments than {SEGMENTS}");
    Ok(())
}
