//! What the stub offers beside the recordings: faults, users, pod events, pods moved by hand, a thousand Jobs.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy, WatchEvent, WatchParams};
use serde_json::json;
use tests::kubernetes::{Cluster, Effect, Exit, Fault, PodEvent, PodScript, Resource, Rule, Timing, Verb};

/// A Job with a sidecar, as the launcher makes them.
pub(crate) fn job(name: &str) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": "bot"}},
        "spec": {
            "backoffLimit": 0, "parallelism": 1, "completions": 1, "podReplacementPolicy": "Failed",
            "template": {"metadata": {"labels": {"app": "bot"}}, "spec": {
                "restartPolicy": "Never",
                "initContainers": [{"name": "side", "image": "bot:1", "restartPolicy": "Always"}],
                "containers": [{"name": "main", "image": "bot:1"}],
            }},
        },
    }))
    .unwrap()
}

/// The Jobs of a cluster under a client that repeats nothing by itself.
fn jobs(cluster: &Cluster) -> Api<Job> {
    let mut config = cluster.config().unwrap();
    config.default_retry = false;
    Api::namespaced(kube::Client::try_from(config).unwrap(), "bots")
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("no answer: {other}"),
    }
}

#[tokio::test]
async fn a_refusal_has_its_status_and_applies_nothing() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    for status in [401, 403, 409, 422, 429, 500, 503, 504] {
        let hits = cluster.inject(Fault::refuse(status).on(Verb::Create, Resource::Jobs).times(1));
        let refused = jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap_err();
        assert_eq!((code(&refused), hits.count()), (status, 1));
        assert!(cluster.job("bot-1").is_none());
    }
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    let statuses: Vec<_> = cluster.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [401, 403, 409, 422, 429, 500, 503, 504, 201]);
}

#[tokio::test]
async fn a_fault_strikes_a_share_of_the_named_requests_only() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    let hits = cluster.inject(Fault::refuse(500).on(Verb::Get, Resource::Jobs).named("bot-1").probability(0.5));
    let mut failures = 0;
    for _ in 0..40 {
        failures += u64::from(jobs.get("bot-1").await.is_err());
        assert!(jobs.get_opt("bot-2").await.unwrap().is_none());
    }
    assert_eq!(failures, hits.count());
    assert!((8..=32).contains(&failures), "{failures} of 40");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_write_and_a_lost_request_does_not() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    cluster.inject(Fault::new(Effect::LoseAnswer).on(Verb::Create, Resource::Jobs).times(1));
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap_err();
    jobs.get("bot-1").await.unwrap();
    cluster.inject(Fault::new(Effect::LoseRequest).on(Verb::Create, Resource::Jobs).times(1));
    jobs.create(&PostParams::default(), &job("bot-2")).await.unwrap_err();
    assert!(jobs.get_opt("bot-2").await.unwrap().is_none());
}

#[tokio::test]
async fn a_half_open_connection_never_answers_and_a_delay_does_late() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    cluster.inject(Fault::new(Effect::NeverAnswer).on(Verb::Create, Resource::Jobs).times(1));
    let (parameters, body) = (PostParams::default(), job("bot-1"));
    let create = jobs.create(&parameters, &body);
    assert!(tokio::time::timeout(Duration::from_millis(100), create).await.is_err());
    assert!(cluster.job("bot-1").is_none());
    let delay = Duration::from_millis(50);
    cluster.inject(Fault::new(Effect::Delay(delay)).on(Verb::Create, Resource::Jobs).times(1));
    let begun = Instant::now();
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    assert!(begun.elapsed() >= delay);
}

