//! A headless Chromium as a person's browser: opens pages, types, clicks, and tells what its console complains about.
//!
//! The portal's own suite includes this file too, so it stands on nothing else of this crate.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use command_fds::{CommandFdExt as _, FdMapping};
use data_encoding::BASE64;
use meeting_bot::browser::{CdpEvent, CdpPipe};
use meeting_bot::doctor::find_browser;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

const QUICK: Duration = Duration::from_secs(20);
/// A page is drawn sixty times a second at most.
const FRAME: Duration = Duration::from_millis(20);
/// Where what a selector finds lies now, in which frame, and what lies over its middle.
const WHERE: &str = "(selector) => {
    const found = document.querySelector(selector);
    if (!found) return {};
    found.scrollIntoView({ block: 'center' });
    const { x, y, width, height } = found.getBoundingClientRect(), middle = [x + width / 2, y + height / 2];
    const hit = document.elementFromPoint(...middle);
    const own = hit && (found.contains(hit) || (hit.closest('label') || hit).control === found);
    const frame = document.timeline.currentTime;
    return { box: [x, y, width, height], middle, frame, over: own ? null : hit ? hit.cloneNode().outerHTML.slice(0, 200) : 'nothing there' };
}";

/// A browser; dropped, it ends.
pub struct Chromium {
    cdp: CdpPipe,
    child: Child,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Chromium {
    /// Starts one with a profile below `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let program = find_browser(std::env::var_os("CHROME_PATH").map(PathBuf::from).as_deref())
            .map_err(|problem| anyhow::anyhow!("{problem}; run scripts/setup.sh --install test"))?;
        let (browser_reads, we_write) = std::io::pipe()?;
        let (we_read, browser_writes) = std::io::pipe()?;
        let mut command = Command::new(program);
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-first-run",
            "--disable-gpu",
            "--hide-scrollbars",
            "--mute-audio",
        ]);
        command.args([
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--lang=en-US",
        ]);
        command.args(["--autoplay-policy=no-user-gesture-required", "--test-type"]);
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        command.arg(format!("--user-data-dir={}", folder.join("chromium").display())).arg("about:blank");
        command.env("TZ", "UTC");
        let mappings = vec![
            FdMapping { parent_fd: browser_reads.into(), child_fd: 3 },
            FdMapping { parent_fd: browser_writes.into(), child_fd: 4 },
        ];
        command.fd_mappings(mappings).context("descriptor collision")?;
        let log = File::create(folder.join("chromium.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().context("start Chromium")?;
        drop(command); // holds our copies of the browser's ends
        Ok(Self { cdp: CdpPipe::connect(we_write.into(), we_read.into())?, child })
    }

    /// A tab of its own, with cookies of its own, that watches its console.
    pub async fn tab(&self) -> Result<Tab> {
        let context = self.cdp.call(None, "Target.createBrowserContext", json!({}), QUICK).await?;
        self.tab_in(context["browserContextId"].as_str().context("no context")?).await
    }

    async fn tab_in(&self, context: &str) -> Result<Tab> {
        let params = json!({"url": "about:blank", "browserContextId": context, "newWindow": true, "width": 1280, "height": 900});
        let target = self.cdp.call(None, "Target.createTarget", params, QUICK).await?;
        let params = json!({"targetId": target["targetId"], "flatten": true});
        let answer = self.cdp.call(None, "Target.attachToTarget", params, QUICK).await?;
        let session = answer["sessionId"].as_str().context("no session")?.to_owned();
        let complaints = Arc::default();
        let tab = Tab { cdp: self.cdp.clone(), session, complaints, context: context.to_owned() };
        tab.watch();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            tab.call(domain, json!({})).await?;
        }
        Ok(tab)
    }

    /// Another tab with the cookies of one that is there.
    pub async fn beside(&self, tab: &Tab) -> Result<Tab> {
        self.tab_in(&tab.context).await
    }
}

