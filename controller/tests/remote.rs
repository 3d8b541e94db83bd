//! The commands that speak the API, as real processes against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

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

const CONTROLLER: &str = env!("CARGO_BIN_EXE_controller");
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

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(output)))
}

fn code(output: &Output) -> i32 {
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

/// A controller of the one-machine set-up, as a process, and commands with its settings.
struct Machine {
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    running: tokio::process::Child,
}

/// Of the test's own environment nothing that could name an API, a key or a store.
fn bare(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(CONTROLLER);
    command.args(arguments).kill_on_drop(true);
    for name in ["API_URL", "API_KEY", "API_LISTEN", "HTTP_LISTEN", "HTTP_PORT_FILE", "STORE_URL", "LAUNCHER", "GCP_PROJECT_ID"] {
        command.env_remove(name);
    }
    command
}

impl Machine {
    async fn start(more: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut settings = vec![
            ("STORE_URL", format!("sqlite:{}", at("store.sqlite"))),
            ("RECORDINGS_URL", format!("file://{}", at("bucket"))),
            ("RUNS_DIR", at("runs")),
            ("MANAGER_BIN", "/bin/true".into()),
            ("MEETING_BOT_BIN", "/bin/true".into()),
            ("HTTP_LISTEN", "127.0.0.1:0".into()),
            ("HTTP_PORT_FILE", at("port")),
            ("XDG_STATE_HOME", at("state")),
        ];
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let running = bare(&["run"]).envs(settings.clone()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let machine = Self { folder, settings, running };
        machine.until_ready().await;
        machine
    }

    async fn until_ready(&self) {
        let give_up = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let address = std::fs::read_to_string(self.folder.path().join("port")).unwrap_or_default();
            let ready =
                reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{address}/readyz")).send().await;
            if ready.is_ok_and(|ready| ready.status().is_success()) {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("log"));
            assert!(tokio::time::Instant::now() < give_up, "it is not ready: {:?}", log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[]).await
    }

    async fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let mut command = bare(arguments);
        command.envs(self.settings.clone()).envs(more.iter().copied());
        tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await.unwrap().unwrap()
    }

    async fn keys(&self) -> Vec<Value> {
        json_of(&self.run(&["keys", "list", "--json"]).await).as_array().unwrap().clone()
    }

    fn key_file(&self) -> std::path::PathBuf {
        let folder = self.folder.path().join("state/meeting-recorder");
        std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    async fn end(mut self) {
        self.running.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_machine_of_the_controller_neither_address_nor_key_need_be_given() {
    let machine = Machine::start(&[]).await;
    assert_eq!(code(&machine.run(&["schedule", "https://zoom.us/j/123456789", "--at", "2037-01-01T00:00:00Z"]).await), 0);
    let list = machine.run(&["list", "--meetings", "--json"]).await;
    assert_eq!(json_of(&list).as_array().map(Vec::len), Some(1), "{}", text(&list));
    // The key is made once, for this user alone to read, and no answer shows it.
    let (file, keys) = (machine.key_file(), machine.keys().await);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!((mode & 0o777, keys.len(), &keys[0]["role"]), (0o600, 1, &json!("operator")));
    for arguments in [&["leave", "none"][..], &["watch", "none"], &["log", "none"], &["link", "none", "x"], &["download", "none"]]
    {
        let output = machine.run(arguments).await;
        assert_eq!(code(&output), 66, "{arguments:?}: {}", text(&output));
        assert!(!text(&output).contains("mbk_"));
    }
    assert_eq!(machine.keys().await.len(), 1);
    // One that was revoked, or damaged, is followed by another.
    let id = keys[0]["id"].as_str().unwrap();
    assert_eq!(code(&machine.run(&["keys", "revoke", id]).await), 0);
    assert_eq!(code(&machine.run(&["list"]).await), 0);
    std::fs::write(&file, "mbk_half").unwrap();
    assert_eq!(code(&machine.run(&["list"]).await), 0);
    assert_eq!(machine.keys().await.len(), 3);
    // What is given goes first, and is not replaced.
    let wrong = machine.run_with(&["list"], &[("API_KEY", "mbk_wrong")]).await;
    assert!(code(&wrong) == 77 && text(&wrong).contains("API_KEY is set"), "{}", text(&wrong));
    let elsewhere = machine.run_with(&["list"], &[("API_URL", "http://127.0.0.1:1")]).await;
    assert!(code(&elsewhere) == 69 && !text(&elsewhere).contains("tried"), "{}", text(&elsewhere));
    assert_eq!(machine.keys().await.len(), 3);
    machine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_asked_for_a_key_none_is_made() {
    let machine = Machine::start(&[("API_ACCESS", "danger_open")]).await;
    let list = machine.run(&["list", "--json"]).await;
    assert_eq!((code(&list), json_of(&list)), (0, json!([])), "{}", text(&list));
    assert!(machine.keys().await.is_empty() && !machine.folder.path().join("state").exists());
    machine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reaches_nothing_or_is_not_let_in_is_told_what_was_tried() {
    let machine = Machine::start(&[]).await;
    let address = std::fs::read_to_string(machine.folder.path().join("port")).unwrap();
    let ask = async |settings: &[(&str, &str)]| bare(&["list"]).envs(settings.iter().copied()).output().await.unwrap();
    let silent = ask(&[("HTTP_LISTEN", "127.0.0.1:1")]).await;
    let said = text(&silent);
    assert_eq!(code(&silent), 69, "{said}");
    for part in [
        "http://127.0.0.1:1",
        "--api (not given), API_URL (not set), API_LISTEN (not set), HTTP_LISTEN (127.0.0.1:1)",
        "controller run",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let unknown = ask(&[("HTTP_LISTEN", "127.0.0.1:0")]).await;
    assert!(code(&unknown) == 64 && text(&unknown).contains("HTTP_PORT_FILE"), "{}", text(&unknown));
    // The controller is there, and these settings have no store in which a key could be made.
    for settings in [&[("HTTP_LISTEN", address.as_str())][..], &[("HTTP_LISTEN", &address), ("GCP_PROJECT_ID", "p")]] {
        let stranger = ask(settings).await;
        assert!(code(&stranger) == 77 && text(&stranger).contains("tried API_KEY (not set)"), "{}", text(&stranger));
    }
    assert!(machine.keys().await.is_empty());
    machine.end().await;
}

#[test]
fn shells_get_their_completion() {
    for shell in ["bash", "zsh", "fish"] {
        let output = std::process::Command::new(CONTROLLER).args(["completion", shell]).output().unwrap();
        assert!(output.status.success() && text(&output).contains("download"), "{shell}");
    }
}
