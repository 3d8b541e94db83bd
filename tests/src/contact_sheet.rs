//! A picture of frames, for eyes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Writes a sheet of `columns × rows` frames, evenly spread over `duration_secs` of the video.
pub fn write(video: &Path, sheet: &Path, duration_secs: f64, (columns, rows): (u32, u32)) -> Result<()> {
    let every = (duration_secs / f64::from(columns * rows)).max(0.1);
    let filter = format!("fps=1/{every:.3}:start_time=0,scale=480:-2,tile={columns}x{rows}:padding=4:color=white");
    let status = Command::new(std::env::var_os("FFMPEG_PATH").unwrap_or_else(|| "ffmpeg".into()))
        .args(["-nostdin", "-loglevel", "error", "-y", "-i"])
        .arg(video)
        .args(["-vf", &filter, "-frames:v", "1"])
        .arg(sheet)
        .status()
        .context("start ffmpeg")?;
    ensure!(status.success() && sheet.is_file(), "ffmpeg could not draw the contact sheet");
    Ok(())
}
