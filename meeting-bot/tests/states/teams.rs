//! Pages as public code describes the Teams web client's, and what they mean.

use crate::browser::Case;
use meeting_bot::platform::pack::Meaning::*;

pub(crate) const CASES: &[Case] = &[
    (
        "launcher",
        r#"<h1>How do you want to join your Teams meeting?</h1><button aria-label="Join meeting from this browser">Continue on this browser</button><button>Join on the Teams app</button>"#,
        &[Launcher],
    ),
    (
        "prejoin",
        r#"<input data-tid="prejoin-display-name-input" placeholder="Type your name"><div role=checkbox data-tid="toggle-video" aria-checked=true>v</div><button data-tid="prejoin-join-button">Join now</button><button data-tid="prejoin-cancel-button">Cancel</button>"#,
        &[NamePrompt, ReadyToJoin],
    ),
    ("drifted_prejoin", r#"<input type=text placeholder="Enter name"><button>Join now</button>"#, &[NamePrompt, ReadyToJoin]),
    (
        "devices",
        r#"<div role=dialog>Are you sure you don’t want audio or video?<button>Continue without audio or video</button></div>"#,
        &[DevicePrompt],
    ),
    ("allow", "<p>Select Allow to let Microsoft Teams use your mic and camera</p>", &[DevicePrompt]),
    (
        "passcode",
        r#"<input type=text placeholder="Type a meeting passcode"><button>Join meeting</button>"#,
        &[PasscodePrompt, ReadyToJoin],
    ),
    (
        "wrong_passcode",
        r#"<input type=text placeholder="Passcode"><p>The passcode you entered is incorrect.</p>"#,
        &[PasscodePrompt, WrongPasscode],
    ),
    ("host", "<p>When the meeting starts, we’ll let people know you’re waiting.</p>", &[WaitingForHost]),
    ("lobby", r#"<p>Someone will let you in soon</p><button>Leave</button>"#, &[Lobby]),
    (
        "lobby_2",
        r#"<p>Hi, Recorder! Someone in the meeting should let you in soon</p><button aria-label="Leave">x</button>"#,
        &[Lobby],
    ),
    (
        "call",
        r#"<div data-tid="Ann" data-stream-type="Video">Ann</div><button id="roster-button" aria-label="People (2)">People</button><button id="chat-button">Chat</button><button id="raisehands-button">Raise</button><button id="hangup-button" aria-label="Leave (Ctrl+Shift+H)">Leave</button>"#,
        &[InCall],
    ),
    ("hidden_call", r#"<div style="visibility:hidden"><button id="hangup-button">Leave</button></div>"#, &[]),
    (
        "consent",
        r#"<button id="hangup-button">Leave</button><div role=dialog>Recording and transcription have started. Let everyone know<button>OK</button></div>"#,
        &[InCall, ConsentPrompt],
    ),
    (
        "reconnecting",
        r#"<button id="hangup-button">Leave</button><p>You’ve lost your internet connection. Reconnecting…</p>"#,
        &[InCall, Reconnecting],
    ),
    (
        "denied",
        r#"<h1>Sorry, but you were denied access to the meeting.</h1><button data-tid="calling-retry-cancelbutton">Dismiss</button>"#,
        &[Denied],
    ),
    ("declined", "<h1>Your request to join was declined</h1>", &[Denied]),
    ("nobody", "<h1>No one responded to your request to join</h1>", &[RequestTimedOut]),
    ("sign_in", "<h1>We need to verify your info before you can join</h1><button>Sign in</button>", &[SignIn]),
    ("microsoft", r#"<input name="loginfmt" type="email">"#, &[SignIn]),
    ("sign_in_link", r#"<p>Have an account?</p><a href="/">Sign in</a>"#, &[]),
    ("registration", "<h1>Register for this event</h1>", &[Registration]),
    ("captcha", "<h1>Verify you’re a real person</h1><input aria-label='Enter the characters'>", &[Captcha]),
    ("policy", "<h1>External participants are not permitted to join before the event begins</h1>", &[Blocked]),
    ("no_connection", "<h1>Sorry, we couldn’t connect you</h1>", &[CouldNotConnect]),
    ("encrypted", r#"<div data-tid="calling-e2ee-end-screen">An encryption error occurred</div>"#, &[CouldNotConnect]),
    ("not_found", "<h1>Looks like the meeting URL is incorrect. Please check the URL and try again.</h1>", &[NotFound]),
    (
        "removed",
        r#"<h1 id="calling-retry-screen-title">You’ve been removed from this meeting</h1><button>Rejoin</button>"#,
        &[Removed],
    ),
    ("alert", r#"<button id="hangup-button">Leave</button><div role=alert>Your microphone is muted</div>"#, &[InCall]),
    ("ended", r#"<h1 id="calling-retry-screen-title">The meeting has ended</h1>"#, &[Ended]),
    ("left", r#"<h1 id="calling-retry-screen-title">You left the meeting</h1><button>Rejoin</button>"#, &[Left]),
    ("alone", r#"<button id="hangup-button">Leave</button><p>You’re the only one here</p>"#, &[InCall, Alone]),
    ("loading", "<p>Setting things up…</p>", &[]),
];
