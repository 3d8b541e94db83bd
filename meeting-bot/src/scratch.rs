//! The bot's private folder and the environment of its children.
//!
//! Owns where profile, runtime sockets and logs lie, and which variables a child may see: an allow-list, so that
//! neither the desktop's display and sound nor this process's secrets reach the browser.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Longest folder below which a socket's path stays under the 108 bytes of `sockaddr_un`. The longest is Chromium's
/// `org.chromium.Chromium.XXXXXX/SingletonSocket` in its temporary folder: beyond the limit the browser ends at once (seen).
const LONGEST_RUNTIME_FOLDER: usize = 60;

/// Set to anything to keep the private folders.
pub const KEEP: &str = "MEETING_BOT_KEEP_SCRATCH";

/// What a child may inherit. The desktop's DISPLAY, WAYLAND_DISPLAY, PULSE_SERVER, DBUS_SESSION_BUS_ADDRESS and the
/// like are absent on purpose.
const INHERITED: &[&str] = &[
    "PATH",
    "TZ",
    "LD_LIBRARY_PATH",
    "FONTCONFIG_PATH",
    "FONTCONFIG_FILE",
    "XKB_BINDIR",
    "XKB_CONFIG_ROOT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// A private folder (0700) with a place for each thing; what was made by this process is removed on drop, unless
/// [`KEEP`] is set, for looking at the children's logs.
#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
    runtime: PathBuf,
    made: Vec<PathBuf>,
}

impl Scratch {
    /// Makes a session's folder below `parent`, or below the system's temporary folder.
    pub fn create(parent: Option<&Path>) -> std::io::Result<Self> {
        let temporary = std::env::temp_dir();
        let name = format!("mb-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let root = parent.unwrap_or(&temporary).join(&name);
        if let Some(parent) = root.parent() {
            std::fs::create_dir_all(parent)?;
        }
        private_folder(&root)?;
        let mut made = vec![root.clone()];
        let mut runtime = root.join("run");
        if runtime.as_os_str().len() > LONGEST_RUNTIME_FOLDER {
            runtime = Path::new("/tmp").join(format!("{name}-run"));
            made.push(runtime.clone());
        }
        private_folder(&runtime)?;
        for folder in ["home", "profile", "log"] {
            private_folder(&root.join(folder))?;
        }
        Ok(Self { root, runtime, made })
    }

    /// For sockets: private and short.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The browser's profile.
    pub fn profile(&self) -> PathBuf {
        self.root.join("profile")
    }

    /// A file of the session's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a child's output goes.
    pub fn log(&self, name: &str) -> std::io::Result<File> {
        File::options().create(true).append(true).open(self.root.join("log").join(name))
    }

    /// A command that sees only the allow-listed environment and the session's folders.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(inherited()).stdin(std::process::Stdio::null());
        command.env("HOME", self.root.join("home")).env("TMPDIR", &self.runtime);
        command.env("XDG_RUNTIME_DIR", &self.runtime).env("PULSE_RUNTIME_PATH", &self.runtime);
        // An address that leads nowhere: without it, libraries start a session bus of their own.
        command.env("DBUS_SESSION_BUS_ADDRESS", "disabled:").env("LANG", "C.UTF-8").env("LANGUAGE", "en_US");
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os(KEEP).is_some() {
            return;
        }
        for folder in &self.made {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|name| std::env::var_os(name).map(|value| (*name, value)))
}

fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_stay_short_even_below_a_long_folder() {
        let long = tempfile::tempdir().unwrap();
        let parent = long.path().join("a".repeat(120));
        let scratch = Scratch::create(Some(&parent)).unwrap();
        let longest = scratch.runtime().join("org.chromium.Chromium.XXXXXX/SingletonSocket");
        assert!(longest.as_os_str().len() < 108);
        let runtime = scratch.runtime().to_owned();
        drop(scratch);
        assert!(!runtime.exists(), "left its runtime folder behind");
    }

    #[test]
    fn children_never_see_the_desktops_display_or_sound() {
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "PULSE_SERVER", "DBUS_SESSION_BUS_ADDRESS", "XAUTHORITY"] {
            assert!(!INHERITED.contains(&name), "{name} is inherited");
        }
    }
}
