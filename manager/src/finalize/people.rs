//! `timeline.json`, made of the journals of every run that a recording was made of.

use bot_model::document::Artifact;
use bot_model::manifest::RecordingManifest;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::people::{JOURNAL_FILE, Piece, cover};
use bot_model::timeline::{Assembly, JournalOf};
use futures::{StreamExt as _, stream};

use super::publish::{Ready, ready};
use super::{FinalizeError, Workplace};
use crate::objects::{ObjectError, Objects};

/// Pieces on their way at once.
const FETCHED_AT_ONCE: usize = 8;

/// Makes the timeline and says so in the manifest. `None` where no bot told anything of the people.
pub(super) async fn timeline(
    objects: &Objects,
    prefix: &ObjectPrefix,
    place: &Workplace,
    manifest: &mut RecordingManifest,
) -> Result<Option<Ready>, FinalizeError> {
    let mut runs: Vec<(u32, String)> = manifest.parts.iter().map(|part| (part.attempt, part.run.clone())).collect();
    runs.dedup();
    let (mut assembly, mut is_told, mut raw) = (Assembly::new(&manifest.parts), false, Vec::new());
    for (attempt, run) in runs {
        let pieces = pieces_of(objects, prefix, attempt, &run).await?;
        raw.extend(pieces.iter().map(Piece::path));
        let text = match own_journal(place, attempt, &run, &pieces).await {
            Some(text) => text,
            None => Box::pin(fetched(objects, prefix, pieces)).await?,
        };
        is_told |= !text.is_empty();
        assembly.read(&JournalOf { attempt, run, text });
    }
    if !is_told {
        return Ok(None);
    }
    let timeline = assembly.finish(manifest.bot_instance_id.clone());
    let file = place.folder.join(ObjectName::Timeline.file_name());
    tokio::fs::write(&file, serde_json::to_vec(&timeline).map_err(std::io::Error::other)?).await?;
    let ready = ready(objects, prefix, ObjectName::Timeline, &file, None).await?;
    let artifact: Artifact = ready.artifact.clone();
    manifest.people = Some(timeline.summary(ObjectName::Timeline.file_name(), &artifact.crc32c));
    manifest.artifacts.push(artifact);
    manifest.raw.extend(raw);
    Ok(Some(ready))
}

async fn pieces_of(objects: &Objects, prefix: &ObjectPrefix, attempt: u32, run: &str) -> Result<Vec<Piece>, ObjectError> {
    let folder = Piece::folder(attempt, run);
    let names = objects.list(&format!("{}{folder}", prefix.raw_folder())).await?;
    Ok(names.iter().filter_map(|name| Piece::parse(&format!("{folder}{name}"))).collect())
}

/// This run's own journal, where it lies on the disk and the bucket knows no more of it.
async fn own_journal(place: &Workplace, attempt: u32, run: &str, pieces: &[Piece]) -> Option<String> {
    let (own_attempt, own_run, folder) = place.own.as_ref()?;
    if (*own_attempt, own_run.as_str()) != (attempt, run) {
        return None;
    }
    let bytes = tokio::fs::read(folder.join(JOURNAL_FILE)).await.ok()?;
    let carried = pieces.iter().map(|piece| piece.to).max().unwrap_or_default();
    (bytes.len() as u64 >= carried).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// What the bucket has of a journal. A piece that is gone or damaged is left out: the recording matters more.
async fn fetched(objects: &Objects, prefix: &ObjectPrefix, pieces: Vec<Piece>) -> Result<String, ObjectError> {
    let fetching = stream::iter(cover(pieces)).map(|(piece, skip)| async move {
        let found = objects.get(&prefix.journal(&piece)).await?;
        let whole = found.filter(|bytes| crc32c::crc32c(bytes) == piece.crc32c);
        if whole.is_none() {
            tracing::warn!(piece = piece.path(), "a piece of who was in the call is missing or damaged");
        }
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Ok::<_, ObjectError>(whole.and_then(|bytes| Some(String::from_utf8_lossy(bytes.get(skip..)?).into_owned())))
    });
    let (mut text, mut fetching) = (String::new(), fetching.buffered(FETCHED_AT_ONCE));
    while let Some(piece) = fetching.next().await {
        text.push_str(&piece?.unwrap_or_default());
    }
    Ok(text)
}
