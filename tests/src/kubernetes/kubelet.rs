//! The scheduler and the kubelet: how a pod starts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::agenda::PodTask;
use super::json_path::{self, has, text};
use super::pod_event::PodEvent;
use super::pod_run::{PodRun, Role, StartStep};
use super::pod_status::{condition, put_condition};
use super::resource::{Key, Resource};
use super::script::Start;
use super::world::World;

/// The node every simulated pod is bound to.
pub(crate) const NODE: &str = "node1";

const UNSCHEDULABLE: &str = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";

const TAINTED: &str = "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";

/// Seconds between two pull attempts of the kubelet.
const PULL_BACKOFF_SECONDS: i64 = 10;

impl World {
    /// A pod appeared: the kubelet-to-be remembers it.
    pub(crate) fn adopt_pod(&mut self, key: &Key, pod: &Arc<Value>) {
        let owner = text(pod, "/metadata/ownerReferences/0/name");
        let job = self.get(&Key::new(Resource::Jobs, &key.namespace, owner));
        let plan = self.script(job.as_deref().unwrap_or(pod)).plan();
        let number = self.runs.len() + 10;
        let address = format!("10.244.{}.{}", number / 250, number % 250);
        let run = PodRun::new(key.clone(), pod, plan, address);
        let (uid, by_itself) = (run.uid.clone(), run.plan.start != Start::Manual);
        self.runs.insert(uid.clone(), run);
        if by_itself {
            self.pod_soon(&uid, self.timing.schedule, PodTask::Schedule);
        }
    }

    /// Does a step of a pod that still exists.
    pub(crate) fn pod_task(&mut self, uid: &str, task: PodTask) {
        if !self.runs.contains_key(uid) {
            return;
        }
        match task {
            PodTask::Schedule => self.schedule(uid),
            PodTask::Start(step) => self.start_step(uid, step),
            PodTask::Wait(turn) => self.wait_in_turn(uid, turn),
            PodTask::Terminate(grace) => self.pod_deleted(uid, grace),
            PodTask::Exit(container, exit) => self.container_exits(uid, &container, exit),
            PodTask::Kill => self.kill_mains(uid),
            PodTask::KillSidecar(container) => self.kill_container(uid, &container),
            PodTask::Settle => self.settle(uid),
            PodTask::Confirm => self.confirm(uid),
            PodTask::Forget => self.forget(uid),
            PodTask::Disrupt(disruption) => self.disrupt(uid, disruption),
            PodTask::EvictByTaint => self.evict_by_taint(uid),
            PodTask::Return => self.node_returns(uid),
        }
    }

    fn schedule(&mut self, uid: &str) {
        let never_fits = self.runs.get(uid).is_some_and(|run| run.plan.start == Start::Unschedulable);
        let why = if never_fits { UNSCHEDULABLE } else { TAINTED };
        if !never_fits && !self.node_is_lost {
            self.bind(uid);
            self.pod_soon(uid, self.timing.kubelet_step, PodTask::Start(0));
        } else {
            let Some((key, mut pod)) = self.pod(uid) else { return };
            let mut no = condition(&pod["status"], "PodScheduled", "False", "Unschedulable", why);
            no["observedGeneration"] = pod["metadata"]["generation"].clone();
            put_condition(&mut pod, no);
            self.record(&pod, "Warning", "FailedScheduling", why, "default-scheduler");
            self.update(&key, pod);
        }
    }

    /// Binds a pod to the node.
    pub(crate) fn bind(&mut self, uid: &str) {
        let Some((key, mut pod)) = self.pod(uid) else { return };
        if json_path::is_deleting(&pod) {
            return;
        }
        json_path::set(&mut pod, &["spec", "nodeName"], json!(NODE));
        let yes = condition(&pod["status"], "PodScheduled", "True", "", "");
        put_condition(&mut pod, yes);
        if let Some(run) = self.runs.get_mut(uid) {
            run.is_bound = true;
        }
        self.update(&key, pod);
    }

    fn start_step(&mut self, uid: &str, index: usize) {
        let Some(run) = self.runs.get_mut(uid) else { return };
        if run.is_terminating || run.has_ended {
            return;
        }
        if run.is_lost {
            self.pod_soon(uid, self.timing.kubelet_step, PodTask::Start(index));
            return;
        }
        let steps = run.start_steps();
        let Some(step) = steps.get(index).copied() else { return };
        let goes_on = self.take_start_step(uid, step);
        self.report(uid);
        let is_reported_from_outside =
            self.runs.get(uid).is_some_and(|run| run.plan.start == Start::External) && matches!(step, StartStep::Runs(_));
        if goes_on && index + 1 < steps.len() && !is_reported_from_outside {
            self.pod_soon(uid, self.timing.kubelet_step, PodTask::Start(index + 1));
        }
    }

