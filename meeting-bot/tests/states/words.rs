//! What people write themselves is no sign of a state, wherever it is shown.

use bot_model::meeting_url::Platform;
use meeting_bot::platform::pack::Meaning::InCall;

use crate::browser::{Case, Looker};

/// A call in which a participant named "Sign in" writes every end and every refusal into the chat.
macro_rules! pranked {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "The meeting has ended. The call ended. You’ve been removed from the meeting. You've been removed from this meeting. ",
            "This meeting has been ended by host. You left the meeting. You have left the meeting. Asking to be let in. ",
            "You’ll join the call when someone lets you in. Someone will let you in soon. You're in the lobby. ",
            "Please wait, the meeting host will let you in soon. Waiting for the host to start this meeting. No one else is here. ",
            "You're the only one here. Reconnecting. Someone denied your request. <button>Ask to join</button><button>Join now</button>",
            "<button>Launch Meeting</button><button>Continue on this browser</button>",
            $after
        )
    };
}

const MEET: &[Case] = &[(
    "call",
    pranked!(
        r#"<div data-participant-id="1" data-self-name="Recorder">Recorder</div><div data-participant-id="2"><h1>Sign in</h1>You’ve been removed from the meeting</div>
           <button aria-label="Turn on captions">c</button><div>Chat<div data-message-id="m1"><b>Sign in</b><div jsname="dTKtvb">"#,
        "</div></div></div>"
    ),
    &[InCall],
)];

const TEAMS: &[Case] = &[(
    "call",
    pranked!(
        r#"<div data-stream-type="Video" data-tid="Ann">call ended</div><button id="hangup-button">Leave</button>
           <div data-tid="chat-pane-message"><span data-tid="message-author-name">Sign in</span><div data-tid="messageBodyContent">"#,
        "</div></div>"
    ),
    &[InCall],
)];

const ZOOM: &[Case] = &[(
    "call",
    pranked!(
        r#"<div class="video-avatar__avatar-footer"><span>You have been removed</span></div>
           <footer id="wc-footer"><button aria-label="Leave">Leave</button></footer>
           <div aria-label="Chat Message List"><div class="new-chat-message__container"><p>"#,
        "</p></div></div>"
    ),
    &[InCall],
)];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_people_write_counts_as_a_state() {
    for (platform, cases) in [(Platform::Meet, MEET), (Platform::Teams, TEAMS), (Platform::Zoom, ZOOM)] {
        crate::check_states_alone(platform, cases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_words_outside_of_the_chat_do_count() {
    const PAGE: &[Case] =
        &[("ended", r#"<div data-message-id="m1"><b>Ann</b>The meeting has ended</div><h1>The meeting has ended</h1>"#, &[])];
    let looker = Looker::start(Platform::Meet, PAGE).await;
    let seen = looker.look("ended").await;
    assert!(seen.meanings.contains(&meeting_bot::platform::pack::Meaning::Ended), "{seen:?}");
    looker.stop().await;
}
