//! The command line as an operator uses it: cancel a bot that waits, follow it to its end, run until nothing is left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bot_model::lifecycle::Phase;
use serde_json::{Value, json};
use tests::room::PracticeRoom;
use tests::stack::Stack;

const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_in_the_lobby_is_cancelled_followed_to_its_end_and_then_there_is_nothing_left_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    room.open("cancelled", json!({"lobby": true})).await.unwrap();
    let mut stack = Stack::start(folder.path(), Some(&room.origin), &[]).await.unwrap();
    let meeting = stack.schedule("practice:meet/cancelled", "Recorder").unwrap();
    room.wait_for("cancelled", "guest", "waiting", LIMIT).await.unwrap();
    stack.wait_for("the waiting room", &meeting, LIMIT, |instance| instance.phase == Phase::WaitingRoom).await.unwrap();

    let cancelled = stack.command().unwrap().args(["cancel", meeting.as_str()]).output().unwrap();
    assert!(cancelled.status.success(), "{}", String::from_utf8_lossy(&cancelled.stderr));
    let followed = stack.command().unwrap().args(["status", meeting.as_str(), "--follow"]).output().unwrap();
    let text = String::from_utf8_lossy(&followed.stdout).into_owned();
    assert!(followed.status.success() && text.contains("waiting_room") && text.contains("cancelled"), "{text}");
    let instance = stack.wait_for("the end", &meeting, LIMIT, |instance| instance.phase.is_terminal()).await.unwrap();
    assert_eq!(instance.phase, Phase::Cancelled);

    stack.controller().unwrap().signal(rustix::process::Signal::TERM).unwrap();
    assert!(stack.controller().unwrap().wait(Duration::from_secs(10)).await.unwrap().success(), "SIGTERM ends it in order");
    let idle = stack.command().unwrap().args(["run", "--until-idle"]).output().unwrap();
    assert!(idle.status.success(), "{}", String::from_utf8_lossy(&idle.stderr));
    let json = stack.command().unwrap().args(["status", meeting.as_str(), "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(status.to_string().contains("\"cancelled\""), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_until_idle_ends_by_itself_once_its_meeting_has() {
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    room.open("gone", json!({"page": "not_found"})).await.unwrap();
    let mut stack = Stack::start(folder.path(), Some(&room.origin), &[]).await.unwrap();
    stack.controller().unwrap().signal(rustix::process::Signal::TERM).unwrap();
    stack.controller().unwrap().wait(Duration::from_secs(10)).await.unwrap();
    let meeting = stack.schedule("practice:meet/gone", "Recorder").unwrap();
    let idle = stack.command().unwrap().args(["run", "--until-idle"]).output().unwrap();
    assert!(idle.status.success(), "{}", String::from_utf8_lossy(&idle.stderr));
    let instance = stack.instance_of(&meeting).await.unwrap().expect("a bot");
    assert_eq!(instance.facts.outcome.unwrap().kind.as_str(), "meeting_not_found");
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(tests::process::binary("controller").unwrap());
    let ended = command.args(["settings", "--markdown"]).stdout(writer).output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}
