//! Linked meetings that asked for a path of their own get a pointer there to the one set of files, before `done` is committed.

use std::path::Path;

use bot_model::document::{Artifact, LinkedMeeting};
use bot_model::manifest::{MANIFEST_VERSION, RecordingPointer};
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_store::protocol::paths::reserve_pointer;

use super::FinalizeError;
use super::publish::checksum;
use crate::keeper::{Keeper, Kept};
use crate::objects::{Label, Objects};
use crate::retry::verb_within;

/// Writes every pointer that is wanted and missing, and notes each on the document. Repeatable; a meeting that is linked later is
/// seen by the next call.
///
/// # Errors
/// With nothing lost: it may be called again.
pub async fn write_pointers(
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    folder: &Path,
    artifacts: &[Artifact],
) -> Result<(), FinalizeError> {
    let wanted: Vec<LinkedMeeting> = keeper.facts().linked_meetings.clone();
    let files_at = keeper.facts().gcs_path.clone();
    for meeting in wanted {
        let Some(path) = meeting.wants_pointer(files_at.as_ref()) else { continue };
        let instance = keeper.record().instance.clone();
        let place = verb_within("reserve", reserve_pointer(keeper.store(), &instance, path)).await?;
        let pointer = pointer(&instance.id, artifacts);
        let writing = write_pointer(objects, &place, folder, &pointer);
        let address = keeper.keeping(writing).await.map_err(FinalizeError::Fenced)??;
        match keeper.set_pointer(&meeting.path, &address).await {
            Kept::Done | Kept::Refused => {}
            Kept::Fenced(reason) => return Err(FinalizeError::Fenced(reason)),
            Kept::Unreachable(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn pointer(instance: &bot_model::ids::InstanceId, artifacts: &[Artifact]) -> RecordingPointer {
    let (recording, files): (Vec<&Artifact>, Vec<&Artifact>) =
        artifacts.iter().partition(|artifact| artifact.name == ObjectName::Manifest);
    RecordingPointer {
        schema_version: MANIFEST_VERSION,
        bot_instance_id: instance.clone(),
        recording: recording.first().map(|manifest| manifest.object.clone()).unwrap_or_default(),
        files: files.into_iter().map(|file| file.object.clone()).collect(),
    }
}

/// Its full address, once it was read back.
async fn write_pointer(
    objects: &Objects,
    place: &ObjectPrefix,
    folder: &Path,
    pointer: &RecordingPointer,
) -> Result<String, FinalizeError> {
    let file = folder.join("pointer.json");
    tokio::fs::create_dir_all(folder).await?;
    tokio::fs::write(&file, serde_json::to_vec_pretty(pointer).map_err(std::io::Error::other)?).await?;
    let (bytes, crc32c) = checksum(&file).await?;
    let object = place.object(ObjectName::Manifest);
    let content_type = ObjectName::Manifest.content_type();
    let over = objects.generation(&object).await?;
    objects.put_final(&object, &file, &Label { content_type, crc32c, segments_sha256: String::new() }, over).await?;
    let head = objects.head(&object).await?;
    if head.is_none_or(|head| (head.bytes, head.crc32c) != (bytes, crc32c)) {
        return Err(FinalizeError::Mismatch("a pointer reads back differently".into()));
    }
    Ok(objects.address(&object))
}
