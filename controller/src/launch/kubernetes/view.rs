//! What a run's Job and pods say of it. Pure: small projections of the API's objects, and one judgement over them.
//!
//! A Job is over only when it says so itself (`Complete` or `Failed`; the conditions before them may come while the pod still runs)
//! and no pod of its is left running. What a pod said last is kept after it is gone: past a deadline nothing else tells.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use super::manifest::{MANAGER, MEETING_BOT};
use super::names::{LAUNCH, identity};
use crate::launch::{Observed, RunCommand, RunKey, RunState, Trouble, TroubleKind};
use bot_model::ids::InstanceId;

/// A Kubernetes message is quoted up to here.
const LONGEST_DETAIL: usize = 300;

/// A Job of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Tells two Jobs of one name apart.
    pub uid: String,
    /// Whose.
    pub key: RunKey,
    /// For whom.
    pub instance: InstanceId,
    /// What it does.
    pub command: RunCommand,
    /// Which launch made it.
    pub launch_id: String,
    /// Somebody deleted it.
    pub is_deleting: bool,
    /// How it ended.
    pub finish: Option<Finish>,
}

/// A Job's last condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// `Complete`, as against `Failed`.
    pub is_complete: bool,
    /// Kubernetes' reason, such as `DeadlineExceeded`.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// A pod of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Tells pods apart.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Whose.
    pub key: RunKey,
    /// For whom.
    pub instance: InstanceId,
    /// Where it stands.
    pub phase: PodPhase,
    /// The object is gone; what is here is what it said last.
    pub is_gone: bool,
    /// The manager's exit code.
    pub code: Option<i32>,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// A pod's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    /// Not scheduled, or not started.
    Pending,
    /// Something of it may run; an unknown phase counts as this.
    Running,
    /// Nothing of it runs any more.
    Over,
}

impl JobView {
    /// `None` where it is not ours.
    pub fn of(job: &Job) -> Option<Self> {
        let (key, instance, command) = identity(&job.metadata)?;
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let finish = conditions
            .filter(|condition| condition.status == "True" && matches!(condition.type_.as_str(), "Complete" | "Failed"))
            .map(|condition| Finish {
                is_complete: condition.type_ == "Complete",
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
            })
            .next();
        let annotations = job.metadata.annotations.as_ref();
        Some(Self {
            uid: job.metadata.uid.clone()?,
            key,
            instance,
            command,
            launch_id: annotations.and_then(|all| all.get(LAUNCH)).cloned().unwrap_or_default(),
            is_deleting: job.metadata.deletion_timestamp.is_some(),
            finish,
        })
    }
}

impl PodView {
    /// `None` where it is not ours.
    pub fn of(pod: &Pod) -> Option<Self> {
        let (key, instance, _) = identity(&pod.metadata)?;
        let status = pod.status.as_ref();
        let phase = match status.and_then(|status| status.phase.as_deref()) {
            Some("Succeeded" | "Failed") => PodPhase::Over,
            Some("Pending") | None => PodPhase::Pending,
            Some(_) => PodPhase::Running,
        };
        let manager = container(pod, MANAGER).and_then(|manager| manager.state.as_ref()?.terminated.as_ref());
        Some(Self {
            uid: pod.metadata.uid.clone()?,
            name: pod.metadata.name.clone()?,
            key,
            instance,
            phase,
            is_gone: false,
            code: manager.map(|ended| ended.exit_code),
            trouble: trouble(pod, phase),
        })
    }

    /// Something of it may be in a call.
    pub fn is_live(&self) -> bool {
        self.phase != PodPhase::Over && !self.is_gone
    }
}

/// What is known of a run from its Job and its pods; `None` where nothing is left of it.
pub fn observe(job: Option<&JobView>, pods: &[&PodView]) -> Option<Observed> {
    let live: Vec<&PodView> = pods.iter().copied().filter(|pod| pod.is_live()).collect();
    let (key, instance) = match (job, live.first()) {
        (Some(job), _) => (&job.key, &job.instance),
        (None, Some(pod)) => (&pod.key, &pod.instance),
        (None, None) => return None,
    };
    let last = pods.iter().copied().max_by_key(|pod| (pod.is_live(), pod.code.is_some()));
    let (state, trouble) = match job {
        _ if live.len() > 1 => {
            (RunState::Running, Some(Trouble::new(TroubleKind::SecondPod, "more than one pod of this run is alive")))
        }
        None => (RunState::Running, last.and_then(|pod| pod.trouble.clone())),
        Some(job) => job_state(job, &live, last)?,
    };
    Some(Observed { key: key.clone(), instance_id: instance.clone(), state, trouble })
}

