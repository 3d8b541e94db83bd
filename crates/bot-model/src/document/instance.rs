//! `bot_instances/{id}`: ours, or written `queued` by a backend directly.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DocumentError, Fields, SCHEMA_VERSION};
use crate::capacity::ledger::Refusal;
use crate::configuration::Naming;
use crate::ids::{CallKey, InstanceId, JobName, MeetingPath};
use crate::lifecycle::{DoneWhen, Phase, Status};
use crate::meeting_url::MeetingUrl;
use crate::object_prefix::{ObjectName, ObjectPrefix};
use crate::outcome::Outcome;

/// One bot for one occurrence of a meeting.
#[derive(Debug, Clone, PartialEq)]
pub struct BotInstance {
    /// The document's id.
    pub id: InstanceId,
    /// Where it stands.
    pub phase: Phase,
    /// The stored facts.
    pub facts: Facts,
}

/// Everything but id and phase. Field names are the stored ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The call, secret included: the document is where the manager reads it.
    #[serde(with = "crate::meeting_url::exposed")]
    pub meeting_url: MeetingUrl,
    /// Path of the meeting document that it was made for; absent where a backend queued it directly.
    #[serde(default)]
    pub meeting_path: Option<MeetingPath>,
    /// Scheduled start.
    #[serde(default)]
    pub start_time: Option<DateTime<Utc>>,
    /// Scheduled end.
    #[serde(default)]
    pub end_time: Option<DateTime<Utc>>,
    /// Name shown in the call.
    #[serde(default)]
    pub bot_name: Option<String>,
    /// Where the files lie. Reserved at the latest before the join.
    #[serde(default)]
    pub gcs_path: Option<ObjectPrefix>,
    /// The tenant, or empty.
    #[serde(default)]
    pub creator_organization_id: String,
    /// The user, or empty.
    #[serde(default)]
    pub creator_user_id: String,
    /// Higher first.
    #[serde(default)]
    pub priority: i64,
    /// It ends where its bot could not be sent within this long; absent is as long as its meeting can be joined.
    #[serde(default, rename = "queue_timeout_seconds")]
    pub queue_timeout_secs: Option<u64>,
    /// When the document was made.
    #[serde(default)]
    pub created_at: Option<DateTime<Utc>>,
    /// The claim, if any controller holds or held one.
    #[serde(flatten)]
    pub claim: Claim,
    /// Which limit it waits for in the queue, so that whoever ends it knows that it waited, whoever saw it wait.
    #[serde(default, deserialize_with = "if_readable")]
    pub waits_for: Option<WaitsFor>,
    /// Number of launches decided so far; 0 before the first claim. Adopting never raises it, a relaunch does.
    #[serde(default)]
    pub attempt: u32,
    /// The Job (or local run) of this instance.
    #[serde(default)]
    pub job_name: Option<JobName>,
    /// The run lease.
    #[serde(default)]
    pub run: Option<Run>,
    /// What was recorded so far.
    #[serde(default)]
    pub recording: Option<RecordingProgress>,
    /// The list of segments that the files are made of, once frozen.
    #[serde(default)]
    pub frozen: Option<FrozenList>,
    /// The latest attempt that held the call's slot and was about to join; 0 before. From then on more may lie in the bucket than
    /// stands here.
    #[serde(default)]
    pub joining_attempt: u32,
    /// How often finalizing was begun.
    #[serde(default)]
    pub finalize_attempts: u32,
    /// The files.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// When the raw segments that the files were made of were deleted, their retention having passed.
    #[serde(default)]
    pub raw_deleted_at: Option<DateTime<Utc>>,
    /// How it ended.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// Full address of the folder of the latest debug bundle, where a session left one.
    #[serde(default)]
    pub debug: Option<String>,
    /// When the greeting was posted to the call's chat: once an instance.
    #[serde(default)]
    pub greeted_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default)]
    pub processed_at: Option<DateTime<Utc>>,
    /// Meeting documents that get the result.
    #[serde(default)]
    pub linked_meetings: Vec<LinkedMeeting>,
    /// The live-call slot that it holds or waits for.
    #[serde(default)]
    pub call_key: Option<CallKey>,
    /// The instance that was in the call already and got this one's meetings. Whoever finds this one goes on there.
    #[serde(default)]
    pub handed_to: Option<InstanceId>,
    /// Set when the bot shall not join, or shall leave: the document was cancelled or deleted.
    #[serde(default)]
    pub cancel_requested_at: Option<DateTime<Utc>>,
}

