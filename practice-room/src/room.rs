//! A room: who is in it, who waits, what its pages are told, and the ground-truth log.

use std::collections::BTreeMap;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::log::{Happening, LogEntry};
pub use crate::people::{ParticipantState, ParticipantView, Role};
use crate::script::Milestones;
use crate::settings::RoomSettings;

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

/// What the host decides about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    Admitted,
    Denied,
    Removed,
    TimedOut,
}

/// A decision that the room cannot carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("participant {participant} is {state:?}: it cannot be {decided:?}")]
pub(crate) struct Refused {
    participant: String,
    state: ParticipantState,
    decided: Decided,
}

struct Participant {
    view: ParticipantView,
    page: Option<UnboundedSender<Value>>,
    presented: Value,
}

/// The room itself.
pub(crate) struct Room {
    code: String,
    pub(crate) settings: RoomSettings,
    participants: BTreeMap<String, Participant>,
    log: Vec<LogEntry>,
    ended: bool,
    outage: bool,
    arrivals: u32,
    milestones: watch::Sender<Milestones>,
}

impl Room {
    pub(crate) fn new(code: &str, settings: RoomSettings) -> Self {
        let mut room = Self {
            code: code.to_owned(),
            settings: RoomSettings::default(),
            participants: BTreeMap::new(),
            log: Vec::new(),
            ended: false,
            outage: false,
            arrivals: 0,
            milestones: watch::channel(Milestones::default()).0,
        };
        room.reopen(settings);
        room
    }

    pub(crate) fn view(&self) -> RoomView {
        let participants = self.participants.values().map(|participant| participant.view.clone()).collect();
        RoomView { code: self.code.clone(), settings: self.settings.clone(), participants, ended: self.ended }
    }

    pub(crate) fn log(&self) -> &[LogEntry] {
        &self.log
    }

    /// Opens the room with these settings, an ended one for a next occurrence. Answers what its script waits for.
    pub(crate) fn reopen(&mut self, settings: RoomSettings) -> watch::Receiver<Milestones> {
        let opened = Milestones { opened: Some(Instant::now()), ..Milestones::default() };
        let (milestones, receiver) = watch::channel(opened);
        (self.settings, self.ended, self.outage, self.milestones) = (settings, false, false, milestones);
        for id in self.who("seat") {
            self.enter(&id, ParticipantState::Left);
        }
        for name in self.settings.people.clone() {
            self.seat(&name);
        }
        receiver
    }

    /// Somebody asks to join; answers the id. A guest waits where there is a lobby, everybody else is let in.
    pub(crate) fn arrive(&mut self, name: &str, role: Role, page: UnboundedSender<Value>) -> String {
        let id = self.add(name, role, Some(page));
        self.tell(&id, json!({"type": "welcome", "id": id}));
        let waits = role == Role::Guest && (self.settings.lobby || self.settings.waiting_for_host);
        let state = if self.ended {
            ParticipantState::Ended
        } else if waits {
            ParticipantState::Waiting
        } else {
            ParticipantState::InCall
        };
        self.enter(&id, state);
        id
    }

    /// Somebody without a page joins.
    pub(crate) fn seat(&mut self, name: &str) {
        let id = self.add(name, Role::Seat, None);
        self.enter(&id, ParticipantState::InCall);
    }

    fn add(&mut self, name: &str, role: Role, page: Option<UnboundedSender<Value>>) -> String {
        self.arrivals += 1;
        let id = format!("p{:03}", self.arrivals);
        let view = ParticipantView {
            id: id.clone(),
            name: name.to_owned(),
            role,
            state: ParticipantState::Waiting,
            muted: role == Role::Seat,
            joined_at: None,
            left_at: None,
        };
        self.participants.insert(id.clone(), Participant { view, page, presented: Value::Null });
        id
    }

    /// A guest's passcode fits, or none is asked for. Synthetic participants need none.
    pub(crate) fn lets_ask(&self, role: Role, passcode: &str) -> bool {
        role != Role::Guest || self.settings.passcode.as_deref().is_none_or(|wanted| wanted == passcode)
    }

