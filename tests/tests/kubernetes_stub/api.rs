//! The API scenarios, request by request: 01-api, 09-watch, 10-patch-suspend-apply.

use std::time::Duration;

use serde_json::{Value, json};
use tests::kubernetes::{Cluster, OnTerm, Plan, PodScript, Timing};
use tokio::task::JoinHandle;

use super::recording::{Recorded, requests};
use super::replay::{Replay, create_like_first, events_of, recorded_cluster};
use super::story::{compare_lives, condition, gone, ready, without_pods};

fn request_seconds(length: Duration) -> Timing {
    Timing { request_second: length, ..Timing::default() }
}

#[tokio::test]
async fn the_api_answers_as_recorded() {
    let cluster = recorded_cluster(request_seconds(Duration::from_millis(20))).await;
    let mut replay = Replay::new("01-api", cluster.clone());
    for recorded in requests("01-api") {
        match recorded.index {
            3 => condition(&cluster, "api-1", "Suspended").await,
            9 => {
                for name in ["api-2", "api-3", "api-4", "api-5"] {
                    create_like_first(&replay, name, |job| {
                        job["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh", "-c", "true"]);
                    })
                    .await;
                    condition(&cluster, name, "Suspended").await;
                }
            }
            64 => gone(&cluster, "api-1").await,
            _ => {}
        }
        replay.send(&recorded).await;
    }
    compare_lives(&cluster, "01-api").await;
    replay.finish();
}

#[tokio::test]
async fn watches_go_as_recorded() {
    let cluster = recorded_cluster(request_seconds(Duration::from_millis(100))).await;
    let mut replay = Replay::new("09-watch", cluster.clone());
    let (mut open, mut quiet) = (Vec::new(), Vec::new());
    for recorded in requests("09-watch") {
        if recorded.index == 21 {
            // The Jobs of the second half come when the watches of the first are over.
            compare_watches(&mut replay, std::mem::take(&mut open)).await;
        }
        before_watch_request(&cluster, &replay, &recorded).await;
        if !recorded.is_watch() {
            replay.send(&recorded).await;
            continue;
        }
        // Every watch lasts about as long, the long ones in which nothing happens too.
        let is_quiet = matches!(recorded.index, 30 | 31);
        let timeout = recorded.line["query"]["timeoutSeconds"].as_str().and_then(|text| text.parse().ok()).unwrap_or(1);
        cluster.set_timing(request_seconds(Duration::from_millis(1_500) / timeout));
        let response = replay.request(&recorded).send().await.unwrap();
        replay.compare_status(&recorded, response.status().as_u16(), response.headers());
        let body = tokio::spawn(response.text());
        if is_quiet { quiet.push((recorded, body)) } else { open.push((recorded, body)) }
    }
    compare_watches(&mut replay, open).await;
    compare_watches(&mut replay, quiet).await;
    compare_lives(&cluster, "09-watch").await;
    replay.finish();
}

async fn compare_watches(replay: &mut Replay, open: Vec<(Recorded, JoinHandle<reqwest::Result<String>>)>) {
    for (recorded, body) in open {
        let body = body.await.unwrap().unwrap();
        let expected = recorded.line["lines"].as_array().unwrap().clone();
        if recorded.status() == 200 {
            replay.compare_streams(&recorded, &expected, &events_of(&body));
        } else {
            replay.compare(&recorded, &expected[0]["body"], &serde_json::from_str(&body).unwrap());
        }
    }
}

