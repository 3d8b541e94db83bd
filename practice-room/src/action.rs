//! What can be done to a room while it is open, by hand, by a test or by its script.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::room::{Decided, Refused, Room};
use crate::server::Rooms;
use crate::settings::Trouble;

/// One thing to do. `who` is a participant's id or name, or a role (`guest`, `clock`, `person`, `seat`) for all who have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Lets who waits in.
    Admit {
        /// Who waits.
        #[serde(default = "guest")]
        who: String,
    },
    /// Refuses who waits.
    Deny {
        /// Who waits.
        #[serde(default = "guest")]
        who: String,
    },
    /// Nobody answers who waits.
    TimeOut {
        /// Who waits.
        #[serde(default = "guest")]
        who: String,
    },
    /// Removes who is in the call.
    Remove {
        /// Who is in the call.
        #[serde(default = "guest")]
        who: String,
    },
    /// Somebody leaves; a synthetic participant's page ends with it.
    Leave {
        /// Who is in the call.
        who: String,
    },
    /// The host ends the call for everyone.
    End,
    /// The host comes: who waits for them waits in the lobby from now on, or is let in where there is none.
    HostComes,
    /// Somebody without picture and sound joins.
    Enter {
        /// Name shown in the call.
        name: String,
    },
    /// Somebody in the call writes into the chat.
    Chat {
        /// Who writes.
        who: String,
        /// What.
        text: String,
    },
    /// Somebody speaks. Who has no sound is only shown as speaking.
    Speak {
        /// Who speaks.
        who: String,
        /// For how long.
        for_ms: u64,
    },
    /// Somebody is muted or not.
    Mute {
        /// Who.
        who: String,
        /// Muted from now on.
        muted: bool,
    },
    /// The guests' pages show somebody no more for a moment, though they never left.
    Vanish {
        /// Who.
        who: String,
        /// For how long.
        for_ms: u64,
    },
    /// The guests' connection is gone for a moment: the page says that it reconnects, and picture and sound stop.
    Outage {
        /// For how long.
        for_ms: u64,
    },
    /// The guests' pages show a dialog that nobody expects.
    PopUp,
    /// The guests' pages misbehave.
    Trouble {
        /// How.
        how: Trouble,
        /// How much memory to take; 0 for without end.
        #[serde(default)]
        mib: u64,
    },
}

fn guest() -> String {
    "guest".to_owned()
}

/// Why an action was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActionError {
    #[error("nobody here is {0:?}")]
    Nobody(String),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Does it now, and later what belongs to it.
pub(crate) fn perform(rooms: &Rooms, code: &str, action: &Action) -> Result<(), ActionError> {
    rooms.with(code, |room| room_does(room, action)).unwrap_or(Ok(()))?;
    let later = match action {
        Action::Outage { for_ms } | Action::Speak { for_ms, .. } => Duration::from_millis(*for_ms),
        _ => return Ok(()),
    };
    let (rooms, code, action) = (rooms.clone(), code.to_owned(), action.clone());
    tokio::spawn(async move {
        tokio::time::sleep(later).await;
        rooms.with(&code, |room| match &action {
            Action::Speak { who, .. } => room.seats_speak(who, false),
            _ => room.outage(false),
        });
    });
    Ok(())
}

fn room_does(room: &mut Room, action: &Action) -> Result<(), ActionError> {
    match action {
        Action::Admit { who } => decide(room, who, Decided::Admitted),
        Action::Deny { who } => decide(room, who, Decided::Denied),
        Action::TimeOut { who } => decide(room, who, Decided::TimedOut),
        Action::Remove { who } => decide(room, who, Decided::Removed),
        Action::Leave { who } => each(room, who, |room, id| room.leave(id)),
        Action::Chat { who, text } => each(room, who, |room, id| room.chat(id, text)),
        Action::Mute { who, muted } => each(room, who, |room, id| room.mute(id, *muted)),
        Action::Vanish { who, for_ms } => each(room, who, |room, id| room.vanish(id, *for_ms)),
        Action::Speak { who, for_ms } => {
            each(room, who, |room, id| room.ask_to_speak(id, *for_ms))?;
            room.seats_speak(who, true);
            Ok(())
        }
        _ => {
            to_everybody(room, action);
            Ok(())
        }
    }
}

/// Actions that name nobody; they cannot fail.
fn to_everybody(room: &mut Room, action: &Action) {
    match action {
        Action::End => room.end(),
        Action::HostComes => room.host_comes(),
        Action::Enter { name } => room.seat(name),
        Action::Outage { .. } => room.outage(true),
        Action::PopUp => room.tell_guests(&json!({"type": "pop_up"})),
        Action::Trouble { how, mib } => room.tell_guests(&json!({"type": "trouble", "how": how, "mib": mib})),
        _ => {}
    }
}

fn each(room: &mut Room, who: &str, work: impl Fn(&mut Room, &str)) -> Result<(), ActionError> {
    for id in some(room, who)? {
        work(room, &id);
    }
    Ok(())
}

fn decide(room: &mut Room, who: &str, decided: Decided) -> Result<(), ActionError> {
    for id in some(room, who)? {
        room.decide(&id, decided)?;
    }
    Ok(())
}

fn some(room: &Room, who: &str) -> Result<Vec<String>, ActionError> {
    let found = room.who(who);
    if found.is_empty() { Err(ActionError::Nobody(who.to_owned())) } else { Ok(found) }
}
