//! A bot whose raw segments lie in a folder, and an API without keys in front of it.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::access::Access;
use api::state::{Api, Settings};
use axum::Router;
use bot_model::configuration::Naming;
use bot_model::ids::InstanceId;
use bot_model::schedule::StartWindow;
use bot_model::segment::{PartInfo, RawKind, RawName};
use bot_store::{DocumentKey, Store, Write};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Of each segment here.
pub(crate) const SEGMENT_SECS: f64 = 1.0;
const PREFIX: &str = "recordings/x";

/// What a program says on standard output; it must end well.
pub(crate) fn ffmpeg(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("ffmpeg is missing: scripts/setup.sh --install test");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) struct Call {
    pub(crate) origin: String,
    folder: Arc<tempfile::TempDir>,
    store: Arc<dyn Store>,
    _stop: DropGuard,
}

impl Call {
    /// A call that is being recorded, and what else the server shall answer.
    pub(crate) async fn new(beside: Option<Router>) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = bot_store::connect::open(&url, Naming::default()).await.unwrap();
        record(&folder.path().join("template"));
        let call = Self::serving(folder, store, beside).await;
        let value = json!({"meeting_url": "https://zoom.us/j/123456789", "status": "processing", "phase": "recording", "platform": "zoom",
            "gcs_path": PREFIX, "attempt": 1, "joining_attempt": 1});
        let write = Write::create(key(), value.as_object().unwrap().clone());
        assert!(call.store.commit(vec![write]).await.unwrap().is_applied());
        call
    }

    /// Another process' API over the same store and bucket.
    pub(crate) async fn other_replica(&self) -> Self {
        Self::serving(Arc::clone(&self.folder), Arc::clone(&self.store), None).await
    }

    async fn serving(folder: Arc<tempfile::TempDir>, store: Arc<dyn Store>, beside: Option<Router>) -> Self {
        let recordings_url = format!("file://{}", folder.path().join("bucket").display());
        let settings = Settings {
            access: Access::DangerOpen,
            window: StartWindow::default(),
            max_live: 4,
            recordings_url,
            ..Settings::default()
        };
        let stop = CancellationToken::new();
        let api = api::serve(Api::new(Arc::clone(&store), settings, stop.clone()));
        let router = beside.unwrap_or_default().fallback_service(api);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, folder, store, _stop: stop.drop_guard() }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("/v1/bots/b/hls/{name}")
    }

    async fn change(&self, value: Value) {
        let write = Write::merge_existing(key(), value.as_object().unwrap().clone());
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
    }

    /// The manager's word on the recording.
    pub(crate) async fn recorded(&self, attempt: u32, run: &str, parts: u32) {
        let now = "2027-01-15T09:00:00Z";
        let run = json!({"pod_uid": run, "attempt": attempt, "renewals": 1, "renewed_at": now});
        let recording = json!({"started_at": now, "parts": parts, "segments": 1, "bytes": 1});
        self.change(json!({"attempt": attempt, "run": run, "recording": recording})).await;
    }

    pub(crate) async fn ended(&self) {
        self.change(json!({"phase": "done", "status": "done"})).await;
    }

    pub(crate) async fn raw_deleted(&self) {
        self.change(json!({"raw_deleted_at": "2027-01-20T09:00:00Z"})).await;
    }

    /// Carries a part's head and these segments out.
    pub(crate) fn part(&self, attempt: u32, run: &str, part: u32, segments: Range<u32>) {
        let info = PartInfo {
            part,
            started_at: "2027-01-15T09:00:00Z".parse().unwrap(),
            audio_lag_ms: 0,
            width: 320,
            height: 180,
            frames_per_second: 15,
        };
        self.lay((attempt, run, part), RawKind::Part, &serde_json::to_vec(&info).unwrap());
        self.lay((attempt, run, part), RawKind::Init, &std::fs::read(self.template("init.mp4")).unwrap());
        self.part_without(attempt, run, part, segments);
    }

    /// Carries these segments out.
    pub(crate) fn part_without(&self, attempt: u32, run: &str, part: u32, segments: Range<u32>) {
        for seq in segments {
            let bytes = std::fs::read(self.template(&format!("seg-{seq:06}.m4s"))).unwrap();
            self.lay((attempt, run, part), RawKind::Segment(seq), &bytes);
        }
    }

    fn template(&self, name: &str) -> PathBuf {
        self.folder.path().join("template").join(name)
    }

    fn lay(&self, (attempt, run, part): (u32, &str, u32), kind: RawKind, bytes: &[u8]) {
        let name = RawName { attempt, run: run.to_owned(), part, kind, crc32c: crc32c::crc32c(bytes) };
        let file = self.folder.path().join("bucket").join(PREFIX).join("raw").join(name.path());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// What is answered once it is as wanted.
    pub(crate) async fn later(&self, path: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = self.get(path).await.1;
            if is_wanted(&text) {
                return text;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{text}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The detail of a 404.
    pub(crate) async fn problem(&self, path: &str) -> String {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 404, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["detail"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{}{path}", self.origin)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

fn key() -> DocumentKey {
    DocumentKey::Instance(InstanceId::parse("b").unwrap())
}

/// Segments as the meeting-bot's ffmpeg makes them, of a second each.
fn record(folder: &std::path::Path) {
    std::fs::create_dir_all(folder).unwrap();
    let list = folder.join("index.m3u8");
    let segments = folder.join("seg-%06d.m4s");
    let inputs =
        ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=15", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"];
    let coding =
        ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "15", "-bf", "0", "-c:a", "aac", "-ac", "2"];
    let cutting = ["-f", "hls", "-hls_time", "1", "-hls_segment_type", "fmp4", "-hls_flags", "independent_segments"];
    let rest =
        ["-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", segments.to_str().unwrap(), list.to_str().unwrap()];
    let arguments: Vec<&str> = ["-v", "error", "-y"]
        .iter()
        .chain(&inputs)
        .chain(&["-t", "4"])
        .chain(&coding)
        .chain(&cutting)
        .chain(&rest)
        .copied()
        .collect();
    ffmpeg("ffmpeg", &arguments);
}
