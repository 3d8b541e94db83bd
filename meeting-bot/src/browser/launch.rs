//! Starting Chromium, attaching to its tab, and noticing its death.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep};

use super::page::Page;
use super::pipe::{CdpError, CdpEvent, CdpPipe};
use crate::children::{ChildGroup, SpawnError};
use crate::display::Display;
use crate::scratch::Scratch;
use crate::sink::Sink;

/// A cold start on a loaded machine has been seen to take over 20 s.
const START_DEADLINE: Duration = Duration::from_secs(60);
const CALL: Duration = Duration::from_secs(10);
/// A level of one millionth is nothing in 16-bit samples; exactly nothing would be taken off the sink after 30 s.
const STREAM_OF_SILENCE: &str = "(async () => {
    const context = globalThis.__sound = new AudioContext();
    const source = new ConstantSourceNode(context, { offset: 1e-6 });
    source.connect(context.destination);
    source.start();
    await context.resume();
    return context.state;
})()";

/// A platform's launcher calls for its installed application (`msteams:`, `zoommtg:`), and the browser's own question about that would
/// lie over the recording (seen). Runs in a world of our own, where the page cannot see it.
const NO_OTHER_APPLICATIONS: &str = "globalThis.navigation?.addEventListener('navigate', (event) => {
    const ours = ['http:', 'https:', 'about:', 'blob:', 'data:', 'javascript:'];
    if (event.cancelable && !ours.includes(new URL(event.destination.url).protocol)) event.preventDefault();
})";

/// Why there is no browser.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// It could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A pipe or log could not be made.
    #[error("cannot prepare the browser: {0}")]
    Io(#[from] std::io::Error),
    /// It does not speak the protocol as expected.
    #[error(transparent)]
    Cdp(#[from] CdpError),
    /// It opened no tab in time.
    #[error("the browser opened no tab within {} s", START_DEADLINE.as_secs())]
    NoTab,
}

/// What differs between launches.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    /// The program.
    pub program: PathBuf,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The call is in a practice room on this machine.
    pub practice: bool,
    /// Chromium's own sandbox is on.
    pub is_sandboxed: bool,
}

/// A running browser with one tab.
#[derive(Debug)]
pub struct Browser {
    process: ChildGroup,
    cdp: CdpPipe,
    page: Page,
    failure: watch::Receiver<Option<&'static str>>,
    closes_new_tabs: Arc<AtomicBool>,
}

impl Browser {
    /// Starts it on the given display and sink and attaches to its tab.
    pub async fn start(scratch: &Scratch, display: &Display, sink: &Sink, options: &LaunchOptions) -> Result<Self, BrowserError> {
        let mut command = scratch.command(&options.program);
        display.lend(&mut command);
        sink.lend(&mut command);
        command.args(flags(options)).arg(format!("--user-data-dir={}", scratch.profile().display())).arg("about:blank");
        command.stdout(Stdio::null()).stderr(scratch.log("browser.log")?);
        let (process, cdp) = spawn_with_pipe(command)?;
        let (page, target) = attach(&cdp).await?;
        let closes_new_tabs = Arc::default();
        let watched = Watched { cdp: cdp.clone(), page: page.clone(), target, closes_new_tabs: Arc::clone(&closes_new_tabs) };
        let failure = watched.watch_for_failure();
        Ok(Self { process, cdp, page, failure, closes_new_tabs })
    }

    /// Its tab.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// The process group that all its processes belong to.
    pub fn group(&self) -> rustix::process::Pid {
        self.process.group()
    }

