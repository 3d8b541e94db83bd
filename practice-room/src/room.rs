//! A room: who is in it, who waits, what its pages shall show, and the ground-truth log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

/// What a participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Came through the client's own page: a bot, or a person.
    Guest,
    /// Synthetic: its picture carries the time code, its sound the beeps.
    Clock,
    /// Synthetic: a face and a voice-like sound.
    Person,
}

/// Where a participant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantState {
    /// Asked to join.
    Waiting,
    /// In the call.
    InCall,
    /// Left by itself, or its page went away.
    Left,
    /// Refused.
    Denied,
    /// Removed by the host.
    Removed,
    /// Nobody answered its request.
    TimedOut,
    /// The host ended the call while it was there.
    Ended,
}

impl ParticipantState {
    fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::InCall)
    }
}

/// A page that a guest is shown in place of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// The client itself.
    #[default]
    Open,
    /// "You can't join this video call".
    Blocked,
    /// "Check your meeting code".
    NotFound,
    /// The sign-in wall.
    SignIn,
    /// A page that never finishes loading its client.
    Blank,
}

/// Body of `PUT /control/rooms/{code}`; absent fields take their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomSettings {
    /// Guests wait until they are admitted.
    pub lobby: bool,
    /// The host has not come yet: the lobby says so.
    pub waiting_for_host: bool,
    /// The device prompt comes before the name field.
    pub device_prompt: bool,
    /// A notice that the call is being recorded comes up after admission.
    pub consent_dialog: bool,
    /// What a guest's page shows.
    pub page: PageState,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self { lobby: true, waiting_for_host: false, device_prompt: true, consent_dialog: false, page: PageState::Open }
    }
}

/// One line of the ground-truth log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When, in milliseconds since the epoch, by the server's clock.
    pub at_ms: i64,
    /// Who.
    pub participant: String,
    /// Name as given.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The state entered; `waiting` is the request to join.
    pub state: ParticipantState,
}

/// A participant as the control API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantView {
    /// Id within the room.
    pub id: String,
    /// Name as given.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Where it stands.
    pub state: ParticipantState,
    /// When it entered the call.
    pub joined_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub left_at: Option<DateTime<Utc>>,
}

/// A room as the control API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomView {
    /// Its code.
    pub code: String,
    /// Its settings.
    pub settings: RoomSettings,
    /// Everybody who was ever there.
    pub participants: Vec<ParticipantView>,
    /// True once the host ended the call.
    pub ended: bool,
}

/// A decision that the room cannot carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("participant {participant} is {state:?}: it cannot be {wanted}")]
pub(crate) struct Refused {
    participant: String,
    state: ParticipantState,
    wanted: &'static str,
}

pub(crate) struct Participant {
    view: ParticipantView,
    page: UnboundedSender<Value>,
    presented: Value,
}

/// The room itself.
pub(crate) struct Room {
    code: String,
    pub(crate) settings: RoomSettings,
    participants: BTreeMap<String, Participant>,
    log: Vec<LogEntry>,
    ended: bool,
    arrivals: u32,
}

impl Room {
    pub(crate) fn new(code: &str, settings: RoomSettings) -> Self {
        Self { code: code.to_owned(), settings, participants: BTreeMap::new(), log: Vec::new(), ended: false, arrivals: 0 }
    }

    pub(crate) fn view(&self) -> RoomView {
        let participants = self.participants.values().map(|participant| participant.view.clone()).collect();
        RoomView { code: self.code.clone(), settings: self.settings.clone(), participants, ended: self.ended }
    }

    pub(crate) fn log(&self) -> &[LogEntry] {
        &self.log
    }

    /// Opens an ended room again for a next occurrence.
    pub(crate) fn reopen(&mut self, settings: RoomSettings) {
        self.settings = settings;
        self.ended = false;
    }

    /// Somebody asks to join; answers the id. A guest waits where there is a lobby, everybody else is let in.
    pub(crate) fn arrive(&mut self, name: &str, role: Role, page: UnboundedSender<Value>) -> String {
        self.arrivals += 1;
        let id = format!("p{:03}", self.arrivals);
        let waits = role == Role::Guest && (self.settings.lobby || self.settings.waiting_for_host);
        let view = ParticipantView {
            id: id.clone(),
            name: name.to_owned(),
            role,
            state: ParticipantState::Waiting,
            joined_at: None,
            left_at: None,
        };
        self.participants.insert(id.clone(), Participant { view, page, presented: Value::Null });
        self.tell(&id, json!({"type": "welcome", "id": id}));
        if self.ended {
            self.enter(&id, ParticipantState::Ended);
        } else {
            self.enter(&id, if waits { ParticipantState::Waiting } else { ParticipantState::InCall });
        }
        id
    }

