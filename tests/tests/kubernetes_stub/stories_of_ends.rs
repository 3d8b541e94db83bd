//! How Jobs end: 02-success, 03-failures, 04-*.

use std::time::Duration;

use tests::kubernetes::{Cluster, Disruption, OnTerm, PodScript, Timing};

use super::recording::requests;
use super::story::{AFTER_MAIN, Story, condition, ends, gone, plan, ready, without_pods};

#[tokio::test]
async fn a_success_goes_as_recorded() {
    let mut story = Story::begin("02-success", Timing::default()).await;
    story.cluster.script("ok-1", PodScript::Succeed(AFTER_MAIN));
    story
        .send(|index, cluster| async move {
            match index {
                1 => condition(&cluster, "ok-1", "Complete").await,
                3 => gone(&cluster, "ok-1").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn failures_go_as_recorded() {
    let mut story = Story::begin("03-failures", Timing::default()).await;
    for (job, script) in [
        ("fail-73", ends(73)),
        ("exit-42", ends(42)),
        ("exit-42-nopolicy", ends(42)),
        ("oom", PodScript::OomKilled(AFTER_MAIN)),
        ("deadline", PodScript::RunUntilTerminated(0)),
        ("deadline-ignore-term", PodScript::IgnoreTerm),
    ] {
        story.cluster.script(job, script);
    }
    let ended = |job: &'static str, cluster: Cluster| async move { condition(&cluster, job, "Failed").await };
    story
        .send(|index, cluster| async move {
            match index {
                6 => ended("fail-73", cluster).await,
                8 => ended("exit-42", cluster).await,
                9 => ended("exit-42-nopolicy", cluster).await,
                12 => ended("oom", cluster).await,
                14 => ended("deadline", cluster).await,
                16 => ended("deadline-ignore-term", cluster).await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn deleted_pods_go_as_recorded() {
    let mut story = Story::begin("04-pod-delete", Timing::default()).await;
    for (job, code) in
        [("a-policy-exit143-0", 143), ("b-nopolicy-exit143-0", 143), ("c-policy-exit0-0", 0), ("d-nopolicy-exit0-0", 0)]
    {
        story.cluster.script(job, PodScript::RunUntilTerminated(code));
    }
    story
        .send(|index, cluster| async move {
            match index {
                4 => ready(&cluster, "a-policy-exit143-0").await,
                5 => ready(&cluster, "b-nopolicy-exit143-0").await,
                6 => ready(&cluster, "c-policy-exit0-0").await,
                7 => condition(&cluster, "a-policy-exit143-0", "Failed").await,
                8 => ready(&cluster, "d-nopolicy-exit0-0").await,
                9 => condition(&cluster, "b-nopolicy-exit143-0", "Failed").await,
                10 => condition(&cluster, "c-policy-exit0-0", "Complete").await,
                11 => condition(&cluster, "d-nopolicy-exit0-0", "Complete").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn forced_deletions_and_evictions_go_as_recorded() {
    let mut story = Story::begin("04-forced-evict", Timing::default()).await;
    let slow = plan(None, OnTerm::exit_after(143, Duration::from_millis(40)), OnTerm::exit(0));
    for (job, script) in [
        ("e-policy-grace0-0", slow.clone()),
        ("f-nopolicy-grace0-0", slow),
        ("i-policy-evict-exit0-0", PodScript::RunUntilTerminated(0)),
    ] {
        story.cluster.script(job, script);
    }
    story
        .send(|index, cluster| async move {
            match index {
                6 => ready(&cluster, "e-policy-grace0-0").await,
                7 => ready(&cluster, "g-policy-evict-0").await,
                8 => ready(&cluster, "f-nopolicy-grace0-0").await,
                9 => ready(&cluster, "h-nopolicy-evict-0").await,
                10 => ready(&cluster, "i-policy-evict-exit0-0").await,
                11 => ready(&cluster, "j-nopolicy-prp-default-0").await,
                12 => condition(&cluster, "e-policy-grace0-0", "Failed").await,
                13 => condition(&cluster, "f-nopolicy-grace0-0", "Failed").await,
                14 => condition(&cluster, "g-policy-evict-0", "Failed").await,
                15 => condition(&cluster, "h-nopolicy-evict-0", "Failed").await,
                16 => condition(&cluster, "i-policy-evict-exit0-0", "Complete").await,
                17 => condition(&cluster, "j-nopolicy-prp-default-0", "Failed").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn deletions_of_pods_that_were_never_bound_go_as_recorded() {
    let mut story = Story::begin("04-pending-delete", Timing::default()).await;
    let jobs = ["pend-policy-0", "pend-nopolicy-0", "pend-nopolicy-default-0"];
    for job in jobs {
        story.cluster.script(job, PodScript::NeverSchedule);
    }
    story
        .send(|index, cluster| async move {
            match index {
                3..=5 => {
                    let job = jobs[index - 3];
                    let look = |cluster: &Cluster| {
                        let pods = cluster.pods_of(job);
                        pods.first()?["status"].get("conditions").map(|_| ())
                    };
                    cluster.wait(&format!("{job}'s refusal"), look).await.unwrap();
                }
                6..=8 => condition(&cluster, jobs[index - 6], "Failed").await,
                _ => {}
            }
        })
        .await;
    story.end().await;
}

#[tokio::test]
async fn preemption_and_a_disruption_budget_go_as_recorded() {
    // Here the Job controller was faster than the kubelet's removal of the pod.
    let timing = Timing { confirm: Duration::from_millis(20), ..Timing::default() };
    let mut story = Story::begin("04-preempt-pdb", timing).await;
    story.cluster.script("preemptor", PodScript::NeverSchedule);
    for recorded in requests("04-preempt-pdb") {
        match recorded.index {
            1 => {
                story.create("pdb-1", |_| {}).await;
                ready(&story.cluster, "victim").await;
                ready(&story.cluster, "pdb-1").await;
            }
            3 => preempt(&story.cluster).await,
            _ => {}
        }
        story.send_one(&recorded).await;
    }
    story.end().await;
}

async fn preempt(cluster: &Cluster) {
    let look = |cluster: &Cluster| cluster.pods_of("preemptor").first()?["status"].get("conditions").map(|_| ());
    cluster.wait("the preemptor's refusal", look).await.unwrap();
    assert!(cluster.disrupt(&cluster.pod_in_phase("victim", "Running").unwrap(), Disruption::Preempted));
    condition(cluster, "victim", "Failed").await;
    without_pods(cluster, "victim").await;
    assert!(cluster.start_pod(&cluster.pod_in_phase("preemptor", "Pending").unwrap()));
    ready(cluster, "preemptor").await;
}
