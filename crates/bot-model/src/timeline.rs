//! `timeline.json`: who was in the call, who spoke when, and what was written in the chat; made of the journals
//! ([`crate::people`]) of every run that recorded the call.
//!
//! Each time is given twice: in UTC, and as seconds into `video.mp4`, which leaves out what nobody recorded. What happened before
//! the first frame is at 0, what happened in a gap at the gap's place.

mod assemble;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::InstanceId;
use crate::manifest::ManifestPart;
use crate::people::{Kind, Role};
pub use assemble::{Assembly, JournalOf};

/// The shape of `timeline.json` that this version writes.
pub const TIMELINE_VERSION: u32 = 1;
/// Participants that `recording.json` lists; the timeline lists all.
const SUMMARY_PARTICIPANTS: usize = 1_000;

/// `timeline.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// [`TIMELINE_VERSION`].
    pub schema_version: u32,
    /// The instance.
    pub bot_instance_id: InstanceId,
    /// Second 0: the first frame of `video.mp4`.
    pub started_at: DateTime<Utc>,
    /// Length of `video.mp4` in seconds.
    pub duration_secs: f64,
    /// Everybody who was there, in the order of coming.
    pub participants: Vec<Participant>,
    /// Who spoke, in the order of beginning.
    pub speaking: Vec<SpeakingSpan>,
    /// The chat, in order.
    pub chat: Vec<ChatMessage>,
    /// What is incomplete, because the call outgrew the bounds of its journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<Kind>,
}

/// Somebody in the call. Who leaves and comes back is the same by the platform's key, or else by the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// Number within this timeline, from 1.
    pub id: u32,
    /// The latest name; may be empty.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// When they were there.
    pub present: Vec<Span>,
    /// Seconds there.
    pub present_secs: f64,
    /// Seconds of speaking.
    pub speaking_secs: f64,
}

/// From and to, twice each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Beginning.
    pub from: DateTime<Utc>,
    /// End.
    pub to: DateTime<Utc>,
    /// Beginning, in seconds into the video.
    pub from_secs: f64,
    /// End, in seconds into the video.
    pub to_secs: f64,
}

/// Somebody speaking.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SpeakingSpan {
    /// [`Participant::id`].
    pub participant: u32,
    /// When.
    #[serde(flatten)]
    pub span: Span,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// When it was seen first.
    pub at: DateTime<Utc>,
    /// The same, in seconds into the video.
    pub secs: f64,
    /// As shown.
    pub author: String,
    /// [`Participant::id`] of the one participant of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<u32>,
    /// What was written.
    pub text: String,
    /// The text was longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// What `recording.json` says of the people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeopleSummary {
    /// Everybody, bots included.
    pub participant_count: u32,
    /// The first 1,000 of them.
    pub participants: Vec<ParticipantTotal>,
    /// How many spoke.
    pub speaker_count: u32,
    /// Messages in the chat.
    pub chat_messages: u64,
    /// Object name below the recording's prefix.
    pub timeline: String,
    /// crc32c (Castagnoli) of that object, as eight hex digits.
    pub timeline_crc32c: String,
}

/// One participant's totals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantTotal {
    /// [`Participant::id`].
    pub id: u32,
    /// The latest name.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// Seconds there.
    pub present_secs: f64,
    /// Seconds of speaking.
    pub speaking_secs: f64,
}

impl Timeline {
    /// The summary, for a timeline written as `object` with the given checksum.
    pub fn summary(&self, object: &str, crc32c: &str) -> PeopleSummary {
        let total = |one: &Participant| ParticipantTotal {
            id: one.id,
            name: one.name.clone(),
            role: one.role,
            present_secs: one.present_secs,
            speaking_secs: one.speaking_secs,
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        PeopleSummary {
            participant_count: count(self.participants.len()),
            participants: self.participants.iter().take(SUMMARY_PARTICIPANTS).map(total).collect(),
            speaker_count: count(self.participants.iter().filter(|one| one.speaking_secs > 0.0).count()),
            chat_messages: self.chat.len() as u64,
            timeline: object.to_owned(),
            timeline_crc32c: crc32c.to_owned(),
        }
    }
}

/// Seconds into the video of a wall clock time.
#[derive(Debug, Clone, Copy)]
struct Clock<'a> {
    parts: &'a [ManifestPart],
}

impl Clock<'_> {
    fn secs(self, at: DateTime<Utc>) -> f64 {
        let Some(part) = self.parts.iter().rev().find(|part| part.started_at <= at) else { return 0.0 };
        let into = (at - part.started_at).as_seconds_f64().min(part.duration_secs);
        thousandths(part.offset_secs + into)
    }

    fn span(self, from: DateTime<Utc>, to: DateTime<Utc>) -> Span {
        let to = to.max(from);
        Span { from, to, from_secs: self.secs(from), to_secs: self.secs(to) }
    }
}

fn thousandths(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}
