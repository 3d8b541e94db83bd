//! Conditional writes as Firestore's, each with its precondition and its mask.

use firestore::gcloud_sdk::google::firestore::v1::precondition::ConditionType;
use firestore::gcloud_sdk::google::firestore::v1::write::Operation;
use firestore::gcloud_sdk::google::firestore::v1::{
    Document, DocumentMask, Precondition as Condition, Write as StoredWrite, WriteResult,
};
use firestore::gcloud_sdk::prost_types::Timestamp;

use super::values::to_stored_fields;
use crate::{Precondition, Version, Write, WriteMode};

/// The write as Firestore wants it; `None` where its version was never one of this store, so that it cannot hold.
pub(super) fn to_stored(write: &Write, documents: &str) -> Option<StoredWrite> {
    let condition = match &write.precondition {
        Precondition::Absent => ConditionType::Exists(false),
        Precondition::Exists => ConditionType::Exists(true),
        Precondition::Unchanged(version) => ConditionType::UpdateTime(update_time(version)?),
    };
    let name = format!("{documents}/{}", write.key.path());
    let (operation, update_mask) = match &write.mode {
        WriteMode::Delete => (Operation::Delete(name), None),
        WriteMode::Merge(fields) => {
            // A field in the mask that the document lacks is cleared.
            let mask = DocumentMask { field_paths: fields.keys().map(|key| field_path(key)).collect() };
            let document = Document { name, fields: to_stored_fields(fields), create_time: None, update_time: None };
            (Operation::Update(document), Some(mask))
        }
    };
    Some(StoredWrite {
        update_mask,
        update_transforms: Vec::new(),
        current_document: Some(Condition { condition_type: Some(condition) }),
        operation: Some(operation),
    })
}

/// The version of a document with this update time.
pub(super) fn version(update_time: Option<&Timestamp>) -> Version {
    let stamp = update_time.copied().unwrap_or_default();
    Version::from_adapter(format!("{}.{:09}", stamp.seconds, stamp.nanos))
}

/// The versions that a commit gave.
pub(super) fn versions(results: &[WriteResult]) -> Vec<Version> {
    results.iter().map(|result| version(result.update_time.as_ref())).collect()
}

fn update_time(version: &Version) -> Option<Timestamp> {
    let (seconds, nanos) = version.as_str().split_once('.')?;
    Some(Timestamp { seconds: seconds.parse().ok()?, nanos: nanos.parse().ok()? })
}

/// A top-level field's name as a mask wants it: quoted unless it is a plain identifier.
fn field_path(key: &str) -> String {
    let plain =
        key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && key.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if plain { key.to_owned() } else { format!("`{}`", key.replace('\\', "\\\\").replace('`', "\\`")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DocumentKey;
    use serde_json::json;

    #[test]
    fn every_write_carries_a_condition_and_every_merge_a_mask() {
        let key = DocumentKey::Controller("c".into());
        let fields = json!({"kept": 1, "cleared": null, "odd.name`": 2});
        let write = Write::merge_existing(key.clone(), fields.as_object().unwrap().clone());
        let stored = to_stored(&write, "d").unwrap();
        assert_eq!(stored.current_document.unwrap().condition_type, Some(ConditionType::Exists(true)));
        assert_eq!(stored.update_mask.unwrap().field_paths, ["cleared", "kept", "`odd.name\\``"]);
        let Some(Operation::Update(document)) = stored.operation else { panic!("no update") };
        assert!(document.fields.contains_key("kept") && !document.fields.contains_key("cleared"));
    }

    #[test]
    fn a_version_comes_back_as_the_same_update_time() {
        let stamp = Timestamp { seconds: 1_800_000_000, nanos: 1_000 };
        assert_eq!(update_time(&version(Some(&stamp))), Some(stamp));
        assert_eq!(to_stored(&Write::delete(DocumentKey::Controller("c".into()), Version::from_adapter("7")), "d"), None);
    }
}
