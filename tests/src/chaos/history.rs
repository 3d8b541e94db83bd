//! All that is known of a round when it is over, for the checker: ground truth, the store, the bucket. Gathers, and judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use bot_model::document::{BotInstance, Meeting, TimelineEvent};
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::manifest::RecordingManifest;
use bot_model::object_prefix::ObjectName;
use bot_store::protocol::InstanceRecord;
use bot_store::{DocumentKey, Store};

use super::pods::Jobs;
use super::site::{BUCKET, Site, patiently};
use super::truth::{self, Line};

/// A round as it was.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Ground truth, in the order of time.
    pub lines: Vec<Line>,
    /// Every document that was written.
    pub meetings: Vec<Asked>,
    /// Every instance.
    pub instances: Vec<Served>,
    /// The Jobs, where runs are Jobs.
    pub jobs: Option<Jobs>,
}

/// A meeting document, and who served it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its path.
    pub path: MeetingPath,
    /// Its call's own id.
    pub call: String,
    /// True where it was cancelled.
    pub is_cancelled: bool,
    /// The instance that it was left with.
    pub instance: Option<InstanceId>,
}

/// An instance at the end, and how it came there.
#[derive(Debug, Clone)]
pub struct Served {
    /// As it stands.
    pub instance: BotInstance,
    /// As it was seen on the way, in the order of time.
    pub seen: Vec<BotInstance>,
    /// Its timeline.
    pub events: Vec<TimelineEvent>,
    /// What lies in the bucket.
    pub files: Files,
}

/// What lies in the bucket for an instance.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Size and checksum by full address.
    pub objects: BTreeMap<String, (u64, String)>,
    /// Names below `raw/`.
    pub raw: BTreeSet<String>,
    /// `recording.json`.
    pub manifest: Option<RecordingManifest>,
    /// Frames of `video.mp4`, counted.
    pub frames: u64,
}

/// Every state of every instance that was seen, in the order of time.
pub type Sightings = BTreeMap<InstanceId, Vec<BotInstance>>;

/// Gathers everything.
pub async fn gather(site: &Site, asked: Vec<Asked>, mut sightings: Sightings) -> Result<History> {
    let mut meetings = Vec::new();
    for meeting in asked {
        let instance = serving(site.store.as_ref(), &meeting.path).await?;
        meetings.push(Asked { instance, ..meeting });
    }
    let mut instances = Vec::new();
    for instance in super::instances(site.store.as_ref()).await? {
        let events = patiently(|| site.store.events(&instance.id)).await?;
        let events = events.into_iter().map(|event| Ok(serde_json::from_value(event.fields.into())?)).collect::<Result<_>>()?;
        let files = files(site, &instance)?;
        let seen = sightings.remove(&instance.id).unwrap_or_default();
        instances.push(Served { instance, seen, events, files });
    }
    Ok(History { lines: truth::read(&site.folder().join("truth.jsonl"))?, meetings, instances, jobs: site.jobs() })
}

/// The instance that a document is left with: one that was in the call already may have got its meetings.
async fn serving(store: &dyn Store, path: &MeetingPath) -> Result<Option<InstanceId>> {
    let key = DocumentKey::Meeting(path.clone());
    let Some(record) = patiently(|| store.read(&key)).await? else { return Ok(None) };
    let mut serving = Meeting::link(&record.fields, store.naming());
    for _ in 0..8 {
        let Some(id) = &serving else { break };
        let Some(record) = patiently(|| InstanceRecord::read(store, id)).await? else { break };
        let Some(next) = record.instance.facts.handed_to else { break };
        serving = Some(next);
    }
    Ok(serving)
}

fn files(site: &Site, instance: &BotInstance) -> Result<Files> {
    let Some(prefix) = &instance.facts.gcs_path else { return Ok(Files::default()) };
    let mut files = Files::default();
    let raw = prefix.raw_folder();
    for name in site.bucket.names(&format!("{}/", prefix.as_str())) {
        if let Some(name) = name.strip_prefix(&raw) {
            files.raw.insert(name.to_owned());
        }
        let Some(object) = site.bucket.object(&name) else { continue };
        let checksum = format!("{:08x}", crc32c::crc32c(&object.bytes));
        files.objects.insert(format!("gs://{BUCKET}/{name}"), (object.bytes.len() as u64, checksum));
    }
    if let Some(manifest) = site.bucket.object(&prefix.object(ObjectName::Manifest)) {
        // One that was handed over has a pointer there instead.
        files.manifest = serde_json::from_slice(&manifest.bytes).ok();
    }
    if let Some(video) = site.bucket.object(&prefix.object(ObjectName::Video)) {
        let file = site.folder().join("judged.mp4");
        std::fs::write(&file, &video.bytes)?;
        files.frames = frames(&file)?;
    }
    Ok(files)
}

/// Frames of the picture, read one by one.
fn frames(video: &Path) -> Result<u64> {
    let program = std::env::var_os("FFPROBE_PATH").unwrap_or_else(|| "ffprobe".into());
    let mut command = std::process::Command::new(program);
    command.args(["-v", "error", "-select_streams", "v", "-count_packets", "-show_entries", "stream=nb_read_packets"]);
    let output =
        command.args(["-of", "csv=p=0"]).arg(video).output().context("ffprobe is missing: install the package ffmpeg")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().trim_end_matches(',').parse().with_context(|| format!("ffprobe counted no frames: {text}"))
}
