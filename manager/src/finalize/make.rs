//! The files, on the local disk: each part concatenated and remuxed by copy, the parts joined, the sound extracted, all of it
//! compared with the time that the segments themselves say they cover.

use std::path::{Path, PathBuf};

use bot_model::document::{FrozenList, FrozenPart};
use bot_model::fragments::{Fragments, is_cut_short};
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::quality::Stretch;
use bot_model::segment::{PartInfo, RawKind, RawName, part_folder};
use bytes::Bytes;
use chrono::Duration;
use futures::{StreamExt as _, stream};

use super::{FinalizeError, Workplace};
use crate::media::foreign::{Container, convert, survey};
use crate::media::{Probe, add_silence, extract_audio, join_parts, probe, remux_part};
use crate::objects::Objects;
use crate::spool::disk_name;

/// How far a remuxed part may be from what its segments say: a frame, a sound packet, and the encoder's delay.
const PART_TOLERANCE_SECS: f64 = 0.5;
/// The same for each seam between joined parts.
const SEAM_TOLERANCE_SECS: f64 = 0.25;

/// Raw objects on their way at once: ten hours are 9,000 of them, and one at a time would take minutes.
const FETCHED_AT_ONCE: usize = 8;

/// A part made into a file of its own.
pub(super) struct MadePart {
    pub(super) frozen: FrozenPart,
    pub(super) info: PartInfo,
    pub(super) probe: Probe,
    /// How picture and sound were.
    pub(super) quality: Vec<Stretch>,
    file: PathBuf,
    sound_secs: f64,
}

/// What was made.
pub(super) struct Made {
    pub(super) parts: Vec<MadePart>,
    pub(super) video: (PathBuf, Probe),
    pub(super) audio: Option<(PathBuf, Probe)>,
}

/// Makes `video.mp4` and, where there is sound, `audio.m4a` of a frozen list, in an emptied folder.
pub(super) async fn make(
    objects: &Objects,
    prefix: &ObjectPrefix,
    place: &Workplace,
    frozen: &FrozenList,
) -> Result<Made, FinalizeError> {
    match tokio::fs::remove_dir_all(&place.folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => tokio::fs::create_dir_all(&place.folder).await?,
    }
    let mut parts = Vec::new();
    for (index, part) in frozen.parts.iter().enumerate() {
        parts.extend(make_part(objects, prefix, place, part, index).await?);
    }
    if parts.is_empty() {
        return Err(FinalizeError::Nothing);
    }
    give_each_part_sound(&parts).await?;
    let video = place.folder.join(ObjectName::Video.file_name());
    join(&parts, &place.folder, &video).await?;
    let probed = probe(&video).await?;
    check_joined(&parts, &probed)?;
    let audio = if probed.has_audio { Some(sound_of(&video, &parts, &place.folder).await?) } else { None };
    Ok(Made { parts, video: (video, probed), audio })
}

async fn sound_of(video: &Path, parts: &[MadePart], folder: &Path) -> Result<(PathBuf, Probe), FinalizeError> {
    let audio = folder.join(ObjectName::Audio.file_name());
    extract_audio(video, &audio).await?;
    let probed = probe(&audio).await?;
    check_sound(parts, &probed)?;
    Ok((audio, probed))
}

/// `None` where a recording of another make has not one frame.
async fn make_part(
    objects: &Objects,
    prefix: &ObjectPrefix,
    place: &Workplace,
    frozen: &FrozenPart,
    index: usize,
) -> Result<Option<MadePart>, FinalizeError> {
    let fragments = place.folder.join(format!("part-{index}.fragments.mp4"));
    let mut file = tokio::fs::File::create(&fragments).await?;
    let (mut info, mut quality, mut covered, mut container) = (None, Vec::new(), Fragments::default(), Container::Mp4);
    let names = stream::iter(frozen.raw_names());
    let mut raw = names.map(async |name| (name.kind, raw_bytes(objects, prefix, place, &name).await)).buffered(FETCHED_AT_ONCE);
    while let Some((kind, bytes)) = raw.next().await {
        match kind {
            // What is lost of these must not cost the recording.
            RawKind::Quality(_) => quality.extend(bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())),
            RawKind::Part => info = serde_json::from_slice::<PartInfo>(&bytes?).ok(),
            RawKind::Init | RawKind::Segment(_) => {
                let bytes = bytes?;
                if matches!(kind, RawKind::Segment(_)) && is_cut_short(&bytes) {
                    tracing::warn!(part = frozen.part, ?kind, "a segment is cut short and is left out");
                    continue;
                }
                if kind == RawKind::Init {
                    container = Container::of(&bytes);
                }
                covered.read(&bytes);
                tokio::io::AsyncWriteExt::write_all(&mut file, &bytes).await?;
            }
        }
    }
    tokio::io::AsyncWriteExt::flush(&mut file).await?;
    let info = info.ok_or_else(|| FinalizeError::RawLost("part.json".into()))?;
    let made = place.folder.join(format!("part-{index}.mp4"));
    let Some(remade) = remake(&fragments, (container, &covered), &info, place, &made).await? else {
        tracing::warn!(part = frozen.part, "a part of the recording has not one frame and is left out");
        return Ok(None);
    };
    tokio::fs::remove_file(&fragments).await?;
    // A later stretch of the same part begins later on the clock, too.
    let started_at = info.started_at + seconds(if frozen.first_seq == 0 { 0.0 } else { remade.start_secs });
    let probed = probe(&made).await?;
    let tolerance = PART_TOLERANCE_SECS + info.audio_lag_ms.unsigned_abs() as f64 / 1_000.0;
    agree(remade.secs, probed.duration_secs, tolerance, "a part")?;
    let info = PartInfo { started_at, ..info };
    Ok(Some(MadePart { frozen: frozen.clone(), info, probe: probed, quality, file: made, sound_secs: remade.sound_secs }))
}

