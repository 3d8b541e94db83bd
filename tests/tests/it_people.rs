//! Who was there and who spoke, end to end: what a practice room's log knows is what `timeline.json` says, on each platform.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::path::Path;
use std::time::Duration;

use bot_model::lifecycle::Phase;
use bot_model::manifest::RecordingManifest;
use bot_model::object_prefix::ObjectName;
use bot_model::outcome::OutcomeKind;
use bot_model::people::Role;
use bot_model::timeline::{Participant, Timeline};
use serde_json::{Value, json};
use tests::room::PracticeRoom;
use tests::stack::Stack;
use tokio::time::sleep;

const ROOM: &str = "people";
const GREETING: &str = "This call is recorded.";
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_meet_call_s_people_are_in_its_timeline() {
    judged_call("meet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teams_call_s_people_are_in_its_timeline() {
    judged_call("teams").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zoom_call_s_people_are_in_its_timeline() {
    judged_call("zoom").await;
}

async fn judged_call(platform: &str) {
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    let settings = json!({"lobby": false, "device_prompt": false, "launcher": false, "people": ["Ann Nym", "Bo Tanist", "Fireflies.ai Notetaker"]});
    room.open(ROOM, settings).await.unwrap();
    let variables = [("GREETING", GREETING), ("READ_CHAT", "true")];
    let stack = Stack::start(folder.path(), Some(&room.origin), &variables).await.unwrap();
    let meeting = stack.schedule(&format!("practice:{platform}/{ROOM}"), "Recorder Zoë").unwrap();
    stack.wait_for("the recording", &meeting, LIMIT, |instance| instance.phase == Phase::Recording).await.unwrap();
    sleep(Duration::from_secs(4)).await; // what follows is played at the pace of a call
    play(&room).await;
    let instance = stack.wait_for("the end", &meeting, LIMIT, |instance| instance.phase.is_terminal()).await.unwrap();
    assert_eq!(instance.phase, Phase::Done, "{:?}", instance.facts.outcome);

    let files = stack.recording_folder(&instance).unwrap();
    let bytes = std::fs::read(files.join(ObjectName::Timeline.file_name())).unwrap();
    let timeline: Timeline = serde_json::from_slice(&bytes).unwrap();
    let manifest: RecordingManifest =
        serde_json::from_slice(&std::fs::read(files.join(ObjectName::Manifest.file_name())).unwrap()).unwrap();
    println!("{platform}: {}", serde_json::to_string(&timeline).unwrap());
    check(platform, &timeline);
    let people = manifest.people.unwrap();
    assert_eq!(people.timeline_crc32c, format!("{:08x}", crc32c::crc32c(&bytes)));
    assert_eq!(people.participant_count as usize, timeline.participants.len());
    assert_eq!(manifest.debug, None, "{platform}: {:?} {}", instance.facts.outcome, bundle_of(&files));
    assert!(instance.facts.greeted_at.is_some());
    assert_eq!(instance.facts.outcome.unwrap().kind, OutcomeKind::HostEnded, "{platform}");
}

/// What a debug bundle's texts say, for the message of a failing test.
fn bundle_of(files: &Path) -> String {
    let runs = std::fs::read_dir(files.join("debug")).into_iter().flatten().flatten();
    let read = |run: std::fs::DirEntry| {
        ["page.txt", "events.jsonl"].map(|name| std::fs::read_to_string(run.path().join(name)).unwrap_or_default()).concat()
    };
    runs.map(read).collect()
}

async fn act(room: &PracticeRoom, action: Value) {
    room.perform(ROOM, action).await.unwrap();
}

async fn play(room: &PracticeRoom) {
    act(room, json!({"do": "chat", "who": "Ann Nym", "text": "hello from Ann"})).await;
    act(room, json!({"do": "speak", "who": "Bo Tanist", "for_ms": 5_000})).await;
    sleep(Duration::from_secs(7)).await;
    act(room, json!({"do": "enter", "name": "Cy Press"})).await;
    act(room, json!({"do": "vanish", "who": "Ann Nym", "for_ms": 3_000})).await;
    sleep(Duration::from_secs(5)).await;
    act(room, json!({"do": "leave", "who": "Bo Tanist"})).await;
    sleep(Duration::from_secs(11)).await;
    room.end(ROOM).await.unwrap();
}

fn check(platform: &str, timeline: &Timeline) {
    let find = |name: &str| -> &Participant {
        let found = timeline.participants.iter().find(|one| one.name == name);
        found.unwrap_or_else(|| panic!("{platform}: {name} is not in {:?}", timeline.participants))
    };
    let (ann, bo, cy) = (find("Ann Nym"), find("Bo Tanist"), find("Cy Press"));
    assert_eq!((ann.present.len(), bo.present.len(), cy.present.len()), (1, 1, 1), "{platform}: a moment's absence was a leave");
    assert_eq!(find("Fireflies.ai Notetaker").role, Role::Bot);
    assert_eq!(timeline.participants.iter().filter(|one| one.role == Role::Own).count(), 1, "{platform}: the bot itself");
    let whole = timeline.duration_secs;
    assert!(ann.present[0].from_secs <= 2.0 && ann.present[0].to_secs >= whole - 4.0, "{platform}: {ann:?} of {whole} s");
    assert!(cy.present[0].from_secs - bo.present[0].from_secs > 5.0, "{platform}: {cy:?} came after {bo:?}");
    assert!(cy.present[0].to_secs - bo.present[0].to_secs > 5.0, "{platform}: {bo:?} left before {cy:?}");
    assert!((3.5..=8.5).contains(&bo.speaking_secs), "{platform}: Bo spoke for {} s of 5", bo.speaking_secs);
    assert!(ann.speaking_secs < 1.0 && cy.speaking_secs < 1.0, "{platform}: {:?}", timeline.speaking);
    let said: Vec<&str> = timeline.chat.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(said.iter().filter(|text| **text == "hello from Ann").count(), 1, "{platform}: {said:?}");
    assert!(said.iter().filter(|text| **text == GREETING).count() <= 1, "{platform}: greeted twice: {said:?}");
}
