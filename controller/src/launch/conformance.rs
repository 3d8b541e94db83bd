//! What every launcher must do, as named checks over [`Launcher`] alone. The suite of each launcher runs them all.
//!
//! Each check wants a launcher whose managers run until they are stopped, room for two runs, and claims on instances of its
//! own; it panics where the rule does not hold.

#![allow(clippy::expect_used, clippy::panic, reason = "these are tests, kept in the library so that every launcher runs them")]

use std::time::{Duration, Instant};

use bot_store::protocol::claim::Claimed;

use super::{LaunchError, LaunchSpec, Launched, Launcher, Observed, RunCommand, RunKey, RunState};

/// Longest wait for a change.
const LIMIT: Duration = Duration::from_secs(60);

/// A launch is in the list once it has returned, and stays there until it is removed.
pub async fn what_was_launched_is_listed(launcher: &dyn Launcher, claimed: &Claimed) {
    let spec = LaunchSpec::new(claimed, RunCommand::Record);
    assert_eq!(launcher.launch(&spec).await.expect("launch"), Launched::Started);
    let seen = find(launcher, &spec.key()).await.expect("listed at once");
    assert_eq!((&seen.instance_id, seen.state.is_over()), (spec.instance_id(), false));
    finish(launcher, &spec.key()).await;
}

/// The same claim launched twice is one run.
pub async fn a_second_launch_finds_the_first(launcher: &dyn Launcher, claimed: &Claimed) {
    let spec = LaunchSpec::new(claimed, RunCommand::Record);
    assert_eq!(launcher.launch(&spec).await.expect("launch"), Launched::Started);
    assert_eq!(launcher.launch(&spec).await.expect("launch again"), Launched::AlreadyThere);
    let all = launcher.list().await.expect("list");
    assert_eq!(all.iter().filter(|run| run.key == spec.key()).count(), 1);
    stop(launcher, &spec.key()).await;
    // Over, but not removed: its name is still taken.
    assert_eq!(launcher.launch(&spec).await.expect("launch again"), Launched::AlreadyThere);
    finish(launcher, &spec.key()).await;
}

/// Many launches of one claim at once are one run.
pub async fn launches_at_once_start_one_run(launcher: &dyn Launcher, claimed: &Claimed) {
    let spec = LaunchSpec::new(claimed, RunCommand::Record);
    let answers = futures::future::join_all((0..8).map(|_| launcher.launch(&spec))).await;
    let started = answers.iter().filter(|answer| matches!(answer, Ok(Launched::Started))).count();
    let found = answers.iter().filter(|answer| matches!(answer, Ok(Launched::AlreadyThere))).count();
    assert_eq!((started, found), (1, 7), "{answers:?}");
    finish(launcher, &spec.key()).await;
}

/// A new attempt is refused while the old one is alive: two bots would be in one call.
pub async fn another_attempt_waits_for_the_old_one(launcher: &dyn Launcher, first: &Claimed, second: &Claimed) {
    let (first, second) = (LaunchSpec::new(first, RunCommand::Record), LaunchSpec::new(second, RunCommand::Record));
    assert_eq!(
        (first.key().job, first.key().attempt + 1),
        (second.key().job, second.key().attempt),
        "two attempts of one instance"
    );
    assert_eq!(launcher.launch(&first).await.expect("launch"), Launched::Started);
    match launcher.launch(&second).await {
        Err(LaunchError::OtherAttemptAlive { attempt }) => assert_eq!(attempt, first.key().attempt),
        other => panic!("not refused: {other:?}"),
    }
    stop(launcher, &first.key()).await;
    assert_eq!(launcher.launch(&second).await.expect("launch"), Launched::Started);
    finish(launcher, &second.key()).await;
    launcher.remove(&first.key()).await.expect("remove");
}

/// What is alive cannot be removed; what is unknown can be, and can be stopped.
pub async fn only_what_is_over_is_removed(launcher: &dyn Launcher, claimed: &Claimed) {
    let spec = LaunchSpec::new(claimed, RunCommand::Record);
    launcher.remove(&spec.key()).await.expect("remove what is not there");
    launcher.stop(&spec.key()).await.expect("stop what is not there");
    launcher.launch(&spec).await.expect("launch");
    assert!(matches!(launcher.remove(&spec.key()).await, Err(LaunchError::Alive)));
    finish(launcher, &spec.key()).await;
    assert_eq!(find(launcher, &spec.key()).await, None);
}

/// Slots are counted while runs live, and free again afterwards.
pub async fn the_number_of_runs_is_bounded(launcher: &dyn Launcher, claims: &[Claimed; 3]) {
    let [one, two, three] = claims.each_ref().map(|claimed| LaunchSpec::new(claimed, RunCommand::Record));
    assert_eq!(launcher.free_slots().await.expect("slots"), 2);
    launcher.launch(&one).await.expect("launch");
    launcher.launch(&two).await.expect("launch");
    assert_eq!(launcher.free_slots().await.expect("slots"), 0);
    assert!(matches!(launcher.launch(&three).await, Err(LaunchError::Full { .. })));
    finish(launcher, &one.key()).await;
    assert_eq!(launcher.launch(&three).await.expect("launch"), Launched::Started);
    finish(launcher, &two.key()).await;
    finish(launcher, &three.key()).await;
}

/// A run of `finalize` needs no meeting-bot, and is stopped like any other.
pub async fn a_finalize_run_is_a_run(launcher: &dyn Launcher, claimed: &Claimed) {
    let spec = LaunchSpec::new(claimed, RunCommand::Finalize);
    assert_eq!(launcher.launch(&spec).await.expect("launch"), Launched::Started);
    finish(launcher, &spec.key()).await;
}

async fn find(launcher: &dyn Launcher, key: &RunKey) -> Option<Observed> {
    launcher.list().await.expect("list").into_iter().find(|run| run.key == *key)
}

/// Stops a run and waits for its end, which must say how it ended.
async fn stop(launcher: &dyn Launcher, key: &RunKey) {
    launcher.stop(key).await.expect("stop");
    let begun = Instant::now();
    loop {
        match find(launcher, key).await.map(|run| run.state) {
            Some(RunState::Ended { .. }) => return,
            Some(state) if begun.elapsed() > LIMIT => panic!("still {state:?} after {LIMIT:?}"),
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            None => panic!("gone before it was removed"),
        }
    }
}

async fn finish(launcher: &dyn Launcher, key: &RunKey) {
    stop(launcher, key).await;
    launcher.remove(key).await.expect("remove");
}
