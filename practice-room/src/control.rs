//! The control API: configure a room, decide on its participants, read the ground truth. Every change answers the new state.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::room::{Room, RoomSettings};
use crate::server::Rooms;

fn no_room(code: &str) -> Response {
    let message = format!("no room {code}: open it with PUT /control/rooms/{code}");
    (StatusCode::NOT_FOUND, Json(json!({"error": message}))).into_response()
}

fn in_room(rooms: &Rooms, code: &str, work: impl FnOnce(&mut Room) -> Response) -> Response {
    rooms.with(code, work).unwrap_or_else(|| no_room(code))
}

fn shown(room: &Room) -> Response {
    Json(room.view()).into_response()
}

pub(crate) async fn show(State(rooms): State<Rooms>, Path(code): Path<String>) -> Response {
    in_room(&rooms, &code, |room| shown(room))
}

pub(crate) async fn configure(State(rooms): State<Rooms>, Path(code): Path<String>, Json(body): Json<Value>) -> Response {
    match serde_json::from_value::<RoomSettings>(body) {
        Ok(settings) => rooms.with_or_new(&code, |room| {
            room.reopen(settings);
            shown(room)
        }),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    }
}

pub(crate) async fn log(State(rooms): State<Rooms>, Path(code): Path<String>) -> Response {
    in_room(&rooms, &code, |room| Json(json!(room.log())).into_response())
}

pub(crate) async fn end(State(rooms): State<Rooms>, Path(code): Path<String>) -> Response {
    in_room(&rooms, &code, |room| {
        room.end();
        shown(room)
    })
}

pub(crate) async fn admit_all(State(rooms): State<Rooms>, Path(code): Path<String>) -> Response {
    in_room(&rooms, &code, |room| {
        room.admit_all();
        shown(room)
    })
}

pub(crate) async fn presented(State(rooms): State<Rooms>, Path((code, id)): Path<(String, String)>) -> Response {
    in_room(&rooms, &code, |room| match room.presented(&id) {
        Some(presented) => Json(presented.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({"error": format!("no participant {id}")}))).into_response(),
    })
}

pub(crate) async fn act(State(rooms): State<Rooms>, Path((code, id, action)): Path<(String, String, String)>) -> Response {
    let wanted = match action.as_str() {
        "admit" => "admitted",
        "deny" => "denied",
        "remove" => "removed",
        "time-out" => "timed out",
        _ => {
            let message = format!("no action {action}: there are admit, deny, remove and time-out");
            return (StatusCode::NOT_FOUND, Json(json!({"error": message}))).into_response();
        }
    };
    in_room(&rooms, &code, |room| match room.decide(&id, wanted) {
        Some(Ok(())) => shown(room),
        Some(Err(refused)) => (StatusCode::CONFLICT, Json(json!({"error": refused.to_string()}))).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({"error": format!("no participant {id}")}))).into_response(),
    })
}
