//! One of the existing images, as a real HTTP server that holds state: one job and a busy flag, a file that is appended to in chunks,
//! reports to a backend on loopback at the end of each attempt (reference original-systems.md sections 1.1 to 1.4 and 1.9).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{Path as Route, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::process::until;

/// The scripted image.
#[derive(Clone)]
pub(crate) struct Image {
    url: String,
    root: PathBuf,
    callback_port: u16,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    job: Option<Value>,
    provider: String,
    is_busy: bool,
    joins: u32,
    polls: u32,
    started: Option<Instant>,
    serving: Option<JoinHandle<()>>,
}

impl Image {
    pub(crate) async fn start(folder: &Path) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let image = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            root: folder.join("tempvideo"),
            callback_port: free,
            script: Arc::new(Mutex::new(Script { started: Some(Instant::now()), ..Script::default() })),
        };
        let app = Router::new()
            .route("/{provider}/join", post(join))
            .route("/isbusy", get(is_busy))
            .route("/health", get(health))
            .with_state(image.clone());
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        image.lock().serving = Some(serving);
        image
    }

    /// The environment of a manager beside it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("MEETING_BOT_API_URL", self.url.clone()),
            ("SIDECAR_CALLBACK_PORT", self.callback_port.to_string()),
            ("TEMPVIDEO_DIR", self.root.display().to_string()),
        ]
    }

    pub(crate) fn callback_port(&self) -> u16 {
        self.callback_port
    }

    pub(crate) async fn is_joined(&self) -> Value {
        until("a join", async || self.lock().is_busy).await;
        self.lock().job.clone().unwrap()
    }

    pub(crate) fn provider(&self) -> String {
        self.lock().provider.clone()
    }

    pub(crate) fn joins(&self) -> u32 {
        self.lock().joins
    }

    /// Where its file is.
    pub(crate) fn file(&self) -> PathBuf {
        let job = self.lock().job.clone().unwrap();
        let text = |name: &str| job[name].as_str().unwrap().to_owned();
        let stem = safe_base64(&format!("{}{}0", text("userId"), text("botId")));
        self.root.join(text("userId")).join(format!("{stem}.webm"))
    }

    /// Appends a chunk as it came from the browser.
    pub(crate) fn append(&self, chunk: &[u8]) {
        let file = self.file();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::File::options().create(true).append(true).open(file).unwrap().write_all(chunk).unwrap();
    }

    /// Lays a whole file down beside it, as `UPLOADER_FILE_EXTENSION` may ask.
    pub(crate) fn write_whole(&self, extension: &str, content: &[u8]) {
        let file = self.file().with_extension(extension);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    /// Reports an attempt's end as the images do; the answers' statuses.
    pub(crate) async fn report(&self, states: &[&str], log: Option<(&str, &str)>) -> Vec<u16> {
        let job = self.lock().job.clone().unwrap();
        let status = json!({ "eventId": job["eventId"], "botId": job["botId"], "provider": self.provider(), "status": states });
        let mut answers = vec![self.patch("status", job["bearerToken"].as_str().unwrap(), &status).await];
        if let Some((category, sub_category)) = log {
            let body = json!({
                "eventId": job["eventId"], "botId": job["botId"], "provider": self.provider(), "level": "error",
                "message": "of somebody by name", "category": category, "subCategory": sub_category,
            });
            answers.push(self.patch("log", job["bearerToken"].as_str().unwrap(), &body).await);
        }
        answers
    }

    pub(crate) async fn patch(&self, what: &str, token: &str, body: &Value) -> u16 {
        let url = format!("http://localhost:{}/v2/meeting/app/bot/{what}", self.callback_port);
        let sent = reqwest::Client::new().patch(url).bearer_auth(token).json(body).send().await;
        sent.map_or(0, |answer| answer.status().as_u16())
    }

    /// The job is over, whatever became of it.
    pub(crate) fn end(&self) {
        self.lock().is_busy = false;
    }

    /// Its process is killed.
    pub(crate) fn die(&self) {
        self.lock().serving.take().unwrap().abort();
    }

    /// Its process was killed and is started anew: its job is forgotten, its disk is not.
    pub(crate) fn restart(&self) {
        let mut script = self.lock();
        (script.is_busy, script.started) = (false, Some(Instant::now()));
    }

    pub(crate) async fn is_polled(&self) {
        let before = self.lock().polls;
        until("two polls", async || self.lock().polls > before + 1).await;
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn join(State(image): State<Image>, Route(provider): Route<String>, Json(body): Json<Value>) -> Response {
    let has = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
    let ids = ["botId", "eventId"];
    if !["bearerToken", "url", "name", "teamId", "timezone", "userId"].iter().all(|name| has(name))
        || !ids.iter().any(|id| has(id))
    {
        return (StatusCode::BAD_REQUEST, Json(json!({ "success": false, "error": "Missing required fields" }))).into_response();
    }
    let mut script = image.lock();
    let data = json!({ "userId": body["userId"], "teamId": body["teamId"], "eventId": body["eventId"], "botId": body["botId"] });
    if script.is_busy {
        let error = "Another meeting is currently being processed. Please try again later.";
        return (StatusCode::CONFLICT, Json(json!({ "success": false, "error": error, "data": data }))).into_response();
    }
    script.is_busy = true;
    script.joins += 1;
    (script.job, script.provider) = (Some(body), provider);
    (StatusCode::ACCEPTED, Json(json!({ "success": true, "message": "accepted", "data": data }))).into_response()
}

async fn is_busy(State(image): State<Image>) -> Json<Value> {
    let mut script = image.lock();
    script.polls += 1;
    Json(json!({ "success": true, "data": u8::from(script.is_busy) }))
}

async fn health(State(image): State<Image>) -> Json<Value> {
    let uptime = image.lock().started.unwrap().elapsed().as_secs_f64();
    Json(json!({ "status": "healthy", "timestamp": chrono::Utc::now(), "uptime": uptime }))
}

/// URL-safe base64 without padding, by hand: the manager's own is what is tested.
fn safe_base64(text: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = text.bytes().map(|byte| format!("{byte:08b}")).collect();
    let six = |chunk: &[u8]| u8::from_str_radix(&format!("{:0<6}", std::str::from_utf8(chunk).unwrap()), 2).unwrap();
    bits.as_bytes().chunks(6).map(|chunk| char::from(alphabet[usize::from(six(chunk))])).collect()
}

/// Six seconds at 15 frames a second in a WebM as a browser's recorder streams it: no length, no index, sizes unknown.
pub(crate) fn webm(folder: &Path, video: &[&str]) -> Vec<u8> {
    let file = folder.join(format!("{}.webm", video.join("")));
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=15"]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "6", "-c:v"]).args(video);
    command.args(["-pix_fmt", "yuv420p", "-g", "15", "-c:a", "libopus", "-ac", "2", "-live", "1", "-f", "matroska"]);
    assert!(command.arg(&file).status().expect("ffmpeg is missing: install the package ffmpeg").success());
    std::fs::read(&file).unwrap()
}

/// The same as an MP4 whose index is written last.
pub(crate) fn mp4(folder: &Path) -> Vec<u8> {
    let (from, to) = (folder.join("from.webm"), folder.join("to.mp4"));
    std::fs::write(&from, webm(folder, H264)).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y", "-i"]).arg(from).args(["-c:v", "copy", "-c:a", "aac"]);
    assert!(command.arg(&to).status().unwrap().success());
    std::fs::read(to).unwrap()
}

pub(crate) const VP8: &[&str] = &["libvpx", "-deadline", "realtime", "-b:v", "400k"];
pub(crate) const VP9: &[&str] = &["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k"];
pub(crate) const H264: &[&str] = &["libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-bf", "0"];
