//! Uploads the files and reads back what the bucket has of them.
//!
//! A finalizer that was overtaken must not write an older recording's file over a newer one: the object's generation is read
//! first, then the instance (still ours, still the same list?), and only that generation is replaced. Whoever overtook us did
//! so in the store before it wrote an object, so either the second look or the generation stops us.

use std::path::{Path, PathBuf};

use bot_model::document::{Artifact, FrozenList};
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_store::kill_point::KillPoint;

use super::FinalizeError;
use crate::keeper::{Keeper, Kept};
use crate::media::Probe;
use crate::objects::{Label, Objects};

/// A file on the local disk that is to be an artifact.
pub(super) struct Ready {
    file: PathBuf,
    crc32c: u32,
    pub(super) artifact: Artifact,
}

/// Measures a file.
pub(super) async fn ready(
    objects: &Objects,
    prefix: &ObjectPrefix,
    name: ObjectName,
    file: &Path,
    probed: Option<&Probe>,
) -> Result<Ready, FinalizeError> {
    let (bytes, crc32c) = checksum(file).await?;
    let artifact = Artifact {
        name,
        object: objects.address(&prefix.object(name)),
        bytes,
        crc32c: format!("{crc32c:08x}"),
        duration_secs: probed.map(|probe| probe.duration_secs),
        codecs: probed.map(|probe| probe.codecs.clone()).unwrap_or_default(),
    };
    Ok(Ready { file: file.to_owned(), crc32c, artifact })
}

/// Uploads a file and reads back what the bucket has of it.
pub(super) async fn publish(
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    prefix: &ObjectPrefix,
    frozen: &FrozenList,
    ready: &Ready,
) -> Result<(), FinalizeError> {
    let name = ready.artifact.name;
    let object = prefix.object(name);
    let generation = keeper.keeping(objects.generation(&object)).await.map_err(FinalizeError::Fenced)??;
    is_still_wanted(keeper, frozen).await?;
    let (content_type, segments_sha256) = (name.content_type(), frozen.sha256.clone());
    let label = Label { content_type, crc32c: ready.crc32c, segments_sha256 };
    let uploading = objects.put_final(&object, &ready.file, &label, generation);
    keeper.keeping(uploading).await.map_err(FinalizeError::Fenced)??;
    KillPoint::Uploaded.pass(keeper.record().instance.id.as_str()).await;
    let head = keeper.keeping(objects.head(&object)).await.map_err(FinalizeError::Fenced)??;
    if head.is_none_or(|head| (head.bytes, head.crc32c) != (ready.artifact.bytes, ready.crc32c)) {
        return Err(FinalizeError::Mismatch(format!("{} reads back differently", name.file_name())));
    }
    Ok(())
}

async fn is_still_wanted(keeper: &mut Keeper<'_>, frozen: &FrozenList) -> Result<(), FinalizeError> {
    match keeper.refresh().await {
        Kept::Fenced(reason) => return Err(FinalizeError::Fenced(reason)),
        Kept::Unreachable(error) => return Err(error.into()),
        Kept::Done | Kept::Refused => {}
    }
    let standing = keeper.facts().frozen.as_ref().map(|standing| &standing.sha256);
    if standing == Some(&frozen.sha256) { Ok(()) } else { Err(FinalizeError::StillArriving) }
}

pub(super) async fn checksum(file: &Path) -> Result<(u64, u32), FinalizeError> {
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
