//! The whole simulated cluster behind one lock: objects, controllers, kubelets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::agenda::{Agenda, PodTask, Task};
use super::json_path::{finalizers, int, is_deleting, text, timestamp};
use super::pod_event::PodEvent;
use super::pod_run::PodRun;
use super::quota::Quota;
use super::resource::{Key, Resource};
use super::script::PodScript;
use super::store::{Change, Event, Store};
use super::timing::Timing;

/// Chooses a Job's script.
pub(crate) type Chooser = Box<dyn Fn(&Value) -> PodScript + Send>;

/// The state of the cluster and its controllers.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) agenda: Agenda,
    pub(crate) timing: Timing,
    /// By pod uid.
    pub(crate) runs: HashMap<String, PodRun>,
    /// By Job uid.
    pub(crate) jobs: HashMap<String, JobRecord>,
    /// Jobs whose look by the controller is already on the agenda, and when.
    pub(crate) syncing: HashMap<Key, Instant>,
    pub(crate) chooser: Chooser,
    /// Scripts by Job name; they win over the chooser.
    pub(crate) scripts: HashMap<String, PodScript>,
    /// What containers wrote, by pod and container.
    pub(crate) logs: HashMap<(String, String), Vec<String>>,
    pub(crate) listeners: Vec<UnboundedSender<PodEvent>>,
    /// Every Job that was ever made, as it was made.
    pub(crate) jobs_made: Vec<Arc<Value>>,
    /// Which manager applied which field, by object.
    pub(crate) field_owners: HashMap<Key, BTreeMap<String, String>>,
    /// The namespaces that exist; `None` for any.
    pub(crate) namespaces: Option<BTreeSet<String>>,
    pub(crate) refuses_evictions: bool,
    pub(crate) quota: Quota,
    pub(crate) node_is_lost: bool,
    /// Whether Pod Security "restricted" is enforced (of its rules only host namespaces are known here).
    pub(crate) enforces_pod_security: bool,
}

/// What the Job controller remembers of a Job.
#[derive(Debug, Default, Clone)]
pub(crate) struct JobRecord {
    pub(crate) started: Option<Instant>,
    pub(crate) deadline: Option<Instant>,
    /// No new pod before.
    pub(crate) backs_off_until: Option<Instant>,
    pub(crate) failed_creations: u32,
}

impl Default for World {
    fn default() -> Self {
        Self {
            store: Store::default(),
            agenda: Agenda::default(),
            timing: Timing::default(),
            runs: HashMap::new(),
            jobs: HashMap::new(),
            syncing: HashMap::new(),
            chooser: Box::new(|_| PodScript::RunUntilTerminated(143)),
            scripts: HashMap::new(),
            logs: HashMap::new(),
            listeners: Vec::new(),
            jobs_made: Vec::new(),
            field_owners: HashMap::new(),
            namespaces: None,
            refuses_evictions: false,
            quota: Quota::default(),
            node_is_lost: false,
            enforces_pod_security: false,
        }
    }
}

impl World {
    /// Does what is due. Returns when the next thing is.
    pub(crate) fn run_due(&mut self, real: Instant) -> Option<Instant> {
        while let Some(task) = self.agenda.take_due(real) {
            match task {
                Task::SyncJob(key) => self.sync_job(&key),
                Task::CollectJob(key) => self.collect_job(&key),
                Task::CollectOrphans(uid) => self.collect_orphans(&uid),
                Task::ExpireJob(key, uid) => self.expire_job(&key, &uid),
                Task::Pod(uid, task) => self.pod_task(&uid, task),
            }
        }
        self.agenda.next_at()
    }

