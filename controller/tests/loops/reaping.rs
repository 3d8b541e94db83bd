//! The reaper's effects; its judgement is tested where it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bot_model::ids::InstanceId;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_store::protocol::cancel::cancel;
use bot_store::protocol::{Advanced, Note};
use chrono::Utc;
use controller::engine::{Engine, STOP_BUDGET};
use controller::launch::{RunCommand, RunState};
use serde_json::json;

use crate::site::{Site, metric, pace, until};

async fn launched(site: &Site, controller: &Engine, extra: serde_json::Value) -> InstanceId {
    let id = site.queue("b", extra).await;
    controller.claim(Utc::now()).await.unwrap();
    id
}

fn commands(site: &Site) -> Vec<(u32, RunCommand)> {
    site.fleet.started().into_iter().map(|(_, attempt, command)| (attempt, command)).collect()
}

#[tokio::test]
async fn a_run_lost_in_the_call_is_launched_again_under_a_new_attempt_and_the_old_one_is_fenced() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let id = launched(&site, &controller, json!({})).await;
    site.records(&id, 5).await;
    site.fleet.end(RunState::Lost);
    controller.reap(Utc::now()).await.unwrap();
    assert_eq!(commands(&site), [(1, RunCommand::Record), (2, RunCommand::Record)]);
    let facts = site.record(&id).await.instance.facts;
    assert_eq!((facts.attempt, facts.run), (2, None));
    assert_eq!(facts.recording.unwrap().segments, 5, "what was recorded is remembered");
}

#[tokio::test]
async fn between_the_looks_at_everything_an_ended_run_is_acted_on_and_looked_at_again_until_its_backoff_is_over() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let id = launched(&site, &controller, json!({})).await;
    site.records(&id, 5).await;
    controller.reap_changed(Utc::now()).await.unwrap();
    assert_eq!(commands(&site).len(), 1, "nothing has ended");
    site.fleet.end(RunState::Lost);
    controller.reap_changed(Utc::now()).await.unwrap();
    assert_eq!(commands(&site).len(), 2);
    controller.reap(Utc::now()).await.unwrap();
    assert!(!controller.has_waiting(), "the ended run of the first attempt waits for nothing");
    site.fleet.end(RunState::Lost);
    controller.reap_changed(Utc::now()).await.unwrap();
    assert_eq!(commands(&site).len(), 2, "a second loss is followed by a pause");
    assert!(controller.has_waiting());
    site.finishes(&id).await;
    controller.reap_changed(Utc::now()).await.unwrap();
    assert_eq!((site.fleet.count(), controller.has_waiting()), (0, false), "it is over and tidied up");
}

/// As a pass is by its deadline, where the cluster takes requests and does not answer.
#[tokio::test]
async fn a_launch_that_was_cut_off_is_taken_up_again_by_the_same_controller() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let id = site.queue("b", json!({})).await;
    site.fleet.hang(true);
    let claiming = tokio::time::timeout(Duration::from_secs(1), controller.claim(Utc::now()));
    assert!(claiming.await.is_err(), "it hangs");
    assert_eq!(site.record(&id).await.instance.phase, Phase::Claimed);
    site.fleet.hang(false);
    until("another launch", || async {
        controller.reap(Utc::now()).await.unwrap();
        (commands(&site) == [(1, RunCommand::Record)]).then_some(())
    })
    .await;
    // The same of a relaunch.
    site.records(&id, 5).await;
    site.fleet.end(RunState::Lost);
    site.fleet.hang(true);
    assert!(tokio::time::timeout(Duration::from_secs(1), controller.reap(Utc::now())).await.is_err(), "it hangs");
    assert!(controller.is_undone(), "what was cut off is looked at again soon");
    site.fleet.hang(false);
    until("a second attempt", || async {
        controller.reap(Utc::now()).await.unwrap();
        (commands(&site).last() == Some(&(2, RunCommand::Record))).then_some(())
    })
    .await;
}

/// The window around the start is for the first join: a bot lost in the lobby, long after the start, is replaced all the same.
#[tokio::test]
async fn a_relaunch_that_waits_for_capacity_is_not_given_up_while_the_call_goes_on() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let start = Utc::now();
    let end = start + chrono::Duration::hours(1);
    let times = json!({"start_time": start.to_rfc3339(), "end_time": end.to_rfc3339()});
    let id = launched(&site, &controller, times).await;
    site.binds(&id).await;
    site.fleet.end(RunState::Lost);
    controller.reap(start).await.unwrap();
    assert_eq!(commands(&site).len(), 2);
    site.fleet.end(RunState::Pending);
    controller.reap(start + chrono::Duration::minutes(20)).await.unwrap();
    assert_eq!(site.record(&id).await.instance.phase, Phase::Launched, "it waits on");
    controller.reap(end + chrono::Duration::minutes(1)).await.unwrap();
    let outcome = site.record(&id).await.instance.facts.outcome.unwrap();
    assert_eq!(outcome.kind, OutcomeKind::NoCapacity, "the call is over");
}