async fn before_watch_request(cluster: &Cluster, replay: &Replay, recorded: &Recorded) {
    match recorded.index {
        // The list comes when the controller has seen both Jobs.
        1 => condition(cluster, "w-1", "Suspended").await,
        2 => condition(cluster, "w-2", "Suspended").await,
        // A watch from before sees everything up to the last of the Jobs made meanwhile.
        20 => gone(cluster, "w-2").await,
        22 => condition(cluster, "w-3", "Suspended").await,
        23 => condition(cluster, "w-4", "Suspended").await,
        24 => condition(cluster, "w-5", "Suspended").await,
        26 => condition(cluster, "w-6", "Suspended").await,
        27 => condition(cluster, "w-7", "Suspended").await,
        34 => {
            for name in ["stall-ba-0", "stall-ba-1", "stall-ba-2"] {
                cluster.script(name, PodScript::NeverSchedule);
                create_like_first(replay, name, waiting_for_a_node).await;
                cluster.wait("its pod", |cluster| (!cluster.pods_of(name).is_empty()).then_some(())).await.unwrap();
            }
        }
        _ => {}
    }
}

/// The Jobs of another scenario, which the last requests list.
fn waiting_for_a_node(job: &mut Value) {
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        job.pointer_mut(labels).unwrap()["rec"] = json!("05-recreate-stall");
    }
    job["spec"]["suspend"] = json!(false);
    job["spec"]["activeDeadlineSeconds"] = json!(3000);
    let spec = &mut job["spec"]["template"]["spec"];
    spec["nodeSelector"] = json!({"none": "such"});
    spec["containers"][0]["command"] = json!([
        "sh",
        "-c",
        "trap 'echo main TERM; sleep 1; echo main exit; exit 143' TERM; echo main start; sleep 3600 & wait $!"
    ]);
}

#[tokio::test]
async fn patches_suspension_and_apply_go_as_recorded() {
    // Sidecars and main take their time, so that the pod is still leaving when its Job is resumed.
    let slow = |code| PodScript::Custom(Plan { on_term: OnTerm::exit_after(code, Duration::from_millis(60)), ..Plan::default() });
    // The second suspension comes before the Job controller has counted the new pod as ready.
    let timing = Timing { job_sync: Duration::from_millis(400), ..Timing::default() };
    let cluster = recorded_cluster(timing).await;
    cluster.script("susp-1", slow(143));
    cluster.script("susp-exit0", slow(0));
    let mut replay = Replay::new("10-patch-suspend-apply", cluster.clone());
    for recorded in requests("10-patch-suspend-apply") {
        before_patch_request(&cluster, &replay, &recorded).await;
        replay.send(&recorded).await;
    }
    compare_lives(&cluster, "10-patch-suspend-apply").await;
    replay.finish();
}

async fn before_patch_request(cluster: &Cluster, replay: &Replay, recorded: &Recorded) {
    match recorded.index {
        3 => condition(cluster, "patch-1", "Suspended").await,
        13 => gone(cluster, "patch-1").await,
        14 => {
            create_like_first(replay, "patch-2", |job| {
                job["spec"]["suspend"] = json!(true);
                job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(10);
                job["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh", "-c", "true"]);
            })
            .await;
            condition(cluster, "patch-2", "Suspended").await;
        }
        29 => condition(cluster, "apply-1", "Suspended").await,
        34 => gone(cluster, "apply-1").await,
        36 => ready(cluster, "susp-1").await,
        37 => ready(cluster, "susp-exit0").await,
        38 => condition(cluster, "susp-1", "Suspended").await,
        39 => without_pods(cluster, "susp-exit0").await,
        40 => second_pod_runs(cluster).await,
        41 => {
            condition(cluster, "susp-1", "Suspended").await;
            without_pods(cluster, "susp-1").await;
        }
        _ => {}
    }
}

/// The pod made after the resumption runs.
async fn second_pod_runs(cluster: &Cluster) {
    let look = |cluster: &Cluster| {
        let pods = cluster.pods_of("susp-1");
        let is_running = |pod: &&std::sync::Arc<Value>| {
            pod["status"]["phase"] == "Running" && pod["metadata"].get("deletionTimestamp").is_none()
        };
        pods.iter().find(is_running).map(|_| ())
    };
    cluster.wait("the second pod of susp-1", look).await.unwrap();
}
