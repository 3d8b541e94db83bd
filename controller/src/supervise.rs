//! The supervisor of one local run: `controller supervise --run-dir DIR`, started by the process launcher.
//!
//! Keeps a meeting-bot beside the manager while the manager lives (as a native sidecar is kept), forwards a request to end, ends
//! everything of the run when the manager has ended, and writes how it ended. Touches neither store nor recording. Its lock is
//! its standard input, inherited locked; it is released by the end of this process, however it ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bot_model::exit_code::ExitCode as Code;
use bot_model::process as contract;
use chrono::Utc;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::launch::run_dir::{Exit, RunDir, Spec};
use crate::launch::{BOT_ONLY, MANAGER_ONLY, RUN_DIR_VARIABLE, RunCommand, SHARED, allowed};

/// How long a meeting-bot may take until it listens.
const BOT_START: Duration = Duration::from_secs(30);
/// How long it may take to leave; its own budget is 10 s.
const BOT_STOP: Duration = Duration::from_secs(15);
/// How long a manager may save what it has; the termination grace of a pod.
const MANAGER_STOP: Duration = Duration::from_secs(600);
/// Between looks for a request to stop.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Before the first restart of a crashed meeting-bot; doubles up to the last.
const RESTART_AFTER: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(20)];

/// A run that could not be supervised.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct SuperviseError {
    what: &'static str,
    source: std::io::Error,
}

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> SuperviseError {
    move |source| SuperviseError { what, source }
}

/// Supervises the run in `run_dir` to its end.
pub fn supervise(run_dir: &Path) -> Result<(), SuperviseError> {
    // Fails where a person started it as a group's leader, which is as good.
    let _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed("start"))?;
    runtime.block_on(run(RunDir::at(run_dir)))
}

async fn run(folder: RunDir) -> Result<(), SuperviseError> {
    let spec = folder.spec().map_err(failed("read spec.json"))?;
    tracing::info!(bot_instance_id = %spec.instance_id, attempt = spec.attempt, job_name = %spec.job, command = spec.command.as_str(), "run begins");
    std::fs::create_dir_all(folder.path().join("scratch")).map_err(failed("make the scratch folder"))?;
    let mut ending = Ending::new(folder.clone())?;
    let exit = supervised(&folder, &spec, &mut ending).await;
    let killed = folder.kill_leftovers();
    tracing::info!(code = exit.code, signal = exit.signal, reason = exit.reason, killed, "run ended");
    folder.write_exit(&exit).map_err(failed("write exit.json"))
}

async fn supervised(folder: &RunDir, spec: &Spec, ending: &mut Ending) -> Exit {
    let mut bot = Bot::new(folder, spec);
    if spec.command == RunCommand::Record
        && let Err(exit) = bot.first_start(ending).await
    {
        return exit;
    }
    let mut manager = match start_manager(folder, spec, bot.address) {
        Ok(manager) => manager,
        Err(error) => {
            bot.stop().await;
            return exit_of(Code::MissingDependency, format!("the manager could not be started: {error}"));
        }
    };
    let status = follow(&mut manager, &mut bot, ending).await;
    kill_group(&manager, Signal::KILL);
    bot.stop().await;
    match status {
        Ok(status) => exit_from(status),
        Err(error) => Exit { code: None, signal: None, reason: error.to_string(), ended_at: Utc::now() },
    }
}

/// Waits for the manager, restarting the meeting-bot and passing on requests to end.
async fn follow(manager: &mut Group, bot: &mut Bot<'_>, ending: &mut Ending) -> std::io::Result<ExitStatus> {
    let mut give_up: Option<Instant> = None;
    loop {
        tokio::select! {
            status = manager.child.wait() => return status,
            () = bot.keep_alive() => {}
            () = ending.asked(), if give_up.is_none() => {
                tracing::info!("asked to end");
                give_up = Some(Instant::now() + MANAGER_STOP);
                if let Some(pid) = manager.pid {
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
            () = sleep_until(give_up.unwrap_or_else(Instant::now)), if give_up.is_some() => {
                tracing::warn!("the manager did not end within its grace");
                kill_group(manager, Signal::KILL);
                return manager.child.wait().await;
            }
        }
    }
}

/// A child that leads its own process group.
struct Group {
    child: Child,
    pid: Option<Pid>,
}

impl Group {
    fn spawn(mut command: Command) -> std::io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(false).spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, pid })
    }
}

fn kill_group(group: &Group, signal: Signal) {
    if let Some(pid) = group.pid {
        let _ = kill_process_group(pid, signal);
    }
}

fn start_manager(folder: &RunDir, spec: &Spec, bot: Option<SocketAddr>) -> std::io::Result<Group> {
    let mut command = command(&spec.manager, folder, "manager.log", &[SHARED, MANAGER_ONLY])?;
    // `finalize` has no meeting-bot; the variable still marks the process as the manager.
    let api = bot.map(|address| format!("http://{address}")).unwrap_or_default();
    command.arg(spec.command.as_str()).envs(&spec.manager_variables).env(contract::MEETING_BOT_API_URL, api);
    Group::spawn(command)
}