    /// Says what broke once something has: the browser or its tab.
    pub fn failure(&self) -> watch::Receiver<Option<&'static str>> {
        self.failure.clone()
    }

    /// Refuses microphone, camera and notifications to `origin`, so that no permission bubble is drawn over the call
    /// and the sink's monitor can never be sent back into it as a microphone.
    pub async fn deny_devices(&self, origin: &str) -> Result<(), CdpError> {
        for name in ["microphone", "camera", "notifications"] {
            let params = json!({ "permission": { "name": name }, "setting": "denied", "origin": origin });
            self.cdp.call(None, "Browser.setPermission", params, CALL).await?;
        }
        Ok(())
    }

    /// From now on the call's page has the browser for itself: what it opens in other windows is closed, and it can save no files.
    pub async fn keep_to_one_page(&self) -> Result<(), CdpError> {
        self.closes_new_tabs.store(true, Ordering::Relaxed);
        self.cdp.call(None, "Browser.setDownloadBehavior", json!({ "behavior": "deny" }), CALL).await.map(drop)
    }

    /// Opens the way from the browser to the sink and keeps it open, with a stream of silence from a tab of its own.
    ///
    /// The first stream has to start the browser's audio process and connect to the sink. A call's sound that comes meanwhile piles
    /// up in the jitter buffer and is then played late, for many seconds, until the buffer has caught up. With the way open, a
    /// call's stream plays at once; and its lag can be measured before the recording begins.
    pub async fn open_sound(&self) -> Result<(), CdpError> {
        let method = "Target.createTarget";
        let answer = self.cdp.call(None, method, json!({ "url": "about:blank", "background": true }), CALL).await?;
        let target = answer["targetId"].as_str().ok_or(CdpError::Incomplete { method, what: "targetId" })?;
        let tab = attach_to(&self.cdp, target).await?;
        tab.evaluate(STREAM_OF_SILENCE).await.map(drop)
    }

    /// Asks it to close, then ends its group.
    pub async fn stop(mut self) {
        let _ = self.cdp.call(None, "Browser.close", json!({}), Duration::from_secs(1)).await;
        if self.process.wait_for(Duration::from_millis(1_500)).await.is_none() {
            self.process.stop(Duration::from_millis(500)).await;
        }
    }
}

fn flags(options: &LaunchOptions) -> Vec<String> {
    let mut flags: Vec<String> = [
        "--remote-debugging-pipe",
        "--ozone-platform=x11",
        "--kiosk",
        "--window-position=0,0",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-timer-throttling",
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--disable-blink-features=AutomationControlled",
        "--lang=en-US",
        "--accept-lang=en-US,en",
        "--hide-scrollbars",
        "--no-first-run",
        "--no-default-browser-check",
        "--password-store=basic",
        "--use-mock-keychain",
        "--disable-dev-shm-usage",
        // Hides the bar that warns of command-line flags: it would cover the top of the recording.
        "--test-type",
    ]
    .map(String::from)
    .into();
    // One more than the display: a window of exactly its size is made one smaller by Chromium (no window manager).
    flags.push(format!("--window-size={},{}", options.width + 1, options.height + 1));
    let mut disabled = vec!["Translate", "MediaRouter"];
    if options.practice {
        flags.push("--allow-loopback-in-peer-connection".into());
        disabled.push("WebRtcHideLocalIpsWithMdns");
    }
    flags.push(format!("--disable-features={}", disabled.join(",")));
    if !options.is_sandboxed {
        flags.push("--no-sandbox".into());
    }
    flags
}

fn spawn_with_pipe(mut command: Command) -> Result<(ChildGroup, CdpPipe), BrowserError> {
    let (browser_reads, we_write) = std::io::pipe()?;
    let (we_read, browser_writes) = std::io::pipe()?;
    let mappings = vec![
        FdMapping { parent_fd: browser_reads.into(), child_fd: 3 },
        FdMapping { parent_fd: browser_writes.into(), child_fd: 4 },
    ];
    command.fd_mappings(mappings).map_err(|_| std::io::Error::other("descriptor collision"))?;
    let process = ChildGroup::spawn("browser", &mut command)?;
    drop(command); // holds our copies of the browser's ends: with them open, its death would not close the pipe
    Ok((process, CdpPipe::connect(we_write.into(), we_read.into())?))
}

