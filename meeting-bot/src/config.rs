//! The process's settings, checked and typed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bot_model::platform::{OTHER_PLATFORMS_WANTS, OtherPlatforms, Platform};

use crate::platform::pack::Pack;

/// Everything that the process is told from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The browser's program.
    pub browser: PathBuf,
    /// Where practice rooms live, such as `http://127.0.0.1:8400`.
    pub practice_origin: Option<String>,
    /// Signal packs that go before the built-in ones.
    pub packs: Option<PathBuf>,
    /// Whether Chromium's own sandbox is used.
    pub is_sandboxed: bool,
    /// Where private folders are made; the system's temporary folder if absent.
    pub scratch: Option<PathBuf>,
    /// Where to write the address that is really listened on.
    pub port_file: Option<PathBuf>,
}

/// The settings as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `MEETING_BOT_LISTEN`.
    pub listen: String,
    /// `PRACTICE_ROOM_ORIGIN`.
    pub practice_origin: Option<String>,
    /// `SIGNAL_PACKS_DIR`.
    pub packs: Option<PathBuf>,
    /// `OTHER_PLATFORMS`.
    pub other_platforms: Option<String>,
    /// `CHROMIUM_SANDBOX`.
    pub sandbox: String,
    /// `MEETING_BOT_SCRATCH`.
    pub scratch: Option<PathBuf>,
    /// `MEETING_BOT_PORT_FILE`.
    pub port_file: Option<PathBuf>,
}

impl Settings {
    /// Checks everything; answers every problem, each naming the variable, what it got and what it wants. What is left
    /// to be given is the browser.
    pub fn check(self) -> Result<impl FnOnce(PathBuf) -> Config, Vec<String>> {
        let mut problems = Vec::new();
        let listen =
            loopback(&self.listen).map_err(|wanted| problems.push(format!("MEETING_BOT_LISTEN is {:?}, {wanted}", self.listen)));
        let practice = self.practice_origin.as_deref().filter(|text| !text.is_empty());
        let origin = practice.map(practice_origin).transpose();
        if let Err(wanted) = &origin {
            problems.push(format!("PRACTICE_ROOM_ORIGIN is {:?}, {wanted}", practice.unwrap_or_default()));
        }
        let is_sandboxed = is_sandboxed(&self.sandbox);
        if is_sandboxed.is_none() {
            problems.push(format!("CHROMIUM_SANDBOX is {:?}, wants on, off or auto", self.sandbox));
        }
        let given = self.other_platforms.as_deref().filter(|text| !text.trim().is_empty());
        if let Some(given) = given.filter(|text| OtherPlatforms::parse(text).is_none()) {
            problems.push(format!("OTHER_PLATFORMS is {given:?}, wants {OTHER_PLATFORMS_WANTS}"));
        }
        if let Some(folder) = self.packs.as_ref().filter(|folder| !folder.is_dir()) {
            problems.push(format!("SIGNAL_PACKS_DIR is {folder:?}, wants an existing folder"));
        } else if let Some(folder) = &self.packs {
            problems.extend(bad_packs(folder));
        }
        match (listen, origin, is_sandboxed) {
            (Ok(listen), Ok(practice_origin), Some(is_sandboxed)) if problems.is_empty() => Ok(move |browser| Config {
                listen,
                is_sandboxed,
                browser,
                practice_origin,
                packs: self.packs,
                scratch: self.scratch,
                port_file: self.port_file,
            }),
            _ => Err(problems),
        }
    }
}

/// Root's browser has no sandbox; without one asked for explicitly, everybody else's has.
pub(crate) fn is_sandboxed(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        "auto" => Some(!rustix::process::geteuid().is_root()),
        _ => None,
    }
}

fn bad_packs(folder: &Path) -> impl Iterator<Item = String> + use<'_> {
    let paths = Platform::configured().into_iter().map(|platform| folder.join(format!("{platform}.toml")));
    let bad = |path: PathBuf| Some(format!("SIGNAL_PACKS_DIR: {}: {}", path.display(), Pack::read(&path).err()?));
    paths.filter(|path| path.exists()).filter_map(bad)
}

/// Checks the address to listen on.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "wants an address such as 127.0.0.1:3000".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err("wants a loopback address: there is no authentication".to_owned()) }
}

/// Checks a practice room's origin: http or https, a host, nothing else.
pub fn practice_origin(text: &str) -> Result<String, String> {
    let wanted = "wants an origin such as http://127.0.0.1:8400";
    let url = url::Url::parse(text).map_err(|_| wanted.to_owned())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    if plain && url.host().is_some() { Ok(url.origin().ascii_serialization()) } else { Err(wanted.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_alone() {
        assert_eq!(practice_origin("http://127.0.0.1:8400/").as_deref(), Ok("http://127.0.0.1:8400"));
        for bad in ["127.0.0.1:8400", "file:///etc", "http://127.0.0.1/meet", "http://u@127.0.0.1", "http://h/?a"] {
            assert!(practice_origin(bad).is_err(), "{bad}");
        }
    }
}
