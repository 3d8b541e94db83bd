//! A ResourceQuota that is used up, in both of its forms: the bot waits in the queue, and nothing is given up because of it.

use std::sync::Arc;
use std::time::Duration;

use bot_model::capacity::ledger::Refusal;
use bot_model::ids::InstanceId;
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::listing::{Listed, Listing};
use bot_store::protocol::settle::settle;
use bot_store::protocol::{Advanced, Note, exhaustion};
use chrono::Utc;
use controller::engine::Engine;
use controller::launch::kubernetes::KubernetesLauncher;
use controller::launch::{LaunchError, Launched, Launcher as _, RunState};
use tests::kubernetes::{Effect, Fault, PodScript, Quota, Resource, Verb};

use crate::site::{Site, find, pace, until};

const ONE_JOB: Quota = Quota { jobs: Some(1), pods: None };
const ONE_POD: Quota = Quota { jobs: None, pods: Some(1) };

/// What the loops do, once.
async fn look(controller: &Engine) {
    controller.reap(Utc::now()).await.unwrap();
    controller.claim(Utc::now()).await.unwrap();
}

/// One bot runs, which is as many as there may be, and another one waits for its place.
async fn full(quota: Quota) -> (Site, Arc<Engine>, Arc<KubernetesLauncher>, InstanceId, InstanceId) {
    let site = Site::new().await;
    let (controller, launcher) = site.controller("c", pace()).await;
    let first = site.queue("b1").await;
    controller.claim(Utc::now()).await.unwrap();
    site.cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-b1", "Running")).await.unwrap();
    site.cluster.set_quota(quota);
    let second = site.queue("b2").await;
    until("the second one to wait", || async {
        look(&controller).await;
        let instance = site.record(&second).await.instance;
        let waits = instance.phase == Phase::Queued && instance.facts.waits_for.is_some();
        (waits && site.cluster.job("bot-b2").is_none()).then_some(())
    })
    .await;
    (site, controller, launcher, first, second)
}

async fn events(site: &Site, kind: &str) -> usize {
    let outbox = site.store.list(&Listing::oldest(Listed::Outbox), None, 500).await.unwrap().records;
    outbox.iter().filter(|record| record.fields["type"] == kind).count()
}

/// A bot ends, and so does its pod.
async fn ends(site: &Site, id: &InstanceId, job: &str) {
    let (record, outcome) = (site.record(id).await, Outcome::new(OutcomeKind::Cancelled));
    let note = Note::new("manager", "ended");
    let settled = settle(site.store.as_ref(), &record, Step::Cancel, outcome, Vec::new(), note, Utc::now()).await.unwrap();
    assert!(matches!(settled, Advanced::Applied(_)), "{settled:?}");
    let pod = site.cluster.pods_of(job)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(site.cluster.delete_pod(&pod, None));
}

