//! ffmpeg and ffprobe: arguments as arrays, generated file names, local protocols only, a time limit on each run.

pub mod foreign;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

/// A remux is bound by the disk, not the CPU: an hour takes seconds. What takes longer than this hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Why a tool failed.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// It is not there, or cannot be run.
    #[error("cannot run {tool}: {source} (install the package ffmpeg, or set FFMPEG_PATH and FFPROBE_PATH)")]
    Missing {
        /// Which.
        tool: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It ran and refused.
    #[error("{tool} failed: {message}")]
    Failed {
        /// Which.
        tool: &'static str,
        /// The end of its words.
        message: String,
    },
}

/// How what cannot be copied is encoded (`ENCODE_PRESET`, `ENCODE_CRF`, `ENCODE_AUDIO_KBPS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// x264 preset.
    pub preset: &'static str,
    /// x264 constant rate factor.
    pub crf: u32,
    /// AAC.
    pub audio_kbps: u32,
}

impl Default for Encoding {
    /// A third less CPU than the existing managers' medium, at a quality 1.4 dB below it (reference media.md section 2).
    fn default() -> Self {
        Self { preset: "veryfast", crf: 23, audio_kbps: 96 }
    }
}

impl Encoding {
    /// The preset of this name.
    pub fn preset(name: &str) -> Option<&'static str> {
        let presets = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];
        presets.into_iter().find(|preset| *preset == name)
    }
}

/// What ffprobe says of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Seconds.
    pub duration_secs: f64,
    /// Seconds at which the first stream begins.
    pub start_secs: f64,
    /// Codec names, one a stream.
    pub codecs: Vec<String>,
    /// True with at least one audio stream.
    pub has_audio: bool,
}

#[derive(Deserialize)]
struct RawProbe {
    #[serde(default)]
    streams: Vec<RawStream>,
    format: RawFormat,
}

#[derive(Deserialize)]
struct RawStream {
    codec_name: Option<String>,
    codec_type: Option<String>,
}

#[derive(Deserialize)]
struct RawFormat {
    duration: Option<String>,
    start_time: Option<String>,
}

/// Probes a local file.
///
/// # Errors
/// When ffprobe is missing, or finds no media of a known length.
pub async fn probe(file: &Path) -> Result<Probe, MediaError> {
    let arguments = [
        "-v",
        "error",
        "-protocol_whitelist",
        "file",
        "-show_entries",
        "stream=codec_name,codec_type:format=duration,start_time",
        "-of",
        "json",
    ];
    let mut arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    arguments.push(file.into());
    let text = run("ffprobe", "FFPROBE_PATH", &arguments).await?;
    let unreadable = |message: &str| MediaError::Failed { tool: "ffprobe", message: message.to_owned() };
    let raw: RawProbe = serde_json::from_slice(&text).map_err(|_| unreadable("it answered no JSON"))?;
    let seconds = |text: Option<&String>| text.and_then(|text| text.parse::<f64>().ok());
    let duration_secs = seconds(raw.format.duration.as_ref()).ok_or_else(|| unreadable("the file has no duration"))?;
    Ok(Probe {
        duration_secs,
        start_secs: seconds(raw.format.start_time.as_ref()).unwrap_or_default(),
        has_audio: raw.streams.iter().any(|stream| stream.codec_type.as_deref() == Some("audio")),
        codecs: raw.streams.into_iter().filter_map(|stream| stream.codec_name).collect(),
    })
}

/// Makes one part's MP4 of its fragments by copy, its sound shifted by `-audio_lag_ms`.
///
/// # Errors
/// When ffmpeg is missing or refuses.
pub async fn remux_part(fragments: &Path, audio_lag_ms: i64, to: &Path) -> Result<(), MediaError> {
    let mut arguments = beginning();
    arguments.extend(input(fragments));
    if audio_lag_ms == 0 {
        arguments.extend(words(&["-map", "0:v?", "-map", "0:a?"]));
    } else {
        let shift = format!("{:.3}", -(audio_lag_ms as f64) / 1_000.0);
        arguments.extend(words(&["-itsoffset", &shift]));
        arguments.extend(input(fragments));
        arguments.extend(words(&["-map", "0:v?", "-map", "1:a?"]));
    }
    arguments.extend(words(&["-c", "copy", "-movflags", "+faststart", "-avoid_negative_ts", "make_zero", "-f", "mp4"]));
    arguments.push(to.into());
    run("ffmpeg", "FFMPEG_PATH", &arguments).await.map(|_| ())
}

