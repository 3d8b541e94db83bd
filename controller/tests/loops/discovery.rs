//! Discover, enqueue, cancel.

use bot_model::configuration::{Naming, QueryMode};
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_store::DocumentKey;
use chrono::{Duration, Utc};
use controller::discover::Look;
use serde_json::json;

use crate::site::{Site, metric};

fn at(minutes: i64) -> String {
    (Utc::now() + Duration::minutes(minutes)).to_rfc3339()
}

#[tokio::test]
async fn a_due_meeting_is_launched_once_however_often_it_is_looked_at() {
    let site = Site::new(4).await;
    let meeting = site.meeting("meetings/m", json!({"start_time": at(1)})).await;
    let controller = site.controller("c");
    for _ in 0..3 {
        site.round(&controller).await;
        controller.reap(Utc::now()).await.unwrap();
    }
    assert_eq!(site.fleet.started().len(), 1);
    let bot = site.bot(&meeting).await;
    assert_eq!((bot.phase, bot.facts.attempt, bot.facts.claim.claimed_by.as_deref()), (Phase::Launched, 1, Some("c")));
    assert!(bot.facts.job_name.is_some());
}

#[tokio::test]
async fn c4_a_bot_is_sent_within_the_window_alone_and_a_meeting_past_it_is_missed_explicitly() {
    let site = Site::new(4).await;
    let early = site.meeting("meetings/early", json!({"start_time": at(60)})).await;
    let late = site.meeting("meetings/late", json!({"start_time": at(-60)})).await;
    let ended = site.meeting("meetings/ended", json!({"start_time": at(-10), "end_time": at(-1)})).await;
    let due = site.meeting("meetings/due", json!({"start_time": at(-10)})).await;
    let controller = site.controller("c");
    site.round(&controller).await;
    site.round(&controller).await;
    assert_eq!(site.fleet.started().len(), 1);
    assert!(site.link(&due).await.is_some() && site.link(&early).await.is_none());
    for missed in [&late, &ended] {
        let fields = site.fields(missed).await;
        assert_eq!((&fields["bot_status"], &fields["bot_outcome"]["kind"]), (&json!("missed"), &json!("missed")));
    }
    assert_eq!(metric(&controller, r#"meetingbot_missed_total{reason="too_late"}"#), 2.0, "counted once each");
}

#[tokio::test]
async fn the_window_poll_finds_what_has_a_start_and_the_sweep_the_rest() {
    let site = Site::new(4).await;
    site.meeting("meetings/with", json!({"start_time": at(1)})).await;
    let without = site.meeting("meetings/without", json!({})).await;
    let controller = site.controller("c");
    controller.discover(Look::Window, Utc::now()).await.unwrap();
    assert_eq!(metric(&controller, r#"meetingbot_enqueued_total{result="created"}"#), 1.0);
    controller.discover(Look::These([without].into()), Utc::now()).await.unwrap();
    assert_eq!(metric(&controller, r#"meetingbot_enqueued_total{result="created"}"#), 2.0);
}

#[tokio::test]
async fn c3_linked_meetings_however_many_do_not_hide_a_new_one() {
    let site = Site::new(500).await;
    for index in 0..250 {
        site.meeting(&format!("meetings/a{index:03}"), json!({"bot_instance_id": "somebody"})).await;
    }
    let last = site.meeting("meetings/z", json!({})).await;
    site.round(&site.controller("c")).await;
    assert!(site.link(&last).await.is_some());
}

#[tokio::test]
async fn c3_every_configured_status_wants_a_bot_under_custom_names() {
    let naming = Naming::read(|name| match name {
        "MEETING_STATUS_VALUES" => Some("scheduled, confirmed".into()),
        "MEETING_STATUS_FIELD" => Some("state".into()),
        "MEETING_BOT_INSTANCE_FIELD" => Some("bot".into()),
        "BOT_INSTANCE_QUEUED_VALUE" => Some("waiting".into()),
        _ => None,
    });
    let site = Site::named(4, naming.unwrap()).await;
    let one = site.meeting("meetings/one", json!({"state": "scheduled"})).await;
    let two = site.meeting("meetings/two", json!({"state": "confirmed"})).await;
    let other = site.meeting("meetings/other", json!({"state": "draft"})).await;
    site.round(&site.controller("c")).await;
    assert_eq!(site.fleet.started().len(), 2);
    assert!(site.fields(&one).await.contains_key("bot") && site.link(&two).await.is_some() && site.link(&other).await.is_none());
}

#[tokio::test]
async fn fifty_poison_documents_do_not_delay_a_good_one_and_each_gets_its_reason() {
    let site = Site::new(4).await;
    let poisons = [
        json!({"meeting_url": 7}),
        json!({"meeting_url": "https://meet.google.com.evil.example/abc-defg-hij"}),
        json!({"meeting_url": "https://user:CANARY@meet.google.com/abc-defg-hij"}),
        json!({"meeting_url": "https://127.0.0.1/abc"}),
        json!({"meeting_url": "https://meet.google.com/abc-defg-hij?u=https://evil.example"}),
        json!({"meeting_url": format!("https://meet.google.com/abc-defg-hij?{}", "x".repeat(3000))}),
        json!({"gcs_path": "../../etc"}),
        json!({"start_time": "tomorrow"}),
        json!({"priority": "high", "notes": "\u{0} \u{1F4A9}"}),
        json!({"meeting_url": null, "padding": "x".repeat(900_000)}),
    ];
    let mut bad = Vec::new();
    for index in 0..50 {
        bad.push(site.meeting(&format!("meetings/a{index:02}"), poisons[index % poisons.len()].clone()).await);
    }
    let good = site.meeting("meetings/z", json!({})).await;
    let controller = site.controller("c");
    site.round(&controller).await;
    assert_eq!(site.bot(&good).await.phase, Phase::Launched);
    // A well-formed address with a query is rebuilt without it: such a document is no poison.
    let mut refused = 0;
    for path in bad {
        let fields = site.fields(&path).await;
        if site.link(&path).await.is_some() {
            continue;
        }
        refused += 1;
        let message = fields["bot_outcome"]["message"].as_str().unwrap();
        assert_eq!(fields["bot_outcome"]["kind"], "invalid_document");
        assert!(message.contains("field ") && !message.contains("CANARY"), "{message}");
    }
    assert!(refused >= 40, "{refused} refused");
    let rejected = metric(&controller, r#"meetingbot_enqueued_total{result="rejected"}"#);
    site.round(&controller).await;
    assert_eq!(metric(&controller, r#"meetingbot_enqueued_total{result="rejected"}"#), rejected, "said once");
}

#[tokio::test]
async fn two_documents_for_one_occurrence_are_one_launch_and_both_get_the_result() {
    let site = Site::new(4).await;
    let start = at(1);
    let one = site.meeting("meetings/one", json!({"start_time": start})).await;
    let two = site.meeting("meetings/two", json!({"start_time": start})).await;
    let controller = site.controller("c");
    site.round(&controller).await;
    assert_eq!(site.fleet.started().len(), 1);
    assert_eq!(site.link(&one).await, site.link(&two).await);
    let id = site.link(&one).await.unwrap();
    site.records(&id, 3).await;
    site.finishes(&id).await;
    for path in [&one, &two] {
        assert_eq!(site.fields(path).await["bot_status"], "done");
    }
}

#[tokio::test]
async fn a_meeting_whose_link_was_cleared_is_armed_again_and_gets_a_new_bot() {
    let site = Site::new(4).await;
    let meeting = site.meeting("meetings/m", json!({})).await;
    let controller = site.controller("c");
    site.round(&controller).await;
    let first = site.link(&meeting).await.unwrap();
    site.records(&first, 3).await;
    site.finishes(&first).await;
    site.edit(&meeting, json!({"bot_instance_id": null})).await;
    site.round(&controller).await;
    let second = site.link(&meeting).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(metric(&controller, r#"meetingbot_enqueued_total{result="rearmed"}"#), 1.0);
    assert_eq!(site.fleet.started().len(), 2);
}

#[tokio::test]
async fn c14_equal_document_ids_in_a_collection_group_are_different_meetings() {
    let naming = Naming { query_mode: QueryMode::CollectionGroup, ..Naming::default() };
    let site = Site::named(4, naming).await;
    let one = site.meeting("organizations/a/meetings/m", json!({})).await;
    let two = site.meeting("organizations/b/meetings/m", json!({})).await;
    site.round(&site.controller("c")).await;
    assert_ne!(site.link(&one).await.unwrap(), site.link(&two).await.unwrap());
    assert_eq!(site.fleet.started().len(), 2);
}

#[tokio::test]
async fn c5_a_meeting_cancelled_before_the_launch_is_not_launched() {
    let site = Site::new(0).await;
    let meeting = site.meeting("meetings/m", json!({})).await;
    let controller = site.controller("c");
    site.round(&controller).await;
    assert_eq!(site.bot(&meeting).await.phase, Phase::Queued, "no slot is free");
    site.edit(&meeting, json!({"status": "cancelled"})).await;
    controller.cancel(Look::Everything, Utc::now()).await.unwrap();
    let bot = site.bot(&meeting).await;
    assert_eq!((bot.phase, bot.facts.outcome.unwrap().kind), (Phase::Cancelled, OutcomeKind::Cancelled));
    assert_eq!(site.fields(&meeting).await["bot_status"], "cancelled");
    assert!(site.fleet.started().is_empty());
}

/// Asked to leave while its launch was under way, which then failed: nobody is there to obey.
#[tokio::test]
async fn a_bot_that_was_called_back_and_is_queued_again_with_nothing_recorded_is_cancelled() {
    let site = Site::new(4).await;
    let id = site.queue("called-back", json!({"cancel_requested_at": Utc::now()})).await;
    let record = site.record(&id).await;
    assert!(record.instance.facts.cancel_requested_at.is_some());
    let controller = site.controller("c");
    let meeting = site.meeting("meetings/m", json!({"bot_instance_id": id})).await;
    let mut linked = record.instance.clone();
    linked.facts.meeting_path = Some(meeting.clone());
    let fields = linked.encode(site.store.naming());
    let write = bot_store::Write::update(DocumentKey::Instance(id.clone()), record.version, fields);
    assert!(site.store.commit(vec![write]).await.unwrap().is_applied());
    controller.claim(Utc::now()).await.unwrap();
    assert_eq!(site.record(&id).await.instance.phase, Phase::Queued, "nothing is launched for it");
    controller.cancel(Look::Everything, Utc::now()).await.unwrap();
    assert_eq!(site.record(&id).await.instance.phase, Phase::Cancelled);
    assert!(site.fleet.started().is_empty());
}

#[tokio::test]
async fn a_running_bot_is_asked_to_leave_when_its_meeting_is_cancelled_or_deleted() {
    for deletes in [false, true] {
        let site = Site::new(4).await;
        let meeting = site.meeting("meetings/m", json!({})).await;
        let controller = site.controller("c");
        site.round(&controller).await;
        let id = site.link(&meeting).await.unwrap();
        site.records(&id, 2).await;
        if deletes {
            site.delete(&meeting).await;
        } else {
            site.edit(&meeting, json!({"status": "cancelled"})).await;
        }
        controller.reap(Utc::now()).await.unwrap();
        controller.cancel(Look::These([meeting.clone()].into()), Utc::now()).await.unwrap();
        let bot = site.record(&id).await.instance;
        assert!(bot.facts.cancel_requested_at.is_some());
        assert_eq!(bot.phase, Phase::Recording, "what is recorded is finalized by the manager");
        assert_eq!(site.fleet.alive(), 1, "nobody kills it");
    }
}

#[tokio::test]
async fn merely_leaving_scheduled_cancels_nothing_and_a_twin_keeps_the_bot() {
    let site = Site::new(4).await;
    let start = at(1);
    let one = site.meeting("meetings/one", json!({"start_time": start})).await;
    let two = site.meeting("meetings/two", json!({"start_time": start})).await;
    let controller = site.controller("c");
    site.round(&controller).await;
    site.edit(&one, json!({"status": "in_progress"})).await;
    controller.cancel(Look::Everything, Utc::now()).await.unwrap();
    assert!(site.bot(&one).await.facts.cancel_requested_at.is_none());
    site.edit(&one, json!({"status": "cancelled"})).await;
    controller.cancel(Look::Everything, Utc::now()).await.unwrap();
    assert!(site.bot(&one).await.facts.cancel_requested_at.is_none(), "the other one still wants it");
    site.edit(&two, json!({"status": "cancelled"})).await;
    controller.cancel(Look::Everything, Utc::now()).await.unwrap();
    assert!(site.bot(&one).await.facts.cancel_requested_at.is_some());
}

#[tokio::test]
async fn an_unusable_instance_gets_a_reason_and_an_unknown_status_is_left_alone_and_counted() {
    let site = Site::new(4).await;
    let bad = site.queue("bad", json!({"meeting_url": "https://evil.example/CANARY"})).await;
    let odd = site.queue("odd", json!({"phase": "paused"})).await;
    let newer = site.queue("newer", json!({"schema_version": 99})).await;
    let good = site.queue("good", json!({})).await;
    let controller = site.controller("c");
    controller.claim(Utc::now()).await.unwrap();
    let fields = site.store.read(&DocumentKey::Instance(bad)).await.unwrap().unwrap().fields;
    assert_eq!((&fields["status"], &fields["outcome"]["kind"]), (&json!("failed"), &json!("invalid_document")));
    assert!(!fields["outcome"].to_string().contains("CANARY"));
    for untouched in [odd, newer] {
        let fields = site.store.read(&DocumentKey::Instance(untouched)).await.unwrap().unwrap().fields;
        assert_eq!(fields["status"], "queued");
        assert!(!fields.contains_key("outcome"));
    }
    assert_eq!(metric(&controller, "meetingbot_unknown_status_total"), 2.0);
    assert_eq!(site.record(&good).await.instance.phase, Phase::Launched);
    assert_eq!(site.fleet.started().len(), 1);
}
