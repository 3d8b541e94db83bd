//! The lives of Jobs and pods: the recorded story is driven again, its requests and its transitions are compared.

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use tests::kubernetes::{Cluster, Disruption, Exit, OnTerm, Plan, PodScript, Start, Timing};

use super::api::{accepted, condition, create_like_first};
use super::recording::{Recorded, expand, json_lines, requests};
use super::replay::{Replay, events_of, recorded_cluster};
use super::transitions;

/// Objects of a scenario whose transitions the stub does not reproduce: scenario, object, why.
pub(crate) const NOT_REPRODUCED: &[(&str, &str, &str)] = &[
    ("06-sidecars", "side-crash", "the back-off of a crashing sidecar: the stub restarts it at once, every time"),
    ("06-sidecars", "side-never-starts", "the restarts of a sidecar whose startup probe fails: the stub leaves it running"),
];

/// Objects that go on in the same way after the recording ends.
const GOES_ON: &[(&str, &str)] = &[("07-stuck", "pod image-pull/1")];

/// How long main runs in the stories in which it ends by itself: the Job controller sees it ready before.
const AFTER_MAIN: Duration = Duration::from_millis(20);

struct Story {
    scenario: &'static str,
    replay: Replay,
    cluster: Cluster,
    start: String,
}

fn plan(main: Option<Exit>, on_term: OnTerm, sidecar: OnTerm) -> PodScript {
    PodScript::Custom(Plan { main: main.map(|exit| (exit, AFTER_MAIN)), on_term, sidecar_on_term: sidecar, ..Plan::default() })
}

fn ends(code: i32) -> PodScript {
    PodScript::FailMain(code, AFTER_MAIN)
}

