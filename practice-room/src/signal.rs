//! The socket between a page and its room: arrival, state, peers, chat, and WebRTC messages between pages.

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::people::Role;
use crate::server::Rooms;

/// Query of the socket's address.
#[derive(Deserialize)]
pub(crate) struct Arrival {
    name: String,
    role: Role,
    #[serde(default)]
    passcode: String,
}

/// What a page says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromPage {
    /// A WebRTC message for another page.
    Signal { to: String, data: Value },
    /// What it presented of the clock's picture.
    Presented { data: Value },
    /// Its participant writes into the chat.
    Chat { text: String },
    /// Its participant begins or ends speaking.
    Speaking { on: bool },
    /// It leaves.
    Leave,
}

pub(crate) async fn connect(
    State(rooms): State<Rooms>,
    Path(code): Path<String>,
    Query(arrival): Query<Arrival>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| talk(rooms, code, arrival, socket))
}

async fn talk(rooms: Rooms, code: String, arrival: Arrival, mut socket: WebSocket) {
    let (page, mut to_page) = mpsc::unbounded_channel::<Value>();
    let arrived = rooms.with_or_new(&code, |room| {
        room.lets_ask(arrival.role, &arrival.passcode).then(|| room.arrive(&arrival.name, arrival.role, page))
    });
    let Some(id) = arrived else {
        let _ = socket.send(Message::text(json!({"type": "wrong_passcode"}).to_string())).await;
        return;
    };
    tracing::info!(room = %code, participant = %id, "arrived");
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            message = to_page.recv() => {
                let Some(message) = message else { break };
                if sink.send(Message::text(message.to_string())).await.is_err() {
                    break;
                }
            }
            said = stream.next() => match said {
                Some(Ok(Message::Text(text))) => hear(&rooms, &code, &id, &text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    rooms.with(&code, |room| room.leave(&id));
    tracing::info!(room = %code, participant = %id, "gone");
}

fn hear(rooms: &Rooms, code: &str, id: &str, text: &str) {
    match serde_json::from_str(text) {
        Ok(said) => {
            rooms.with(code, |room| match said {
                FromPage::Signal { to, data } => room.relay(id, &to, &data),
                FromPage::Presented { data } => room.note_presented(id, data),
                FromPage::Chat { text } => room.chat(id, &text),
                FromPage::Speaking { on } => room.note_speaking(id, on),
                FromPage::Leave => room.leave(id),
            });
        }
        Err(error) => tracing::warn!(%error, "a page said what no page says"),
    }
}
