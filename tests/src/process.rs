//! Child processes of a suite: our own binaries, in groups of their own, logging to files, ended with whatever they started.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// Variables of a desktop session that must not reach what we start.
const DESKTOP_VARIABLES: [&str; 6] =
    ["WAYLAND_DISPLAY", "PULSE_SERVER", "PULSE_SINK", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "PIPEWIRE_REMOTE"];

/// A running child; dropped, it is ended together with its group.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its output in `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        for variable in DESKTOP_VARIABLES {
            command.env_remove(variable);
        }
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Sends a signal to the child alone, as a supervisor would.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(self.pid()?, signal).with_context(|| format!("signal {}", self.name))
    }

    /// The exit status, once it has ended.
    pub fn try_wait(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the end.
    pub async fn wait(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} did not end within {limit:?}; its log:\n{}", self.name, self.log_tail())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The process's id.
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("a process id of zero")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            // Also after its own end: what it left behind shares its group.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// One of our binaries, from the folder where this program itself was built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().skip(1).find(|folder| folder.join(name).is_file());
    let found = folder.map(|folder| folder.join(name));
    found.with_context(|| format!("no binary {name} beside {}: run `cargo build --workspace --bins` first", own.display()))
}

/// Waits until `probe` answers `Some`, looking every 100 ms; on time-out the error tells what was waited for.
pub async fn until<T, F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    let mut last = String::new();
    while begun.elapsed() < limit {
        match probe().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => last = format!(" (last error: {error:#})"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("waited {limit:?} in vain for {what}{last}")
}

/// The address that a server wrote into its port file.
pub async fn address(port_file: &Path, server: &mut Process) -> Result<SocketAddr> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if let Some(address) = std::fs::read_to_string(port_file).ok().and_then(|text| text.trim().parse().ok()) {
            return Ok(address);
        }
        if let Some(status) = server.try_wait()? {
            bail!("{} ended at once with {status}; its log:\n{}", server.name, server.log_tail());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{} wrote no address to {}; its log:\n{}", server.name, port_file.display(), server.log_tail())
}
