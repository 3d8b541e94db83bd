//! `manager retain`: deletes raw segments whose retention has passed. Run now and then, by anything that runs things now and then.
//!
//! Only of instances that are done, only what their own `recording.json` lists, and only where every file is still in its place.
//! Raw objects that it does not list are kept and reported: whatever they are, no file was made of them.

use std::time::Duration;

use bot_model::configuration::{Naming, Problem};
use bot_model::document::BotInstance;
use bot_model::lifecycle::{Phase, Status};
use bot_model::manifest::RecordingManifest;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::people::Piece;
use bot_model::process as names;
use bot_model::segment::RawName;
use bot_store::protocol::{InstanceRecord, retain};
use bot_store::{InstanceQuery, Store, StoreError};
use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Reader;
use crate::objects::{ObjectError, Objects};
use crate::retry::{store_within, verb_within};

/// Instances read at once.
const PAGE: usize = 200;

/// What it needs to know.
#[derive(Debug, Clone)]
pub struct RetainConfig {
    /// Names in the store.
    pub naming: Naming,
    /// Where the store is.
    pub store_url: String,
    /// Where the files are.
    pub recordings_url: String,
    /// How long raw segments are kept after `done`.
    pub retention: Duration,
}

impl RetainConfig {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    /// Every unusable variable.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let naming = Naming::read(&lookup);
        let mut reader = Reader::new(lookup);
        let (store_url, recordings_url) = (reader.store_url(), reader.recordings_url());
        let hour = 3600;
        let retention = reader.seconds(names::RAW_RETENTION_HOURS, hour, names::DEFAULT_RAW_RETENTION_HOURS * hour);
        let mut problems = reader.problems;
        let naming = naming.map_err(|found| problems.extend(found)).ok();
        match (naming, store_url, recordings_url) {
            (Some(naming), Some(store_url), Some(recordings_url)) if problems.is_empty() => {
                Ok(Self { naming, store_url, recordings_url, retention: Duration::from_secs(retention) })
            }
            _ => Err(problems),
        }
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Instances whose raw segments are gone now.
    pub instances: u64,
    /// Objects deleted.
    pub objects: u64,
    /// Raw objects that no `recording.json` lists, and that were kept.
    pub unlisted: u64,
    /// Instances that were left alone because something was not as it should be; each was logged.
    pub failed: u64,
}

/// Why the raw segments of one instance were not deleted.
#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its recording.json is missing, unreadable, or of other files than the document says")]
    Manifest,
    #[error("{0} is not in its place")]
    FileMissing(&'static str),
}

/// One pass over every instance that is done.
///
/// # Errors
/// When the store cannot be read; what was deleted until then is noted.
pub async fn retain(
    store: &dyn Store,
    objects: &Objects,
    retention: Duration,
    now: DateTime<Utc>,
) -> Result<Retained, StoreError> {
    let query = InstanceQuery::WithStatus(vec![store.naming().status_value(Status::Done).to_owned()]);
    let retention = TimeDelta::from_std(retention).unwrap_or(TimeDelta::MAX);
    let (mut done, mut cursor) = (Retained::default(), None);
    loop {
        let page = verb_within("instances", store.instances(&query, cursor.as_deref(), PAGE)).await?;
        for record in page.records.iter().filter_map(|record| InstanceRecord::from_record(record, store.naming()).ok()) {
            if !is_expired(&record.instance, retention, now) {
                continue;
            }
            if let Err(kept) = delete_raw(store, objects, &record, now, &mut done).await {
                done.failed += 1;
                tracing::warn!(bot_instance_id = %record.instance.id, %kept, "its raw segments were kept");
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(done);
        }
    }
}

fn is_expired(instance: &BotInstance, retention: TimeDelta, now: DateTime<Utc>) -> bool {
    let facts = &instance.facts;
    let is_past = facts.processed_at.is_some_and(|ended| now.signed_duration_since(ended) >= retention);
    instance.phase == Phase::Done && facts.raw_deleted_at.is_none() && is_past
}

async fn delete_raw(
    store: &dyn Store,
    objects: &Objects,
    record: &InstanceRecord,
    now: DateTime<Utc>,
    done: &mut Retained,
) -> Result<(), Kept> {
    let Some(prefix) = &record.instance.facts.gcs_path else { return Ok(()) };
    let manifest = manifest_of(objects, prefix, &record.instance).await?;
    for artifact in &record.instance.facts.artifacts {
        if !objects.exists(&prefix.object(artifact.name)).await? {
            return Err(Kept::FileMissing(artifact.name.file_name()));
        }
    }
    // A name that is none of ours could lead anywhere: only parsed ones are deleted.
    for name in manifest.raw.iter().filter_map(|name| object_of(prefix, name)) {
        objects.delete(&name).await?;
        done.objects += 1;
    }
    let unlisted = objects.list(&prefix.raw_folder()).await?.len();
    if unlisted > 0 {
        tracing::warn!(bot_instance_id = %record.instance.id, unlisted, "raw objects that came after the end are kept");
        done.unlisted += unlisted as u64;
    }
    store_within("raw_deleted", retain::raw_deleted(store, record, now)).await?;
    done.instances += 1;
    tracing::info!(bot_instance_id = %record.instance.id, "its raw segments are past their retention and deleted");
    Ok(())
}

/// A raw object, or a piece of a journal.
fn object_of(prefix: &ObjectPrefix, name: &str) -> Option<String> {
    let piece = || Piece::parse(name).map(|piece| prefix.journal(&piece));
    RawName::parse(name).map(|name| prefix.raw(&name)).or_else(piece)
}

/// The manifest of exactly the files that the document names.
async fn manifest_of(objects: &Objects, prefix: &ObjectPrefix, instance: &BotInstance) -> Result<RecordingManifest, Kept> {
    let bytes = objects.get(&prefix.object(ObjectName::Manifest)).await?.ok_or(Kept::Manifest)?;
    let manifest: RecordingManifest = serde_json::from_slice(&bytes).map_err(|_| Kept::Manifest)?;
    let frozen = instance.facts.frozen.as_ref().map(|frozen| frozen.sha256.as_str());
    let is_its_own = manifest.bot_instance_id == instance.id && frozen == Some(manifest.segments_sha256.as_str());
    is_its_own.then_some(manifest).ok_or(Kept::Manifest)
}
