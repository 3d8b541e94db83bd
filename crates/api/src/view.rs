//! What is shown of documents: chosen fields, never a whole document, and no address with its passcode.

use bot_model::document::{BotInstance, Facts, Fields, Meeting};
use bot_model::lifecycle::Phase;
use bot_model::meeting_url::MeetingUrl;
use bot_model::outcome::{Attribution, Outcome, OutcomeClass};
use bot_store::Record;
use bot_store::protocol::InstanceRecord;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::input::etag;
use crate::queue::QueuePlace;
use crate::state::{Api, organization};

/// A meeting.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Meeting)]
pub(crate) struct MeetingView {
    /// Names it in this API.
    pub id: String,
    /// As in the `ETag` header: for `If-Match`.
    pub etag: String,
    /// The call's address without its passcode; absent where the document's is unusable.
    pub meeting_url: Option<String>,
    /// `meet`, `teams`, `zoom`, or one that the configuration names.
    pub platform: Option<String>,
    /// The tenant; empty where there is none.
    pub organization: String,
    /// The user; empty where there is none.
    pub user: String,
    /// For people.
    pub title: Option<String>,
    /// Scheduled start.
    pub start_time: Option<String>,
    /// Scheduled end.
    pub end_time: Option<String>,
    /// Name shown in the call.
    pub bot_name: Option<String>,
    /// Higher first.
    pub priority: i64,
    /// As the backend or this API set it.
    pub status: Option<String>,
    /// How far its bot is; absent before one is sent.
    pub bot_status: Option<String>,
    /// Its bot, once there is one.
    pub bot_id: Option<String>,
    /// Where its bot stands in the queue, while it waits there.
    pub queue: Option<QueuePlace>,
    /// Seconds after which a bot that could not be sent is given up.
    pub queue_timeout_seconds: Option<u64>,
    /// How it ended.
    pub outcome: Option<OutcomeView>,
    /// Why the document is unusable, if it is.
    pub problem: Option<String>,
    /// Last change through this API: when.
    pub updated_at: Option<String>,
    /// Last change through this API: the name of the key.
    pub updated_by: Option<String>,
}

/// How a call ended, and whose doing it was.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Outcome)]
pub(crate) struct OutcomeView {
    /// From a closed list, such as `host_ended`.
    pub kind: String,
    /// `ours`, `host`, `platform`, `configuration` or `participant`.
    #[schema(value_type = String)]
    pub attribution: Attribution,
    /// `completed`, `not_admitted`, `failed` or `not_attempted`.
    #[schema(value_type = String)]
    pub class: OutcomeClass,
    /// One sentence.
    pub message: String,
}

/// One bot for one occurrence of a meeting.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Bot)]
pub(crate) struct BotView {
    /// Names it.
    pub id: String,
    /// As in the `ETag` header.
    pub etag: String,
    /// `queued`, `claimed`, `launched`, `joining`, `waiting_room`, `recording`, `finalizing`, `done`, `failed`, `cancelled` or `missed`.
    #[schema(value_type = String)]
    pub phase: Phase,
    /// The stored status: `queued`, `processing`, `done` or `failed`, by the configured names.
    pub status: String,
    /// The platform.
    pub platform: String,
    /// The call's address without its passcode.
    pub meeting_url: String,
    /// The meetings that get its recording.
    pub meeting_ids: Vec<String>,
    /// The tenant.
    pub organization: String,
    /// The user.
    pub user: String,
    /// Name shown in the call.
    pub bot_name: Option<String>,
    /// Higher first.
    pub priority: i64,
    /// Scheduled start.
    pub start_time: Option<DateTime<Utc>>,
    /// Scheduled end.
    pub end_time: Option<DateTime<Utc>>,
    /// When it was queued.
    pub created_at: Option<DateTime<Utc>>,
    /// Where it stands in the queue, while it waits there.
    pub queue: Option<QueuePlace>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Somebody asked it to leave, or not to join.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Launches decided so far.
    pub attempt: u32,
    /// How far the recording is.
    pub recording: Option<ProgressView>,
    /// The files.
    pub artifacts: Vec<ArtifactView>,
    /// How it ended.
    pub outcome: Option<OutcomeView>,
}

/// How far a recording is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RecordingProgress)]
pub(crate) struct ProgressView {
    /// When the bot was admitted.
    pub started_at: DateTime<Utc>,
    /// When it was out of the call.
    pub ended_at: Option<DateTime<Utc>>,
    /// Segments in the bucket.
    pub segments: u64,
    /// Bytes in the bucket.
    pub bytes: u64,
}

