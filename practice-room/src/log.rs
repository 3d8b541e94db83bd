//! The ground-truth log: what really happened in a room, for judging what a recorder says about it.

use serde::{Deserialize, Serialize};

use crate::room::{ParticipantState, Role};

/// One line. As JSON the happening's own field tells which one it is: `state`, `speaking`, `muted` or `chat`.
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
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Happening {
    /// The state entered; `waiting` is the request to join.
    State {
        /// The new state.
        state: ParticipantState,
    },
    /// Begins or ends speaking.
    Speaking {
        /// True at the beginning.
        speaking: bool,
    },
    /// Is muted or not.
    Muted {
        /// True from now on.
        muted: bool,
    },
    /// Wrote into the chat.
    Chat {
        /// What.
        chat: String,
    },
}
