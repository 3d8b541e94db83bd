//! From raw segments to verified files: freeze, fetch, remux, probe, upload, verify. Repeatable, in any process, by any
//! number at once: the frozen list makes them all produce the same files.

use std::path::{Path, PathBuf};

use bot_model::document::{Artifact, FrozenList, FrozenPart, TimelineEvent};
use bot_model::lifecycle::Phase;
use bot_model::manifest::{Gap, MANIFEST_VERSION, ManifestPart, RecordingManifest};
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::outcome::Outcome;
use bot_model::segment::{INIT_FILE, PART_INFO_FILE, PartInfo, RawKind, RawName, part_folder, segment_file};
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};

use crate::keeper::{Keeper, Kept};
use crate::media::{MediaError, Probe, add_silence, extract_audio, join_parts, probe, remux_part};
use crate::objects::{Label, ObjectError, Objects};

/// The timeline's event of a bot that is out of the call.
pub const LEFT_THE_CALL: &str = "left_the_call";

/// Why no files could be made. The raw segments stay where they are.
#[derive(Debug, thiserror::Error)]
pub enum FinalizeError {
    /// The run is not ours any more.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The store could not be reached.
    #[error(transparent)]
    Store(#[from] bot_store::StoreError),
    /// The bucket failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// ffmpeg or ffprobe failed.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The local disk failed.
    #[error("local disk: {0}")]
    Disk(#[from] std::io::Error),
    /// There is not one playable segment.
    #[error("there is not one playable segment")]
    Nothing,
    /// A raw object of the frozen list is gone or damaged.
    #[error("raw object {0} is missing or damaged")]
    RawLost(String),
    /// The files do not match what was recorded.
    #[error("the files do not match what was recorded: {0}")]
    Mismatch(String),
}

/// Where to work, and what is at hand.
#[derive(Debug, Clone)]
pub struct Workplace {
    /// A folder of this run; made if need be, emptied by the caller.
    pub folder: PathBuf,
    /// Where this run's own session wrote its parts, so that nothing is fetched that lies here: (attempt, run, folder).
    pub own: Option<(u32, String, PathBuf)>,
}

/// A part made into a file of its own.
struct MadePart {
    frozen: FrozenPart,
    info: PartInfo,
    file: PathBuf,
    probe: Probe,
}

/// Makes, uploads and verifies the files, and answers what they are. Deletes nothing and settles nothing.
///
/// # Errors
/// With nothing lost: it may be called again.
pub async fn finalize(
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    place: &Workplace,
    outcome: Option<&Outcome>,
) -> Result<Vec<Artifact>, FinalizeError> {
    let prefix = keeper.facts().gcs_path.clone().ok_or(FinalizeError::Nothing)?;
    let frozen = freeze_list(keeper, objects, &prefix).await?;
    if frozen.is_empty() {
        return Err(FinalizeError::Nothing);
    }
    tokio::fs::create_dir_all(&place.folder).await?;
    let mut parts = Vec::new();
    for (index, part) in frozen.parts.iter().enumerate() {
        parts.push(make_part(objects, &prefix, place, part, index).await?);
    }
    give_each_part_sound(&parts).await?;
    let video = place.folder.join(ObjectName::Video.file_name());
    join(&parts, &place.folder, &video).await?;
    let audio = place.folder.join(ObjectName::Audio.file_name());
    let probed = probe(&video).await?;
    check_length(&parts, &probed)?;
    let mut artifacts = vec![publish(objects, &prefix, ObjectName::Video, &video, &frozen, Some(&probed)).await?];
    if probed.has_audio {
        extract_audio(&video, &audio).await?;
        let probed = probe(&audio).await?;
        artifacts.push(publish(objects, &prefix, ObjectName::Audio, &audio, &frozen, Some(&probed)).await?);
    }
    let manifest = manifest(keeper, &parts, &frozen, &artifacts, outcome, probed.duration_secs).await?;
    let file = place.folder.join(ObjectName::Manifest.file_name());
    tokio::fs::write(&file, serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::other)?).await?;
    artifacts.push(publish(objects, &prefix, ObjectName::Manifest, &file, &frozen, None).await?);
    Ok(artifacts)
}

/// The list that stands: the document's, or else what lies in the bucket now, frozen.
async fn freeze_list(keeper: &mut Keeper<'_>, objects: &Objects, prefix: &ObjectPrefix) -> Result<FrozenList, FinalizeError> {
    if let Some(frozen) = &keeper.facts().frozen {
        return Ok(frozen.clone());
    }
    let names = objects.list(&prefix.raw_folder()).await?;
    let list = FrozenList::from_raw_names(names.iter().filter_map(|name| RawName::parse(name)));
    match keeper.freeze(&list).await {
        Kept::Done => Ok(keeper.facts().frozen.clone().unwrap_or(list)),
        Kept::Fenced(reason) => Err(FinalizeError::Fenced(reason)),
        Kept::Unreachable(error) => Err(error.into()),
        Kept::Refused => Err(FinalizeError::Fenced("the list could not be frozen".into())),
    }
}

async fn make_part(
    objects: &Objects,
    prefix: &ObjectPrefix,
    place: &Workplace,
    frozen: &FrozenPart,
    index: usize,
) -> Result<MadePart, FinalizeError> {
    let fragments = place.folder.join(format!("part-{index}.fragments.mp4"));
    let mut file = tokio::fs::File::create(&fragments).await?;
    let mut info = None;
    for name in frozen.raw_names() {
        let bytes = raw_bytes(objects, prefix, place, &name).await?;
        if name.kind == RawKind::Part {
            info = serde_json::from_slice::<PartInfo>(&bytes).ok();
        } else {
            tokio::io::AsyncWriteExt::write_all(&mut file, &bytes).await?;
        }
    }
    tokio::io::AsyncWriteExt::flush(&mut file).await?;
    let info = info.ok_or_else(|| FinalizeError::RawLost("part.json".into()))?;
    let start_secs = probe(&fragments).await.map_or(0.0, |probe| probe.start_secs);
    let made = place.folder.join(format!("part-{index}.mp4"));
    remux_part(&fragments, info.audio_lag_ms, &made).await?;
    tokio::fs::remove_file(&fragments).await?;
    // A later stretch of the same part begins later on the clock, too.
    let started_at = info.started_at + seconds(if frozen.first_seq == 0 { 0.0 } else { start_secs });
    Ok(MadePart { frozen: frozen.clone(), info: PartInfo { started_at, ..info }, probe: probe(&made).await?, file: made })
}

/// A raw object's bytes, from this run's own disk where they lie there unharmed, else from the bucket.
async fn raw_bytes(objects: &Objects, prefix: &ObjectPrefix, place: &Workplace, name: &RawName) -> Result<Bytes, FinalizeError> {
    if let Some((attempt, run, folder)) = &place.own
        && (*attempt, run) == (name.attempt, &name.run)
    {
        let file = match name.kind {
            RawKind::Part => PART_INFO_FILE.to_owned(),
            RawKind::Init => INIT_FILE.to_owned(),
            RawKind::Segment(seq) => segment_file(seq),
        };
        if let Ok(bytes) = tokio::fs::read(folder.join(part_folder(name.part)).join(file)).await
            && crc32c::crc32c(&bytes) == name.crc32c
        {
            return Ok(bytes.into());
        }
    }
    let found = objects.get(&prefix.raw(name)).await?;
    found.filter(|bytes| crc32c::crc32c(bytes) == name.crc32c).ok_or_else(|| FinalizeError::RawLost(name.path()))
}

/// A join takes its tracks from the first part, so a part without sound would cost the sound of all others (measured).
async fn give_each_part_sound(parts: &[MadePart]) -> Result<(), FinalizeError> {
    if !parts.iter().any(|part| part.probe.has_audio) {
        return Ok(());
    }
    for part in parts.iter().filter(|part| !part.probe.has_audio) {
        let sounding = part.file.with_extension("sounding.mp4");
        add_silence(&part.file, part.probe.duration_secs, &sounding).await?;
        tokio::fs::rename(&sounding, &part.file).await?;
    }
    Ok(())
}

async fn join(parts: &[MadePart], folder: &Path, video: &Path) -> Result<(), FinalizeError> {
    if let [only] = parts {
        tokio::fs::rename(&only.file, video).await?;
        return Ok(());
    }
    let list = folder.join("parts.txt");
    let lines: String = (0..parts.len()).map(|index| format!("file 'part-{index}.mp4'\n")).collect();
    tokio::fs::write(&list, lines).await?;
    Ok(join_parts(&list, video).await?)
}

fn check_length(parts: &[MadePart], video: &Probe) -> Result<(), FinalizeError> {
    let recorded: f64 = parts.iter().map(|part| part.probe.duration_secs).sum();
    if video.duration_secs < 0.95 * recorded || video.duration_secs > recorded + 1.0 {
        return Err(FinalizeError::Mismatch(format!("{:.2} s of video from {recorded:.2} s of segments", video.duration_secs)));
    }
    Ok(())
}

/// Uploads a file and reads back what the bucket has of it.
async fn publish(
    objects: &Objects,
    prefix: &ObjectPrefix,
    name: ObjectName,
    file: &Path,
    frozen: &FrozenList,
    probed: Option<&Probe>,
) -> Result<Artifact, FinalizeError> {
    let (bytes, crc32c) = checksum(file).await?;
    let label = Label { content_type: name.content_type(), crc32c, segments_sha256: frozen.sha256.clone() };
    let object = prefix.object(name);
    objects.put_final(&object, file, &label).await?;
    let head = objects.head(&object).await?;
    if head.is_none_or(|head| (head.bytes, head.crc32c) != (bytes, crc32c)) {
        return Err(FinalizeError::Mismatch(format!("{} reads back differently", name.file_name())));
    }
    Ok(Artifact {
        name,
        object: objects.address(&object),
        bytes,
        crc32c: format!("{crc32c:08x}"),
        duration_secs: probed.map(|probe| probe.duration_secs),
        codecs: probed.map(|probe| probe.codecs.clone()).unwrap_or_default(),
    })
}

async fn checksum(file: &Path) -> Result<(u64, u32), FinalizeError> {
    let mut source = tokio::fs::File::open(file).await?;
    let mut buffer = vec![0; 1 << 20];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let read = tokio::io::AsyncReadExt::read(&mut source, &mut buffer).await?;
        if read == 0 {
            return Ok((bytes, crc));
        }
        bytes += read as u64;
        crc = crc32c::crc32c_append(crc, &buffer[..read]);
    }
}

