//! The process launcher: each run is a small supervisor on this machine, in a session of its own, that outlives the
//! controller. A restarted controller finds it again by its folder's lock and exit file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bot_model::ids::JobName;
use bot_model::process as contract;
use bot_store::kill_point::KillPoint;
use tokio::sync::Notify;
use uuid::Uuid;

use super::machine::Gauge;
use super::run_dir::{self, RunDir, Spec, private_folder};
use super::scratch;
use super::{
    BOT_ONLY, LaunchError, LaunchSpec, Launched, Launcher, MANAGER_ONLY, Observed, ProgramLog, RunCommand, RunKey, RunState,
    SHARED, Tail, allowed,
};
use crate::config::RunsConfig;

/// Longest wait for this machine's own file system.
const DEADLINE: Duration = Duration::from_secs(20);

/// What has a log in a run's folder.
const PROGRAMS: [&str; 3] = ["meeting-bot", "manager", "supervisor"];

/// Between looks for the orphans of a killed supervisor.
const ORPHANS_EVERY: Duration = Duration::from_secs(1);
/// Past the time that a meeting-bot takes to leave, they are looked at anew.
const ORPHANS_FOR: Duration = Duration::from_secs(15);

/// Runs as processes on this machine.
pub struct ProcessLauncher {
    config: RunsConfig,
    store_url: String,
    program: PathBuf,
    /// Counting free slots and taking one must not interleave.
    launching: Arc<Mutex<()>>,
    ended: Arc<Notify>,
    gauge: Arc<Gauge>,
}

impl ProcessLauncher {
    /// A launcher whose runs belong to `store_url`. `program` is the controller's own program, which supervises.
    pub fn new(config: RunsConfig, store_url: &str, controller_id: &str, program: PathBuf) -> Result<Self, LaunchError> {
        let ours = config.folder.join("controllers");
        // Says that this controller's runs are in this folder, to others that use it, too.
        let mark = ours.join(file_name(controller_id));
        private_folder(&ours)
            .and_then(|()| std::fs::write(&mark, ""))
            .map_err(machine(format!("prepare RUNS_DIR {}", config.folder.display())))?;
        scratch::forget_kept(&config.folder, kept_for(&config));
        let (launching, ended, gauge) = (Arc::default(), Arc::new(Notify::new()), Arc::default());
        Ok(Self { config, store_url: store_url.to_owned(), program, launching, ended, gauge })
    }

    fn spec(&self, launch: &LaunchSpec) -> Spec {
        let key = launch.key();
        let run_id = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let folder = RunDir::of(&self.config.folder, &key).path().to_owned();
        let mut manager = self.config.handed_on.clone();
        manager.extend([
            (contract::BOT_INSTANCE_ID.to_owned(), launch.instance_id().to_string()),
            (contract::ATTEMPT.to_owned(), key.attempt.to_string()),
            (contract::RUN_ID.to_owned(), run_id.clone()),
            (contract::SCRATCH_DIR.to_owned(), folder.join("scratch").display().to_string()),
        ]);
        let mut bot = BTreeMap::from([
            (contract::RUN_ID.to_owned(), run_id.clone()),
            (contract::SCRATCH_DIR.to_owned(), folder.join("scratch").display().to_string()),
            ("MEETING_BOT_SCRATCH".to_owned(), folder.join("bot").display().to_string()),
        ]);
        bot.extend(
            self.config.handed_on.get_key_value(contract::OTHER_PLATFORMS).map(|(name, list)| (name.clone(), list.clone())),
        );
        bot.extend(self.config.practice_origin.clone().map(|origin| (contract::PRACTICE_ROOM_ORIGIN.to_owned(), origin)));
        Spec {
            instance_id: launch.instance_id().clone(),
            job: key.job,
            attempt: key.attempt,
            run_id,
            command: launch.command(),
            store_url: self.store_url.clone(),
            manager: self.config.manager.clone(),
            meeting_bot: self.config.meeting_bot.clone(),
            manager_variables: manager,
            bot_variables: bot,
        }
    }

    /// What makes files is never kept from starting.
    fn limit_of(&self, command: RunCommand) -> usize {
        if command == RunCommand::Finalize { usize::MAX } else { self.config.max_live }
    }

