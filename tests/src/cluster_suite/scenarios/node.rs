//! Bots whose node is emptied or lost. What is cordoned is uncordoned again, whatever comes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, EvictParams, ListParams};

use super::super::history::JOB_LABEL;
use super::super::site::NodeOrder;
use super::super::{Ended, LIMIT, Stage};
use super::call::LONG;
use super::disturbed::{replaced, waiting};
use crate::process::until;

/// How long a lost node is watched for a second pod: past the taint that evicts (seen after 53 s).
const AWAY: Duration = Duration::from_secs(60);

fn nodes(stage: &Stage<'_>) -> Api<Node> {
    Api::all(stage.site.client().clone())
}

async fn schedulable(stage: &Stage<'_>) -> Result<BTreeSet<String>> {
    let all = nodes(stage).list(&ListParams::default()).await?;
    let free = all.items.into_iter().filter(|node| {
        let spec = node.spec.as_ref();
        let is_cordoned = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        let taints = spec.and_then(|spec| spec.taints.as_ref());
        !is_cordoned && taints.is_none_or(|taints| taints.iter().all(|taint| taint.effect == "PreferNoSchedule"))
    });
    Ok(free.filter_map(|node| node.metadata.name).collect())
}

async fn uncordon(stage: &Stage<'_>, cordoned: &BTreeSet<String>) -> Result<()> {
    for node in cordoned {
        nodes(stage).uncordon(node).await.with_context(|| format!("uncordon {node} by hand: kubectl uncordon {node}"))?;
    }
    Ok(())
}

/// Cordon, and evict the suite's bots there. Pods of others are left alone, and so are the suite's own services.
pub(super) async fn drain(stage: &Stage<'_>) -> Result<Ended> {
    let (job, first) = waiting(stage).await?;
    let node = first.node.clone().context("a running pod without a node")?;
    let has_another = schedulable(stage).await?.iter().any(|other| *other != node);
    nodes(stage).cordon(&node).await?;
    let cordoned = BTreeSet::from([node.clone()]);
    let emptied = empty(stage, &node).await;
    // Nowhere else to go: the second attempt then waits for this node.
    if !has_another {
        uncordon(stage, &cordoned).await?;
    }
    let second = async {
        emptied?;
        replaced(stage, &job, &first).await
    }
    .await;
    if has_another {
        uncordon(stage, &cordoned).await?;
        ensure!(second?.node.is_some_and(|other| other != node), "the second attempt is on the drained node");
    } else {
        second?;
    }
    Ok(Ended::Passed)
}

async fn empty(stage: &Stage<'_>, node: &str) -> Result<()> {
    let on_node = ListParams::default().labels(JOB_LABEL);
    for pod in stage.pod_api().list(&on_node).await?.items {
        let is_here = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if let (true, Some("Running"), Some(name)) = (is_here, phase, &pod.metadata.name) {
            stage.pod_api().evict(name, &EvictParams::default()).await?;
        }
    }
    Ok(())
}

/// Nodes that the suite's services and controllers run on: losing one would prove nothing about bots.
async fn nodes_of_services(stage: &Stage<'_>) -> Result<BTreeSet<String>> {
    let pods = stage.pod_api().list(&ListParams::default().labels(&format!("!{JOB_LABEL}"))).await?;
    Ok(pods.items.into_iter().filter_map(|pod| pod.spec?.node_name).collect())
}

pub(super) async fn loss(stage: &Stage<'_>) -> Result<Ended> {
    if let Some(why) = stage.site.cannot_stop_nodes() {
        return Ok(Ended::NotRun(why));
    }
    stage.controllers(1, &[]).await?;
    let kept = nodes_of_services(stage).await?;
    if schedulable(stage).await?.difference(&kept).next().is_none() {
        return Ok(Ended::NotRun("no schedulable node without the suite's own services: give the cluster another one".into()));
    }
    for node in &kept {
        nodes(stage).cordon(node).await?;
    }
    let waiting = async {
        stage.meet(LONG).await?;
        stage.reaches("waiting_room", 1).await
    }
    .await;
    uncordon(stage, &kept).await?;
    let (instance, pod) = waiting?;
    let node = pod.node.context("a running pod without a node")?;
    stage.site.node(NodeOrder::Stop, &node).await?;
    let away = while_away(stage, &node, &instance.job()?).await;
    stage.site.node(NodeOrder::Start, &node).await?;
    away?;
    ready(stage, &node, true).await?;
    back(stage, &instance.job()?).await?;
    Ok(Ended::Passed)
}

async fn ready(stage: &Stage<'_>, node: &str, wanted: bool) -> Result<()> {
    until(&format!("{node} with Ready {wanted}"), LIMIT, || async {
        let node = nodes(stage).get(node).await?;
        let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let is_ready = conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
        Ok((is_ready == wanted).then_some(()))
    })
    .await
}

async fn while_away(stage: &Stage<'_>, node: &str, job: &str) -> Result<()> {
    ready(stage, node, false).await?;
    let away = if matches!(stage.site, super::super::Site::Stub(_)) { AWAY / 10 } else { AWAY };
    tokio::time::sleep(away).await;
    let pods = stage.history.pods(job);
    ensure!(pods.len() == 1, "a second pod while nobody knows of the first: {pods:#?}");
    Ok(())
}

/// The same bot goes on, or, where its containers ended with the node, a second attempt waits.
async fn back(stage: &Stage<'_>, job: &str) -> Result<()> {
    let instance = stage.instance("a bot in the waiting room", |one| one.phase() == "waiting_room").await?;
    stage
        .pods("one live pod, running", job, |pods| {
            let mut live = pods.iter().filter(|pod| pod.is_live);
            live.next().is_some_and(|pod| pod.phase == "Running") && live.next().is_none()
        })
        .await?;
    ensure!(instance.attempt() <= 2, "{}", instance.summary());
    Ok(())
}