    fn take_start_step(&mut self, uid: &str, step: StartStep) -> bool {
        let Some(run) = self.runs.get_mut(uid) else { return false };
        match step {
            StartStep::Seen => {
                if let Some((_, pod)) = self.pod(uid) {
                    self.tell(&PodEvent::PodStarted { pod: Arc::new(pod) });
                }
            }
            StartStep::Sandbox => run.has_sandbox = true,
            StartStep::Runs(index) => {
                run.containers[index].run();
                let name = run.containers[index].name.clone();
                self.tell_container_started(uid, name);
            }
            StartStep::Started(index) if run.containers[index].role == Role::Init => {
                run.containers[index].end(super::script::Exit::code(0));
            }
            StartStep::Started(index) => run.containers[index].is_started = true,
            StartStep::Ready(index) => {
                (run.containers[index].is_started, run.containers[index].is_ready) = (true, true);
            }
            StartStep::Mains => return self.start_mains(uid),
        }
        true
    }

    fn start_mains(&mut self, uid: &str) -> bool {
        let Some(run) = self.runs.get_mut(uid) else { return false };
        run.tried_mains = true;
        if let Start::Waits(_) = run.plan.start {
            self.pod_soon(uid, self.timing.kubelet_step, PodTask::Wait(0));
            return false;
        }
        run.has_run = true;
        let mut started = Vec::new();
        for container in run.containers.iter_mut().filter(|container| container.role == Role::Main) {
            container.run();
            (container.is_started, container.is_ready) = (true, true);
            started.push(container.name.clone());
        }
        let (main, disruption) = (run.plan.main.clone(), run.plan.disruption);
        for name in started {
            if let Some((exit, after)) = &main {
                self.pod_soon(uid, *after, PodTask::Exit(name.clone(), exit.clone()));
            }
            self.tell_container_started(uid, name);
        }
        if let Some((disruption, after)) = disruption {
            self.pod_soon(uid, after, PodTask::Disrupt(disruption));
        }
        true
    }

    pub(crate) fn tell_container_started(&mut self, uid: &str, container: String) {
        if let Some((_, pod)) = self.pod(uid) {
            self.tell(&PodEvent::ContainerStarted { pod: Arc::new(pod), container });
        }
    }

    fn wait_in_turn(&mut self, uid: &str, turn: usize) {
        let Some(run) = self.runs.get_mut(uid) else { return };
        let Start::Waits(reasons) = run.plan.start.clone() else { return };
        if run.is_terminating || reasons.is_empty() {
            return;
        }
        let (reason, message) = &reasons[turn % reasons.len()];
        for container in run.containers.iter_mut().filter(|container| container.role == Role::Main) {
            let message = message.replace("{image}", &container.image);
            container.wait(reason, &message);
        }
        self.report(uid);
        if reasons.len() > 1 {
            self.pod_soon(uid, self.timing.seconds(PULL_BACKOFF_SECONDS), PodTask::Wait(turn + 1));
        }
    }

    /// The simulated sidecar, or what runs in its place, passed its startup probe.
    pub(crate) fn container_ready(&mut self, uid: &str, name: &str) {
        let Some(run) = self.runs.get(uid) else { return };
        let steps = run.start_steps();
        let started =
            steps.iter().position(|step| matches!(step, StartStep::Started(index) if run.containers[*index].name == name));
        if let Some(index) = started {
            self.pod_soon(uid, Duration::ZERO, PodTask::Start(index));
        }
    }

    /// Writes what the kubelet knows into the pod's status.
    pub(crate) fn report(&mut self, uid: &str) {
        let Some((key, mut pod)) = self.pod(uid) else { return };
        let Some(run) = self.runs.get_mut(uid) else { return };
        if !run.is_lost {
            pod["status"] = run.status(&pod);
            self.update(&key, pod);
        }
    }

    /// A pod's key and a copy of its object.
    pub(crate) fn pod(&self, uid: &str) -> Option<(Key, Value)> {
        let key = self.runs.get(uid)?.key.clone();
        let pod = self.get(&key)?;
        (text(&pod, "/metadata/uid") == uid && has(&pod, "/spec")).then(|| (key, (*pod).clone()))
    }
}
