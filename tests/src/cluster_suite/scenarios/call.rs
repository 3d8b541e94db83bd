//! Calls that go as they should, or nearly.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::{Ended, LIMIT, NO_SUCH_TAG, Stage};
use crate::process::until;

/// Longer than any scenario takes.
pub(super) const LONG: Duration = Duration::from_secs(1800);
/// What is recorded of a call before something happens to it.
pub(super) const RECORDED: Duration = Duration::from_secs(10);

pub(super) async fn create(stage: &Stage<'_>) -> Result<Ended> {
    stage.controllers(1, &[]).await?;
    stage.meet(LONG).await?;
    let (instance, pod) = stage.reaches("waiting_room", 1).await?;
    stage.room.wait_for("guest", "waiting", LIMIT).await?;
    let name = instance.job()?;
    stage.pods("a running pod", &name, |pods| pods.iter().any(|pod| pod.phase == "Running")).await?;
    let job = serde_json::to_value(stage.job_api().get(&name).await?)?;
    ensure!(job["metadata"]["labels"]["meeting-bot/attempt"] == "1", "labels: {}", job["metadata"]["labels"]);
    ensure!(!job.to_string().contains("practice:"), "the meeting's address is in the Job");
    ensure!(stage.history.jobs(&name).len() == 1, "more than one Job");
    stage.room.end().await?;
    let ended = stage.instance("the end", |one| one.phase() == "failed").await?;
    ensure!(ended.outcome().0 == "ended_before_admission", "{}", ended.summary());
    stage.jobs("the Job's end", &name, |jobs| jobs.iter().all(|job| job.is_over)).await?;
    ensure!(stage.history.pods(&name).len() == 1, "{} was not the only pod", pod.name);
    Ok(Ended::Passed)
}

pub(super) async fn success(stage: &Stage<'_>) -> Result<Ended> {
    stage.controllers(1, &[]).await?;
    stage.talk().await?;
    stage.meet(LONG).await?;
    stage.admit().await?;
    stage.reaches("recording", 1).await?;
    tokio::time::sleep(RECORDED).await;
    stage.room.end().await?;
    let done = stage.instance("done", |one| one.phase() == "done").await?;
    ensure!(done.outcome().0 == "host_ended", "{}", done.summary());
    let judged = stage.judged(&done).await?;
    // The room falls silent as it ends, and the bot needs a moment to see it: the last second may be without sound.
    ensure!(judged.duration_secs > RECORDED.as_secs_f64() - 2.0 && judged.silent_seconds <= 1, "{judged:?}");
    ensure!(judged.beeps as f64 > RECORDED.as_secs_f64() - 2.0, "{judged:?}");
    let name = done.job()?;
    stage.jobs("the Job's completion", &name, |jobs| jobs.iter().all(|job| job.is_over)).await?;
    ensure!(stage.history.jobs(&name).len() == 1 && stage.history.pods(&name).len() == 1, "more than one Job or pod");
    Ok(Ended::Passed)
}

/// The bots' image cannot be had, so that five meetings cost no five browsers: who launches is what is asked.
pub(super) async fn second_controller(stage: &Stage<'_>) -> Result<Ended> {
    const MEETINGS: usize = 5;
    let image = stage.site.image("meeting-bot");
    let image = format!("{}{NO_SUCH_TAG}", image.rsplit_once(':').map_or(image.as_str(), |(name, _)| name));
    stage.controllers(2, &[("MEETING_BOT_IMAGE", &image)]).await?;
    for number in 0..MEETINGS {
        stage.documents.schedule(&format!("second-{number}"), &format!("second-{number}"), LONG).await?;
    }
    let launched = || async {
        let all = stage.documents.instances().await?;
        let count = all.iter().filter(|one| one.phase() == "launched").count();
        Ok((count == MEETINGS).then_some(all))
    };
    let instances = until("five launched bots", LIMIT, launched).await?;
    // Both controllers look at every one of them once more, and again.
    tokio::time::sleep(Duration::from_secs(6)).await;
    for instance in &instances {
        let name = instance.job()?;
        let jobs = stage.history.jobs(&name).len();
        ensure!(jobs == 1, "{jobs} Jobs for {name}");
    }
    for number in 0..MEETINGS {
        stage.documents.cancel(&format!("second-{number}")).await?;
    }
    let cancelled = || async {
        let all = stage.documents.instances().await?;
        Ok((all.len() == MEETINGS && all.iter().all(|one| one.phase() == "cancelled")).then_some(()))
    };
    until("five cancelled bots", LIMIT, cancelled).await?;
    Ok(Ended::Passed)
}

pub(super) async fn sidecar_crash(stage: &Stage<'_>) -> Result<Ended> {
    stage.controllers(1, &[]).await?;
    stage.meet(LONG).await?;
    let (instance, pod) = stage.reaches("waiting_room", 1).await?;
    let first = stage.room.wait_for("guest", "waiting", LIMIT).await?;
    if let Err(why) = stage.site.crash(&pod.name, "meeting-bot").await? {
        return Ok(Ended::NotRun(why));
    }
    until("another guest that waits", LIMIT, || async {
        let guest = stage.room.wait_for("guest", "waiting", Duration::from_secs(5)).await?;
        Ok((guest != first).then_some(()))
    })
    .await?;
    let name = instance.job()?;
    stage.pods("a restart in the same pod", &name, |pods| pods.len() == 1 && pods[0].restarts > 0).await?;
    stage.reaches("waiting_room", 1).await?;
    Ok(Ended::Passed)
}