fn command(program: &PathBuf, folder: &RunDir, log: &str, lists: &[&[&str]]) -> std::io::Result<Command> {
    let log = folder.log(log)?;
    let mut command = Command::new(program);
    command.env_clear().envs(allowed(std::env::vars(), lists)).env(RUN_DIR_VARIABLE, folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log)).current_dir(folder.path());
    Ok(command)
}

/// The meeting-bot beside the manager.
struct Bot<'a> {
    folder: &'a RunDir,
    spec: &'a Spec,
    group: Option<Group>,
    /// Kept over restarts, so that the manager's address stays true.
    address: Option<SocketAddr>,
    restart_after: Duration,
}

impl<'a> Bot<'a> {
    fn new(folder: &'a RunDir, spec: &'a Spec) -> Self {
        Self { folder, spec, group: None, address: None, restart_after: RESTART_AFTER[0] }
    }

    fn start(&mut self) -> std::io::Result<()> {
        let mut command = command(&self.spec.meeting_bot, self.folder, "meeting-bot.log", &[SHARED, BOT_ONLY])?;
        let listen = self.address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        command.envs(&self.spec.bot_variables).env("MEETING_BOT_LISTEN", listen);
        command.env("MEETING_BOT_PORT_FILE", self.port_file());
        self.group = Some(Group::spawn(command)?);
        Ok(())
    }

    fn port_file(&self) -> PathBuf {
        self.folder.path().join("meeting-bot.port")
    }

    /// Starts it and waits until it listens; the run's exit where it does not.
    async fn first_start(&mut self, ending: &mut Ending) -> Result<(), Exit> {
        if let Err(error) = self.start() {
            return Err(exit_of(Code::MissingDependency, format!("the meeting-bot could not be started: {error}")));
        }
        let begun = Instant::now();
        loop {
            if let Some(address) = std::fs::read_to_string(self.port_file()).ok().and_then(|text| text.trim().parse().ok()) {
                self.address = Some(address);
                return Ok(());
            }
            if let Some(status) = self.group.as_mut().and_then(|group| group.child.try_wait().ok().flatten()) {
                return Err(refused(status));
            }
            if begun.elapsed() > BOT_START || ending.is_asked() {
                self.stop().await;
                let (code, reason) = if begun.elapsed() > BOT_START {
                    (Code::RefusedBeforeJoin, "the meeting-bot did not listen in time")
                } else {
                    (Code::Terminated, "asked to end before it began")
                };
                return Err(exit_of(code, reason.into()));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the meeting-bot has ended and starts it again; without one, waits forever. Safe to drop at any await.
    async fn keep_alive(&mut self) {
        match &mut self.group {
            Some(group) => {
                let begun = Instant::now();
                let status = group.child.wait().await;
                kill_group(group, Signal::KILL);
                if begun.elapsed() > 3 * RESTART_AFTER[1] {
                    self.restart_after = RESTART_AFTER[0];
                }
                tracing::warn!(?status, after = ?self.restart_after, "the meeting-bot ended while the manager lives; it is started again");
                self.group = None;
            }
            None if self.address.is_some() => {
                sleep(self.restart_after).await;
                self.restart_after = (self.restart_after * 2).min(RESTART_AFTER[1]);
                if let Err(error) = self.start() {
                    tracing::error!(%error, "the meeting-bot could not be started again");
                }
            }
            None => std::future::pending().await,
        }
    }

    async fn stop(&mut self) {
        let Some(mut group) = self.group.take() else { return };
        if let Some(pid) = group.pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(BOT_STOP, group.child.wait()).await.is_err() {
            tracing::warn!("the meeting-bot did not leave in time and is killed");
        }
        kill_group(&group, Signal::KILL);
        let _ = timeout(Duration::from_secs(5), group.child.wait()).await;
    }
}

/// A request to end: SIGTERM, or the launcher's file.
struct Ending {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    folder: RunDir,
    is_signalled: bool,
}

impl Ending {
    fn new(folder: RunDir) -> Result<Self, SuperviseError> {
        let listen = |kind| signal(kind).map_err(failed("listen for signals"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            folder,
            is_signalled: false,
        })
    }

    async fn asked(&mut self) {
        while !self.is_asked() {
            tokio::select! {
                _ = self.terminate.recv() => self.is_signalled = true,
                _ = self.interrupt.recv() => self.is_signalled = true,
                // A closed terminal ends no recording.
                _ = self.hangup.recv() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn is_asked(&self) -> bool {
        self.is_signalled || self.folder.is_asked_to_stop()
    }
}

fn exit_from(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    Exit { code: status.code(), signal: status.signal(), reason: String::new(), ended_at: Utc::now() }
}

fn exit_of(code: Code, reason: String) -> Exit {
    Exit { code: Some(code.code().into()), signal: None, reason, ended_at: Utc::now() }
}

/// A meeting-bot that ended before it listened: its own code where it tells something, else another try.
fn refused(status: ExitStatus) -> Exit {
    let told = status.code().and_then(Code::from_code);
    let code = match told {
        Some(code @ (Code::BadConfiguration | Code::MissingDependency)) => code,
        _ => Code::RefusedBeforeJoin,
    };
    exit_of(code, format!("the meeting-bot ended before it listened ({status})"))
}