    pub(crate) fn decide(&mut self, id: &str, wanted: &'static str) -> Option<Result<(), Refused>> {
        let state = self.participants.get(id)?.view.state;
        let next = match (wanted, state) {
            ("admitted", ParticipantState::Waiting) => ParticipantState::InCall,
            ("denied", ParticipantState::Waiting) => ParticipantState::Denied,
            ("timed out", ParticipantState::Waiting) => ParticipantState::TimedOut,
            ("removed", ParticipantState::InCall) => ParticipantState::Removed,
            _ => return Some(Err(Refused { participant: id.to_owned(), state, wanted })),
        };
        self.enter(id, next);
        Some(Ok(()))
    }

    pub(crate) fn admit_all(&mut self) {
        for id in self.ids(ParticipantState::Waiting) {
            self.enter(&id, ParticipantState::InCall);
        }
    }

    /// The host ends the call for everyone.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        for id in [self.ids(ParticipantState::InCall), self.ids(ParticipantState::Waiting)].concat() {
            self.enter(&id, ParticipantState::Ended);
        }
    }

    /// The participant's page is gone, or left.
    pub(crate) fn leave(&mut self, id: &str) {
        if self.participants.get(id).is_some_and(|participant| !participant.view.state.is_over()) {
            self.enter(id, ParticipantState::Left);
        }
    }

    /// Hands a WebRTC message from one page to another.
    pub(crate) fn relay(&self, from: &str, to: &str, data: &Value) {
        self.tell(to, json!({"type": "signal", "from": from, "data": data}));
    }

    pub(crate) fn note_presented(&mut self, id: &str, data: Value) {
        if let Some(participant) = self.participants.get_mut(id) {
            participant.presented = data;
        }
    }

    pub(crate) fn presented(&self, id: &str) -> Option<&Value> {
        self.participants.get(id).map(|participant| &participant.presented)
    }

    fn ids(&self, state: ParticipantState) -> Vec<String> {
        let wanted = self.participants.values().filter(|participant| participant.view.state == state);
        wanted.map(|participant| participant.view.id.clone()).collect()
    }

    fn enter(&mut self, id: &str, state: ParticipantState) {
        let now = Utc::now();
        let Some(participant) = self.participants.get_mut(id) else { return };
        participant.view.state = state;
        match state {
            ParticipantState::InCall => participant.view.joined_at = Some(now),
            ParticipantState::Waiting => {}
            _ => participant.view.left_at = Some(now),
        }
        let view = participant.view.clone();
        self.log.push(LogEntry { at_ms: now.timestamp_millis(), participant: view.id, name: view.name, role: view.role, state });
        self.tell(id, json!({"type": "state", "state": state, "settings": self.settings}));
        self.tell_peers();
    }

    /// Everybody in the call learns who is in it.
    fn tell_peers(&self) {
        let in_call = self.participants.values().filter(|participant| participant.view.state == ParticipantState::InCall);
        let peers: Vec<Value> = in_call
            .clone()
            .map(|participant| json!({"id": participant.view.id, "name": participant.view.name, "role": participant.view.role}))
            .collect();
        for participant in in_call {
            let _ = participant.page.send(json!({"type": "peers", "peers": peers}));
        }
    }

    fn tell(&self, id: &str, message: Value) {
        if let Some(participant) = self.participants.get(id) {
            // A page that is gone is noticed where its socket is read.
            let _ = participant.page.send(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Room {
        Room::new("r", RoomSettings::default())
    }

    fn arrive(room: &mut Room, role: Role) -> String {
        room.arrive("n", role, tokio::sync::mpsc::unbounded_channel().0)
    }

    #[test]
    fn a_guest_waits_and_a_synthetic_participant_does_not() {
        let mut room = room();
        let (guest, clock) = (arrive(&mut room, Role::Guest), arrive(&mut room, Role::Clock));
        let state = |id: &str, room: &Room| room.participants[id].view.state;
        assert_eq!((state(&guest, &room), state(&clock, &room)), (ParticipantState::Waiting, ParticipantState::InCall));
        assert_eq!(room.decide(&guest, "admitted"), Some(Ok(())));
        assert!(matches!(room.decide(&guest, "denied"), Some(Err(_))));
        assert_eq!(room.decide("nobody", "denied"), None);
    }

    #[test]
    fn the_log_tells_every_join_and_leave_once() {
        let mut room = room();
        let guest = arrive(&mut room, Role::Guest);
        room.admit_all();
        room.end();
        room.leave(&guest);
        let states: Vec<ParticipantState> = room.log().iter().map(|entry| entry.state).collect();
        assert_eq!(states, [ParticipantState::Waiting, ParticipantState::InCall, ParticipantState::Ended]);
    }
}
