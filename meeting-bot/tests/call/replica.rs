//! A tiny stand-in for Meet's guest view whose stage the test sets: no WebRTC, but a picture and a sound to record.
//! It tells the server what the bot does (`joined`, `left`, microphone state), so that a test can see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) stage: &'static str,
    pub(crate) others: u32,
    pub(crate) tone_hz: u32,
    /// Somebody speaks, by the page's own signal.
    pub(crate) speaks: bool,
    /// So many openings of the page, from the first, play no sound.
    pub(crate) mute_openings: u32,
    openings: u32,
    /// Tiles with names and chat messages, in the call: `{"people": [{id, name, level}], "chat": [{id, author, text}]}`.
    pub(crate) crowd: Value,
    pub(crate) seen: BTreeMap<String, Value>,
    /// `joined` and `left`, in order.
    pub(crate) log: Vec<&'static str>,
}

#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) origin: String,
    rooms: Arc<Mutex<BTreeMap<String, Room>>>,
}

impl Replica {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let replica = Self { origin, rooms: Arc::default() };
        let router = Router::new()
            .route("/meet/{code}", get(page))
            .route("/stage/{code}", get(stage))
            .route("/seen/{code}", post(seen))
            .with_state(replica.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        replica
    }

    pub(crate) fn open(&self, code: &str, tone_hz: u32) {
        let (seen, log) = (BTreeMap::new(), Vec::new());
        let room = Room {
            stage: "lobby",
            others: 1,
            tone_hz,
            speaks: false,
            mute_openings: 0,
            openings: 0,
            crowd: Value::Null,
            seen,
            log,
        };
        self.rooms.lock().unwrap().insert(code.to_owned(), room);
    }

    pub(crate) fn set(&self, code: &str, stage: &'static str, others: u32) {
        let mut rooms = self.rooms.lock().unwrap();
        let room = rooms.get_mut(code).unwrap();
        (room.stage, room.others) = (stage, others);
    }

    /// Changes a room in any way.
    pub(crate) fn change(&self, code: &str, how: impl FnOnce(&mut Room)) {
        how(self.rooms.lock().unwrap().get_mut(code).unwrap());
    }

    /// When the bot joined and left.
    pub(crate) fn log(&self, code: &str) -> Vec<&'static str> {
        self.rooms.lock().unwrap()[code].log.clone()
    }

    /// Who is in the call by name, and what is written.
    pub(crate) fn crowd(&self, code: &str, crowd: Value) {
        self.rooms.lock().unwrap().get_mut(code).unwrap().crowd = crowd;
    }

    /// What the page has told about the bot so far.
    pub(crate) fn seen(&self, code: &str) -> BTreeMap<String, Value> {
        self.rooms.lock().unwrap()[code].seen.clone()
    }
}

/// Notes the cookie that the page is asked for with.
async fn page(State(replica): State<Replica>, Path(code): Path<String>, headers: HeaderMap) -> Html<String> {
    let mut is_mute = false;
    if let Some(room) = replica.rooms.lock().unwrap().get_mut(&code) {
        let cookie = headers.get("cookie").and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
        room.seen.insert("cookie_header".into(), json!(cookie));
        room.openings += 1;
        is_mute = room.openings <= room.mute_openings;
    }
    Html(PAGE.replace("const mute = false", &format!("const mute = {is_mute}")))
}

async fn stage(State(replica): State<Replica>, Path(code): Path<String>) -> Json<Value> {
    let room = replica.rooms.lock().unwrap()[&code].clone();
    Json(json!({ "stage": room.stage, "others": room.others, "tone": room.tone_hz, "speaks": room.speaks, "crowd": room.crowd }))
}

async fn seen(State(replica): State<Replica>, Path(code): Path<String>, Json(facts): Json<BTreeMap<String, Value>>) {
    replica.change(&code, |room| {
        room.log.extend(facts.contains_key("name").then_some("joined"));
        room.log.extend(facts.contains_key("left").then_some("left"));
        room.seen.extend(facts);
    });
}

const PAGE: &str = include_str!("replica.html");
