//! The life of a run: bind, reserve, join, follow, carry out, finalize, settle.
//!
//! SIGTERM is heeded at every point: before the join nothing is begun; in the call the bot leaves and everything closed is carried
//! out; while files are made the work is given up, for another run can do it again.

mod call;
mod ending;
mod prepare;

use std::sync::Arc;

use bot_model::exit_code::ExitCode;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_model::scratch::{EarlierRun, SESSION_FOLDER};
use bot_store::kill_point::KillPoint;
use bot_store::protocol::run::{Bind, Purpose, bind};
use bot_store::protocol::slot::release;
use bot_store::{Store, StoreError, clock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bundle;
use crate::config::Config;
use crate::finalize::Workplace;
use crate::keeper::{Keeper, Kept};
use crate::leftover;
use crate::objects::{ObjectError, Objects};
use crate::picture;
use crate::retry::{store_within, verb_within};
pub use ending::without_files;
pub use prepare::{Prepared, prepare};

/// Why a run ended without an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket could not be opened.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The local disk failed.
    #[error("local disk: {0}")]
    Disk(#[from] std::io::Error),
}

/// Opens the store, trying on for two minutes while it cannot be reached; `None` where a SIGTERM came first. Nothing was begun then.
///
/// # Errors
/// When the store cannot be opened.
pub async fn open_store(config: &Config, stop: &mut watch::Receiver<bool>) -> Result<Option<Arc<dyn Store>>, RunError> {
    tokio::select! {
        biased;
        () = stopped(stop) => Ok(None),
        opened = Box::pin(prepare::open_store(config)) => Ok(Some(opened?)),
    }
}

/// Records a call, from bind to settle. `stop` turns true on SIGTERM.
///
/// # Errors
/// When the store or the bucket cannot be used at all; nothing was joined then.
pub async fn record(config: &Config, store: &dyn Store, mut stop: watch::Receiver<bool>) -> Result<ExitCode, RunError> {
    let left = leftover::unsaved(&config.earlier_runs);
    let begun = tokio::select! {
        biased;
        () = stopped(&mut stop) => return Ok(ExitCode::Terminated),
        begun = Box::pin(begin(config, store, !left.is_empty())) => begun?,
    };
    let (objects, prepared) = begun;
    let (mut keeper, key) = match prepared {
        Prepared::Over(code) => return Ok(code),
        Prepared::Finalize(keeper, outcome) => {
            return Box::pin(finalize_bound(config, *keeper, &objects, outcome, &mut stop)).await;
        }
        Prepared::Join(keeper, key) => (*keeper, key),
    };
    let called = Box::pin(call::follow(config, &mut keeper, &objects, left, &mut stop)).await?;
    KillPoint::Stopped.pass(&config.run_id).await;
    // The bot has left: the call is free for another, whatever becomes of the files.
    if let Err(error) = store_within("release", release(store, &key, &config.instance, config.attempt)).await {
        tracing::warn!(%error, "the live-call slot could not be released; it frees itself when the instance ends");
    }
    // After the media: where even that is not all in the bucket, nothing else is tried.
    if called.is_drained {
        Box::pin(carry_bundle(config, &mut keeper, &objects)).await;
    }
    Box::pin(ending::end(config, &mut keeper, &objects, called, &mut stop)).await
}

/// Carries the session's debug bundle out, where it left one, and says so in the document. Best effort.
async fn carry_bundle(config: &Config, keeper: &mut Keeper<'_>, objects: &Objects) {
    let Some(prefix) = keeper.facts().gcs_path.clone() else { return };
    let session = config.scratch.join(SESSION_FOLDER);
    let carrying = Box::pin(bundle::carry_out(objects, &prefix, (config.attempt, &config.run_id), &session));
    if let Some(address) = carrying.await
        && let Kept::Unreachable(error) = keeper.set_debug(&address).await
    {
        tracing::warn!(%error, "where the debug bundle lies could not be written");
    }
}

async fn begin<'a>(config: &Config, store: &'a dyn Store, has_left: bool) -> Result<(Objects, Prepared<'a>), RunError> {
    let objects = Objects::open(&config.recordings_url).await?;
    Ok((objects, prepare(config, store, has_left).await?))
}

