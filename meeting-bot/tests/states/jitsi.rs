//! The worked example of a pack for a platform that is not built in: its states, and a whole join through the engine.

use std::path::Path;
use std::time::Duration;

use bot_model::session::SessionLimits;
use meeting_bot::platform::decide::Decision;
use meeting_bot::platform::engine::Engine;
use meeting_bot::platform::pack::Meaning::*;
use meeting_bot::platform::pack::Pack;

use crate::browser::{Case, Looker};

const CASES: &[Case] = &[
    (
        "prejoin",
        r#"<div class="premeeting-screen"><input id="premeeting-name-input"><div role=button tabindex=0 data-testid="prejoin.joinMeeting">Join meeting</div></div>"#,
        &[NamePrompt, ReadyToJoin],
    ),
    ("knock", r#"<button data-testid="lobby.knockButton">Ask to join</button>"#, &[ReadyToJoin]),
    ("password", r#"<input name="lockKey">"#, &[PasscodePrompt]),
    ("wrong", "<p>Incorrect password</p>", &[WrongPasscode]),
    ("moderator", "<p>The conference has not yet started because no moderators have yet arrived.</p>", &[WaitingForHost]),
    ("lobby", "<p>Asking to join meeting…</p>", &[Lobby]),
    (
        "call",
        r#"<div id="new-toolbox"><div role=button aria-label="Leave the meeting">x</div></div><div class="chatmessage">Meeting ended</div>"#,
        &[InCall],
    ),
    ("reconnecting", "<p>You have been disconnected. You may want to check your network connection.</p>", &[Reconnecting]),
    ("denied", r#"<p data-testid="lobby.joinRejectedMessage">no</p>"#, &[Denied]),
    ("removed", "<p>You have been removed from the meeting</p>", &[Removed]),
    ("ended", "<p>The meeting has been terminated</p>", &[Ended]),
    ("left", "<p>Thank you for using Example!</p>", &[Left]),
    ("alone", "<p>You are the only one in the meeting</p>", &[Alone]),
];

/// Joins on a click, is let in after a moment, and leaves on a click.
const CLIENT: &[Case] = &[(
    "room",
    r#"<div id=stage class="premeeting-screen"><input id="premeeting-name-input"><div role=button tabindex=0 data-testid="prejoin.joinMeeting" id=join>Join meeting</div></div><script>
       const stage = document.getElementById('stage');
       document.getElementById('join').onclick = () => {
         const name = document.querySelector('input').value;
         stage.className = '';
         stage.innerHTML = '<p>Asking to join meeting…</p>';
         setTimeout(() => {
           stage.innerHTML = '<div class="videocontainer" id="localVideoContainer"><span id="localDisplayName" class="displayname"></span></div><div class="videocontainer dominant-speaker" id="participant_1a"><span class="displayname">Ann</span></div><div id="new-toolbox"><div role="button" tabindex="0" aria-label="Leave the meeting">Leave</div></div>';
           document.getElementById('localDisplayName').textContent = name;
           document.querySelector('[aria-label="Leave the meeting"]').onclick = () => { stage.innerHTML = '<p>Thank you for using Example!</p>'; };
         }, 500);
       };</script>"#,
    &[],
)];

fn pack() -> Pack {
    Pack::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("packs/jitsi.toml")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_the_example_is_recognised_and_no_other() {
    crate::check_all_of(pack(), CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_not_built_in_is_joined_and_left_by_its_pack_alone() {
    let looker = Looker::with_pack(pack(), CLIENT).await;
    looker.look("room").await;
    let page = looker.browser.page().clone();
    let mut engine = Engine::new(page, pack(), Some(looker.host()), SessionLimits::default(), "Recorder");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while engine.tick(Duration::ZERO).await.unwrap().decision != Decision::Record {
        assert!(tokio::time::Instant::now() < deadline, "not in the call: {:?}", engine.last_look());
    }
    let seen = engine.last_look();
    let names: Vec<(&str, bool)> = seen.people.iter().flatten().map(|person| (person.name.as_str(), person.is_self)).collect();
    assert_eq!(names, [("Recorder", true), ("Ann", false)]);
    assert!(seen.speaking.contains("participant_1a"));
    assert!(engine.leave(Duration::from_secs(5)).await);
    assert!(looker.again().await.meanings.contains(&Left));
    looker.stop().await;
}
