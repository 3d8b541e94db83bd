//! The port itself: documents of a closed set of kinds, their versions, conditional atomic commits, and hints.

use async_trait::async_trait;
use bot_model::configuration::Naming;
use bot_model::document::Fields;
use bot_model::ids::{CallKey, InstanceId, MeetingPath, PathKey};
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::listing::Listing;

/// Names one document. The set is closed: this is no generic document API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKey {
    /// The backend's meeting.
    Meeting(MeetingPath),
    /// `bot_instances/{id}`.
    Instance(InstanceId),
    /// `bot_instances/{id}/events/{event id}`: written once, never changed.
    Event(InstanceId, String),
    /// `live_calls/{key}`: who is in the call, or on the way into it.
    Slot(CallKey),
    /// `recording_paths/{key}`: who owns an object prefix.
    PathOwner(PathKey),
    /// `controllers/{id}`: heartbeats.
    Controller(String),
    /// `api_keys/{id}`: who may use the API; holds a hash of the secret, never the secret.
    ApiKey(String),
    /// `audit_log/{id}`: one change through the API or the command line; written once, never changed.
    Audit(String),
    /// `api_replays/{id}`: the answer that a repeated request gets again.
    Replay(String),
    /// `capacity/{name}`: what all replicas count together ([`crate::protocol::capacity`]).
    Capacity(String),
    /// `organization_limits/{id}`: an organization's own limits (`organizations` is the backend's, as in the original
    /// system), by its name or, where that is no document's id, by a code of it.
    Organization(String),
    /// `webhook_outbox/{id}`: an event that was not yet handed to the endpoints that want it; see [`crate::outbox`].
    Outbox(String),
    /// `webhook_endpoints/{id}`: who wants which events.
    Endpoint(String),
    /// `webhook_deliveries/{id}`: one event for one endpoint, with the log of its attempts.
    Delivery(String),
    /// `webhook_pending/{id}`: a delivery that is not over, of the same id, by when it is due.
    Pending(String),
}

impl DocumentKey {
    /// The document's full path in the store.
    pub fn path(&self) -> String {
        match self {
            Self::Meeting(path) => path.as_str().to_owned(),
            Self::Instance(id) => format!("bot_instances/{id}"),
            Self::Event(id, event) => format!("bot_instances/{id}/events/{event}"),
            Self::Slot(key) => format!("live_calls/{}", key.as_str()),
            Self::PathOwner(key) => format!("recording_paths/{}", key.as_str()),
            Self::Controller(id) => format!("controllers/{id}"),
            Self::ApiKey(id) => format!("api_keys/{id}"),
            Self::Audit(id) => format!("audit_log/{id}"),
            Self::Replay(id) => format!("api_replays/{id}"),
            Self::Capacity(name) => format!("capacity/{name}"),
            Self::Organization(id) => format!("organization_limits/{id}"),
            Self::Outbox(id) => format!("webhook_outbox/{id}"),
            Self::Endpoint(id) => format!("webhook_endpoints/{id}"),
            Self::Delivery(id) => format!("webhook_deliveries/{id}"),
            Self::Pending(id) => format!("webhook_pending/{id}"),
        }
    }
}

/// Changes with every write to a document; opaque (Firestore's update time, SQLite's revision).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// For adapters.
    pub fn from_adapter(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For adapters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Which.
    pub key: DocumentKey,
    /// Its fields; instants are RFC 3339 strings (see `bot_model::document`).
    pub fields: Fields,
    /// What a conditional write names.
    pub version: Version,
}

/// On what a write depends. There is no unconditional write: a late one would resurrect a deleted document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The document must not exist.
    Absent,
    /// The document must exist, in whatever version.
    Exists,
    /// The document must exist in exactly this version.
    Unchanged(Version),
}

/// How fields are written.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteMode {
    /// The named fields are set (`null` clears), others stay. Creates the document where the condition is `Absent`.
    Merge(Fields),
    /// The document is removed.
    Delete,
}

/// One conditional write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which document.
    pub key: DocumentKey,
    /// On what it depends.
    pub precondition: Precondition,
    /// What it does.
    pub mode: WriteMode,
}

impl Write {
    /// Creates a document that must not exist.
    pub fn create(key: DocumentKey, fields: Fields) -> Self {
        Self { key, precondition: Precondition::Absent, mode: WriteMode::Merge(fields) }
    }

