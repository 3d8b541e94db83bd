//! The documents as they lie in the store, decoded without trust and encoded without loss.
//!
//! A document is a JSON object. An instant is an RFC 3339 string under a key that ends in `_at` (or is one of the
//! meeting's `start_time`, `end_time`); the Firestore adapter stores those as Timestamps. Fields that we do not know
//! are left alone.

mod instance;
mod meeting;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

pub use instance::{
    Artifact, BotInstance, Claim, Facts, FrozenList, FrozenPart, LinkedMeeting, RecordingProgress, Run, TimelineEvent, WaitsFor,
};
pub use meeting::{Meeting, MeetingProblem};

/// The fields of a document.
pub type Fields = Map<String, Value>;

/// The shape of `bot_instances` documents that this version writes.
pub const SCHEMA_VERSION: u32 = 1;

/// Why a document cannot be used. Texts hold field names and expectations, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The status is none of the configured ones: counted, never acted on.
    #[error("field {field} holds an unknown status")]
    UnknownStatus {
        /// The field's name.
        field: String,
    },
    /// Written by a newer version than this one: left alone.
    #[error("schema_version {found} is newer than {SCHEMA_VERSION}")]
    NewerSchema {
        /// The version found.
        found: u64,
    },
    /// A field is missing or of the wrong type.
    #[error("{0}")]
    Field(String),
}

/// True for the keys whose strings are instants.
pub fn is_instant_key(key: &str) -> bool {
    key.ends_with("_at") || key == "start_time" || key == "end_time"
}

fn text<'a>(fields: &'a Fields, keys: &[&str]) -> Result<Option<&'a str>, DocumentError> {
    for key in keys {
        match fields.get(*key) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) => return Ok(Some(text)),
            Some(_) => return Err(DocumentError::Field(format!("field {key} must be a string"))),
        }
    }
    Ok(None)
}

fn instant(fields: &Fields, key: &str) -> Result<Option<DateTime<Utc>>, DocumentError> {
    match text(fields, &[key]) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => DateTime::parse_from_rfc3339(text)
            .map(|instant| Some(instant.with_timezone(&Utc)))
            .map_err(|_| DocumentError::Field(format!("field {key} must be a Timestamp or an RFC 3339 string"))),
        Err(_) => Err(DocumentError::Field(format!("field {key} must be a Timestamp or an RFC 3339 string"))),
    }
}

fn integer(fields: &Fields, key: &str) -> Result<Option<i64>, DocumentError> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_i64().map(Some).ok_or_else(|| DocumentError::Field(format!("field {key} must be a whole number")))
        }
    }
}

/// A length of time of at most a day.
fn seconds(fields: &Fields, key: &str) -> Result<Option<u64>, DocumentError> {
    let wants = || DocumentError::Field(format!("field {key} must be a whole number of seconds from 1 to 86400"));
    let number = integer(fields, key).map_err(|_| wants())?;
    number.map(|number| u64::try_from(number).ok().filter(|number| (1..=86_400).contains(number)).ok_or_else(wants)).transpose()
}