#[tokio::test]
async fn raw_saved_is_finalized_by_another_run_and_the_run_is_removed_when_it_is_done() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let end = Utc::now() + chrono::Duration::minutes(10);
    let id = launched(&site, &controller, json!({"end_time": end.to_rfc3339()})).await;
    site.records(&id, 5).await;
    site.fleet.end(RunState::Ended { code: Some(71) });
    controller.reap(end).await.unwrap();
    assert_eq!(commands(&site), [(1, RunCommand::Record), (2, RunCommand::Finalize)]);
    site.finishes(&id).await;
    site.fleet.end(RunState::Ended { code: Some(0) });
    controller.reap(Utc::now()).await.unwrap();
    assert_eq!(site.fleet.count(), 0, "both attempts' runs are gone");
    assert_eq!(site.record(&id).await.instance.phase, Phase::Done);
    let counted = r#"meetingbot_outcomes_total{outcome="host_ended",attribution="host",platform="zoom"}"#;
    assert_eq!(metric(&controller, counted), 1.0);
    controller.reap(Utc::now()).await.unwrap();
    assert_eq!(metric(&controller, counted), 1.0);
}

#[tokio::test]
async fn a_run_lost_with_its_segments_on_the_disk_alone_is_finalized_and_not_given_up() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let end = Utc::now() + chrono::Duration::minutes(10);
    let id = launched(&site, &controller, json!({"end_time": end.to_rfc3339()})).await;
    site.records(&id, 0).await;
    site.fleet.leaves_unsaved(&id);
    site.fleet.end(RunState::Ended { code: None });
    controller.reap(end).await.unwrap();
    assert_eq!(commands(&site), [(1, RunCommand::Record), (2, RunCommand::Finalize)]);
    assert!(!site.record(&id).await.instance.phase.is_terminal());
}

#[tokio::test]
async fn a_bot_sent_out_by_sigterm_joins_again_while_the_call_goes_on_but_not_the_next_morning() {
    for (hours, command) in [(0, RunCommand::Record), (9, RunCommand::Finalize)] {
        let site = Site::new(4).await;
        let controller = site.controller("c");
        let id = launched(&site, &controller, json!({})).await;
        site.records(&id, 5).await;
        site.fleet.end(RunState::Ended { code: Some(71) });
        controller.reap(Utc::now() + chrono::Duration::hours(hours)).await.unwrap();
        assert_eq!(commands(&site), [(1, RunCommand::Record), (2, command)]);
    }
}

#[tokio::test]
async fn an_expired_lease_with_a_run_alive_is_left_alone() {
    let site = Site::new(4).await;
    let mut pace = pace();
    pace.lease = bot_model::lease::LeaseTimings::from_ttl(Duration::from_millis(50));
    let controller = site.controller_with("c", pace);
    let id = launched(&site, &controller, json!({})).await;
    site.records(&id, 1).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        controller.reap(Utc::now()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(commands(&site).len(), 1);
}

#[tokio::test]
async fn a_run_out_of_sight_is_not_replaced() {
    let site = Site::new(4).await;
    let id = launched(&site, &site.controller("elsewhere"), json!({})).await;
    site.records(&id, 1).await;
    site.fleet.forget();
    site.fleet.hide("elsewhere");
    let mut pace = pace();
    pace.lease = bot_model::lease::LeaseTimings::from_ttl(Duration::from_millis(50));
    let controller = site.controller_with("c", pace);
    let alert = r#"meetingbot_alerts_total{reason="run_not_visible"}"#;
    until("the alert", || async {
        controller.reap(Utc::now()).await.unwrap();
        (metric(&controller, alert) == 1.0).then_some(())
    })
    .await;
    assert_eq!(commands(&site).len(), 1);
}

#[tokio::test]
async fn a_run_lost_after_the_meeting_s_end_is_finalized_and_not_joined_again() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let end = Utc::now() + chrono::Duration::minutes(10);
    let id = launched(&site, &controller, json!({"end_time": end.to_rfc3339()})).await;
    site.records(&id, 5).await;
    site.fleet.end(RunState::Ended { code: None });
    controller.reap(end + chrono::Duration::minutes(1)).await.unwrap();
    assert_eq!(commands(&site), [(1, RunCommand::Record), (2, RunCommand::Finalize)]);
}

#[tokio::test]
async fn a_relaunch_that_was_interrupted_is_taken_up_with_the_same_purpose() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let end = Utc::now() + chrono::Duration::minutes(10);
    let id = launched(&site, &controller, json!({"end_time": end.to_rfc3339()})).await;
    site.records(&id, 5).await;
    site.fleet.end(RunState::Lost);
    site.fleet.fail(true);
    let after = end + chrono::Duration::minutes(1);
    controller.reap(after).await.unwrap();
    assert_eq!(site.record(&id).await.instance.phase, Phase::Queued, "given back");
    site.fleet.fail(false);
    until("the finalize run", || async {
        controller.claim(after).await.unwrap();
        (commands(&site).len() == 2).then_some(())
    })
    .await;
    assert_eq!(commands(&site)[1], (2, RunCommand::Finalize), "though it is past its window");
}

