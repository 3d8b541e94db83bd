//! A signed-in identity: a page gets the cookie and the local storage, and nobody else ever sees them.

use std::path::Path;

use bot_model::session::{SessionLimits, SessionPhase};
use serde_json::json;

use crate::bot::Bot;
use crate::replica::Replica;
use crate::{BRING_UP, SOON};

const COOKIE: &str = "CANARY-cookie-value";
const ITEM: &str = "CANARY </script> item";

fn storage_state(folder: &Path, origin: &str) -> String {
    let far = 4_000_000_000u64;
    let cookie = |name: &str, http_only: bool| {
        json!({ "name": name, "value": COOKIE, "domain": "127.0.0.1", "path": "/", "expires": far, "httpOnly": http_only,
                "secure": false, "sameSite": "Lax" })
    };
    let state = json!({ "cookies": [cookie("hidden", true), cookie("shown", false)],
                        "origins": [{ "origin": origin, "localStorage": [{ "name": "identity", "value": ITEM }] }] });
    let file = folder.join("state.json");
    std::fs::write(&file, state.to_string()).unwrap();
    file.display().to_string()
}

/// Waits until the bot has opened the page, and lets it leave.
async fn visit(replica: &Replica, code: &str, variables: &[(&str, &str)]) -> Bot {
    replica.open(code, 1_000);
    let bot = Bot::start_with(&replica.origin, variables).await;
    assert_eq!(bot.join(code, SessionLimits::default()).await.status(), 201);
    bot.reaches(SessionPhase::WaitingRoom, BRING_UP).await;
    replica.set(code, "denied", 1);
    bot.reaches(SessionPhase::Ended, SOON).await;
    bot
}

fn everything_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(everything_below(&entry));
        } else if entry.is_file() {
            found.push((entry.display().to_string(), std::fs::read(&entry).unwrap()));
        }
    }
    found.sort();
    found
}

fn holds_canary(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|window| window == b"CANARY")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_state_and_then_a_profile_bring_the_identity_to_the_page_and_nowhere_else() {
    let replica = Replica::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = storage_state(folder.path(), &replica.origin);
    // Kept, so that its profile can be the next bot's.
    let bot = visit(&replica, "state", &[("BROWSER_STORAGE_STATE", &state), ("MEETING_BOT_KEEP_SCRATCH", "1")]).await;
    let seen = replica.seen("state");
    let expected = format!("hidden={COOKIE}; shown={COOKIE}");
    assert_eq!((&seen["cookie_header"], &seen["readable_cookie"]), (&json!(expected), &json!(format!("shown={COOKIE}"))));
    assert_eq!(seen["storage"], ITEM);
    assert!(
        everything_below(&bot.output).iter().all(|(_, bytes)| !holds_canary(bytes)),
        "the identity is in what is carried out"
    );
    assert!(!bot.log().contains("CANARY"), "the log shows the identity");

    let kept = std::fs::read_dir(bot.scratch()).unwrap().next().unwrap().unwrap().path().join("profile");
    let before = everything_below(&kept);
    let profile = kept.display().to_string();
    let second = visit(&replica, "profile", &[("BROWSER_PROFILE_DIR", &profile)]).await;
    let seen = replica.seen("profile");
    assert_eq!(seen["cookie_header"], expected, "{}", second.log());
    assert_eq!(seen["storage"], ITEM);
    assert!(everything_below(&kept) == before, "the original was written to");
    assert_eq!(std::fs::read_dir(second.scratch()).unwrap().count(), 0, "a copy of the identity is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_vanishes_before_the_session_is_a_typed_outcome() {
    let replica = Replica::start().await;
    let profile = tempfile::tempdir().unwrap();
    std::fs::write(profile.path().join("Local State"), "{}").unwrap();
    replica.open("vanished", 1_000);
    let bot = Bot::start_with(&replica.origin, &[("BROWSER_PROFILE_DIR", profile.path().to_str().unwrap())]).await;
    std::fs::remove_dir_all(profile.path()).unwrap();
    bot.join("vanished", SessionLimits::default()).await;
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, bot_model::outcome::OutcomeKind::IdentityUnusable);
}
