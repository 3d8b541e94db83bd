//! The backend's meeting document, read without trust.

use chrono::{DateTime, Utc};

use super::{DocumentError, Fields, instant, integer, seconds, text};
use crate::configuration::Naming;
use crate::ids::{InstanceId, MeetingPath};
use crate::meeting_url::MeetingUrl;
use crate::object_prefix::ObjectPrefix;

/// A usable meeting document.
#[derive(Debug, Clone, PartialEq)]
pub struct Meeting {
    /// Full path of the document.
    pub path: MeetingPath,
    /// The status field's text.
    pub status: String,
    /// The call.
    pub url: MeetingUrl,
    /// Scheduled start; absent means now.
    pub start_time: Option<DateTime<Utc>>,
    /// Scheduled end.
    pub end_time: Option<DateTime<Utc>>,
    /// Name shown in the call.
    pub bot_name: Option<String>,
    /// Where the files shall lie.
    pub gcs_path: Option<ObjectPrefix>,
    /// The tenant; empty when the document names none.
    pub organization: String,
    /// The user; empty when the document names none.
    pub user: String,
    /// Higher first.
    pub priority: i64,
    /// A bot that cannot be sent within this long is not sent any more.
    pub queue_timeout_secs: Option<u64>,
    /// The instance that serves it, once linked.
    pub bot_instance_id: Option<InstanceId>,
}

/// Every name that a backend may use for the tenant.
const ORGANIZATION_KEYS: [&str; 5] = ["creator_organization_id", "organization_id", "organizationId", "teamId", "team_id"];

/// Why a meeting document is unusable: every reason at once, in one sentence for its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reasons.join("; "))]
pub struct MeetingProblem {
    /// One clause each; no values of the document.
    pub reasons: Vec<String>,
}

impl Meeting {
    /// Decodes a document. Both spellings of the original's readers are accepted.
    pub fn decode(path: &MeetingPath, fields: &Fields, naming: &Naming) -> Result<Self, MeetingProblem> {
        let mut reasons = Vec::new();
        let url = note(&mut reasons, text(fields, &["meeting_url", "meetingUrl"])).flatten();
        let url = match url.map(MeetingUrl::parse) {
            None if reasons.is_empty() => {
                reasons.push("field meeting_url is missing".to_owned());
                None
            }
            None => None,
            Some(Ok(url)) => Some(url),
            Some(Err(error)) => {
                reasons.push(format!("field meeting_url is refused: {error}"));
                None
            }
        };
        let gcs_path = note(&mut reasons, text(fields, &["gcs_path"])).flatten();
        let gcs_path = match gcs_path.map(ObjectPrefix::parse).transpose() {
            Ok(prefix) => prefix,
            Err(error) => {
                reasons.push(format!("field gcs_path is refused: {error}"));
                None
            }
        };
        let start_time = note(&mut reasons, instant(fields, "start_time")).flatten();
        let end_time = note(&mut reasons, instant(fields, "end_time")).flatten();
        let bot_name = note(&mut reasons, text(fields, &["bot_name"])).flatten().map(crate::display_name::display_name);
        let organization = note(&mut reasons, text(fields, &ORGANIZATION_KEYS)).flatten().unwrap_or_default().to_owned();
        let user = note(&mut reasons, text(fields, &["creator_user_id", "user_id", "userId"])).flatten();
        let priority = note(&mut reasons, integer(fields, "priority")).flatten().unwrap_or_default();
        let queue_timeout_secs = note(&mut reasons, seconds(fields, "queue_timeout_seconds")).flatten();
        let status = note(&mut reasons, text(fields, &[&naming.meeting_status_field])).flatten().unwrap_or_default();
        let bot_instance_id = Self::link(fields, naming);
        match url {
            Some(url) if reasons.is_empty() => Ok(Self {
                path: path.clone(),
                status: status.to_owned(),
                url,
                start_time,
                end_time,
                bot_name,
                gcs_path,
                organization,
                user: user.unwrap_or_default().to_owned(),
                priority,
                queue_timeout_secs,
                bot_instance_id,
            }),
            _ => Err(MeetingProblem { reasons }),
        }
    }

    /// The link of a document, readable even where the rest is not.
    pub fn link(fields: &Fields, naming: &Naming) -> Option<InstanceId> {
        fields.get(&naming.meeting_bot_instance_field).and_then(|value| value.as_str()).and_then(InstanceId::parse)
    }

    /// The tenant of a document, readable even where the rest is not; empty where it names none.
    pub fn organization(fields: &Fields) -> String {
        let found = ORGANIZATION_KEYS.into_iter().filter_map(|key| fields.get(key).and_then(|value| value.as_str()));
        found.filter(|text| !text.is_empty()).map(str::to_owned).next().unwrap_or_default()
    }

    /// The status of a document, readable even where the rest is not.
    pub fn status<'a>(fields: &'a Fields, naming: &Naming) -> Option<&'a str> {
        fields.get(&naming.meeting_status_field).and_then(|value| value.as_str())
    }
}

fn note<T>(reasons: &mut Vec<String>, result: Result<T, DocumentError>) -> Option<T> {
    result.map_err(|error| reasons.push(error.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn decode(value: Value) -> Result<Meeting, MeetingProblem> {
        Meeting::decode(&MeetingPath::parse("meetings/m").unwrap(), &fields(value), &Naming::default())
    }

    #[test]
    fn the_seed_s_minimum_is_enough() {
        let meeting = decode(json!({"meeting_url": "https://meet.google.com/abc-defg-hij", "status": "scheduled"})).unwrap();
        assert_eq!((meeting.start_time, meeting.organization.as_str()), (None, ""));
    }

    #[test]
    fn every_reason_is_named_at_once_and_without_values() {
        let problem = decode(json!({
            "meeting_url": "https://evil.example/CANARY", "start_time": 5, "gcs_path": "../CANARY", "priority": "high",
        }))
        .unwrap_err();
        assert_eq!(problem.reasons.len(), 4, "{problem}");
        assert!(!problem.to_string().contains("CANARY"));
    }

    #[test]
    fn names_lose_what_cannot_be_shown() {
        let meeting =
            decode(json!({"meeting_url": "https://meet.google.com/abc-defg-hij", "bot_name": " Note\u{202e}\u{0}taker \u{7}"}));
        assert_eq!(meeting.unwrap().bot_name.as_deref(), Some("Notetaker"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ]
    }

    proptest! {
        #[test]
        fn decoding_never_panics(url in any_json(), start in any_json(), name in any_json(), path in any_json(), priority in any_json()) {
            let _ = decode(json!({"meeting_url": url, "start_time": start, "bot_name": name, "gcs_path": path, "priority": priority}));
        }
    }
}
