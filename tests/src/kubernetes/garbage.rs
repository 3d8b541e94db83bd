//! The garbage collector and the TTL controller.

use serde_json::{Value, json};

use super::json_path::{self, finalizers, is_deleting, list, set_finalizers, text, timestamp};
use super::resource::Key;
use super::world::World;

/// Keeps a Job until its pods are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Keeps a Job until its pods have forgotten it.
pub(crate) const ORPHAN: &str = "orphan";
/// Keeps a pod until its Job has counted it.
pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";

impl World {
    /// Serves the finalizers of a Job that is being deleted.
    pub(crate) fn collect_job(&mut self, key: &Key) {
        let Some(job) = self.get(key).filter(|job| is_deleting(job)) else { return };
        let uid = text(&job, "/metadata/uid");
        let holds = finalizers(&job);
        if holds.iter().any(|name| name == ORPHAN) {
            for pod in self.store.owned_by(uid) {
                self.disown(&pod, uid);
            }
            self.drop_finalizer(key, ORPHAN);
        } else if holds.iter().any(|name| name == FOREGROUND) {
            for pod in self.store.owned_by(uid) {
                if self.get(&pod).is_some_and(|pod| !is_deleting(&pod)) {
                    self.delete_pod(&pod, None);
                }
            }
            if self.store.owned_by(uid).is_empty() {
                self.drop_finalizer(key, FOREGROUND);
            }
        }
    }

    /// Deletes the pods a gone Job left; the Job controller no longer tracks them.
    pub(crate) fn collect_orphans(&mut self, uid: &str) {
        for pod in self.store.owned_by(uid) {
            self.delete_pod(&pod, None);
            self.drop_finalizer(&pod, TRACKING);
        }
    }

    /// Deletes a finished Job whose time is over, in the foreground (recorded).
    pub(crate) fn expire_job(&mut self, key: &Key, uid: &str) {
        let Some(job) = self.get(key) else { return };
        if text(&job, "/metadata/uid") == uid && !is_deleting(&job) {
            let mut job = (*job).clone();
            mark_job_deleting(&mut job, Some(FOREGROUND));
            self.update(key, job);
        }
    }

    /// Removes a finalizer; an object that only it held is gone.
    pub(crate) fn drop_finalizer(&mut self, key: &Key, name: &str) {
        let Some(object) = self.get(key) else { return };
        let mut left = finalizers(&object);
        let before = left.len();
        left.retain(|held| held != name);
        if left.len() < before {
            let mut object = (*object).clone();
            set_finalizers(&mut object, &left);
            self.update(key, object);
        }
    }

    fn disown(&mut self, key: &Key, uid: &str) {
        let Some(pod) = self.get(key) else { return };
        let mut pod = (*pod).clone();
        let left: Vec<Value> =
            list(&pod, "/metadata/ownerReferences").iter().filter(|owner| text(owner, "/uid") != uid).cloned().collect();
        if left.is_empty() {
            json_path::remove(&mut pod, &["metadata", "ownerReferences"]);
        } else {
            pod["metadata"]["ownerReferences"] = json!(left);
        }
        self.update(key, pod);
    }
}

/// Marks a Job as being deleted, with one more finalizer.
pub(crate) fn mark_job_deleting(job: &mut Value, finalizer: Option<&str>) {
    let generation = json_path::int(job, "/metadata/generation").unwrap_or(1) + 1;
    json_path::set(job, &["metadata", "generation"], json!(generation));
    json_path::set(job, &["metadata", "deletionTimestamp"], json!(timestamp()));
    json_path::set(job, &["metadata", "deletionGracePeriodSeconds"], json!(0));
    let mut holds = finalizers(job);
    holds.extend(finalizer.map(str::to_owned));
    set_finalizers(job, &holds);
}