    /// Starts the supervisor with the lock as its standard input, and waits for it in the background, so that it leaves no zombie.
    fn start(&self, run: &RunDir, lock: std::fs::File) -> Result<(), LaunchError> {
        let failed = || machine(format!("start {}", self.program.display()));
        let log = run.log("supervisor.log").map_err(machine("open the supervisor's log".to_owned()))?;
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("supervise").arg("--run-dir").arg(run.path());
        command.env_clear().envs(allowed(std::env::vars(), &[SHARED, MANAGER_ONLY, BOT_ONLY]));
        command.stdin(Stdio::from(lock)).stdout(Stdio::from(log.try_clone().map_err(failed())?)).stderr(Stdio::from(log));
        let mut child = command.current_dir(run.path()).kill_on_drop(false).spawn().map_err(failed())?;
        let (ended, run) = (Arc::clone(&self.ended), run.clone());
        tokio::spawn(async move {
            let _ = child.wait().await;
            ended.notify_one();
            if run.exit().is_none() {
                orphans_are_gone(run).await;
                ended.notify_one();
            }
        });
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, LaunchError> + Send + 'static,
    ) -> Result<T, LaunchError> {
        let runs = self.config.folder.clone();
        let job = tokio::task::spawn_blocking(move || work(&runs));
        match tokio::time::timeout(DEADLINE, job).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(machine("work in RUNS_DIR".to_owned())(std::io::Error::other(error))),
            Err(_) => Err(LaunchError::Deadline { secs: DEADLINE.as_secs() }),
        }
    }
}

#[async_trait]
impl Launcher for ProcessLauncher {
    async fn launch(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError> {
        let (draft, key, limit, launching) =
            (self.spec(spec), spec.key(), self.limit_of(spec.command()), Arc::clone(&self.launching));
        let (gauge, is_measured) = (Arc::clone(&self.gauge), self.config.is_measured && spec.command() == RunCommand::Record);
        let created = self
            .blocking(move |runs| {
                let _one_at_a_time = launching.lock().unwrap_or_else(PoisonError::into_inner);
                // Several may have been told of the same room.
                let has_room = |alive: usize| !is_measured || gauge.room(alive) > 0;
                may_start(runs, &key, limit, has_room)?;
                let draft = with_earlier(runs, &key, draft)?;
                let created = RunDir::create(runs, &draft).map_err(machine(format!("make the folder of {}", key.job)))?;
                if created.is_some() {
                    gauge.started();
                }
                Ok(created)
            })
            .await?;
        let Some((run, lock)) = created else { return Ok(Launched::AlreadyThere) };
        KillPoint::CreatingJob.pass(spec.instance_id().as_str()).await;
        self.start(&run, lock).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(run.path());
        })?;
        Ok(Launched::Started)
    }

    async fn list(&self) -> Result<Vec<Observed>, LaunchError> {
        let store = self.store_url.clone();
        self.blocking(move |runs| {
            let mut seen = Vec::new();
            for (run, spec) in run_dir::all(runs).map_err(machine("list RUNS_DIR".to_owned()))? {
                if spec.store_url != store {
                    continue;
                }
                let state = match run.state() {
                    // Removed while we looked.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    state => state.map_err(machine(format!("look at the run of {}", spec.job)))?,
                };
                let key = RunKey { job: spec.job, attempt: spec.attempt };
                seen.push(Observed { key, instance_id: spec.instance_id, state, trouble: None });
            }
            Ok(seen)
        })
        .await
    }

    async fn stop(&self, run: &RunKey) -> Result<(), LaunchError> {
        let key = run.clone();
        self.blocking(move |runs| match RunDir::of(runs, &key).ask_to_stop() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            asked => asked.map_err(machine("ask a run to stop".to_owned())),
        })
        .await
    }

    async fn remove(&self, run: &RunKey) -> Result<(), LaunchError> {
        let (key, retention) = (run.clone(), kept_for(&self.config));
        self.blocking(move |runs| {
            scratch::forget_kept(runs, retention);
            let folder = RunDir::of(runs, &key);
            match folder.state() {
                Ok(state) if !state.is_over() => return Err(LaunchError::Alive),
                _ => {}
            }
            folder.remove(runs, &key).map_err(machine("remove a run's folder".to_owned()))
        })
        .await
    }

    async fn free_slots(&self) -> Result<usize, LaunchError> {
        let (limit, gauge) = (self.config.max_live, self.config.is_measured.then(|| Arc::clone(&self.gauge)));
        self.blocking(move |runs| {
            let alive = alive(runs)?.len();
            let room = gauge.map_or(usize::MAX, |gauge| gauge.room(alive));
            Ok(limit.saturating_sub(alive).min(room))
        })
        .await
    }

    fn sees_runs_of(&self, controller_id: &str) -> bool {
        self.config.folder.join("controllers").join(file_name(controller_id)).exists()
    }

    async fn unsaved(&self) -> Result<Vec<JobName>, LaunchError> {
        let store = self.store_url.clone();
        self.blocking(move |runs| scratch::unsaved(runs, &store).map_err(machine("look through RUNS_DIR".to_owned()))).await
    }

    async fn logs(&self, run: &RunKey, tail: Tail) -> Result<Option<Vec<ProgramLog>>, LaunchError> {
        let (key, store) = (run.clone(), self.store_url.clone());
        self.blocking(move |runs| {
            let folder = RunDir::of(runs, &key);
            if folder.spec().ok().filter(|spec| spec.store_url == store).is_none() {
                return Ok(None);
            }
            let mut logs = Vec::new();
            for program in PROGRAMS {
                let file = folder.path().join(format!("{program}.log"));
                let text = tail.of_file(&file).map_err(machine(format!("read the log of {program}")))?;
                logs.extend(text.map(|text| ProgramLog { program: program.to_owned(), text }));
            }
            Ok(Some(logs))
        })
        .await
    }

    async fn changed(&self) {
        self.ended.notified().await;
    }

    async fn ready(&self) -> Result<(), LaunchError> {
        let programs = [self.config.manager.clone(), self.config.meeting_bot.clone()];
        self.blocking(move |runs| {
            for program in programs {
                std::fs::metadata(&program).map_err(machine(format!("find {}", program.display())))?;
            }
            private_folder(runs).map_err(machine(format!("prepare RUNS_DIR {}", runs.display())))
        })
        .await
    }
}

