//! The control API: configure a room, act on it, read the ground truth. Every change answers the new state.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::action::{Action, ActionError, perform};
use crate::room::{Decided, Room};
use crate::script;
use crate::server::Rooms;
use crate::settings::RoomSettings;

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": message}))).into_response()
}

fn no_room(code: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, &format!("no room {code}: open it with PUT /control/rooms/{code}"))
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
    let settings = match serde_json::from_value::<RoomSettings>(body) {
        Ok(settings) => settings,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let steps = settings.script.clone();
    let (answer, milestones) = rooms.with_or_new(&code, |room| {
        let milestones = room.reopen(settings);
        (shown(room), milestones)
    });
    script::play(&rooms, &code, &steps, &milestones);
    answer
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
        None => refusal(StatusCode::NOT_FOUND, &format!("no participant {id}")),
    })
}

/// `POST …/actions` with an [`Action`], or a list of them that are done one after another.
pub(crate) async fn actions(State(rooms): State<Rooms>, Path(code): Path<String>, Json(body): Json<Value>) -> Response {
    let list = if body.is_array() { body } else { json!([body]) };
    let actions = match serde_json::from_value::<Vec<Action>>(list) {
        Ok(actions) => actions,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if rooms.with(&code, |_| ()).is_none() {
        return no_room(&code);
    }
    for action in &actions {
        match perform(&rooms, &code, action) {
            Ok(()) => {}
            Err(error @ ActionError::Nobody(_)) => return refusal(StatusCode::NOT_FOUND, &error.to_string()),
            Err(error @ ActionError::Refused(_)) => return refusal(StatusCode::CONFLICT, &error.to_string()),
        }
    }
    in_room(&rooms, &code, |room| shown(room))
}

pub(crate) async fn act(State(rooms): State<Rooms>, Path((code, id, action)): Path<(String, String, String)>) -> Response {
    let decided = match action.as_str() {
        "admit" => Decided::Admitted,
        "deny" => Decided::Denied,
        "remove" => Decided::Removed,
        "time-out" => Decided::TimedOut,
        _ => {
            let message = format!("no action {action}: there are admit, deny, remove and time-out; more at POST …/actions");
            return refusal(StatusCode::NOT_FOUND, &message);
        }
    };
    in_room(&rooms, &code, |room| {
        if room.who(&id).is_empty() && room.presented(&id).is_none() {
            return refusal(StatusCode::NOT_FOUND, &format!("no participant {id}"));
        }
        match room.decide(&id, decided) {
            Ok(()) => shown(room),
            Err(refused) => refusal(StatusCode::CONFLICT, &refused.to_string()),
        }
    })
}
