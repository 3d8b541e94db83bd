//! What a run left on this machine's disk when it ended undrained: found by the next attempt, and carried out under the names of
//! the run that recorded it. Create-only, so a repetition is harmless. Nothing is deleted here.

use std::path::Path;

use bot_model::object_prefix::ObjectPrefix;
use bot_model::people::Piece;
use bot_model::scratch::{EarlierRun, SAVED_FILE, SESSION_FOLDER, Saved};
use bot_model::segment::{RawName, parse_segment_file, part_folder};
use tokio::sync::watch;

use crate::objects::Objects;
use crate::spool::{Carried, Route, Spool, part_numbers};

/// Those of `runs` whose scratch holds more segments than were saved.
pub fn unsaved(runs: &[EarlierRun]) -> Vec<EarlierRun> {
    runs.iter().filter(|run| !is_saved(&run.scratch)).cloned().collect()
}

/// True where nothing on the disk is missing in the bucket, as far as it can be played.
pub fn is_saved(scratch: &Path) -> bool {
    let saved = std::fs::read(scratch.join(SAVED_FILE)).ok();
    let saved: u64 = saved.and_then(|text| serde_json::from_slice::<Saved>(&text).ok()).map_or(0, |saved| saved.segments);
    closed_segments(scratch) <= saved
}

/// Says how many of the segments in a scratch folder are in the bucket. Best effort: without it, it is looked through again.
pub fn mark_saved(scratch: &Path, segments: u64) {
    if segments == 0 {
        return;
    }
    let saved = Saved { segments };
    let written = serde_json::to_vec(&saved).map_err(std::io::Error::other);
    if let Err(error) = written.and_then(|text| std::fs::write(scratch.join(SAVED_FILE), text)) {
        tracing::warn!(%error, "the run's folder could not be marked as saved");
    }
}

/// Carries out what earlier runs left, and says so; answers what was new to the bucket. It never gives up, as a spool.
pub async fn carry(objects: Objects, prefix: ObjectPrefix, runs: Vec<EarlierRun>) -> Carried {
    let mut carried = Carried::default();
    for run in runs {
        tracing::info!(attempt = run.attempt, "an earlier run left segments on this disk; carrying them out");
        let route = Route {
            prefix: prefix.clone(),
            attempt: run.attempt,
            run: run.run.clone(),
            folder: run.scratch.join(SESSION_FOLDER),
        };
        // Without the list everything is offered again, and found there.
        let there = objects.list(&prefix.raw_folder()).await.unwrap_or_default();
        let known = there.into_iter().filter(|name| RawName::parse(name).is_some() || Piece::parse(name).is_some()).collect();
        let (_finish, finished) = watch::channel(true);
        let of_run = Spool::new(objects.clone(), route).0.knowing(known).run(finished).await;
        mark_saved(&run.scratch, of_run.saved);
        carried += of_run;
    }
    carried
}

/// Closed segments that lie in a scratch folder.
fn closed_segments(scratch: &Path) -> u64 {
    let session = scratch.join(SESSION_FOLDER);
    let entries = part_numbers(&session).into_iter().filter_map(|part| std::fs::read_dir(session.join(part_folder(part))).ok());
    entries.flatten().flatten().filter(|entry| entry.file_name().to_str().and_then(parse_segment_file).is_some()).count() as u64
}