/// Waits until nothing of a run lives whose supervisor was killed: the run is over only then, and nothing else would say so before
/// the next look at everything. Only looks; whoever looks at the run's state ends what is left.
async fn orphans_are_gone(run: RunDir) {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < ORPHANS_FOR {
        tokio::time::sleep(ORPHANS_EVERY).await;
        let run = run.clone();
        if !tokio::task::spawn_blocking(move || run.has_orphans()).await.unwrap_or(false) {
            return;
        }
    }
}

fn may_start(runs: &Path, key: &RunKey, limit: usize, has_room: impl Fn(usize) -> bool) -> Result<(), LaunchError> {
    let alive = alive(runs)?;
    if let Some(other) = alive.iter().find(|other| other.job == key.job) {
        let same = other.attempt == key.attempt;
        return if same { Ok(()) } else { Err(LaunchError::OtherAttemptAlive { attempt: other.attempt }) };
    }
    match alive.len() {
        count if count >= limit => Err(LaunchError::Full { limit }),
        count if !has_room(count) => Err(LaunchError::Crowded),
        _ => Ok(()),
    }
}

/// Tells the manager where the scratch of earlier attempts lies, so that it carries out what they left.
fn with_earlier(runs: &Path, key: &RunKey, mut spec: Spec) -> Result<Spec, LaunchError> {
    let failed = || machine("look for earlier attempts".to_owned());
    let earlier = scratch::earlier(runs, key, &spec.instance_id).map_err(failed())?;
    if !earlier.is_empty() {
        let text = serde_json::to_string(&earlier).map_err(std::io::Error::other).map_err(failed())?;
        spec.manager_variables.insert(contract::EARLIER_RUNS.to_owned(), text);
    }
    Ok(spec)
}

/// How long a run is kept whose recording could not be carried out: as long as raw segments are.
fn kept_for(config: &RunsConfig) -> Duration {
    let hours = config.handed_on.get(contract::RAW_RETENTION_HOURS).and_then(|text| text.parse::<u64>().ok());
    Duration::from_secs(3600 * hours.unwrap_or(contract::DEFAULT_RAW_RETENTION_HOURS))
}

/// Runs with something alive, of every store: they share this machine.
fn alive(runs: &Path) -> Result<Vec<RunKey>, LaunchError> {
    let all = run_dir::all(runs).map_err(machine("list RUNS_DIR".to_owned()))?;
    Ok(all
        .into_iter()
        .filter(|(run, _)| matches!(run.state(), Ok(RunState::Running)))
        .map(|(_, spec)| RunKey { job: spec.job, attempt: spec.attempt })
        .collect())
}

/// Controller ids may hold anything but a slash.
fn file_name(controller_id: &str) -> String {
    format!("id-{controller_id}")
}

fn machine(what: String) -> impl FnOnce(std::io::Error) -> LaunchError {
    move |source| LaunchError::Machine { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bot_model::ids::InstanceId;

    #[test]
    fn a_run_is_refused_where_the_machine_has_no_room_left_when_its_turn_comes() {
        let runs = tempfile::tempdir().unwrap();
        let key = RunKey { job: JobName::for_instance(&InstanceId::parse("b").unwrap()), attempt: 1 };
        let refused = may_start(runs.path(), &key, 4, |alive| alive > 0).unwrap_err();
        assert!(matches!(refused, LaunchError::Crowded), "{refused}");
        assert_eq!(refused.want_of_room(), Some(bot_model::capacity::ledger::Refusal::Machine));
        assert!(may_start(runs.path(), &key, 4, |alive| alive == 0).is_ok());
        assert!(matches!(may_start(runs.path(), &key, 0, |_| true), Err(LaunchError::Full { limit: 0 })));
    }
}
