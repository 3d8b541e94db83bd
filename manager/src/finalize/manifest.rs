//! `recording.json`: the same for every finalizer that makes files of the same list.

use bot_model::document::{Artifact, FrozenList, TimelineEvent};
use bot_model::lifecycle::Phase;
use bot_model::manifest::{Gap, MANIFEST_VERSION, ManifestPart, RecordingManifest};
use bot_model::outcome::Outcome;
use bot_model::quality::{Quality, Stretch};
use bot_model::segment::RawName;
use bot_store::Store;
use bot_store::protocol::InstanceRecord;
use chrono::{DateTime, Utc};

use super::make::{MadePart, seconds};
use super::{FinalizeError, LEFT_THE_CALL};
use crate::retry::store_within;

pub(super) async fn manifest(
    (store, record): (&dyn Store, &InstanceRecord),
    parts: &[MadePart],
    frozen: &FrozenList,
    artifacts: &[Artifact],
    outcome: Option<&Outcome>,
    duration_secs: f64,
) -> Result<RecordingManifest, FinalizeError> {
    let instance = &record.instance;
    let events = store_within("events", store.events(&instance.id)).await?;
    let events = events.into_iter().filter_map(|event| serde_json::from_value(event.fields.into()).ok());
    let last_attempt = frozen.parts.iter().map(|part| part.attempt).max().unwrap_or_default();
    let timeline = events.filter(|event| belongs_to_the_recording(event, last_attempt)).collect();
    let started_at = parts.first().map_or_else(Utc::now, |part| part.info.started_at);
    let mut offset_secs = 0.0;
    let mut listed = Vec::new();
    for part in parts {
        listed.push(ManifestPart {
            attempt: part.frozen.attempt,
            run: part.frozen.run.clone(),
            part: part.frozen.part,
            started_at: part.info.started_at,
            offset_secs,
            duration_secs: part.probe.duration_secs,
            segments: part.frozen.segments(),
        });
        offset_secs += part.probe.duration_secs;
    }
    let gaps = gaps(&listed);
    Ok(RecordingManifest {
        schema_version: MANIFEST_VERSION,
        bot_instance_id: instance.id.clone(),
        platform: instance.facts.meeting_url.platform(),
        started_at,
        ended_at: listed.last().map_or(started_at, end_of),
        duration_secs,
        outcome: outcome.cloned(),
        quality: quality(parts, &gaps, duration_secs),
        gaps,
        parts: listed,
        artifacts: artifacts.to_vec(),
        segments_sha256: frozen.sha256.clone(),
        raw: frozen.raw_names().iter().map(RawName::path).collect(),
        people: None,
        debug: instance.facts.debug.clone(),
        timeline,
    })
}

/// What happened up to the end of the recording. What finalizers do is left out: they would all write different files.
fn belongs_to_the_recording(event: &TimelineEvent, last_attempt: u32) -> bool {
    let is_making_files = event.phase == Phase::Finalizing && event.event != LEFT_THE_CALL;
    event.attempt <= last_attempt && !is_making_files && !event.phase.is_terminal()
}

fn end_of(part: &ManifestPart) -> DateTime<Utc> {
    part.started_at + seconds(part.duration_secs)
}

fn quality(parts: &[MadePart], gaps: &[Gap], duration_secs: f64) -> Option<Quality> {
    let parts: Vec<Vec<Stretch>> = parts.iter().map(|part| part.quality.clone()).collect();
    let gaps: Vec<f64> = gaps.iter().map(|gap| gap.duration_secs).collect();
    Quality::of(&parts, &gaps, duration_secs)
}

/// The times between two parts that nobody recorded; less than half a second is no gap.
fn gaps(parts: &[ManifestPart]) -> Vec<Gap> {
    let between = parts.windows(2).map(|pair| (end_of(&pair[0]), pair[1].started_at));
    between
        .map(|(from, to)| Gap { from, duration_secs: (to - from).as_seconds_f64() })
        .filter(|gap| gap.duration_secs >= 0.5)
        .collect()
}
