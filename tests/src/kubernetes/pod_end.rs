//! How a pod ends: by itself, by deletion, by disruption, with its node away.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::agenda::PodTask;
use super::json_path::{self, finalizers, has, int, is_deleting, text, timestamp, timestamp_in};
use super::pod_event::PodEvent;
use super::pod_run::{ContainerState, Role};
use super::resource::Key;
use super::script::{Exit, OnTerm, Start};
use super::world::{World, grace};

/// The grace period of a pod that names none.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// What a sidecar gets when main used up the grace period (recorded).
const SIDECAR_MINIMUM_SECONDS: i64 = 2;

/// The pod garbage collector looks every 20 s.
const POD_COLLECTOR_SECONDS: i64 = 20;

impl World {
    /// Deletes a pod as the API server does: marks it, and removes it at once when nothing holds it. Returns it as marked.
    pub(crate) fn delete_pod(&mut self, key: &Key, asked_grace: Option<i64>) -> Option<Arc<Value>> {
        let before = self.get(key)?;
        let mut pod = (*before).clone();
        let own = int(&pod, "/spec/terminationGracePeriodSeconds").unwrap_or(DEFAULT_GRACE_SECONDS);
        let is_over = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed");
        let wanted = if is_over || !has(&pod, "/spec/nodeName") { 0 } else { asked_grace.unwrap_or(own) };
        if is_deleting(&pod) {
            if asked_grace.is_none() || wanted >= grace(&pod) {
                return Some(before);
            }
        } else {
            let generation = int(&pod, "/metadata/generation").unwrap_or(1) + 1;
            json_path::set(&mut pod, &["metadata", "generation"], json!(generation));
        }
        mark_deleting(&mut pod, wanted);
        let marked = self.update(key, pod);
        self.remove_if_free(key);
        marked
    }

    fn remove_if_free(&mut self, key: &Key) {
        let Some(pod) = self.get(key) else { return };
        if is_deleting(&pod) && grace(&pod) == 0 && finalizers(&pod).is_empty() {
            self.remove(key);
        }
    }

    /// The kubelet hears that a pod is deleted.
    pub(crate) fn pod_deleted(&mut self, uid: &str, grace: i64) {
        let Some(run) = self.runs.get(uid) else { return };
        if !run.is_bound {
            self.pod_soon(uid, self.timing.seconds(POD_COLLECTOR_SECONDS), PodTask::Forget);
        } else if run.has_ended {
            self.pod_soon(uid, self.timing.confirm, PodTask::Confirm);
        } else if !run.is_lost && !run.is_terminating {
            self.begin_termination(uid, grace);
        }
    }

    /// The kubelet ends a pod: SIGTERM to main, then to the sidecars, with the grace period over all of it.
    pub(crate) fn begin_termination(&mut self, uid: &str, grace: i64) {
        let seconds = self.timing.seconds(grace.max(1));
        let ends_at = self.agenda.now() + seconds;
        let Some(run) = self.runs.get_mut(uid) else { return };
        (run.is_terminating, run.ends_at) = (true, Some(ends_at));
        let name = run.key.name.clone();
        let mains: Vec<_> =
            run.mains().filter(|container| container.is_running()).map(|container| container.name.clone()).collect();
        let (on_term, start) = (run.plan.on_term.clone(), run.plan.start.clone());
        self.tell(&PodEvent::PodTerminating { name, uid: uid.to_owned(), grace });
        self.report(uid);
        for main in &mains {
            self.tell_terminating(uid, main);
            match &on_term {
                OnTerm::Exit(exit, after) if !matches!(start, Start::Manual | Start::External) => {
                    let after = after.unwrap_or(self.timing.kubelet_step);
                    self.pod_soon(uid, after, PodTask::Exit(main.clone(), exit.clone()));
                }
                _ => {}
            }
        }
        if mains.is_empty() {
            self.stop_next_sidecar(uid);
        } else {
            self.pod_soon(uid, seconds, PodTask::Kill);
        }
    }

    fn tell_terminating(&mut self, uid: &str, container: &str) {
        let Some(run) = self.runs.get(uid) else { return };
        let name = run.key.name.clone();
        self.tell(&PodEvent::ContainerTerminating { name, uid: uid.to_owned(), container: container.to_owned() });
    }

    /// A container ended.
    pub(crate) fn container_exits(&mut self, uid: &str, name: &str, exit: Exit) {
        let Some(run) = self.runs.get_mut(uid) else { return };
        let Some(container) = run.container(name).filter(|container| container.is_running()) else { return };
        let role = container.role;
        container.end(exit);
        if run.is_lost {
            return;
        }
        let restarts = role == Role::Sidecar && !run.is_terminating && !run.mains_are_over();
        if !(run.is_terminating && run.has_run) {
            self.report(uid);
        }
        if restarts {
            self.restart(uid, name);
        } else {
            self.go_on_ending(uid);
        }
    }

