//! The command line as an operator uses it: cancel a bot that waits, follow it to its end, run until nothing is left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bot_model::ids::MeetingPath;
use bot_model::lifecycle::Phase;
use bot_store::DocumentKey;
use serde_json::{Value, json};
use tests::process::{binary, until};
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
    let mut command = std::process::Command::new(binary("controller").unwrap());
    let ended = command.args(["settings", "--markdown"]).stdout(writer).output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// A container's log that is not taken (a full disk of the node) and a scraper that hangs: neither may hold up the controller.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_goes_on_while_nobody_reads_its_log_or_takes_its_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("log");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    // Open for both, so that nobody waits for the other end; nothing is ever read.
    let unread = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let capacity = rustix::pipe::fcntl_setpipe_size(&unread, 4_096).unwrap();
    std::io::Write::write_all(&mut &unread, &vec![b'\n'; capacity]).unwrap();
    let script = folder.path().join("controller-unread");
    let controller = binary("controller").unwrap();
    std::fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\" 2>'{}'\n", controller.display(), fifo.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let stack = Stack::start_as(script, folder.path(), None, &[("LOG_LEVEL", "trace")]).await.unwrap();
    // Asked for, and never read.
    let address = stack.http.strip_prefix("http://").unwrap();
    let mut scrapers = Vec::new();
    for _ in 0..20 {
        let mut scraper = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut scraper, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        scrapers.push(scraper);
    }
    // Too late to be joined: all that a controller does for it, it does without a browser.
    for code in ["abc-defg-hij", "klm-nopq-rst", "uvw-xyza-bcd"] {
        let url = format!("https://meet.google.com/{code}");
        let arguments = ["schedule", &url, "--at", "2026-01-01T00:00:00Z", "--until", "2026-01-01T01:00:00Z"];
        let scheduled = stack.command().unwrap().args(arguments).output().unwrap();
        let said = String::from_utf8(scheduled.stdout).unwrap();
        let path = said.split_whitespace().find(|word| word.starts_with("meetings/")).expect("no path");
        let key = DocumentKey::Meeting(MeetingPath::parse(path).unwrap());
        let is_missed = || async {
            let record = stack.store().read(&key).await?;
            Ok(record.filter(|record| format!("{:?}", record.fields).contains("missed")))
        };
        until("the missed meeting", LIMIT, is_missed).await.unwrap();
    }
    let metrics = reqwest::get(format!("{}/metrics", stack.http)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("meetingbot_log_lines_dropped"), "{metrics}");
}
