//! The Launcher: starts the run of a claimed instance and tells what became of it.
//!
//! A run's name is derived from its instance, so that the launcher itself refuses a second one. A launcher decides nothing:
//! when to launch, stop or remove is the loops' business. `conformance` holds what every launcher must pass.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod environment;
pub mod kubernetes;
mod leftovers;
pub mod logs;
pub mod machine;
pub mod process;
pub mod run_dir;
mod scratch;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bot_model::capacity::ledger::Refusal;
use bot_model::ids::{InstanceId, JobName};
use bot_model::meeting_url::MeetingUrl;
use bot_store::protocol::claim::Claimed;
use serde::{Deserialize, Serialize};

pub use logs::{ProgramLog, Tail};

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
    call: Call,
}

/// What a manager that is not ours has to be told. Shown nowhere: the address may hold a passcode.
#[derive(Clone, PartialEq, Eq)]
struct Call {
    url: MeetingUrl,
    bot_name: Option<String>,
    gcs_path: Option<String>,
    organization: String,
    user: String,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

impl LaunchSpec {
    /// The run that a claim allows.
    pub fn new(claimed: &Claimed, command: RunCommand) -> Self {
        let instance = &claimed.record().instance;
        let facts = &instance.facts;
        let call = Call {
            url: facts.meeting_url.clone(),
            bot_name: facts.bot_name.clone(),
            gcs_path: facts.gcs_path.as_ref().map(ToString::to_string),
            organization: facts.creator_organization_id.clone(),
            user: facts.creator_user_id.clone(),
        };
        Self { instance_id: instance.id.clone(), attempt: facts.attempt, command, call }
    }

    /// The variables of seed 003, for a manager image that reads the call from its environment: a closed list of names, whatever
    /// fields the document has.
    pub fn legacy_variables(&self) -> BTreeMap<String, String> {
        let call = &self.call;
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let pairs = [
            ("MEETING_URL", call.url.join_url(None)),
            ("MEETING_ID", Some(self.instance_id.to_string())),
            ("BOT_NAME", call.bot_name.clone()),
            ("GCS_PATH", call.gcs_path.clone()),
            ("CREATOR_ORGANIZATION_ID", filled(&call.organization)),
            ("CREATOR_USER_ID", filled(&call.user)),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
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
    /// What keeps it from running, or ended it, in the words of where it runs.
    pub trouble: Option<Trouble>,
}

/// What is wrong with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// From a closed list.
    pub kind: TroubleKind,
    /// The words of where it runs, for a person: one line.
    pub detail: String,
}

/// What can be wrong with a run, beyond its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// No node has room, or none fits.
    Unschedulable,
    /// An image cannot be had.
    ImagePull,
    /// A container cannot be made, or not be started: a Secret is missing, a program is.
    BadContainer,
    /// A container ends again and again.
    CrashLoop,
    /// No pod was made, for a reason that is not known, or is a policy.
    NoPod,
    /// A quota allows no further pod.
    Quota,
    /// A container needed more memory than it may have.
    OutOfMemory,
    /// It was told to go: a drained node, a node short of something.
    Evicted,
    /// It had to make room for something more important.
    Preempted,
    /// Its node does not answer, or is gone.
    NodeLost,
    /// It took longer than any run may.
    Deadline,
    /// Two pods of one run: a guard against two bots in a call was hit.
    SecondPod,
}

impl TroubleKind {
    /// As in metrics, in the timeline and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "unschedulable",
            Self::ImagePull => "image_pull_failed",
            Self::BadContainer => "container_not_created",
            Self::CrashLoop => "crash_loop",
            Self::NoPod => "no_pod",
            Self::Quota => "quota_exceeded",
            Self::OutOfMemory => "out_of_memory",
            Self::Evicted => "evicted",
            Self::Preempted => "preempted",
            Self::NodeLost => "node_lost",
            Self::Deadline => "run_deadline",
            Self::SecondPod => "second_pod",
        }
    }
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
    /// The machine has neither memory nor CPU for another run beside those that it has; try later.
    #[error("this machine has no memory or CPU left for another bot")]
    Crowded,
    /// Where it would run has no room for another one, such as under a quota; try later.
    #[error("no room: {message}")]
    NoRoom {
        /// In the words of where it would run.
        message: String,
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
    /// Where it would run refuses it: a missing right, an impossible specification.
    #[error("refused with {status} {reason}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Kubernetes' reason, such as `Forbidden`.
        reason: String,
        /// Its message.
        message: String,
    },
    /// Where it would run does not answer as it should, for now; try later.
    #[error("unavailable: {message}")]
    Unavailable {
        /// What was seen.
        message: String,
    },
    /// Something of this name exists that is not of this store.
    #[error("{name} exists and belongs to another store")]
    Foreign {
        /// The name.
        name: String,
    },
    /// No answer in time.
    #[error("no answer within {secs} s")]
    Deadline {
        /// The limit.
        secs: u64,
    },
}

