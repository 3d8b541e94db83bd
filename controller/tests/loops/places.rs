//! Limits: held by all replicas together, never against what was recorded, and nobody is dropped silently.

use std::sync::Arc;
use std::time::Duration;

use bot_model::capacity::OrganizationLimits;
use bot_model::capacity::day::TimeZone;
use bot_model::capacity::ledger::Refusal;
use bot_model::ids::InstanceId;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_store::DocumentKey;
use bot_store::listing::{Listed, Listing};
use bot_store::protocol::{capacity, exhaustion, organizations};
use chrono::{TimeDelta, Utc};
use controller::config::Pace;
use controller::launch::{RunCommand, RunState};
use serde_json::json;

use crate::site::{Site, metric, pace, until};

fn limited(active: u32) -> Pace {
    let mut pace = pace();
    pace.limits.active = Some(active);
    pace
}

async fn held(site: &Site) -> usize {
    capacity::read(site.store.as_ref()).await.unwrap().map_or(0, |places| places.ledger.holders.len())
}

async fn events(site: &Site, kind: &str) -> usize {
    let outbox = site.store.list(&Listing::oldest(Listed::Outbox), None, 500).await.unwrap().records;
    outbox.iter().filter(|record| record.fields["type"] == kind).count()
}

#[tokio::test]
async fn eight_controllers_at_once_never_pass_the_limit_and_everybody_gets_a_place_in_the_end() {
    let site = Arc::new(Site::new(100).await);
    for index in 0..15 {
        site.queue(&format!("b{index}"), json!({"created_at": Utc::now(), "priority": index % 3})).await;
    }
    let controllers: Vec<_> = (0..8).map(|index| site.controller_with(&format!("c{index}"), limited(5))).collect();
    let running: Vec<_> = controllers
        .iter()
        .map(|controller| {
            let controller = Arc::clone(controller);
            tokio::spawn(async move { controller.run().await })
        })
        .collect();
    let mut done = 0;
    while done < 15 {
        let alive = site.fleet.alive_instances();
        assert!(alive.len() <= 5, "{} runs where 5 may be", alive.len());
        for id in alive {
            if site.record(&id).await.instance.phase == Phase::Launched {
                site.records(&id, 1).await;
                site.finishes(&id).await;
                site.fleet.end_of(&id, RunState::Ended { code: Some(0) });
                done += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("every place to be free", || async { (held(&site).await == 0).then_some(()) }).await;
    controllers.iter().for_each(|controller| controller.stop());
    for task in running {
        task.await.unwrap();
    }
    assert_eq!(site.fleet.started().len(), 15);
    assert_eq!(events(&site, "capacity.exhausted").await, 1, "told once, by one of them");
}

#[tokio::test]
async fn a_full_deployment_is_told_once_and_again_after_it_was_free() {
    let site = Site::new(9).await;
    let controller = site.controller_with("c", limited(1));
    for id in ["first", "second"] {
        site.queue(id, json!({"created_at": Utc::now()})).await;
    }
    for _ in 0..3 {
        controller.claim(Utc::now()).await.unwrap();
    }
    assert_eq!((site.fleet.started().len(), events(&site, "capacity.exhausted").await), (1, 1));
    assert!(exhaustion::read(site.store.as_ref()).await.unwrap().reason.is_some());
    assert_eq!(metric(&controller, "meetingbot_capacity_exhausted"), 1.0);
    assert_eq!(metric(&controller, r#"meetingbot_queued{tier="normal"}"#), 1.0);
    exhaustion::tell(site.store.as_ref(), None, 0, Utc::now()).await.unwrap();
    let reason = exhaustion::read(site.store.as_ref()).await.unwrap().reason;
    assert!(exhaustion::tell(site.store.as_ref(), Some(Refusal::Capacity), 1, Utc::now()).await.unwrap());
    assert_eq!((reason, events(&site, "capacity.exhausted").await), (None, 2));
}

#[tokio::test]
async fn a_request_that_waited_for_too_long_ends_with_its_own_outcome_and_event() {
    let site = Site::new(9).await;
    let controller = site.controller_with("c", limited(1));
    let minute = |ago| Utc::now() - TimeDelta::minutes(ago);
    site.queue("first", json!({"created_at": minute(9)})).await;
    controller.claim(Utc::now()).await.unwrap();
    let patient = site.queue("patient", json!({"created_at": minute(3), "queue_timeout_seconds": 300})).await;
    let hasty = site.queue("hasty", json!({"created_at": minute(3), "queue_timeout_seconds": 120})).await;
    controller.claim(Utc::now()).await.unwrap();
    assert_eq!(site.record(&patient).await.instance.phase, Phase::Queued);
    let ended = site.record(&hasty).await.instance;
    assert_eq!((ended.phase, ended.facts.outcome.unwrap().kind), (Phase::Failed, OutcomeKind::QueueTimeout));
    assert_eq!(events(&site, "queue.timeout").await, 1);
    assert_eq!(metric(&controller, r#"meetingbot_missed_total{reason="queue_timeout"}"#), 1.0);
}

#[tokio::test]
async fn what_was_recorded_is_finalized_whatever_is_full() {
    let site = Site::new(1).await;
    let controller = site.controller_with("c", limited(1));
    let recorded = json!({"recording": {"started_at": Utc::now(), "parts": 1, "segments": 3, "bytes": 9}, "attempt": 1,
        "outcome": {"kind": "host_ended", "attribution": "host", "message": "x"}, "created_at": Utc::now()});
    site.queue("busy", json!({"created_at": Utc::now()})).await;
    controller.claim(Utc::now()).await.unwrap();
    let id = site.queue("recorded", recorded).await;
    controller.claim(Utc::now()).await.unwrap();
    assert_eq!(site.fleet.started().last().map(|(id, _, command)| (id.clone(), *command)), Some((id, RunCommand::Finalize)));
    assert_eq!(held(&site).await, 1, "and takes no place");
}

#[tokio::test]
async fn an_organization_waits_for_its_own_limits_and_nobody_else_does() {
    let site = Site::new(9).await;
    let limits = |per_day| OrganizationLimits {
        max_bots_per_day: Some(per_day),
        time_zone: TimeZone::parse("Asia/Tokyo").unwrap(),
        max_active_bots: None,
    };
    site.store.commit(vec![organizations::write("small", &limits(1), None, Utc::now(), "test")]).await.unwrap();
    let controller = site.controller_with("c", limited(9));
    for (id, organization) in [("s1", "small"), ("s2", "small"), ("o1", "other"), ("o2", "other")] {
        site.queue(id, json!({"created_at": Utc::now(), "creator_organization_id": organization})).await;
    }
    controller.claim(Utc::now()).await.unwrap();
    let mut started: Vec<String> = site.fleet.started().into_iter().map(|(id, _, _)| id.to_string()).collect();
    started.sort();
    assert_eq!(started, ["o1", "o2", "s1"]);
    assert_eq!(events(&site, "capacity.exhausted").await, 0, "there is capacity");
    // Its time passes before its day ends.
    let late = site.record(&InstanceId::parse("s2").unwrap()).await;
    let mut fields = bot_model::document::Fields::new();
    fields.insert("end_time".into(), json!(Utc::now() - TimeDelta::seconds(1)));
    site.store
        .commit(vec![bot_store::Write::update(DocumentKey::Instance(late.instance.id.clone()), late.version, fields)])
        .await
        .unwrap();
    controller.claim(Utc::now()).await.unwrap();
    let ended = site.record(&late.instance.id).await.instance;
    assert_eq!(ended.facts.outcome.unwrap().kind, OutcomeKind::OrganizationLimit);
}

#[tokio::test]
async fn who_ran_before_anybody_counted_is_counted_and_goes_on() {
    let site = Site::new(9).await;
    let free = site.controller("free");
    for id in ["a", "b", "c"] {
        site.queue(id, json!({"created_at": Utc::now()})).await;
    }
    free.claim(Utc::now()).await.unwrap();
    let limiting = site.controller_with("limiting", limited(2));
    site.queue("d", json!({"created_at": Utc::now()})).await;
    limiting.claim(Utc::now()).await.unwrap();
    assert_eq!((held(&site).await, site.fleet.alive()), (3, 3), "more than the limit, and none of them is ended");
    for id in ["a", "b"] {
        let id = InstanceId::parse(id).unwrap();
        site.records(&id, 1).await;
        site.finishes(&id).await;
        site.fleet.end_of(&id, RunState::Ended { code: Some(0) });
    }
    limiting.reap(Utc::now()).await.unwrap();
    limiting.claim(Utc::now()).await.unwrap();
    assert_eq!(site.fleet.started().len(), 4);
}

#[tokio::test]
async fn a_bot_that_waited_for_a_place_had_no_capacity_although_its_controller_was_restarted() {
    let site = Site::new(1).await;
    let controller = site.controller("c");
    let minute = |ago| Utc::now() - TimeDelta::minutes(ago);
    site.queue("busy", json!({"created_at": minute(2)})).await;
    controller.claim(Utc::now()).await.unwrap();
    let late = site.queue("late", json!({"created_at": minute(1), "start_time": minute(1)})).await;
    let unseen = site.queue("unseen", json!({"created_at": minute(1), "start_time": Utc::now() + TimeDelta::hours(1)})).await;
    controller.claim(Utc::now()).await.unwrap();
    assert_eq!(site.record(&late).await.instance.facts.waits_for, None, "a place may come with the next look");
    controller.claim(Utc::now()).await.unwrap();
    let waiting = site.record(&late).await;
    assert_eq!(waiting.instance.facts.waits_for.as_ref().map(|known| known.limit), Some(Refusal::Machine));
    for _ in 0..3 {
        controller.claim(Utc::now()).await.unwrap();
    }
    assert_eq!(site.record(&late).await.version, waiting.version, "written once, and not at every poll");
    drop(controller);
    // By then there is room, and nobody remembers.
    let busy = InstanceId::parse("busy").unwrap();
    site.records(&busy, 1).await;
    site.finishes(&busy).await;
    site.fleet.end_of(&busy, RunState::Ended { code: Some(0) });
    let next = site.controller("next");
    next.claim(Utc::now() + TimeDelta::hours(9)).await.unwrap();
    let kind = async |id| site.record(id).await.instance.facts.outcome.map(|outcome| outcome.kind);
    assert_eq!(kind(&late).await, Some(OutcomeKind::NoCapacity));
    assert_eq!(kind(&unseen).await, Some(OutcomeKind::Missed), "it never waited for anything");
}
