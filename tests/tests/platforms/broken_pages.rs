//! Pages that misbehave: the real bot ends in a typed outcome within its limits, and what was recorded is kept.

use std::path::Path;
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::segment::part_folder;
use bot_model::session::{SessionLimits, SessionPhase};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};
use tests::bot::Bot;
use tests::process::until;
use tests::room::PracticeRoom;

use crate::stage::{MACHINE, admitted_then};

const LIMIT: Duration = Duration::from_secs(100);

/// A bot in a room whose script makes the trouble. What misbehaves is the page, whoever serves it: the troubles are spread over the
/// platforms, of which Zoom's client lies in a frame.
async fn joined(room: &PracticeRoom, folder: &Path, (platform, code): (&str, &str), settings: Value) -> Bot {
    room.open(code, settings).await.unwrap();
    let own = folder.join(code);
    std::fs::create_dir(&own).unwrap();
    let bot = Bot::start(&own, &room.origin).await.unwrap();
    bot.join(&format!("practice:{platform}/{code}"), &SessionLimits::default()).await.unwrap();
    bot
}

fn ana(rest: &[Value]) -> Value {
    json!({"people": ["Ana Lima"], "script": admitted_then(rest)})
}

async fn records(bot: &Bot) {
    bot.reaches(SessionPhase::Recording, LIMIT).await.unwrap();
    let segments = || async { Ok((bot.state().await?.media.segments >= 1).then_some(())) };
    until("a closed segment", LIMIT, segments).await.unwrap();
}

async fn ends(bot: &Bot, wanted: OutcomeKind) {
    let end = bot.ends(LIMIT).await.unwrap();
    assert_eq!(end.kind, wanted, "{}\n{}", end.detail, bot.log_tail());
    println!("{} because {}", end.kind, end.detail);
}

fn is_kept(bot: &Bot) {
    let part = bot.output.join(part_folder(0));
    assert!(part.join("init.mp4").metadata().is_ok_and(|file| file.len() > 0), "no recording was kept in {}", part.display());
    assert!(part.join("seg-000000.m4s").metadata().is_ok_and(|file| file.len() > 0), "no segment was kept in {}", part.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_breaks_the_browser_ends_the_call_and_keeps_the_recording() {
    let _shared = MACHINE.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    let crash = async {
        let bot = joined(&room, folder.path(), ("teams", "crash"), ana(&[])).await;
        records(&bot).await;
        assert!(bot.signal_children("--type=renderer", Signal::SEGV).unwrap() > 0, "no renderer was found");
        ends(&bot, OutcomeKind::BrowserCrashed).await;
        is_kept(&bot);
    };
    let memory = async {
        let bot = joined(&room, folder.path(), ("zoom", "memory"), ana(&[])).await;
        records(&bot).await;
        for pid in bot.children("--type=renderer").unwrap() {
            leave_little_memory(pid);
        }
        room.perform("memory", json!({"do": "trouble", "how": "memory"})).await.unwrap();
        ends(&bot, OutcomeKind::BrowserCrashed).await;
        is_kept(&bot);
    };
    tokio::join!(crash, memory);
}

/// The process may take 200 MB more than it has, not all that this machine has.
fn leave_little_memory(pid: i32) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let bytes = data.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024 + 200_000_000;
    prlimit(Pid::from_raw(pid), Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_hangs_is_given_up_and_one_that_only_annoys_is_not() {
    let _shared = MACHINE.read().await;
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    let hangs = async {
        let bot =
            joined(&room, folder.path(), ("zoom", "hangs"), ana(&[json!({"after_ms": 6000, "do": "trouble", "how": "hang"})]))
                .await;
        ends(&bot, OutcomeKind::PageUnresponsive).await;
        is_kept(&bot);
    };
    let unanswered = async {
        let bot = joined(&room, folder.path(), ("meet", "unanswered"), json!({"page": "unanswered"})).await;
        ends(&bot, OutcomeKind::PageUnresponsive).await;
    };
    let vanishes = async {
        let bot = joined(
            &room,
            folder.path(),
            ("teams", "vanishes"),
            ana(&[json!({"after_ms": 6000, "do": "trouble", "how": "blank"})]),
        )
        .await;
        ends(&bot, OutcomeKind::PageUnresponsive).await;
        is_kept(&bot);
    };
    let annoys = async {
        let script = [
            json!({"after_ms": 500, "do": "trouble", "how": "ask_before_leaving"}),
            json!({"after_ms": 1000, "do": "trouble", "how": "dialogs"}),
            json!({"after_ms": 7000, "do": "end"}),
        ];
        let bot = joined(&room, folder.path(), ("zoom", "annoys"), ana(&script)).await;
        ends(&bot, OutcomeKind::HostEnded).await;
        is_kept(&bot);
    };
    tokio::join!(hangs, unanswered, vanishes, annoys);
}
