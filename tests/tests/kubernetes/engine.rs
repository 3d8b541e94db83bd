//! The controller's loops over Jobs: claims, troubles, typed outcomes.

use std::sync::Arc;
use std::time::Duration;

use bot_model::document::RecordingProgress;
use bot_model::ids::InstanceId;
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::OutcomeKind;
use bot_store::protocol::run::{Bind, Purpose, bind, renew};
use bot_store::protocol::{Advanced, Note, advance};
use chrono::Utc;
use controller::engine::Engine;
use controller::launch::Launcher as _;
use tests::kubernetes::{Effect, Fault, PodScript, Resource, Verb};

use crate::site::{Site, pace, until};

/// Claims and reaps until the instance is in a phase.
async fn reaches(site: &Site, controllers: &[&Arc<Engine>], id: &InstanceId, phase: Phase) {
    until(phase.as_str(), || async {
        for controller in controllers {
            controller.claim(Utc::now()).await.unwrap();
            controller.reap(Utc::now()).await.unwrap();
        }
        (site.record(id).await.instance.phase == phase).then_some(())
    })
    .await;
}

/// What a manager in the call has written.
async fn records(site: &Site, id: &InstanceId) {
    let attempt = site.record(id).await.instance.facts.attempt;
    let Bind::Bound(record) = bind(site.store.as_ref(), id, (attempt, "pod"), Purpose::Record, Utc::now()).await.unwrap() else {
        panic!("not bound")
    };
    let Advanced::Applied(record) =
        advance(site.store.as_ref(), &record, Step::Record, Note::new("manager", "recording"), Utc::now(), |_| {}).await.unwrap()
    else {
        panic!("not recording")
    };
    let progress = RecordingProgress { started_at: Utc::now(), ended_at: None, parts: 1, segments: 3, bytes: 1 };
    renew(site.store.as_ref(), &record, Some(&progress), Utc::now()).await.unwrap();
}

#[tokio::test]
async fn two_controllers_launch_each_instance_once() {
    let site = Site::new().await;
    let (one, _) = site.controller("one", pace()).await;
    let (two, _) = site.controller("two", pace()).await;
    let mut ids = Vec::new();
    for index in 0..12 {
        ids.push(site.queue(&format!("b{index}")).await);
    }
    for _ in 0..3 {
        let (a, b) = tokio::join!(one.claim(Utc::now()), two.claim(Utc::now()));
        a.unwrap();
        b.unwrap();
    }
    for id in &ids {
        assert_eq!(site.record(id).await.instance.phase, Phase::Launched, "{id}");
    }
    assert_eq!(site.cluster.request_count(Verb::Create, Resource::Jobs), 12);
}

#[tokio::test]
async fn a_pod_that_cannot_start_in_time_ends_with_kubernetes_own_reason_on_the_document() {
    for (script, kind, word) in [
        (PodScript::NeverSchedule, OutcomeKind::NoCapacity, "Unschedulable"),
        (PodScript::ImagePullBackOff, OutcomeKind::ImagePullFailed, "Pull"),
        (PodScript::CreateContainerConfigError, OutcomeKind::LaunchFailed, "CreateContainerConfigError"),
    ] {
        let site = Site::new().await;
        let mut pace = pace();
        pace.window.max_late = Duration::from_secs(2);
        let (controller, _) = site.controller("c", pace).await;
        site.cluster.script("bot-b1", script.clone());
        let id = site.queue("b1").await;
        let start = Utc::now();
        set_start(&site, &id, start).await;
        reaches(&site, &[&controller], &id, Phase::Failed).await;
        let outcome = site.record(&id).await.instance.facts.outcome.unwrap();
        assert_eq!(outcome.kind, kind, "{}", outcome.message);
        assert!(outcome.message.contains(word), "{}", outcome.message);
        until("no Job", || async {
            controller.reap(Utc::now()).await.unwrap();
            let pods = site.cluster.pods_of("bot-b1");
            pods.iter().all(|pod| pod["status"]["phase"] == "Failed").then_some(())
        })
        .await;
    }
}

async fn set_start(site: &Site, id: &InstanceId, start: chrono::DateTime<Utc>) {
    let fields = serde_json::json!({ "start_time": start });
    let write =
        bot_store::Write::merge_existing(bot_store::DocumentKey::Instance(id.clone()), fields.as_object().unwrap().clone());
    assert!(site.store.commit(vec![write]).await.unwrap().is_applied());
}