    /// The ids of those who wait or are in the call and have this id, name or role.
    pub(crate) fn who(&self, who: &str) -> Vec<String> {
        let here = self.participants.values().map(|participant| &participant.view).filter(|view| !view.state.is_over());
        here.filter(|view| view.id == who || view.name == who || view.role.as_str() == who).map(|view| view.id.clone()).collect()
    }

    pub(crate) fn decide(&mut self, id: &str, decided: Decided) -> Result<(), Refused> {
        let Some(participant) = self.participants.get(id) else { return Ok(()) };
        let state = participant.view.state;
        let next = match (decided, state) {
            (Decided::Admitted, ParticipantState::Waiting) => ParticipantState::InCall,
            (Decided::Denied, ParticipantState::Waiting) => ParticipantState::Denied,
            (Decided::TimedOut, ParticipantState::Waiting) => ParticipantState::TimedOut,
            (Decided::Removed, ParticipantState::InCall) => ParticipantState::Removed,
            _ => return Err(Refused { participant: id.to_owned(), state, decided }),
        };
        self.enter(id, next);
        Ok(())
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

    /// The host comes: who waits for them waits to be admitted from now on, or is let in.
    pub(crate) fn host_comes(&mut self) {
        self.settings.waiting_for_host = false;
        let next = if self.settings.lobby { ParticipantState::Waiting } else { ParticipantState::InCall };
        for id in self.ids(ParticipantState::Waiting) {
            self.enter(&id, next);
        }
    }

    /// The participant's page is gone, or left.
    pub(crate) fn leave(&mut self, id: &str) {
        if self.participants.get(id).is_some_and(|participant| !participant.view.state.is_over()) {
            self.enter(id, ParticipantState::Left);
        }
    }

    /// Writes a line into the chat, for the log and for everybody in the call.
    pub(crate) fn chat(&mut self, id: &str, text: &str) {
        let Some(entry) = self.note(id, Happening::Chat { chat: text.to_owned() }) else { return };
        let line = format!("m{:03}", self.log.len());
        self.tell_in_call(
            &json!({"type": "chat", "id": line, "from": id, "name": entry.name, "text": text, "at_ms": entry.at_ms}),
        );
    }

    /// A synthetic participant's page says that it begins or ends speaking.
    pub(crate) fn note_speaking(&mut self, id: &str, speaking: bool) {
        self.note(id, Happening::Speaking { speaking });
    }

    /// Who has no sound is only shown as speaking.
    pub(crate) fn seats_speak(&mut self, who: &str, speaking: bool) {
        for id in self.who(who) {
            if self.participants.get(&id).is_some_and(|participant| participant.view.role == Role::Seat) {
                self.note_speaking(&id, speaking);
                self.tell_guests(&json!({"type": "speaking", "id": id, "on": speaking}));
            }
        }
    }

    pub(crate) fn ask_to_speak(&self, id: &str, for_ms: u64) {
        self.tell(id, json!({"type": "speak", "for_ms": for_ms}));
    }

    pub(crate) fn mute(&mut self, id: &str, muted: bool) {
        if let Some(participant) = self.participants.get_mut(id).filter(|participant| participant.view.muted != muted) {
            participant.view.muted = muted;
            self.note(id, Happening::Muted { muted });
            self.tell(id, json!({"type": "mute", "muted": muted}));
            self.tell_peers();
        }
    }

    /// The guests' pages show somebody no more for a moment.
    pub(crate) fn vanish(&self, id: &str, for_ms: u64) {
        self.tell_guests(&json!({"type": "vanish", "id": id, "for_ms": for_ms}));
    }

    /// Whoever sends picture and sound loses sight of the guests, whose pages say that they reconnect.
    pub(crate) fn outage(&mut self, outage: bool) {
        self.outage = outage;
        self.tell_guests(&json!({"type": "outage", "on": outage}));
        self.tell_peers();
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
        let Some(participant) = self.participants.get_mut(id) else { return };
        participant.view.state = state;
        match state {
            ParticipantState::InCall => participant.view.joined_at = Some(Utc::now()),
            ParticipantState::Waiting => {}
            _ => participant.view.left_at = Some(Utc::now()),
        }
        if participant.view.role == Role::Guest {
            self.milestones.send_modify(|reached| match state {
                ParticipantState::InCall => reached.admitted = reached.admitted.or_else(|| Some(Instant::now())),
                _ => reached.asked = reached.asked.or_else(|| Some(Instant::now())),
            });
        }
        self.note(id, Happening::State { state });
        self.tell(id, json!({"type": "state", "state": state, "settings": self.settings.for_page()}));
        self.tell_peers();
    }

    fn note(&mut self, id: &str, what: Happening) -> Option<LogEntry> {
        let view = &self.participants.get(id)?.view;
        let at_ms = Utc::now().timestamp_millis();
        let entry = LogEntry { at_ms, participant: view.id.clone(), name: view.name.clone(), role: view.role, what };
        self.log.push(entry.clone());
        Some(entry)
    }

    /// Everybody in the call learns who is in it. During an outage those who send see no guests, so that they send anew afterwards.
    fn tell_peers(&self) {
        let in_call = || self.participants.values().filter(|participant| participant.view.state == ParticipantState::InCall);
        let peers = |sees_guests: bool| -> Vec<Value> {
            let seen = in_call().map(|one| &one.view).filter(|view| sees_guests || view.role != Role::Guest);
            seen.map(|view| json!({"id": view.id, "name": view.name, "role": view.role, "muted": view.muted})).collect()
        };
        for participant in in_call() {
            let sees_guests = !self.outage || participant.view.role == Role::Guest;
            self.tell(&participant.view.id, json!({"type": "peers", "peers": peers(sees_guests)}));
        }
    }

    pub(crate) fn tell_guests(&self, message: &Value) {
        for id in self.who("guest") {
            self.tell(&id, message.clone());
        }
    }

    fn tell_in_call(&self, message: &Value) {
        for id in self.ids(ParticipantState::InCall) {
            self.tell(&id, message.clone());
        }
    }

    fn tell(&self, id: &str, message: Value) {
        if let Some(page) = self.participants.get(id).and_then(|participant| participant.page.as_ref()) {
            // A page that is gone is noticed where its socket is read.
            let _ = page.send(message);
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
        assert_eq!(room.decide(&guest, Decided::Admitted), Ok(()));
        assert!(room.decide(&guest, Decided::Denied).is_err());
        assert!(room.who("nobody").is_empty());
    }

    #[test]
    fn the_log_tells_every_join_and_leave_once() {
        let mut room = room();
        let guest = arrive(&mut room, Role::Guest);
        room.admit_all();
        room.end();
        room.leave(&guest);
        let states: Vec<Happening> = room.log().iter().map(|entry| entry.what.clone()).collect();
        let wanted = [ParticipantState::Waiting, ParticipantState::InCall, ParticipantState::Ended];
        assert_eq!(states, wanted.map(|state| Happening::State { state }));
    }

    #[test]
    fn the_log_tells_what_was_said_and_who_spoke() {
        let mut room = Room::new("r", RoomSettings { people: vec!["Otter.ai".to_owned()], ..RoomSettings::default() });
        let id = room.who("Otter.ai").remove(0);
        room.chat(&id, "hello");
        room.seats_speak("seat", true);
        let lines: Vec<Value> = room.log().iter().map(|entry| json!(entry)).collect();
        assert_eq!((&lines[1]["chat"], &lines[2]["speaking"]), (&json!("hello"), &json!(true)));
        assert_eq!(lines[0]["state"], "in_call");
    }

    #[test]
    fn the_host_who_comes_lets_those_in_who_need_no_admission() {
        let settings = RoomSettings { lobby: false, waiting_for_host: true, ..RoomSettings::default() };
        let mut room = Room::new("r", settings);
        let guest = arrive(&mut room, Role::Guest);
        assert_eq!(room.participants[&guest].view.state, ParticipantState::Waiting);
        room.host_comes();
        assert_eq!(room.participants[&guest].view.state, ParticipantState::InCall);
    }

    #[test]
    fn only_a_guest_is_asked_for_the_passcode() {
        let room = Room::new("r", RoomSettings { passcode: Some("s3".to_owned()), ..RoomSettings::default() });
        assert!(room.lets_ask(Role::Guest, "s3") && !room.lets_ask(Role::Guest, "") && room.lets_ask(Role::Clock, ""));
    }
}