/// Makes the files of what was recorded, without joining anything. `stop` turns true on SIGTERM.
///
/// # Errors
/// As [`record`].
pub async fn finalize_only(config: &Config, store: &dyn Store, mut stop: watch::Receiver<bool>) -> Result<ExitCode, RunError> {
    let sent_at = Instant::now();
    let binding = Box::pin(async {
        let objects = Objects::open(&config.recordings_url).await?;
        let run = (config.attempt, config.run_id.as_str());
        let bound = verb_within("bind", bind(store, &config.instance, run, Purpose::Finalize, clock::now())).await?;
        Ok::<_, RunError>((objects, bound))
    });
    let (objects, bound) = tokio::select! {
        biased;
        // Whatever an earlier run recorded lies where it lay.
        () = stopped(&mut stop) => return Ok(ExitCode::Terminated),
        bound = binding => bound?,
    };
    let record = match bound {
        Bind::Bound(record) | Bind::Cancelled(record) | Bind::Unusable(record, _) => record,
        Bind::Fenced(reason) => return Ok(fenced(&reason)),
    };
    KillPoint::RunLeased.pass(&config.run_id).await;
    let outcome = record.instance.facts.outcome.clone().unwrap_or_else(|| Outcome::new(OutcomeKind::ManagerLost));
    Box::pin(finalize_bound(config, Keeper::new(store, record, config.timings, sent_at), &objects, outcome, &mut stop)).await
}

/// Carries out what lies on this disk, then makes the files.
async fn finalize_bound(
    config: &Config,
    mut keeper: Keeper<'_>,
    objects: &Objects,
    outcome: Outcome,
    stop: &mut watch::Receiver<bool>,
) -> Result<ExitCode, RunError> {
    if let Some(code) = carry_out(config, &mut keeper, objects, stop).await {
        return Ok(code);
    }
    if let Some(prefix) = keeper.facts().gcs_path.as_ref().filter(|_| config.picture_every.is_some()) {
        picture::remove(objects, prefix).await;
    }
    Box::pin(carry_bundle(config, &mut keeper, objects)).await;
    let place = Workplace { folder: config.scratch.join("finalize"), own: None, encoding: config.encoding.clone() };
    ending::make_files_and_settle(config, &mut keeper, objects, &place, outcome, stop).await
}

/// Brings what this run (restarted) or an earlier one left on the disk into the bucket. An exit code where the run has to end.
async fn carry_out(
    config: &Config,
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    stop: &mut watch::Receiver<bool>,
) -> Option<ExitCode> {
    let own = EarlierRun { attempt: config.attempt, run: config.run_id.clone(), scratch: config.scratch.clone() };
    let runs: Vec<EarlierRun> = config.earlier_runs.iter().cloned().chain([own]).collect();
    let left = leftover::unsaved(&runs);
    let prefix = keeper.facts().gcs_path.clone().filter(|_| !left.is_empty())?;
    let carrying = leftover::carry(objects.clone(), prefix, left);
    let carried = tokio::select! {
        biased;
        () = stopped(stop) => return Some(ExitCode::Terminated),
        carried = keeper.keeping(carrying) => carried,
    };
    match carried {
        Err(reason) => Some(fenced(&reason)),
        Ok(carried) => {
            let progress = call::added(keeper.facts().recording.as_ref(), carried);
            match keeper.report(&progress).await {
                Kept::Fenced(reason) => Some(fenced(&reason)),
                _ => None,
            }
        }
    }
}

/// Returns once `stop` is true; never where nobody can tell any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn fenced(reason: &str) -> ExitCode {
    tracing::info!(reason, "fenced: leaving the instance to its owner");
    ExitCode::Fenced
}
