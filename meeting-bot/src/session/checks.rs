//! What a start request must fulfil before anything is started. Texts repeat nothing of the input.

use bot_model::session::{CaptureSettings, StartSession};

/// Longest display name, in characters.
const NAME_CHARACTERS: usize = 64;
/// x264's presets; anything else would be passed to ffmpeg as it stands.
const PRESETS: &[&str] = &["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"];

/// Every problem of a start request.
pub fn problems(request: &StartSession, practice_origin: Option<&str>) -> Vec<&'static str> {
    let capture = &request.capture;
    let name_fits = (1..=NAME_CHARACTERS).contains(&request.display_name.trim().chars().count())
        && !request.display_name.chars().any(char::is_control);
    let checks = [
        ((1..=128).contains(&request.session_id.len()), "session_id must have 1 to 128 characters"),
        (name_fits, "display_name must be 1 to 64 printable characters"),
        (request.greeting.as_ref().is_none_or(|text| text.chars().count() <= 500), "greeting must be at most 500 characters"),
        (request.output_dir.is_absolute() && request.output_dir.is_dir(), "output_dir must be an existing folder, absolute"),
        (
            request.meeting.join_url(practice_origin).is_some(),
            "the call is in a practice room, but PRACTICE_ROOM_ORIGIN is not set",
        ),
        (
            CaptureSettings::WIDTHS.contains(&capture.width) && capture.width.is_multiple_of(2),
            "capture.width must be even, 320 to 3840",
        ),
        (
            CaptureSettings::HEIGHTS.contains(&capture.height) && capture.height.is_multiple_of(2),
            "capture.height must be even, 240 to 2160",
        ),
        (CaptureSettings::RATES.contains(&capture.frames_per_second), "capture.frames_per_second must be 1 to 60"),
        (PRESETS.contains(&capture.preset.as_str()), "capture.preset must be an x264 preset from ultrafast to medium"),
        (CaptureSettings::CRFS.contains(&capture.crf), "capture.crf must be 0 to 51"),
        ((1..=30).contains(&capture.segment_secs), "capture.segment_secs must be 1 to 30"),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem).collect()
}
