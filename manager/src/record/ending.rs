//! After the call: what becomes of the recording, and with which exit code the run ends.

use std::collections::BTreeSet;
use std::time::Duration;

use bot_model::document::{Artifact, Facts, RecordingProgress};
use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::{Step, next};
use bot_model::object_prefix::ObjectPrefix;
use bot_model::outcome::{Outcome, OutcomeClass, OutcomeKind};
use bot_model::segment::{RawKind, RawName};
use bot_store::clock;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::settle::settle;
use bot_store::protocol::{Advanced, Note};
use tokio::sync::watch;
use tokio::time::sleep;

use super::call::{Called, CutShort};
use super::{RunError, fenced, stopped};
use crate::config::Config;
use crate::finalize::{FinalizeError, LEFT_THE_CALL, Workplace, finalize, write_pointers};
use crate::keeper::{Keeper, Kept};
use crate::leftover;
use crate::objects::Objects;
use crate::retry::{Pauses, verb_within};

/// Longest pause between tries to commit while the store is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// For a person.
const LOST: &str = "An earlier attempt was in the call and ended with nothing saved, and then the call was over.";

/// Ends a run whose bot has left the call.
pub(super) async fn end(
    config: &Config,
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    mut called: Called,
    stop: &mut watch::Receiver<bool>,
) -> Result<ExitCode, RunError> {
    match &called.cut_short {
        Some(CutShort::Fenced(reason)) => {
            tracing::info!(reason, called.is_drained, "fenced: the recording is left to the instance's owner");
            return Ok(ExitCode::Fenced);
        }
        // Not marked as ended: what lies on this disk is not in the bucket yet.
        Some(CutShort::Refused) if !called.is_drained => return Ok(ExitCode::Terminated),
        Some(CutShort::Refused) => {
            keeper.end_run(called.progress.as_ref()).await;
            return Ok(ExitCode::RefusedBeforeJoin);
        }
        Some(CutShort::Stopped) => return Ok(stopped_short(config, keeper, &called).await),
        None => {}
    }
    if !is_recorded(&called) {
        match of_earlier_runs(keeper, objects, config.patience.settle, stop).await {
            Ok(progress) => called.progress = progress,
            Err(code) => return Ok(code),
        }
    }
    if !is_recorded(&called) {
        return nothing_recorded(config, keeper, called.outcome, stop).await;
    }
    // It was in the call, in an earlier attempt.
    if called.outcome.kind == OutcomeKind::EndedBeforeAdmission {
        called.outcome = Outcome::new(OutcomeKind::HostEnded);
    }
    let entered = tokio::select! {
        biased;
        entered = enter_finalizing(keeper, &called, config.patience.settle) => entered,
        () = stopped(stop) => Some(ExitCode::FinalizeNeeded),
    };
    if let Some(code) = entered {
        return Ok(code);
    }
    let own = Some((config.attempt, config.run_id.clone(), called.folder));
    let place = Workplace { folder: config.scratch.join("finalize"), own, encoding: config.encoding.clone() };
    make_files_and_settle(config, keeper, objects, &place, called.outcome, stop).await
}

fn is_recorded(called: &Called) -> bool {
    called.progress.as_ref().is_some_and(|progress| progress.segments > 0)
}

