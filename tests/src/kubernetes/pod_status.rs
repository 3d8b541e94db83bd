//! A pod's status as the kubelet reports it.

use serde_json::{Map, Value, json};

use super::json_path::{list, text, timestamp};
use super::pod_run::{ContainerRun, ContainerState, PodRun, Role};

/// The address of the node every simulated pod runs on.
const NODE_ADDRESS: &str = "10.244.0.1";

impl PodRun {
    /// The phase. It stays Running while a sidecar outlives main (recorded).
    pub(crate) fn phase(&self) -> &'static str {
        match (self.has_ended, self.has_succeeded(), self.has_run) {
            (true, true, _) => "Succeeded",
            (true, false, _) => "Failed",
            (false, _, true) => "Running",
            (false, _, false) => "Pending",
        }
    }

    /// The status to report, given what the object shows now.
    pub(crate) fn status(&mut self, pod: &Value) -> Value {
        let before = &pod["status"];
        let generation = pod["metadata"]["generation"].clone();
        let conditions = self.conditions(before, &generation);
        let mut status = json!({
            "observedGeneration": generation, "phase": self.phase(), "conditions": conditions,
            "hostIP": NODE_ADDRESS, "hostIPs": [{"ip": NODE_ADDRESS}],
            "startTime": before.get("startTime").cloned().unwrap_or_else(|| json!(timestamp())),
            "containerStatuses": self.container_statuses(|role| role == Role::Main),
            "qosClass": before.get("qosClass").cloned().unwrap_or_else(|| json!("Burstable")),
        });
        let inits = self.container_statuses(|role| role != Role::Main);
        if !inits.is_empty() {
            status["initContainerStatuses"] = json!(inits);
        }
        let ever_ran = self.containers.iter().any(|container| !container.id.is_empty());
        if ever_ran {
            status["podIP"] = json!(self.address);
            status["podIPs"] = json!([{"ip": self.address}]);
        }
        status
    }

    fn container_statuses(&self, wanted: impl Fn(Role) -> bool) -> Vec<Value> {
        self.containers.iter().filter(|container| wanted(container.role)).map(ContainerRun::status).collect()
    }

    fn conditions(&mut self, before: &Value, generation: &Value) -> Vec<Value> {
        let unready: Vec<_> = self
            .containers
            .iter()
            .filter(|container| container.role != Role::Init && !container.is_ready)
            .map(|container| container.name.as_str())
            .collect();
        let incomplete: Vec<_> = self
            .containers
            .iter()
            .filter(|container| match container.role {
                Role::Sidecar => !container.is_ready,
                Role::Init => !container.has_ended(),
                Role::Main => false,
            })
            .map(|container| container.name.as_str())
            .collect();
        let are_over = self.containers.iter().all(ContainerRun::has_ended) || self.has_ended;
        let over = if self.has_succeeded() { "PodCompleted" } else { "PodFailed" };
        self.was_initialized |= incomplete.is_empty();
        let initialized = match (self.was_initialized, are_over && self.has_succeeded()) {
            (true, true) => verdict("True", "PodCompleted", String::new()),
            (true, false) => verdict("True", "", String::new()),
            (false, _) => verdict(
                "False",
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{}]", incomplete.join(" ")),
            ),
        };
        let ready = if are_over {
            verdict("False", over, String::new())
        } else if unready.is_empty() {
            verdict("True", "", String::new())
        } else {
            verdict("False", "ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
        };
        let sandbox = if self.has_sandbox && !are_over { "True" } else { "False" };
        let disruption = list(before, "/conditions").iter().find(|condition| text(condition, "/type") == "DisruptionTarget");
        let mut conditions: Vec<Value> = disruption.cloned().into_iter().collect();
        for (kind, (status, reason, message)) in [
            ("PodReadyToStartContainers", verdict(sandbox, "", String::new())),
            ("Initialized", initialized),
            ("Ready", ready.clone()),
            ("ContainersReady", ready),
            ("PodScheduled", verdict("True", "", String::new())),
        ] {
            let mut condition = condition(before, kind, status, reason, &message);
            condition["observedGeneration"] = generation.clone();
            conditions.push(condition);
        }
        conditions
    }
}

fn verdict(status: &'static str, reason: &'static str, message: String) -> (&'static str, &'static str, String) {
    (status, reason, message)
}

/// A condition whose transition time moves only with its status.
pub(crate) fn condition(before: &Value, kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let known = list(before, "/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == kind && text(condition, "/status") == status);
    let since = known.map_or_else(timestamp, |condition| text(condition, "/lastTransitionTime").to_owned());
    let mut condition = json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
    }
    if !message.is_empty() {
        condition["message"] = json!(message);
    }
    condition
}

/// Replaces or appends a condition.
pub(crate) fn put_condition(object: &mut Value, condition: Value) {
    let status = super::json_path::object(object, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        match list.iter_mut().find(|known| known["type"] == condition["type"]) {
            Some(known) => *known = condition,
            None => list.push(condition),
        }
    }
}

impl ContainerRun {
    fn status(&self) -> Value {
        let mut last_state = json!({});
        if let Some((exit, since, until)) = &self.last {
            last_state = json!({"terminated": terminated(exit, "", Some(since), Some(until), &self.id)});
        }
        let mut status = json!({
            "name": self.name, "state": self.state_body(), "lastState": last_state, "ready": self.is_ready,
            "restartCount": self.restarts, "image": self.image, "imageID": "", "started": self.is_started,
        });
        if !self.id.is_empty() {
            status["containerID"] = json!(self.id);
            status["imageID"] = json!("sha256:0000000000000000000000000000000000000000000000000000000000000000");
        }
        status
    }

    fn state_body(&self) -> Value {
        match &self.state {
            ContainerState::Waiting { reason, message } if message.is_empty() => json!({"waiting": {"reason": reason}}),
            ContainerState::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            ContainerState::Running { since } => json!({"running": {"startedAt": since}}),
            ContainerState::Terminated { exit, message, since, until } => {
                json!({"terminated": terminated(exit, message, since.as_deref(), until.as_deref(), &self.id)})
            }
        }
    }
}

fn terminated(
    exit: &super::script::Exit,
    message: &str,
    since: Option<&str>,
    until: Option<&str>,
    id: &str,
) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("exitCode".into(), json!(exit.code));
    fields.insert("reason".into(), json!(exit.reason));
    if !message.is_empty() {
        fields.insert("message".into(), json!(message));
    }
    fields.insert("startedAt".into(), json!(since));
    fields.insert("finishedAt".into(), json!(until));
    if !id.is_empty() {
        fields.insert("containerID".into(), json!(id));
    }
    fields
}