#[tokio::test]
async fn connections_are_refused_for_a_while() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    jobs.list(&ListParams::default()).await.unwrap();
    cluster.refuse_connections();
    while jobs.list(&ListParams::default()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    cluster.accept_connections();
    let deadline = Instant::now() + Duration::from_secs(10);
    while jobs.list(&ListParams::default()).await.is_err() {
        assert!(Instant::now() < deadline, "the port did not open again");
        tokio::task::yield_now().await;
    }
    // Refused and accepted at once: what was open is cut, what comes is served.
    cluster.refuse_connections_for(Duration::ZERO);
    while jobs.list(&ListParams::default()).await.is_err() {
        assert!(Instant::now() < deadline, "the port did not open again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_watch_is_cut_or_ended_and_goes_on_from_where_it_was() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    for is_abrupt in [true, false] {
        let name = if is_abrupt { "bot-1" } else { "bot-2" };
        let version = jobs.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut watch = jobs.watch(&parameters, &version).await.unwrap().boxed();
        jobs.create(&PostParams::default(), &job(name)).await.unwrap();
        let Some(WatchEvent::Added(added)) = watch.try_next().await.unwrap() else { panic!("no ADDED") };
        if is_abrupt {
            cluster.cut_watches(Some(Resource::Jobs))
        } else {
            cluster.end_watches(None)
        }
        while let Ok(Some(_)) = watch.try_next().await {}
        let version = added.metadata.resource_version.unwrap();
        jobs.patch(name, &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}))).await.unwrap();
        let mut watch = jobs.watch(&parameters, &version).await.unwrap().boxed();
        let Some(WatchEvent::Modified(_)) = watch.try_next().await.unwrap() else { panic!("no MODIFIED") };
    }
}