/// What lies in the bucket without the document's knowing: an earlier run carried it out while the store was away, and ended before it
/// could say so. What is not found here is settled as not recorded, so without an answer the run ends and nothing is settled.
async fn of_earlier_runs(
    keeper: &Keeper<'_>,
    objects: &Objects,
    limit: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<RecordingProgress>, ExitCode> {
    let facts = keeper.facts();
    let Some(folder) = facts.gcs_path.as_ref().map(ObjectPrefix::raw_folder) else { return Ok(None) };
    let mut pauses = Pauses::over(limit, LONGEST_PAUSE);
    let found = loop {
        match objects.list(&folder).await {
            Ok(found) => break found,
            Err(error) => tracing::warn!(%error, "whether earlier runs recorded something cannot be told yet"),
        }
        let Some(pause) = pauses.next() else { return Err(ExitCode::FinalizeNeeded) };
        tokio::select! {
            biased;
            () = stopped(stop) => return Err(ExitCode::Terminated),
            () = sleep(pause) => {}
        }
    };
    let names: Vec<RawName> = found.iter().filter_map(|name| RawName::parse(name)).collect();
    let segments = names.iter().filter(|name| matches!(name.kind, RawKind::Segment(_))).count() as u64;
    let parts: BTreeSet<_> = names.iter().map(|name| (&name.run, name.part)).collect();
    let started_at = facts.start_time.or(facts.created_at).unwrap_or_else(clock::now);
    Ok((segments > 0).then(|| {
        tracing::info!(segments, "an earlier run carried out what the document knows nothing of");
        RecordingProgress { started_at, ended_at: None, parts: parts.len() as u32, segments, bytes: 0 }
    }))
}

/// SIGTERM, in the call or after it. How a call ended by itself is written down even now: a bot must not join it again.
async fn stopped_short(config: &Config, keeper: &mut Keeper<'_>, called: &Called) -> ExitCode {
    // Where something broke, or the bot was sent out, the call may go on: it is joined again.
    let is_over = called.outcome.kind.class() != OutcomeClass::Failed;
    if is_over && (is_recorded(called) || !called.is_drained) {
        let limit = config.patience.drain_on_stop / 3;
        if let Some(code @ ExitCode::Fenced) = enter_finalizing(keeper, called, limit).await {
            return code;
        }
    }
    if !called.is_drained {
        // Not marked as ended: what lies on this disk is not in the bucket yet.
        return ExitCode::Terminated;
    }
    keeper.end_run(called.progress.as_ref()).await;
    if is_recorded(called) { ExitCode::FinalizeNeeded } else { ExitCode::Terminated }
}

/// Writes that the bot is out of the call, waiting for the store if need be: without this step nothing could be settled.
/// Answers an exit code where the run has to end.
async fn enter_finalizing(keeper: &mut Keeper<'_>, called: &Called, limit: Duration) -> Option<ExitCode> {
    let mut pauses = Pauses::over(limit, LONGEST_PAUSE);
    loop {
        let note = Note::new("manager", LEFT_THE_CALL).detail(&called.outcome.message);
        let edit = |facts: &mut Facts| {
            facts.recording = called.progress.clone();
            facts.outcome = Some(called.outcome.clone());
            facts.finalize_attempts += 1;
        };
        match keeper.step(Step::Finalize, note, edit).await {
            Kept::Done => return None,
            Kept::Fenced(reason) => return Some(fenced(&reason)),
            Kept::Refused => return Some(ExitCode::Fenced),
            Kept::Unreachable(error) => tracing::warn!(%error, "the end of the call could not be written yet"),
        }
        match pauses.next() {
            Some(pause) => sleep(pause).await,
            None => return Some(ExitCode::FinalizeNeeded),
        }
    }
}

async fn nothing_recorded(
    config: &Config,
    keeper: &mut Keeper<'_>,
    outcome: Outcome,
    stop: &mut watch::Receiver<bool>,
) -> Result<ExitCode, RunError> {
    // An earlier attempt was in the call, and what it recorded went with its disk.
    let was_there = keeper.facts().recording.is_some();
    let outcome = match outcome.kind.class() {
        _ if was_there && outcome.kind == OutcomeKind::EndedBeforeAdmission => {
            Outcome::with_detail(OutcomeKind::NoRecording, LOST)
        }
        OutcomeClass::Completed if outcome.kind != OutcomeKind::AskedToLeave => Outcome::new(OutcomeKind::NoRecording),
        _ => outcome,
    };
    // Once it was admitted the lifecycle knows no cancelling: it ends as a failure, with its own outcome.
    let can_cancel = next(keeper.record().instance.phase, Step::Cancel).is_ok();
    let step = if outcome.kind == OutcomeKind::AskedToLeave && can_cancel { Step::Cancel } else { Step::Fail };
    settle_for_good(config, keeper, step, outcome, Vec::new(), stop).await
}

/// Finalizes and settles. Where that fails, the exit code says so and another run is the controller's to launch: tries are not
/// nested. SIGTERM ends it at once, for whatever is half made is made again.
pub(super) async fn make_files_and_settle(
    config: &Config,
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    place: &Workplace,
    outcome: Outcome,
    stop: &mut watch::Receiver<bool>,
) -> Result<ExitCode, RunError> {
    let made = tokio::select! {
        biased;
        () = stopped(stop) => None,
        made = Box::pin(finalize(keeper, objects, place, Some(&outcome))) => Some(made),
    };
    match made {
        Some(Ok(artifacts)) => {
            KillPoint::Verified.pass(&config.run_id).await;
            complete(config, keeper, objects, place, (outcome, artifacts), stop).await
        }
        Some(Err(FinalizeError::Fenced(reason))) => Ok(fenced(&reason)),
        Some(Err(FinalizeError::Nothing)) => {
            let (step, outcome) = without_files(keeper.facts(), outcome);
            settle_for_good(config, keeper, step, outcome, Vec::new(), stop).await
        }
        Some(Err(error)) => Ok(unmade(keeper, &error).await),
        None => Ok(given_up(keeper).await),
    }
}

/// How an instance ends where neither bucket nor disk holds a segment.
pub fn without_files(facts: &Facts, outcome: Outcome) -> (Step, Outcome) {
    let was_in_the_call = facts.recording.is_some();
    match outcome.kind {
        OutcomeKind::Cancelled | OutcomeKind::AskedToLeave if !was_in_the_call && facts.cancel_requested_at.is_some() => {
            (Step::Cancel, Outcome::new(OutcomeKind::Cancelled))
        }
        kind if was_in_the_call || kind.class() == OutcomeClass::Completed => {
            (Step::Fail, Outcome::new(OutcomeKind::NoRecording))
        }
        _ => (Step::Fail, outcome),
    }
}

/// The files are verified. A meeting that is linked while they were made changes the document, so that the commit conflicts and the
/// pointers are looked at again.
async fn complete(
    config: &Config,
    keeper: &mut Keeper<'_>,
    objects: &Objects,
    place: &Workplace,
    (outcome, artifacts): (Outcome, Vec<Artifact>),
    stop: &mut watch::Receiver<bool>,
) -> Result<ExitCode, RunError> {
    loop {
        let written = tokio::select! {
            biased;
            () = stopped(stop) => None,
            written = Box::pin(write_pointers(keeper, objects, &place.folder, &artifacts)) => Some(written),
        };
        match written {
            Some(Ok(())) => {}
            Some(Err(FinalizeError::Fenced(reason))) => return Ok(fenced(&reason)),
            Some(Err(error)) => return Ok(unmade(keeper, &error).await),
            None => return Ok(given_up(keeper).await),
        }
        let code = settle_for_good(config, keeper, Step::Complete, outcome.clone(), artifacts.clone(), stop).await?;
        if code != ExitCode::FinalizeNeeded || !lacks_pointer(keeper) {
            return Ok(code);
        }
    }
}

fn lacks_pointer(keeper: &Keeper<'_>) -> bool {
    let facts = keeper.facts();
    facts.linked_meetings.iter().any(|meeting| meeting.wants_pointer(facts.gcs_path.as_ref()).is_some())
}

async fn given_up(keeper: &mut Keeper<'_>) -> ExitCode {
    tracing::info!("stopped while making the files; the raw segments are safe");
    keeper.end_run(None).await;
    ExitCode::FinalizeNeeded
}

async fn unmade(keeper: &mut Keeper<'_>, error: &FinalizeError) -> ExitCode {
    tracing::error!(%error, "the files could not be made; the raw segments are safe");
    keeper.end_run(None).await;
    ExitCode::FinalizeNeeded
}

/// Commits the terminal state, waiting for the store if need be, and only then deletes anything local.
async fn settle_for_good(
    config: &Config,
    keeper: &mut Keeper<'_>,
    step: Step,
    outcome: Outcome,
    artifacts: Vec<Artifact>,
    stop: &mut watch::Receiver<bool>,
) -> Result<ExitCode, RunError> {
    let event = if step == Step::Complete { "files_verified" } else { "settled" };
    let mut pauses = Pauses::over(config.patience.settle, LONGEST_PAUSE);
    loop {
        if step == Step::Complete && lacks_pointer(keeper) {
            return Ok(ExitCode::FinalizeNeeded);
        }
        if keeper.is_fresh() {
            let note = Note::new("manager", event);
            let settling = settle(keeper.store(), keeper.record(), step, outcome.clone(), artifacts.clone(), note, clock::now());
            match verb_within("settle", settling).await {
                Ok(Advanced::Applied(_)) => {
                    KillPoint::Settled.pass(&config.run_id).await;
                    clean_up(config).await;
                    KillPoint::CleanedUp.pass(&config.run_id).await;
                    return Ok(ExitCode::Settled);
                }
                Ok(Advanced::Illegal(illegal)) => {
                    tracing::warn!(%illegal, "the instance was settled by another");
                    return Ok(ExitCode::Fenced);
                }
                Ok(Advanced::Conflict) => {}
                Err(error) => tracing::warn!(%error, "the end could not be committed yet"),
            }
        }
        if let Kept::Fenced(reason) = keeper.refresh().await {
            return Ok(fenced(&reason));
        }
        let Some(pause) = pauses.next() else { return Ok(ExitCode::FinalizeNeeded) };
        tokio::select! {
            biased;
            () = stopped(stop) => return Ok(ExitCode::FinalizeNeeded),
            () = sleep(pause) => {}
        }
    }
}

/// Deletes the run's folder, unless segments came to lie there that nobody carried out.
async fn clean_up(config: &Config) {
    if !leftover::is_saved(&config.scratch) {
        tracing::warn!("segments lie on this disk that are not in the bucket; the run's folder is kept");
        return;
    }
    if let Err(error) = tokio::fs::remove_dir_all(&config.scratch).await {
        tracing::warn!(%error, "the run's folder could not be removed");
    }
}
