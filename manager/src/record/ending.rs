//! After the call: what becomes of the recording, and with which exit code the run ends.

use std::time::Duration;

use bot_model::document::{Artifact, Facts};
use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::{Step, next};
use bot_model::outcome::{Outcome, OutcomeClass, OutcomeKind};
use bot_store::protocol::settle::settle;
use bot_store::protocol::{Advanced, Note};
use chrono::Utc;
use tokio::time::sleep;

use super::RunError;
use super::call::{Called, CutShort};
use crate::config::Config;
use crate::finalize::{FinalizeError, LEFT_THE_CALL, Workplace, finalize};
use crate::keeper::{Keeper, Kept};
use crate::objects::Objects;

/// Pauses between tries to finalize; after the last the raw segments are left for another run.
const TRIES: [Duration; 4] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(80)];
/// How long a terminal commit is tried while the store is away: the files are safe, only the word is missing.
const SETTLE_TRIES: u32 = 60;

/// Ends a run whose bot has left the call.
pub(super) async fn end(
    config: &Config,
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    called: Called,
) -> Result<ExitCode, RunError> {
    let recorded = called.progress.as_ref().is_some_and(|progress| progress.segments > 0);
    match &called.cut_short {
        Some(CutShort::Fenced(reason)) => {
            tracing::info!(reason, "fenced: what was recorded is in the bucket");
            return Ok(ExitCode::Fenced);
        }
        Some(CutShort::Stopped) => {
            if !called.is_drained {
                // Not marked as ended: what lies on this disk is not in the bucket yet.
                return Ok(ExitCode::Terminated);
            }
            keeper.end_run(called.progress.as_ref()).await;
            return Ok(if recorded { ExitCode::FinalizeNeeded } else { ExitCode::Terminated });
        }
        None => {}
    }
    if !recorded {
        return nothing_recorded(config, keeper, called.outcome).await;
    }
    if let Some(code) = enter_finalizing(keeper, &called).await {
        return Ok(code);
    }
    let own = Some((config.attempt, config.run_id.clone(), called.folder));
    let place = Workplace { folder: config.scratch.join("finalize"), own };
    make_files_and_settle(config, keeper, objects, &place, called.outcome).await
}

/// Writes that the bot is out of the call, waiting for the store if need be: without this step nothing could be settled.
/// Answers an exit code where the run has to end.
async fn enter_finalizing(keeper: &mut Keeper<'_>, called: &Called) -> Option<ExitCode> {
    for _ in 0..SETTLE_TRIES {
        let note = Note::new("manager", LEFT_THE_CALL).detail(&called.outcome.message);
        let edit = |facts: &mut Facts| {
            facts.recording = called.progress.clone();
            facts.outcome = Some(called.outcome.clone());
            facts.finalize_attempts += 1;
        };
        match keeper.step(Step::Finalize, note, edit).await {
            Kept::Done => return None,
            Kept::Fenced(reason) => {
                tracing::info!(reason, "fenced before finalizing");
                return Some(ExitCode::Fenced);
            }
            Kept::Refused => return Some(ExitCode::Fenced),
            Kept::Unreachable(error) => {
                tracing::warn!(%error, "the end of the call could not be written yet");
                sleep(Duration::from_secs(5)).await;
            }
        }
    }
    Some(ExitCode::FinalizeNeeded)
}

async fn nothing_recorded(config: &Config, keeper: &mut Keeper<'_>, outcome: Outcome) -> Result<ExitCode, RunError> {
    let outcome = match outcome.kind.class() {
        OutcomeClass::Completed if outcome.kind != OutcomeKind::AskedToLeave => Outcome::new(OutcomeKind::NoRecording),
        _ => outcome,
    };
    // Once it was admitted the lifecycle knows no cancelling: it ends as a failure, with its own outcome.
    let can_cancel = next(keeper.record().instance.phase, Step::Cancel).is_ok();
    let step = if outcome.kind == OutcomeKind::AskedToLeave && can_cancel { Step::Cancel } else { Step::Fail };
    settle_for_good(config, keeper, step, outcome, Vec::new()).await
}

/// Finalizes, as often as is sensible here, and settles.
pub(super) async fn make_files_and_settle(
    config: &Config,
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    place: &Workplace,
    outcome: Outcome,
) -> Result<ExitCode, RunError> {
    for pause in TRIES {
        sleep(pause).await;
        match finalize(keeper, objects, place, Some(&outcome)).await {
            Ok(artifacts) => return settle_for_good(config, keeper, Step::Complete, outcome, artifacts).await,
            Err(FinalizeError::Fenced(reason)) => {
                tracing::info!(reason, "fenced while finalizing");
                return Ok(ExitCode::Fenced);
            }
            Err(FinalizeError::Nothing) => {
                return settle_for_good(config, keeper, Step::Fail, Outcome::new(OutcomeKind::NoRecording), Vec::new()).await;
            }
            Err(error) => tracing::error!(%error, "the files could not be made; the raw segments are safe"),
        }
        keeper.refresh().await;
    }
    Ok(ExitCode::FinalizeNeeded)
}

/// Commits the terminal state, waiting for the store if need be, and only then deletes anything local.
async fn settle_for_good(
    config: &Config,
    keeper: &mut Keeper<'_>,
    step: Step,
    outcome: Outcome,
    artifacts: Vec<Artifact>,
) -> Result<ExitCode, RunError> {
    let event = if step == Step::Complete { "files_verified" } else { "settled" };
    for _ in 0..SETTLE_TRIES {
        if keeper.is_fresh() {
            let note = Note::new("manager", event);
            match settle(keeper.store(), keeper.record(), step, outcome.clone(), artifacts.clone(), note, Utc::now()).await {
                Ok(Advanced::Applied(_)) => {
                    clean_up(config).await;
                    return Ok(ExitCode::Settled);
                }
                Ok(Advanced::Illegal(illegal)) => {
                    tracing::warn!(%illegal, "the instance was settled by another");
                    return Ok(ExitCode::Fenced);
                }
                Ok(Advanced::Conflict) => {}
                Err(error) => {
                    tracing::warn!(%error, "the end could not be committed yet");
                    sleep(Duration::from_secs(5)).await;
                }
            }
        }
        match keeper.refresh().await {
            Kept::Fenced(reason) => {
                tracing::info!(reason, "fenced before the end was committed");
                return Ok(ExitCode::Fenced);
            }
            Kept::Unreachable(_) => sleep(Duration::from_secs(5)).await,
            Kept::Done | Kept::Refused => {}
        }
    }
    Ok(ExitCode::FinalizeNeeded)
}

async fn clean_up(config: &Config) {
    if let Err(error) = tokio::fs::remove_dir_all(&config.scratch).await {
        tracing::warn!(%error, "the run's folder could not be removed");
    }
}
