//! The folder of one local run: `{RUNS_DIR}/{job}/a{attempt}`, with `spec.json`, `lock`, `exit.json`, logs and scratch.
//!
//! It appears in one rename, with its lock held already: by the launcher, whose open lock the supervisor inherits. So a held lock means running, an exit
//! file means ended, neither means lost; no process id is trusted.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bot_model::ids::{InstanceId, JobName};
use chrono::{DateTime, Utc};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{RunCommand, RunKey, RunState, leftovers, scratch};

/// How long the orphans of a killed supervisor may save what they have before they are killed.
const ORPHAN_GRACE: Duration = Duration::from_secs(120);
/// Says that the run is lost, and that nothing of it is alive.
const LOST_MARK: &str = "lost";

/// What a supervisor is told, besides its environment. Holds settings and derived ids only, no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// For whom.
    pub instance_id: InstanceId,
    /// The job's name.
    pub job: JobName,
    /// From 1.
    pub attempt: u32,
    /// Identifies the run, `[a-z0-9]{1,32}`.
    pub run_id: String,
    /// What to do.
    pub command: RunCommand,
    /// The store that the run belongs to.
    pub store_url: String,
    /// The manager's program.
    pub manager: PathBuf,
    /// The meeting-bot's program.
    pub meeting_bot: PathBuf,
    /// Settings for the manager.
    pub manager_variables: BTreeMap<String, String>,
    /// Settings for the meeting-bot.
    pub bot_variables: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The manager's exit code; absent where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended the manager, if one did.
    #[serde(default)]
    pub signal: Option<i32>,
    /// For a person.
    #[serde(default)]
    pub reason: String,
    /// When.
    pub ended_at: DateTime<Utc>,
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The folder at `path`, which may not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where a run's folder is.
    pub fn of(runs: &Path, key: &RunKey) -> Self {
        Self::at(runs.join(key.job.as_str()).join(format!("a{}", key.attempt)))
    }

    /// Makes the folder with its spec and its lock held; `None` where it exists already. The file is the lock.
    pub fn create(runs: &Path, spec: &Spec) -> std::io::Result<Option<(Self, File)>> {
        let target = Self::of(runs, &RunKey { job: spec.job.clone(), attempt: spec.attempt });
        if target.path.exists() {
            return Ok(None);
        }
        let job = runs.join(spec.job.as_str());
        private_folder(&job)?;
        let draft = job.join(format!(".new-{}", spec.run_id));
        private_folder(&draft)?;
        let lock = private_file(&draft.join("lock"))?;
        lock.lock()?;
        let text = serde_json::to_vec_pretty(spec)?;
        private_file(&draft.join("spec.json"))?.write_all(&text)?;
        match std::fs::rename(&draft, &target.path) {
            Ok(()) => Ok(Some((target, lock))),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&draft);
                let taken = matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty);
                if taken { Ok(None) } else { Err(error) }
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that manager and meeting-bot share.
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// What the run was told.
    pub fn spec(&self) -> std::io::Result<Spec> {
        Ok(serde_json::from_slice(&std::fs::read(self.path.join("spec.json"))?)?)
    }

    /// How it ended, if it said so.
    pub fn exit(&self) -> Option<Exit> {
        serde_json::from_slice(&std::fs::read(self.path.join("exit.json")).ok()?).ok()
    }

    /// Says how it ended, in one rename.
    pub fn write_exit(&self, exit: &Exit) -> std::io::Result<()> {
        let draft = self.path.join("exit.json.new");
        let mut file = private_file(&draft)?;
        file.write_all(&serde_json::to_vec(exit)?)?;
        file.sync_all()?;
        std::fs::rename(draft, self.path.join("exit.json"))
    }

    /// True while the supervisor lives.
    pub fn is_locked(&self) -> std::io::Result<bool> {
        match File::open(self.path.join("lock"))?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// How the run stands. Where the supervisor was killed, what it left behind is ended first: asked, then killed; the run is lost only
    /// once nothing of it is alive.
    pub fn state(&self) -> std::io::Result<RunState> {
        if self.is_locked()? {
            return Ok(RunState::Running);
        }
        if let Some(exit) = self.exit() {
            return Ok(RunState::Ended { code: exit.code });
        }
        if self.is_known_lost() {
            return Ok(RunState::Lost);
        }
        if self.end_orphans()? {
            return Ok(RunState::Running);
        }
        // Nothing can come to life again where nobody is left to start it. Where the mark cannot be written, the next look is as dear.
        let _ = File::create(self.path.join(LOST_MARK));
        Ok(RunState::Lost)
    }

    /// True once nothing of a run whose supervisor was killed was found alive. Every look at it went through every process of the machine
    /// before: with a few dozen such runs on a busy machine no listing came to its end in time, and nothing was launched any more.
    fn is_known_lost(&self) -> bool {
        self.path.join(LOST_MARK).exists()
    }

    /// True while something of the run lives, but the caller.
    pub fn has_orphans(&self) -> bool {
        !leftovers::of_run(&self.path).is_empty()
    }

    /// True while orphans live.
    fn end_orphans(&self) -> std::io::Result<bool> {
        let orphans = leftovers::of_run(&self.path);
        if orphans.is_empty() {
            return Ok(false);
        }
        let mark = self.path.join("orphaned");
        match mark.metadata().and_then(|metadata| metadata.modified()) {
            Err(_) => {
                File::create(mark)?;
                // The manager first: it asks the meeting-bot for the last bytes.
                let managers: Vec<_> = orphans.iter().filter(|orphan| orphan.is_manager).cloned().collect();
                leftovers::signal(if managers.is_empty() { &orphans } else { &managers }, Signal::TERM);
            }
            Ok(since) if SystemTime::now().duration_since(since).unwrap_or_default() > ORPHAN_GRACE => {
                leftovers::signal(&orphans, Signal::KILL);
            }
            // Without its manager there is nothing to wait for.
            Ok(_) if !orphans.iter().any(|orphan| orphan.is_manager) => leftovers::signal(&orphans, Signal::KILL),
            Ok(_) => {}
        }
        Ok(true)
    }

    /// Kills whatever of the run is alive, but the caller.
    pub fn kill_leftovers(&self) -> usize {
        let found = leftovers::of_run(&self.path);
        leftovers::signal(&found, Signal::KILL);
        found.len()
    }

    /// Asks the supervisor to end the run: it looks for this file's appearance.
    pub fn ask_to_stop(&self) -> std::io::Result<()> {
        File::create(self.path.join("stop")).map(drop)
    }

    /// True once [`RunDir::ask_to_stop`] was called.
    pub fn is_asked_to_stop(&self) -> bool {
        self.path.join("stop").exists()
    }

    /// Removes the folder, unless its scratch holds what the bucket lacks: then it is kept elsewhere. The logs move to `{RUNS_DIR}/logs/{job}-a{attempt}`.
    pub fn remove(&self, runs: &Path, key: &RunKey) -> std::io::Result<()> {
        let logs = runs.join("logs").join(format!("{}-a{}", key.job, key.attempt));
        if scratch::is_unsaved(self) {
            return scratch::keep(runs, self, key);
        }
        private_folder(&logs)?;
        for name in ["supervisor.log", "manager.log", "meeting-bot.log", "exit.json"] {
            let _ = std::fs::rename(self.path.join(name), logs.join(name));
        }
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Fails while another attempt is there.
        let _ = std::fs::remove_dir(runs.join(key.job.as_str()));
        Ok(())
    }

    /// A log that is appended to.
    pub fn log(&self, name: &str) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(self.path.join(name))
    }
}