/// The claim's fields, flat in the document as the original has them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Claim {
    /// Id of the controller.
    #[serde(default)]
    pub claimed_by: Option<String>,
    /// When, by that controller's clock. For people; no decision rests on it.
    #[serde(default)]
    pub claimed_at: Option<DateTime<Utc>>,
    /// `claimed_at` plus the TTL, for people and for the original's readers.
    #[serde(default)]
    pub claim_expires_at: Option<DateTime<Utc>>,
    /// Made by the claimer, so that a commit whose answer was lost is recognised.
    #[serde(default)]
    pub claim_id: Option<String>,
    /// It was claimed to make files alone: a run of the same attempt that was sent to join the call before, and comes late, does that.
    #[serde(default)]
    pub claim_finalizes: bool,
}

/// What a bot in the queue waits for. For people and for its outcome; no launch is decided on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    /// The limit.
    pub limit: Refusal,
    /// Since when it is that one, by the clock of who wrote it.
    pub since: DateTime<Utc>,
}

/// The manager's lease on the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Identifies the pod, or the local process group: `[a-z0-9]{1,32}` of it names the raw folder.
    pub pod_uid: String,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// Counts renewals, so that every renewal changes the document whatever the clock says.
    pub renewals: u64,
    /// For people; no decision rests on it.
    pub renewed_at: DateTime<Utc>,
    /// Set once this run is over and drained: nothing will be added by it any more.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
}

/// How far the recording is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingProgress {
    /// When the bot was first admitted.
    pub started_at: DateTime<Utc>,
    /// When it was out of the call for good.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Parts begun, over all runs.
    pub parts: u32,
    /// Segments in the bucket.
    pub segments: u64,
    /// Bytes in the bucket.
    pub bytes: u64,
}

/// The segments that the files are made of. Set once by compare-and-set, so that two finalizers make the same files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenList {
    /// SHA-256 (hex) over the raw names in order.
    pub sha256: String,
    /// In the order of recording.
    pub parts: Vec<FrozenPart>,
}

/// One part of a frozen list. Segments count from `first_seq` without a gap: a gap ends a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenPart {
    /// The attempt that recorded it.
    pub attempt: u32,
    /// The run that recorded it.
    pub run: String,
    /// The part.
    pub part: u32,
    /// crc32c of `part.json`.
    pub info_crc32c: u32,
    /// crc32c of the initialisation segment.
    pub init_crc32c: u32,
    /// Sequence number of the first segment.
    pub first_seq: u32,
    /// crc32c of each segment, eight hex digits each, so that ten hours fit into the document.
    pub segment_crc32c: String,
    /// crc32c of each stretch's quality from the first, in the same way; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub quality_crc32c: String,
}

/// One file in the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Which.
    pub name: ObjectName,
    /// Full address, such as `gs://bucket/path/video.mp4`.
    pub object: String,
    /// Size.
    pub bytes: u64,
    /// crc32c (Castagnoli), as eight hex digits.
    pub crc32c: String,
    /// Length of the media; absent for the manifest.
    #[serde(default)]
    pub duration_secs: Option<f64>,
    /// Codec names as ffprobe gives them.
    #[serde(default)]
    pub codecs: Vec<String>,
}

/// A meeting document that gets the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedMeeting {
    /// The document.
    pub path: MeetingPath,
    /// The path that it asked for, where it differs: gets a pointer to the one set of files.
    #[serde(default)]
    pub gcs_path: Option<ObjectPrefix>,
    /// Full address of that pointer, once it was written ([`crate::manifest::RecordingPointer`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

/// One line of the timeline, in the subcollection `events`, committed together with the change that it tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// When, by the writer's clock.
    pub occurred_at: DateTime<Utc>,
    /// Phase after the change.
    pub phase: Phase,
    /// What happened: a snake_case name from code, never data of the call.
    pub event: String,
    /// Who wrote it: `controller`, `manager`, `cli`.
    pub actor: String,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// For a person; no address, passcode or name.
    #[serde(default)]
    pub detail: String,
    /// The instance's tenant, so that a feed over all timelines can be confined to one.
    #[serde(default)]
    pub creator_organization_id: String,
}

