//! The debug bundle: there when a session fails, also when its browser has crashed, and with nothing private in it.

use std::collections::BTreeMap;

use bot_model::debug_bundle::FOLDER;
use bot_model::session::{SessionLimits, SessionPhase};

use crate::bot::Bot;
use crate::replica::Replica;
use crate::{BRING_UP, SOON, in_call, in_call_with};

fn bundle(bot: &Bot) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(bot.output.join(FOLDER)).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_bot_leaves_picture_text_console_and_events_without_anything_private() {
    let replica = Replica::start().await;
    replica.open("c0de-canary", 1_000);
    let bot = Bot::start(&replica.origin).await;
    bot.join("c0de-canary", SessionLimits::default()).await;
    bot.reaches(SessionPhase::WaitingRoom, BRING_UP).await;
    replica.set("c0de-canary", "refusal", 1);
    bot.reaches(SessionPhase::Ended, SOON).await;
    let bundle = bundle(&bot);
    assert_eq!(bundle.keys().collect::<Vec<_>>(), ["console.txt", "events.jsonl", "page.txt", "screenshot.png"]);
    assert!(bundle["screenshot.png"].starts_with(b"\x89PNG"));
    let text = |name: &str| String::from_utf8(bundle[name].clone()).unwrap();
    for name in ["console.txt", "events.jsonl", "page.txt"] {
        let written = text(name).to_lowercase();
        for canary in ["canary", "c4nary", "zoë", "555-010", "example.org", "meet.example"] {
            assert!(!written.contains(canary), "{canary} is in {name}:\n{written}");
        }
    }
    assert!(text("page.txt").contains("denied your request to join"), "{}", text("page.txt"));
    assert!(text("console.txt").contains("refused:"), "{}", text("console.txt"));
    let events = text("events.jsonl");
    assert!(events.contains(r#""phase":"waiting_room""#) && events.contains(r#""kind":"denied""#), "{events}");
    if let Some(folder) = std::env::var_os("KEEP_BUNDLE") {
        bundle.iter().for_each(|(name, bytes)| std::fs::write(std::path::Path::new(&folder).join(name), bytes).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_browser_leaves_its_events_and_no_picture() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "crash-bundle", 1_000).await;
    bot.satisfies("a segment", BRING_UP, |state| state.media.segments >= 1).await;
    bot.kill_child("chromium");
    bot.reaches(SessionPhase::Ended, SOON).await;
    let bundle = bundle(&bot);
    assert!(!bundle.contains_key("screenshot.png") && !bundle.contains_key("page.txt"));
    assert!(String::from_utf8_lossy(&bundle["events.jsonl"]).contains(r#""kind":"browser_crashed""#));
    assert!(bot.part(0).join("part-end.json").exists(), "the bundle came before the recording");
}

/// A roster that no pack can read any more (the page has drifted) must not put names into the bundle.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_call_a_bundle_holds_the_page_s_controls_and_nobody_s_words() {
    let replica = Replica::start().await;
    let bot = in_call_with(&replica, "in-call", 1_000, &[("DEBUG_BUNDLE", "always")]).await;
    replica.set("in-call", "drifted", 1);
    bot.satisfies("a segment", BRING_UP, |state| state.media.segments >= 1).await;
    bot.post("/v1/session/leave", serde_json::json!({ "reason": "asked_to_leave" })).await;
    bot.reaches(SessionPhase::Ended, SOON).await;
    let page = String::from_utf8(bundle(&bot).remove("page.txt").unwrap()).unwrap();
    assert!(page.contains("Leave") && !page.contains("Canary"), "{page}");
}
