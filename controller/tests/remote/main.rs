//! The commands that speak the API, as real processes against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "../../../crates/webhooks/tests/deliver/authority.rs"]
#[allow(dead_code, reason = "the file is shared with another suite")]
mod authority;
mod here;
mod machine;
mod tls;

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use api::access::{Role, Scope};
use api::keys::{self, NewKey};
use api::state::{Api, Settings};
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use bot_model::configuration::Naming;
use bot_model::ids::InstanceId;
use bot_store::{DocumentKey, Store, Write};
use chrono::Utc;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const CONTROLLER: &str = env!("CARGO_BIN_EXE_controller");
const ZOOM: &str = "https://zoom.us/j/123456789?pwd=CANARY";

struct Site {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    origin: String,
    key: String,
    /// Downloads yet to be broken off half-way.
    cuts: Arc<AtomicU32>,
    _stop: DropGuard,
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = bot_store::connect::open(&url, Naming::default()).await.unwrap();
        let recordings_url = format!("file://{}", folder.path().join("bucket").display());
        let settings = Settings { max_live: 4, recordings_url, ..Settings::default() };
        let stop = CancellationToken::new();
        let cuts = Arc::new(AtomicU32::new(0));
        let left = Arc::clone(&cuts);
        let router = api::serve(Api::new(Arc::clone(&store), settings, stop.clone()))
            .layer(from_fn(move |request: Request, next: Next| cut(Arc::clone(&left), request, next)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let new = NewKey {
            name: "test".into(),
            role: Role::Operator,
            scope: Scope::These(vec!["a".into()]),
            expires_at: None,
            created_by: "test".into(),
        };
        let (_, key) = keys::create(store.as_ref(), &new, Utc::now()).await.unwrap();
        Self { folder, store, origin, key, cuts, _stop: stop.drop_guard() }
    }

    async fn put(&self, id: &str, value: Value) {
        let key = DocumentKey::Instance(InstanceId::parse(id).unwrap());
        let write = Write::create(key, value.as_object().unwrap().clone());
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
    }

    /// A bot that is done, with a video of these bytes.
    async fn done(&self, id: &str, video: &[u8]) {
        let file = self.folder.path().join("bucket/x").join(id).join("video.mp4");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, video).unwrap();
        let artifact = json!({"name": "video", "object": format!("file://{}", file.display()), "bytes": video.len(),
            "crc32c": format!("{:08x}", crc32c::crc32c(video))});
        self.put(
            id,
            json!({"meeting_url": ZOOM, "status": "done", "phase": "done", "platform": "zoom", "creator_organization_id": "a",
            "created_at": "2026-11-01T09:00:00Z", "artifacts": [artifact]}),
        )
        .await;
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &self.key).await
    }

    async fn run_with(&self, arguments: &[&str], key: &str) -> Output {
        let mut command = tokio::process::Command::new(CONTROLLER);
        command.args(arguments).env("API_URL", &self.origin).env("API_KEY", key).env("NO_PROXY", "*");
        tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await.unwrap().unwrap()
    }
}