/// A tab.
pub struct Tab {
    cdp: CdpPipe,
    session: String,
    context: String,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Tab {
    /// A method of the protocol.
    pub async fn call(&self, method: &'static str, params: Value) -> Result<Value> {
        Ok(self.cdp.call(Some(&self.session), method, params, QUICK).await?)
    }

    fn watch(&self) {
        let (mut events, session, complaints) = (self.cdp.events(), self.session.clone(), Arc::clone(&self.complaints));
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) if event.session.as_deref() == Some(&session) => {
                        complaints.lock().unwrap_or_else(PoisonError::into_inner).extend(complaint(&event));
                    }
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(_) => return,
                }
            }
        });
    }

    /// What the console complained about since the last look: errors of scripts, violations of the policy, what did not load.
    pub fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut *self.complaints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens an address and waits until it has loaded.
    pub async fn open(&self, url: &str) -> Result<()> {
        let before = self.call("Page.navigate", json!({"url": url})).await?;
        if let Some(error) = before["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        self.loaded().await
    }

    /// Waits until the page has loaded.
    pub async fn loaded(&self) -> Result<()> {
        until("the page to load", QUICK, || async {
            let state = self.eval("document.readyState === 'complete' && location.href !== 'about:blank'").await;
            Ok(state.is_ok_and(|state| state == true).then_some(()))
        })
        .await
    }

    /// The value of an expression in the page.
    pub async fn eval(&self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true});
        let mut answer = self.call("Runtime.evaluate", params).await?;
        if let Some(exception) = answer.get("exceptionDetails") {
            bail!("{expression}: {exception}");
        }
        Ok(answer.pointer_mut("/result/value").map(Value::take).unwrap_or_default())
    }

    /// A text that an expression gives.
    pub async fn text(&self, expression: &str) -> Result<String> {
        Ok(self.eval(expression).await?.as_str().unwrap_or_default().to_owned())
    }

    /// All that the page's main part says, once it has loaded: a page that leads on by itself has no main part in between.
    pub async fn says(&self) -> Result<String> {
        self.loaded().await?;
        self.text("document.querySelector('main').innerText").await
    }

    /// Waits until an expression is true.
    pub async fn wait(&self, expression: &str, limit: Duration) -> Result<()> {
        until(expression, limit, || async { Ok(self.eval(expression).await.is_ok_and(|value| value == true).then_some(())) })
            .await
    }

    /// Puts a value into a field, as typing does.
    pub async fn fill(&self, selector: &str, value: &str) -> Result<()> {
        let (selector, value) = (json!(selector), json!(value));
        let script = format!(
            "(() => {{ const field = document.querySelector({selector}); field.focus(); field.value = {value}; \
             field.dispatchEvent(new Event('input', {{bubbles: true}})); return true; }})()"
        );
        self.eval(&script).await.map(drop)
    }

    /// Clicks with the mouse in the middle of what a selector finds, once that stands still and nothing lies over it: while a page's
    /// layout shifts, a click goes wherever its target was a moment ago.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let begun = Instant::now();
        let (mut before, mut mouse) = (Value::Null, Value::Null);
        loop {
            let seen = self.eval(&format!("({WHERE})({})", json!(selector))).await.unwrap_or_default();
            let stands = seen["box"].is_array() && seen["box"] == before["box"] && seen["frame"] != before["frame"];
            if stands && seen["over"].is_null() {
                if mouse == seen["middle"] {
                    return self.button(&mouse).await;
                }
                // What the page does under the mouse, it does before the press.
                self.mouse("mouseMoved", &seen["middle"], 0).await?;
                mouse = seen["middle"].clone();
            }
            if begun.elapsed() > QUICK {
                bail!("{selector} cannot be clicked: {}", hindrance(&seen));
            }
            before = seen;
            tokio::time::sleep(FRAME).await;
        }
    }

    async fn button(&self, at: &Value) -> Result<()> {
        self.mouse("mousePressed", at, 1).await?;
        self.mouse("mouseReleased", at, 0).await
    }

    async fn mouse(&self, kind: &str, at: &Value, buttons: u32) -> Result<()> {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let params = json!({"type": kind, "x": at[0], "y": at[1], "button": button, "buttons": buttons, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", params).await.map(drop)
    }

    /// Clicks what leads to another page, and waits for that.
    pub async fn go(&self, selector: &str) -> Result<()> {
        self.eval("window.isOld = true").await?;
        self.click(selector).await?;
        self.wait("window.isOld === undefined && document.readyState === 'complete'", QUICK).await
    }

    /// Presses a key that has a name, such as `Tab` or `Enter`.
    pub async fn press(&self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            _ => (32, " "),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params).await?;
        }
        Ok(())
    }

    /// Shows pages as a screen of this width, light or dark.
    pub async fn look(&self, width: u32, is_dark: bool) -> Result<()> {
        let height = if width < 600 { 780 } else { 900 };
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", params).await?;
        let scheme = json!([{"name": "prefers-color-scheme", "value": if is_dark { "dark" } else { "light" }}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": scheme})).await.map(drop)
    }

    /// Whether pages' scripts run.
    pub async fn scripts(&self, run: bool) -> Result<()> {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !run})).await.map(drop)
    }

    /// A PNG of the page, whole or as the screen shows it.
    pub async fn picture(&self, is_whole: bool) -> Result<Vec<u8>> {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": is_whole})).await?;
        Ok(BASE64.decode(answer["data"].as_str().context("no picture")?.as_bytes())?)
    }
}

/// Why what was seen of an element was not clicked.
fn hindrance(seen: &Value) -> String {
    match (&seen["box"], &seen["over"]) {
        (Value::Null, _) => "nothing fits it".to_owned(),
        (place, Value::Null) => format!("it does not stand still, now at {place}"),
        (place, over) => format!("at {place} it is covered by {over}"),
    }
}

fn complaint(event: &CdpEvent) -> Option<String> {
    let text = |pointer: &str| event.params.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    match event.method.as_str() {
        "Log.entryAdded" if text("/entry/level") == "error" => Some(format!("{} {}", text("/entry/text"), text("/entry/url"))),
        "Runtime.exceptionThrown" => Some(text("/exceptionDetails/exception/description")),
        "Runtime.consoleAPICalled" if text("/type") == "error" => Some(format!("{}", event.params["args"])),
        _ => None,
    }
}

/// Waits until `probe` answers `Some`.
async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, limit: Duration, probe: impl Fn() -> F) -> Result<T> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    bail!("waited {limit:?} in vain for {what}")
}