async fn is_launched(site: &Site, controller: &Engine, id: &InstanceId) {
    until("the place", || async {
        look(controller).await;
        (site.record(id).await.instance.phase == Phase::Launched).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bot_whose_job_a_quota_refuses_waits_in_the_queue_and_the_others_are_not_even_tried() {
    let (site, controller, launcher, first, second) = full(ONE_JOB).await;
    let waiting = site.record(&second).await.instance;
    assert_eq!((waiting.phase, waiting.facts.attempt), (Phase::Queued, 1));
    assert_eq!(waiting.facts.waits_for.map(|known| known.limit), Some(Refusal::Cluster));
    assert!(launcher.is_held_back());
    let (asked, begun) = (site.cluster.request_count(Verb::Create, Resource::Jobs), std::time::Instant::now());
    let third = site.queue("b3").await;
    for _ in 0..5 {
        look(&controller).await;
    }
    let extra = site.cluster.request_count(Verb::Create, Resource::Jobs) - asked;
    let allowed = 1 + usize::try_from(begun.elapsed().as_secs() / 5).unwrap();
    assert!(extra <= allowed, "{extra} requests while launches are held back");
    assert_eq!(site.record(&third).await.instance.phase, Phase::Queued);
    let told = until("the alert", || async {
        look(&controller).await;
        exhaustion::read(site.store.as_ref()).await.unwrap().reason
    })
    .await;
    assert_eq!((told, events(&site, "capacity.exhausted").await), (Refusal::Cluster, 1));
    // The quota counts the Job until it is deleted; the next one is launched as soon as that is seen.
    ends(&site, &first, "bot-b1").await;
    use kube::api::{Api, DeleteParams};
    let jobs: Api<k8s_openapi::api::batch::v1::Job> = Api::namespaced(site.cluster.client().unwrap(), "bots");
    site.cluster.wait("the Job's end", |cluster| cluster.condition("bot-b1", "Failed")).await.unwrap();
    jobs.delete("bot-b1", &DeleteParams::foreground()).await.unwrap();
    is_launched(&site, &controller, &second).await;
    assert_eq!(site.record(&third).await.instance.phase, Phase::Queued, "first come, first served");
    assert_eq!((events(&site, "bot.failed").await, events(&site, "bot.missed").await), (0, 0));
}

#[tokio::test]
async fn a_bot_whose_pod_a_quota_refuses_is_taken_back_into_the_queue_and_sent_when_a_pod_has_ended() {
    let (site, controller, launcher, first, second) = full(ONE_POD).await;
    let waiting = site.record(&second).await.instance;
    assert_eq!((waiting.phase, waiting.facts.attempt, waiting.facts.job_name.clone()), (Phase::Queued, 1, None));
    assert_eq!(waiting.facts.waits_for.map(|known| known.limit), Some(Refusal::Cluster));
    let timeline = site.store.events(&second).await.unwrap();
    let withdrawn = timeline.iter().find(|line| line.fields["event"] == "withdrawn").expect("on the timeline");
    assert!(withdrawn.fields["detail"].as_str().unwrap().contains("exceeded quota: bots"), "{withdrawn:?}");
    assert!(launcher.is_held_back());
    ends(&site, &first, "bot-b1").await;
    until("the pod", || async {
        look(&controller).await;
        site.cluster.pod_in_phase("bot-b2", "Running")
    })
    .await;
    is_launched(&site, &controller, &second).await;
    let sent = site.record(&second).await.instance;
    assert_eq!((sent.facts.attempt, sent.facts.waits_for), (1, None), "and it waits for nothing any more");
}

#[tokio::test]
async fn the_time_between_tries_grows_and_a_quota_that_was_raised_is_found_by_one_of_them() {
    let (site, controller, launcher, _, second) = full(ONE_JOB).await;
    site.cluster.set_quota(Quota::default());
    is_launched(&site, &controller, &second).await;
    until("no hold", || async { (!launcher.is_held_back()).then_some(()) }).await;
}

#[tokio::test]
async fn a_bot_that_waits_under_a_quota_until_it_is_too_late_had_no_capacity_whoever_saw_it_wait() {
    let (site, controller, _, _, second) = full(ONE_JOB).await;
    drop(controller);
    let write = bot_store::Write::merge_existing(
        bot_store::DocumentKey::Instance(second.clone()),
        serde_json::json!({"end_time": Utc::now() - chrono::TimeDelta::seconds(1)}).as_object().unwrap().clone(),
    );
    assert!(site.store.commit(vec![write]).await.unwrap().is_applied());
    // Another controller, which never saw it wait, with all the room there is.
    site.cluster.set_quota(Quota::default());
    let (next, _) = site.controller("next", pace()).await;
    next.claim(Utc::now()).await.unwrap();
    let ended = site.record(&second).await.instance;
    assert_eq!((ended.phase, ended.facts.outcome.unwrap().kind), (Phase::Failed, OutcomeKind::NoCapacity));
}

#[tokio::test]
async fn a_missing_right_is_a_mistake_and_holds_nobody_back() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    site.cluster.inject(Fault::refuse(403).on(Verb::Create, Resource::Jobs).times(1));
    let error = launcher.launch(&site.spec("b1").await).await.unwrap_err();
    assert!(matches!(error, LaunchError::Refused { status: 403, .. }), "{error}");
    assert!(!launcher.is_held_back());
    assert_eq!(launcher.launch(&site.spec("b2").await).await.unwrap(), Launched::Started);
}

#[tokio::test]
async fn a_launch_whose_answer_was_lost_finds_its_own_job_although_it_used_up_the_quota() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    site.cluster.set_quota(ONE_JOB);
    // The second try is refused by the quota, which the first one filled.
    let lost = site.cluster.inject(Fault::new(Effect::LoseAnswer).on(Verb::Create, Resource::Jobs).times(1));
    let hidden = site.cluster.inject(Fault::refuse(404).on(Verb::Get, Resource::Jobs).times(1));
    assert_eq!(launcher.launch(&site.spec("b1").await).await.unwrap(), Launched::Started);
    assert_eq!((lost.count(), hidden.count(), site.cluster.jobs().len()), (1, 1, 1));
    assert!(!launcher.is_held_back());
}

#[tokio::test]
async fn the_job_of_an_earlier_attempt_makes_room_for_the_next_one() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let first = site.claim("b1").await;
    let spec = controller::launch::LaunchSpec::new(&first, controller::launch::RunCommand::Record);
    site.cluster.script("bot-b1", PodScript::FailMain(72, Duration::from_millis(20)));
    launcher.launch(&spec).await.unwrap();
    until("its end", || async { find(launcher.as_ref(), &spec.key()).await.filter(|run| run.state.is_over()) }).await;
    site.cluster.set_quota(ONE_JOB);
    site.cluster.script("bot-b1", PodScript::RunUntilTerminated(143));
    let second = controller::launch::LaunchSpec::new(&site.next_attempt(&first).await, controller::launch::RunCommand::Record);
    assert_eq!(launcher.launch(&second).await.unwrap(), Launched::Started);
    until("the second one", || async {
        find(launcher.as_ref(), &second.key()).await.filter(|run| run.state == RunState::Running)
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_forbids_the_pod_is_told_in_its_words_and_is_no_want_of_room() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let spec = site.spec("b1").await;
    site.cluster.script("bot-b1", PodScript::PodSecurityDenied);
    launcher.launch(&spec).await.unwrap();
    until("the policy's words", || async {
        let seen = find(launcher.as_ref(), &spec.key()).await?;
        seen.trouble.filter(|trouble| trouble.detail.contains("violates PodSecurity"))
    })
    .await;
    assert!(!launcher.is_held_back());
}
