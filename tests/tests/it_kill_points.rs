//! The real controller and manager, each killed once exactly between two steps, for every kill point: the meeting still ends done, with
//! one recording that holds what was captured, and there are never two bots in the call.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how long it took"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::segment::{PART_INFO_FILE, PartInfo, part_folder, segment_file};
use bot_store::kill_point::KillPoint;
use chrono::Utc;
use futures::StreamExt as _;
use tests::mortal::{OBITUARY_FILE, TEMPLATE_FOLDER, bot::SEGMENTS, in_the_call, prepare};
use tests::process::until;
use tests::stack::Stack;

/// Each waits more than it works.
const AT_ONCE: usize = 7;
/// Longer than any takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Of the template.
const PART_SECS: f64 = 6.0;
const SEGMENT_SECS: f64 = 2.0;

/// A part as the meeting-bot writes it.
fn template(folder: &Path) -> PathBuf {
    let part = folder.join(TEMPLATE_FOLDER).join(part_folder(0));
    std::fs::create_dir_all(&part).unwrap();
    let info = PartInfo { part: 0, started_at: Utc::now(), audio_lag_ms: 0, width: 320, height: 180, frames_per_second: 15 };
    std::fs::write(part.join(PART_INFO_FILE), serde_json::to_vec(&info).unwrap()).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.current_dir(&part).args(["-nostdin", "-loglevel", "error"]);
    ffmpeg.args([
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x180:rate=15",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000",
    ]);
    ffmpeg.args(["-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "30"]);
    ffmpeg.args(["-keyint_min", "30", "-sc_threshold", "0", "-c:a", "aac", "-ac", "2", "-f", "hls", "-hls_time", "2"]);
    ffmpeg.args(["-hls_segment_type", "fmp4", "-hls_list_size", "0", "-hls_flags", "independent_segments+temp_file"]);
    ffmpeg.args(["-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", "seg-%06d.m4s", "index.m3u8"]);
    assert!(ffmpeg.status().expect("ffmpeg is missing: install the package ffmpeg").success());
    assert!(part.join(segment_file(SEGMENTS - 1)).is_file());
    folder.join(TEMPLATE_FOLDER)
}

/// Answers how many bots joined, one after the other.
async fn survives(point: KillPoint, template: &Path) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    prepare(&programs, point).unwrap();
    std::os::unix::fs::symlink(template, programs.join(TEMPLATE_FOLDER)).unwrap();
    let text = |name: &str| programs.join(name).display().to_string();
    let (manager, bot) = (text("manager"), text("meeting-bot"));
    let extra = [("MANAGER_BIN", manager.as_str()), ("MEETING_BOT_BIN", bot.as_str()), ("REAP_INTERVAL_SECONDS", "1")];
    let mut stack = Stack::start_as(programs.join("controller"), folder.path(), None, &extra).await.unwrap();
    let meeting = stack.schedule("https://meet.google.com/abc-defg-hij", "Bot").unwrap();
    until(&format!("a death at {}", point.name()), LIMIT, async || Ok(programs.join(OBITUARY_FILE).exists().then_some(())))
        .await
        .unwrap();
    if point.is_the_controller_s() {
        let status = stack.controller().unwrap().wait(LIMIT).await.unwrap();
        assert!(status.code().is_none(), "{}: {status}", point.name());
        stack.start_controller().await.unwrap();
    }
    let ended = stack.wait_for(&point.name(), &meeting, LIMIT, |instance| instance.phase.is_terminal()).await.unwrap();
    assert_eq!(ended.phase, Phase::Done, "{}: {:?}", point.name(), ended.facts.outcome);
    let (most, joined) = in_the_call(&programs).unwrap();
    assert_eq!(most, 1, "{}: two bots in the call", point.name());
    let videos = files_named(&folder.path().join("recordings"), ObjectName::Video.file_name());
    assert_eq!(videos.len(), 1, "{}: {videos:?}", point.name());
    let video = ended.facts.artifacts.iter().find(|artifact| artifact.name == ObjectName::Video).unwrap();
    assert_eq!(videos[0].metadata().unwrap().len(), video.bytes, "{}: another file than the document's", point.name());
    // What the bot that died had carried out is in it, too; the one after it recorded the whole part.
    let before = match point {
        KillPoint::FirstPart => SEGMENT_SECS,
        KillPoint::Stopped => PART_SECS,
        _ => 0.0,
    };
    let secs = video.duration_secs.unwrap();
    assert!(secs > before + PART_SECS - 0.5, "{}: {secs} s of {joined} bots", point.name());
    joined
}

fn files_named(folder: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() { files_named(&path, name) } else { vec![path] })
        .filter(|path| path.ends_with(name))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_between_two_steps_the_meeting_is_recorded_once_and_by_one_bot_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let template = template(folder.path());
    let begun = Instant::now();
    let deaths = futures::stream::iter(KillPoint::ALL).map(|point| {
        let template = template.clone();
        async move { (point, survives(point, &template).await) }
    });
    let mut joins: Vec<(KillPoint, usize)> = deaths.buffer_unordered(AT_ONCE).collect().await;
    joins.sort();
    println!("{joins:?} in {:.0} s", begun.elapsed().as_secs_f64());
    // Who dies in the call is followed by another; who dies before it or after it is not.
    for (point, joined) in joins {
        let expected = if matches!(point, KillPoint::Joined | KillPoint::FirstPart | KillPoint::Stopped) { 2 } else { 1 };
        assert_eq!(joined, expected, "{}", point.name());
    }
}
