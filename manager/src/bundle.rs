//! Carries a session's debug bundle into the bucket: after the media, for a few seconds at most, and never a reason for anything
//! else to fail.

use std::path::Path;
use std::time::Duration;

use bot_model::debug_bundle::{FOLDER, File};
use bot_model::object_prefix::ObjectPrefix;
use bytes::Bytes;
use tokio::time::timeout;

use crate::objects::{Label, Objects};

/// For the whole bundle.
const WITHIN: Duration = Duration::from_secs(5);

/// Carries what lies in `session` (the session's folder); answers the full address of the bundle's folder where something of it
/// is in the bucket.
pub async fn carry_out(objects: &Objects, prefix: &ObjectPrefix, (attempt, run): (u32, &str), session: &Path) -> Option<String> {
    let folder = session.join(FOLDER);
    let to = prefix.debug_folder(attempt, run);
    let mut carried = 0u32;
    // Boxed, as the objects' own calls are: laid out within every caller it grows too deep.
    let carrying = Box::pin(async {
        for file in File::ALL {
            // Only what a bundle consists of, whatever else lies there.
            let Ok(bytes) = tokio::fs::read(folder.join(file.name())).await else { continue };
            if bytes.len() > file.most_bytes() {
                continue;
            }
            let label =
                Label { content_type: file.content_type(), crc32c: crc32c::crc32c(&bytes), segments_sha256: String::new() };
            match objects.put_new_once(&format!("{to}{}", file.name()), Bytes::from(bytes), &label).await {
                Ok(_) => carried += 1,
                Err(error) => tracing::warn!(%error, "a file of the debug bundle could not be carried out"),
            }
        }
    });
    if timeout(WITHIN, carrying).await.is_err() {
        tracing::warn!("the debug bundle could not be carried out in time");
    }
    (carried > 0).then(|| objects.address(&to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bundle_is_carried_whole_and_nothing_beside_it() {
        let (bucket, session) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let objects = Objects::open(&format!("file://{}", bucket.path().display())).await.unwrap();
        let prefix = ObjectPrefix::parse("x/y").unwrap();
        assert_eq!(carry_out(&objects, &prefix, (2, "r1"), session.path()).await, None);
        let folder = session.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        for name in ["events.jsonl", "page.txt", "Cookies"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        std::fs::write(folder.join("console.txt"), vec![b'x'; File::Console.most_bytes() + 1]).unwrap();
        let address = carry_out(&objects, &prefix, (2, "r1"), session.path()).await.unwrap();
        assert!(address.ends_with("/x/y/debug/2-r1/"), "{address}");
        assert_eq!(objects.list("x/y/debug/").await.unwrap(), ["2-r1/events.jsonl", "2-r1/page.txt"]);
    }
}
