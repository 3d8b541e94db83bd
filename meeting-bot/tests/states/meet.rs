//! Pages as public code describes Meet's (typographic apostrophes included), and what they mean.

use crate::browser::Case;
use meeting_bot::platform::pack::Meaning::*;

pub(crate) const CASES: &[Case] = &[
    (
        "prejoin",
        r#"<input type="text" aria-label="Your name"><button aria-label="Leave call">x</button><button><span>Ask to join</span></button>"#,
        &[NamePrompt, ReadyToJoin],
    ),
    ("devices", "<button><span>Continue without microphone and camera</span></button>", &[DevicePrompt]),
    ("no_devices", "<div role=dialog>Microphone not found<button>Dismiss</button></div>", &[DevicePrompt]),
    ("host", "<p>Please wait until a meeting host brings you into the call</p>", &[WaitingForHost]),
    (
        "lobby",
        r#"<p>You’ll join the call when someone lets you in</p><button>Return to home screen</button><div data-participant-id="me" aria-label="visual_effects">Backgrounds and effects</div>
           <button aria-label="Turn on microphone">m</button><button aria-label="Leave call">x</button>"#,
        &[Lobby],
    ),
    (
        "call",
        r#"<div data-participant-id="a" data-self-name="x">me</div><div data-participant-id="b">b</div><div data-participant-id="b">b again</div><div data-participant-id="c">c</div>
           <button aria-label="People - 3 joined">p</button><button aria-label="Leave call">x</button>"#,
        &[InCall],
    ),
    ("hidden_call", r#"<div style="display:none"><button aria-label="Turn on captions">c</button></div><p>Loading</p>"#, &[]),
    (
        "recorded",
        r#"<button aria-label="Turn on captions">c</button><div role=dialog aria-modal=true>This video call is being recorded<button data-mdc-dialog-action="ok">Ok</button></div>"#,
        &[InCall, ConsentPrompt],
    ),
    (
        "notes_question",
        r#"<div data-participant-id="a" data-self-name="x">me</div><div role=dialog>Gemini can take notes for me<button>Join now</button></div>"#,
        &[ConsentPrompt, ReadyToJoin],
    ),
    (
        "reconnecting",
        r#"<button aria-label="Turn on captions">c</button><p>You lost your network connection. Trying to reconnect.</p>"#,
        &[InCall, Reconnecting],
    ),
    ("denied", "<h1>Someone in the call denied your request to join</h1>", &[Denied]),
    ("weren't", "<h1>You weren’t allowed to join</h1>", &[Denied]),
    ("nobody", "<h1>No one responded to your request to join the call</h1>", &[RequestTimedOut]),
    ("sign_in", "<div><h1>Sign in</h1><p>Use your Google Account</p></div>", &[SignIn]),
    ("sign_in_link", r#"<a href="/">Sign in</a><p>Already have an account?</p>"#, &[]),
    ("registration", "<h1>Register to join this event</h1>", &[Registration]),
    ("captcha", r#"<iframe src="about:blank#recaptcha" width="300" height="200"></iframe>"#, &[Captcha]),
    ("tiny_captcha", r#"<iframe src="about:blank#recaptcha" width="30" height="20"></iframe>"#, &[]),
    ("blocked", "<h1>You can’t join this video call</h1>", &[Blocked]),
    ("no_connection", "<h1>There is a problem connecting to this video call</h1>", &[CouldNotConnect]),
    ("not_found", "<h1>Check your meeting code</h1>", &[NotFound]),
    ("expired", "<h1>The meeting code you entered doesn’t work</h1>", &[NotFound]),
    ("removed", "<h1>You’ve been removed from the meeting</h1>", &[Removed]),
    ("ended", "<h1>Your host ended the meeting for everyone</h1>", &[Ended]),
    ("left", "<h1>You left the meeting</h1>", &[Left]),
    (
        "alone",
        r#"<div data-participant-id="a" data-self-name="x">me</div><button aria-label="People - 1 joined">p</button><p>No one else is here</p>"#,
        &[InCall, Alone],
    ),
    ("home", "<h1>Secure video conferencing for everyone</h1><button>New meeting</button>", &[]),
];
