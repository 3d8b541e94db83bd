//! The outbox: what is told to others is in the commit of the change.

use bot_model::lifecycle::Step;
use serde_json::json;

use super::*;
use crate::listing::{Listed, Listing};
use crate::outbox::Event;

pub(super) async fn told(store: &Shared) -> Vec<Event> {
    let page = store.list(&Listing::oldest(Listed::Outbox), None, 100).await.expect("list");
    page.records.iter().map(|record| Event::of(record).expect("an event")).collect()
}

fn types(events: &[Event]) -> Vec<&str> {
    let mut types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    types.sort_unstable();
    types
}

/// See its name.
pub async fn every_new_phase_is_in_the_outbox_with_the_change(store: Shared) {
    let record = bound(&store).await;
    let record = step(&store, &record, Step::EnterWaitingRoom).await;
    let record = step(&store, &record, Step::Record).await;
    renew(store.as_ref(), &record, Some(&progress(1)), now()).await.expect("renew");
    let record = instance(&store, &record.instance.id).await;
    let ended = done(&store, &record).await;
    let events = told(&store).await;
    let expected =
        ["bot.claimed", "bot.done", "bot.finalizing", "bot.joining", "bot.queued", "bot.recording", "bot.waiting_room"];
    assert_eq!(types(&events), expected, "each phase once, and a renewal is none");
    let done = events.iter().find(|event| event.event_type == "bot.done").expect("the end");
    assert_eq!((&done.data["bot_id"], &done.data["meeting_ids"]), (&json!(ended.instance.id), &json!(["m"])));
    assert_eq!(done.data["outcome"]["attribution"], "host");
    assert_eq!(done.organization, "org");
    let lines = store.events(&ended.instance.id).await.expect("events");
    let unique = done.id.trim_start_matches("evt_");
    assert!(
        lines.iter().any(|line| line.key.path().ends_with(unique)),
        "the line on the timeline and the event are known to be one"
    );
}

/// See its name.
pub async fn the_end_of_a_meeting_without_a_bot_is_in_the_outbox_once(store: Shared) {
    let late = put_meeting(&store, "late", json!({"start_time": now() - chrono::Duration::hours(2)})).await;
    let hostile = put_meeting(&store, "hostile", json!({"meeting_url": "https://evil.example/CANARY"})).await;
    for _ in 0..2 {
        look(&store, &late).await;
        look(&store, &hostile).await;
    }
    let events = told(&store).await;
    assert_eq!(types(&events), ["bot.failed", "bot.missed"]);
    for event in &events {
        assert_eq!((event.organization.as_str(), &event.data["bot_id"]), ("org", &Value::Null));
    }
    assert!(!format!("{events:?}").contains("CANARY"));
}
