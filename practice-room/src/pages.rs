//! The pages and their assets, embedded.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::room::{PageState, RoomSettings};
use crate::server::Rooms;

const MEET: &str = include_str!("../assets/meet.html");
const PARTICIPANT: &str = include_str!("../assets/participant.html");
const HOST: &str = include_str!("../assets/host.html");

const ASSETS: [(&str, &str, &str); 5] = [
    ("meet.css", "text/css", include_str!("../assets/meet.css")),
    ("meet.js", "text/javascript", include_str!("../assets/meet.js")),
    ("media.js", "text/javascript", include_str!("../assets/media.js")),
    ("participant.js", "text/javascript", include_str!("../assets/participant.js")),
    ("host.js", "text/javascript", include_str!("../assets/host.js")),
];

pub(crate) async fn index(State(rooms): State<Rooms>) -> Html<String> {
    let rows: String = rooms.codes().iter().map(|code| format!("<li><a href=\"/rooms/{code}\">{code}</a></li>")).collect();
    Html(format!(
        "<!doctype html><title>Practice rooms</title><link rel=stylesheet href=/assets/meet.css><body class=host><h1>Practice rooms</h1>\
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

pub(crate) async fn meet(State(rooms): State<Rooms>, Path(code): Path<String>) -> Response {
    if !is_code(&code) {
        return no_such_code();
    }
    let settings = rooms.with(&code, |room| room.settings.clone());
    let page = settings.as_ref().map_or(PageState::NotFound, |settings| settings.page);
    let settings = settings.unwrap_or(RoomSettings { page, ..RoomSettings::default() });
    let settings = serde_json::to_string(&RoomSettings { page, ..settings }).unwrap_or_default();
    Html(MEET.replace("/*SETTINGS*/", &settings)).into_response()
}

pub(crate) async fn participant(Path(code): Path<String>) -> Response {
    if is_code(&code) { Html(PARTICIPANT).into_response() } else { no_such_code() }
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
