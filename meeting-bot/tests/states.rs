//! The built-in Meet pack against pages in a real browser: each state is recognised, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a test fails by panicking

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::get;
use bot_model::meeting_url::Platform;
use meeting_bot::browser::{Browser, LaunchOptions, Page};
use meeting_bot::display::Display;
use meeting_bot::doctor::find_browser;
use meeting_bot::platform::pack::{Meaning, Pack};
use meeting_bot::platform::probe::{Probe, Seen};
use meeting_bot::scratch::Scratch;
use meeting_bot::sink::Sink;

type Pages = Arc<Mutex<BTreeMap<String, &'static str>>>;

/// Pages as public code describes Meet's (typographic apostrophes included), and what they mean.
const CASES: &[(&str, &str, &[Meaning])] = &[
    (
        "prejoin",
        r#"<input type="text" aria-label="Your name"><button aria-label="Leave call">x</button><button><span>Ask to join</span></button>"#,
        &[Meaning::NamePrompt, Meaning::ReadyToJoin],
    ),
    ("devices", "<button><span>Continue without microphone and camera</span></button>", &[Meaning::DevicePrompt]),
    ("host", "<p>Please wait until a meeting host brings you into the call</p>", &[Meaning::WaitingForHost]),
    (
        "lobby",
        r#"<p>You’ll join the call when someone lets you in</p><button>Return to home screen</button><div data-participant-id="me" aria-label="visual_effects">Backgrounds and effects</div>
           <button aria-label="Turn on microphone">m</button><button aria-label="Leave call">x</button>"#,
        &[Meaning::Lobby],
    ),
    (
        "call",
        r#"<div data-participant-id="a" data-self-name="x">me</div><div data-participant-id="b">b</div><div data-participant-id="b">b again</div><div data-participant-id="c">c</div>
           <button aria-label="People - 3 joined">p</button><button aria-label="Leave call">x</button>"#,
        &[Meaning::InCall],
    ),
    ("hidden_call", r#"<div style="display:none"><button aria-label="Turn on captions">c</button></div><p>Loading</p>"#, &[]),
    ("denied", "<h1>Someone in the call denied your request to join</h1>", &[Meaning::Denied]),
    ("weren't", "<h1>You weren’t allowed to join</h1>", &[Meaning::Denied]),
    ("nobody", "<h1>No one responded to your request to join the call</h1>", &[Meaning::RequestTimedOut]),
    ("sign_in", "<div><h1>Sign in</h1><p>Use your Google Account</p></div>", &[Meaning::SignIn]),
    ("captcha", r#"<iframe src="about:blank#recaptcha" width="300" height="200"></iframe>"#, &[Meaning::Captcha]),
    ("tiny_captcha", r#"<iframe src="about:blank#recaptcha" width="30" height="20"></iframe>"#, &[]),
    ("blocked", "<h1>You can’t join this video call</h1>", &[Meaning::Blocked]),
    ("not_found", "<h1>Check your meeting code</h1>", &[Meaning::NotFound]),
    ("expired", "<h1>The meeting code you entered doesn’t work</h1>", &[Meaning::NotFound]),
    ("removed", "<h1>You’ve been removed from the meeting</h1>", &[Meaning::Removed]),
    ("ended", "<h1>Your host ended the meeting for everyone</h1>", &[Meaning::Ended]),
    ("left", "<h1>You left the meeting</h1>", &[Meaning::Left]),
    (
        "alone",
        r#"<div data-participant-id="a" data-self-name="x">me</div><button aria-label="People - 1 joined">p</button><p>No one else is here</p>"#,
        &[Meaning::InCall, Meaning::Alone],
    ),
];

async fn serve(pages: Pages) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let page = |State(pages): State<Pages>, Path(name): Path<String>| async move {
        let body = pages.lock().unwrap().get(&name).copied().unwrap_or_default(); // the browser also asks for an icon
        Html(format!("<!doctype html><meta charset=utf-8><body>{body}</body>"))
    };
    let router = Router::new().route("/{name}", get(page)).with_state(pages);
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

async fn look(page: &Page, probe: &Probe, address: &str) -> Seen {
    page.navigate(address).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while page.evaluate("document.readyState").await.unwrap() != "complete" {
        assert!(tokio::time::Instant::now() < deadline, "{address} did not load");
    }
    probe.look(page).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_meet_is_recognised_and_no_other() {
    let pages: Pages = Arc::new(Mutex::new(CASES.iter().map(|(name, html, _)| ((*name).to_owned(), *html)).collect()));
    let origin = serve(pages).await;
    let scratch = Scratch::create(None).unwrap();
    let display = Display::start(&scratch, 1_280, 720).await.unwrap();
    let sink = Sink::start(&scratch).await.unwrap();
    let program = find_browser(std::env::var_os("CHROME_PATH").map(std::path::PathBuf::from).as_deref()).unwrap();
    let options =
        LaunchOptions { program, width: 1_280, height: 720, practice: true, is_sandboxed: !rustix::process::geteuid().is_root() };
    let browser = Browser::start(&scratch, &display, &sink, &options).await.unwrap();
    let pack = Pack::load(Platform::Meet, None).unwrap();
    let host = origin.strip_prefix("http://").unwrap().to_owned();
    let probe = Probe::new(&pack, Some(host));

    for (name, _, meanings) in CASES {
        let seen = look(browser.page(), &probe, &format!("{origin}/{name}")).await;
        let expected: BTreeSet<Meaning> = meanings.iter().copied().collect();
        assert_eq!(seen.meanings, expected, "{name}");
        assert!(!seen.host_differs && seen.problems.is_empty(), "{name}: {seen:?}");
        match *name {
            "call" => assert_eq!((seen.counts["tiles"], seen.counts["people_button"]), (Some(2), Some(2))),
            "alone" => assert_eq!((seen.counts["tiles"], seen.counts["people_button"]), (Some(0), Some(0))),
            _ => {}
        }
    }
    let elsewhere = Probe::new(&pack, None);
    assert!(look(browser.page(), &elsewhere, &format!("{origin}/left")).await.host_differs);
    tokio::join!(browser.stop(), sink.stop(), display.stop());
}