    /// An object, if it is there.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.store.get(key).cloned()
    }

    /// Adds an object.
    pub(crate) fn create(&mut self, key: Key, value: Value) -> Arc<Value> {
        let event = self.store.insert(key, value);
        if event.key.resource == Resource::Jobs {
            self.jobs_made.push(event.after.clone());
        }
        self.react(&event);
        event.after
    }

    /// Replaces an object. One that is being deleted and loses its last finalizer goes: its DELETED event still shows that
    /// finalizer (recorded), the answer does not.
    pub(crate) fn update(&mut self, key: &Key, value: Value) -> Option<Arc<Value>> {
        let before = self.get(key)?;
        let was_held = !finalizers(&before).is_empty();
        if is_deleting(&value) && was_held && finalizers(&value).is_empty() && grace(&value) == 0 {
            self.remove(key);
            return Some(Arc::new(value));
        }
        match self.store.replace(key, value) {
            Some(event) => {
                self.react(&event);
                Some(event.after)
            }
            None => Some(before),
        }
    }

    /// Removes an object.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(event) = self.store.remove(key) {
            self.field_owners.remove(key);
            self.react(&event);
        }
    }

    fn react(&mut self, event: &Event) {
        match event.key.resource {
            Resource::Jobs => self.react_to_job(event),
            Resource::Pods => self.react_to_pod(event),
            Resource::Events | Resource::Nodes | Resource::PodDisruptionBudgets => {}
        }
    }

    fn react_to_job(&mut self, event: &Event) {
        let uid = text(&event.after, "/metadata/uid").to_owned();
        if event.change == Change::Deleted {
            self.jobs.remove(&uid);
            self.agenda.after(self.timing.collect, Task::CollectOrphans(uid));
            return;
        }
        let changed =
            |pointer: &str| event.before.as_ref().is_none_or(|before| before.pointer(pointer) != event.after.pointer(pointer));
        if changed("/metadata/deletionTimestamp") || changed("/spec") {
            self.sync_soon(&event.key, self.timing.job_create);
        }
        if is_deleting(&event.after) && (changed("/metadata/deletionTimestamp") || changed("/metadata/finalizers")) {
            self.agenda.after(self.timing.collect, Task::CollectJob(event.key.clone()));
        }
    }

    fn react_to_pod(&mut self, event: &Event) {
        let uid = text(&event.after, "/metadata/uid").to_owned();
        if event.change == Change::Added {
            self.adopt_pod(&event.key, &event.after);
        }
        let owner = event.after.pointer("/metadata/ownerReferences/0").filter(|owner| text(owner, "/kind") == "Job");
        if let Some(owner) = owner {
            let job = Key::new(Resource::Jobs, &event.key.namespace, text(owner, "/name"));
            match event.change {
                Change::Added => {}
                Change::Modified => self.sync_soon(&job, self.timing.job_sync),
                Change::Deleted => {
                    self.sync_soon(&job, self.timing.job_sync);
                    self.agenda.after(self.timing.collect, Task::CollectJob(job));
                }
            }
        }
        let was_deleting = event.before.as_ref().is_some_and(|before| is_deleting(before));
        match event.change {
            Change::Deleted => {
                self.runs.remove(&uid);
                self.tell(&PodEvent::PodGone { name: event.key.name.clone(), uid });
            }
            _ if is_deleting(&event.after) && !was_deleting => {
                let grace = grace(&event.after);
                self.pod_soon(&uid, std::time::Duration::ZERO, PodTask::Terminate(grace));
            }
            _ => {}
        }
    }

    /// Puts a look at a Job on the agenda, unless an earlier one is there.
    pub(crate) fn sync_soon(&mut self, job: &Key, delay: std::time::Duration) {
        let due = self.agenda.now() + delay;
        if self.syncing.get(job).is_none_or(|known| due < *known) {
            self.syncing.insert(job.clone(), due);
            self.agenda.after(delay, Task::SyncJob(job.clone()));
        }
    }

    /// Puts a step of a pod on the agenda.
    pub(crate) fn pod_soon(&mut self, uid: &str, delay: std::time::Duration, task: PodTask) {
        self.agenda.after(delay, Task::Pod(uid.to_owned(), task));
    }

    /// The script of a Job.
    pub(crate) fn script(&self, job: &Value) -> PodScript {
        let named = self.scripts.get(text(job, "/metadata/name")).cloned();
        named.unwrap_or_else(|| (self.chooser)(job))
    }

    /// Tells the listeners; those that are gone are dropped.
    pub(crate) fn tell(&mut self, event: &PodEvent) {
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    /// Records a `v1` Event about an object.
    pub(crate) fn record(&mut self, about: &Value, kind: &str, reason: &str, message: &str, component: &str) {
        let name = format!("{}.{}", text(about, "/metadata/name"), &uuid::Uuid::new_v4().simple().to_string()[..16]);
        let namespace = text(about, "/metadata/namespace").to_owned();
        let (now, is_job) = (timestamp(), has_job_spec(about));
        let event = json!({
            "kind": "Event", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now},
            "involvedObject": {
                "kind": if is_job { "Job" } else { "Pod" }, "apiVersion": if is_job { "batch/v1" } else { "v1" },
                "namespace": namespace, "name": text(about, "/metadata/name"), "uid": text(about, "/metadata/uid"),
            },
            "type": kind, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": component}, "eventTime": null,
            "reportingComponent": component, "reportingInstance": "",
        });
        self.create(Key::new(Resource::Events, &namespace, &name), event);
    }
}

fn has_job_spec(object: &Value) -> bool {
    object.pointer("/spec/template").is_some()
}

/// The grace period of an object that is being deleted.
pub(crate) fn grace(object: &Value) -> i64 {
    int(object, "/metadata/deletionGracePeriodSeconds").unwrap_or(0)
}