/// What the raw bytes of a part say, to judge its file by: not what the program that made the file says of it.
struct Remade {
    start_secs: f64,
    secs: f64,
    sound_secs: f64,
}

/// Makes a part's MP4: ours by a remux, one of another make by a copy or an encode of its tracks.
async fn remake(
    fragments: &Path,
    (container, covered): (Container, &Fragments),
    info: &PartInfo,
    place: &Workplace,
    made: &Path,
) -> Result<Option<Remade>, FinalizeError> {
    if let Some(secs) = covered.secs() {
        let start_secs = probe(fragments).await.map_or(0.0, |probe| probe.start_secs);
        remux_part(fragments, info.audio_lag_ms, made).await?;
        return Ok(Some(Remade { start_secs, secs, sound_secs: covered.sound_secs() }));
    }
    let found = survey(fragments, container).await?;
    let Some(secs) = found.secs() else { return Ok(None) };
    convert(fragments, container, &found, &place.encoding, made).await?;
    Ok(Some(Remade { start_secs: found.start_secs(), secs, sound_secs: found.sound_secs() }))
}

/// A raw object's bytes, from this run's own disk where they lie there unharmed, else from the bucket.
async fn raw_bytes(objects: &Objects, prefix: &ObjectPrefix, place: &Workplace, name: &RawName) -> Result<Bytes, FinalizeError> {
    if let Some((attempt, run, folder)) = &place.own
        && (*attempt, run) == (name.attempt, &name.run)
        && let Ok(bytes) = tokio::fs::read(folder.join(part_folder(name.part)).join(disk_name(name.kind))).await
        && crc32c::crc32c(&bytes) == name.crc32c
    {
        return Ok(bytes.into());
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
    let names = parts.iter().filter_map(|part| part.file.file_name()?.to_str());
    let lines: String = names.map(|name| format!("file '{name}'\n")).collect();
    tokio::fs::write(&list, lines).await?;
    Ok(join_parts(&list, video).await?)
}

fn check_joined(parts: &[MadePart], video: &Probe) -> Result<(), FinalizeError> {
    let recorded: f64 = parts.iter().map(|part| part.probe.duration_secs).sum();
    agree(recorded, video.duration_secs, PART_TOLERANCE_SECS + SEAM_TOLERANCE_SECS * parts.len() as f64, "the video")
}

/// The sound is at least as long as all sound that was recorded, and no longer than the recording.
fn check_sound(parts: &[MadePart], audio: &Probe) -> Result<(), FinalizeError> {
    let sound: f64 = parts.iter().map(|part| part.sound_secs).sum();
    let whole: f64 = parts.iter().map(|part| part.probe.duration_secs).sum();
    let nearest = audio.duration_secs.clamp(sound.min(whole), whole.max(sound));
    agree(nearest, audio.duration_secs, PART_TOLERANCE_SECS * (1 + parts.len()) as f64, "the sound")
}

fn agree(recorded: f64, made: f64, tolerance: f64, what: &str) -> Result<(), FinalizeError> {
    if (recorded - made).abs() <= tolerance {
        return Ok(());
    }
    Err(FinalizeError::Mismatch(format!("{what} is {made:.2} s long, its segments {recorded:.2} s")))
}

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::milliseconds((seconds * 1_000.0) as i64)
}
