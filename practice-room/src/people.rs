//! Who is in a room, and where they stand.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

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
    /// A name with a tile and a place in the list, without picture, sound or page: another bot, say.
    Seat,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Clock => "clock",
            Self::Person => "person",
            Self::Seat => "seat",
        }
    }
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
    pub(crate) fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::InCall)
    }
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
    /// Muted by itself or by the host.
    #[serde(default)]
    pub muted: bool,
    /// When it entered the call.
    pub joined_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub left_at: Option<DateTime<Utc>>,
}
