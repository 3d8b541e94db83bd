//! The launcher's conformance, and what Kubernetes alone can do to it.

use bot_model::exit_code::ExitCode;
use controller::launch::{LaunchError, LaunchSpec, Launched, Launcher, RunCommand, RunState, Tail, conformance};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, PropagationPolicy};
use tests::kubernetes::{PodEvent, PodScript, Resource, Verb};

use crate::site::{CANARY, Site, find, until};

#[tokio::test]
async fn the_launchers_conformance_suite_passes() {
    let site = Site::new().await;
    let launcher = site.launcher(&[("MAX_LIVE_BOTS", "2")]).await;
    let launcher = launcher.as_ref();
    conformance::what_was_launched_is_listed(launcher, &site.claim("b1").await).await;
    conformance::a_second_launch_finds_the_first(launcher, &site.claim("b2").await).await;
    conformance::launches_at_once_start_one_run(launcher, &site.claim("b3").await).await;
    let first = site.claim("b4").await;
    let second = site.next_attempt(&first).await;
    conformance::another_attempt_waits_for_the_old_one(launcher, &first, &second).await;
    conformance::only_what_is_over_is_removed(launcher, &site.claim("b5").await).await;
    let three = [site.claim("b6").await, site.claim("b7").await, site.claim("b8").await];
    conformance::the_number_of_runs_is_bounded(launcher, &three).await;
    conformance::a_finalize_run_is_a_run(launcher, &site.claim("b9").await).await;
}

#[tokio::test]
async fn one_request_launches_and_nothing_of_the_document_is_in_the_cluster() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    site.cluster.clear_requests();
    launcher.launch(&site.spec("b1").await).await.unwrap();
    let changing =
        site.cluster.requests().into_iter().filter(|request| request.verb != Verb::Watch && request.verb != Verb::List);
    assert_eq!(changing.count(), 1);
    site.cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-b1", "Running")).await.unwrap();
    let all = [site.cluster.jobs(), site.cluster.pods(), site.cluster.objects(Resource::Events)].concat();
    let text = serde_json::to_string(&all.iter().map(|object| object.as_ref()).collect::<Vec<_>>()).unwrap();
    assert!(text.contains("b1") && !text.contains(CANARY) && !text.contains("zoom.us") && !text.contains("123456789"), "{text}");
}

#[tokio::test]
async fn a_manager_of_somebody_else_is_told_the_call_only_where_the_switch_asks_for_it() {
    let site = Site::new().await;
    let launcher = site.launcher(&[("LEGACY_MANAGER_ENV", "true")]).await;
    launcher.launch(&site.spec("b1").await).await.unwrap();
    let job = site.cluster.job("bot-b1").unwrap();
    let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
    let value = |name: &str| env.iter().find(|one| one["name"] == name).map(|one| one["value"].as_str().unwrap().to_owned());
    assert!(value("MEETING_URL").unwrap().contains(CANARY));
    assert_eq!(value("MEETING_ID").as_deref(), Some("b1"));
}

#[tokio::test]
async fn the_exit_code_of_the_manager_is_the_runs() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    for code in [ExitCode::Settled, ExitCode::Fenced, ExitCode::FinalizeNeeded, ExitCode::RefusedBeforeJoin] {
        let code = i32::from(code.code());
        let spec = site.spec(&format!("b{code}")).await;
        site.cluster.script(spec.key().job.as_str(), PodScript::FailMain(code, std::time::Duration::from_millis(5)));
        launcher.launch(&spec).await.unwrap();
        let state = until("the end", || async {
            find(launcher.as_ref(), &spec.key()).await.map(|run| run.state).filter(|state| state.is_over())
        });
        assert_eq!(state.await, RunState::Ended { code: Some(code) });
    }
}

#[tokio::test]
async fn a_restarted_controller_finds_the_runs_of_the_one_before() {
    let site = Site::new().await;
    let spec = site.spec("b1").await;
    site.launcher(&[]).await.launch(&spec).await.unwrap();
    let after = site.launcher(&[]).await;
    assert!(!find(after.as_ref(), &spec.key()).await.unwrap().state.is_over());
    assert_eq!(after.launch(&spec).await.unwrap(), Launched::AlreadyThere);
}

#[tokio::test]
async fn the_jobs_of_another_store_are_not_ours() {
    let site = Site::new().await;
    let (ours, theirs) = (site.launcher(&[]).await, site.launcher(&[("GCP_PROJECT_ID", "other")]).await);
    let spec = site.spec("b1").await;
    theirs.launch(&spec).await.unwrap();
    assert!(matches!(ours.launch(&spec).await, Err(LaunchError::Foreign { .. })));
    assert_eq!(ours.list().await.unwrap(), vec![]);
}

