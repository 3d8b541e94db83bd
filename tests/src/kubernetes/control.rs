//! What a test sees of the cluster's inside, and what it moves by hand.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::agenda::PodTask;
use super::cluster::Cluster;
use super::json_path::{list, text};
use super::pod_event::PodEvent;
use super::quota::Quota;
use super::resource::{Key, Resource};
use super::script::{Disruption, Exit};
use super::world::World;

impl Cluster {
    /// The objects of a resource, of all namespaces, in the order of their keys.
    pub fn objects(&self, resource: Resource) -> Vec<Arc<Value>> {
        self.shared.read(|world| world.store.list(resource, None).map(|(_, object)| object.clone()).collect())
    }

    /// All pods.
    pub fn pods(&self) -> Vec<Arc<Value>> {
        self.objects(Resource::Pods)
    }

    /// All Jobs.
    pub fn jobs(&self) -> Vec<Arc<Value>> {
        self.objects(Resource::Jobs)
    }

    /// Every Job that was ever made, as it was made, in the order of time.
    pub fn jobs_made(&self) -> Vec<Arc<Value>> {
        self.shared.read(|world| world.jobs_made.clone())
    }

    /// The pods of the Jobs of a name, those of a Job that is gone too.
    pub fn pods_of(&self, job: &str) -> Vec<Arc<Value>> {
        let mut pods = self.pods();
        pods.retain(|pod| text(pod, "/metadata/labels/job-name") == job);
        pods
    }

    /// The first Job of a name.
    pub fn job(&self, name: &str) -> Option<Arc<Value>> {
        self.jobs().into_iter().find(|job| text(job, "/metadata/name") == name)
    }

    /// The one pod of the Jobs of a name, once it is in this phase.
    pub fn pod_in_phase(&self, job: &str, phase: &str) -> Option<String> {
        let pods = self.pods_of(job);
        let found = pods.iter().find(|pod| text(pod, "/status/phase") == phase);
        found.map(|pod| text(pod, "/metadata/name").to_owned())
    }

    /// The reason of a Job's condition, once it is True.
    pub fn condition(&self, job: &str, kind: &str) -> Option<String> {
        let job = self.job(job)?;
        let found = list(&job, "/status/conditions")
            .iter()
            .find(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")?;
        Some(text(found, "/reason").to_owned())
    }

    /// The pod events from now on.
    pub fn pod_events(&self) -> UnboundedReceiver<PodEvent> {
        let (sender, receiver) = unbounded_channel();
        self.shared.write(|world| world.listeners.push(sender));
        receiver
    }

    /// Binds a pod to the node. Like all that follow: false when there is no such pod.
    pub fn schedule(&self, pod: &str) -> bool {
        self.on_pod(pod, |world, uid| world.bind(uid))
    }

    /// Starts a pod, bound or not yet: its kubelet goes through the steps of the start.
    pub fn start_pod(&self, pod: &str) -> bool {
        self.on_pod(pod, |world, uid| {
            world.bind(uid);
            world.pod_soon(uid, Duration::ZERO, PodTask::Start(0));
        })
    }

    /// Reports that a sidecar passed its startup probe.
    pub fn ready(&self, pod: &str, container: &str) -> bool {
        self.on_pod(pod, |world, uid| world.container_ready(uid, container))
    }

    /// Reports the end of a container.
    pub fn exit(&self, pod: &str, container: &str, exit: Exit) -> bool {
        self.on_pod(pod, |world, uid| world.container_exits(uid, container, exit))
    }

    /// Strikes a pod.
    pub fn disrupt(&self, pod: &str, disruption: Disruption) -> bool {
        self.on_pod(pod, |world, uid| world.disrupt(uid, disruption))
    }

    /// Lets a container write lines to its log.
    pub fn write_log(&self, pod: &str, container: &str, lines: &[&str]) {
        let lines = lines.iter().map(|line| (*line).to_owned());
        self.shared.write(|world| world.logs.entry((pod.to_owned(), container.to_owned())).or_default().extend(lines));
    }

    /// Deletes a pod as an operator would.
    pub fn delete_pod(&self, pod: &str, grace: Option<i64>) -> bool {
        self.on_pod(pod, |world, uid| {
            if let Some((key, _)) = world.pod(uid) {
                world.delete_pod(&key, grace);
            }
        })
    }

    /// Evictions get 429 as long as this is on.
    pub fn refuse_evictions(&self, refuse: bool) {
        self.shared.write(|world| world.refuses_evictions = refuse);
    }

    /// From now on there may be so many Jobs and pods; what is there stays.
    pub fn set_quota(&self, quota: Quota) {
        self.shared.write(|world| world.quota = quota);
    }

    /// The node goes away with all its pods.
    pub fn lose_node(&self) {
        self.shared.write(World::lose_node);
    }

    /// The node returns.
    pub fn restore_node(&self) {
        self.shared.write(World::restore_node);
    }

    /// Adds an object as it is, past all checks and defaults.
    pub fn add_object(&self, resource: Resource, object: Value) {
        let key = Key::new(resource, text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
        self.shared.write(|world| world.create(key, object));
    }

    fn on_pod(&self, name: &str, act: impl FnOnce(&mut World, &str)) -> bool {
        self.shared.write(|world| {
            let run = world.runs.values().find(|run| run.key.name == name);
            let Some(uid) = run.map(|run| run.uid.clone()) else { return false };
            act(world, &uid);
            true
        })
    }
}
