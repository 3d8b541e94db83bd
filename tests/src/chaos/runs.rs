//! The processes of the runs below one `RUNS_DIR`, found by what `/proc` says of them: never one that is not of this site.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use controller::launch::run_dir::RunDir;
use rustix::process::{Pid, Signal, kill_process};

/// A run with something alive.
#[derive(Debug, Clone, Default)]
pub struct LiveRun {
    /// Its folder.
    pub folder: PathBuf,
    /// Its id.
    pub run: String,
    /// Its job.
    pub job: String,
    /// `controller supervise`.
    pub supervisor: Option<i32>,
    /// The manager.
    pub manager: Option<i32>,
    /// The meeting-bot.
    pub bot: Option<i32>,
    /// What these started, such as ffmpeg.
    pub others: Vec<i32>,
}

impl LiveRun {
    /// Every process of it.
    pub fn all(&self) -> Vec<i32> {
        [self.supervisor, self.manager, self.bot].into_iter().flatten().chain(self.others.iter().copied()).collect()
    }
}

/// Every run below `runs` that lives, in the order of their folders.
pub fn alive(runs: &Path) -> Vec<LiveRun> {
    let mut found: BTreeMap<PathBuf, LiveRun> = BTreeMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let Some((folder, name)) = belongs(pid, runs) else { continue };
        let run = found.entry(folder.clone()).or_insert_with(|| described(folder));
        match name.as_str() {
            "controller" => run.supervisor = Some(pid),
            "manager" => run.manager = Some(pid),
            "scripted-bot" => run.bot = Some(pid),
            _ => run.others.push(pid),
        }
    }
    found.into_values().filter(|run| !run.run.is_empty()).collect()
}

fn described(folder: PathBuf) -> LiveRun {
    let spec = RunDir::at(&folder).spec().ok();
    let (run, job) = spec.map(|spec| (spec.run_id, spec.job.to_string())).unwrap_or_default();
    LiveRun { folder, run, job, ..LiveRun::default() }
}

/// The run's folder, as the command line of a supervisor or the environment of anything below it names it; and the program's name.
fn belongs(pid: i32, runs: &Path) -> Option<(PathBuf, String)> {
    let of = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
    let texts = |bytes: Vec<u8>| -> Vec<String> {
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    };
    let name = String::from_utf8(of("comm")?).ok()?.trim().to_owned();
    let command = texts(of("cmdline")?);
    let at = command.iter().position(|word| word == "--run-dir").and_then(|at| command.get(at + 1)).cloned();
    let folder = match at {
        Some(folder) => folder,
        None => texts(of("environ")?).into_iter().find_map(|text| Some(text.strip_prefix("BOT_RUN_DIR=")?.to_owned()))?,
    };
    let folder = PathBuf::from(folder);
    folder.starts_with(runs).then_some((folder, name))
}

/// Signals one process; gone in between is fine.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
