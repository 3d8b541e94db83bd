//! What a real Chromium's own recorder makes, as the existing images take it: chunks of a second, appended.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::response::Html;
use axum::routing::{get, post};

use crate::process::until;

/// Draws a clock, plays a tone, and sends six seconds of both, chunk by chunk, in order.
const PAGE: &str = r#"<!doctype html><canvas id=c width=320 height=180></canvas><script>
const paint = c.getContext('2d');
let n = 0;
setInterval(() => { paint.fillStyle = `hsl(${n * 20 % 360} 80% 50%)`; paint.fillRect(0, 0, 320, 180);
  paint.fillStyle = '#000'; paint.font = '60px sans-serif'; paint.fillText(n++, 20, 110); }, 66);
const sound = new AudioContext(), tone = sound.createOscillator(), out = sound.createMediaStreamDestination();
tone.frequency.value = 440; tone.connect(out); tone.start();
const stream = c.captureStream(15); stream.addTrack(out.stream.getAudioTracks()[0]);
const recorder = new MediaRecorder(stream, { mimeType: 'video/webm;codecs=CODEC,opus' });
let sent = Promise.resolve();
recorder.ondataavailable = (event) => { sent = sent.then(() => fetch('/chunk', { method: 'POST', body: event.data })); };
recorder.onstop = () => { sent = sent.then(() => fetch('/over', { method: 'POST' })); };
sound.resume().then(() => { recorder.start(1000); setTimeout(() => recorder.stop(), 6000); });
</script>"#;

struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A WebM with `codec` (vp8, vp9 or h264) and Opus.
pub(crate) async fn media_recorder(codec: &str) -> Vec<u8> {
    let (recorded, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(false)));
    let page = PAGE.replace("CODEC", codec);
    let (chunks, over) = (recorded.clone(), is_over.clone());
    let take = move |chunk: Bytes| async move { chunks.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk) };
    let app = Router::new()
        .route("/", get(|| async { Html(page) }))
        .route("/chunk", post(take))
        .route("/over", post(|| async move { *over.lock().unwrap() = true }))
        .layer(DefaultBodyLimit::max(64 << 20));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
    let profile = tempfile::tempdir().unwrap();
    let program = std::env::var("CHROME_PATH").unwrap_or_else(|_| "chromium".into());
    let mut command = Command::new(&program);
    command.args(["--headless=new", "--no-sandbox", "--no-first-run", "--autoplay-policy=no-user-gesture-required"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg(address);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let browser = Browser(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}: install the package chromium")));
    until("the recording", async || *is_over.lock().unwrap()).await;
    drop(browser);
    serving.abort();
    recorded.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
