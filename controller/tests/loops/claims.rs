//! Claims and launches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bot_model::ids::JobName;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_store::protocol::claim::{Claimer, claim_all, launched};
use bot_store::protocol::{Advanced, heartbeat};
use chrono::{DateTime, Utc};
use controller::launch::{LaunchSpec, Launcher, RunCommand};
use serde_json::json;

use crate::site::{LIMIT, Site, metric, pace, until};

fn claimer(id: &str) -> Claimer {
    Claimer { controller_id: id.into(), ttl: LIMIT }
}

/// Waits through reaper passes until the one instance is launched.
async fn reaped_until_launched(site: &Site, controller: &controller::engine::Engine, id: &bot_model::ids::InstanceId) {
    until("the launch", || async {
        controller.reap(Utc::now()).await.unwrap();
        (site.record(id).await.instance.phase == Phase::Launched).then_some(())
    })
    .await;
}

#[tokio::test]
async fn c1_a_claim_whose_controller_died_is_taken_over_after_its_ttl_under_the_same_attempt() {
    let site = Site::new(4).await;
    let id = site.queue("b", json!({})).await;
    claim_all(site.store.as_ref(), vec![site.record(&id).await], &claimer("dead"), Utc::now()).await.remove(0).unwrap().unwrap();
    let mut pace = pace();
    pace.claim_ttl = Duration::from_secs(1);
    let controller = site.controller_with("alive", pace);
    controller.reap(Utc::now()).await.unwrap();
    assert_eq!(site.fleet.started().len(), 0, "a restarted observer waits a whole TTL");
    reaped_until_launched(&site, &controller, &id).await;
    let facts = site.record(&id).await.instance.facts;
    assert_eq!((facts.claim.claimed_by.as_deref(), facts.attempt), (Some("alive"), 1));
}

