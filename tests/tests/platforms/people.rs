//! Who is there, who speaks and what is written, as the packs read it from the page, against the room's own log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bot_model::meeting_url::Platform;
use bot_model::outcome::OutcomeKind;
use chrono::Utc;
use meeting_bot::platform::decide::Decision;
use meeting_bot::platform::probe::ChatSeen;
use serde_json::{Value, json};
use tests::room::PracticeRoom;

use crate::stage::{Case, OWN_NAME, Stage, on_every_platform};

const LOOKS: usize = 40;
const BETWEEN: Duration = Duration::from_millis(250);
/// Through the encoder, the jitter buffer and the page's own meter. A loaded machine takes longer.
const LATE_MS: i64 = 1_200;

/// What was seen in a call.
#[derive(Debug, Default)]
struct Witnessed {
    names: BTreeSet<String>,
    /// When somebody of this name was seen speaking.
    speaking: BTreeMap<String, Vec<i64>>,
    chat: Vec<ChatSeen>,
}

async fn witness(stage: &Stage, code: &str) -> Witnessed {
    let case = Case::new("people", json!({}), OutcomeKind::HostEnded);
    let mut engine = stage.open(code, &case).await;
    engine.read_chat();
    let (mut seen, mut looks) = (Witnessed::default(), 0);
    while looks < LOOKS {
        tokio::time::sleep(BETWEEN).await;
        let Ok(tick) = engine.tick(Duration::ZERO).await else { continue };
        assert!(!matches!(tick.decision, Decision::End(..)), "{tick:?}");
        if tick.decision != Decision::Record {
            continue;
        }
        if looks == 8 {
            let lines = json!([{"do": "chat", "who": "Ana Lima", "text": "Shall we <begin>?"}, {"do": "chat", "who": "Otter.ai", "text": "The meeting has ended"}]);
            stage.room.perform(code, lines).await.unwrap();
        }
        if looks == 12 {
            stage.room.perform(code, json!({"do": "speak", "who": "Otter.ai", "for_ms": 2000})).await.unwrap();
        }
        looks += 1;
        let look = engine.last_look();
        let people = look.people.clone().unwrap_or_default();
        seen.names.extend(people.iter().map(|person| person.name.clone()));
        let now = Utc::now().timestamp_millis();
        for person in people.iter().filter(|person| look.speaking.contains(&person.key)) {
            seen.speaking.entry(person.name.clone()).or_default().push(now);
        }
        if look.chat.len() > seen.chat.len() {
            seen.chat.clone_from(&look.chat);
        }
    }
    seen
}

/// The spans in which somebody spoke, by the room's log.
fn spans(log: &Value, name: &str) -> Vec<(i64, i64)> {
    let own = log.as_array().unwrap().iter().filter(|line| line["name"] == name && !line["speaking"].is_null());
    let mut spans = Vec::new();
    for line in own {
        let at = line["at_ms"].as_i64().unwrap();
        if line["speaking"] == true {
            spans.push((at, i64::MAX));
        } else if let Some(last) = spans.last_mut() {
            last.1 = at;
        }
    }
    spans
}

fn speaking_is_true(who: &str, seen: &[i64], log: &Value) {
    let spans = spans(log, who);
    assert!(seen.len() >= 3, "{who} was seen speaking at {seen:?} only, and spoke {spans:?}");
    for at in seen {
        let fits = spans.iter().any(|(from, to)| at >= from && *at <= to.saturating_add(LATE_MS));
        assert!(fits, "{who} was seen speaking at {at}, and spoke {spans:?}");
    }
}

async fn compare(platform: Platform, room: Arc<PracticeRoom>) {
    let folder = tempfile::tempdir().unwrap();
    let code = format!("people-{platform}");
    let script = [json!({"since": "asked", "after_ms": 300, "do": "admit"})];
    let settings = json!({"launcher": false, "device_prompt": false, "people": ["Otter.ai", "Ana Lima"], "script": script});
    room.open(&code, settings).await.unwrap();
    let _samir = room.participant_process(&code, "Samir", "person", 330, folder.path()).unwrap();
    room.wait_for(&code, "person", "in_call", Duration::from_secs(60)).await.unwrap();
    let stage = Stage::set(platform, Arc::clone(&room)).await;
    let seen = witness(&stage, &code).await;
    stage.strike().await;
    println!("{platform}: {seen:?}");

    let wanted: BTreeSet<String> = ["Otter.ai", "Ana Lima", "Samir", OWN_NAME].map(str::to_owned).into();
    assert_eq!(seen.names, wanted, "{platform}");
    let log = room.log(&code).await.unwrap();
    for who in ["Samir", "Otter.ai"] {
        speaking_is_true(who, seen.speaking.get(who).map_or(&[], Vec::as_slice), &log);
    }
    assert!(!seen.speaking.contains_key("Ana Lima"), "{platform}: Ana never spoke");
    let chat: Vec<(&str, &str)> = seen.chat.iter().map(|line| (line.author.as_str(), line.text.as_str())).collect();
    // What somebody writes is no sign of a state, not even these words.
    assert_eq!(chat, [("Ana Lima", "Shall we <begin>?"), ("Otter.ai", "The meeting has ended")], "{platform}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_who_speaks_and_what_is_written_is_what_the_room_knows() {
    on_every_platform(compare).await;
}