/// One file of a recording.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Artifact)]
pub(crate) struct ArtifactView {
    /// `video.mp4`, `audio.m4a`, `recording.json` or `timeline.json`.
    pub name: String,
    /// MIME type.
    pub content_type: String,
    /// Size.
    pub bytes: u64,
    /// Castagnoli checksum, eight hex digits.
    pub crc32c: String,
    /// Length of the media in seconds.
    pub duration_secs: Option<f64>,
    /// As ffprobe names them.
    pub codecs: Vec<String>,
    /// Where it lies in the bucket.
    pub object: String,
    /// Where this API gives it out.
    pub href: String,
}

impl MeetingView {
    /// A meeting, as far as it can be read.
    pub(crate) fn of(api: &Api, record: &Record) -> Self {
        let naming = api.store().naming();
        let fields = &record.fields;
        let path = match &record.key {
            bot_store::DocumentKey::Meeting(path) => Some(path),
            _ => None,
        };
        let decoded = path.map(|path| Meeting::decode(path, fields, naming));
        let url = text(fields, "meeting_url").or_else(|| text(fields, "meetingUrl")).and_then(|url| MeetingUrl::parse(&url).ok());
        Self {
            id: path.map(|path| api.meeting_id(path)).unwrap_or_default(),
            etag: etag(&record.version),
            platform: url.as_ref().map(|url| url.platform().to_string()),
            meeting_url: url.map(|url| url.to_string()),
            organization: organization(fields),
            user: text(fields, "creator_user_id").unwrap_or_default(),
            title: text(fields, "title"),
            start_time: text(fields, "start_time"),
            end_time: text(fields, "end_time"),
            bot_name: text(fields, "bot_name"),
            priority: fields.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            status: Meeting::status(fields, naming).map(str::to_owned),
            bot_status: text(fields, "bot_status"),
            bot_id: Meeting::link(fields, naming).map(|id| id.to_string()),
            queue: None,
            queue_timeout_seconds: fields.get("queue_timeout_seconds").and_then(Value::as_u64),
            outcome: fields
                .get("bot_outcome")
                .and_then(|value| serde_json::from_value::<Outcome>(value.clone()).ok())
                .map(OutcomeView::from),
            problem: decoded.and_then(Result::err).map(|problem| problem.to_string()),
            updated_at: text(fields, "updated_at"),
            updated_by: text(fields, "updated_by"),
        }
    }
}

impl From<Outcome> for OutcomeView {
    fn from(outcome: Outcome) -> Self {
        Self {
            kind: outcome.kind.to_string(),
            attribution: outcome.attribution,
            class: outcome.kind.class(),
            message: outcome.message,
        }
    }
}

impl BotView {
    /// A bot.
    pub(crate) fn of(api: &Api, record: &InstanceRecord) -> Self {
        let BotInstance { id, phase, facts } = &record.instance;
        let naming = api.store().naming();
        Self {
            id: id.to_string(),
            etag: etag(&record.version),
            phase: *phase,
            status: naming.status_value(phase.status(naming.done_when)).to_owned(),
            platform: facts.meeting_url.platform().to_string(),
            meeting_url: facts.meeting_url.to_string(),
            meeting_ids: facts.linked_meetings.iter().map(|linked| api.meeting_id(&linked.path)).collect(),
            organization: facts.creator_organization_id.clone(),
            user: facts.creator_user_id.clone(),
            bot_name: facts.bot_name.clone(),
            priority: facts.priority,
            start_time: facts.start_time,
            end_time: facts.end_time,
            created_at: facts.created_at,
            queue: None,
            ended_at: facts.processed_at,
            cancel_requested_at: facts.cancel_requested_at,
            attempt: facts.attempt,
            recording: facts.recording.as_ref().map(|recording| ProgressView {
                started_at: recording.started_at,
                ended_at: recording.ended_at,
                segments: recording.segments,
                bytes: recording.bytes,
            }),
            artifacts: artifacts(id.as_str(), facts),
            outcome: facts.outcome.clone().map(OutcomeView::from),
        }
    }
}

/// The files of a bot.
pub(crate) fn artifacts(id: &str, facts: &Facts) -> Vec<ArtifactView> {
    let view = |file: &bot_model::document::Artifact| ArtifactView {
        name: file.name.file_name().to_owned(),
        content_type: file.name.content_type().to_owned(),
        bytes: file.bytes,
        crc32c: file.crc32c.clone(),
        duration_secs: file.duration_secs,
        codecs: file.codecs.clone(),
        object: file.object.clone(),
        href: format!("/v1/bots/{id}/artifacts/{}", file.name.file_name()),
    };
    facts.artifacts.iter().map(view).collect()
}

pub(crate) fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}
