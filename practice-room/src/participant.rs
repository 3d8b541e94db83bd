//! A synthetic participant: headless Chromium on the room's participant page.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A browser that takes part; dropped, it leaves.
pub struct SyntheticParticipant {
    browser: Child,
    _profile: tempfile::TempDir,
}

/// Why none could be started.
#[derive(Debug, thiserror::Error)]
pub enum ParticipantError {
    /// No Chromium.
    #[error("no Chromium found: install the package chromium, or set CHROME_PATH")]
    NoBrowser,
    /// It did not start.
    #[error("cannot start the participant's browser: {0}")]
    Start(#[from] std::io::Error),
}

/// Who takes part.
#[derive(Debug, Clone)]
pub struct Who {
    /// Shown in the call.
    pub name: String,
    /// `clock` or `person`.
    pub role: String,
    /// Its sound, in Hz; 0 for the role's own.
    pub tone_hz: u32,
    /// More persons who come with it, each with a tone of their own, in the same browser.
    pub company: Vec<String>,
    /// Persons speak only when the room's control API says so, not two seconds of three.
    pub speaks_on_demand: bool,
}

impl Who {
    fn query(&self) -> String {
        let speech = if self.speaks_on_demand { "on-demand" } else { "always" };
        let company: String = self.company.iter().map(|name| format!("&with={}", plain(name))).collect();
        format!("name={}&role={}&tone={}&speech={speech}{company}", plain(&self.name), plain(&self.role), self.tone_hz)
    }
}

impl SyntheticParticipant {
    /// Opens `{origin}/meet/{room}/participant` in a browser of its own that plays nothing on this machine.
    ///
    /// # Errors
    /// When there is no Chromium or it does not start.
    pub fn start(origin: &str, room: &str, who: &Who) -> Result<Self, ParticipantError> {
        let profile = tempfile::tempdir()?;
        let mut command = Command::new(chromium().ok_or(ParticipantError::NoBrowser)?);
        command.args([
            "--headless=new",
            "--mute-audio",
            "--allow-loopback-in-peer-connection",
            "--autoplay-policy=no-user-gesture-required",
            "--disable-background-timer-throttling",
            "--disable-backgrounding-occluded-windows",
            "--disable-renderer-backgrounding",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-features=WebRtcHideLocalIpsWithMdns",
            "--disable-gpu",
            "--disable-quic",
            "--disable-sync",
            "--no-first-run",
            "--window-size=640,360",
        ]);
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!("{origin}/meet/{room}/participant?{}", who.query()));
        // In the caller's process group: who kills that group, kills the browser with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { browser: command.spawn()?, _profile: profile })
    }

    /// True once the browser ended by itself.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn has_ended(&mut self) -> std::io::Result<bool> {
        Ok(self.browser.try_wait()?.is_some())
    }
}

impl Drop for SyntheticParticipant {
    fn drop(&mut self) {
        // Its helper processes end when the browser's own process is gone.
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

fn chromium() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROME_PATH").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// Percent-encodes what is not plain: names go into an address.
fn plain(text: &str) -> String {
    let shown = |b: u8| if b.is_ascii_alphanumeric() || b == b'-' { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(shown).collect()
}