#[tokio::test]
async fn an_evicted_bot_joins_again_and_the_timeline_says_why() {
    let site = Site::new().await;
    let (controller, _) = site.controller("c", pace()).await;
    let id = site.queue("b1").await;
    site.cluster.script("bot-b1", PodScript::Evicted(Duration::from_millis(400), 143));
    reaches(&site, &[&controller], &id, Phase::Launched).await;
    records(&site, &id).await;
    site.cluster.choose_scripts(|_| PodScript::RunUntilTerminated(143));
    until("the second attempt", || async {
        controller.reap(Utc::now()).await.unwrap();
        let instance = site.record(&id).await.instance;
        (instance.facts.attempt == 2 && instance.phase == Phase::Launched).then_some(())
    })
    .await;
    let events = site.store.events(&id).await.unwrap();
    let text = serde_json::to_string(&events.iter().map(|record| record.fields.clone()).collect::<Vec<_>>()).unwrap();
    assert!(text.contains("evicted: EvictionByEvictionAPI"), "{text}");
    assert_eq!(site.cluster.jobs().len(), 1);
}

#[tokio::test]
async fn a_bot_on_a_lost_node_is_reported_and_not_replaced() {
    let site = Site::new().await;
    let (controller, launcher) = site.controller("c", pace()).await;
    let id = site.queue("b1").await;
    site.cluster.script("bot-b1", PodScript::NodeLost(Duration::from_millis(300), None));
    reaches(&site, &[&controller], &id, Phase::Launched).await;
    records(&site, &id).await;
    until("the node's loss", || async { launcher.list().await.unwrap().into_iter().find(|run| run.trouble.is_some()) }).await;
    for _ in 0..5 {
        controller.reap(Utc::now()).await.unwrap();
    }
    let instance = site.record(&id).await.instance;
    assert_eq!((instance.facts.attempt, instance.phase), (1, Phase::Recording));
    assert_eq!(site.cluster.request_count(Verb::Create, Resource::Jobs), 1);
    assert!(controller.metrics.encode().contains("node_lost"));
}

/// The one controller's watch breaks before the other launches: its picture has no Job, and the document has a run.
#[tokio::test]
async fn an_absence_that_is_only_in_the_picture_launches_nothing() {
    let site = Site::new().await;
    let (seeing, _) = site.controller("seeing", pace()).await;
    let (blind, launcher) = site.controller("blind", pace()).await;
    site.cluster.inject(Fault::refuse(403).on(Verb::Watch, Resource::Jobs).times(10_000));
    site.cluster.inject(Fault::refuse(403).on(Verb::Watch, Resource::Pods).times(10_000));
    site.cluster.cut_watches(None);
    until("the blind one's trouble", || async { launcher.ready().await.err() }).await;
    let id = site.queue("b1").await;
    seeing.claim(Utc::now()).await.unwrap();
    assert_eq!(site.record(&id).await.instance.phase, Phase::Launched);
    records(&site, &id).await;
    assert!(launcher.list().await.unwrap().is_empty(), "the blind one sees no run");
    for _ in 0..5 {
        blind.reap(Utc::now()).await.unwrap();
    }
    let instance = site.record(&id).await.instance;
    assert_eq!((instance.facts.attempt, instance.phase), (1, Phase::Recording));
    assert_eq!(site.cluster.request_count(Verb::Create, Resource::Jobs), 1);
    // The negative control: with the Job really gone, the same look launches again.
    use kube::api::{Api, DeleteParams};
    let jobs: Api<k8s_openapi::api::batch::v1::Job> = Api::namespaced(site.cluster.client().unwrap(), "bots");
    jobs.delete("bot-b1", &DeleteParams::foreground()).await.unwrap();
    until("the second attempt", || async {
        blind.reap(Utc::now()).await.unwrap();
        (site.record(&id).await.instance.facts.attempt == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_costs_no_claim_and_no_second_job() {
    let site = Site::new().await;
    let (controller, _) = site.controller("c", pace()).await;
    let id = site.queue("b1").await;
    let lost = site.cluster.inject(Fault::new(Effect::LoseAnswer).on(Verb::Create, Resource::Jobs).times(1));
    let hidden = site.cluster.inject(Fault::refuse(500).on(Verb::Get, Resource::Jobs).times(2));
    reaches(&site, &[&controller], &id, Phase::Launched).await;
    assert_eq!((lost.count(), hidden.count()), (1, 2));
    assert_eq!(site.cluster.jobs().len(), 1);
    assert_eq!(site.cluster.pods().len(), 1);
}
