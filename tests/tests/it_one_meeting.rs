//! One meeting end to end on one machine: real controller, manager, meeting-bot, Chromium, PulseAudio and ffmpeg, judged by
//! what can be read back from the video.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::time::Duration;

use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::outcome::OutcomeKind;
use serde_json::json;
use tests::room::PracticeRoom;
use tests::stack::Stack;

const ROOM: &str = "end-to-end";
const AV_OFFSET_MS: f64 = 80.0;
const IN_CALL: Duration = Duration::from_secs(25);

/// The browser's jitter buffers answer to a machine that stalls, and the second call of two tells a wrong clock from a bad moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_meeting_becomes_a_video_whose_time_code_and_beeps_read_back() {
    let first = offset_of_a_judged_call().await;
    if first.abs() > AV_OFFSET_MS {
        let second = offset_of_a_judged_call().await;
        assert!(second.abs() <= AV_OFFSET_MS, "A/V offset {first} ms, and {second} ms in a second call");
    }
}

/// One call, judged by everything but its offset.
async fn offset_of_a_judged_call() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    room.open(ROOM, json!({"lobby": true})).await.unwrap();
    let _clara = room.participant_process(ROOM, "Clara", "clock", 1000, folder.path()).unwrap();
    let _samir = room.participant_process(ROOM, "Samir", "person", 330, folder.path()).unwrap();
    room.wait_for(ROOM, "clock", "in_call", Duration::from_secs(60)).await.unwrap();
    let stack = Stack::start(folder.path(), Some(&room.origin), &[]).await.unwrap();
    let meeting = stack.schedule(&format!("practice:meet/{ROOM}"), "Recorder").unwrap();

    let guest = room.wait_for(ROOM, "guest", "waiting", Duration::from_secs(120)).await.unwrap();
    let limit = Duration::from_secs(60);
    stack.wait_for("the waiting room", &meeting, limit, |instance| instance.phase == Phase::WaitingRoom).await.unwrap();
    room.act(ROOM, &guest, "admit").await.unwrap();
    stack.wait_for("the recording", &meeting, limit, |instance| instance.phase == Phase::Recording).await.unwrap();
    tokio::time::sleep(IN_CALL).await;
    let presented = room.presented(ROOM, &guest).await.unwrap();
    room.end(ROOM).await.unwrap();
    let instance =
        stack.wait_for("the end", &meeting, Duration::from_secs(90), |instance| instance.phase.is_terminal()).await.unwrap();

    let outcome = instance.facts.outcome.clone().unwrap();
    assert_eq!((instance.phase, outcome.kind), (Phase::Done, OutcomeKind::HostEnded), "{}", outcome.message);
    let files = stack.recording_folder(&instance).unwrap();
    for name in [ObjectName::Video, ObjectName::Audio, ObjectName::Manifest] {
        let artifact = instance.facts.artifacts.iter().find(|artifact| artifact.name == name).unwrap();
        let bytes = std::fs::read(files.join(name.file_name())).unwrap();
        assert_eq!(artifact.bytes, bytes.len() as u64, "{name:?}");
        assert_eq!(artifact.crc32c, format!("{:08x}", crc32c::crc32c(&bytes)), "{name:?}");
    }
    let recording = instance.facts.recording.clone().unwrap();
    let in_call = (recording.ended_at.unwrap() - recording.started_at).as_seconds_f64();
    let judged = practice_room::judge::judge(&files.join(ObjectName::Video.file_name())).unwrap();
    println!("judged: {judged:?}; in call {in_call:.2} s; presented: {presented}");
    assert!(
        (judged.duration_secs - in_call).abs() <= 1.0,
        "{:.2} s of video for {in_call:.2} s in the call",
        judged.duration_secs
    );
    // The last may be: the room closes its sound before the bot is out.
    assert!(judged.silent_seconds <= 1, "{} silent seconds", judged.silent_seconds);
    let presented = presented["at_15_a_second"].as_f64().unwrap();
    assert!(
        judged.unique_frames as f64 >= 0.9 * presented,
        "{} unique frames of {presented} that the page presented",
        judged.unique_frames
    );
    assert!(
        !folder.path().join("runs").read_dir().unwrap().any(|run| run.unwrap().path().join("scratch").exists()),
        "scratch left"
    );
    judged.av_offset_ms.unwrap()
}
