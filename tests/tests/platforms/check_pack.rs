//! `meeting-bot check-pack` against a practice room: a pack that fits, one that does not, and a call that there is not.

use std::process::{Command, Output};

use tests::process::binary;
use tests::room::PracticeRoom;

use crate::stage::MACHINE;

fn check(pack: &str, room: &PracticeRoom, only: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meet.toml");
    std::fs::write(&file, pack).unwrap();
    let mut command = Command::new(binary("meeting-bot").unwrap());
    command.arg("check-pack").arg(file).args(["--room", &format!("{}/check", room.origin), "--only", only]);
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_played_and_what_ends_otherwise_is_named() {
    let _shared = MACHINE.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    let shipped = include_str!("../../../meeting-bot/packs/meet.toml");

    let right = check(shipped, &room, "denied,not_found");
    let report = String::from_utf8_lossy(&right.stderr).into_owned();
    assert_eq!(right.status.code(), Some(0), "{report}");
    assert!(report.contains("ok   denied") && report.contains("ended as meeting_not_found"), "{report}");

    let confused = shipped
        .replace("means = \"not_found\"", "means = \"other\"")
        .replace("means = \"blocked\"", "means = \"not_found\"")
        .replace("means = \"other\"", "means = \"blocked\"");
    let wrong = check(&confused, &room, "not_found");
    let report = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(1), "{report}");
    assert!(report.contains("FAIL not_found") && report.contains("should end as meeting_not_found"), "{report}");

    let unknown = check(shipped, &room, "lost");
    let report = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && report.contains("\"lost\"") && report.contains("request_timed_out"), "{report}");
}
