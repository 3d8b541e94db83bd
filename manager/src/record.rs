//! The life of a run: bind, reserve, join, follow, carry out, finalize, settle.

mod call;
mod ending;

use bot_model::exit_code::ExitCode;
use bot_model::ids::CallKey;
use bot_model::lifecycle::{Phase, Step};
use bot_model::object_prefix::ObjectPrefix;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::protocol::run::{Bind, Purpose, bind};
use bot_store::protocol::slot::{Holder, Slot, acquire, is_later_occurrence, join_holder, release};
use bot_store::protocol::{Advanced, InstanceRecord, Note, paths, settle};
use bot_store::{Store, StoreError};
use chrono::Utc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::finalize::Workplace;
use crate::keeper::{Keeper, Kept};
use crate::objects::{ObjectError, Objects};

/// How often a taken live-call slot is asked for again.
const SLOT_EVERY: Duration = Duration::from_secs(2);

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

/// Records a call, from bind to settle. `stop` turns true on SIGTERM.
///
/// # Errors
/// When the store or the bucket cannot be used at all; nothing was joined then.
pub async fn record(config: &Config, store: &dyn Store, mut stop: watch::Receiver<bool>) -> Result<ExitCode, RunError> {
    let objects = Objects::open(&config.recordings_url).await?;
    let sent_at = Instant::now();
    let record = match bind(store, &config.instance, (config.attempt, &config.run_id), Purpose::Record, Utc::now()).await? {
        // Restarted after its call: the bot must not join again.
        Bind::Bound(record) if record.instance.phase == Phase::Finalizing => {
            let keeper = Keeper::new(store, record, config.timings, sent_at);
            return finalize_bound(config, keeper, &objects).await;
        }
        Bind::Bound(record) => record,
        Bind::Fenced(reason) => return Ok(fenced(&reason)),
        Bind::Cancelled(record) => return cancelled(config, store, record, &objects, sent_at).await,
        Bind::Unusable(record, _) if was_recorded(&record) => {
            return cancelled(config, store, record, &objects, sent_at).await;
        }
        Bind::Unusable(record, reason) => {
            let outcome = Outcome::with_detail(OutcomeKind::InvalidDocument, reason);
            return settled(store, &record, Step::Fail, outcome).await;
        }
    };
    let mut keeper = Keeper::new(store, record, config.timings, sent_at);
    if let Some(code) = reserve_path(&mut keeper).await? {
        return Ok(code);
    }
    let key = keeper.facts().call_key.clone().unwrap_or_else(|| call_key(&keeper));
    match take_slot(&mut keeper, &key, &mut stop).await? {
        Taken::Ours => {}
        Taken::Given(code) => return Ok(code),
        Taken::GaveUp(outcome) if was_recorded(keeper.record()) => {
            keeper.step(Step::Finalize, Note::new("manager", "finalizing"), |facts| facts.outcome = Some(outcome.clone())).await;
            return finalize_bound(config, keeper, &objects).await;
        }
        Taken::GaveUp(outcome) => {
            let step = if outcome.kind == OutcomeKind::Cancelled { Step::Cancel } else { Step::Fail };
            return settled(store, keeper.record(), step, outcome).await;
        }
    }
    let called = call::follow(config, &mut keeper, &objects, &mut stop).await?;
    // The bot has left: the call is free for another, whatever becomes of the files.
    if let Err(error) = release(store, &key, &config.instance).await {
        tracing::warn!(%error, "the live-call slot could not be released; it frees itself when the instance ends");
    }
    ending::end(config, &mut keeper, &objects, called).await
}

/// Makes the files of what was recorded, without joining anything.
///
/// # Errors
/// As [`record`].
pub async fn finalize_only(config: &Config, store: &dyn Store) -> Result<ExitCode, RunError> {
    let objects = Objects::open(&config.recordings_url).await?;
    let sent_at = Instant::now();
    let record = match bind(store, &config.instance, (config.attempt, &config.run_id), Purpose::Finalize, Utc::now()).await? {
        Bind::Bound(record) | Bind::Cancelled(record) | Bind::Unusable(record, _) => record,
        Bind::Fenced(reason) => return Ok(fenced(&reason)),
    };
    finalize_bound(config, Keeper::new(store, record, config.timings, sent_at), &objects).await
}

async fn finalize_bound(config: &Config, mut keeper: Keeper<'_>, objects: &Objects) -> Result<ExitCode, RunError> {
    let outcome = keeper.facts().outcome.clone().unwrap_or_else(|| Outcome::new(OutcomeKind::ManagerLost));
    let place = Workplace { folder: config.scratch.join("finalize"), own: None };
    ending::make_files_and_settle(config, &mut keeper, objects, &place, outcome).await
}

/// True where an earlier attempt recorded something: then there are files to make, whatever became of the meeting.
fn was_recorded(record: &InstanceRecord) -> bool {
    record.instance.facts.recording.as_ref().is_some_and(|recording| recording.segments > 0)
}

fn fenced(reason: &str) -> ExitCode {
    tracing::info!(reason, "fenced: leaving the instance to its owner");
    ExitCode::Fenced
}

