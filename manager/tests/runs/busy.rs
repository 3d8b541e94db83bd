//! A meeting-bot that does not do its part: the run ends all the same, and says what is to be done.

use std::time::Duration;

use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionPhase;
use manager::record::record;
use tokio::sync::watch;

use crate::bench::{Bench, PART_FRAMES, decoded, never};
use crate::process::{LIMIT, Manager, until};
use crate::sidecar::Sidecar;

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_stays_busy_with_another_session_is_given_back_to_the_controller() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    sidecar.is_busy(true);
    let mut config = bench.config("r1").await;
    config.sidecar_url = sidecar.url.clone();
    config.patience.refused = Duration::from_millis(100);
    let ended = tokio::time::timeout(LIMIT, record(&config, bench.store.as_ref(), never())).await;
    assert_eq!(ended.expect("it is followed for ever").unwrap(), ExitCode::RefusedBeforeJoin);
    let instance = bench.instance().await.instance;
    assert!(!instance.phase.is_terminal() && instance.facts.run.unwrap().ended_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_is_busy_for_a_moment_is_waited_for() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    sidecar.is_busy(true);
    let _manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_polled().await;
    sidecar.is_busy(false);
    sidecar.is_started().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_whose_answer_was_lost_is_recognised_and_not_asked_for_again() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    sidecar.loses_answers();
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    until("the recording", async || bench.instance().await.instance.phase == Phase::Recording).await;
    sidecar.end(OutcomeKind::HostEnded);
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    assert_eq!((sidecar.starts(), bench.instance().await.instance.phase), (1, Phase::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_full_before_anything_was_recorded_leaves_the_call_to_another_run() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::WaitingRoom);
    sidecar.end(OutcomeKind::DiskFull);
    assert_eq!(manager.ended().await, Some(ExitCode::RefusedBeforeJoin.code().into()), "{}", manager.told());
    let instance = bench.instance().await.instance;
    assert!(!instance.phase.is_terminal() && instance.facts.run.unwrap().ended_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_does_not_leave_when_asked_costs_neither_the_run_nor_the_recording() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    sidecar.stays();
    let mut config = bench.config("r1").await;
    config.sidecar_url = sidecar.url.clone();
    config.patience.leaving = Duration::from_millis(100);
    let (tell, stop) = watch::channel(false);
    let store = std::sync::Arc::clone(&bench.store);
    let run = tokio::spawn(async move { record(&config, store.as_ref(), stop).await });
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(3);
    until("three segments in the bucket", async || bench.carried().await == 3).await;
    tell.send(true).unwrap();
    let ended = tokio::time::timeout(LIMIT, run).await.expect("it is followed for ever");
    assert_eq!(ended.unwrap().unwrap(), ExitCode::FinalizeNeeded);
}

/// A fenced run hears of it with every renewal that it tries.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_does_not_leave_ends_a_fenced_run_all_the_same() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    sidecar.stays();
    let mut config = bench.config("r1").await;
    config.sidecar_url = sidecar.url.clone();
    config.timings = bot_model::lease::LeaseTimings::from_ttl(Duration::from_secs(3));
    // Longer than from one renewal to the next, each of which is refused.
    config.patience.leaving = Duration::from_secs(3);
    let store = std::sync::Arc::clone(&bench.store);
    let run = tokio::spawn(async move { record(&config, store.as_ref(), never()).await });
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    until("the recording", async || bench.instance().await.instance.phase.is_running()).await;
    bench.relaunch().await;
    let ended = tokio::time::timeout(LIMIT, run).await.expect("it is followed for ever");
    assert_eq!(ended.unwrap().unwrap(), ExitCode::Fenced);
}

/// More looks at it than it may restart, before it can take the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_restarts_once_and_is_long_in_coming_has_restarted_once() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    until("the recording", async || bench.instance().await.instance.phase == Phase::Recording).await;
    sidecar.is_busy(true);
    sidecar.restarts();
    sidecar.is_looked_at_times(9).await;
    sidecar.is_busy(false);
    until("the session again", async || sidecar.starts() == 2).await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.end(OutcomeKind::HostEnded);
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    assert_eq!(bench.instance().await.instance.facts.outcome.unwrap().kind, OutcomeKind::HostEnded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_keeps_none_of_its_limits_is_made_to_leave_and_the_recording_is_kept() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut config = bench.config("r1").await;
    config.sidecar_url = sidecar.url.clone();
    (config.limits.join_timeout_secs, config.limits.lobby_timeout_secs, config.limits.max_recording_secs) = (0, 0, 0);
    config.patience.overstay = Duration::from_secs(2);
    let store = std::sync::Arc::clone(&bench.store);
    let run = tokio::spawn(async move { record(&config, store.as_ref(), never()).await });
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    let ended = tokio::time::timeout(LIMIT, run).await.expect("it is followed for ever");
    assert_eq!(ended.unwrap().unwrap(), ExitCode::Settled);
    assert_eq!(bench.instance().await.instance.facts.outcome.unwrap().kind, OutcomeKind::MaxDuration);
    assert_eq!(decoded(&bench.file(bot_model::object_prefix::ObjectName::Video)).0, PART_FRAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_could_not_drain_in_time_says_so_and_the_next_one_carries_out_the_rest() {
    let bench = Bench::new().await;
    bench.block_bucket();
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut config = bench.config("r1").await;
    config.sidecar_url = sidecar.url.clone();
    config.patience.drain_on_stop = Duration::from_millis(100);
    let (tell, stop) = watch::channel(false);
    let store = std::sync::Arc::clone(&bench.store);
    let run = tokio::spawn(async move { record(&config, store.as_ref(), stop).await });
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(3);
    until("the recording", async || bench.instance().await.instance.phase.is_running()).await;
    sidecar.end(OutcomeKind::HostEnded);
    sidecar.end_was_seen().await;
    tell.send(true).unwrap();
    let ended = tokio::time::timeout(LIMIT, run).await.unwrap();
    assert_eq!(ended.unwrap().unwrap(), ExitCode::Terminated);
    assert!(bench.instance().await.instance.facts.run.unwrap().ended_at.is_none(), "it says that it has drained");
    bench.unblock_bucket();
    bench.relaunch().await;
    let mut second = Manager::start(&bench, "finalize", "r2", &[crate::undrained::earlier(&bench)]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    let instance = bench.instance().await.instance;
    assert_eq!(instance.facts.outcome.unwrap().kind, OutcomeKind::HostEnded);
    assert_eq!(decoded(&bench.file(bot_model::object_prefix::ObjectName::Video)).0, PART_FRAMES);
}
