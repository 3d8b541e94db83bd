//! Pages that never load, hang, go away, open dialogs and windows for ever, take all memory or lose their renderer: the bot ends in a
//! typed outcome within its limits, and what was recorded is kept. A real bot, a real browser, real ffmpeg.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a test fails by panicking

#[allow(dead_code)] // shared with the tests of whole calls, which use the rest
#[path = "../call/bot.rs"]
mod bot;
mod server;

use std::time::Duration;

use bot::Bot;
use bot_model::outcome::OutcomeKind;
use bot_model::session::{SessionLimits, SessionPhase, SessionState};
use futures::StreamExt as _;
use server::Server;

/// A browser's cold start on a loaded machine, and the longest that a page may be unresponsive.
const LIMIT: Duration = Duration::from_secs(150);
/// From the trouble's beginning: 45 s without an answer, one deadline of a call, and leaving.
const UNRESPONSIVE: Duration = Duration::from_secs(75);

fn limits() -> SessionLimits {
    SessionLimits { join_timeout_secs: 12, ..SessionLimits::default() }
}

async fn ends_before_the_call(code: &str) -> SessionState {
    let server = Server::start().await;
    let bot = Bot::start(&server.origin).await;
    assert_eq!(bot.join(code, limits()).await.status(), 201);
    let state = bot.reaches(SessionPhase::Ended, LIMIT).await;
    assert_eq!((state.admitted_at, state.media.segments), (None, 0));
    state
}

/// In the call, with something recorded.
async fn recording(server: &Server, code: &str) -> Bot {
    let bot = Bot::start(&server.origin).await;
    assert_eq!(bot.join(code, limits()).await.status(), 201);
    bot.satisfies("a closed segment", LIMIT, |state| state.media.segments >= 2).await;
    bot
}

/// The trouble begins in the call; answers the end. What was recorded until then is there.
async fn ends_in_call(code: &str, limit: Duration) -> OutcomeKind {
    let server = Server::start().await;
    let bot = recording(&server, code).await;
    server.begin(code);
    kept(&bot, bot.reaches(SessionPhase::Ended, limit).await)
}

fn kept(bot: &Bot, state: SessionState) -> OutcomeKind {
    assert!(state.media.segments >= 2 && state.left_at.is_some(), "{state:?}");
    let mut kept = 0;
    // A machine at its limit has had a second part made.
    for part in (0..=state.media.part.unwrap()).map(|number| bot.part(number)) {
        let segment = |seq| part.join(bot_model::segment::segment_file(seq));
        // One that had just begun has neither.
        let init = segment(0).exists().then(|| part.join(bot_model::segment::INIT_FILE));
        for file in (0..).map(segment).take_while(|path| path.exists()).chain(init) {
            assert!(std::fs::metadata(&file).unwrap().len() > 0, "{} is empty", file.display());
            kept += 1;
        }
    }
    assert!(kept > state.media.segments, "{kept} files of {} segments", state.media.segments);
    state.end.unwrap().kind
}

