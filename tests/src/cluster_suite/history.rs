//! What the cluster did while the suite ran, from one watch on its pods and one on its Jobs. Two live pods of one Job's name at any
//! moment are two bots in one call: the suite fails, whatever its scenarios say.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};

/// The run's name, on the pod too.
pub(super) const JOB_LABEL: &str = "meeting-bot/job";

/// A pod of a bot.
#[derive(Debug, Clone)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Of its Job.
    pub job: String,
    /// Neither over nor gone.
    pub is_live: bool,
    /// Its node, once it has one.
    pub node: Option<String>,
    /// Its phase.
    pub phase: String,
    /// Every reason that Kubernetes gave on it so far: of conditions, waiting and ended containers.
    pub reasons: BTreeSet<String>,
    /// Restarts of its containers.
    pub restarts: i32,
}

/// A Job.
#[derive(Debug, Clone)]
pub struct JobSeen {
    /// Its name.
    pub name: String,
    /// Reasons of its conditions.
    pub reasons: BTreeSet<String>,
    /// Complete or failed.
    pub is_over: bool,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    pods: Vec<(String, PodSeen)>,
    jobs: Vec<(String, JobSeen)>,
    listed: Option<BTreeSet<String>>,
    violations: Vec<String>,
    broken: Option<String>,
}

/// The history so far.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<State>>);

impl History {
    /// Follows a namespace until the runtime ends.
    pub fn follow(client: &kube::Client, namespace: &str) -> Self {
        let history = Self::default();
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
        let (own, other) = (history.clone(), history.clone());
        tokio::spawn(async move {
            let mut events = pin!(watcher(pods, Config::default().labels(JOB_LABEL)).default_backoff());
            loop {
                match events.try_next().await {
                    Ok(Some(event)) => own.on_pod(event),
                    Ok(None) => return,
                    Err(error) => own.lock().broken = Some(error.to_string()),
                }
            }
        });
        tokio::spawn(async move {
            let mut events = pin!(watcher(jobs, Config::default().labels(JOB_LABEL)).default_backoff());
            loop {
                match events.try_next().await {
                    Ok(Some(Event::Apply(job) | Event::InitApply(job))) => other.on_job(&job),
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => return,
                }
            }
        });
        history
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pods of a Job's name, oldest first.
    pub fn pods(&self, job: &str) -> Vec<PodSeen> {
        self.lock().pods.iter().map(|(_, pod)| pod.clone()).filter(|pod| pod.job == job).collect()
    }

    /// The live pod of a Job's name.
    pub fn live(&self, job: &str) -> Option<PodSeen> {
        self.pods(job).into_iter().find(|pod| pod.is_live)
    }

    /// Jobs of a name, oldest first.
    pub fn jobs(&self, name: &str) -> Vec<JobSeen> {
        self.lock().jobs.iter().map(|(_, job)| job.clone()).filter(|job| job.name == name).collect()
    }

    /// Moments with two live pods of one name, in words.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// The last failure of the pods' watch; it is taken up again.
    pub fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    fn on_pod(&self, event: Event<Pod>) {
        let mut state = self.lock();
        match event {
            Event::Init => state.listed = Some(BTreeSet::new()),
            Event::InitApply(pod) => {
                if let (Some(uid), Some(listed)) = (&pod.metadata.uid, &mut state.listed) {
                    listed.insert(uid.clone());
                }
                state.see(&pod);
            }
            Event::InitDone => {
                let listed = state.listed.take().unwrap_or_default();
                for (uid, pod) in &mut state.pods {
                    pod.is_live &= listed.contains(uid);
                }
                state.check();
            }
            Event::Apply(pod) => {
                state.see(&pod);
                state.check();
            }
            Event::Delete(pod) => {
                state.see(&pod);
                if let Some((_, seen)) = state.pods.iter_mut().find(|(uid, _)| Some(uid) == pod.metadata.uid.as_ref()) {
                    seen.is_live = false;
                }
            }
        }
    }

    fn on_job(&self, job: &Job) {
        let (Some(uid), Some(name)) = (&job.metadata.uid, &job.metadata.name) else { return };
        let conditions = job.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let held: Vec<_> = conditions.filter(|condition| condition.status == "True").collect();
        let is_over = held.iter().any(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"));
        let reasons = held.iter().filter_map(|condition| condition.reason.clone()).collect();
        let seen = JobSeen { name: name.clone(), reasons, is_over };
        let mut state = self.lock();
        match state.jobs.iter_mut().find(|(known, _)| known == uid) {
            Some((_, known)) => *known = seen,
            None => state.jobs.push((uid.clone(), seen)),
        }
    }
}

impl State {
    fn see(&mut self, pod: &Pod) {
        let Some(uid) = &pod.metadata.uid else { return };
        let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(JOB_LABEL));
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let mut seen = PodSeen {
            name: pod.metadata.name.clone().unwrap_or_default(),
            job: label.cloned().unwrap_or_default(),
            is_live: !matches!(phase.as_str(), "Succeeded" | "Failed"),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            phase,
            reasons: reasons(pod),
            restarts: restarts(pod),
        };
        match self.pods.iter_mut().find(|(known, _)| known == uid) {
            Some((_, known)) => {
                seen.reasons.extend(known.reasons.iter().cloned());
                *known = seen;
            }
            None => self.pods.push((uid.clone(), seen)),
        }
    }

    fn check(&mut self) {
        let mut live: HashMap<&str, Vec<&str>> = HashMap::new();
        for (_, pod) in self.pods.iter().filter(|(_, pod)| pod.is_live) {
            live.entry(&pod.job).or_default().push(&pod.name);
        }
        let twice = live.iter().filter(|(_, pods)| pods.len() > 1);
        let found: Vec<String> = twice.map(|(job, pods)| format!("{job}: {} live at once", pods.join(" and "))).collect();
        for violation in found {
            if !self.violations.contains(&violation) {
                self.violations.push(violation);
            }
        }
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &k8s_openapi::api::core::v1::ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()))
}

fn restarts(pod: &Pod) -> i32 {
    statuses(pod).map(|container| container.restart_count).sum()
}

fn reasons(pod: &Pod) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for container in statuses(pod) {
        for state in [&container.state, &container.last_state].into_iter().flatten() {
            found.extend(state.waiting.iter().filter_map(|waiting| waiting.reason.clone()));
            found.extend(state.terminated.iter().filter_map(|ended| ended.reason.clone()));
        }
    }
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    found.extend(conditions.filter_map(|condition| condition.reason.clone()));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, phase: &str) -> Event<Pod> {
        let pod = json!({
            "metadata": {"name": name, "uid": name, "labels": {JOB_LABEL: "bot-1"}},
            "status": {"phase": phase},
        });
        #[allow(clippy::unwrap_used, reason = "a test")]
        Event::Apply(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn two_live_pods_of_one_name_are_a_violation_and_one_after_the_other_is_none() {
        let history = History::default();
        history.on_pod(pod("a", "Running"));
        history.on_pod(pod("a", "Failed"));
        history.on_pod(pod("b", "Pending"));
        assert!(history.violations().is_empty());
        history.on_pod(pod("c", "Pending"));
        history.on_pod(pod("c", "Failed"));
        assert_eq!(history.violations(), ["bot-1: b and c live at once"], "and it stays on record");
    }
}