impl Story {
    async fn begin(scenario: &'static str, timing: Timing, accepted: &[(usize, &'static [&'static str])]) -> Self {
        let timing = Timing { request_second: Duration::from_millis(100), ..timing };
        let cluster = recorded_cluster(timing).await;
        let replay = Replay::new(scenario, cluster.clone(), accepted);
        let list = get(&cluster, "/apis/batch/v1/namespaces/rec/jobs").await;
        let list: Value = serde_json::from_str(&list).unwrap();
        let start = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        Self { scenario, replay, cluster, start }
    }

    /// Sends the recorded requests; `before` does what lies between them.
    async fn send<F: Future<Output = ()>>(&mut self, before: impl Fn(usize, Cluster) -> F) {
        for recorded in requests(self.scenario) {
            before(recorded.index, self.cluster.clone()).await;
            self.send_one(&recorded).await;
        }
    }

    async fn send_one(&mut self, recorded: &Recorded) {
        self.name_pod(recorded);
        self.replay.send(recorded).await;
    }

    /// A recorded pod name is the name of its Job's oldest pod that is still there.
    fn name_pod(&mut self, recorded: &Recorded) {
        let parts: Vec<_> = recorded.text("path").split('/').collect();
        let Some(at) = parts.iter().position(|part| *part == "pods") else { return };
        let Some(name) = parts.get(at + 1) else { return };
        if self.replay.names.get(name) != *name {
            return;
        }
        let Some((job, _)) = name.rsplit_once('-') else { return };
        if let Some(pod) = self.cluster.pods_of(job).first() {
            let uid = pod["metadata"]["uid"].as_str().unwrap();
            self.replay.names.set(name, pod["metadata"]["name"].as_str().unwrap());
            if let Some(recorded) = recorded.line["requestBody"]["preconditions"]["uid"].as_str() {
                self.replay.names.set(recorded, uid);
            }
        }
    }

    async fn create(&self, name: &str, change: impl FnOnce(&mut Value)) {
        create_like_first(&self.replay, name, change).await;
    }

    /// Compares the transitions of all objects with the recorded ones.
    async fn end(self) {
        let mut events = Vec::new();
        for path in ["/apis/batch/v1/namespaces/rec/jobs", "/api/v1/namespaces/rec/pods"] {
            let query = format!("{path}?watch=1&timeoutSeconds=1&resourceVersion={}", self.start);
            events.push(events_of(&get(&self.cluster, &query).await));
        }
        let mut recorded = transitions::recorded(self.scenario);
        let mut replayed = transitions::replayed(&events[0], &events[1]);
        for (_, name, _) in NOT_REPRODUCED.iter().filter(|(scenario, ..)| *scenario == self.scenario) {
            for lives in [&mut recorded, &mut replayed] {
                lives.retain(|object, _| *object != format!("job {name}") && !object.starts_with(&format!("pod {name}/")));
            }
        }
        for (_, object) in GOES_ON.iter().filter(|(scenario, _)| *scenario == self.scenario) {
            transitions::cut_behind(replayed.get_mut(*object).unwrap(), &recorded[*object]);
        }
        let problems = transitions::compare(&recorded, &replayed);
        assert!(problems.is_empty(), "{}: {} lives differ:\n{}", self.scenario, problems.len(), problems.join("\n"));
        self.replay.finish();
    }
}

async fn get(cluster: &Cluster, path: &str) -> String {
    let request = reqwest::Client::new().get(format!("{}{path}", cluster.url())).bearer_auth("admin-token");
    request.send().await.unwrap().text().await.unwrap()
}

async fn ready(cluster: &Cluster, job: &str) {
    let look = |cluster: &Cluster| (cluster.job(job)?["status"]["ready"] == 1).then_some(());
    cluster.wait(&format!("{job} to be ready"), look).await.unwrap();
}

async fn gone(cluster: &Cluster, job: &str) {
    cluster.wait(&format!("{job} to go"), |cluster| cluster.job(job).is_none().then_some(())).await.unwrap();
}

/// Waits for a field of a Job's status.
async fn status(cluster: &Cluster, job: &str, field: &str, value: i64) {
    let look = |cluster: &Cluster| (cluster.job(job)?["status"][field] == value).then_some(());
    cluster.wait(&format!("{job} {field}={value}"), look).await.unwrap();
}

async fn without_pods(cluster: &Cluster, job: &str) {
    let look = |cluster: &Cluster| cluster.pods_of(job).is_empty().then_some(());
    cluster.wait(&format!("{job} to have no pods"), look).await.unwrap();
}

/// Waits for a pod's one main container to wait for this reason.
async fn waits(cluster: &Cluster, job: &str, reason: &str) {
    let look = |cluster: &Cluster| {
        let pods = cluster.pods_of(job);
        let state = &pods.first()?["status"]["containerStatuses"][0]["state"];
        (state["waiting"]["reason"] == reason).then_some(())
    };
    cluster.wait(&format!("{job} to wait: {reason}"), look).await.unwrap();
}

#[tokio::test]
async fn a_success_goes_as_recorded() {
    let mut story = Story::begin("02-success", Timing::default(), &[]).await;
    story.cluster.script("ok-1", PodScript::Succeed(AFTER_MAIN));
    story
        .send(|index, cluster| async move {
            match index {
                1 => condition(&cluster, "ok-1", "Complete").await,
                3 => gone(&cluster, "ok-1").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn failures_go_as_recorded() {
    let mut story = Story::begin("03-failures", Timing::default(), &[]).await;
    for (job, script) in [
        ("fail-73", ends(73)),
        ("exit-42", ends(42)),
        ("exit-42-nopolicy", ends(42)),
        ("oom", PodScript::OomKilled(AFTER_MAIN)),
        ("deadline", PodScript::RunUntilTerminated(0)),
        ("deadline-ignore-term", PodScript::IgnoreTerm),
    ] {
        story.cluster.script(job, script);
    }
    let ended = |job: &'static str, cluster: Cluster| async move { condition(&cluster, job, "Failed").await };
    story
        .send(|index, cluster| async move {
            match index {
                6 => ended("fail-73", cluster).await,
                8 => ended("exit-42", cluster).await,
                9 => ended("exit-42-nopolicy", cluster).await,
                12 => ended("oom", cluster).await,
                14 => ended("deadline", cluster).await,
                16 => ended("deadline-ignore-term", cluster).await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn deleted_pods_go_as_recorded() {
    let mut story = Story::begin("04-pod-delete", Timing::default(), &[]).await;
    for (job, code) in
        [("a-policy-exit143-0", 143), ("b-nopolicy-exit143-0", 143), ("c-policy-exit0-0", 0), ("d-nopolicy-exit0-0", 0)]
    {
        story.cluster.script(job, PodScript::RunUntilTerminated(code));
    }
    story
        .send(|index, cluster| async move {
            match index {
                4 => ready(&cluster, "a-policy-exit143-0").await,
                5 => ready(&cluster, "b-nopolicy-exit143-0").await,
                6 => ready(&cluster, "c-policy-exit0-0").await,
                7 => condition(&cluster, "a-policy-exit143-0", "Failed").await,
                8 => ready(&cluster, "d-nopolicy-exit0-0").await,
                9 => condition(&cluster, "b-nopolicy-exit143-0", "Failed").await,
                10 => condition(&cluster, "c-policy-exit0-0", "Complete").await,
                11 => condition(&cluster, "d-nopolicy-exit0-0", "Complete").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn forced_deletions_and_evictions_go_as_recorded() {
    let mut story = Story::begin("04-forced-evict", Timing::default(), &[]).await;
    let slow = plan(None, OnTerm::exit_after(143, Duration::from_millis(40)), OnTerm::exit(0));
    for (job, script) in [
        ("e-policy-grace0-0", slow.clone()),
        ("f-nopolicy-grace0-0", slow),
        ("i-policy-evict-exit0-0", PodScript::RunUntilTerminated(0)),
    ] {
        story.cluster.script(job, script);
    }
    story
        .send(|index, cluster| async move {
            match index {
                6 => ready(&cluster, "e-policy-grace0-0").await,
                7 => ready(&cluster, "g-policy-evict-0").await,
                8 => ready(&cluster, "f-nopolicy-grace0-0").await,
                9 => ready(&cluster, "h-nopolicy-evict-0").await,
                10 => ready(&cluster, "i-policy-evict-exit0-0").await,
                11 => ready(&cluster, "j-nopolicy-prp-default-0").await,
                12 => condition(&cluster, "e-policy-grace0-0", "Failed").await,
                13 => condition(&cluster, "f-nopolicy-grace0-0", "Failed").await,
                14 => condition(&cluster, "g-policy-evict-0", "Failed").await,
                15 => condition(&cluster, "h-nopolicy-evict-0", "Failed").await,
                16 => condition(&cluster, "i-policy-evict-exit0-0", "Complete").await,
                17 => condition(&cluster, "j-nopolicy-prp-default-0", "Failed").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn deletions_of_pods_that_were_never_bound_go_as_recorded() {
    let mut story = Story::begin("04-pending-delete", Timing::default(), &accepted("04-pending-delete")).await;
    let jobs = ["pend-policy-0", "pend-nopolicy-0", "pend-nopolicy-default-0"];
    for job in jobs {
        story.cluster.script(job, PodScript::NeverSchedule);
    }
    story
        .send(|index, cluster| async move {
            match index {
                3..=5 => {
                    let job = jobs[index - 3];
                    let look = |cluster: &Cluster| {
                        let pods = cluster.pods_of(job);
                        pods.first()?["status"].get("conditions").map(|_| ())
                    };
                    cluster.wait(&format!("{job}'s refusal"), look).await.unwrap();
                }
                6..=8 => condition(&cluster, jobs[index - 6], "Failed").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn preemption_and_a_disruption_budget_go_as_recorded() {
    // Here the Job controller was faster than the kubelet's removal of the pod.
    let timing = Timing { confirm: Duration::from_millis(20), ..Timing::default() };
    let mut story = Story::begin("04-preempt-pdb", timing, &accepted("04-preempt-pdb")).await;
    story.cluster.script("preemptor", PodScript::NeverSchedule);
    for recorded in requests("04-preempt-pdb") {
        match recorded.index {
            1 => {
                story.create("pdb-1", |_| {}).await;
                ready(&story.cluster, "victim").await;
                ready(&story.cluster, "pdb-1").await;
            }
            3 => preempt(&story.cluster).await,
            _ => {}
        }
        story.send_one(&recorded).await;
    }
    story.end().await;
}

async fn preempt(cluster: &Cluster) {
    let look = |cluster: &Cluster| cluster.pods_of("preemptor").first()?["status"].get("conditions").map(|_| ());
    cluster.wait("the preemptor's refusal", look).await.unwrap();
    assert!(cluster.disrupt(&cluster.pod_in_phase("victim", "Running").unwrap(), Disruption::Preempted));
    condition(cluster, "victim", "Failed").await;
    without_pods(cluster, "victim").await;
    assert!(cluster.start_pod(&cluster.pod_in_phase("preemptor", "Pending").unwrap()));
    ready(cluster, "preemptor").await;
}

#[tokio::test]
async fn deletions_and_recreations_go_as_recorded() {
    // The controllers are slow enough for the requests that come before them.
    let ms = Duration::from_millis;
    let timing = Timing { collect: ms(400), job_create: ms(150), ..Timing::default() };
    let mut story = Story::begin("05-recreate", timing, &[]).await;
    story
        .send(|index, cluster| async move {
            match index {
                5 => ready(&cluster, "rec-foreground").await,
                8 => ready(&cluster, "rec-orphan").await,
                11 => ready(&cluster, "rec-foreground-body").await,
                14 => ready(&cluster, "rec-default").await,
                16 => ready(&cluster, "rec-background").await,
                _ => {}
            }
        })
        .await;
    // From here on no request has to come before the collector.
    story.cluster.set_timing(Timing { request_second: Duration::from_millis(100), ..Timing::default() });
    ready(&story.cluster, "rec-background").await;
    for job in ["rec-orphan", "rec-default", "rec-foreground", "rec-foreground-body"] {
        gone(&story.cluster, job).await;
        story.create(job, |_| {}).await;
        ready(&story.cluster, job).await;
    }
    let look = |cluster: &Cluster| (cluster.pods_of("rec-background").len() == 1).then_some(());
    story.cluster.wait("the old pod of rec-background to go", look).await.unwrap();
    story.end().await;
}

#[tokio::test]
async fn a_force_deletion_behind_a_foreground_deletion_goes_as_recorded() {
    let slow = || plan(None, OnTerm::exit_after(143, Duration::from_millis(150)), OnTerm::exit(0));
    let mut story = Story::begin("05-recreate-force", Timing::default(), &accepted("05-recreate-force")).await;
    for job in ["force-1", "force-2"] {
        story.cluster.script(job, slow());
    }
    for recorded in requests("05-recreate-force") {
        match recorded.index {
            1 => {
                for job in ["force-2", "pdb-1"] {
                    story.create(job, |_| {}).await;
                    ready(&story.cluster, job).await;
                }
                ready(&story.cluster, "force-1").await;
            }
            2 => status(&story.cluster, "force-1", "terminating", 1).await,
            3 => {
                gone(&story.cluster, "force-1").await;
                story.create("force-1", |_| {}).await;
                ready(&story.cluster, "force-1").await;
                learn_job(&mut story, "force-2", &recorded);
            }
            4 => gone(&story.cluster, "force-2").await,
            _ => {}
        }
        story.send_one(&recorded).await;
    }
    story.end().await;
}

/// A recorded Job whose creation is not among the requests.
fn learn_job(story: &mut Story, name: &str, recorded: &Recorded) {
    let job = story.cluster.job(name).unwrap();
    story.replay.names.learn(&recorded.line["body"], &job);
}

#[tokio::test]
async fn the_safe_recreation_goes_as_recorded() {
    // The deletion comes before the Job controller has counted the pod as ready.
    let ms = Duration::from_millis;
    let timing = Timing { second: ms(100), job_sync: ms(300), ..Timing::default() };
    let mut story = Story::begin("05-recreate-safe", timing, &[]).await;
    story.cluster.script("safe-0", plan(None, OnTerm::exit_after(143, ms(700)), OnTerm::exit(0)));
    story
        .send(|index, cluster| async move {
            match index {
                1 => drop(cluster.wait("the pod", |cluster| cluster.pod_in_phase("safe-0", "Running")).await.unwrap()),
                5 => gone(&cluster, "safe-0").await,
                _ => {}
            }
        })
        .await;
    ready(&story.cluster, "safe-0").await;
    story.end().await;
}

#[tokio::test]
async fn the_cancel_protocol_goes_as_recorded() {
    let mut story = Story::begin("05-cancel-protocol", Timing::default(), &accepted("05-cancel-protocol")).await;
    let slow = plan(None, OnTerm::exit_after(143, Duration::from_millis(80)), OnTerm::exit(0));
    for job in ["cancel-0", "cancel-1"] {
        story.cluster.script(job, slow.clone());
    }
    for recorded in requests("05-cancel-protocol") {
        match recorded.index {
            1 => {
                story.create("cancel-1", |_| {}).await;
                ready(&story.cluster, "cancel-0").await;
            }
            2 => status(&story.cluster, "cancel-0", "terminating", 1).await,
            3 => condition(&story.cluster, "cancel-0", "Failed").await,
            4 => gone(&story.cluster, "cancel-0").await,
            _ => {}
        }
        story.send_one(&recorded).await;
    }
    cancel_gracefully(&story, "cancel-1").await;
    ready(&story.cluster, "cancel-0").await;
    story.end().await;
}

async fn cancel_gracefully(story: &Story, job: &str) {
    let cluster = &story.cluster;
    ready(cluster, job).await;
    assert!(cluster.delete_pod(&cluster.pod_in_phase(job, "Running").unwrap(), None));
    condition(cluster, job, "Failed").await;
    let url = format!("{}/apis/batch/v1/namespaces/rec/jobs/{job}?propagationPolicy=Foreground", cluster.url());
    reqwest::Client::new().delete(url).bearer_auth("admin-token").send().await.unwrap();
    gone(cluster, job).await;
    story.create(job, |_| {}).await;
    ready(cluster, job).await;
}

#[tokio::test]
async fn a_race_of_deletion_and_recreation_is_answered_as_recorded() {
    // The deletion comes before the Job controller has seen the Job.
    let timing = Timing { job_create: Duration::from_secs(1), ..Timing::default() };
    let cluster = recorded_cluster(timing).await;
    let mut replay = Replay::new("05-recreate-race", cluster.clone(), &[]);
    for recorded in requests("05-recreate-race") {
        replay.send(&recorded).await;
    }
    replay.finish();
}

#[tokio::test]
async fn a_stalled_job_looks_as_recorded() {
    let cluster = recorded_cluster(Timing::default()).await;
    cluster.script("stall-ba-5", PodScript::Stalled);
    let mut replay = Replay::new("05-recreate-stall", cluster.clone(), &[]);
    // The creation is not among the requests; the Job is taken from the first answer.
    replay.first = json_lines("05-recreate-stall", "requests.jsonl")[0]["body"].clone();
    let mut job = replay.first.clone();
    for field in ["status", "uid"] {
        job.as_object_mut().unwrap().remove(field);
    }
    let spec = job["spec"].as_object_mut().unwrap();
    spec.remove("selector");
    let labels = spec["template"]["metadata"]["labels"].as_object_mut().unwrap();
    labels.retain(|name, _| !name.ends_with("controller-uid") && !name.ends_with("job-name"));
    replay.first = job;
    create_like_first(&replay, "stall-ba-5", |_| {}).await;
    let look = |cluster: &Cluster| cluster.job("stall-ba-5")?["status"].get("startTime").map(|_| ());
    cluster.wait("the start time", look).await.unwrap();
    for recorded in requests("05-recreate-stall") {
        replay.send(&recorded).await;
    }
    replay.finish();
}

#[tokio::test]
async fn sidecars_go_as_recorded() {
    let ms = Duration::from_millis;
    let mut story = Story::begin("06-sidecars", Timing::default(), &[]).await;
    let done = || Some(Exit::code(0));
    for (job, script) in [
        ("side-crash", PodScript::Succeed(AFTER_MAIN)),
        ("side-ignores-term", plan(done(), OnTerm::exit(0), OnTerm::Ignore)),
        ("side-slow-flush", plan(done(), OnTerm::exit(0), OnTerm::exit_after(0, ms(40)))),
        ("term-order", plan(None, OnTerm::exit(0), OnTerm::exit(0))),
        ("main-hog", plan(None, OnTerm::Ignore, OnTerm::exit_after(0, ms(40)))),
        ("main-fails-side-flush", plan(Some(Exit::code(73)), OnTerm::exit(0), OnTerm::exit_after(0, ms(40)))),
        ("side-term-nonzero", plan(done(), OnTerm::exit(0), OnTerm::exit(9))),
        ("side-never-starts", PodScript::SidecarNeverStarts),
    ] {
        story.cluster.script(job, script);
    }
    let last = requests("06-sidecars").len();
    for recorded in requests("06-sidecars") {
        match recorded.index {
            8 => ready(&story.cluster, "main-hog").await,
            9 => ready(&story.cluster, "term-order").await,
            10 => condition(&story.cluster, "side-term-nonzero", "Complete").await,
            11 => condition(&story.cluster, "term-order", "Complete").await,
            12 => condition(&story.cluster, "main-fails-side-flush", "Failed").await,
            13 => condition(&story.cluster, "side-slow-flush", "Complete").await,
            14 => condition(&story.cluster, "main-hog", "Failed").await,
            15 => condition(&story.cluster, "side-ignores-term", "Complete").await,
            16 => condition(&story.cluster, "side-never-starts", "Failed").await,
            17 => condition(&story.cluster, "side-crash", "Complete").await,
            _ => {}
        }
        assert!(recorded.index < last);
        story.send_one(&recorded).await;
    }
    story.end().await;
}

#[tokio::test]
async fn what_never_starts_goes_as_recorded() {
    let mut story = Story::begin("07-stuck", Timing::default(), &accepted("07-stuck")).await;
    for (job, script) in [
        ("image-never", PodScript::ErrImageNeverPull),
        ("image-pull", PodScript::ImagePullBackOff),
        ("image-invalid", PodScript::InvalidImageName),
        ("unschedulable", PodScript::NeverSchedule),
        ("unschedulable-deadline", PodScript::NeverSchedule),
        // The deadline came before the kubelet told why main did not start.
        ("image-deadline", PodScript::Custom(Plan { start: Start::Waits(Vec::new()), ..Plan::default() })),
        ("config-error", PodScript::CreateContainerConfigError),
        ("psa-denied", PodScript::PodSecurityDenied),
    ] {
        story.cluster.script(job, script);
    }
    story
        .send(|index, cluster| async move {
            match index {
                8 => waits(&cluster, "image-never", "ErrImageNeverPull").await,
                9 => waits(&cluster, "image-pull", "ImagePullBackOff").await,
                10 => waits(&cluster, "image-invalid", "InvalidImageName").await,
                12 => condition(&cluster, "unschedulable-deadline", "Failed").await,
                13 => condition(&cluster, "image-deadline", "Failed").await,
                14 => waits(&cluster, "config-error", "CreateContainerConfigError").await,
                16 => {
                    // As recorded: back from the back-off, and in it again.
                    waits(&cluster, "image-pull", "ErrImagePull").await;
                    waits(&cluster, "image-pull", "ImagePullBackOff").await;
                }
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn a_lost_node_goes_as_recorded() {
    let ms = Duration::from_millis;
    let timing = Timing { second: ms(4), ..Timing::default() };
    let mut story = Story::begin("08-node-lost", timing, &accepted("08-node-lost")).await;
    let later = |code| PodScript::FailMain(code, ms(480));
    for (job, script) in [
        ("n9-ends-itself", later(0)),
        ("n10-ends-itself-forever", later(0)),
        ("n11-policy-exit0", PodScript::RunUntilTerminated(0)),
    ] {
        story.cluster.script(job, script);
    }
    for recorded in requests("08-node-lost") {
        between_node_requests(&story, recorded.index).await;
        story.send_one(&recorded).await;
    }
    story.end().await;
}

const FINISHED: [(usize, &str, &str); 5] = [
    (23, "n1-policy", "Failed"),
    (25, "n2-nopolicy", "Failed"),
    (28, "n6-force-pod", "Failed"),
    (30, "n9-ends-itself", "Complete"),
    (26, "n10-ends-itself-forever", "Complete"),
];

async fn between_node_requests(story: &Story, index: usize) {
    let cluster = &story.cluster;
    match index {
        7 => {
            for job in ["n3-default-300s", "n7-deadline", "n10-ends-itself-forever", "n11-policy-exit0", "n12-suspend"] {
                story.create(job, |body| vary_node_job(job, body)).await;
            }
            for job in cluster.jobs() {
                ready(cluster, job["metadata"]["name"].as_str().unwrap()).await;
            }
            cluster.lose_node();
            for job in ["n1-policy", "n2-nopolicy", "n5-foreground-delete", "n6-force-pod", "n8-background-recreate"] {
                status(cluster, job, "terminating", 1).await;
            }
        }
        11 => status(cluster, "n12-suspend", "terminating", 1).await,
        15 => {
            suspend(cluster, "n12-suspend", true).await;
            suspend(cluster, "n12-suspend", false).await;
        }
        16 => condition(cluster, "n7-deadline", "FailureTarget").await,
        23 => {
            status(cluster, "n3-default-300s", "terminating", 1).await;
            cluster.restore_node();
        }
        27 => gone(cluster, "n5-foreground-delete").await,
        29 => {
            ready(cluster, "n8-background-recreate").await;
            for job in ["n3-default-300s", "n7-deadline", "n12-suspend"] {
                condition(cluster, job, "Failed").await;
            }
            condition(cluster, "n11-policy-exit0", "Complete").await;
        }
        _ => {}
    }
    if let Some((_, job, kind)) = FINISHED.iter().find(|(at, ..)| *at == index) {
        condition(cluster, job, kind).await;
    }
}

fn vary_node_job(name: &str, body: &mut Value) {
    let tolerations = |seconds: Option<i64>| {
        ["not-ready", "unreachable"].map(|taint| {
            let mut toleration =
                json!({"key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute"});
            if let Some(seconds) = seconds {
                toleration["tolerationSeconds"] = json!(seconds);
            }
            toleration
        })
    };
    let spec = &mut body["spec"]["template"]["spec"];
    match name {
        "n3-default-300s" => spec["tolerations"] = json!([]),
        "n10-ends-itself-forever" => spec["tolerations"] = json!(tolerations(None)),
        "n7-deadline" => body["spec"]["activeDeadlineSeconds"] = json!(150),
        _ => {}
    }
}

async fn suspend(cluster: &Cluster, job: &str, value: bool) {
    let url = format!("{}/apis/batch/v1/namespaces/rec/jobs/{job}", cluster.url());
    let patch = json!({"spec": {"suspend": value}}).to_string();
    let request = reqwest::Client::new().patch(url).bearer_auth("admin-token");
    let response = request.header("content-type", "application/merge-patch+json").body(patch).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let wanted = if value { "JobSuspended" } else { "JobResumed" };
    let look = |cluster: &Cluster| {
        let conditions = cluster.job(job)?["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|condition| condition["reason"] == wanted).then_some(())
    };
    cluster.wait(wanted, look).await.unwrap();
}

#[test]
fn bodies_recorded_as_differences_are_written_out() {
    let first = json!({"a": {"b": 1, "c": [1, 2]}, "list": [{"x": 1}, {"y": 2}]});
    let body = json!({"differsFromFirstRequestOfThisFile": {"a": {"b": "(absent)", "c": [3]}, "list": [{"x": 9}, {}]}});
    assert_eq!(expand(&body, &first), json!({"a": {"c": [3]}, "list": [{"x": 9}, {"y": 2}]}));
}
