//! The processes of the runs of one site, below its `RUNS_DIR` or in its pods, found by what `/proc` says of them: never one that is
//! not of this site.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use controller::launch::run_dir::RunDir;
use rustix::process::{Pid, Signal, kill_process};

use crate::local_kubelet::POD_VARIABLE;

/// A run with something alive.
#[derive(Debug, Clone, Default)]
pub struct LiveRun {
    /// Its folder; of a pod, that of its volumes, which is named after it.
    pub folder: PathBuf,
    /// Its id; of a pod, its uid.
    pub run: String,
    /// Its job.
    pub job: String,
    /// True where it is a pod.
    pub is_pod: bool,
    /// `controller supervise`, where it is none.
    pub supervisor: Option<i32>,
    /// The manager.
    pub manager: Option<i32>,
    /// The meeting-bot.
    pub bot: Option<i32>,
    /// What these started, such as ffmpeg.
    pub others: Vec<i32>,
}

impl LiveRun {
    /// True where it has begun and not lost what it is kept by.
    pub fn is_whole(&self) -> bool {
        self.manager.is_some() && (self.is_pod || self.supervisor.is_some())
    }

    /// Its pod's name.
    pub fn pod(&self) -> &str {
        self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

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
        let Some((told, name)) = belongs(pid, runs) else { continue };
        let run = found.entry(told.folder().to_owned()).or_insert_with(|| told.described());
        match name.as_str() {
            "controller" => run.supervisor = Some(pid),
            "manager" => run.manager = Some(pid),
            "scripted-bot" => run.bot = Some(pid),
            _ => run.others.push(pid),
        }
    }
    found.into_values().filter(|run| !run.run.is_empty()).collect()
}

/// What a process's command line or environment tells of its run.
enum Told {
    Folder(PathBuf),
    Pod { uid: String, job: String, volumes: PathBuf },
}

impl Told {
    fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) | Self::Pod { volumes: folder, .. } => folder,
        }
    }

    fn described(self) -> LiveRun {
        match self {
            Self::Folder(folder) => {
                let spec = RunDir::at(&folder).spec().ok();
                let (run, job) = spec.map(|spec| (spec.run_id, spec.job.to_string())).unwrap_or_default();
                LiveRun { folder, run, job, ..LiveRun::default() }
            }
            Self::Pod { uid, job, volumes } => LiveRun { folder: volumes, run: uid, job, is_pod: true, ..LiveRun::default() },
        }
    }
}

/// The run, as the command line of a supervisor or the environment of anything below it names it; and the program's name.
fn belongs(pid: i32, runs: &Path) -> Option<(Told, String)> {
    let of = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
    let texts = |bytes: Vec<u8>| -> Vec<String> {
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    };
    let name = String::from_utf8(of("comm")?).ok()?.trim().to_owned();
    let command = texts(of("cmdline")?);
    let at = command.iter().position(|word| word == "--run-dir").and_then(|at| command.get(at + 1)).cloned();
    let told = match at {
        Some(folder) => Told::Folder(folder.into()),
        None => texts(of("environ")?).iter().find_map(|text| told_by(text))?,
    };
    told.folder().starts_with(runs).then_some((told, name))
}

fn told_by(variable: &str) -> Option<Told> {
    match variable.split_once('=')? {
        ("BOT_RUN_DIR", folder) => Some(Told::Folder(folder.into())),
        (POD_VARIABLE, pod) => {
            let (uid, rest) = pod.split_once('/')?;
            let (job, volumes) = rest.split_once('/')?;
            Some(Told::Pod { uid: uid.into(), job: job.into(), volumes: volumes.into() })
        }
        _ => None,
    }
}

/// Signals one process; gone in between is fine.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
