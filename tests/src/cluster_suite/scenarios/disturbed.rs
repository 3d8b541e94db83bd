//! Bots whose pod is taken from them.

use anyhow::{Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams};
use serde_json::json;

use super::super::history::PodSeen;
use super::super::{Ended, LIMIT, Stage};
use super::call::{LONG, RECORDED};

/// A bot in the waiting room: its Job's name and its pod.
pub(super) async fn waiting(stage: &Stage<'_>) -> Result<(String, PodSeen)> {
    stage.controllers(1, &[]).await?;
    stage.meet(LONG).await?;
    let (instance, pod) = stage.reaches("waiting_room", 1).await?;
    stage.room.wait_for("guest", "waiting", LIMIT).await?;
    Ok((instance.job()?, pod))
}

/// Waits for the second attempt in the waiting room, in a pod of its own, with the first one over.
pub(super) async fn replaced(stage: &Stage<'_>, job: &str, first: &PodSeen) -> Result<PodSeen> {
    let (_, second) = stage.reaches("waiting_room", 2).await?;
    ensure!(second.name != first.name, "the second attempt has the first one's pod");
    stage.room.wait_for("guest", "waiting", LIMIT).await?;
    let pods = stage.history.pods(job);
    ensure!(pods.iter().filter(|pod| pod.is_live).count() == 1, "{pods:#?}");
    Ok(second)
}

pub(super) async fn eviction(stage: &Stage<'_>) -> Result<Ended> {
    stage.controllers(1, &[]).await?;
    stage.talk().await?;
    stage.meet(LONG).await?;
    stage.admit().await?;
    let (_, first) = stage.reaches("recording", 1).await?;
    tokio::time::sleep(RECORDED).await;
    stage.pod_api().evict(&first.name, &EvictParams::default()).await?;
    stage.admit().await?;
    let (_, second) = stage.reaches("recording", 2).await?;
    ensure!(second.name != first.name, "the second attempt has the first one's pod");
    tokio::time::sleep(RECORDED).await;
    stage.room.end().await?;
    let done = stage.instance("done", |one| one.phase() == "done").await?;
    let judged = stage.judged(&done).await?;
    let both = 2.0 * RECORDED.as_secs_f64() - 5.0;
    ensure!(judged.duration_secs > both, "less than both parts: {judged:?}");
    Ok(Ended::Passed)
}

/// No setting makes the deadline shorter than hours, so the suite shortens it on the Job.
pub(super) async fn deadline(stage: &Stage<'_>) -> Result<Ended> {
    let (job, first) = waiting(stage).await?;
    let patch: Patch<serde_json::Value> = Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 1}}));
    let _: Job = stage.job_api().patch(&job, &PatchParams::default(), &patch).await?;
    stage.jobs("DeadlineExceeded", &job, |jobs| jobs.iter().any(|job| job.reasons.contains("DeadlineExceeded"))).await?;
    replaced(stage, &job, &first).await?;
    Ok(Ended::Passed)
}

pub(super) async fn delete(stage: &Stage<'_>) -> Result<Ended> {
    let (job, first) = waiting(stage).await?;
    stage.pod_api().delete(&first.name, &DeleteParams::default()).await?;
    replaced(stage, &job, &first).await?;
    Ok(Ended::Passed)
}