    fn restart(&mut self, uid: &str, name: &str) {
        let Some(run) = self.runs.get_mut(uid) else { return };
        let Some(container) = run.container(name) else { return };
        if let ContainerState::Terminated { exit, since, until, .. } = &container.state {
            let time = |at: &Option<String>| at.clone().unwrap_or_else(timestamp);
            container.last = Some((exit.clone(), time(since), time(until)));
        }
        container.run();
        container.restarts += 1;
        (container.is_started, container.is_ready) = (true, true);
        let is_external = run.plan.start == Start::External;
        self.report(uid);
        if is_external {
            self.tell_container_started(uid, name.to_owned());
        }
    }

    /// Takes the next step of an end: sidecars in reverse order once main is over, then the terminal phase.
    pub(crate) fn go_on_ending(&mut self, uid: &str) {
        let Some(run) = self.runs.get(uid) else { return };
        if run.is_terminating && run.mains().any(super::pod_run::ContainerRun::is_running) {
            return;
        }
        if run.is_terminating || run.mains_are_over() {
            self.stop_next_sidecar(uid);
        }
    }

    fn stop_next_sidecar(&mut self, uid: &str) {
        let Some(run) = self.runs.get_mut(uid) else { return };
        let next = run.containers.iter().rfind(|container| container.role != Role::Main && container.is_running());
        let Some(sidecar) = next.map(|container| container.name.clone()) else {
            if !std::mem::replace(&mut run.is_settling, true) {
                self.pod_soon(uid, self.timing.kubelet_step, PodTask::Settle);
            }
            return;
        };
        let ends_by_itself = run.plan.start != Start::External;
        let (on_term, ends_at) = (run.plan.sidecar_on_term.clone(), run.ends_at);
        let minimum = self.timing.seconds(SIDECAR_MINIMUM_SECONDS);
        let patience = match ends_at {
            Some(at) => at.saturating_duration_since(self.agenda.now()).max(minimum),
            None => self.own_grace(uid),
        };
        self.tell_terminating(uid, &sidecar);
        if let (OnTerm::Exit(exit, after), true) = (on_term, ends_by_itself) {
            let after = after.unwrap_or(self.timing.kubelet_step);
            self.pod_soon(uid, after, PodTask::Exit(sidecar.clone(), exit));
        }
        self.pod_soon(uid, patience, PodTask::KillSidecar(sidecar));
    }

    fn own_grace(&self, uid: &str) -> Duration {
        let own = self.pod(uid).and_then(|(_, pod)| int(&pod, "/spec/terminationGracePeriodSeconds"));
        self.timing.seconds(own.unwrap_or(DEFAULT_GRACE_SECONDS))
    }

    /// Kills what still runs of main; a kubelet that is away kills nothing.
    pub(crate) fn kill_mains(&mut self, uid: &str) {
        let Some(run) = self.runs.get(uid).filter(|run| !run.is_lost) else { return };
        let running: Vec<_> =
            run.mains().filter(|container| container.is_running()).map(|container| container.name.clone()).collect();
        for name in running {
            self.kill_container(uid, &name);
        }
    }

    /// Kills a container that still runs.
    pub(crate) fn kill_container(&mut self, uid: &str, name: &str) {
        let Some(run) = self.runs.get_mut(uid) else { return };
        let pod = run.key.name.clone();
        if run.container(name).is_some_and(|container| container.is_running()) {
            self.tell(&PodEvent::ContainerKilled { name: pod, uid: uid.to_owned(), container: name.to_owned() });
        }
        self.container_exits(uid, name, Exit::code(137));
    }

    /// All containers have ended: the kubelet reports the terminal phase.
    pub(crate) fn settle(&mut self, uid: &str) {
        let Some(run) = self.runs.get_mut(uid) else { return };
        if run.is_lost {
            run.is_settling = false;
            return;
        }
        run.has_ended = true;
        if run.tried_mains {
            for container in run.containers.iter_mut().filter(|container| !container.has_ended()) {
                container.end(Exit { code: 137, reason: "ContainerStatusUnknown".to_owned() });
                if let ContainerState::Terminated { message, until, .. } = &mut container.state {
                    "The container could not be located when the pod was terminated".clone_into(message);
                    *until = None;
                }
            }
        }
        self.report(uid);
        if self.pod(uid).is_some_and(|(_, pod)| is_deleting(&pod)) {
            self.pod_soon(uid, self.timing.confirm, PodTask::Confirm);
        }
    }

    /// The kubelet lets a deleted pod go.
    pub(crate) fn confirm(&mut self, uid: &str) {
        let Some((key, mut pod)) = self.pod(uid) else { return };
        if grace(&pod) != 0 {
            mark_deleting(&mut pod, 0);
            self.update(&key, pod);
        }
        self.remove_if_free(&key);
    }

    /// The pod garbage collector ends a deleted pod that was never bound.
    pub(crate) fn forget(&mut self, uid: &str) {
        let Some((key, mut pod)) = self.pod(uid) else { return };
        json_path::set(&mut pod, &["status", "phase"], json!("Failed"));
        if let Some(run) = self.runs.get_mut(uid) {
            run.has_ended = true;
        }
        self.update(&key, pod);
    }
}

fn mark_deleting(object: &mut Value, grace: i64) {
    json_path::set(object, &["metadata", "deletionTimestamp"], json!(timestamp_in(grace)));
    json_path::set(object, &["metadata", "deletionGracePeriodSeconds"], json!(grace));
}
