//! The pages and their assets, embedded.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use futures::StreamExt as _;
use serde_json::json;

use crate::server::Rooms;
use crate::settings::{PageState, Platform, RoomSettings};

const PARTICIPANT: &str = include_str!("../assets/participant.html");
const HOST: &str = include_str!("../assets/host.html");

/// A platform's pages. Each carries the room's settings.
struct Site {
    launcher: Option<&'static str>,
    /// The page that holds the client in a frame.
    frame: Option<&'static str>,
    client: &'static str,
}

const MEET: Site = Site { launcher: None, frame: None, client: include_str!("../assets/meet.html") };
const TEAMS: Site = Site {
    launcher: Some(include_str!("../assets/teams-launcher.html")),
    frame: None,
    client: include_str!("../assets/teams.html"),
};
const ZOOM: Site = Site {
    launcher: Some(include_str!("../assets/zoom-launcher.html")),
    frame: Some(include_str!("../assets/zoom-frame.html")),
    client: include_str!("../assets/zoom.html"),
};

macro_rules! assets {
    ($( $name:literal : $kind:literal ),* $(,)?) => {
        &[ $( ($name, $kind, include_str!(concat!("../assets/", $name))) ),* ]
    };
}

const ASSETS: &[(&str, &str, &str)] = assets![
    "room.css": "text/css", "meet.css": "text/css", "teams.css": "text/css", "zoom.css": "text/css",
    "media.js": "text/javascript", "client.js": "text/javascript", "drift.js": "text/javascript", "trouble.js": "text/javascript",
    "meet.js": "text/javascript", "teams.js": "text/javascript", "zoom.js": "text/javascript",
    "launcher.js": "text/javascript", "participant.js": "text/javascript", "host.js": "text/javascript",
];

pub(crate) async fn index(State(rooms): State<Rooms>) -> Html<String> {
    let rows: String = rooms.codes().iter().map(|code| format!("<li><a href=\"/rooms/{code}\">{code}</a></li>")).collect();
    Html(format!(
        "<!doctype html><title>Practice rooms</title><link rel=stylesheet href=/assets/room.css><body class=host><h1>Practice rooms</h1>\
         <p>Open <code>/rooms/any-code</code> to make one.</p><ul>{rows}</ul>"
    ))
}

pub(crate) async fn host(State(rooms): State<Rooms>, Path(code): Path<String>) -> Response {
    if !is_code(&code) {
        return no_such_code();
    }
    rooms.with_or_new(&code, |_| ());
    Html(HOST).into_response()
}

/// What a guest's address opens: the launcher where there is one, else the client.
pub(crate) async fn guest(rooms: State<Rooms>, Path((platform, code)): Path<(Platform, String)>) -> Response {
    let settings = settings_of(&rooms, &code);
    let site = platform.site();
    let text = match site.launcher {
        Some(launcher) if settings.launcher => launcher,
        _ => site.framed(&settings),
    };
    page(platform, &code, &settings, text).await
}

/// What the launcher leads to.
pub(crate) async fn join(rooms: State<Rooms>, Path((platform, code)): Path<(Platform, String)>) -> Response {
    let settings = settings_of(&rooms, &code);
    page(platform, &code, &settings, platform.site().framed(&settings)).await
}

/// The client by itself, as it sits in a frame.
pub(crate) async fn client(rooms: State<Rooms>, Path((platform, code)): Path<(Platform, String)>) -> Response {
    let settings = settings_of(&rooms, &code);
    page(platform, &code, &settings, platform.site().client).await
}

impl Platform {
    fn site(self) -> &'static Site {
        match self {
            Self::Meet => &MEET,
            Self::Teams => &TEAMS,
            Self::Zoom => &ZOOM,
        }
    }
}

impl Site {
    fn framed(&self, settings: &RoomSettings) -> &'static str {
        self.frame.filter(|_| settings.client_in_frame).unwrap_or(self.client)
    }
}

/// A room that nobody opened is not there.
fn settings_of(rooms: &Rooms, code: &str) -> RoomSettings {
    let unknown = || RoomSettings { page: PageState::NotFound, ..RoomSettings::default() };
    rooms.with(code, |room| room.settings.clone()).unwrap_or_else(unknown)
}

async fn page(platform: Platform, code: &str, settings: &RoomSettings, text: &str) -> Response {
    if !is_code(code) {
        return no_such_code();
    }
    let mut known = settings.for_page();
    known["platform"] = json!(platform);
    // A `<` could end the script that the settings stand in.
    let text = text.replace("/*SETTINGS*/", &known.to_string().replace('<', "\\u003c"));
    match settings.page {
        PageState::Unanswered => std::future::pending().await,
        PageState::Stalled => {
            let head = text.split("<body").next().unwrap_or_default().to_owned();
            let beginning = futures::stream::iter([Ok::<_, Infallible>(Bytes::from(head))]);
            let body = Body::from_stream(beginning.chain(futures::stream::pending()));
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
        }
        _ => Html(text).into_response(),
    }
}

pub(crate) async fn participant(Path((_, code)): Path<(Platform, String)>) -> Response {
    if is_code(&code) { Html(PARTICIPANT).into_response() } else { no_such_code() }
}

/// Another host's sign-in page.
pub(crate) async fn sign_in(Path(platform): Path<Platform>) -> Html<&'static str> {
    Html(match platform {
        Platform::Meet => {
            "<!doctype html><title>Sign in - Google Accounts</title><main><h1>Sign in</h1><p>Use your Google Account</p>\
             <form action='https://accounts.google.com/'><input type=email aria-label='Email or phone'></form></main>"
        }
        Platform::Teams => {
            "<!doctype html><title>Sign in to your account</title><main><h1>Sign in</h1>\
             <input name=loginfmt type=email placeholder='Email, phone, or Skype'></main>"
        }
        Platform::Zoom => {
            "<!doctype html><title>Sign In | Zoom</title><main><h1>Sign In</h1><input type=email placeholder=Email></main>"
        }
    })
}

/// What stands in a captcha's frame.
pub(crate) async fn captcha() -> Html<&'static str> {
    Html("<!doctype html><body style='font:14px sans-serif;background:#f9f9f9;padding:14px'>&#9744; I'm not a robot")
}

/// Whoever waits for this waits for ever.
pub(crate) async fn unanswered() -> Html<&'static str> {
    std::future::pending().await
}

/// Another host's page, for whoever was sent away.
pub(crate) async fn elsewhere() -> Html<&'static str> {
    Html("<!doctype html><title>Elsewhere</title><h1>Something else</h1>")
}

pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => ([(header::CONTENT_TYPE, *kind)], *text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn no_such_code() -> Response {
    (StatusCode::NOT_FOUND, "a room's code has 1 to 64 characters of a-z, 0-9 and -").into_response()
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
