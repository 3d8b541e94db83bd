//! The one node, and its absence.

use serde_json::{Value, json};

use super::agenda::PodTask;
use super::json_path::timestamp;
use super::kubelet::NODE;
use super::pod_run::PodRun;
use super::resource::{Key, Resource};
use super::script::Start;
use super::world::World;

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

impl World {
    /// Adds the node.
    pub(crate) fn add_node(&mut self) {
        let node = json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {"name": NODE, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": timestamp(),
                "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
            "spec": {},
            "status": {
                "conditions": [ready("True", "KubeletReady", "kubelet is posting ready status")],
                "addresses": [{"type": "InternalIP", "address": "10.244.0.1"}, {"type": "Hostname", "address": NODE}],
                "capacity": {"cpu": "1000", "memory": "1Ti", "pods": "2000"},
                "allocatable": {"cpu": "1000", "memory": "1Ti", "pods": "2000"},
            },
        });
        self.create(Key::new(Resource::Nodes, "", NODE), node);
    }

    /// The kubelet stops answering: Ready turns Unknown, the node is tainted, its pods lose Ready.
    pub(crate) fn lose_node(&mut self) {
        let taints = ["NoSchedule", "NoExecute"].map(|effect| json!({"key": UNREACHABLE, "effect": effect}));
        let unknown = ready("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.");
        self.node_is_lost = true;
        self.change_node(unknown, Some(json!(taints)));
        for uid in self.pods_on_node() {
            self.node_lost(&uid);
        }
    }

    /// The kubelet answers again.
    pub(crate) fn restore_node(&mut self) {
        self.change_node(ready("True", "KubeletReady", "kubelet is posting ready status"), None);
        self.node_is_lost = false;
        for uid in self.pods_on_node() {
            self.pod_soon(&uid, std::time::Duration::ZERO, PodTask::Return);
        }
        let waiting = |run: &&PodRun| !run.is_bound && !matches!(run.plan.start, Start::Unschedulable | Start::Manual);
        let uids: Vec<_> = self.runs.values().filter(waiting).map(|run| run.uid.clone()).collect();
        for uid in uids {
            self.pod_soon(&uid, self.timing.schedule, PodTask::Schedule);
        }
    }

    fn change_node(&mut self, ready: Value, taints: Option<Value>) {
        let key = Key::new(Resource::Nodes, "", NODE);
        let Some(node) = self.get(&key) else { return };
        let mut node = (*node).clone();
        node["status"]["conditions"] = json!([ready]);
        match taints {
            Some(taints) => node["spec"]["taints"] = taints,
            None => super::json_path::remove(&mut node, &["spec", "taints"]),
        }
        self.update(&key, node);
    }

    fn pods_on_node(&self) -> Vec<String> {
        let bound = self.runs.values().filter(|run| run.is_bound && !run.has_ended);
        let mut uids: Vec<_> = bound.map(|run| (run.key.clone(), run.uid.clone())).collect();
        uids.sort();
        uids.into_iter().map(|(_, uid)| uid).collect()
    }
}

fn ready(status: &str, reason: &str, message: &str) -> Value {
    let now = timestamp();
    json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    })
}
