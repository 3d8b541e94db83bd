//! Derived identifiers: the same facts give the same id in every process, so that the store and the API server
//! themselves refuse a second bot. Nothing here is random or sequential.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::meeting_url::MeetingUrl;

/// Full path of a meeting document, such as `meetings/abc` or `organizations/x/meetings/abc`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MeetingPath(String);

impl MeetingPath {
    /// A path of at least a collection and a document; pairs of non-empty segments.
    pub fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').collect();
        let fits = segments.len() >= 2 && segments.len().is_multiple_of(2) && segments.iter().all(|segment| !segment.is_empty());
        fits.then(|| Self(path.to_owned()))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The document's own id, the last segment.
    pub fn document_id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The id of the collection that holds the document.
    pub fn collection_id(&self) -> &str {
        self.0.rsplit('/').nth(1).unwrap_or_default()
    }
}

impl fmt::Display for MeetingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id of a `bot_instances` document. Derived ids are `b` and 24 characters of `[a-z2-7]`, with `-g{n}` from the second
/// generation on; a backend that writes `queued` documents itself may choose any document id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// Accepts any non-empty document id without a slash, of at most 256 bytes.
    pub fn parse(id: &str) -> Option<Self> {
        let fits = !id.is_empty() && id.len() <= 256 && !id.contains('/') && !id.chars().any(char::is_control);
        fits.then(|| Self(id.to_owned()))
    }

    /// The id of the bot for a meeting document: from organisation, call and start where a start is given, so that two
    /// documents for one occurrence share one bot; else from the document's own path.
    pub fn derive(organization: &str, url: &MeetingUrl, start: Option<DateTime<Utc>>, meeting: &MeetingPath) -> Self {
        let digest = match start {
            Some(start) => {
                let start = start.to_rfc3339_opts(SecondsFormat::Secs, true);
                digest("occurrence", &[organization, url.platform().as_str(), &url.native_id(), &start])
            }
            None => digest("document", &[meeting.as_str()]),
        };
        Self(format!("b{digest}"))
    }

    /// The id of generation `generation` (from 1) of this derived id: a meeting armed again gets the next one.
    pub fn generation(&self, generation: u32) -> Self {
        let base = self.0.rsplit_once("-g").map_or(self.0.as_str(), |(base, _)| base);
        if generation <= 1 { Self(base.to_owned()) } else { Self(format!("{base}-g{generation}")) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A code of an organization's name, for where a name cannot stand.
pub fn organization_code(organization: &str) -> String {
    digest("organization", &[organization])
}

/// Name of the Kubernetes Job, or of the folder of a local run: `[a-z0-9-]`, at most 50 characters, derived from the
/// instance id alone, so that a second launch collides with the first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(String);

impl JobName {
    /// The one name for an instance.
    pub fn for_instance(id: &InstanceId) -> Self {
        let plain = id.as_str();
        let fits = plain.len() <= 40
            && plain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !plain.ends_with('-');
        if fits { Self(format!("bot-{plain}")) } else { Self(format!("bot-x{}", digest("job", &[plain]))) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Key of a live-call slot: one per organisation and native meeting id, whatever the occurrence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallKey(String);

impl CallKey {
    /// Derives the key. The secret of the address is not part of it.
    pub fn derive(organization: &str, url: &MeetingUrl) -> Self {
        Self(digest("call", &[organization, url.platform().as_str(), &url.native_id()]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Accepts a stored key.
    pub fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Key of the document that says who owns an object prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PathKey(String);

impl PathKey {
    /// Derives the key from the prefix.
    pub fn derive(prefix: &crate::object_prefix::ObjectPrefix) -> Self {
        Self(digest("path", &[prefix.as_str()]))
    }

    /// Accepts a stored key.
    pub fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 24 characters of base32 (120 bits) over length-prefixed parts, so that no two lists of parts read alike.
fn digest(domain: &str, parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in std::iter::once(&domain).chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut text = BASE32_NOPAD.encode(&hasher.finalize()).to_ascii_lowercase();
    text.truncate(24);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> MeetingUrl {
        MeetingUrl::parse(text).unwrap()
    }

    #[test]
    fn two_documents_for_one_occurrence_share_an_id() {
        let start = DateTime::from_timestamp(1_800_000_000, 0);
        let one = InstanceId::derive(
            "org",
            &url("https://zoom.us/j/123456789?pwd=a"),
            start,
            &MeetingPath::parse("meetings/a").unwrap(),
        );
        let two = InstanceId::derive(
            "org",
            &url("https://us02web.zoom.us/wc/join/123456789"),
            start,
            &MeetingPath::parse("meetings/b").unwrap(),
        );
        assert_eq!(one, two);
        let other =
            InstanceId::derive("other", &url("https://zoom.us/j/123456789"), start, &MeetingPath::parse("meetings/a").unwrap());
        assert_ne!(one, other);
    }

    #[test]
    fn without_a_start_the_document_path_decides() {
        let call = url("https://meet.google.com/abc-defg-hij");
        let in_one = InstanceId::derive("org", &call, None, &MeetingPath::parse("orgs/1/meetings/a").unwrap());
        let in_two = InstanceId::derive("org", &call, None, &MeetingPath::parse("orgs/2/meetings/a").unwrap());
        assert_ne!(in_one, in_two);
    }

    #[test]
    fn generations_build_on_the_first() {
        let first = InstanceId::parse("babc").unwrap();
        assert_eq!(first.generation(2).generation(3).as_str(), "babc-g3");
        assert_eq!(first.generation(3).generation(1), first);
    }

    proptest! {
        #[test]
        fn job_names_are_dns_labels(id in "\\PC{1,200}") {
            if let Some(id) = InstanceId::parse(&id) {
                let name = JobName::for_instance(&id);
                prop_assert!(name.as_str().len() <= 50);
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                prop_assert!(!name.as_str().ends_with('-'));
            }
        }
    }
}
