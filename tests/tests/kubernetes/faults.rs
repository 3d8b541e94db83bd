//! An API server that refuses, is slow, loses answers or is away: never a second Job, never a lost one.

use std::time::Duration;

use controller::launch::{LaunchError, Launched, Launcher, RunState};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, PropagationPolicy};
use tests::kubernetes::{Effect, Fault, Resource, Verb};

use crate::site::{Site, find, until};

#[tokio::test]
async fn a_launch_whose_answer_was_lost_recognises_its_own_job() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let lost = site.cluster.inject(Fault::new(Effect::LoseAnswer).on(Verb::Create, Resource::Jobs).times(1));
    assert_eq!(launcher.launch(&site.spec("b1").await).await.unwrap(), Launched::Started);
    assert_eq!((lost.count(), site.cluster.jobs().len()), (1, 1));
}

#[tokio::test]
async fn a_job_whose_answer_was_lost_and_that_was_deleted_by_hand_is_not_made_a_second_time_beside_its_pod() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    site.cluster.inject(Fault::new(Effect::LoseAnswer).on(Verb::Create, Resource::Jobs).times(1));
    // The look after it is late, so that somebody is faster.
    site.cluster.inject(Fault::new(Effect::Delay(Duration::from_secs(3))).on(Verb::Get, Resource::Jobs).times(1));
    let spec = site.spec("b1").await;
    let deleting = async {
        site.cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-b1", "Running")).await.unwrap();
        let jobs: Api<Job> = Api::namespaced(site.cluster.client().unwrap(), "bots");
        let orphaning = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
        jobs.delete("bot-b1", &orphaning).await.unwrap();
        site.cluster.wait("the Job's end", |cluster| cluster.job("bot-b1").is_none().then_some(())).await.unwrap();
    };
    let (launched, ()) = tokio::join!(launcher.launch(&spec), deleting);
    assert_eq!(launched.unwrap(), Launched::Started);
    assert_eq!((site.cluster.jobs_made().len(), site.cluster.pods().len()), (1, 1));
    until("the run", || async { find(launcher.as_ref(), &spec.key()).await.filter(|run| run.state == RunState::Running) }).await;
}

#[tokio::test]
async fn a_server_that_is_busy_or_broken_for_a_while_gets_the_launch_again() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    for (index, code) in [429, 500, 503, 504].into_iter().enumerate() {
        let refused = site.cluster.inject(Fault::refuse(code).on(Verb::Create, Resource::Jobs).times(2));
        let spec = site.spec(&format!("b{index}")).await;
        assert_eq!(launcher.launch(&spec).await.unwrap(), Launched::Started, "{code}");
        assert_eq!(refused.count(), 2, "{code}");
    }
    assert_eq!(site.cluster.jobs().len(), 4);
}

#[tokio::test]
async fn a_refusal_is_told_at_once_and_in_the_servers_words() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    for code in [403, 422, 400] {
        let refused = site.cluster.inject(Fault::refuse(code).on(Verb::Create, Resource::Jobs).times(1));
        let error = launcher.launch(&site.spec(&format!("b{code}")).await).await.unwrap_err();
        assert!(matches!(error, LaunchError::Refused { status, .. } if status == code), "{error}");
        assert_eq!(refused.count(), 1, "{code} is not asked again");
    }
    assert_eq!(site.cluster.jobs().len(), 0);
}

#[tokio::test]
async fn a_connection_that_never_answers_is_given_up_and_the_launch_looked_for() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let hung = site.cluster.inject(Fault::new(Effect::NeverAnswer).on(Verb::Create, Resource::Jobs).times(1));
    assert_eq!(launcher.launch(&site.spec("b1").await).await.unwrap(), Launched::Started);
    assert_eq!((hung.count(), site.cluster.jobs().len()), (1, 1));
}

#[tokio::test]
async fn a_watch_that_breaks_or_is_too_old_is_taken_up_again_without_a_gap() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let first = site.spec("b1").await;
    launcher.launch(&first).await.unwrap();
    site.cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-b1", "Running")).await.unwrap();
    for round in 0..3 {
        match round {
            0 => site.cluster.end_watches(None),
            1 => site.cluster.cut_watches(None),
            _ => {
                site.cluster.compact();
                site.cluster.cut_watches(None);
            }
        }
        let spec = site.spec(&format!("c{round}")).await;
        launcher.launch(&spec).await.unwrap();
        until("the new run", || async {
            find(launcher.as_ref(), &spec.key()).await.filter(|run| run.state == RunState::Running)
        })
        .await;
        assert_eq!(find(launcher.as_ref(), &first.key()).await.unwrap().state, RunState::Running);
    }
    // What ended while no watch was open is seen, too.
    site.cluster.refuse_connections();
    let pod = site.cluster.pods_of("bot-b1")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(site.cluster.delete_pod(&pod, None));
    site.cluster.wait("the Job's end", |cluster| cluster.condition("bot-b1", "Failed")).await.unwrap();
    site.cluster.compact();
    site.cluster.accept_connections();
    until("the end", || async { find(launcher.as_ref(), &first.key()).await.filter(|run| run.state.is_over()) }).await;
}

#[tokio::test]
async fn readiness_tells_of_a_server_that_is_away_or_forbids_the_watch() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    site.cluster.refuse_connections();
    until("not ready", || async { launcher.ready().await.err() }).await;
    site.cluster.accept_connections();
    let forbidden = Site::new().await;
    forbidden.cluster.inject(Fault::refuse(403).on(Verb::List, Resource::Pods).times(1_000));
    let launcher = controller::launch::kubernetes::KubernetesLauncher::reaching(
        forbidden.cluster.config().unwrap(),
        crate::site::jobs_config(&[]),
    )
    .unwrap();
    let error = until("the refusal", || async {
        launcher
            .ready()
            .await
            .err()
            .filter(|error| error.to_string().contains("403") || error.to_string().to_lowercase().contains("forbidden"))
    })
    .await;
    assert!(matches!(error, LaunchError::Unavailable { .. }));
    assert!(launcher.list().await.is_err(), "an unfinished picture is no evidence");
}

#[tokio::test]
async fn two_controllers_that_launch_one_claim_at_once_make_one_job_under_faults() {
    let site = Site::new().await;
    let (one, two) = (site.launcher(&[]).await, site.launcher(&[]).await);
    site.cluster.inject(Fault::new(Effect::LoseAnswer).on(Verb::Create, Resource::Jobs).probability(0.3));
    site.cluster.inject(Fault::refuse(500).on(Verb::Get, Resource::Jobs).probability(0.3));
    for index in 0..10 {
        let spec = site.spec(&format!("b{index}")).await;
        let (a, b) = tokio::join!(one.launch(&spec), two.launch(&spec));
        let started = [&a, &b].into_iter().filter(|answer| matches!(answer, Ok(Launched::Started))).count();
        assert_eq!(started, 1, "{a:?} {b:?}");
    }
    assert_eq!(site.cluster.jobs().len(), 10);
    assert_eq!(site.cluster.pods().len(), 10);
}
