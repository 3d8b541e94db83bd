//! The Kubernetes stub against the real client, and against the recordings of a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "kubernetes_stub/api.rs"]
mod api;
#[path = "kubernetes_stub/recording.rs"]
mod recording;
#[path = "kubernetes_stub/replay.rs"]
mod replay;
#[path = "kubernetes_stub/stories.rs"]
mod stories;
#[path = "kubernetes_stub/transitions.rs"]
mod transitions;

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams, PropagationPolicy};
use kube::runtime::watcher;
use serde_json::json;
use tests::kubernetes::{Cluster, Effect, Fault, PodScript, Resource, Verb};

fn job(name: &str) -> Job {
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

#[tokio::test]
async fn a_job_runs_to_its_end_under_the_real_client() {
    let cluster = Cluster::start().await.unwrap();
    cluster.script("bot-1", PodScript::Succeed(Duration::from_millis(5)));
    let jobs: Api<Job> = Api::namespaced(cluster.client().unwrap(), "bots");
    let mut events = std::pin::pin!(watcher(jobs.clone(), watcher::Config::default()));
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    loop {
        let event = events.next().await.unwrap().unwrap();
        let watcher::Event::Apply(seen) = event else { continue };
        let conditions = seen.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Complete") {
            assert_eq!(conditions[0].type_, "SuccessCriteriaMet");
            break;
        }
    }
    assert_eq!(cluster.request_count(Verb::Create, Resource::Jobs), 1);
}

#[tokio::test]
async fn a_foreground_deletion_holds_the_name_until_the_pod_is_gone() {
    let cluster = Cluster::start().await.unwrap();
    cluster.script("bot-1", PodScript::IgnoreTerm);
    let client = cluster.client().unwrap();
    let (jobs, pods) = (Api::<Job>::namespaced(client.clone(), "bots"), Api::<Pod>::namespaced(client, "bots"));
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
    cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-1", "Running")).await.unwrap();
    let foreground = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    jobs.delete("bot-1", &foreground).await.unwrap();
    let refused = jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));
    assert!(status.message.starts_with("object is being deleted"), "{}", status.message);
    cluster.wait("the Job's end", |cluster| cluster.job("bot-1").is_none().then_some(())).await.unwrap();
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0);
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_leaves_the_write_and_a_refusal_does_not() {
    let cluster = Cluster::start().await.unwrap();
    let jobs: Api<Job> = Api::namespaced(cluster.client().unwrap(), "bots");
    let lost = cluster.inject(Fault::new(Effect::LoseAnswer).on(Verb::Create, Resource::Jobs).times(1));
    jobs.create(&PostParams::default(), &job("bot-1")).await.unwrap_err();
    assert_eq!(lost.count(), 1);
    jobs.get("bot-1").await.unwrap();
    cluster.inject(Fault::refuse(500).on(Verb::Create, Resource::Jobs).times(1));
    jobs.create(&PostParams::default(), &job("bot-2")).await.unwrap_err();
    assert!(jobs.get_opt("bot-2").await.unwrap().is_none());
    jobs.create(&PostParams::default(), &job("bot-2")).await.unwrap();
}
