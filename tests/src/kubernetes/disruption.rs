//! What befalls a pod from outside: eviction, preemption, a lost node.

use serde_json::Value;

use super::agenda::PodTask;
use super::json_path::{int, is_deleting, list, text};
use super::pod_status::{condition, put_condition};
use super::script::Disruption;
use super::world::{World, grace};

impl World {
    /// Strikes a running pod.
    pub(crate) fn disrupt(&mut self, uid: &str, disruption: Disruption) {
        match disruption {
            Disruption::Evicted => {
                self.mark_and_delete(uid, "EvictionByEvictionAPI", "Eviction API: evicting");
            }
            Disruption::Preempted => self.mark_and_delete(
                uid,
                "PreemptionByScheduler",
                "default-scheduler: preempting to accommodate a higher priority pod",
            ),
            Disruption::NodeLost(back) => {
                self.node_lost(uid);
                if let Some(after) = back {
                    self.pod_soon(uid, after, PodTask::Return);
                }
            }
        }
    }

    /// Gives a pod the DisruptionTarget condition, then deletes it.
    pub(crate) fn mark_and_delete(&mut self, uid: &str, reason: &str, message: &str) {
        let Some((key, mut pod)) = self.pod(uid) else { return };
        let mut mark = condition(&pod["status"], "DisruptionTarget", "True", reason, message);
        if reason != "EvictionByEvictionAPI" {
            // The API server itself observes no generation (recorded); the scheduler and the taint manager do.
            mark["observedGeneration"] = pod["metadata"]["generation"].clone();
        }
        put_condition(&mut pod, mark);
        self.update(&key, pod);
        self.delete_pod(&key, None);
    }

    /// A pod's node cannot be reached any more. The phase stays as it is (recorded).
    pub(crate) fn node_lost(&mut self, uid: &str) {
        let Some((key, mut pod)) = self.pod(uid) else { return };
        let Some(run) = self.runs.get_mut(uid) else { return };
        run.is_lost = true;
        let mut unready = condition(&pod["status"], "Ready", "False", "", "");
        unready["observedGeneration"] = pod["metadata"]["generation"].clone();
        put_condition(&mut pod, unready);
        let toleration = toleration_seconds(&pod);
        self.update(&key, pod);
        if let Some(seconds) = toleration {
            self.pod_soon(uid, self.timing.seconds(seconds), PodTask::EvictByTaint);
        }
    }

    pub(crate) fn evict_by_taint(&mut self, uid: &str) {
        if self.runs.get(uid).is_some_and(|run| run.is_lost) {
            self.mark_and_delete(uid, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
        }
    }

    /// The node is back: the kubelet reports what it has and does what it missed.
    pub(crate) fn node_returns(&mut self, uid: &str) {
        let Some(run) = self.runs.get_mut(uid).filter(|run| run.is_lost) else { return };
        run.is_lost = false;
        self.report(uid);
        let deleting = self.pod(uid).filter(|(_, pod)| is_deleting(pod)).map(|(_, pod)| grace(&pod));
        match deleting {
            Some(grace) => self.begin_termination(uid, grace),
            None => self.go_on_ending(uid),
        }
    }
}

/// How long a pod bears the unreachable taint; `None` for ever.
fn toleration_seconds(pod: &Value) -> Option<i64> {
    let bears = |toleration: &&Value| {
        matches!(text(toleration, "/key"), "node.kubernetes.io/unreachable" | "")
            && matches!(text(toleration, "/effect"), "NoExecute" | "")
    };
    match list(pod, "/spec/tolerations").iter().find(bears) {
        Some(toleration) => int(toleration, "/tolerationSeconds"),
        None => Some(0),
    }
}