/// Joins remuxed parts one after the other by copy. `list` is a file of ours that names them.
///
/// # Errors
/// When ffmpeg is missing or refuses.
pub async fn join_parts(list: &Path, to: &Path) -> Result<(), MediaError> {
    let mut arguments = beginning();
    arguments.extend(words(&["-f", "concat", "-safe", "0", "-protocol_whitelist", "file", "-i"]));
    arguments.push(list.into());
    arguments.extend(words(&["-map", "0", "-c", "copy", "-movflags", "+faststart", "-f", "mp4"]));
    arguments.push(to.into());
    run("ffmpeg", "FFMPEG_PATH", &arguments).await.map(|_| ())
}

/// The same picture with a silent sound track of the capture's own form, so that it can be joined to parts that have one.
///
/// # Errors
/// When ffmpeg is missing or refuses.
pub async fn add_silence(part: &Path, duration_secs: f64, to: &Path) -> Result<(), MediaError> {
    let mut arguments = beginning();
    arguments.extend(input(part));
    arguments.extend(words(&[
        "-f",
        "lavfi",
        "-i",
        "anullsrc=sample_rate=48000:channel_layout=stereo",
        "-map",
        "0:v",
        "-map",
        "1:a",
    ]));
    arguments.extend(words(&["-c:v", "copy", "-c:a", "aac", "-b:a", "96k", "-t", &format!("{duration_secs:.3}"), "-f", "mp4"]));
    arguments.push(to.into());
    run("ffmpeg", "FFMPEG_PATH", &arguments).await.map(|_| ())
}

/// The sound alone, by copy.
///
/// # Errors
/// When ffmpeg is missing or refuses.
pub async fn extract_audio(video: &Path, to: &Path) -> Result<(), MediaError> {
    let mut arguments = beginning();
    arguments.extend(input(video));
    arguments.extend(words(&["-map", "0:a:0", "-c", "copy", "-movflags", "+faststart", "-f", "ipod"]));
    arguments.push(to.into());
    run("ffmpeg", "FFMPEG_PATH", &arguments).await.map(|_| ())
}

fn beginning() -> Vec<OsString> {
    words(&["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
}

/// An input that can be nothing but a local MP4: no playlist, no other protocol.
fn input(file: &Path) -> Vec<OsString> {
    let mut arguments = words(&["-protocol_whitelist", "file", "-f", "mp4", "-i"]);
    arguments.push(file.into());
    arguments
}

fn words(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}

async fn run(tool: &'static str, variable: &str, arguments: &[OsString]) -> Result<Vec<u8>, MediaError> {
    run_within(TIME_LIMIT, tool, variable, arguments).await
}

async fn run_within(limit: Duration, tool: &'static str, variable: &str, arguments: &[OsString]) -> Result<Vec<u8>, MediaError> {
    let program = std::env::var_os(variable).filter(|path| !path.is_empty()).unwrap_or_else(|| OsStr::new(tool).to_owned());
    let mut command = Command::new(program);
    // Nothing of ours is any business of a program that reads what a call sent us.
    let kept = ["PATH", "LD_LIBRARY_PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.args(arguments).env_clear().envs(kept).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(limit, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(MediaError::Missing { tool, source }),
        Err(_) => return Err(MediaError::Failed { tool, message: format!("it did not end within {limit:?}") }),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let tail: Vec<&str> = words.lines().rev().take(5).collect();
    Err(MediaError::Failed { tool, message: tail.into_iter().rev().collect::<Vec<_>>().join(" | ") })
}
