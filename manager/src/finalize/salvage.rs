//! `manager salvage`: files for a person, on the local disk, of whatever segments of a recording lie in the bucket. For what no run finishes
//! any more: an instance that has failed with its segments kept, segments that came after its end, a store that is lost.
//!
//! Reads the bucket and nothing else; changes nothing there, and no document.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bot_model::document::FrozenList;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::segment::{RawKind, RawName};

use super::make::{Made, make};
use super::{FinalizeError, Workplace};
use crate::media::Encoding;
use crate::objects::Objects;

/// What was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Salvaged {
    /// `video.mp4` and, where there is sound, `audio.m4a`.
    pub files: Vec<PathBuf>,
    /// How long the video is.
    pub duration_secs: f64,
    /// What is gone or damaged, without which the files were made: raw objects, and folders of parts of which nothing could be made.
    pub left_out: Vec<String>,
}

/// Makes the files in a local folder, made if need be. What is damaged is left out and named: an object, or a part without which the others
/// give a file.
///
/// # Errors
/// Where there is nothing to make files of, they lie there already, or bucket, disk or ffmpeg fail.
pub async fn salvage(objects: &Objects, prefix: &ObjectPrefix, into: &Path) -> Result<Salvaged, FinalizeError> {
    tokio::fs::create_dir_all(into).await?;
    for name in [ObjectName::Video, ObjectName::Audio] {
        let file = into.join(name.file_name());
        if tokio::fs::try_exists(&file).await? {
            return Err(
                std::io::Error::new(std::io::ErrorKind::AlreadyExists, format!("{} is there already", file.display())).into()
            );
        }
    }
    let found = objects.list(&prefix.raw_folder()).await?;
    let mut names: Vec<RawName> = found.iter().filter_map(|name| RawName::parse(name)).collect();
    let place = Workplace { folder: into.join("salvaging"), own: None, encoding: Encoding::default() };
    let mut left_out = Vec::new();
    loop {
        let frozen = FrozenList::from_raw_names(names.clone());
        match make(objects, prefix, &place, &frozen).await {
            Ok(made) => {
                let used: Vec<RawName> = made.parts.iter().flat_map(|part| part.frozen.raw_names()).collect();
                left_out.extend(parts(&names).difference(&parts(&used)).cloned());
                return moved(&made, &place.folder, into, left_out).await;
            }
            Err(error @ (FinalizeError::Media(_) | FinalizeError::Mismatch(_))) => {
                let unusable = unusable(objects, prefix, &place, &names).await?;
                if unusable.is_empty() || unusable == parts(&names) {
                    return Err(error);
                }
                names.retain(|name| !unusable.contains(&part_of(name)));
                left_out.extend(unusable);
            }
            Err(FinalizeError::RawLost(lost)) if names.iter().any(|name| name.path() == lost) => {
                tracing::warn!(raw = lost, "a raw object is gone or damaged; the files are made without it");
                names.retain(|name| name.path() != lost);
                left_out.push(lost);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Those parts that no file can be made of, each tried by itself.
async fn unusable(
    objects: &Objects,
    prefix: &ObjectPrefix,
    place: &Workplace,
    names: &[RawName],
) -> Result<BTreeSet<String>, FinalizeError> {
    let mut unusable = BTreeSet::new();
    for part in parts(names) {
        let its: Vec<RawName> = names.iter().filter(|name| part_of(name) == part).cloned().collect();
        match make(objects, prefix, place, &FrozenList::from_raw_names(its)).await {
            Err(error @ (FinalizeError::Media(_) | FinalizeError::Mismatch(_))) => {
                tracing::warn!(part, %error, "no file can be made of a part; the others are made without it");
                unusable.insert(part);
            }
            // An object that is lost costs itself alone, in its turn.
            Ok(_) | Err(FinalizeError::Nothing | FinalizeError::RawLost(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(unusable)
}

/// The parts of which there are segments, by their folders in the bucket.
fn parts(names: &[RawName]) -> BTreeSet<String> {
    names.iter().filter(|name| matches!(name.kind, RawKind::Segment(_))).map(part_of).collect()
}

fn part_of(name: &RawName) -> String {
    name.path().rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned())
}

async fn moved(made: &Made, from: &Path, into: &Path, left_out: Vec<String>) -> Result<Salvaged, FinalizeError> {
    let mut files = Vec::new();
    for (name, file) in [(ObjectName::Video, Some(&made.video)), (ObjectName::Audio, made.audio.as_ref())] {
        let Some((file, _)) = file else { continue };
        let moved = into.join(name.file_name());
        tokio::fs::rename(file, &moved).await?;
        files.push(moved);
    }
    tokio::fs::remove_dir_all(from).await?;
    Ok(Salvaged { files, duration_secs: made.video.1.duration_secs, left_out })
}
