//! Pages as public code describes Zoom's web client's, and what they mean.

use crate::browser::Case;
use meeting_bot::platform::pack::Meaning::*;

pub(crate) const CASES: &[Case] = &[
    (
        "launcher",
        r#"<div role=button tabindex=0>Launch Meeting</div><p>Don’t have Zoom Client installed?</p><button>Download Now</button>"#,
        &[Launcher],
    ),
    ("launcher_2", r##"<p>Having issues? <a href="#">Join from your browser</a></p>"##, &[Launcher]),
    (
        "prejoin",
        r#"<input id="input-for-name"><button id="preview-audio-control-button" aria-label="Mute">m</button><button class="preview-join-button" disabled>Join</button>"#,
        &[NamePrompt, ReadyToJoin],
    ),
    ("classic", r#"<input id="inputname"><button id="joinBtn">Join</button>"#, &[NamePrompt, ReadyToJoin]),
    (
        "devices",
        "<div role=dialog>Do you want people to hear you in the meeting?<button>Continue without microphone and camera</button></div>",
        &[DevicePrompt],
    ),
    (
        "passcode",
        r#"<input id="input-for-pwd" type=password placeholder="Meeting Passcode"><input id="input-for-name"><button class="preview-join-button">Join</button>"#,
        &[PasscodePrompt, NamePrompt, ReadyToJoin],
    ),
    ("wrong_passcode", r#"<input type=password><p>Passcode wrong. Please try again.</p>"#, &[PasscodePrompt, WrongPasscode]),
    ("host", "<p>Waiting for the host to start this meeting</p>", &[WaitingForHost]),
    ("lobby", r#"<p>Please wait, the meeting host will let you in soon.</p><button aria-label="Leave">x</button>"#, &[Lobby]),
    ("lobby_2", "<p>Host has joined. We’ve let them know you’re here</p>", &[Lobby]),
    (
        "call",
        r#"<div class="meeting-app"><div class="video-avatar__avatar"><div class="video-avatar__avatar-footer"><span>Ann</span></div></div><footer id="wc-footer"><button aria-label="open the participants list pane,2 participants">2 Participants</button><button aria-label="Leave">Leave</button></footer></div>"#,
        &[InCall],
    ),
    ("hidden_call", r#"<div hidden><footer id="wc-footer"><button aria-label="Leave">Leave</button></footer></div>"#, &[]),
    (
        "consent",
        r#"<footer id="wc-footer"><button aria-label="Leave">Leave</button></footer><div class="zm-modal"><p>This meeting is being recorded</p><button class="zm-btn--primary">Got it</button></div>"#,
        &[InCall, ConsentPrompt],
    ),
    (
        "reconnecting",
        r#"<footer id="wc-footer"><button aria-label="Leave">Leave</button></footer><p>Reconnecting…</p>"#,
        &[InCall, Reconnecting],
    ),
    ("denied", "<h1>The host has denied your request to join</h1>", &[Denied]),
    ("nobody", "<h1>The host didn’t let you in</h1>", &[RequestTimedOut]),
    (
        "sign_in",
        r#"<p>The host requires authentication on the commercial Zoom platform to join this meeting.</p><button class="login-btn-zoom">Sign in Zoom</button>"#,
        &[SignIn],
    ),
    ("sign_in_link", r#"<a href="/">Sign In</a><a href="/">Support</a>"#, &[]),
    ("registration", r#"<h1>Webinar Registration</h1><form id="registration_form"><input name=email></form>"#, &[Registration]),
    ("captcha", r#"<iframe src="about:blank#recaptcha" width="304" height="78"></iframe>"#, &[Captcha]),
    ("captcha_button", "<button>check captcha</button>", &[Captcha]),
    ("rtms", "<p>Automated bots aren’t allowed to join this meeting. Apps must use Zoom RTMS.</p>", &[Blocked]),
    ("maybe_a_bot", "<p>We detected you may be a bot. Sign in to continue</p>", &[Blocked]),
    (
        "not_in_browsers",
        "<title>Error - Zoom</title><p>Your network connection has timed out or your organization has disabled access to Zoom from the browser</p>",
        &[Blocked],
    ),
    ("not_found", "<title>Error - Zoom</title><p>This meeting link is invalid (3,001)</p>", &[NotFound]),
    ("error", "<title>Error - Zoom</title><p>Error code: 104101</p>", &[CouldNotConnect]),
    ("removed", "<div class=zm-modal-body-title>You have been removed from the meeting by the host</div>", &[Removed]),
    ("ended", r#"<div class="zm-modal-body-title">This meeting has been ended by host</div><button>OK</button>"#, &[Ended]),
    ("left", "<p>You have left the meeting</p>", &[Left]),
    (
        "alone",
        r#"<footer id="wc-footer"><button aria-label="Leave">Leave</button></footer><p>Waiting for others to join</p>"#,
        &[InCall, Alone],
    ),
    ("loading", "<title>Zoom</title><p>Joining Meeting…</p>", &[]),
];
