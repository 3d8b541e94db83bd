//! Recordings of another make: WebM or MP4, in whatever codecs the recorder had. Copied where `video.mp4` and `audio.m4a` may hold the
//! codec (H.264, AAC), else encoded, picture and sound in one run; `audio.m4a` is then a copy of that sound, never a second encode.
//!
//! Such files state no length, begin at any time, and may be torn off at the end: their packets are asked, not their headers.

use std::path::Path;
use std::time::Duration;

use super::{Encoding, MediaError, TIME_LIMIT, beginning, run_within, words};

/// An encoder that is slower than this many times the recording's length hangs, or has a CPU that could never keep up.
const SLOWEST: f64 = 4.0;

/// What a file is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// WebM or Matroska.
    Matroska,
    /// MP4.
    Mp4,
}

impl Container {
    /// Told from the first bytes.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) { Self::Matroska } else { Self::Mp4 }
    }

    fn demuxer(self) -> &'static str {
        match self {
            Self::Matroska => "matroska",
            Self::Mp4 => "mp4",
        }
    }
}

/// What a file's packets say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    video: Option<String>,
    audio: Option<String>,
    video_span: Option<(f64, f64)>,
    audio_span: Option<(f64, f64)>,
}

impl Survey {
    /// Seconds at which the first packet is shown.
    pub fn start_secs(&self) -> f64 {
        self.span().map_or(0.0, |(from, _)| from)
    }

    /// Seconds from the first packet to the end of the last; `None` where there is not one.
    pub fn secs(&self) -> Option<f64> {
        self.span().map(|(from, to)| to - from)
    }

    /// Seconds of sound.
    pub fn sound_secs(&self) -> f64 {
        self.audio_span.map_or(0.0, |(from, to)| to - from)
    }

    fn span(&self) -> Option<(f64, f64)> {
        let spans = [self.video_span, self.audio_span].into_iter().flatten();
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    fn read(text: &str) -> Self {
        let mut survey = Self::default();
        for line in text.lines() {
            let mut fields = line.split(',');
            match (fields.next(), fields.next(), fields.next()) {
                (Some("packet"), Some(kind), Some(shown)) => {
                    let Ok(from) = shown.parse::<f64>() else { continue };
                    let to = from + fields.next().and_then(|length| length.parse::<f64>().ok()).unwrap_or_default();
                    let span = if kind == "video" { &mut survey.video_span } else { &mut survey.audio_span };
                    *span = Some(span.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
                }
                (Some("stream"), Some(codec), Some(kind)) => {
                    let known = if kind == "video" { &mut survey.video } else { &mut survey.audio };
                    known.get_or_insert_with(|| codec.to_owned());
                }
                _ => {}
            }
        }
        survey
    }
}

/// Reads every packet of a local file.
///
/// # Errors
/// When ffprobe is missing or can make nothing of it.
pub async fn survey(file: &Path, container: Container) -> Result<Survey, MediaError> {
    let mut arguments = words(&["-v", "quiet", "-protocol_whitelist", "file", "-f", container.demuxer()]);
    arguments.extend(words(&["-show_entries", "packet=codec_type,pts_time,duration_time:stream=codec_name,codec_type"]));
    arguments.extend(words(&["-of", "csv"]));
    arguments.push(file.into());
    let text = run_within(TIME_LIMIT, "ffprobe", "FFPROBE_PATH", &arguments).await?;
    Ok(Survey::read(&String::from_utf8_lossy(&text)))
}

/// Makes a part's MP4 of H.264 and AAC.
///
/// # Errors
/// When ffmpeg is missing or refuses.
pub async fn convert(
    file: &Path,
    container: Container,
    found: &Survey,
    encoding: &Encoding,
    to: &Path,
) -> Result<(), MediaError> {
    let mut arguments = beginning();
    // Torn files are read to their last whole frame; a frame that cannot be read costs itself alone.
    arguments.extend(words(&["-fflags", "+genpts", "-protocol_whitelist", "file", "-f", container.demuxer(), "-i"]));
    arguments.push(file.into());
    arguments.extend(words(&["-map", "0:v:0?", "-map", "0:a:0?"]));
    if found.video.as_deref() == Some("h264") {
        arguments.extend(words(&["-c:v", "copy"]));
    } else {
        // The recorder left out frames that did not change: they are not made up.
        arguments.extend(words(&["-c:v", "libx264", "-preset", encoding.preset, "-crf", &encoding.crf.to_string()]));
        arguments.extend(words(&["-pix_fmt", "yuv420p", "-vf", "scale=trunc(iw/2)*2:trunc(ih/2)*2", "-vsync", "vfr"]));
    }
    if found.audio.as_deref() == Some("aac") {
        arguments.extend(words(&["-c:a", "copy"]));
    } else {
        // Gaps become silence, so that sound stays with its picture; one form, so that parts can be joined.
        arguments.extend(words(&["-af", "aresample=async=1:first_pts=0", "-c:a", "aac", "-aac_coder", "fast"]));
        arguments.extend(words(&["-b:a", &format!("{}k", encoding.audio_kbps), "-ar", "48000", "-ac", "2"]));
    }
    arguments.extend(words(&["-avoid_negative_ts", "make_zero", "-movflags", "+faststart", "-f", "mp4"]));
    arguments.push(to.into());
    let limit = Duration::try_from_secs_f64(found.secs().unwrap_or_default() * SLOWEST).unwrap_or_default();
    run_within(limit.max(TIME_LIMIT), "ffmpeg", "FFMPEG_PATH", &arguments).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_spans_all_packets_and_passes_over_what_it_does_not_know() {
        let text = "packet,video,0.100000,N/A\npacket,audio,N/A,0.02\npacket,audio,2.000000,0.020000\npacket,video,1.5\n\
                    stream,vp8,video\nstream,opus,audio\nnonsense\n";
        let survey = Survey::read(text);
        assert_eq!((survey.video.as_deref(), survey.audio.as_deref()), (Some("vp8"), Some("opus")));
        assert!((survey.secs().unwrap() - 1.92).abs() < 1e-9 && (survey.start_secs() - 0.1).abs() < 1e-9);
        assert!((survey.sound_secs() - 0.02).abs() < 1e-9);
        assert_eq!(Survey::read("").secs(), None);
    }
}
