//! From a document's path back to its key; the other direction is [`DocumentKey::path`].

use bot_model::ids::{CallKey, InstanceId, MeetingPath, PathKey};

use crate::DocumentKey;

/// The key of a path; `None` for a path that no key has.
pub(crate) fn key_of(path: &str) -> Option<DocumentKey> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["bot_instances", id] => InstanceId::parse(id).map(DocumentKey::Instance),
        ["bot_instances", id, "events", event] => InstanceId::parse(id).map(|id| DocumentKey::Event(id, (*event).to_owned())),
        ["live_calls", key] => Some(DocumentKey::Slot(CallKey::from_stored(key))),
        ["recording_paths", key] => Some(DocumentKey::PathOwner(PathKey::from_stored(key))),
        ["controllers", id] => Some(DocumentKey::Controller((*id).to_owned())),
        ["api_keys", id] => Some(DocumentKey::ApiKey((*id).to_owned())),
        ["audit_log", id] => Some(DocumentKey::Audit((*id).to_owned())),
        ["api_replays", id] => Some(DocumentKey::Replay((*id).to_owned())),
        ["capacity", name] => Some(DocumentKey::Capacity((*name).to_owned())),
        ["organization_limits", id] => Some(DocumentKey::Organization((*id).to_owned())),
        ["webhook_outbox", id] => Some(DocumentKey::Outbox((*id).to_owned())),
        ["webhook_endpoints", id] => Some(DocumentKey::Endpoint((*id).to_owned())),
        ["webhook_deliveries", id] => Some(DocumentKey::Delivery((*id).to_owned())),
        ["webhook_pending", id] => Some(DocumentKey::Pending((*id).to_owned())),
        _ => MeetingPath::parse(path).map(DocumentKey::Meeting),
    }
}