/// Between attempts the pods of a job are watched: at no moment may two of them be alive.
#[tokio::test]
async fn a_new_attempt_takes_the_old_ones_place_and_never_beside_it() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let mut events = site.cluster.pod_events();
    let mut claimed = site.claim("b1").await;
    for _ in 0..4 {
        let spec = LaunchSpec::new(&claimed, RunCommand::Record);
        until("the launch", || async {
            match launcher.launch(&spec).await {
                Ok(launched) => Some(launched),
                Err(LaunchError::OtherAttemptAlive { .. }) => None,
                Err(other) => panic!("{other}"),
            }
        })
        .await;
        site.cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-b1", "Running")).await.unwrap();
        assert_eq!(site.cluster.pods_of("bot-b1").len(), 1, "the old pod is still there");
        launcher.stop(&spec.key()).await.unwrap();
        claimed = site.next_attempt(&claimed).await;
    }
    let mut started = 0;
    while let Ok(event) = events.try_recv() {
        started += i32::from(matches!(event, PodEvent::PodStarted { .. }));
    }
    assert_eq!(started, 4);
}

#[tokio::test]
async fn a_job_deleted_by_hand_that_leaves_its_pod_keeps_the_next_attempt_out() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let first = site.claim("b1").await;
    let spec = LaunchSpec::new(&first, RunCommand::Record);
    launcher.launch(&spec).await.unwrap();
    site.cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-b1", "Running")).await.unwrap();
    let jobs: Api<Job> = Api::namespaced(site.cluster.client().unwrap(), "bots");
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    jobs.delete("bot-b1", &orphan).await.unwrap();
    site.cluster.wait("the Job's end", |cluster| cluster.job("bot-b1").is_none().then_some(())).await.unwrap();
    let second = LaunchSpec::new(&site.next_attempt(&first).await, RunCommand::Record);
    assert!(matches!(launcher.launch(&second).await, Err(LaunchError::OtherAttemptAlive { attempt: 1 })));
    assert!(!launcher.is_absent(&spec.key()).await.unwrap());
    let orphan = find(launcher.as_ref(), &spec.key()).await.unwrap();
    assert_eq!(orphan.state, RunState::Running, "a pod without a Job may be in the call");
    // Its pod ends: now the way is free.
    let pods: Api<Pod> = Api::namespaced(site.cluster.client().unwrap(), "bots");
    let pod = site.cluster.pods_of("bot-b1")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    pods.delete(&pod, &DeleteParams::default()).await.unwrap();
    until("the launch", || async { launcher.launch(&second).await.ok() }).await;
}

#[tokio::test]
async fn a_job_that_is_deleted_by_hand_is_lost_and_then_absent() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let spec = site.spec("b1").await;
    launcher.launch(&spec).await.unwrap();
    site.cluster.wait("the pod", |cluster| cluster.pod_in_phase("bot-b1", "Running")).await.unwrap();
    let jobs: Api<Job> = Api::namespaced(site.cluster.client().unwrap(), "bots");
    jobs.delete("bot-b1", &DeleteParams::foreground()).await.unwrap();
    until("its absence", || async { launcher.is_absent(&spec.key()).await.unwrap().then_some(()) }).await;
    until("its absence in the picture", || async { find(launcher.as_ref(), &spec.key()).await.is_none().then_some(()) }).await;
}

#[tokio::test]
async fn a_run_without_a_pod_is_stopped_by_its_job() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let spec = site.spec("b1").await;
    site.cluster.script("bot-b1", PodScript::Stalled);
    launcher.launch(&spec).await.unwrap();
    assert_eq!(find(launcher.as_ref(), &spec.key()).await.unwrap().state, RunState::Pending);
    launcher.stop(&spec.key()).await.unwrap();
    until("its absence", || async { launcher.is_absent(&spec.key()).await.unwrap().then_some(()) }).await;
}

#[tokio::test]
async fn the_logs_of_a_run_s_containers_are_given_out_and_one_that_waits_says_so() {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let spec = site.spec("b1").await;
    let tail = Tail { lines: 2, bytes: 1_000 };
    assert_eq!(launcher.logs(&spec.key(), tail).await.unwrap(), None);
    site.cluster.script("bot-b1", PodScript::SidecarNeverStarts);
    launcher.launch(&spec).await.unwrap();
    let started = |cluster: &tests::kubernetes::Cluster| {
        let pod = cluster.pods_of("bot-b1").first().cloned()?;
        pod.pointer("/status/initContainerStatuses/0/state/running").map(|_| pod["metadata"]["name"].as_str().unwrap().to_owned())
    };
    let pod = site.cluster.wait("the sidecar", started).await.unwrap();
    site.cluster.write_log(&pod, "meeting-bot", &["one", "two", "three"]);
    let logs = launcher.logs(&spec.key(), tail).await.unwrap().unwrap();
    let texts: Vec<_> = logs.iter().map(|log| (log.program.as_str(), log.text.as_str())).collect();
    let [("meeting-bot", "two\nthree\n"), ("manager", waits)] = texts.as_slice() else { panic!("{texts:?}") };
    assert!(waits.contains("waiting to start"), "{waits}");
}