/// A server that accepts and never answers, one that drips, answers that are no page, a page that hangs, dialogs without end. Some at
/// once, for each waits for the same limit and does nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_never_becomes_one_is_unresponsive() {
    let codes = ["silence", "drip", "download", "redirects", "hang", "alerts", "prompts"];
    let ends = codes.map(|code| async move { (code, ends_before_the_call(&format!("before-{code}")).await.end.unwrap().kind) });
    let mut ends = futures::stream::iter(ends).buffer_unordered(4);
    while let Some((code, kind)) = ends.next().await {
        assert_eq!(kind, OutcomeKind::PageUnresponsive, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_reloads_for_ever_is_reported_at_the_join_s_limit() {
    let kind = ends_before_the_call("before-reload").await.end.unwrap().kind;
    assert!(matches!(kind, OutcomeKind::JoinPageNotRecognised | OutcomeKind::PageUnresponsive), "{kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_goes_elsewhere_before_the_call_is_a_sign_in() {
    assert_eq!(ends_before_the_call("before-elsewhere").await.end.unwrap().kind, OutcomeKind::SignInRequired);
}

#[tokio::test(flavor = "multi_thread")]
async fn dialogs_now_and_then_are_answered_and_the_bot_joins_and_leaves_all_the_same() {
    let server = Server::start().await;
    let bot = recording(&server, "before-dialogs").await;
    assert_eq!(bot.post("/v1/session/leave", serde_json::json!({ "reason": "asked_to_leave" })).await, 202);
    let state = bot.reaches(SessionPhase::Ended, Duration::from_secs(20)).await;
    assert_eq!(kept(&bot, state), OutcomeKind::AskedToLeave);
    assert!(server.told("before-dialogs").contains(&"left".to_owned()), "it did not leave by the button");
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_the_page_opens_are_closed() {
    let server = Server::start().await;
    let _bot = recording(&server, "before-popups").await;
    let gone = async || server.pop_up_gone_for().filter(|gone| *gone > Duration::from_secs(2));
    bot::until("a pop-up that was opened and is gone", Duration::from_secs(20), gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_calls_for_an_installed_application_is_joined_all_the_same() {
    let server = Server::start().await;
    let bot = recording(&server, "before-protocol").await;
    // The browser's own question would be a white box at the top of the picture.
    let brightest = brightness_at_the_top(&bot).into_iter().fold(0.0, f64::max);
    assert!(brightest < 100.0, "something of brightness {brightest} lies over the page");
}

/// Mean brightness of the upper middle of each recorded frame so far.
fn brightness_at_the_top(bot: &Bot) -> Vec<f64> {
    let part = bot.part(0);
    let mut media = std::fs::read(part.join("init.mp4")).unwrap();
    for seq in 0..2 {
        media.extend(std::fs::read(part.join(bot_model::segment::segment_file(seq))).unwrap());
    }
    let file = part.join("joined.mp4");
    std::fs::write(&file, media).unwrap();
    let filter = format!("movie={},crop=560:140:360:20,signalstats", file.display());
    let entries =
        ["-v", "error", "-show_entries", "frame_tags=lavfi.signalstats.YAVG", "-of", "csv=p=0", "-f", "lavfi", "-i", &filter];
    let output = std::process::Command::new("ffprobe").args(entries).output().unwrap();
    let frames: Vec<f64> =
        String::from_utf8(output.stdout).unwrap().lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    assert!(frames.len() >= 20, "{} frames: {}", frames.len(), String::from_utf8_lossy(&output.stderr));
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_hangs_or_asks_without_end_in_the_call_ends_the_session_and_the_recording_is_kept() {
    let (hangs, asks) = tokio::join!(ends_in_call("in-hang", UNRESPONSIVE), ends_in_call("in-confirms", UNRESPONSIVE));
    assert_eq!((hangs, asks), (OutcomeKind::PageUnresponsive, OutcomeKind::PageUnresponsive));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_leaves_the_platform_in_the_call_ends_it() {
    assert_eq!(ends_in_call("in-elsewhere", Duration::from_secs(30)).await, OutcomeKind::HostEnded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_takes_all_memory_crashes_and_the_recording_is_kept() {
    assert_eq!(ends_in_call("in-memory", LIMIT).await, OutcomeKind::BrowserCrashed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_that_is_killed_ends_the_session_and_the_recording_is_kept() {
    let server = Server::start().await;
    let bot = recording(&server, "in-none").await;
    for pid in renderers(&bot) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL);
    }
    let state = bot.reaches(SessionPhase::Ended, Duration::from_secs(20)).await;
    assert_eq!(kept(&bot, state), OutcomeKind::BrowserCrashed);
}

/// The browser's processes that run pages.
fn renderers(bot: &Bot) -> Vec<i32> {
    let is_renderer = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(15).any(|window| window == b"--type=renderer")
    };
    bot.descendants().into_iter().filter(is_renderer).collect()
}
