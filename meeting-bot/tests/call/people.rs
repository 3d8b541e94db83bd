//! Who was in the call: seen in a real page, written down while it goes on, told to whoever asks.

use bot_model::people::{JOURNAL_FILE, Role};
use bot_model::segment::PartInfo;
use bot_model::session::{PersonNow, SessionEventKind, SessionPhase};
use bot_model::timeline::{Assembly, JournalOf, Timeline};
use serde_json::{Value, json};

use crate::bot::Bot;
use crate::replica::Replica;
use crate::{SOON, in_call_with};

fn person(id: &str, name: &str, level: &str) -> Value {
    json!({ "id": id, "name": name, "level": level })
}

fn crowd(people: &[Value], messages: &[(&str, &str)]) -> Value {
    let chat: Vec<Value> =
        messages.iter().map(|(id, text)| json!({ "id": id, "author": "Ann\u{202e} Nym", "text": text })).collect();
    json!({ "people": people, "chat": chat })
}

/// The timeline that a manager would make of this bot's folder, as if its one part were the whole recording.
fn timeline(bot: &Bot) -> Timeline {
    let info: PartInfo = serde_json::from_slice(&std::fs::read(bot.part(0).join("part.json")).unwrap()).unwrap();
    let part = bot_model::manifest::ManifestPart {
        attempt: 1,
        run: "r1".into(),
        part: 0,
        started_at: info.started_at,
        offset_secs: 0.0,
        duration_secs: 600.0,
        segments: 1,
    };
    let parts = [part];
    let mut assembly = Assembly::new(&parts);
    let text = std::fs::read_to_string(bot.output.join(JOURNAL_FILE)).unwrap();
    assembly.read(&JournalOf { attempt: 1, run: "r1".into(), text });
    assembly.finish(bot_model::ids::InstanceId::parse("b1").unwrap())
}

async fn roster(bot: &Bot) -> Vec<PersonNow> {
    bot.get("/v1/session/people").await.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_went_spoke_and_wrote_is_written_down_and_told() {
    let replica = Replica::start().await;
    let bot = in_call_with(&replica, "people", 1_000, &[("READ_CHAT", "true")]).await;
    let (ann, bo, cy) = (person("q1", "Ann Nym", "0"), person("q2", "Bo Tanist", "0"), person("q3", "Fireflies Notetaker", "0"));
    let hello = [("m1", "hello\u{7} there")];
    replica.crowd("people", crowd(&[ann.clone(), bo.clone(), cy.clone()], &hello));
    bot.satisfies("two people and a bot", SOON, |state| (state.people.people, state.people.bots) == (2, 1)).await;
    bot.satisfies("a message", SOON, |state| state.people.chat_messages == 1).await;
    let told = roster(&bot).await;
    let number =
        |name: &str| told.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name} is not in {told:?}")).person;
    let (first, second) = (number("Ann Nym"), number("Bo Tanist"));
    assert!(told.iter().any(|one| one.role == Role::Own));

    let speaks = person("q1", "Ann Nym", "0.4");
    replica.crowd("people", crowd(&[speaks.clone(), bo.clone(), cy.clone()], &hello));
    bot.satisfies("Ann to speak", SOON, |state| state.people.speaking == [first]).await;
    // Bo's tile vanishes for a moment while Ann goes on.
    replica.crowd("people", crowd(&[speaks, cy.clone()], &hello));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await; // shorter than an absence: nothing to wait for
    replica.crowd("people", crowd(&[ann.clone(), bo, cy.clone()], &[hello[0], ("m2", "bye")]));
    bot.satisfies("silence", SOON, |state| state.people.speaking.is_empty()).await;
    bot.satisfies("a second message", SOON, |state| state.people.chat_messages == 2).await;
    replica.crowd("people", crowd(&[ann, cy], &[("m2", "bye")]));
    bot.satisfies("Bo to leave", SOON, |state| state.people.people == 1).await;
    let before = std::fs::read_to_string(bot.output.join(JOURNAL_FILE)).unwrap();
    assert!(before.contains("hello") && !before.contains("\"ended\""), "it is not written while the call goes on");
    replica.set("people", "ended", 0);
    bot.reaches(SessionPhase::Ended, SOON).await;

    let timeline = timeline(&bot);
    let find = |name: &str| timeline.participants.iter().find(|one| one.name == name).unwrap();
    assert_eq!((find("Bo Tanist").present.len(), find("Ann Nym").present.len()), (1, 1), "a moment's absence was a leave");
    assert!(find("Ann Nym").present_secs > find("Bo Tanist").present_secs);
    let spoken = find("Ann Nym").speaking_secs;
    assert!((2.5..20.0).contains(&spoken) && find("Bo Tanist").speaking_secs == 0.0, "{spoken}");
    assert_eq!(find("Fireflies Notetaker").role, Role::Bot);
    let said: Vec<_> = timeline.chat.iter().map(|message| (message.author.as_str(), message.text.as_str())).collect();
    assert_eq!(said, [("Ann Nym", "hello there"), ("Ann Nym", "bye")]);

    let events = bot.timeline(0).await;
    let has = |wanted: SessionEventKind| events.iter().any(|event| event.kind == wanted);
    assert!(has(SessionEventKind::PersonJoined { person: first }) && has(SessionEventKind::PersonLeft { person: second }));
    assert!(has(SessionEventKind::Speaking { person: first, began: true }));
    assert!(has(SessionEventKind::Speaking { person: first, began: false }));
    let written = serde_json::to_string(&events).unwrap() + &bot.log();
    assert!(!written.contains("Nym") && !written.contains("hello"), "names or messages are in events or log");
    assert!(!bot.output.join(bot_model::debug_bundle::FOLDER).exists(), "a call that went well left a debug bundle");
}

/// What the killed process knew until a moment before is on the disk, and another session goes on in the same file.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bot_s_journal_ends_with_its_last_whole_line() {
    let replica = Replica::start().await;
    let mut bot = in_call_with(&replica, "journal", 1_000, &[]).await;
    replica.crowd("journal", crowd(&[person("q1", "Ann Nym", "0")], &[]));
    bot.satisfies("Ann", SOON, |state| state.people.people == 1).await;
    bot.process.kill().unwrap();
    bot.leaves_no_process().await;
    let text = std::fs::read_to_string(bot.output.join(JOURNAL_FILE)).unwrap();
    assert!(text.ends_with('\n') && text.contains("Ann Nym") && !text.contains("\"ended\""), "{text}");
}