/// Every run's folder below `runs`, with its spec; unreadable ones are skipped with a warning.
pub fn all(runs: &Path) -> std::io::Result<Vec<(RunDir, Spec)>> {
    let mut found = Vec::new();
    for job in folders(runs)? {
        if job.file_name().is_some_and(|name| name == "logs" || name == scratch::KEPT) {
            continue;
        }
        for attempt in folders(&job)? {
            if !attempt.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('a')) {
                continue;
            }
            let run = RunDir::at(attempt);
            match run.spec() {
                Ok(spec) => found.push((run, spec)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, run = %run.path.display(), "a run's spec is unreadable"),
            }
        }
    }
    Ok(found)
}

fn folders(parent: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_dir()).collect();
    paths.sort();
    Ok(paths)
}

pub(super) fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let instance_id = InstanceId::parse("b1").unwrap();
        Spec {
            job: JobName::for_instance(&instance_id),
            instance_id,
            attempt: 1,
            run_id: "r1".into(),
            command: RunCommand::Record,
            store_url: "sqlite:/s".into(),
            manager: PathBuf::from("/manager"),
            meeting_bot: PathBuf::from("/meeting-bot"),
            manager_variables: BTreeMap::new(),
            bot_variables: BTreeMap::new(),
        }
    }

    #[test]
    fn a_lost_run_is_looked_for_among_the_processes_once() {
        let folder = tempfile::tempdir().unwrap();
        let (run, lock) = RunDir::create(folder.path(), &spec()).unwrap().unwrap();
        assert_eq!((run.state().unwrap(), run.is_known_lost()), (RunState::Running, false));
        drop(lock);
        // What the supervisor left behind is ended first, and only then is it known.
        let mut orphan = std::process::Command::new("sleep").arg("600").env("BOT_RUN_DIR", run.path()).spawn().unwrap();
        // A program that was started this instant has no environment to be known by yet.
        let environment = format!("/proc/{}/environ", orphan.id());
        while std::fs::read(&environment).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!((run.state().unwrap(), run.is_known_lost()), (RunState::Running, false));
        orphan.wait().unwrap();
        assert_eq!((run.state().unwrap(), run.is_known_lost()), (RunState::Lost, true));
        assert_eq!(run.state().unwrap(), RunState::Lost);
    }
}