    /// Sets fields of a document that must be unchanged since `version`.
    pub fn update(key: DocumentKey, version: Version, fields: Fields) -> Self {
        Self { key, precondition: Precondition::Unchanged(version), mode: WriteMode::Merge(fields) }
    }

    /// Sets fields of a document that must exist.
    pub fn merge_existing(key: DocumentKey, fields: Fields) -> Self {
        Self { key, precondition: Precondition::Exists, mode: WriteMode::Merge(fields) }
    }

    /// Removes a document that must be unchanged since `version`.
    pub fn delete(key: DocumentKey, version: Version) -> Self {
        Self { key, precondition: Precondition::Unchanged(version), mode: WriteMode::Delete }
    }
}

/// How a commit ended. Losing a race is a value, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// Every write was applied; the documents' new versions, in the order of the writes (a deleted one's is meaningless).
    Applied(Vec<Version>),
    /// A condition did not hold; nothing was applied.
    Conflict,
}

impl Commit {
    /// True when applied.
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied(_))
    }
}

/// Which meetings to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeetingQuery {
    /// Every meeting whose status is one of `statuses` (at most 30).
    WithStatus(Vec<String>),
    /// Those of them whose `start_time` is a Timestamp within the bounds: what a cheap poll asks for.
    StartingWithin {
        /// At most 30.
        statuses: Vec<String>,
        /// Inclusive.
        from: DateTime<Utc>,
        /// Inclusive.
        to: DateTime<Utc>,
    },
}

/// Which instances to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceQuery {
    /// Those whose stored status value is one of these.
    WithStatus(Vec<String>),
}

/// A page of a query, in the order of the documents' paths, with the cursor of the next page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// At most as many as asked for.
    pub records: Vec<Record>,
    /// Absent after the last page.
    pub next: Option<String>,
}

/// Something may have changed: a reason to look now. Hints may be lost, doubled and late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// This meeting changed.
    Meeting(MeetingPath),
    /// Some instance changed.
    Instances,
    /// Something was put into the outbox.
    Outbox,
    /// Something changed, or hints may have been lost: look at everything.
    Anything,
}

/// Endless stream of hints.
pub type HintStream = BoxStream<'static, Hint>;

/// Two real adapters stand behind it: [`crate::firestore::FirestoreStore`] and [`crate::sqlite::SqliteStore`].
///
/// Every call has a deadline of its own inside the adapter, and retries what is worth it: a returned error is final for
/// this call. A commit whose outcome is unknown is an error of kind [`StoreErrorKind::Unknown`]: read back, compare
/// what you wrote.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Names and values in this store.
    fn naming(&self) -> &Naming;

    /// Reads one document.
    async fn read(&self, key: &DocumentKey) -> Result<Option<Record>, StoreError>;

    /// A page of meetings after the cursor. Custom field names and both query modes are the adapter's to honour.
    async fn meetings(&self, query: &MeetingQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// A page of instances after the cursor.
    async fn instances(&self, query: &InstanceQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// The timeline of an instance, in the order of the event ids.
    async fn events(&self, id: &InstanceId) -> Result<Vec<Record>, StoreError>;

    /// A page of a list after the cursor, in the list's order. A cursor that no list made is `Refused`.
    async fn list(&self, listing: &Listing, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// How many documents a list has.
    async fn count(&self, listing: &Listing) -> Result<u64, StoreError>;

    /// Applies all writes or none. At most 500; each document at most once.
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, StoreError>;

    /// Applies each group of writes or not, independently of the others, in few round trips; answers in their order.
    async fn commit_each(&self, groups: Vec<Vec<Write>>) -> Vec<Result<Commit, StoreError>>;

    /// Hints from now on.
    async fn watch(&self) -> Result<HintStream, StoreError>;

    /// A cheap round trip, for readiness.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// What kind of failure it was; retryability and metrics follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// Not reachable, overloaded or timed out; nothing was written.
    Unavailable,
    /// A write may or may not have been applied.
    Unknown,
    /// Credentials or rights are missing.
    Denied,
    /// The store refuses this request for good (missing index, oversized document, malformed).
    Refused,
}

/// A failed call to the store.
#[derive(Debug, thiserror::Error)]
#[error("store {operation} failed ({kind:?}): {message}")]
pub struct StoreError {
    /// For retries and metrics.
    pub kind: StoreErrorKind,
    /// Which call.
    pub operation: &'static str,
    /// What the store said; holds no document fields.
    pub message: String,
}

impl StoreError {
    /// True when the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
    }
}
