//! The reference way of recording, for comparison alone: the page records itself (`getDisplayMedia` and `MediaRecorder`, VP8 at
//! 25 frames a second, as the original sidecars do), and after the call one ffmpeg encodes the video (x264 medium, CRF 23)
//! and another one the sound.
//!
//! Cheaper than the originals where it differs, so that no ratio flatters us: chunks leave the page by `fetch` and not as base64
//! through a binding, the conversion is the first version's and not the later one's (x264 slow, CRF 18, sound filters).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::routing::post;
use axum::{Json, Router};
use meeting_bot::browser::{Browser, LaunchOptions, Point};
use meeting_bot::display::Display;
use meeting_bot::doctor::find_browser;
use meeting_bot::scratch::Scratch;
use meeting_bot::sink::Sink;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use crate::process::until;
use crate::usage::below;

/// Joins as a guest; the same clicks that the bot makes.
const JOIN: &str = "(() => {
    document.querySelector('#no-devices')?.click();
    const name = document.querySelector('input[aria-label=\"Your name\"]');
    name.value = 'Reference';
    name.dispatchEvent(new Event('input', { bubbles: true }));
    document.querySelector('#join').click();
})()";

/// Puts a button over the page: the capture of the own tab needs a real click.
const PREPARE: &str = "((sink) => {
    const button = document.createElement('button');
    button.style.cssText = 'position:fixed;inset:0;opacity:0;z-index:2147483647';
    button.onclick = async () => {
        button.remove();
        try {
            const video = { frameRate: 25 };
            const audio = { autoGainControl: false, echoCancellation: false, noiseSuppression: false };
            const stream = await navigator.mediaDevices.getDisplayMedia({ video, audio, preferCurrentTab: true });
            const recorder = new MediaRecorder(stream, { mimeType: 'video/webm;codecs=vp8,opus' });
            let sending = Promise.resolve();
            recorder.ondataavailable = (event) => {
                sending = sending.then(() => fetch(sink, { method: 'POST', body: event.data }));
            };
            recorder.onstop = () => { sending.then(() => { window.__reference = 'stopped'; }); };
            window.__stop = () => { recorder.stop(); stream.getTracks().forEach((track) => track.stop()); };
            recorder.start(2000);
            window.__reference = 'recording';
        } catch (error) { window.__reference = String(error); }
    };
    document.body.append(button);
})";

/// A guest that records by itself.
pub struct Reference {
    browser: Browser,
    display: Display,
    sink: Sink,
    file: PathBuf,
    inbox: String,
    _scratch: Scratch,
}

impl Reference {
    /// Opens the room's page and asks to join.
    pub async fn join(folder: &Path, origin: &str, code: &str) -> Result<Self> {
        let scratch = Scratch::create(Some(folder))?;
        let display = Display::start(&scratch, 1_280, 720).await?;
        let sink = Sink::start(&scratch).await?;
        let options = LaunchOptions {
            program: with_capture_allowed(folder)?,
            width: 1_280,
            height: 720,
            practice: true,
            is_sandboxed: !rustix::process::geteuid().is_root(),
        };
        let browser = Browser::start(&scratch, &display, &sink, &options).await?;
        browser.page().navigate(&format!("{origin}/meet/{code}")).await?;
        let page = browser.page();
        until("the page to load", Duration::from_secs(30), || async {
            let is_there = page.evaluate("!!document.querySelector('#prejoin.on')").await?;
            Ok((is_there == Value::Bool(true)).then_some(()))
        })
        .await?;
        page.evaluate(JOIN).await?;
        let file = folder.join("reference.webm");
        let inbox = inbox(&file).await?;
        Ok(Self { browser, display, sink, file, inbox, _scratch: scratch })
    }

    /// CPU seconds of its browser so far.
    pub fn browser_cpu(&self) -> f64 {
        below(self.browser.group().as_raw_nonzero().get()).values().map(|(cpu, _)| cpu).sum()
    }

    /// CPU seconds of its display and its sound server so far.
    pub fn around_cpu(&self) -> f64 {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let below = below(own);
        ["Xvfb", "pulseaudio"].iter().filter_map(|name| below.get(*name)).map(|(cpu, _)| cpu).sum()
    }

    /// Begins to record.
    pub async fn record(&self) -> Result<()> {
        let page = self.browser.page();
        page.evaluate(&format!("{PREPARE}({:?})", self.inbox)).await?;
        page.click(Point { x: 640.0, y: 360.0 }).await?;
        self.reaches("recording").await
    }

    /// Ends recording; answers the file.
    pub async fn stop(&self) -> Result<PathBuf> {
        self.browser.page().evaluate("window.__stop()").await?;
        self.reaches("stopped").await?;
        Ok(self.file.clone())
    }

    async fn reaches(&self, wanted: &str) -> Result<()> {
        until(wanted, Duration::from_secs(20), || async {
            match self.browser.page().evaluate("window.__reference || ''").await? {
                Value::String(state) if state == wanted => Ok(Some(())),
                Value::String(state) if state.contains("Error") => bail!("the page cannot record itself: {state}"),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Takes everything down.
    pub async fn end(self) {
        tokio::join!(self.browser.stop(), self.sink.stop(), self.display.stop());
    }
}

/// Chromium with the one switch by which a page may capture its own tab without a dialog.
fn with_capture_allowed(folder: &Path) -> Result<PathBuf> {
    let named = std::env::var_os("CHROME_PATH").map(PathBuf::from);
    let program = find_browser(named.as_deref()).map_err(anyhow::Error::msg)?;
    let script = folder.join("chromium-with-tab-capture");
    std::fs::write(&script, format!("#!/bin/sh\nexec '{}' --auto-accept-this-tab-capture \"$@\"\n", program.display()))?;
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(script)
}

/// Takes the page's chunks; answers its address.
async fn inbox(file: &Path) -> Result<String> {
    let target = Arc::new(Mutex::new(tokio::fs::File::create(file).await?));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/", listener.local_addr()?);
    let keep = async |State(target): State<Arc<Mutex<tokio::fs::File>>>, chunk: Bytes| {
        let kept = target.lock().await.write_all(&chunk).await.is_ok();
        let anyone: [(HeaderName, &str); 1] = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
        (anyone, Json(kept))
    };
    let allow = async || [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (header::ACCESS_CONTROL_ALLOW_HEADERS, "*")];
    let app = Router::new().route("/", post(keep).options(allow)).with_state(target);
    tokio::spawn(async move { axum::serve(listener, app.layer(axum::extract::DefaultBodyLimit::disable())).await });
    Ok(address)
}

/// The two ffmpeg runs after the call, one after the other; answers the files.
pub async fn convert(recorded: &Path) -> Result<[PathBuf; 2]> {
    let files = [recorded.with_file_name("reference.mp4"), recorded.with_file_name("reference.m4a")];
    let video = ["-c:v", "libx264", "-preset", "medium", "-crf", "23", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"];
    let sound = ["-vn", "-c:a", "aac", "-b:a", "128k"];
    for (settings, file) in [(&video[..], &files[0]), (&sound[..], &files[1])] {
        let mut ffmpeg = tokio::process::Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(recorded).args(settings).arg(file).kill_on_drop(true);
        let done = tokio::time::timeout(Duration::from_secs(600), ffmpeg.status()).await??;
        ensure!(done.success(), "ffmpeg ended with {done}");
    }
    Ok(files)
}
