//! From raw segments to verified files: freeze, fetch, remux, probe, upload, verify. Repeatable, in any process, by any
//! number at once: the frozen list makes them all produce the same files.
//!
//! Raw objects that appear after the freeze (of a run that was overtaken, or ended undrained) are not left out: as long as the
//! instance has not ended, the list is replaced by the longer one, and the files are made again.

mod make;
mod manifest;
mod people;
mod pointers;
mod publish;
mod salvage;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bot_model::document::{Artifact, FrozenList};
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::outcome::Outcome;
use bot_model::segment::RawName;
use bot_store::kill_point::KillPoint;

use crate::keeper::{Keeper, Kept};
use crate::media::{Encoding, MediaError};
use crate::objects::{ObjectError, Objects};
use make::make;
use manifest::manifest;
pub use pointers::write_pointers;
use publish::{publish, ready};
pub use salvage::{Salvaged, salvage};

/// The timeline's event of a bot that is out of the call.
pub const LEFT_THE_CALL: &str = "left_the_call";
/// How often the files are made because raw objects went on arriving, before another run is to do it.
const ROUNDS: u32 = 3;

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
    /// Raw objects go on arriving from a run that was overtaken.
    #[error("raw objects are still arriving")]
    StillArriving,
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
    /// For what cannot be copied.
    pub encoding: Encoding,
}

/// Makes, uploads and verifies the files, and answers what they are. Deletes nothing in the bucket and settles nothing. The
/// lease is kept meanwhile.
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
    let mut frozen = standing_list(keeper, objects, &prefix).await?;
    for _ in 0..ROUNDS {
        let artifacts = Box::pin(files_of(keeper, objects, &prefix, place, &frozen, outcome)).await?;
        let standing = standing_list(keeper, objects, &prefix).await?;
        if standing.sha256 == frozen.sha256 {
            return Ok(artifacts);
        }
        frozen = standing;
    }
    Err(FinalizeError::StillArriving)
}

async fn files_of(
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    prefix: &ObjectPrefix,
    place: &Workplace,
    frozen: &FrozenList,
    outcome: Option<&Outcome>,
) -> Result<Vec<Artifact>, FinalizeError> {
    if frozen.is_empty() {
        return Err(FinalizeError::Nothing);
    }
    let (store, record) = (keeper.store(), keeper.record().clone());
    let making = async {
        let made = make(objects, prefix, place, frozen).await?;
        let mut files = vec![ready(objects, prefix, ObjectName::Video, &made.video.0, Some(&made.video.1)).await?];
        if let Some((audio, probed)) = &made.audio {
            files.push(ready(objects, prefix, ObjectName::Audio, audio, Some(probed)).await?);
        }
        let artifacts: Vec<Artifact> = files.iter().map(|file| file.artifact.clone()).collect();
        let duration_secs = made.video.1.duration_secs;
        let mut manifest = manifest((store, &record), &made.parts, frozen, &artifacts, outcome, duration_secs).await?;
        files.extend(Box::pin(people::timeline(objects, prefix, place, &mut manifest)).await?);
        let file = place.folder.join(ObjectName::Manifest.file_name());
        tokio::fs::write(&file, serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::other)?).await?;
        files.push(ready(objects, prefix, ObjectName::Manifest, &file, None).await?);
        Ok::<_, FinalizeError>(files)
    };
    let files = keeper.keeping(making).await.map_err(FinalizeError::Fenced)??;
    KillPoint::Converted.pass(keeper.record().instance.id.as_str()).await;
    for file in &files {
        publish(keeper, objects, prefix, frozen, file).await?;
    }
    Ok(files.into_iter().map(|file| file.artifact).collect())
}

/// The list that stands: the document's, unless more than that lies in the bucket by now; else what lies there, frozen.
async fn standing_list(keeper: &mut Keeper<'_>, objects: &Objects, prefix: &ObjectPrefix) -> Result<FrozenList, FinalizeError> {
    let names = keeper.keeping(objects.list(&prefix.raw_folder())).await.map_err(FinalizeError::Fenced)??;
    let there = FrozenList::from_raw_names(names.iter().filter_map(|name| RawName::parse(name)));
    let kept = match keeper.facts().frozen.clone() {
        None => keeper.freeze(&there).await,
        Some(frozen) if is_more(&there, &frozen) => {
            tracing::warn!("raw objects came after the list was frozen; the files are made of them, too");
            keeper.freeze_again(&frozen.sha256, &there).await
        }
        Some(frozen) => return Ok(frozen),
    };
    match kept {
        Kept::Done => Ok(keeper.facts().frozen.clone().unwrap_or(there)),
        Kept::Fenced(reason) => Err(FinalizeError::Fenced(reason)),
        Kept::Unreachable(error) => Err(error.into()),
        Kept::Refused => Err(FinalizeError::Fenced("the list could not be frozen".into())),
    }
}

/// True where everything of `frozen` is there, and more: a list that lacks something is no reason to forget it.
fn is_more(there: &FrozenList, frozen: &FrozenList) -> bool {
    let there_names: BTreeSet<RawName> = there.raw_names().into_iter().collect();
    there.sha256 != frozen.sha256 && frozen.raw_names().iter().all(|name| there_names.contains(name))
}
