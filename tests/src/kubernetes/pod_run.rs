//! A pod as its kubelet knows it: containers and how far they got.

use serde_json::Value;

use super::json_path::{has, list, text, timestamp};
use super::resource::Key;
use super::script::{Exit, Plan, Start};

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Init,
    Sidecar,
    Main,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ContainerState {
    Waiting { reason: String, message: String },
    Running { since: String },
    Terminated { exit: Exit, message: String, since: Option<String>, until: Option<String> },
}

/// A container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerRun {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) role: Role,
    pub(crate) state: ContainerState,
    pub(crate) is_started: bool,
    pub(crate) is_ready: bool,
    pub(crate) restarts: u32,
    pub(crate) last: Option<(Exit, String, String)>,
    pub(crate) id: String,
}

impl ContainerRun {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, ContainerState::Terminated { .. })
    }

    pub(crate) fn run(&mut self) {
        self.state = ContainerState::Running { since: timestamp() };
        self.id = format!("containerd://{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    }

    pub(crate) fn end(&mut self, exit: Exit) {
        let since = match &self.state {
            ContainerState::Running { since } => Some(since.clone()),
            _ => None,
        };
        self.state = ContainerState::Terminated { exit, message: String::new(), since, until: Some(timestamp()) };
        (self.is_started, self.is_ready) = (false, false);
    }

    pub(crate) fn wait(&mut self, reason: &str, message: &str) {
        self.state = ContainerState::Waiting { reason: reason.to_owned(), message: message.to_owned() };
    }
}

/// One step of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartStep {
    /// The kubelet has seen the pod.
    Seen,
    /// Its sandbox is up.
    Sandbox,
    /// The container at this index runs.
    Runs(usize),
    /// Its startup probe passed, or for a plain init container: it ended.
    Started(usize),
    /// It is ready.
    Ready(usize),
    /// The main containers run.
    Mains,
}

/// A pod.
#[derive(Debug, Clone)]
pub(crate) struct PodRun {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) plan: Plan,
    /// Init containers first, in the order of the spec.
    pub(crate) containers: Vec<ContainerRun>,
    pub(crate) is_bound: bool,
    pub(crate) has_sandbox: bool,
    pub(crate) was_initialized: bool,
    /// Whether the start of the main containers was tried.
    pub(crate) tried_mains: bool,
    pub(crate) has_run: bool,
    pub(crate) is_terminating: bool,
    pub(crate) ends_at: Option<std::time::Instant>,
    pub(crate) has_ended: bool,
    pub(crate) is_settling: bool,
    /// Its node cannot be reached: nothing is reported, no order arrives.
    pub(crate) is_lost: bool,
    pub(crate) address: String,
}

impl PodRun {
    pub(crate) fn new(key: Key, pod: &Value, plan: Plan, address: String) -> Self {
        let sidecar = |container: &Value| {
            if text(container, "/restartPolicy") == "Always" { Role::Sidecar } else { Role::Init }
        };
        let inits = list(pod, "/spec/initContainers").iter().map(|container| (container, sidecar(container)));
        let mains = list(pod, "/spec/containers").iter().map(|container| (container, Role::Main));
        let waiting = if has(pod, "/spec/initContainers/0") { "PodInitializing" } else { "ContainerCreating" };
        let containers = inits.chain(mains).map(|(container, role)| ContainerRun {
            name: text(container, "/name").to_owned(),
            image: text(container, "/image").to_owned(),
            role,
            state: ContainerState::Waiting { reason: waiting.to_owned(), message: String::new() },
            is_started: false,
            is_ready: false,
            restarts: 0,
            last: None,
            id: String::new(),
        });
        Self {
            uid: text(pod, "/metadata/uid").to_owned(),
            containers: containers.collect(),
            key,
            plan,
            is_bound: has(pod, "/spec/nodeName"),
            has_sandbox: false,
            was_initialized: false,
            tried_mains: false,
            has_run: false,
            is_terminating: false,
            ends_at: None,
            has_ended: false,
            is_settling: false,
            is_lost: false,
            address,
        }
    }

    /// The steps of the start, as far as the plan lets it come.
    pub(crate) fn start_steps(&self) -> Vec<StartStep> {
        let mut steps = vec![StartStep::Seen, StartStep::Sandbox];
        for (index, container) in self.containers.iter().enumerate() {
            if container.role == Role::Main {
                continue;
            }
            steps.push(StartStep::Runs(index));
            if self.plan.start == Start::SidecarNeverStarts && container.role == Role::Sidecar {
                return steps;
            }
            steps.push(StartStep::Started(index));
            if container.role == Role::Sidecar {
                steps.push(StartStep::Ready(index));
            }
        }
        steps.push(StartStep::Mains);
        steps
    }

    pub(crate) fn container(&mut self, name: &str) -> Option<&mut ContainerRun> {
        self.containers.iter_mut().find(|container| container.name == name)
    }

    pub(crate) fn mains(&self) -> impl Iterator<Item = &ContainerRun> {
        self.containers.iter().filter(|container| container.role == Role::Main)
    }

    /// Whether no main container will run any more.
    pub(crate) fn mains_are_over(&self) -> bool {
        self.mains().all(ContainerRun::has_ended)
    }

    /// Whether every main container ended with 0. A sidecar's code does not count (recorded).
    pub(crate) fn has_succeeded(&self) -> bool {
        self.mains().all(|container| matches!(&container.state, ContainerState::Terminated { exit, .. } if exit.code == 0))
    }
}
