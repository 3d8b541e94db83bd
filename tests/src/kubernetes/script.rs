//! What the containers of a Job's pod do, chosen per Job by the test.

use std::time::Duration;

/// The fate of a Job's pods. Durations are real; those of the simulated cluster are in [`super::Timing`].
#[derive(Debug, Clone, PartialEq)]
pub enum PodScript {
    /// main ends with 0 that long after it started.
    Succeed(Duration),
    /// main ends with this code that long after it started.
    FailMain(i32, Duration),
    /// main runs until SIGTERM, then ends with this code.
    RunUntilTerminated(i32),
    /// main runs and ignores SIGTERM: it is killed (137) when the grace period is over.
    IgnoreTerm,
    /// main is killed for its memory (OOMKilled, 137) that long after it started.
    OomKilled(Duration),
    /// No node fits: Pending, PodScheduled=False (Unschedulable).
    NeverSchedule,
    /// The image cannot be pulled: ErrImagePull, then ImagePullBackOff, and so on.
    ImagePullBackOff,
    /// Stays at ErrImagePull.
    ErrImagePull,
    /// `imagePullPolicy: Never` and no image.
    ErrImageNeverPull,
    /// The image's name is invalid.
    InvalidImageName,
    /// A secret of main's environment is missing.
    CreateContainerConfigError,
    /// The sidecar's startup probe never passes; main never starts.
    SidecarNeverStarts,
    /// Evicted through the Eviction API that long after main started; main ends with this code on SIGTERM.
    Evicted(Duration, i32),
    /// Preempted by the scheduler that long after main started; main ends with this code on SIGTERM.
    Preempted(Duration, i32),
    /// The node goes away that long after main started and, when told, returns after another while. main goes on unseen.
    NodeLost(Duration, Option<Duration>),
    /// Pod Security forbids the pod: none is ever made, only FailedCreate events.
    PodSecurityDenied,
    /// The Job controller forgets the Job: a startTime, no pod, no event (seen after a background delete and a create at once).
    Stalled,
    /// Nothing happens by itself: the test calls `schedule`, `start` and `exit`.
    Manual,
    /// Scheduled and started by itself; what the containers do is reported by whoever listens to the pod events.
    External,
    /// Anything else.
    Custom(Plan),
}

/// A script in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What comes of the start.
    pub start: Start,
    /// How main ends by itself: code, reason, after how long.
    pub main: Option<(Exit, Duration)>,
    /// What main does on SIGTERM.
    pub on_term: OnTerm,
    /// What each sidecar does on SIGTERM.
    pub sidecar_on_term: OnTerm,
    /// What befalls the pod, and how long after main started.
    pub disruption: Option<(Disruption, Duration)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { start: Start::Runs, main: None, on_term: OnTerm::exit(143), sidecar_on_term: OnTerm::exit(0), disruption: None }
    }
}

/// How far a pod gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// All containers run.
    Runs,
    /// No pod is made, but for the events named.
    NoPod {
        /// Whether FailedCreate events tell why.
        forbidden: bool,
    },
    /// It is never bound to a node.
    Unschedulable,
    /// The sidecars run, main waits with these reasons in turn.
    Waits(Vec<(String, String)>),
    /// The first sidecar runs but never becomes ready.
    SidecarNeverStarts,
    /// Only the test moves it.
    Manual,
    /// The listener to the pod events moves its containers.
    External,
}

/// What a container does on SIGTERM.
#[derive(Debug, Clone, PartialEq)]
pub enum OnTerm {
    /// Ends with this, after that long; `None` is one step of the kubelet.
    Exit(Exit, Option<Duration>),
    /// Runs on until it is killed.
    Ignore,
}

impl OnTerm {
    /// Ends with a code at once.
    pub fn exit(code: i32) -> Self {
        Self::Exit(Exit::code(code), None)
    }

    /// Ends with a code after a while.
    pub fn exit_after(code: i32, after: Duration) -> Self {
        Self::Exit(Exit::code(code), Some(after))
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: i32,
    /// The kubelet's reason.
    pub reason: String,
}

impl Exit {
    /// An exit with a code: Completed or Error.
    pub fn code(code: i32) -> Self {
        Self { code, reason: if code == 0 { "Completed" } else { "Error" }.to_owned() }
    }

    /// Killed for its memory.
    pub fn oom_killed() -> Self {
        Self { code: 137, reason: "OOMKilled".to_owned() }
    }
}

/// What can befall a running pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruption {
    /// Evicted through the Eviction API.
    Evicted,
    /// Preempted by the scheduler.
    Preempted,
    /// Its node goes away and, when told, returns after a while.
    NodeLost(Option<Duration>),
}

impl PodScript {
    /// The script in full.
    pub(crate) fn plan(&self) -> Plan {
        let base = Plan::default();
        let runs_into = |exit, after| Plan { main: Some((exit, after)), ..Plan::default() };
        let starts = |start| Plan { start, ..Plan::default() };
        let struck = |disruption, after, code| Plan {
            disruption: Some((disruption, after)),
            on_term: OnTerm::exit(code),
            ..Plan::default()
        };
        match self {
            Self::Succeed(after) => runs_into(Exit::code(0), *after),
            Self::FailMain(code, after) => runs_into(Exit::code(*code), *after),
            Self::OomKilled(after) => runs_into(Exit::oom_killed(), *after),
            Self::RunUntilTerminated(code) => Plan { on_term: OnTerm::exit(*code), ..base },
            Self::IgnoreTerm => Plan { on_term: OnTerm::Ignore, ..base },
            Self::NeverSchedule => starts(Start::Unschedulable),
            Self::SidecarNeverStarts => starts(Start::SidecarNeverStarts),
            Self::PodSecurityDenied => starts(Start::NoPod { forbidden: true }),
            Self::Stalled => starts(Start::NoPod { forbidden: false }),
            Self::Manual => starts(Start::Manual),
            Self::External => starts(Start::External),
            Self::Evicted(after, code) => struck(Disruption::Evicted, *after, *code),
            Self::Preempted(after, code) => struck(Disruption::Preempted, *after, *code),
            Self::NodeLost(after, back) => struck(Disruption::NodeLost(*back), *after, 143),
            Self::Custom(plan) => plan.clone(),
            waiting => starts(Start::Waits(waiting.waiting_reasons())),
        }
    }

    /// Reasons and messages of a main that cannot start, as recorded; `{image}` is main's.
    fn waiting_reasons(&self) -> Vec<(String, String)> {
        const PULL: &str =
            "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": connection refused";
        let reason = |name: &str, message: &str| (name.to_owned(), message.to_owned());
        match self {
            Self::ImagePullBackOff => vec![
                reason("ErrImagePull", PULL),
                reason("ImagePullBackOff", &format!("Back-off pulling image \"{{image}}\": ErrImagePull: {PULL}")),
            ],
            Self::ErrImagePull => vec![reason("ErrImagePull", PULL)],
            Self::ErrImageNeverPull => {
                vec![reason("ErrImageNeverPull", "Container image \"{image}\" is not present with pull policy of Never")]
            }
            Self::InvalidImageName => vec![reason(
                "InvalidImageName",
                "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": invalid reference format",
            )],
            _ => vec![reason("CreateContainerConfigError", "secret \"missing\" not found")],
        }
    }
}
