//! What ended runs left on this machine's disk: handed to the next attempt, and never deleted before it is in the bucket.
//!
//! Only looks and moves whole folders; segments are the manager's to carry out.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bot_model::ids::{InstanceId, JobName};
use bot_model::scratch::{EarlierRun, SAVED_FILE, SESSION_FOLDER, Saved};
use bot_model::segment::{parse_part_folder, parse_segment_file};

use super::RunKey;
use super::run_dir::{self, RunDir, private_folder};

/// Where runs go that are over for good and still hold what the bucket lacks.
pub(super) const KEPT: &str = "kept";
/// Its age is the time since the run came there.
const KEPT_MARK: &str = "kept-since";

/// True where a run's scratch holds segments that are not in the bucket, as far as is known here.
pub(super) fn is_unsaved(run: &RunDir) -> bool {
    let scratch = run.scratch();
    let saved = std::fs::read(scratch.join(SAVED_FILE)).ok();
    let saved = saved.and_then(|text| serde_json::from_slice::<Saved>(&text).ok()).map_or(0, |saved| saved.segments);
    closed_segments(&scratch.join(SESSION_FOLDER)) > saved
}

fn closed_segments(session: &Path) -> u64 {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_part = |name: &std::ffi::OsStr| name.to_str().and_then(parse_part_folder).is_some();
    let is_segment = |name: &std::ffi::OsStr| name.to_str().and_then(parse_segment_file).is_some();
    let parts = entries(session).filter(|entry| is_part(&entry.file_name())).map(|entry| entry.path());
    parts.map(|part| entries(&part).filter(|entry| is_segment(&entry.file_name())).count() as u64).sum()
}

/// The runs of earlier attempts of an instance, in order, with where their scratch lies.
pub(super) fn earlier(runs: &Path, key: &RunKey, instance: &InstanceId) -> std::io::Result<Vec<EarlierRun>> {
    let mut found: Vec<EarlierRun> = run_dir::all(runs)?
        .into_iter()
        .filter(|(_, spec)| spec.job == key.job && spec.instance_id == *instance && spec.attempt < key.attempt)
        .map(|(run, spec)| EarlierRun { attempt: spec.attempt, run: spec.run_id, scratch: run.scratch() })
        .collect();
    found.sort_by_key(|run| run.attempt);
    Ok(found)
}

/// Jobs of a store with an ended run whose scratch holds what the bucket lacks.
pub(super) fn unsaved(runs: &Path, store_url: &str) -> std::io::Result<Vec<JobName>> {
    let all = run_dir::all(runs)?.into_iter().filter(|(_, spec)| spec.store_url == store_url);
    Ok(all.filter(|(run, _)| !run.is_locked().unwrap_or(true) && is_unsaved(run)).map(|(_, spec)| spec.job).collect())
}

/// Moves a run out of the way, whole, and says so.
pub(super) fn keep(runs: &Path, run: &RunDir, key: &RunKey) -> std::io::Result<()> {
    private_folder(&runs.join(KEPT))?;
    let kept = runs.join(KEPT).join(format!("{}-a{}", key.job, key.attempt));
    File::create(run.path().join(KEPT_MARK))?;
    std::fs::rename(run.path(), &kept)?;
    tracing::warn!(job_name = %key.job, attempt = key.attempt, folder = %kept.display(), "the run is over and its scratch holds segments that are not in the bucket: kept");
    // Fails while another attempt is there.
    let _ = std::fs::remove_dir(runs.join(key.job.as_str()));
    Ok(())
}

/// Deletes kept runs that are older than `retention`.
pub(super) fn forget_kept(runs: &Path, retention: Duration) {
    for entry in std::fs::read_dir(runs.join(KEPT)).into_iter().flatten().flatten() {
        let since = entry.path().join(KEPT_MARK).metadata().and_then(|mark| mark.modified());
        let age = since.ok().and_then(|since| SystemTime::now().duration_since(since).ok());
        if age.is_some_and(|age| age >= retention) {
            tracing::warn!(folder = %entry.path().display(), "a kept run is past its retention and deleted");
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!(%error, "it could not be deleted");
            }
        }
    }
}