async fn manifest(
    keeper: &Keeper<'_>,
    parts: &[MadePart],
    frozen: &FrozenList,
    artifacts: &[Artifact],
    outcome: Option<&Outcome>,
    duration_secs: f64,
) -> Result<RecordingManifest, FinalizeError> {
    let instance = &keeper.record().instance;
    let events = keeper.store().events(&instance.id).await?;
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
    Ok(RecordingManifest {
        schema_version: MANIFEST_VERSION,
        bot_instance_id: instance.id.clone(),
        platform: instance.facts.meeting_url.platform(),
        started_at,
        ended_at: listed.last().map_or(started_at, end_of),
        duration_secs,
        outcome: outcome.cloned(),
        gaps: gaps(&listed),
        parts: listed,
        artifacts: artifacts.to_vec(),
        segments_sha256: frozen.sha256.clone(),
        raw: frozen.raw_names().iter().map(RawName::path).collect(),
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

/// The times between two parts that nobody recorded; less than half a second is no gap.
fn gaps(parts: &[ManifestPart]) -> Vec<Gap> {
    let between = parts.windows(2).map(|pair| (end_of(&pair[0]), pair[1].started_at));
    between
        .map(|(from, to)| Gap { from, duration_secs: (to - from).as_seconds_f64() })
        .filter(|gap| gap.duration_secs >= 0.5)
        .collect()
}

fn seconds(seconds: f64) -> Duration {
    Duration::milliseconds((seconds * 1_000.0) as i64)
}
