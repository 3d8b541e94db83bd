//! `manager salvage`: files for a person, on the local disk, of whatever segments of a recording lie in the bucket. For what no run finishes
//! any more: an instance that has failed with its segments kept, segments that came after its end, a store that is lost.
//!
//! Reads the bucket and nothing else; changes nothing there, and no document.

use std::path::{Path, PathBuf};

use bot_model::document::FrozenList;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::segment::RawName;

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
    /// Raw objects that are gone or damaged, without which the files were made.
    pub left_out: Vec<String>,
}

/// Makes the files in a local folder, made if need be. What is damaged is left out and named.
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
            Ok(made) => return moved(&made, &place.folder, into, left_out).await,
            Err(FinalizeError::RawLost(lost)) if names.iter().any(|name| name.path() == lost) => {
                tracing::warn!(raw = lost, "a raw object is gone or damaged; the files are made without it");
                names.retain(|name| name.path() != lost);
                left_out.push(lost);
            }
            Err(error) => return Err(error),
        }
    }
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
