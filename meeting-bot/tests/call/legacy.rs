//! A call driven as the existing images' managers do it: join, poll the busy flag, find the file.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::patch;
use axum::{Json, Router};
use bot_model::session::DEAD_MAN_SWITCH;
use serde_json::{Value, json};

use crate::bot::{Bot, until};
use crate::replica::Replica;
use crate::{BRING_UP, SOON};

type Heard = Arc<Mutex<Vec<(String, String, Value)>>>;

/// The backend that such an image reports to.
async fn backend() -> (String, Heard) {
    async fn take(
        State(heard): State<Heard>,
        Path(what): Path<String>,
        headers: HeaderMap,
        Json(body): Json<Value>,
    ) -> Json<Value> {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        heard.lock().unwrap().push((what, token, body));
        Json(json!({ "success": true }))
    }
    let (listener, heard) = (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), Heard::default());
    let base = format!("http://{}/v2", listener.local_addr().unwrap());
    let router = Router::new().route("/v2/meeting/app/bot/{what}", patch(take)).with_state(heard.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base, heard)
}

fn join(code: &str) -> Value {
    json!({
        "bearerToken": "secret", "url": format!("practice:meet/{code}"), "name": "Recorder Zoë", "teamId": "team", "timezone": "UTC",
        "userId": "user", "botId": "bot",
    })
}

async fn is_busy(bot: &Bot) -> bool {
    let answer: Value = bot.get("/isbusy").await.json().await.unwrap();
    assert_eq!(answer["success"], true);
    answer["data"] == 1
}

async fn segments(parts: &std::path::Path) -> usize {
    // Polled as such a manager does, and by nothing else.
    std::fs::read_dir(parts.join("p000"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|is| is == "m4s"))
        .count()
}

fn probed(file: &std::path::Path) -> String {
    let arguments = ["-v", "error", "-show_entries", "stream=codec_name:format=duration", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(arguments).arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_manager_finds_the_file_of_a_whole_call_once_the_bot_is_no_longer_busy() {
    let (replica, (base, heard)) = (Replica::start().await, backend().await);
    replica.open("reference", 1_000);
    let videos = tempfile::tempdir().unwrap();
    let root = videos.path().join("tempvideo");
    let settings = [("TEMPVIDEO_DIR", root.to_str().unwrap()), ("AUTH_BASE_URL_V2", base.as_str())];
    let bot = Bot::start_with(&replica.origin, &settings).await;
    let mut lacking = join("reference");
    lacking["timezone"] = json!("");
    assert_eq!(bot.post("/google/join", lacking).await, 400);
    assert_eq!(bot.post("/zoom/join", join("reference")).await, 400, "a Meet address was taken for Zoom");
    assert!(!is_busy(&bot).await);
    let begun = Instant::now();
    assert_eq!(bot.post("/google/join", join("reference")).await, 202);
    assert_eq!(bot.post("/google/join", join("other")).await, 409);
    until("the lobby", BRING_UP, async || (is_busy(&bot).await && replica.seen("reference").contains_key("name")).then_some(()))
        .await;
    replica.set("reference", "call", 1);
    // urlsafe-base64("user" + "bot" + "0")
    let (file, parts): (PathBuf, PathBuf) = (root.join("user/dXNlcmJvdDA.webm"), root.join("user/dXNlcmJvdDA.parts"));
    let long = DEAD_MAN_SWITCH + Duration::from_secs(5);
    let recorded = async || (is_busy(&bot).await && segments(&parts).await >= 3 && begun.elapsed() > long).then_some(());
    until("three segments, longer than no manager may be silent", long + BRING_UP, recorded).await;
    assert!(bot.get("/metrics").await.text().await.unwrap().contains("isbusy 1"));
    assert!(!file.exists());
    replica.set("reference", "ended", 0);
    until("the end", SOON + Duration::from_secs(20), async || (!is_busy(&bot).await).then_some(())).await;
    assert!(file.exists(), "no file when it was no longer busy\n{}", bot.log());
    let told = probed(&file);
    assert!(told.starts_with("h264 aac "), "{told}");
    let secs: f64 = told.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(secs >= 12.0 && secs < begun.elapsed().as_secs_f64(), "{secs} s");
    assert!(!parts.exists(), "the segments lie there twice");
    let heard = heard.lock().unwrap().clone();
    let states = json!(["processing", "joined", "finished"]);
    let wanted = json!({ "provider": "google", "botId": "bot", "status": states });
    assert_eq!(heard, [("status".to_owned(), "Bearer secret".to_owned(), wanted)]);
    assert_eq!(bot.post("/google/join", join("reference")).await, 409, "one session a process");
    assert!(!bot.log().contains("secret") && !bot.log().contains("Zoë"), "the log names what it must not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_request_is_reported_with_its_reason_and_leaves_no_file() {
    let (replica, (base, heard)) = (Replica::start().await, backend().await);
    replica.open("denied", 1_000);
    let videos = tempfile::tempdir().unwrap();
    let settings = [("TEMPVIDEO_DIR", videos.path().to_str().unwrap()), ("AUTH_BASE_URL_V2", base.as_str())];
    let bot = Bot::start_with(&replica.origin, &settings).await;
    assert_eq!(bot.post("/google/join", join("denied")).await, 202);
    until("the lobby", BRING_UP, async || (is_busy(&bot).await && replica.seen("denied").contains_key("name")).then_some(()))
        .await;
    replica.set("denied", "denied", 0);
    until("the end", SOON, async || (!is_busy(&bot).await).then_some(())).await;
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard[0].2["status"], json!(["processing", "failed"]));
    assert_eq!((&heard[1].0, &heard[1].2["subCategory"]), (&"log".to_owned(), &json!("UserDeniedRequest")));
    assert_eq!(std::fs::read_dir(videos.path().join("user")).unwrap().count(), 0);
}
