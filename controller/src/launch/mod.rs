//! The Launcher: starts the run of a claimed instance and tells what became of it.
//!
//! A run's name is derived from its instance, so that the launcher itself refuses a second one. A launcher decides nothing:
//! when to launch, stop or remove is the loops' business. `conformance` holds what every launcher must pass.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod environment;
mod leftovers;
pub mod process;
pub mod run_dir;
mod scratch;

use async_trait::async_trait;
use bot_model::ids::{InstanceId, JobName};
use bot_store::protocol::claim::Claimed;
use serde::{Deserialize, Serialize};

pub use environment::{BOT_ONLY, MANAGER_ONLY, RUN_DIR_VARIABLE, SHARED, allowed};

/// What a run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCommand {
    /// Join, record and finalize.
    Record,
    /// Make files of what was recorded; no meeting-bot.
    Finalize,
}

impl RunCommand {
    /// The manager's subcommand.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Finalize => "finalize",
        }
    }
}

/// Names one run: one attempt of one job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// Derived from the instance id.
    pub job: JobName,
    /// From 1.
    pub attempt: u32,
}

/// What to launch. Made of a claim alone, so that nothing unclaimed can be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    instance_id: InstanceId,
    attempt: u32,
    command: RunCommand,
}

impl LaunchSpec {
    /// The run that a claim allows.
    pub fn new(claimed: &Claimed, command: RunCommand) -> Self {
        let instance = &claimed.record().instance;
        Self { instance_id: instance.id.clone(), attempt: instance.facts.attempt, command }
    }

    /// For whom.
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance_id
    }

    /// Its name.
    pub fn key(&self) -> RunKey {
        RunKey { job: JobName::for_instance(&self.instance_id), attempt: self.attempt }
    }

    /// What it is to do.
    pub fn command(&self) -> RunCommand {
        self.command
    }
}

/// How a launch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launched {
    /// The run was started by this call.
    Started,
    /// A run of this name and attempt exists already: look and adopt.
    AlreadyThere,
}

/// What is known of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, but not started yet for want of capacity.
    Pending,
    /// Something of it is alive.
    Running,
    /// It ended, and nothing of it is alive.
    Ended {
        /// The manager's exit code; `None` where a signal ended it.
        code: Option<i32>,
    },
    /// It ended without a trace of how (power cut, killed supervisor), and nothing of it is alive.
    Lost,
}

impl RunState {
    /// True when nothing of the run can be in a call any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Lost)
    }
}

/// A run as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Which.
    pub key: RunKey,
    /// For whom.
    pub instance_id: InstanceId,
    /// How it stands.
    pub state: RunState,
}

/// Why a call to a launcher failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Every slot is taken; try later.
    #[error("all {limit} slots for runs are taken")]
    Full {
        /// `MAX_LIVE_BOTS`.
        limit: usize,
    },
    /// Another attempt of the same job is alive; launching would put two bots into one call.
    #[error("attempt {attempt} of this job is still alive")]
    OtherAttemptAlive {
        /// The one alive.
        attempt: u32,
    },
    /// A run that is alive is never removed.
    #[error("the run is alive")]
    Alive,
    /// The machine refused.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("no answer within {secs} s")]
    Deadline {
        /// The limit.
        secs: u64,
    },
}

/// Two real implementations stand behind it: processes on this machine, and (in a later version) Kubernetes Jobs.
#[async_trait]
pub trait Launcher: Send + Sync + 'static {
    /// Starts a run, or says that it exists. Returns once the run is certain to be seen by [`Launcher::list`].
    async fn launch(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError>;

    /// Every run of this store, whatever its state, until it is removed.
    async fn list(&self) -> Result<Vec<Observed>, LaunchError>;

    /// Asks a run to end: what was recorded is saved first. Returns at once; a run that is over is left alone.
    async fn stop(&self, run: &RunKey) -> Result<(), LaunchError>;

    /// Forgets a run that is over. One that is alive is refused, an unknown one is fine.
    async fn remove(&self, run: &RunKey) -> Result<(), LaunchError>;

    /// Runs that could be started now.
    async fn free_slots(&self) -> Result<usize, LaunchError>;

    /// True where the runs that this controller launched would be in [`Launcher::list`], so that absence is evidence.
    fn sees_runs_of(&self, controller_id: &str) -> bool;

    /// Jobs with a run that is over and left on a disk in reach what is not in the bucket yet: the next attempt carries it out.
    async fn unsaved(&self) -> Result<Vec<JobName>, LaunchError> {
        Ok(Vec::new())
    }

    /// Returns when a run may have changed. Hints may be lost.
    async fn changed(&self);

    /// Whether it could launch.
    async fn ready(&self) -> Result<(), LaunchError>;
}
