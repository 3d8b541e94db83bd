//! The contract between manager and meeting-bot: `/v1/session`.
//!
//! One session a process. `POST /v1/session` starts it and is idempotent by `session_id`; `GET /v1/session` is both
//! the poll that keeps the bot alive (see [`DEAD_MAN_SWITCH`]) and the source of truth;
//! `GET /v1/session/events` streams the same changes as server-sent events; `POST /v1/session/leave` ends it;
//! `GET /v1/session/people` answers who is there ([`PersonNow`]); `GET /v1/session/screenshot` answers a PNG. Media never crosses this interface: it lies in `output_dir`
//! (see [`crate::segment`]).

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::meeting_url::MeetingUrl;
use crate::outcome::OutcomeKind;
use crate::people::Role;

/// A bot whose manager has not polled for this long leaves the call and ends by itself, so that no bot outlives its
/// manager by more than a minute (invariant I9).
pub const DEAD_MAN_SWITCH: Duration = Duration::from_secs(45);

/// A bot is out of the call this long after SIGTERM or a leave request, at the latest.
pub const LEAVE_BUDGET: Duration = Duration::from_secs(10);

/// The three deadlines of a run lie this far apart: the meeting-bot's own limits, the manager's above them, the Job's above that.
pub const OVERSTAY: Duration = Duration::from_secs(600);
/// Longest greeting, in characters.
pub const GREETING_CHARACTERS: usize = 500;

/// Body of `POST /v1/session`. 201 when started, 200 when this very session runs already, 409 when another does,
/// 400 with a reason when it is unusable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartSession {
    /// Chosen by the manager; the same id means the same session.
    pub session_id: String,
    /// The call, secret included. Travels over loopback only.
    #[serde(with = "crate::meeting_url::exposed")]
    pub meeting: MeetingUrl,
    /// Shown to the others; at most 64 printable characters.
    pub display_name: String,
    /// An existing folder that both processes can reach; parts are written below it.
    pub output_dir: PathBuf,
    /// When to give up and when to leave.
    pub limits: SessionLimits,
    /// Size and rate of the picture.
    pub capture: CaptureSettings,
    /// Posted to the call's chat once admitted, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<String>,
}

/// When the bot gives up or leaves by itself. All in seconds. What a manager of another version leaves out has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionLimits {
    /// From opening the page to asking to join.
    pub join_timeout_secs: u64,
    /// From asking to join to being admitted.
    pub lobby_timeout_secs: u64,
    /// From asking to join to being admitted, where the host has not started the call.
    pub host_timeout_secs: u64,
    /// The client says that it reconnects, for this long.
    pub reconnect_secs: u64,
    /// From being admitted to leaving.
    pub max_recording_secs: u64,
    /// Alone for this long after somebody had been there.
    pub everyone_left_secs: u64,
    /// Alone for this long from the start.
    pub no_one_joined_secs: u64,
    /// Silence for this long, once `silence_start_delay_secs` have passed since admission. 0 turns it off.
    pub silence_secs: u64,
    /// See `silence_secs`.
    pub silence_start_delay_secs: u64,
    /// Names of other bots ([`crate::other_bots`]): they do not count as people.
    pub other_bot_names: Vec<String>,
}

impl SessionLimits {
    /// The longest that a bot which keeps these limits stays, from its start to leaving.
    pub fn longest_stay(&self) -> Duration {
        Duration::from_secs(self.join_timeout_secs + self.lobby_timeout_secs + self.max_recording_secs)
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            join_timeout_secs: 120,
            lobby_timeout_secs: 15 * 60,
            host_timeout_secs: 15 * 60,
            reconnect_secs: 120,
            max_recording_secs: 600 * 60,
            everyone_left_secs: 60,
            no_one_joined_secs: 10 * 60,
            silence_secs: 15 * 60,
            silence_start_delay_secs: 5 * 60,
            other_bot_names: crate::other_bots::defaults(),
        }
    }
}

/// Size and rate of the picture. Defaults are the smallest files measured: 720p, 15 frames a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSettings {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub frames_per_second: u32,
    /// x264 preset.
    pub preset: String,
    /// x264 constant rate factor.
    pub crf: u32,
    /// Target length of a segment in seconds; what a SIGKILL may cost.
    pub segment_secs: u32,
}

