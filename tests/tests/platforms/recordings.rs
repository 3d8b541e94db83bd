//! One call, joined through all three clients one after another by the real bot, each recording judged by its content.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::segment::part_folder;
use bot_model::session::{SessionEventKind, SessionLimits, SessionPhase};
use chrono::{DateTime, Utc};
use practice_room::judge::judge;
use serde_json::json;
use tests::bot::Bot;
use tests::room::PracticeRoom;

use crate::stage::MACHINE;

const ROOM: &str = "one-call-three-clients";
const IN_CALL: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_recorded_through_every_client() {
    let _alone = MACHINE.write().await;
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    room.open(ROOM, json!({"consent_dialog": true, "passcode": "sesame-1"})).await.unwrap();
    let _people = room.company_process(ROOM, ("Clara", "clock", 1000), &["Samir"], folder.path()).unwrap();
    room.wait_for(ROOM, "clock", "in_call", Duration::from_secs(60)).await.unwrap();
    // One bot at a time: three browsers more than the machine has cores would be what is judged.
    for platform in ["meet", "teams", "zoom"] {
        let own = folder.path().join(platform);
        std::fs::create_dir(&own).unwrap();
        let bot = Bot::start(&own, &room.origin).await.unwrap();
        bot.join(&format!("practice:{platform}/{ROOM}?pwd=sesame-1"), &SessionLimits::default()).await.unwrap();
        bot.reaches(SessionPhase::WaitingRoom, Duration::from_secs(90))
            .await
            .unwrap_or_else(|error| panic!("{platform}: {error:#}"));
        let guest = room.wait_for(ROOM, "guest", "waiting", Duration::from_secs(30)).await.unwrap();
        room.act(ROOM, &guest, "admit").await.unwrap();
        bot.reaches(SessionPhase::Recording, Duration::from_secs(60))
            .await
            .unwrap_or_else(|error| panic!("{platform}: {error:#}"));
        tokio::time::sleep(IN_CALL).await;
        let removed_at = Utc::now();
        room.act(ROOM, &guest, "remove").await.unwrap();
        let end = bot.ends(Duration::from_secs(60)).await.unwrap();
        assert_eq!(end.kind, OutcomeKind::Removed, "{platform}: {}", end.detail);
        let recorded_for = recorded_until(&bot, removed_at).await;
        let judged = judge(&joined(&bot.output)).unwrap();
        println!("{platform:<5} {recorded_for:.1} s recorded, {judged:?}");
        // A bot needs a moment to believe the end, and records it.
        let more = judged.duration_secs - recorded_for;
        assert!((-1.0..4.0).contains(&more), "{platform}: recorded for {recorded_for} s, {judged:?}");
        // The consent dialog lies over the clock's picture, not over its strip.
        assert!(judged.decoded_frames * 10 >= judged.frames * 9, "{platform}: {judged:?}");
        assert!(judged.beeps as f64 >= judged.duration_secs - 4.0, "{platform}: {judged:?}");
        // What was recorded after the bot was out has no sound any more.
        assert!(judged.silent_seconds as f64 <= more.max(0.0).ceil(), "{platform}: {judged:?}");
    }
}

/// From the recorder's start, which a loaded machine delays, to the end of the call.
async fn recorded_until(bot: &Bot, ended_at: DateTime<Utc>) -> f64 {
    let timeline = bot.timeline().await.unwrap();
    let started = timeline.iter().find(|event| matches!(event.kind, SessionEventKind::PartStarted { .. })).unwrap();
    (ended_at - started.at).as_seconds_f64()
}

/// The first part as one file.
fn joined(output: &Path) -> PathBuf {
    let part = output.join(part_folder(0));
    let mut segments: Vec<PathBuf> = std::fs::read_dir(&part).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "m4s"));
    segments.sort();
    let mut bytes = std::fs::read(part.join("init.mp4")).unwrap();
    for segment in segments {
        bytes.extend(std::fs::read(segment).unwrap());
    }
    let file = output.join("joined.mp4");
    std::fs::write(&file, bytes).unwrap();
    file
}