#[tokio::test]
async fn c1_a_silent_controller_s_claim_is_taken_over_before_its_ttl_and_a_beating_one_s_is_not() {
    let site = Site::new(4).await;
    let id = site.queue("b", json!({})).await;
    claim_all(site.store.as_ref(), vec![site.record(&id).await], &claimer("other"), Utc::now()).await.remove(0).unwrap().unwrap();
    let mut pace = pace();
    pace.owner_silent = Duration::from_millis(600);
    let controller = site.controller_with("c", pace);
    for beat in 0..10 {
        heartbeat::beat(site.store.as_ref(), "other", beat, Utc::now()).await.unwrap();
        controller.reap(Utc::now()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(site.fleet.started().len(), 0);
    reaped_until_launched(&site, &controller, &id).await;
}

#[tokio::test]
async fn c2_a_crash_between_launch_and_mark_is_adopted_and_not_launched_again() {
    let site = Site::new(4).await;
    let id = site.queue("b", json!({})).await;
    let claimed =
        claim_all(site.store.as_ref(), vec![site.record(&id).await], &claimer("c"), Utc::now()).await.remove(0).unwrap().unwrap();
    site.fleet.launch(&LaunchSpec::new(&claimed, RunCommand::Record)).await.unwrap();
    // The controller died here; the next one has the same name.
    let controller = site.controller("c");
    reaped_until_launched(&site, &controller, &id).await;
    assert_eq!(site.fleet.started().len(), 1);
    assert_eq!(site.record(&id).await.instance.facts.attempt, 1, "adopting raises no attempt");
}

#[tokio::test]
async fn c6_a_slow_controller_does_not_overwrite_its_successor() {
    let site = Site::new(4).await;
    let id = site.queue("b", json!({})).await;
    let slow = claim_all(site.store.as_ref(), vec![site.record(&id).await], &claimer("slow"), Utc::now())
        .await
        .remove(0)
        .unwrap()
        .unwrap();
    let mut pace = pace();
    pace.claim_ttl = Duration::from_millis(200);
    reaped_until_launched(&site, &site.controller_with("fast", pace), &id).await;
    let late = launched(site.store.as_ref(), &slow, &JobName::for_instance(&id), Utc::now()).await.unwrap();
    assert_eq!(late, Advanced::Conflict);
    assert_eq!(
        site.fleet.launch(&LaunchSpec::new(&slow, RunCommand::Record)).await.unwrap(),
        controller::launch::Launched::AlreadyThere
    );
    assert_eq!(site.record(&id).await.instance.facts.claim.claimed_by.as_deref(), Some("fast"));
}

#[tokio::test]
async fn c7_no_claim_is_judged_by_the_clock_of_another_machine() {
    let site = Site::new(4).await;
    let id = site.queue("b", json!({})).await;
    let long_ago = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
    claim_all(site.store.as_ref(), vec![site.record(&id).await], &claimer("skewed"), long_ago).await.remove(0).unwrap().unwrap();
    let controller = site.controller("c");
    for _ in 0..5 {
        controller.reap(Utc::now()).await.unwrap();
        controller.claim(Utc::now()).await.unwrap();
    }
    assert_eq!(site.fleet.started().len(), 0, "its expiry lies 25 years back by its own clock, and yet it is fresh");
}

#[tokio::test]
async fn c8_what_cannot_be_claimed_makes_no_hot_loop() {
    let site = Site::new(1).await;
    for index in 0..5 {
        site.queue(&format!("b{index}"), json!({})).await;
    }
    let controller = site.controller("c");
    let running = tokio::spawn({
        let controller = Arc::clone(&controller);
        async move { controller.run().await }
    });
    until("the first launch", || async { (site.fleet.started().len() == 1).then_some(()) }).await;
    let passes = || metric(&controller, r#"meetingbot_poll_seconds_count{pass="claim"}"#);
    let (before, begun) = (passes(), Instant::now());
    until("four seconds", || async { (begun.elapsed() > Duration::from_secs(4)).then_some(()) }).await;
    assert!(passes() - before <= 8.0, "{} passes in 4 s at one poll a second", passes() - before);
    controller.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn c9_a_failed_launch_leaves_nothing_behind_and_is_tried_again() {
    let site = Site::new(4).await;
    let id = site.queue("b", json!({})).await;
    let controller = site.controller("c");
    site.fleet.fail(true);
    controller.claim(Utc::now()).await.unwrap();
    let record = site.record(&id).await;
    assert_eq!((record.instance.phase, record.instance.facts.claim.claimed_by.clone()), (Phase::Queued, None));
    assert_eq!(site.fleet.count(), 0);
    site.fleet.fail(false);
    assert_eq!(controller.claim(Utc::now()).await.unwrap(), 0, "not at once");
    until("the second try", || async {
        controller.claim(Utc::now()).await.unwrap();
        (site.record(&id).await.instance.phase == Phase::Launched).then_some(())
    })
    .await;
    assert_eq!(metric(&controller, r#"meetingbot_launches_total{result="failed"}"#), 1.0);
}

#[tokio::test]
async fn two_controllers_at_once_launch_each_bot_once() {
    let site = Site::new(100).await;
    for index in 0..40 {
        site.meeting(&format!("meetings/m{index}"), json!({})).await;
    }
    let mut pace = pace();
    pace.max_claims = 7;
    let controllers = [site.controller_with("one", pace.clone()), site.controller_with("two", pace)];
    let running: Vec<_> = controllers
        .iter()
        .map(|controller| {
            let controller = Arc::clone(controller);
            tokio::spawn(async move { controller.run().await })
        })
        .collect();
    until("forty launches", || async { (site.fleet.started().len() >= 40).then_some(()) }).await;
    for controller in &controllers {
        controller.stop();
    }
    for task in running {
        task.await.unwrap();
    }
    let mut started: Vec<_> = site.fleet.started().into_iter().map(|(id, _, _)| id).collect();
    started.sort();
    started.dedup();
    assert_eq!((started.len(), site.fleet.started().len()), (40, 40));
    let won: f64 = controllers.iter().map(|controller| metric(controller, r#"meetingbot_claims_total{result="won"}"#)).sum();
    assert_eq!(won, 40.0);
}

#[tokio::test]
async fn nothing_is_claimed_that_cannot_be_started_and_the_urgent_comes_first() {
    let site = Site::new(2).await;
    for (id, priority) in [("low", 0), ("high", 9), ("middle", 5)] {
        site.queue(id, json!({"priority": priority})).await;
    }
    let controller = site.controller("c");
    assert_eq!(controller.claim(Utc::now()).await.unwrap(), 2);
    assert_eq!(controller.claim(Utc::now()).await.unwrap(), 0);
    let mut started: Vec<String> = site.fleet.started().into_iter().map(|(id, _, _)| id.to_string()).collect();
    started.sort();
    assert_eq!(started, ["high", "middle"]);
    assert_eq!(metric(&controller, r#"meetingbot_claims_total{result="won"}"#), 2.0);
}

#[tokio::test]
async fn a_queued_bot_without_a_slot_until_too_late_fails_for_want_of_capacity() {
    let site = Site::new(1).await;
    site.queue("first", json!({})).await;
    let controller = site.controller("c");
    controller.claim(Utc::now()).await.unwrap();
    let late = site.queue("late", json!({"start_time": (Utc::now() - chrono::Duration::hours(1)).to_rfc3339()})).await;
    controller.claim(Utc::now()).await.unwrap();
    let bot = site.record(&late).await.instance;
    assert_eq!((bot.phase, bot.facts.outcome.unwrap().kind), (Phase::Failed, OutcomeKind::NoCapacity));
    assert_eq!(metric(&controller, r#"meetingbot_missed_total{reason="no_capacity"}"#), 1.0);
}