impl CaptureSettings {
    /// Widths that a bot takes, in pixels; they are even, for the picture's colours are stored at half its size.
    pub const WIDTHS: RangeInclusive<u32> = 320..=3840;
    /// Heights that a bot takes, in pixels; even, too.
    pub const HEIGHTS: RangeInclusive<u32> = 240..=2160;
    /// Frames a second that a bot takes.
    pub const RATES: RangeInclusive<u32> = 1..=60;
    /// x264's constant rate factors: smaller is better and larger.
    pub const CRFS: RangeInclusive<u32> = 0..=51;
    /// What [`Self::parse_size`] reads, for a person.
    pub const SIZE_WANTS: &'static str = "a size such as 1280x720: even, 320x240 to 3840x2160";

    /// Reads `{width}x{height}`; `None` where a bot would refuse it.
    pub fn parse_size(text: &str) -> Option<(u32, u32)> {
        let (width, height) = text.split_once('x')?;
        let (width, height) = (width.parse().ok()?, height.parse().ok()?);
        let fits = Self::WIDTHS.contains(&width) && Self::HEIGHTS.contains(&height);
        (fits && width.is_multiple_of(2) && height.is_multiple_of(2)).then_some((width, height))
    }
}

impl Default for CaptureSettings {
    fn default() -> Self {
        Self { width: 1280, height: 720, frames_per_second: 15, preset: "veryfast".into(), crf: 26, segment_secs: 4 }
    }
}

/// Where the session stands. Moves forward only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionPhase {
    /// No session was started yet in this process.
    Idle,
    /// Browser, display and sink are being brought up.
    Starting,
    /// The platform's page is open and being filled in.
    Joining,
    /// Asked to join; waiting for the host.
    WaitingRoom,
    /// Admitted; capture runs.
    Recording,
    /// Leaving and closing the last segment.
    Leaving,
    /// Over; `end` says how, and every segment is closed.
    Ended,
}

/// Answer of `GET /v1/session` and of a successful start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// New at every start of the process: a changed id means that the bot was restarted and its session is gone.
    pub boot_id: String,
    /// Absent while idle.
    pub session_id: Option<String>,
    /// Where it stands.
    pub phase: SessionPhase,
    /// When the phase was entered.
    pub phase_since: DateTime<Utc>,
    /// When the bot was admitted, if it was.
    pub admitted_at: Option<DateTime<Utc>>,
    /// When the bot was out of the call, if it was ever in it.
    pub left_at: Option<DateTime<Utc>>,
    /// Others in the call, as the platform's page says; absent while unknown.
    pub others_in_call: Option<u32>,
    /// Who is there now, by numbers; names are at `GET /v1/session/people`.
    #[serde(default)]
    pub people: PeopleNow,
    /// The greeting was posted.
    #[serde(default)]
    pub has_greeted: bool,
    /// Media health while recording.
    pub media: MediaHealth,
    /// How it ended.
    pub end: Option<SessionEnd>,
    /// Sequence number of the newest event.
    pub last_event: u64,
}

impl SessionState {
    /// Of a process that was started `now` and has been given no session yet.
    pub fn idle(boot_id: String, now: DateTime<Utc>) -> Self {
        Self {
            boot_id,
            session_id: None,
            phase: SessionPhase::Idle,
            phase_since: now,
            admitted_at: None,
            left_at: None,
            others_in_call: None,
            people: PeopleNow::default(),
            has_greeted: false,
            media: MediaHealth::default(),
            end: None,
            last_event: 0,
        }
    }
}

