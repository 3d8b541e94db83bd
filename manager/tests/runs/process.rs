//! The real manager as a child process.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::Bench;

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A running manager; dropped, it is killed.
pub(crate) struct Manager {
    child: Child,
    log: PathBuf,
}

impl Manager {
    pub(crate) async fn start(bench: &Bench, verb: &str, run_id: &str, extra: &[(&str, String)]) -> Self {
        let log = bench.folder.path().join(format!("{run_id}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_manager"));
        command.arg(verb).envs(bench.environment(run_id).await).envs(extra.iter().map(|(name, value)| (*name, value)));
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// The exit code; `None` where a signal ended it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < LIMIT, "it did not end; its log:\n{}", self.told());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until `probe` holds.
pub(crate) async fn until(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !probe().await {
        assert!(begun.elapsed() < LIMIT, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A program made of a shell script; its path.
pub(crate) fn program(folder: &Path, name: &str, script: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    file.display().to_string()
}

/// An ffmpeg that says that it was started, and begins only once it is let.
pub(crate) struct HeldFfmpeg {
    folder: PathBuf,
}

impl HeldFfmpeg {
    pub(crate) fn new(folder: &Path) -> Self {
        let script = "#!/bin/sh\ntouch \"$0.started\"\nwhile [ ! -e \"$0.go\" ]; do sleep 0.05; done\nexec ffmpeg \"$@\"\n";
        program(folder, "held-ffmpeg", script);
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn program(&self) -> String {
        self.folder.join("held-ffmpeg").display().to_string()
    }

    pub(crate) fn variable(&self) -> (&'static str, String) {
        ("FFMPEG_PATH", self.program())
    }

    pub(crate) async fn is_started(&self) {
        let mark = self.folder.join("held-ffmpeg.started");
        until("ffmpeg to be started", async || mark.exists()).await;
    }

    pub(crate) fn let_go(&self) {
        std::fs::write(self.folder.join("held-ffmpeg.go"), "").unwrap();
    }
}