async fn attach(cdp: &CdpPipe) -> Result<(Page, String), BrowserError> {
    let target = first_tab(cdp).await?;
    cdp.call(None, "Target.setDiscoverTargets", json!({ "discover": true }), CALL).await?;
    let page = attach_to(cdp, &target).await?;
    page.call("Page.enable", json!({}), CALL).await?;
    page.call("Inspector.enable", json!({}), CALL).await?;
    let guard = json!({ "source": NO_OTHER_APPLICATIONS, "worldName": "recorder" });
    page.call("Page.addScriptToEvaluateOnNewDocument", guard, CALL).await?;
    Ok((page, target))
}

async fn attach_to(cdp: &CdpPipe, target: &str) -> Result<Page, CdpError> {
    let method = "Target.attachToTarget";
    let answer = cdp.call(None, method, json!({ "targetId": target, "flatten": true }), CALL).await?;
    let session = answer["sessionId"].as_str().ok_or(CdpError::Incomplete { method, what: "sessionId" })?;
    // A page target's main frame has the target's own id.
    Ok(Page::new(cdp.clone(), session.to_owned(), target.to_owned()))
}

async fn first_tab(cdp: &CdpPipe) -> Result<String, BrowserError> {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        let answer = cdp.call(None, "Target.getTargets", json!({}), START_DEADLINE).await?;
        let tab = answer["targetInfos"].as_array().into_iter().flatten().find(|info| info["type"] == "page");
        if let Some(id) = tab.and_then(|info| info["targetId"].as_str()) {
            return Ok(id.to_owned());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(BrowserError::NoTab)
}

/// What the browser's events are followed for.
struct Watched {
    cdp: CdpPipe,
    page: Page,
    target: String,
    closes_new_tabs: Arc<AtomicBool>,
}

impl Watched {
    /// Follows the browser's events: answers dialogs, closes pop-ups, and reports the first thing that breaks.
    fn watch_for_failure(self) -> watch::Receiver<Option<&'static str>> {
        let (report, failure) = watch::channel(None);
        let (mut events, mut closed) = (self.cdp.events(), self.cdp.closed());
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    () = until_true(&mut closed) => Err(broadcast::error::RecvError::Closed),
                    event = events.recv() => event,
                };
                let broken = match event {
                    Ok(event) => self.on_event(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.answer_dialog(); // one may have been among the lost ones, and a page in a dialog says nothing more
                        None
                    }
                    Err(broadcast::error::RecvError::Closed) => Some("the browser has ended"),
                };
                if broken.is_some() {
                    report.send_replace(broken);
                    return;
                }
            }
        });
        failure
    }

    fn on_event(&self, event: &CdpEvent) -> Option<&'static str> {
        let is_ours = event.params.get("targetId").and_then(Value::as_str) == Some(&self.target);
        match event.method.as_str() {
            "Inspector.targetCrashed" => return Some("the tab has crashed"),
            "Target.targetCrashed" if is_ours => return Some("the tab has crashed"),
            "Target.targetDestroyed" if is_ours => return Some("the tab was closed"),
            "Page.javascriptDialogOpening" => self.answer_dialog(),
            "Target.targetCreated" => self.close_new_tab(&event.params["targetInfo"]),
            _ => {}
        }
        None
    }

    /// Not waited for: the next event may be another dialog.
    fn answer_dialog(&self) {
        let page = self.page.clone();
        tokio::spawn(async move { page.call("Page.handleJavaScriptDialog", json!({ "accept": true }), CALL).await });
    }

    fn close_new_tab(&self, info: &Value) {
        let id = info["targetId"].as_str().filter(|id| *id != self.target);
        if let Some(id) = id.filter(|_| info["type"] == "page" && self.closes_new_tabs.load(Ordering::Relaxed)) {
            let (cdp, params) = (self.cdp.clone(), json!({ "targetId": id }));
            tokio::spawn(async move { cdp.call(None, "Target.closeTarget", params, CALL).await });
        }
    }
}

async fn until_true(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}