/// What the watchdogs see.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MediaHealth {
    /// Highest part number begun, from 0; absent before the first.
    pub part: Option<u32>,
    /// Closed segments over all parts.
    pub segments: u64,
    /// Bytes in closed segments.
    pub bytes: u64,
    /// Seconds since a segment was last closed (or the part began).
    pub segment_age_secs: f64,
    /// The picture has been of one colour for this long.
    pub black_secs: f64,
    /// The picture has not changed for this long.
    pub frozen_secs: f64,
    /// No sound above -60 dBFS for this long.
    pub silent_secs: f64,
    /// Every audio stream of this browser, and none other, plays to this bot's sink.
    pub sink_is_right: bool,
    /// The sound server has not answered, or has had no sink of ours, for this long.
    #[serde(default)]
    pub sink_lost_secs: f64,
    /// The last looks at the page show another picture than the recording, or the page gave none.
    #[serde(default)]
    pub picture_differs: bool,
    /// Nothing was heard of the captured sound, silence included, for this long.
    #[serde(default)]
    pub sound_age_secs: f64,
    /// So long has somebody spoken by the platform's own signal since a sound was last recorded.
    #[serde(default)]
    pub unheard_secs: f64,
    /// There were samples at full scale for so many of the last ten seconds.
    #[serde(default)]
    pub clipped_secs: f64,
    /// How far the sound has moved against the picture since the part began; positive when it is late.
    #[serde(default)]
    pub drift_ms: Option<i64>,
    /// Frames of the running part.
    #[serde(default)]
    pub frames: u64,
    /// Of these, repetitions.
    #[serde(default)]
    pub frames_duplicated: u64,
    /// Frames that the running part left out.
    #[serde(default)]
    pub frames_dropped: u64,
    /// Share of the last half minute's frames that are repetitions or were left out, from 0 to 1.
    #[serde(default)]
    pub frames_lost_share: f64,
    /// Free bytes where the recording is written.
    #[serde(default)]
    pub free_bytes: Option<u64>,
}

/// Who is there now, as far as the page tells it. Small, whatever the call's size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeopleNow {
    /// People, without this bot and others.
    pub people: u32,
    /// Other bots.
    pub bots: u32,
    /// Numbers of those who speak, at most 8.
    pub speaking: Vec<u32>,
    /// Chat messages seen.
    pub chat_messages: u64,
}

/// One of those who are there: an element of the answer of `GET /v1/session/people`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonNow {
    /// Number within the session.
    pub person: u32,
    /// As shown; untrusted.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// Speaks now.
    pub is_speaking: bool,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// From the closed list.
    pub kind: OutcomeKind,
    /// For a person and the debug bundle; no address, no passcode, no name.
    pub detail: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Body of `POST /v1/session/leave`; answered 202 at once, idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveRequest {
    /// Becomes the outcome unless the call ended before.
    pub reason: OutcomeKind,
}

/// One line of the session's timeline; also a server-sent event, whose `id:` is `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionEvent {
    /// From 1, without gaps. Of a very long session only the newest events are kept.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub kind: SessionEventKind,
}

/// What can happen in a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SessionEventKind {
    /// A phase was entered.
    Phase {
        /// The new phase.
        phase: SessionPhase,
    },
    /// The number of others changed.
    Participants {
        /// Others in the call.
        others: u32,
    },
    /// Somebody came; numbers only, names are no matter of events.
    PersonJoined {
        /// Number within the session.
        person: u32,
    },
    /// Somebody left.
    PersonLeft {
        /// Number within the session.
        person: u32,
    },
    /// Somebody began or ceased to speak.
    Speaking {
        /// Number within the session.
        person: u32,
        /// True when it began.
        began: bool,
    },
    /// ffmpeg began a new part.
    PartStarted {
        /// From 0.
        part: u32,
    },
    /// A watchdog saw something, or saw it end.
    Watchdog {
        /// `segments_stalled`, `picture_black`, `picture_frozen`, `wrong_sink`, `sink_lost`, `sound_stalled`, `audio_missing`,
        /// `audio_clipping`, `av_drift`, `frames_missing`, `disk_low`, `capture_exited`.
        signal: String,
        /// True when it began, false when it ended.
        raised: bool,
    },
    /// Something is done about a watchdog's signal.
    Remedy {
        /// `rebind` (sink and capture anew, the call goes on), `reload` (left, and the page opened again), `rejoin` (the same with
        /// a browser, display and sink anew).
        remedy: String,
        /// The watchdog's signal.
        signal: String,
    },
    /// A step of the signal pack was done; the pack's own step name.
    Step {
        /// Name in the pack.
        name: String,
    },
    /// The session ended.
    Ended {
        /// How.
        kind: OutcomeKind,
    },
}