impl BotInstance {
    /// A queued instance with nothing but its call.
    pub fn queued(id: InstanceId, meeting_url: MeetingUrl) -> Self {
        Self { id, phase: Phase::Queued, facts: Facts::new(meeting_url) }
    }

    /// Decodes a document. A backend may have written only the original's minimum: `meeting_url` and `status`.
    pub fn decode(id: &InstanceId, fields: &Fields, naming: &Naming) -> Result<Self, DocumentError> {
        let phase = Self::stored_phase(fields, naming)?;
        let mut known = fields.clone();
        if let Some(url) = fields.get("meetingUrl").filter(|_| !fields.contains_key("meeting_url")) {
            known.insert("meeting_url".into(), url.clone());
        }
        known.retain(|_, value| !value.is_null());
        let facts = serde_json::from_value(Value::Object(known)).map_err(|error| DocumentError::Field(harmless(&error)))?;
        Ok(Self { id: id.clone(), phase, facts })
    }

    /// The phase of a document, readable even where the rest is not.
    pub fn stored_phase(fields: &Fields, naming: &Naming) -> Result<Phase, DocumentError> {
        if let Some(found) =
            fields.get("schema_version").and_then(Value::as_u64).filter(|found| *found > u64::from(SCHEMA_VERSION))
        {
            return Err(DocumentError::NewerSchema { found });
        }
        let unknown = |field: &str| DocumentError::UnknownStatus { field: field.to_owned() };
        let status = fields
            .get(&naming.instance_status_field)
            .and_then(Value::as_str)
            .and_then(|value| naming.status_of(value))
            .ok_or_else(|| unknown(&naming.instance_status_field))?;
        match fields.get("phase") {
            None | Some(Value::Null) => Ok(match status {
                Status::Queued => Phase::Queued,
                Status::Processing => Phase::Claimed,
                Status::Done => Phase::Done,
                Status::Failed => Phase::Failed,
            }),
            // An operator or backend that sets the status back to queued arms the instance again before its launch only.
            Some(Value::String(name)) => Phase::from_name(name).ok_or_else(|| unknown("phase")),
            Some(_) => Err(unknown("phase")),
        }
    }

    /// Encodes every field that we own; absent ones are `null`, so that a merge clears them.
    pub fn encode(&self, naming: &Naming) -> Fields {
        let mut fields = match serde_json::to_value(&self.facts) {
            Ok(Value::Object(fields)) => fields,
            _ => Fields::new(),
        };
        fields.insert("phase".into(), self.phase.as_str().into());
        fields.insert("schema_version".into(), SCHEMA_VERSION.into());
        fields.insert(naming.instance_status_field.clone(), naming.status_value(self.phase.status(naming.done_when)).into());
        // For lists alone: nothing decides on them.
        fields.insert("platform".into(), self.facts.meeting_url.platform().as_str().into());
        let kind = self.facts.outcome.as_ref().map(|outcome| outcome.kind.as_str());
        fields.insert("outcome_kind".into(), kind.into());
        if let Some(first) = self.facts.linked_meetings.first() {
            // The original's readers look here.
            fields.insert("meeting_id".into(), first.path.document_id().into());
        }
        fields
    }

    /// The status that backends see.
    pub fn status(&self, done_when: DoneWhen) -> Status {
        self.phase.status(done_when)
    }

    /// True where an attempt carried segments to the bucket: then there are files to make, whatever became of the meeting.
    pub fn is_recorded(&self) -> bool {
        self.facts.recording.as_ref().is_some_and(|recording| recording.segments > 0)
    }

    /// True where there may be files to make: a run was about to join, and may have lost the store before it could say what it
    /// carried out. Only a look into the bucket tells.
    pub fn may_be_recorded(&self) -> bool {
        self.is_recorded() || self.facts.joining_attempt > 0
    }

    /// What it waits for from now on; since when it does is kept.
    pub fn waiting_for(&self, limit: Refusal, now: DateTime<Utc>) -> WaitsFor {
        self.facts.waits_for.clone().filter(|known| known.limit == limit).unwrap_or(WaitsFor { limit, since: now })
    }

    /// True when this meeting document is linked already.
    pub fn is_linked(&self, path: &MeetingPath) -> bool {
        self.facts.linked_meetings.iter().any(|linked| &linked.path == path)
    }
}

