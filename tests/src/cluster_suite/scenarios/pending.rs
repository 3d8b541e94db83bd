//! Bots that never get as far as a call.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::{Ended, NO_SUCH_TAG, Stage, TOO_LITTLE_MEMORY, TOO_MUCH_CPU};
use super::call::LONG;

pub(super) async fn unschedulable(stage: &Stage<'_>) -> Result<Ended> {
    never_starts(stage, ("MEETING_BOT_CPU", TOO_MUCH_CPU), "no_capacity", "Unschedulable").await
}

pub(super) async fn image_pull(stage: &Stage<'_>) -> Result<Ended> {
    let image = stage.site.image("meeting-bot");
    let image = format!("{}{NO_SUCH_TAG}", image.rsplit_once(':').map_or(image.as_str(), |(name, _)| name));
    never_starts(stage, ("MEETING_BOT_IMAGE", &image), "image_pull_failed", "Pull").await
}

async fn never_starts(stage: &Stage<'_>, setting: (&str, &str), kind: &str, reason: &str) -> Result<Ended> {
    let late = stage.site.late_secs().to_string();
    stage.controllers(1, &[setting, ("MAX_LATE_SECONDS", &late), ("JOIN_LEAD_SECONDS", "0")]).await?;
    stage.meet(LONG).await?;
    let failed = stage.instance("the failure", |one| one.phase() == "failed").await?;
    ensure!(failed.outcome().0 == kind && failed.outcome().1.contains(reason), "{}", failed.summary());
    let name = failed.job()?;
    let pods = stage.pods("the end of its pod", &name, |pods| !pods.is_empty() && pods.iter().all(|pod| !pod.is_live)).await?;
    ensure!(pods.iter().any(|pod| pod.reasons.iter().any(|one| one.contains(reason))), "{pods:#?}");
    Ok(Ended::Passed)
}

/// The meeting ends soon, so that no later attempt follows, and a bot killed before it was ready is given up as late. Which container the kernel takes, and whether the manager or the controller
/// settles it first, is a matter of timing: each of these outcomes says truthfully what was seen.
pub(super) async fn out_of_memory(stage: &Stage<'_>) -> Result<Ended> {
    const TRUE_HERE: [&str; 5] = ["out_of_memory", "sidecar_lost", "browser_crashed", "capture_failed", "launch_failed"];
    let late = stage.site.late_secs().to_string();
    stage.controllers(1, &[("MEETING_BOT_MEMORY", TOO_LITTLE_MEMORY), ("MAX_LATE_SECONDS", &late)]).await?;
    stage.meet(Duration::from_secs(20)).await?;
    let failed = stage.instance("the failure", |one| one.phase() == "failed").await?;
    ensure!(TRUE_HERE.contains(&failed.outcome().0), "{}", failed.summary());
    let name = failed.job()?;
    stage.pods("OOMKilled on a pod", &name, |pods| pods.iter().any(|pod| pod.reasons.contains("OOMKilled"))).await?;
    Ok(Ended::Passed)
}
