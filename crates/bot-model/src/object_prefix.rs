//! Where one recording's objects live in the bucket.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::InstanceId;

/// A checked `gcs_path`: at most 8 segments of `[A-Za-z0-9][A-Za-z0-9._=-]{0,127}`, at most 512 bytes, no way up.
/// File names below it come from [`ObjectName`] alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectPrefix(String);

/// Why a `gcs_path` was refused. Texts repeat no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ObjectPrefixError {
    /// Empty.
    #[error("gcs_path is empty")]
    Empty,
    /// More than 512 bytes or 8 segments.
    #[error("gcs_path is longer than 512 bytes or 8 segments")]
    TooLong,
    /// A segment that is empty, starts with a dot or holds another character.
    #[error("gcs_path may only hold segments of letters, digits and ._=- that start with a letter or digit")]
    IllegalSegment,
}

impl ObjectPrefix {
    /// Parses untrusted text. One trailing slash is forgiven.
    pub fn parse(text: &str) -> Result<Self, ObjectPrefixError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(ObjectPrefixError::Empty);
        }
        if text.len() > 512 || text.split('/').count() > 8 {
            return Err(ObjectPrefixError::TooLong);
        }
        if text.split('/').all(is_segment) { Ok(Self(text.to_owned())) } else { Err(ObjectPrefixError::IllegalSegment) }
    }

    /// The prefix for an instance whose document names none:
    /// `recordings/{organization or "ad-hoc"}/{yyyy}/{mm}/{dd}/{instance id}`.
    pub fn default_for(organization: &str, day: DateTime<Utc>, id: &InstanceId) -> Self {
        let organization = if organization.is_empty() { "ad-hoc".to_owned() } else { as_segment(organization) };
        Self(format!(
            "recordings/{organization}/{:04}/{:02}/{:02}/{}",
            day.year(),
            day.month(),
            day.day(),
            as_segment(id.as_str())
        ))
    }

    /// The prefix below this one for an instance that found it taken.
    pub fn below(&self, id: &InstanceId) -> Self {
        Self(format!("{}/{}", self.0, as_segment(id.as_str())))
    }

    /// The text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of one of the recording's objects.
    pub fn object(&self, name: ObjectName) -> String {
        format!("{}/{}", self.0, name.file_name())
    }

    /// Name of an object below `raw/`.
    pub fn raw(&self, name: &crate::segment::RawName) -> String {
        format!("{}/raw/{}", self.0, name.path())
    }

    /// Name of a piece of a journal below `raw/`.
    pub fn journal(&self, piece: &crate::people::Piece) -> String {
        format!("{}/raw/{}", self.0, piece.path())
    }

    /// The folder of a run's debug bundle, with a trailing slash; `run` is a run label.
    pub fn debug_folder(&self, attempt: u32, run: &str) -> String {
        format!("{}/debug/{attempt}-{run}/", self.0)
    }

    /// What the bot's page showed a moment ago, replaced every few seconds and gone once it has left: a JPEG.
    pub fn picture(&self) -> String {
        format!("{}/live.jpg", self.0)
    }

    /// The folder of raw objects, with a trailing slash.
    pub fn raw_folder(&self) -> String {
        format!("{}/raw/", self.0)
    }
}

/// The objects that a finished recording consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectName {
    /// H.264 + AAC, faststart.
    Video,
    /// AAC.
    Audio,
    /// [`crate::manifest::RecordingManifest`].
    Manifest,
    /// [`crate::timeline::Timeline`]; absent where the bot told nothing of the people.
    Timeline,
}

impl ObjectName {
    /// File name below the prefix; the seed's names.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Video => "video.mp4",
            Self::Audio => "audio.m4a",
            Self::Manifest => "recording.json",
            Self::Timeline => "timeline.json",
        }
    }

    /// MIME type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Video => "video/mp4",
            Self::Audio => "audio/mp4",
            Self::Manifest | Self::Timeline => "application/json",
        }
    }
}

impl fmt::Display for ObjectPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ObjectPrefix {
    type Error = ObjectPrefixError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ObjectPrefix> for String {
    fn from(prefix: ObjectPrefix) -> Self {
        prefix.0
    }
}

fn is_segment(segment: &str) -> bool {
    segment.len() <= 128
        && segment.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._=-".contains(&b))
}

/// Turns any text into a segment; differing texts may meet, which path ownership then keeps apart.
fn as_segment(text: &str) -> String {
    let mut segment: String =
        text.chars().take(100).map(|c| if c.is_ascii_alphanumeric() || "._=-".contains(c) { c } else { '-' }).collect();
    if !segment.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        segment.insert(0, 'x');
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_climb_or_hide_are_refused() {
        for text in [
            "",
            "/",
            "/a",
            "a//b",
            "../x",
            "a/../b",
            "a/..",
            "a/./b",
            ".hidden",
            "a\\b",
            "a%2e%2e/b",
            "a/b?c",
            "a/*",
            "a b",
            "ä",
            "a/\u{0}",
        ] {
            assert!(ObjectPrefix::parse(text).is_err(), "accepted {text:?}");
        }
        assert!(ObjectPrefix::parse(&"a/".repeat(9)).is_err());
    }

    proptest! {
        #[test]
        fn objects_stay_under_the_prefix(text in "[a-z./%\\\\0-9_-]{1,60}") {
            if let Ok(prefix) = ObjectPrefix::parse(&text) {
                let object = prefix.object(ObjectName::Video);
                prop_assert!(object.starts_with(prefix.as_str()));
                prop_assert!(object.split('/').all(|segment| segment != ".." && segment != "." && !segment.is_empty()));
            }
        }

        #[test]
        fn defaults_are_always_valid(organization in any::<String>(), id in "[^/\\p{Cc}]{1,80}") {
            let id = InstanceId::parse(&id).unwrap();
            let prefix = ObjectPrefix::default_for(&organization, DateTime::from_timestamp(1_800_000_000, 0).unwrap(), &id);
            prop_assert_eq!(ObjectPrefix::parse(prefix.as_str()), Ok(prefix));
        }
    }
}