#[tokio::test]
async fn a_watch_from_before_the_compaction_gets_410() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    let version = jobs.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    cluster.compact();
    let mut watch = jobs.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    let Some(WatchEvent::Error(status)) = watch.try_next().await.unwrap() else { panic!("no ERROR") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(watch.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_user_may_do_what_its_rules_say() {
    let rules = vec![Rule::new("bots", Resource::Jobs, &["create", "get"])];
    let cluster = Cluster::builder().user("secret", "system:serviceaccount:bots:controller", rules).start().await.unwrap();
    let jobs: Api<Job> = Api::namespaced(cluster.client_as("secret").unwrap(), "bots");
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    assert_eq!(code(&jobs.list(&ListParams::default()).await.unwrap_err()), 403);
    let stranger: Api<Job> = Api::namespaced(cluster.client_as("wrong").unwrap(), "bots");
    assert_eq!(code(&stranger.get("bot-1").await.unwrap_err()), 401);
    let last = cluster.requests();
    assert_eq!(last[1].user, "system:serviceaccount:bots:controller");
}

#[tokio::test]
async fn a_harness_runs_the_containers_it_is_told_of() {
    let timing = Timing { second: Duration::from_secs(1), ..Timing::default() };
    let cluster = Cluster::builder().timing(timing).script(PodScript::External).start().await.unwrap();
    let mut events = cluster.pod_events();
    let jobs = jobs(&cluster);
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    let Some(PodEvent::PodStarted { pod }) = events.recv().await else { panic!("no PodStarted") };
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    let Some(PodEvent::ContainerStarted { container, .. }) = events.recv().await else { panic!("no sidecar") };
    assert_eq!(container, "side");
    assert!(cluster.ready(&name, "side"));
    let Some(PodEvent::ContainerStarted { container, .. }) = events.recv().await else { panic!("no main") };
    assert_eq!(container, "main");
    cluster.wait("Running", |cluster| cluster.pod_in_phase("bot-1", "Running")).await.unwrap();
    assert!(cluster.delete_pod(&name, None));
    let Some(PodEvent::PodTerminating { grace, .. }) = events.recv().await else { panic!("no PodTerminating") };
    assert_eq!(grace, 30);
    for wanted in ["main", "side"] {
        let Some(PodEvent::ContainerTerminating { container, .. }) = events.recv().await else { panic!("no TERM") };
        assert_eq!(container, wanted);
        assert!(cluster.exit(&name, wanted, Exit::code(if wanted == "main" { 75 } else { 0 })));
    }
    let Some(PodEvent::PodGone { .. }) = events.recv().await else { panic!("no PodGone") };
    let reason = cluster.wait("the end", |cluster| cluster.condition("bot-1", "Failed")).await.unwrap();
    assert_eq!(reason, "BackoffLimitExceeded");
}

#[tokio::test]
async fn sidecars_are_stopped_after_main_in_reverse_order() {
    let cluster = Cluster::start().await.unwrap();
    let mut events = cluster.pod_events();
    let mut two = job("bot-1");
    let pod = two.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    let mut second = pod.init_containers.as_ref().unwrap()[0].clone();
    second.name = "side2".to_owned();
    pod.init_containers.as_mut().unwrap().push(second);
    jobs(&cluster).create(&PostParams::default(), &two).await.unwrap();
    let pod = cluster.wait("Running", |cluster| cluster.pod_in_phase("bot-1", "Running")).await.unwrap();
    assert!(cluster.delete_pod(&pod, None));
    let mut stopped = Vec::new();
    loop {
        match events.recv().await.unwrap() {
            PodEvent::ContainerTerminating { container, .. } => stopped.push(container),
            PodEvent::PodGone { .. } => break,
            _ => {}
        }
    }
    assert_eq!(stopped, ["main", "side2", "side"]);
}

#[tokio::test]
async fn a_pod_is_moved_by_hand() {
    let cluster = Cluster::builder().script(PodScript::Manual).start().await.unwrap();
    let jobs = jobs(&cluster);
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    let pod = cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-1", "Pending")).await.unwrap();
    assert!(cluster.schedule(&pod));
    assert!(cluster.start_pod(&pod));
    cluster.wait("Running", |cluster| cluster.pod_in_phase("bot-1", "Running")).await.unwrap();
    assert!(cluster.exit(&pod, "main", Exit::code(0)));
    cluster.wait("the end", |cluster| cluster.condition("bot-1", "Complete")).await.unwrap();
    assert!(!cluster.exit("no-such-pod", "main", Exit::code(0)));
}

#[tokio::test]
async fn backoff_limit_and_ttl_do_what_they_say() {
    let cluster = Cluster::builder().script(PodScript::FailMain(1, Duration::ZERO)).start().await.unwrap();
    let mut twice = job("bot-1");
    let spec = twice.spec.as_mut().unwrap();
    (spec.backoff_limit, spec.ttl_seconds_after_finished) = (Some(1), Some(20));
    jobs(&cluster).create(&PostParams::default(), &twice).await.unwrap();
    let look = |cluster: &Cluster| cluster.job("bot-1").filter(|job| job["status"]["failed"] == 2);
    cluster.wait("the second failure", look).await.unwrap();
    cluster.wait("the end of its time", |cluster| cluster.job("bot-1").is_none().then_some(())).await.unwrap();
    assert!(cluster.pods().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_live_at_once() {
    let cluster = Cluster::start().await.unwrap();
    let jobs = jobs(&cluster);
    let creations = futures::stream::iter(0..1_000).map(|number| {
        let jobs = jobs.clone();
        async move { jobs.create(&PostParams::default(), &job(&format!("bot-{number}"))).await.unwrap() }
    });
    assert_eq!(creations.buffer_unordered(16).count().await, 1_000);
    let running = |cluster: &Cluster| {
        let running = cluster.pods().iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        (running == 1_000).then_some(())
    };
    cluster.wait("a thousand pods", running).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(jobs.clone().into_client(), "bots");
    let mut pages = 0;
    let mut parameters = ListParams::default().labels("app=bot").limit(300);
    loop {
        let page = pods.list(&parameters).await.unwrap();
        pages += page.items.len();
        let Some(next) = page.metadata.continue_.filter(|token| !token.is_empty()) else { break };
        parameters = parameters.continue_token(&next);
    }
    assert_eq!((pages, cluster.request_count(Verb::Create, Resource::Jobs)), (1_000, 1_000));
    let foreground = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let all = ListParams::default().labels("app=bot");
    jobs.delete_collection(&foreground, &all).await.unwrap();
    cluster
        .wait("no pod and no Job", |cluster| (cluster.jobs().is_empty() && cluster.pods().is_empty()).then_some(()))
        .await
        .unwrap();
}