fn call_key(keeper: &Keeper<'_>) -> CallKey {
    CallKey::derive(&keeper.facts().creator_organization_id, &keeper.facts().meeting_url)
}

/// A meeting cancelled before this run joined: ended, unless an earlier attempt recorded something.
async fn cancelled(
    config: &Config,
    store: &dyn Store,
    record: InstanceRecord,
    objects: &Objects,
    sent_at: Instant,
) -> Result<ExitCode, RunError> {
    if !was_recorded(&record) {
        return settled(store, &record, Step::Cancel, Outcome::new(OutcomeKind::Cancelled)).await;
    }
    let mut keeper = Keeper::new(store, record, config.timings, sent_at);
    let place = Workplace { folder: config.scratch.join("finalize"), own: None };
    keeper.step(Step::Finalize, Note::new("manager", "finalizing"), |_| {}).await;
    ending::make_files_and_settle(config, &mut keeper, objects, &place, Outcome::new(OutcomeKind::AskedToLeave)).await
}

async fn settled(store: &dyn Store, record: &InstanceRecord, step: Step, outcome: Outcome) -> Result<ExitCode, RunError> {
    let note = Note::new("manager", "settled");
    match settle::settle(store, record, step, outcome, Vec::new(), note, Utc::now()).await? {
        Advanced::Applied(_) => Ok(ExitCode::Settled),
        // Somebody else was faster; the controller looks at what is there now.
        Advanced::Conflict | Advanced::Illegal(_) => Ok(ExitCode::RefusedBeforeJoin),
    }
}

/// Reserves where the files go, before anything is recorded. Answers an exit code where the run has to end.
async fn reserve_path(keeper: &mut Keeper<'_>) -> Result<Option<ExitCode>, RunError> {
    let facts = keeper.facts();
    let day = facts.start_time.or(facts.created_at).unwrap_or_else(Utc::now);
    let instance = keeper.record().instance.clone();
    let wanted =
        facts.gcs_path.clone().unwrap_or_else(|| ObjectPrefix::default_for(&facts.creator_organization_id, day, &instance.id));
    let reserved = paths::reserve(keeper.store(), &instance, &wanted).await?;
    if keeper.facts().gcs_path.as_ref() == Some(&reserved) {
        return Ok(None);
    }
    match keeper.set_path(&reserved).await {
        Kept::Done => Ok(None),
        Kept::Fenced(reason) => Ok(Some(fenced(&reason))),
        Kept::Refused => Ok(Some(ExitCode::RefusedBeforeJoin)),
        Kept::Unreachable(error) => Err(error.into()),
    }
}

enum Taken {
    Ours,
    /// The call is not joined; what an earlier attempt recorded still becomes files.
    GaveUp(Outcome),
    Given(ExitCode),
}

/// Waits for the live-call slot: its holder leaves once its own end has passed and somebody waits. Gives up when this
/// meeting's own end has passed.
async fn take_slot(keeper: &mut Keeper<'_>, key: &CallKey, stop: &mut watch::Receiver<bool>) -> Result<Taken, RunError> {
    let instance = &keeper.record().instance;
    let holder = Holder {
        instance: instance.id.clone(),
        attempt: keeper.facts().run.as_ref().map_or(0, |run| run.attempt),
        start_time: keeper.facts().start_time,
    };
    let gives_up = keeper.facts().end_time.unwrap_or_else(|| Utc::now() + chrono::Duration::minutes(15));
    loop {
        match acquire(keeper.store(), key, &holder, Utc::now()).await? {
            Slot::Held => return Ok(Taken::Ours),
            Slot::Lost => {}
            // One occurrence under two ids: its meetings get the holder's result.
            Slot::Taken { holder: other, start_time }
                if !is_later_occurrence(holder.start_time, start_time) && !was_recorded(keeper.record()) =>
            {
                tracing::info!(holder = %other, "another bot of this organisation is in this call; handing the meetings over");
                if let Advanced::Applied(_) = join_holder(keeper.store(), keeper.record(), &other, Utc::now()).await? {
                    return Ok(Taken::Given(ExitCode::Settled));
                }
                keeper.refresh().await;
            }
            Slot::Taken { holder: other, .. } => {
                tracing::info!(holder = %other, "another bot of this organisation is in this call; waiting for it to leave");
                if Utc::now() > gives_up {
                    let why =
                        Outcome::with_detail(OutcomeKind::Missed, format!("Bot {other} stayed in this call until its end."));
                    return Ok(Taken::GaveUp(why));
                }
            }
        }
        tokio::select! {
            () = sleep(SLOT_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(Taken::Given(ExitCode::Terminated)),
        }
        match keeper.renew_if_due(None).await {
            Kept::Fenced(reason) => return Ok(Taken::Given(fenced(&reason))),
            _ if keeper.facts().cancel_requested_at.is_some() => {
                return Ok(Taken::GaveUp(Outcome::new(OutcomeKind::Cancelled)));
            }
            _ => {}
        }
    }
}
