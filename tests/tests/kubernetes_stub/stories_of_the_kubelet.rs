//! Sidecars, pods that never start, a lost node: 06-sidecars, 07-stuck, 08-node-lost.

use std::time::Duration;

use serde_json::{Value, json};
use tests::kubernetes::{Cluster, Exit, OnTerm, Plan, PodScript, Start, Timing};

use super::recording::requests;
use super::story::{AFTER_MAIN, Story, condition, gone, plan, ready, status, waits};

#[tokio::test]
async fn sidecars_go_as_recorded() {
    let ms = Duration::from_millis;
    let mut story = Story::begin("06-sidecars", Timing::default()).await;
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
    let mut story = Story::begin("07-stuck", Timing::default()).await;
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
    let timing = Timing { second: ms(8), ..Timing::default() };
    let mut story = Story::begin("08-node-lost", timing).await;
    story.cluster.script("n11-policy-exit0", PodScript::RunUntilTerminated(0));
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
            for job in ["n3-default-300s", "n10-ends-itself-forever", "n11-policy-exit0", "n12-suspend", "n7-deadline"] {
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
        16 => {
            condition(cluster, "n7-deadline", "FailureTarget").await;
            // Unseen by the cluster, main ends.
            for job in ["n9-ends-itself", "n10-ends-itself-forever"] {
                assert!(cluster.exit(&cluster.pod_in_phase(job, "Running").unwrap(), "main", Exit::code(0)));
            }
        }
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
