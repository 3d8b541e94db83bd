//! Two occurrences on one link: the bot of the earlier one stays until its own end has passed and then makes room; by the room's
//! own log there are never two in the call.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bot_model::document::Fields;
use bot_model::ids::MeetingPath;
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::outcome::OutcomeKind;
use bot_store::{DocumentKey, Write};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tests::room::PracticeRoom;
use tests::stack::Stack;

const ROOM: &str = "weekly";
const LIMIT: Duration = Duration::from_secs(120);

async fn occurrence(stack: &Stack, name: &str, start: DateTime<Utc>, end: Option<DateTime<Utc>>) -> MeetingPath {
    let path = MeetingPath::parse(&format!("meetings/{name}")).unwrap();
    let fields = json!({
        "meeting_url": format!("practice:meet/{ROOM}"), "status": "scheduled", "bot_name": name,
        "start_time": start.to_rfc3339(), "end_time": end.map(|end| end.to_rfc3339()),
    });
    let fields: Fields = fields.as_object().unwrap().clone();
    assert!(stack.store().commit(vec![Write::create(DocumentKey::Meeting(path.clone()), fields)]).await.unwrap().is_applied());
    path
}

/// The most guests that were in the call at once, by the room's log.
fn most_at_once(log: &Value) -> i32 {
    let (mut inside, mut most) = (0, 0);
    for entry in log.as_array().unwrap().iter().filter(|entry| entry["role"] == "guest") {
        match entry["state"].as_str().unwrap() {
            "in_call" => inside += 1,
            "left" | "removed" | "ended" => inside -= 1,
            _ => {}
        }
        most = most.max(inside);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_of_the_earlier_occurrence_makes_room_after_its_end_and_both_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let room = PracticeRoom::start(folder.path()).await.unwrap();
    room.open(ROOM, json!({"lobby": false})).await.unwrap();
    let _clara = room.participant_process(ROOM, "Clara", "clock", 1000, folder.path()).unwrap();
    room.wait_for(ROOM, "clock", "in_call", LIMIT).await.unwrap();
    let stack = Stack::start(folder.path(), Some(&room.origin), &[("JOIN_LEAD_SECONDS", "900")]).await.unwrap();

    let now = Utc::now();
    let earlier = occurrence(&stack, "earlier", now - TimeDelta::minutes(10), Some(now + TimeDelta::seconds(25))).await;
    stack.wait_for("the earlier recording", &earlier, LIMIT, |instance| instance.phase == Phase::Recording).await.unwrap();
    let later = occurrence(&stack, "later", now + TimeDelta::minutes(10), None).await;
    stack.wait_for("the later recording", &later, LIMIT, |instance| instance.phase == Phase::Recording).await.unwrap();
    let first = stack.wait_for("the earlier end", &earlier, LIMIT, |instance| instance.phase.is_terminal()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await; // a part of the call to be recorded: nothing to wait for
    room.end(ROOM).await.unwrap();
    let second = stack.wait_for("the later end", &later, LIMIT, |instance| instance.phase.is_terminal()).await.unwrap();

    assert_eq!((first.phase, first.facts.outcome.clone().unwrap().kind), (Phase::Done, OutcomeKind::AskedToLeave));
    assert_eq!((second.phase, second.facts.outcome.clone().unwrap().kind), (Phase::Done, OutcomeKind::HostEnded));
    let log = room.log(ROOM).await.unwrap();
    assert_eq!(most_at_once(&log), 1, "{log}");
    assert!(first.facts.recording.as_ref().unwrap().ended_at.unwrap() >= now + TimeDelta::seconds(25), "it left before its end");
    for instance in [first, second] {
        let video = stack.recording_folder(&instance).unwrap().join(ObjectName::Video.file_name());
        let judged = practice_room::judge::judge(&video).unwrap();
        assert!(judged.unique_frames > 40, "{judged:?}");
    }
}