impl LinkedMeeting {
    /// The path of its own that wants a pointer and has none yet.
    pub fn wants_pointer(&self, files_at: Option<&ObjectPrefix>) -> Option<&ObjectPrefix> {
        self.gcs_path.as_ref().filter(|path| self.pointer.is_none() && Some(*path) != files_at)
    }
}

impl Facts {
    fn new(meeting_url: MeetingUrl) -> Self {
        Self {
            meeting_url,
            meeting_path: None,
            start_time: None,
            end_time: None,
            bot_name: None,
            gcs_path: None,
            creator_organization_id: String::new(),
            creator_user_id: String::new(),
            priority: 0,
            queue_timeout_secs: None,
            created_at: None,
            claim: Claim::default(),
            waits_for: None,
            attempt: 0,
            job_name: None,
            run: None,
            recording: None,
            frozen: None,
            joining_attempt: 0,
            finalize_attempts: 0,
            artifacts: Vec::new(),
            raw_deleted_at: None,
            outcome: None,
            debug: None,
            greeted_at: None,
            processed_at: None,
            linked_meetings: Vec::new(),
            call_key: None,
            handed_to: None,
            cancel_requested_at: None,
        }
    }
}

/// `None` for what an older or newer version does not know: a note is no reason to refuse a document.
fn if_readable<'de, D: serde::Deserializer<'de>, T: serde::de::DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

/// serde's message without the value that it may quote.
fn harmless(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.split_once(": ") {
        Some((head, tail)) if head.starts_with("invalid") => {
            let wants = tail.split_once("expected ").map_or("another type", |(_, wants)| wants);
            format!("{head}, expected {wants}")
        }
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decode(value: Value) -> Result<BotInstance, DocumentError> {
        BotInstance::decode(&InstanceId::parse("b1").unwrap(), value.as_object().unwrap(), &Naming::default())
    }

    #[test]
    fn a_backend_s_minimum_is_a_queued_instance() {
        let instance = decode(json!({"meeting_url": "https://meet.google.com/abc-defg-hij", "status": "queued"})).unwrap();
        assert_eq!((instance.phase, instance.facts.attempt), (Phase::Queued, 0));
    }

    #[test]
    fn what_is_encoded_decodes_the_same_under_custom_names() {
        let naming = Naming::read(|name| match name {
            "BOT_INSTANCE_STATUS_FIELD" => Some("state".into()),
            "BOT_INSTANCE_PROCESSING_VALUE" => Some("busy".into()),
            _ => None,
        })
        .unwrap();
        let mut instance = BotInstance::queued(
            InstanceId::parse("b1").unwrap(),
            MeetingUrl::parse("https://zoom.us/j/123456789?pwd=x").unwrap(),
        );
        instance.phase = Phase::Recording;
        instance.facts.claim.claimed_by = Some("c-1".into());
        instance.facts.run = Some(Run {
            pod_uid: "u".into(),
            attempt: 1,
            renewals: 3,
            renewed_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            ended_at: None,
        });
        let fields = instance.encode(&naming);
        assert_eq!(fields["state"], "busy");
        assert_eq!(BotInstance::decode(&instance.id, &fields, &naming), Ok(instance));
    }

    #[test]
    fn an_unknown_status_or_phase_is_not_acted_on() {
        let url = "https://meet.google.com/abc-defg-hij";
        assert!(matches!(decode(json!({"meeting_url": url, "status": "paused"})), Err(DocumentError::UnknownStatus { .. })));
        assert!(matches!(
            decode(json!({"meeting_url": url, "status": "queued", "phase": "warp"})),
            Err(DocumentError::UnknownStatus { .. })
        ));
        assert!(matches!(
            decode(json!({"meeting_url": url, "status": "queued", "schema_version": 99})),
            Err(DocumentError::NewerSchema { found: 99 })
        ));
    }

    #[test]
    fn decode_errors_quote_no_values() {
        let error = decode(json!({"meeting_url": {"secret": "CANARY"}, "status": "queued"})).unwrap_err();
        assert!(!error.to_string().contains("CANARY"), "{error}");
        let error =
            decode(json!({"meeting_url": "https://meet.google.com/abc-defg-hij", "status": "queued", "attempt": "CANARY"}))
                .unwrap_err();
        assert!(!error.to_string().contains("CANARY"), "{error}");
    }
}
