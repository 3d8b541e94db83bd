//! What is killed of a run that records on this machine, and how: found by the run's supervisor and whom it started.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bot_model::scratch::SESSION_FOLDER;
use rustix::process::{Pid, Signal, kill_process};

use crate::process::until;
use crate::usage::{Usage, descendants, processes};

/// What a node that is taken away leaves a pod.
const NOTICE: Duration = Duration::from_secs(15);

/// One blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// SIGKILL to the capture.
    Ffmpeg,
    /// SIGKILL to the browser's main process.
    Browser,
    /// SIGKILL to the manager.
    Manager,
    /// SIGKILL to manager and meeting-bot.
    ManagerAndBot,
    /// SIGKILL to everything of the run at once, and its disk is lost.
    Group,
    /// SIGTERM as a pod gets it, and SIGKILL to what is left after 15 s.
    Terminate,
    /// SIGTERM to manager and meeting-bot at once, and SIGKILL to what is left after 15 s.
    TerminateAll,
}

impl Blow {
    /// Those after which another run takes over.
    pub const OF_THE_RUN: [Self; 5] = [Self::Manager, Self::ManagerAndBot, Self::Group, Self::Terminate, Self::TerminateAll];

    /// True where the run gets a notice.
    pub fn is_announced(self) -> bool {
        matches!(self, Self::Terminate | Self::TerminateAll)
    }

    /// True where another run takes over.
    pub fn ends_the_run(self) -> bool {
        Self::OF_THE_RUN.contains(&self)
    }
}

/// A run that lives.
pub struct LiveRun {
    supervisor: i32,
    folder: PathBuf,
}

impl LiveRun {
    /// The latest run below `runs`.
    pub fn latest(runs: &Path) -> Result<Self> {
        let lines = processes().into_keys().filter_map(|pid| Some((pid, command_line(pid)?)));
        let found = lines.filter_map(|(pid, words)| {
            let at = words.iter().position(|word| word == "--run-dir")?;
            let folder = PathBuf::from(words.get(at + 1)?);
            (words.iter().any(|word| word == "supervise") && folder.starts_with(runs)).then_some((attempt(&folder), pid, folder))
        });
        let (_, supervisor, folder) = found.max().context("no run lives")?;
        Ok(Self { supervisor, folder })
    }

    /// Strikes, and waits for the end of what ends of itself. True where everything that was announced to end did so in time.
    pub async fn strike(&self, blow: Blow) -> Result<bool> {
        let targets = self.targets(blow);
        anyhow::ensure!(!targets.is_empty(), "nothing to strike with {blow:?} in {}", self.folder.display());
        if !blow.is_announced() {
            send(&targets, Signal::KILL);
            if blow.ends_the_run() {
                self.lose_the_disk();
            }
            return Ok(true);
        }
        let everything = self.targets(Blow::Group);
        send(&targets, Signal::TERM);
        let begun = Instant::now();
        let is_over = async || everything.iter().all(|pid| command_line(*pid).is_none());
        while begun.elapsed() < NOTICE {
            if is_over().await {
                self.lose_the_disk();
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.lose_the_disk();
        send(&everything, Signal::KILL);
        until("the end of what was killed", NOTICE, || async { Ok(is_over().await.then_some(())) }).await?;
        Ok(false)
    }

    /// What lies on the run's disk is out of the next one's reach, as a pod's is: its files are made of what is in the bucket.
    fn lose_the_disk(&self) {
        let scratch = self.folder.join("scratch");
        // Gone already where the run had saved everything and said so.
        let _ = std::fs::rename(scratch.join(SESSION_FOLDER), scratch.join("lost"));
    }

    /// Who is struck, in order: first the shells that would give a killed bot's children time to save something.
    fn targets(&self, blow: Blow) -> Vec<i32> {
        let run = descendants(self.supervisor);
        let named = |name: &str| run.iter().filter(|(_, of)| of.name == name).map(|(pid, _)| *pid).collect::<Vec<i32>>();
        let saying = |name: &str, word: &str| {
            let with = |(pid, of): (&i32, &Usage)| {
                of.name.starts_with(name) && command_line(*pid).is_some_and(|words| words.iter().any(|one| one == word))
            };
            run.iter().filter(|one| with(*one)).map(|(pid, _)| *pid).collect::<Vec<i32>>()
        };
        match blow {
            Blow::Ffmpeg => saying("ffmpeg", "x11grab"),
            Blow::Browser => {
                let is_main =
                    |pid: &i32| command_line(*pid).is_some_and(|words| !words.iter().any(|word| word.starts_with("--type=")));
                run.iter().filter(|(pid, of)| of.name == "chromium" && is_main(pid)).map(|(pid, _)| *pid).collect()
            }
            Blow::Manager => named("manager"),
            Blow::ManagerAndBot => [named("manager"), named("meeting-bot")].concat(),
            Blow::Terminate => vec![self.supervisor],
            Blow::TerminateAll => [vec![self.supervisor], named("manager"), named("meeting-bot")].concat(),
            Blow::Group => {
                let mut all = named("sh");
                all.push(self.supervisor);
                all.extend(run.keys().filter(|pid| **pid != self.supervisor));
                all
            }
        }
    }
}

/// The number in `…/a3`.
fn attempt(folder: &Path) -> u32 {
    folder.file_name().and_then(|name| name.to_str()?.strip_prefix('a')?.parse().ok()).unwrap_or_default()
}

/// A living process's words; `None` for one that is gone, or has ended and was not waited for.
fn command_line(pid: i32) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|bytes| !bytes.is_empty())?;
    Some(bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn send(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // It may have ended in this moment.
        let _ = kill_process(pid, signal);
    }
}

/// Parses a list of blows, such as `ffmpeg,group`.
pub fn parse(text: &str) -> Result<Vec<Blow>> {
    let one = |name: &str| match name {
        "ffmpeg" => Ok(Blow::Ffmpeg),
        "browser" => Ok(Blow::Browser),
        "manager" => Ok(Blow::Manager),
        "manager-and-bot" => Ok(Blow::ManagerAndBot),
        "group" => Ok(Blow::Group),
        "terminate" => Ok(Blow::Terminate),
        "terminate-all" => Ok(Blow::TerminateAll),
        other => bail!("no blow is called {other:?}"),
    };
    text.split(',').map(one).collect()
}