#[tokio::test]
async fn a_cancelled_bot_whose_run_is_lost_is_cancelled_and_nothing_is_launched() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let id = launched(&site, &controller, json!({})).await;
    let asked =
        cancel(site.store.as_ref(), &site.record(&id).await, Note::new("cli", "cancel_requested"), Utc::now()).await.unwrap();
    assert!(matches!(asked, Advanced::Applied(_)));
    site.fleet.end(RunState::Lost);
    controller.reap(Utc::now()).await.unwrap();
    assert_eq!(site.record(&id).await.instance.phase, Phase::Cancelled);
    assert_eq!(commands(&site).len(), 1);
}

#[tokio::test]
async fn bad_configuration_fails_the_bot_with_its_reason() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let id = launched(&site, &controller, json!({})).await;
    site.fleet.end(RunState::Ended { code: Some(64) });
    controller.reap(Utc::now()).await.unwrap();
    let outcome = site.record(&id).await.instance.facts.outcome.unwrap();
    assert_eq!(outcome.kind, OutcomeKind::LaunchFailed);
    assert!(outcome.message.contains("configuration"), "{}", outcome.message);
}

#[tokio::test]
async fn a_run_without_an_instance_is_reported_and_forgotten_only_when_it_is_over() {
    let site = Site::new(4).await;
    let controller = site.controller("c");
    let id = launched(&site, &controller, json!({})).await;
    let record = site.store.read(&bot_store::DocumentKey::Instance(id)).await.unwrap().unwrap();
    site.store.commit(vec![bot_store::Write::delete(record.key, record.version)]).await.unwrap();
    for _ in 0..3 {
        controller.reap(Utc::now()).await.unwrap();
    }
    assert_eq!(site.fleet.alive(), 1, "a running run is never ended by the sweep");
    assert_eq!(metric(&controller, r#"meetingbot_alerts_total{reason="run_without_instance"}"#), 1.0);
    site.fleet.end(RunState::Lost);
    controller.reap(Utc::now()).await.unwrap();
    assert_eq!(site.fleet.count(), 0);
}

#[tokio::test]
async fn two_reapers_relaunch_once() {
    let site = Site::new(4).await;
    let one = site.controller("one");
    let two = site.controller("two");
    let id = launched(&site, &one, json!({})).await;
    site.records(&id, 1).await;
    site.fleet.end(RunState::Lost);
    let (first, second) = tokio::join!(one.reap(Utc::now()), two.reap(Utc::now()));
    first.unwrap();
    second.unwrap();
    assert_eq!(commands(&site).len(), 2);
    assert_eq!(site.record(&id).await.instance.facts.attempt, 2);
}

#[tokio::test]
async fn the_loops_end_within_the_budget_and_leave_the_bots_alone() {
    let site = Site::new(100).await;
    for index in 0..60 {
        site.meeting(&format!("meetings/m{index}"), json!({})).await;
    }
    let controller = site.controller("c");
    let running = tokio::spawn({
        let controller = Arc::clone(&controller);
        async move { controller.run().await }
    });
    until("some launches", || async { (!site.fleet.started().is_empty()).then_some(()) }).await;
    let begun = Instant::now();
    controller.stop();
    running.await.unwrap();
    assert!(begun.elapsed() < STOP_BUDGET, "{:?}", begun.elapsed());
    // No half step: what was launched is marked so, or is claimed and will be adopted; nothing runs that the store does not know.
    for (id, _, _) in site.fleet.started() {
        assert!(matches!(site.record(&id).await.instance.phase, Phase::Launched | Phase::Claimed));
    }
    assert_eq!(site.fleet.alive(), site.fleet.started().len());
}

#[tokio::test]
async fn it_is_idle_once_everything_has_ended_and_its_run_is_gone() {
    let site = Site::new(4).await;
    let meeting = site.meeting("meetings/m", json!({})).await;
    let controller = site.controller("c");
    let running = tokio::spawn({
        let controller = Arc::clone(&controller);
        async move { controller.run().await }
    });
    until("the launch", || async { (site.fleet.alive() == 1).then_some(()) }).await;
    assert!(!controller.is_idle().await);
    let id = site.link(&meeting).await.unwrap();
    site.records(&id, 1).await;
    site.finishes(&id).await;
    site.fleet.end(RunState::Ended { code: Some(0) });
    until("idleness", || async { controller.is_idle().await.then_some(()) }).await;
    controller.stop();
    running.await.unwrap();
}
