//! A whole call as somebody at the portal sees it: from the form, through the live pages, to the player.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use serde_json::json;
use tests::chromium::{Chromium, Tab};
use tests::room::PracticeRoom;
use tests::stack::Stack;

const MINUTE: Duration = Duration::from_secs(60);
const ROOM: &str = "portal-call";
/// What the player has shown: seconds, decoded frames.
const SHOWN: &str = "[document.getElementById('player').currentTime, document.getElementById('player').getVideoPlaybackQuality().totalVideoFrames]";

/// Waits until the player's picture moves.
async fn plays(tab: &Tab, what: &str) {
    tab.wait("document.getElementById('player') !== null && document.getElementById('player').readyState >= 2", MINUTE)
        .await
        .unwrap();
    tab.eval("document.getElementById('player').muted = true; document.getElementById('player').play().then(() => true)")
        .await
        .unwrap();
    let before = tab.eval(SHOWN).await.unwrap();
    let moved =
        format!("(() => {{ const [at, frames] = {SHOWN}; return at > {} + 1 && frames > {} + 5; }})()", before[0], before[1]);
    let waited = tab.wait(&moved, Duration::from_secs(30)).await;
    let error = tab
        .eval("String(document.getElementById('player').error && document.getElementById('player').error.message)")
        .await
        .unwrap();
    println!("{what}: from {before} to {}", tab.eval(SHOWN).await.unwrap());
    waited.unwrap_or_else(|problem| panic!("{what} does not play: {problem:#} ({error}); {:?}", tab.complaints()));
}

async fn says(tab: &Tab, text: &str) {
    let expression = format!("document.querySelector('main').innerText.includes({})", json!(text));
    let waited = tab.wait(&expression, MINUTE).await;
    if let Err(problem) = waited {
        panic!("{problem:#}; the page says:\n{}", tab.says().await.unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_scheduled_watched_and_played_in_the_portal() {
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    room.open(ROOM, json!({"lobby": true})).await.unwrap();
    let extra = [("API_ACCESS", "danger_open"), ("LIVE_PICTURE_SECONDS", "2")];
    let stack = Stack::start(folder.path(), Some(&room.origin), &extra).await.unwrap();
    let _clock = room.participant_process(ROOM, "Clara", "clock", 1000, folder.path()).unwrap();
    room.wait_for(ROOM, "clock", "in_call", MINUTE).await.unwrap();
    let browser = Chromium::start(folder.path()).unwrap();
    let tab = browser.tab().await.unwrap();
    tab.open(&stack.http).await.unwrap();
    tab.go("a.go").await.unwrap();
    tab.fill("#meeting_url", &format!("practice:meet/{ROOM}")).await.unwrap();
    tab.fill("#title", "Rehearsal").await.unwrap();
    tab.go("main form button").await.unwrap();
    let begun = Instant::now();
    let guest = room.wait_for(ROOM, "guest", "waiting", MINUTE * 2).await.unwrap();
    says(&tab, "In the lobby").await;
    room.act(ROOM, &guest, "admit").await.unwrap();
    says(&tab, "Recording").await;
    tab.wait(
        "(() => { const one = document.querySelector('[data-picture]'); return one !== null && one.naturalWidth > 100; })()",
        MINUTE,
    )
    .await
    .unwrap();
    plays(&tab, "the call in progress").await;
    if let Some(folder) = std::env::var_os("PORTAL_PICTURES").map(std::path::PathBuf::from) {
        tab.look(1280, false).await.unwrap();
        std::fs::write(folder.join("whole-live.png"), tab.picture(false).await.unwrap()).unwrap();
    }
    let live = tab.text("location.href").await.unwrap();
    room.end(ROOM).await.unwrap();
    says(&tab, "The host ended the call.").await;
    tab.open(&live).await.unwrap();
    says(&tab, "video.mp4").await;
    plays(&tab, "the recording").await;
    let length = tab.eval("document.getElementById('player').duration").await.unwrap().as_f64().unwrap();
    tab.eval(&format!("document.getElementById('player').currentTime = {}", length - 2.0)).await.unwrap();
    tab.wait("!document.getElementById('player').seeking && document.getElementById('player').readyState >= 2", MINUTE)
        .await
        .unwrap();
    says(&tab, "Clara").await;
    println!("{length:.1} s recorded, {:.0} s from the form to the player", begun.elapsed().as_secs_f64());
    let complaints: Vec<String> = tab.complaints().into_iter().filter(|one| !one.contains("404")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_address_of_their_own_api_and_portal_answer_there_alone() {
    let folder = tempfile::tempdir().unwrap();
    // On a loopback address that nobody else uses, so that the port found free is still free a moment later.
    let listen = std::net::TcpListener::bind("127.0.83.7:0").unwrap().local_addr().unwrap().to_string();
    let stack = Stack::start(
        folder.path(),
        None,
        &[("API_LISTEN", &listen), ("MANAGER_BIN", "/bin/true"), ("MEETING_BOT_BIN", "/bin/true")],
    )
    .await
    .unwrap();
    let own = format!("http://{listen}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let status = async |address: String| http.get(address).send().await.map(|answer| answer.status().as_u16());
    let give_up = Instant::now() + MINUTE;
    while status(format!("{own}/v1/me")).await.is_err() {
        assert!(Instant::now() < give_up, "nothing answers at API_LISTEN");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let browser = Chromium::start(folder.path()).unwrap();
    let tab = browser.tab().await.unwrap();
    let made = stack
        .command()
        .unwrap()
        .args(["keys", "create", "--name", "desk", "--role", "admin", "--all-organizations"])
        .output()
        .unwrap();
    let key = String::from_utf8(made.stdout).unwrap();
    tab.open(&own).await.unwrap();
    assert_eq!(tab.text("location.pathname").await.unwrap(), "/portal/sign-in");
    tab.fill("#key", key.trim()).await.unwrap();
    tab.go("main button").await.unwrap();
    assert_eq!(tab.text("location.href").await.unwrap(), format!("{own}/portal/"));
    tab.go("a.go").await.unwrap();
    tab.fill("#meeting_url", "https://meet.google.com/abc-defg-hij").await.unwrap();
    let day = (chrono::Utc::now() + chrono::TimeDelta::days(30)).format("%Y-%m-%d").to_string();
    tab.fill("#start", &format!("{day}T14:30")).await.unwrap();
    tab.eval("document.getElementById('when-then').click()").await.unwrap();
    tab.go("main form button").await.unwrap();
    says(&tab, "Scheduled. A bot is sent").await;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    // The command line finds it there, too.
    let listed = stack.command().unwrap().args(["list", "--meetings"]).env("API_KEY", key.trim()).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(&day), "{listed}");
    // What is for the cluster stays at its address, and nothing of what is for people is there.
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(status(format!("{own}{path}")).await.unwrap(), 404, "{path} at API_LISTEN");
    }
    assert_eq!(status(format!("{}/metrics", stack.http)).await.unwrap(), 200);
    for path in ["/", "/portal/", "/portal/sign-in", "/v1/me", "/openapi.json", "/docs"] {
        assert_eq!(status(format!("{}{path}", stack.http)).await.unwrap(), 404, "{path} at HTTP_LISTEN");
    }
}