/// Breaks a download off half-way, as often as is left.
async fn cut(left: Arc<AtomicU32>, request: Request, next: Next) -> Response {
    let is_file = request.uri().path().ends_with("/video.mp4");
    let response = next.run(request).await;
    let is_cut = is_file && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    if !is_cut {
        return response;
    }
    let (parts, body) = response.into_parts();
    let half = body.into_data_stream().take(1).chain(futures::stream::once(async { Err(axum::Error::new("cut on demand")) }));
    Response::from_parts(parts, Body::from_stream(half))
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(output)))
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_is_scheduled_listed_watched_and_left_over_the_api() {
    let site = Site::new().await;
    let made = site.run(&["schedule", ZOOM, "--name", "Notes", "--json"]).await;
    let answer = json_of(&made);
    assert_eq!((code(&made), &answer["result"]), (0, &json!("queued")), "{}", text(&made));
    let bot = answer["bot"]["id"].as_str().unwrap().to_owned();
    let again = site.run(&["schedule", ZOOM]).await;
    assert!(text(&again).contains("already_there") && text(&again).contains(&bot), "{}", text(&again));
    let list = site.run(&["list"]).await;
    assert!(text(&list).starts_with("ID ") && text(&list).contains(&bot) && text(&list).contains("queued"), "{}", text(&list));
    assert_eq!(json_of(&site.run(&["list", "--meetings", "--json"]).await).as_array().unwrap().len(), 1);
    assert_eq!(json_of(&site.run(&["list", "--phase", "recording", "--json"]).await), json!([]));
    let mut watching = tokio::process::Command::new(CONTROLLER);
    watching.args(["watch", &bot]).env("API_URL", &site.origin).env("API_KEY", &site.key).env("NO_PROXY", "*");
    let watching = watching.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let left = site.run(&["leave", &bot]).await;
    assert_eq!(code(&left), 0, "{}", text(&left));
    let watched = tokio::time::timeout(std::time::Duration::from_secs(60), watching.wait_with_output()).await.unwrap().unwrap();
    assert!(text(&watched).contains("queued") && text(&watched).contains("cancelled"), "{}", text(&watched));
    assert_eq!(code(&watched), 3, "it ended without files");
    let status = site.run(&["status", &bot]).await;
    assert!(text(&status).contains("phase cancelled") && !text(&status).contains("CANARY"), "{}", text(&status));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_was_and_a_wrong_one_never_gets_its_name() {
    let site = Site::new().await;
    let video: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    site.done("b", &video).await;
    let to = site.folder.path().join("to");
    let (file, part) = (to.join("video.mp4"), to.join("video.mp4.part"));
    let arguments = ["download", "b", "--to", to.to_str().unwrap(), "--json"];
    site.cuts.store(2, Ordering::Relaxed);
    let done = site.run(&arguments).await;
    assert_eq!((code(&done), json_of(&done)[0]["resumed_from"].as_u64()), (0, Some(0)), "{}", text(&done));
    assert!(std::fs::read(&file).unwrap() == video && !part.exists());
    assert_eq!(site.cuts.load(Ordering::Relaxed), 0, "it was broken off twice");
    assert_eq!(json_of(&site.run(&arguments).await)[0]["resumed_from"], video.len(), "what is there is not fetched again");
    // An earlier process was killed half-way.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&part, &video[..1_000_000]).unwrap();
    assert_eq!(json_of(&site.run(&arguments).await)[0]["resumed_from"], 1_000_000);
    assert!(std::fs::read(&file).unwrap() == video);
    // What it left was damaged.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&part, vec![7; 1_000_000]).unwrap();
    let damaged = site.run(&arguments).await;
    assert_eq!((code(&damaged), file.exists(), part.exists()), (65, false, false), "{}", text(&damaged));
    assert_eq!(code(&site.run(&arguments).await), 0);
    let link = site.run(&["link", "b", "video.mp4"]).await;
    let answer = reqwest::get(String::from_utf8_lossy(&link.stdout).trim()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (200, video.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_refusal_has_an_exit_code_of_its_own() {
    let site = Site::new().await;
    site.done("b", b"video").await;
    let other = Site::new().await;
    for (arguments, key, expected) in [
        (vec!["list"], "mbk_wrong", 77),
        (vec!["list"], "", 77),
        (vec!["leave", "none"], site.key.as_str(), 66),
        (vec!["download", "b", "audio.m4a"], &site.key, 66),
        (vec!["schedule", "https://evil.example/"], &site.key, 64),
        (vec!["list", "--limit", "0"], &site.key, 64),
        (vec!["list", "--api", "ftp://x"], &site.key, 64),
        (vec!["list", "--api", "http://127.0.0.1:1"], &site.key, 69),
        (vec!["log", "b"], &site.key, 66),
        (vec!["list"], &other.key, 77),
    ] {
        let output = site.run_with(&arguments, key).await;
        assert_eq!(code(&output), expected, "{arguments:?}: {}", text(&output));
        assert!(!text(&output).contains(&site.key), "{arguments:?}");
    }
}

#[test]
fn shells_get_their_completion() {
    for shell in ["bash", "zsh", "fish"] {
        let output = std::process::Command::new(CONTROLLER).args(["completion", shell]).output().unwrap();
        assert!(output.status.success() && text(&output).contains("download"), "{shell}");
    }
}
