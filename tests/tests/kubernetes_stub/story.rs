//! Drives a recorded story again: its requests in their order, what lies between them, and the transitions that came of it.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use tests::kubernetes::{Cluster, Exit, OnTerm, Plan, PodScript, Timing};

use super::exceptions::{GOES_ON, NOT_REPRODUCED};
use super::recording::{Recorded, requests};
use super::replay::{Replay, create_like_first, events_of, recorded_cluster};
use super::transitions::{self, Lives};

/// How long main runs in the stories in which it ends by itself: the Job controller sees it ready before.
pub(crate) const AFTER_MAIN: Duration = Duration::from_millis(20);

/// The history of a cluster from its first object on.
const FROM_THE_START: &str = "1000";

/// A story being driven.
pub(crate) struct Story {
    pub(crate) scenario: &'static str,
    pub(crate) replay: Replay,
    pub(crate) cluster: Cluster,
}

/// A script by its parts.
pub(crate) fn plan(main: Option<Exit>, on_term: OnTerm, sidecar: OnTerm) -> PodScript {
    PodScript::Custom(Plan { main: main.map(|exit| (exit, AFTER_MAIN)), on_term, sidecar_on_term: sidecar, ..Plan::default() })
}

/// main ends by itself.
pub(crate) fn ends(code: i32) -> PodScript {
    PodScript::FailMain(code, AFTER_MAIN)
}

impl Story {
    pub(crate) async fn begin(scenario: &'static str, timing: Timing) -> Self {
        let cluster = recorded_cluster(Timing { request_second: Duration::from_millis(100), ..timing }).await;
        let replay = Replay::new(scenario, cluster.clone());
        Self { scenario, replay, cluster }
    }

    /// Sends the recorded requests; `before` does what lies between them.
    pub(crate) async fn send<F: Future<Output = ()>>(&mut self, before: impl Fn(usize, Cluster) -> F) {
        for recorded in requests(self.scenario) {
            before(recorded.index, self.cluster.clone()).await;
            self.send_one(&recorded).await;
        }
    }

    pub(crate) async fn send_one(&mut self, recorded: &Recorded) {
        self.name_pod(recorded);
        self.replay.send(recorded).await;
    }

    /// A recorded pod name is the name of its Job's oldest pod that is still there.
    fn name_pod(&mut self, recorded: &Recorded) {
        let parts: Vec<_> = recorded.text("path").split('/').collect();
        let Some(at) = parts.iter().position(|part| *part == "pods") else { return };
        let Some(name) = parts.get(at + 1).filter(|name| self.replay.names.get(name) == **name) else { return };
        let Some((job, _)) = name.rsplit_once('-') else { return };
        if let Some(pod) = self.cluster.pods_of(job).first() {
            let uid = pod["metadata"]["uid"].as_str().unwrap();
            self.replay.names.set(name, pod["metadata"]["name"].as_str().unwrap());
            if let Some(recorded) = recorded.line["requestBody"]["preconditions"]["uid"].as_str() {
                self.replay.names.set(recorded, uid);
            }
        }
    }

    pub(crate) async fn create(&self, name: &str, change: impl FnOnce(&mut Value)) {
        create_like_first(&self.replay, name, change).await;
    }

    /// Compares the transitions of all objects with the recorded ones.
    pub(crate) async fn end(self) {
        compare_lives(&self.cluster, self.scenario).await;
        self.replay.finish();
    }
}

/// Fails when the lives of a scenario's objects differ from the recorded ones.
pub(crate) async fn compare_lives(cluster: &Cluster, scenario: &str) {
    let mut events = Vec::new();
    for path in ["/apis/batch/v1/namespaces/rec/jobs", "/api/v1/namespaces/rec/pods"] {
        let query = format!("watch=1&timeoutSeconds=1&labelSelector=rec%3D{scenario}&resourceVersion={FROM_THE_START}");
        events.push(events_of(&get(cluster, &format!("{path}?{query}")).await));
    }
    for stream in &events {
        // A DELETED carries a newer version than the last MODIFIED, too.
        let version = |event: &Value| event["object"]["metadata"]["resourceVersion"].as_str()?.parse::<u64>().ok();
        assert!(stream.is_sorted_by(|a, b| version(a) < version(b)), "{scenario}: the resourceVersions do not rise");
    }
    let replayed = transitions::replayed(&events[0], &events[1]);
    let mut problems = problems(scenario, transitions::recorded(scenario), replayed);
    let recorded = transitions::recorded_conditions(scenario);
    let mut replayed = transitions::replayed_conditions(&events[1]);
    replayed.retain(|object, _| recorded.contains_key(object));
    problems.extend(self::problems(scenario, recorded, replayed));
    assert!(problems.is_empty(), "{scenario}: {} lives differ:\n{}", problems.len(), problems.join("\n"));
}

fn problems(scenario: &str, mut recorded: Lives, mut replayed: Lives) -> Vec<String> {
    for (_, name, _) in NOT_REPRODUCED.iter().filter(|(of, ..)| *of == scenario) {
        for lives in [&mut recorded, &mut replayed] {
            lives.retain(|object, _| *object != format!("job {name}") && !object.starts_with(&format!("pod {name}/")));
        }
    }
    for (_, object) in GOES_ON.iter().filter(|(of, _)| *of == scenario) {
        if let (Some(found), Some(expected)) = (replayed.get_mut(*object), recorded.get(*object)) {
            transitions::cut_behind(found, expected);
        }
    }
    transitions::compare(&recorded, &replayed)
}

async fn get(cluster: &Cluster, path: &str) -> String {
    let request = reqwest::Client::new().get(format!("{}{path}", cluster.url())).bearer_auth("admin-token");
    request.send().await.unwrap().text().await.unwrap()
}

/// Waits for a Job's condition.
pub(crate) async fn condition(cluster: &Cluster, job: &str, kind: &str) {
    cluster.wait(&format!("{job} {kind}"), |cluster| cluster.condition(job, kind)).await.unwrap();
}

/// Waits until the Job controller has counted a Job's pod as ready.
pub(crate) async fn ready(cluster: &Cluster, job: &str) {
    status(cluster, job, "ready", 1).await;
}

/// Waits until a Job is gone.
pub(crate) async fn gone(cluster: &Cluster, job: &str) {
    cluster.wait(&format!("{job} to go"), |cluster| cluster.job(job).is_none().then_some(())).await.unwrap();
}

/// Waits for a field of a Job's status.
pub(crate) async fn status(cluster: &Cluster, job: &str, field: &str, value: i64) {
    let look = |cluster: &Cluster| (cluster.job(job)?["status"][field] == value).then_some(());
    cluster.wait(&format!("{job} {field}={value}"), look).await.unwrap();
}

/// Waits until no pod of a Job is left, and the Job knows.
pub(crate) async fn without_pods(cluster: &Cluster, job: &str) {
    let look = |cluster: &Cluster| {
        let is_calm = cluster.job(job)?["status"]["terminating"] == 0;
        (is_calm && cluster.pods_of(job).is_empty()).then_some(())
    };
    cluster.wait(&format!("{job} to have no pods"), look).await.unwrap();
}

/// Waits for the reason a pod's main container waits for.
pub(crate) async fn waits(cluster: &Cluster, job: &str, reason: &str) {
    let look = |cluster: &Cluster| {
        let pods = cluster.pods_of(job);
        let state = &pods.first()?["status"]["containerStatuses"][0]["state"];
        (state["waiting"]["reason"] == reason).then_some(())
    };
    cluster.wait(&format!("{job} to wait: {reason}"), look).await.unwrap();
}