impl LaunchError {
    /// Which limit refused it, where it did so for want of room alone: nothing is wrong, and the bot waits.
    pub fn want_of_room(&self) -> Option<Refusal> {
        match self {
            Self::Full { .. } | Self::Crowded => Some(Refusal::Machine),
            Self::NoRoom { .. } => Some(Refusal::Cluster),
            _ => None,
        }
    }
}

/// Two real implementations stand behind it: processes on this machine, and Kubernetes Jobs.
#[async_trait]
pub trait Launcher: Send + Sync + 'static {
    /// Starts a run, or says that it exists; [`LaunchError::Full`] and [`LaunchError::Crowded`] are for runs that record alone. Returns once the run is certain to be seen by [`Launcher::list`].
    async fn launch(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError>;

    /// Every run of this store, whatever its state, until it is removed.
    async fn list(&self) -> Result<Vec<Observed>, LaunchError>;

    /// True where, looked at anew, this run is not there and nothing of its job could be in a call: only ended runs of other
    /// attempts may be left. Absence from [`Launcher::list`] alone may be a gap in what is known.
    async fn is_absent(&self, run: &RunKey) -> Result<bool, LaunchError> {
        let is_other = |seen: &Observed| seen.key.job != run.job || (seen.key.attempt != run.attempt && seen.state.is_over());
        Ok(self.list().await?.iter().all(is_other))
    }

    /// Asks a run to end: what was recorded is saved first. Returns at once; a run that is over is left alone.
    async fn stop(&self, run: &RunKey) -> Result<(), LaunchError>;

    /// Forgets a run that is over. One that is alive is refused, an unknown one is fine.
    async fn remove(&self, run: &RunKey) -> Result<(), LaunchError>;

    /// Runs that could be started now.
    async fn free_slots(&self) -> Result<usize, LaunchError>;

    /// True while where it would run has no room (a quota is used up): [`Launcher::free_slots`] lets through what became free, and from
    /// time to time one to try.
    fn is_held_back(&self) -> bool {
        false
    }

    /// True where the runs that this controller launched would be in [`Launcher::list`], so that absence is evidence.
    fn sees_runs_of(&self, controller_id: &str) -> bool;

    /// Jobs with a run that is over and left on a disk in reach what is not in the bucket yet: the next attempt carries it out.
    async fn unsaved(&self) -> Result<Vec<JobName>, LaunchError> {
        Ok(Vec::new())
    }

    /// The end of what each program of a run wrote; `None` where nothing of the run is left, or is within reach.
    async fn logs(&self, _run: &RunKey, _tail: Tail) -> Result<Option<Vec<ProgramLog>>, LaunchError> {
        Ok(None)
    }

    /// Returns when a run may have changed. Hints may be lost.
    async fn changed(&self);

    /// Whether it could launch.
    async fn ready(&self) -> Result<(), LaunchError>;
}