fn job_state(job: &JobView, live: &[&PodView], last: Option<&PodView>) -> Option<(RunState, Option<Trouble>)> {
    let trouble = last.and_then(|pod| pod.trouble.clone());
    if let Some(pod) = live.first() {
        let state = if pod.phase == PodPhase::Pending { RunState::Pending } else { RunState::Running };
        return Some((state, trouble));
    }
    match (&job.finish, job.is_deleting) {
        (Some(finish), _) => {
            let code = last.and_then(|pod| pod.code).or(finish.is_complete.then_some(0));
            let deadline = (finish.reason == "DeadlineExceeded").then(|| Trouble::new(TroubleKind::Deadline, &finish.message));
            Some((RunState::Ended { code }, deadline.or(trouble)))
        }
        (None, true) if last.is_none_or(|pod| pod.is_gone) => Some((RunState::Lost, trouble)),
        // Its pod is over or gone, and the Job is about to say so.
        (None, _) if last.is_some() => Some((RunState::Running, trouble)),
        (None, _) => Some((RunState::Pending, Some(Trouble::new(TroubleKind::NoPod, "the Job has made no pod")))),
    }
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    all.into_iter().find(|container| container.name == name)
}

fn condition<'a>(pod: &'a Pod, kind: &str, status: &str) -> Option<&'a PodCondition> {
    let all = pod.status.as_ref()?.conditions.as_ref()?;
    all.iter().find(|condition| condition.type_ == kind && condition.status == status)
}

fn trouble(pod: &Pod, phase: PodPhase) -> Option<Trouble> {
    disruption(pod).or_else(|| out_of_memory(pod)).or_else(|| match phase {
        PodPhase::Pending => waiting(pod).or_else(|| unschedulable(pod)),
        PodPhase::Running => cut_off(pod),
        PodPhase::Over => None,
    })
}

fn disruption(pod: &Pod) -> Option<Trouble> {
    let said = |condition: &PodCondition| {
        format!("{}: {}", condition.reason.as_deref().unwrap_or_default(), condition.message.as_deref().unwrap_or_default())
    };
    if let Some(found) = condition(pod, "DisruptionTarget", "True") {
        let kind = match found.reason.as_deref() {
            Some("DeletionByTaintManager") => TroubleKind::NodeLost,
            Some("PreemptionByScheduler") => TroubleKind::Preempted,
            _ => TroubleKind::Evicted,
        };
        return Some(Trouble::new(kind, &said(found)));
    }
    let status = pod.status.as_ref()?;
    let reason = status.reason.as_deref()?;
    matches!(reason, "Evicted" | "NodeShutdown" | "Terminated" | "NodeLost")
        .then(|| Trouble::new(TroubleKind::Evicted, &format!("{reason}: {}", status.message.as_deref().unwrap_or_default())))
}

fn out_of_memory(pod: &Pod) -> Option<Trouble> {
    [MANAGER, MEETING_BOT].into_iter().find_map(|name| {
        let container = container(pod, name)?;
        // A sidecar that was killed runs again: only its last end tells.
        let ends = [container.state.as_ref(), container.last_state.as_ref()];
        let killed = ends.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
        killed.into_iter().any(|end| end.reason.as_deref() == Some("OOMKilled")).then(|| {
            Trouble::new(
                TroubleKind::OutOfMemory,
                &format!("OOMKilled: the container {name} needs more than its limit of memory"),
            )
        })
    })
}

fn waiting(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.into_iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let kind = match reason {
            "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "RegistryUnavailable" => {
                TroubleKind::ImagePull
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => TroubleKind::BadContainer,
            "CrashLoopBackOff" => TroubleKind::CrashLoop,
            _ => return None,
        };
        let message = waiting.message.as_deref().unwrap_or_default();
        Some(Trouble::new(kind, &format!("{reason}: container {}: {message}", container.name)))
    })
}

fn unschedulable(pod: &Pod) -> Option<Trouble> {
    let found = condition(pod, "PodScheduled", "False")?;
    let message = found.message.as_deref().unwrap_or_default();
    Some(Trouble::new(TroubleKind::Unschedulable, &format!("{}: {message}", found.reason.as_deref().unwrap_or_default())))
}

/// Recorded from a node that was cut off: the phase stays `Running` and the containers too, and `Ready` turns false without a reason.
fn cut_off(pod: &Pod) -> Option<Trouble> {
    let runs = container(pod, MANAGER)?.state.as_ref()?.running.is_some();
    let unready = condition(pod, "Ready", "False").filter(|found| found.reason.is_none()).or(condition(pod, "Ready", "Unknown"));
    (runs && unready.is_some())
        .then(|| Trouble::new(TroubleKind::NodeLost, "the node does not answer; what runs on it may still be in the call"))
}

impl Trouble {
    /// `detail` is shortened, and rid of what does not belong into a line.
    pub fn new(kind: TroubleKind, detail: &str) -> Self {
        let plain: String = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_DETAIL).collect();
        Self { kind, detail: plain.trim().trim_end_matches(':').to_owned() }
    }
}
