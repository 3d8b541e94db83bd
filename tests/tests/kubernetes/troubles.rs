//! What Kubernetes says of a run that does not run, or does not run on.

use std::time::Duration;

use controller::launch::{Launcher, Observed, RunState, TroubleKind};
use tests::kubernetes::PodScript;

use crate::site::{Site, find, until};

const SOON: Duration = Duration::from_millis(20);

/// The run under a script, once it shows the trouble.
async fn in_trouble(script: PodScript, kind: TroubleKind, is_there: impl Fn(&Observed) -> bool) -> Observed {
    let site = Site::new().await;
    let launcher = site.launcher(&[]).await;
    let spec = site.spec("b1").await;
    site.cluster.script("bot-b1", script);
    launcher.launch(&spec).await.unwrap();
    until(kind.as_str(), || async {
        let seen = find(launcher.as_ref(), &spec.key()).await?;
        (seen.trouble.as_ref().map(|trouble| trouble.kind) == Some(kind) && is_there(&seen)).then_some(seen)
    })
    .await
}

#[tokio::test]
async fn what_keeps_a_pod_pending_is_told_in_kubernetes_words() {
    for (script, kind, word) in [
        (PodScript::NeverSchedule, TroubleKind::Unschedulable, "Unschedulable"),
        (PodScript::ImagePullBackOff, TroubleKind::ImagePull, "Pull"),
        (PodScript::ErrImageNeverPull, TroubleKind::ImagePull, "ErrImageNeverPull"),
        (PodScript::InvalidImageName, TroubleKind::ImagePull, "InvalidImageName"),
        (PodScript::CreateContainerConfigError, TroubleKind::BadContainer, "CreateContainerConfigError"),
        (PodScript::PodSecurityDenied, TroubleKind::NoPod, "no pod"),
        (PodScript::Stalled, TroubleKind::NoPod, "no pod"),
    ] {
        let seen = in_trouble(script.clone(), kind, |seen| seen.state == RunState::Pending).await;
        assert!(seen.trouble.as_ref().unwrap().detail.contains(word), "{script:?}: {:?}", seen.trouble);
    }
}

#[tokio::test]
async fn what_ended_a_run_is_told_with_its_exit_code() {
    for (script, kind, code) in [
        (PodScript::OomKilled(SOON), TroubleKind::OutOfMemory, 137),
        (PodScript::Evicted(SOON, 143), TroubleKind::Evicted, 143),
        (PodScript::Evicted(SOON, 71), TroubleKind::Evicted, 71),
        (PodScript::Preempted(SOON, 143), TroubleKind::Preempted, 143),
    ] {
        let seen = in_trouble(script.clone(), kind, |seen| seen.state.is_over()).await;
        assert_eq!(seen.state, RunState::Ended { code: Some(code) }, "{script:?}");
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_leaves_its_run_running() {
    let seen = in_trouble(PodScript::NodeLost(SOON, None), TroubleKind::NodeLost, |_| true).await;
    assert_eq!(seen.state, RunState::Running);
}

#[tokio::test]
async fn past_its_deadline_a_run_tells_the_code_that_its_vanished_pod_said_last() {
    let site = Site::new().await;
    // A hundredth of the real seconds, so a deadline of hours is minutes: a short one is set instead.
    let launcher =
        site.launcher(&[("MAX_RECORDING_DURATION_MINUTES", "1"), ("MAX_LATE_SECONDS", "1"), ("JOIN_LEAD_SECONDS", "0")]).await;
    let timing = tests::kubernetes::Timing { second: Duration::from_micros(40), ..Default::default() };
    site.cluster.set_timing(timing);
    let spec = site.spec("b1").await;
    launcher.launch(&spec).await.unwrap();
    let seen =
        until("the deadline", || async { find(launcher.as_ref(), &spec.key()).await.filter(|seen| seen.state.is_over()) }).await;
    assert_eq!(seen.trouble.unwrap().kind, TroubleKind::Deadline);
    assert_eq!(seen.state, RunState::Ended { code: Some(143) });
    assert!(site.cluster.pods_of("bot-b1").is_empty(), "the pod is gone");
}
