//! Deletion and creation of the same name: 05-*.

use std::time::Duration;

use tests::kubernetes::{Cluster, OnTerm, PodScript, Timing};

use super::recording::{Recorded, json_lines, requests};
use super::replay::{Replay, create_like_first, recorded_cluster};
use super::story::{Story, condition, gone, plan, ready, status};

#[tokio::test]
async fn deletions_and_recreations_go_as_recorded() {
    // The controllers are slow enough for the requests that come before them.
    let ms = Duration::from_millis;
    let timing = Timing { collect: ms(400), job_create: ms(150), ..Timing::default() };
    let mut story = Story::begin("05-recreate", timing).await;
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
    let mut story = Story::begin("05-recreate-force", Timing::default()).await;
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
    let mut story = Story::begin("05-recreate-safe", timing).await;
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
    let mut story = Story::begin("05-cancel-protocol", Timing::default()).await;
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
    let mut replay = Replay::new("05-recreate-race", cluster.clone());
    for recorded in requests("05-recreate-race") {
        replay.send(&recorded).await;
    }
    replay.finish();
}

#[tokio::test]
async fn a_stalled_job_looks_as_recorded() {
    let cluster = recorded_cluster(Timing::default()).await;
    cluster.script("stall-ba-5", PodScript::Stalled);
    let mut replay = Replay::new("05-recreate-stall", cluster.clone());
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
