//! Before the join: the run lease, the path, the live-call slot. Nothing here is lost where it is cut off by SIGTERM: another
//! attempt binds, reserves the same path and takes the same slot over.

use std::sync::Arc;
use std::time::Duration;

use bot_model::exit_code::ExitCode;
use bot_model::ids::{CallKey, InstanceId};
use bot_model::lifecycle::{Phase, Step};
use bot_model::object_prefix::ObjectPrefix;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::guard::Guard;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::run::{Bind, Purpose, bind};
use bot_store::protocol::slot::{Holder, Slot, acquire, is_later_occurrence, join_holder};
use bot_store::protocol::{Advanced, InstanceRecord, Note, paths, settle};
use bot_store::{Store, StoreError, clock};
use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use super::{RunError, fenced};
use crate::config::Config;
use crate::keeper::{Keeper, Kept};
use crate::retry::{Pauses, retried, slow, verb_within};

/// How often a taken live-call slot is asked for again.
const SLOT_EVERY: Duration = Duration::from_secs(2);

/// How long a run tries to reach the store before it is given back to the controller.
const STUBBORN: Duration = Duration::from_secs(120);
/// Longest pause between those tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What a run is to do, once it knows.
pub enum Prepared<'a> {
    /// Join the call; the slot is ours.
    Join(Box<Keeper<'a>>, CallKey),
    /// Join nothing: there is a recording to finish.
    Finalize(Box<Keeper<'a>>, Outcome),
    /// Nothing more.
    Over(ExitCode),
}

/// Opens the store, waiting for it if need be.
pub(super) async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let open = || async {
        let opened = bot_store::connect::open(&config.store_url, config.naming.clone()).await;
        opened.inspect_err(|error| tracing::warn!(%error, "the store is not open yet"))
    };
    stubbornly("open", open).await
}

/// Binds, reserves the path, and waits for the call's slot. `has_left` says that earlier runs left segments on this disk.
pub async fn prepare<'a>(config: &Config, store: &'a dyn Store, has_left: bool) -> Result<Prepared<'a>, RunError> {
    let sent_at = Instant::now();
    let run = (config.attempt, config.run_id.as_str());
    let bound = stubbornly("bind", || bind(store, &config.instance, run, Purpose::Record, clock::now())).await?;
    if !matches!(bound, Bind::Fenced(_)) {
        KillPoint::RunLeased.pass(&config.run_id).await;
    }
    let has_recording = |record: &InstanceRecord| has_left || record.instance.may_be_recorded();
    let kept = |record| Keeper::new(store, record, config.timings, sent_at);
    match bound {
        Bind::Fenced(reason) => Ok(Prepared::Over(fenced(&reason))),
        // Restarted after its call: the bot must not join again.
        Bind::Bound(record) if record.instance.phase == Phase::Finalizing => {
            let outcome = record.instance.facts.outcome.clone().unwrap_or_else(|| Outcome::new(OutcomeKind::ManagerLost));
            Ok(Prepared::Finalize(Box::new(kept(record)), outcome))
        }
        Bind::Bound(record) => reserve_and_wait(kept(record), has_left).await,
        Bind::Cancelled(record) if has_recording(&record) => {
            finalize_instead(kept(record), Outcome::new(OutcomeKind::AskedToLeave)).await
        }
        Bind::Unusable(record, reason) if has_recording(&record) => {
            finalize_instead(kept(record), Outcome::with_detail(OutcomeKind::InvalidDocument, reason)).await
        }
        Bind::Cancelled(record) => settled(store, &record, Step::Cancel, Outcome::new(OutcomeKind::Cancelled)).await,
        Bind::Unusable(record, reason) => {
            settled(store, &record, Step::Fail, Outcome::with_detail(OutcomeKind::InvalidDocument, reason)).await
        }
    }
}

async fn reserve_and_wait(mut keeper: Keeper<'_>, has_left: bool) -> Result<Prepared<'_>, RunError> {
    if let Some(code) = reserve_path(&mut keeper).await? {
        return Ok(Prepared::Over(code));
    }
    let key = keeper.facts().call_key.clone().unwrap_or_else(|| call_key(&keeper));
    match take_slot(&mut keeper, &key, has_left).await? {
        Taken::Ours => match note_join(&mut keeper).await? {
            None => Ok(Prepared::Join(Box::new(keeper), key)),
            Some(code) => Ok(Prepared::Over(code)),
        },
        Taken::Given(code) => Ok(Prepared::Over(code)),
        Taken::GaveUp(outcome) if has_left || keeper.record().instance.may_be_recorded() => {
            finalize_instead(keeper, outcome).await
        }
        Taken::GaveUp(outcome) => {
            let step = if outcome.kind == OutcomeKind::Cancelled { Step::Cancel } else { Step::Fail };
            settled(keeper.store(), keeper.record(), step, outcome).await
        }
    }
}

/// What an earlier attempt recorded becomes files, whatever became of the meeting.
async fn finalize_instead(mut keeper: Keeper<'_>, outcome: Outcome) -> Result<Prepared<'_>, RunError> {
    match keeper.step(Step::Finalize, Note::new("manager", "finalizing"), |facts| facts.outcome = Some(outcome.clone())).await {
        Kept::Done => Ok(Prepared::Finalize(Box::new(keeper), outcome)),
        Kept::Fenced(reason) => Ok(Prepared::Over(fenced(&reason))),
        Kept::Refused => Ok(Prepared::Over(ExitCode::Fenced)),
        Kept::Unreachable(error) => Err(error.into()),
    }
}

fn call_key(keeper: &Keeper<'_>) -> CallKey {
    CallKey::derive(&keeper.facts().creator_organization_id, &keeper.facts().meeting_url)
}

async fn settled<'a>(store: &dyn Store, record: &InstanceRecord, step: Step, outcome: Outcome) -> Result<Prepared<'a>, RunError> {
    let note = Note::new("manager", "settled");
    let settling = settle::settle(store, record, step, outcome, Vec::new(), note, clock::now());
    Ok(Prepared::Over(match verb_within("settle", settling).await? {
        Advanced::Applied(_) => ExitCode::Settled,
        // Somebody else was faster; the controller looks at what is there now.
        Advanced::Conflict | Advanced::Illegal(_) => ExitCode::RefusedBeforeJoin,
    }))
}

/// Reserves where the files go, before anything is recorded. Answers an exit code where the run has to end.
async fn reserve_path(keeper: &mut Keeper<'_>) -> Result<Option<ExitCode>, RunError> {
    let facts = keeper.facts();
    if facts.gcs_path.is_some() && facts.recording.is_some() {
        // An earlier attempt recorded there: that is where its segments are looked for.
        return Ok(None);
    }
    let day = facts.start_time.or(facts.created_at).unwrap_or_else(clock::now);
    let instance = keeper.record().instance.clone();
    let wanted =
        facts.gcs_path.clone().unwrap_or_else(|| ObjectPrefix::default_for(&facts.creator_organization_id, day, &instance.id));
    let store = keeper.store();
    let reserved = stubbornly("reserve", || paths::reserve(store, &instance, &wanted)).await?;
    if keeper.facts().gcs_path.as_ref() == Some(&reserved) {
        return Ok(None);
    }
    let mut pauses = Pauses::over(STUBBORN, LONGEST_PAUSE);
    loop {
        let kept = keeper.set_path(&reserved).await;
        if let Some(written) = noted(kept, &mut pauses).await {
            return written;
        }
    }
}

/// Writes that the join comes next, before it does. Answers an exit code where the run has to end.
async fn note_join(keeper: &mut Keeper<'_>) -> Result<Option<ExitCode>, RunError> {
    if !Guard::JoinNoted.stands() {
        return Ok(None);
    }
    let mut pauses = Pauses::over(STUBBORN, LONGEST_PAUSE);
    loop {
        let kept = keeper.set_joining().await;
        if let Some(written) = noted(kept, &mut pauses).await {
            return written;
        }
    }
}

/// What follows from a write before the join: the run goes on, ends with an exit code, fails, or (`None`, after a pause) tries again.
async fn noted(kept: Kept, pauses: &mut Pauses) -> Option<Result<Option<ExitCode>, RunError>> {
    match kept {
        Kept::Done => Some(Ok(None)),
        Kept::Fenced(reason) => Some(Ok(Some(fenced(&reason)))),
        Kept::Refused => Some(Ok(Some(ExitCode::RefusedBeforeJoin))),
        Kept::Unreachable(error) => match pauses.next().filter(|_| error.is_transient()) {
            Some(pause) => {
                sleep(pause).await;
                None
            }
            None => Some(Err(error.into())),
        },
    }
}

/// Tries on while the store is away: a pod that has started is worth more than a fresh one that starts all over.
async fn stubbornly<T, F>(operation: &'static str, call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    retried(STUBBORN, StoreError::is_transient, || slow(operation), || verb_within(operation, call())).await
}

enum Taken {
    Ours,
    /// The call is not joined; what an earlier attempt recorded still becomes files.
    GaveUp(Outcome),
    Given(ExitCode),
}

/// Waits for the live-call slot: its holder leaves once its own end has passed and somebody waits. Gives up when this
/// meeting's own end has passed.
async fn take_slot(keeper: &mut Keeper<'_>, key: &CallKey, has_left: bool) -> Result<Taken, RunError> {
    let holder = Holder {
        instance: keeper.record().instance.id.clone(),
        attempt: keeper.facts().run.as_ref().map_or(0, |run| run.attempt),
        start_time: keeper.facts().start_time,
    };
    let gives_up = keeper.facts().end_time.unwrap_or_else(|| clock::now() + chrono::Duration::minutes(15));
    loop {
        match verb_within("slot", acquire(keeper.store(), key, &holder, clock::now())).await {
            Ok(Slot::Held) => return Ok(Taken::Ours),
            Ok(Slot::Lost) => {}
            Ok(Slot::Taken { holder: other, start_time }) => {
                let is_twin = !is_later_occurrence(holder.start_time, start_time);
                if is_twin && !has_left && !keeper.record().instance.may_be_recorded() {
                    if let Some(code) = hand_over(keeper, &other).await? {
                        return Ok(Taken::Given(code));
                    }
                } else if let Some(outcome) = too_late(&other, gives_up) {
                    return Ok(Taken::GaveUp(outcome));
                }
            }
            Err(error) if error.is_transient() && clock::now() < gives_up => {
                tracing::warn!(%error, "the live-call slot cannot be asked for yet");
            }
            Err(error) => return Err(error.into()),
        }
        sleep(SLOT_EVERY).await;
        match keeper.renew_if_due(None).await {
            Kept::Fenced(reason) => return Ok(Taken::Given(fenced(&reason))),
            _ if keeper.facts().cancel_requested_at.is_some() => {
                return Ok(Taken::GaveUp(Outcome::new(OutcomeKind::Cancelled)));
            }
            _ => {}
        }
    }
}

/// One occurrence under two ids: its meetings get the holder's result. `None` asks to look at the slot again.
async fn hand_over(keeper: &mut Keeper<'_>, other: &InstanceId) -> Result<Option<ExitCode>, StoreError> {
    tracing::info!(holder = %other, "another bot of this organisation is in this call; handing the meetings over");
    let joining = join_holder(keeper.store(), keeper.record(), other, clock::now());
    match verb_within("join_holder", joining).await {
        Ok(Advanced::Applied(_)) => return Ok(Some(ExitCode::Settled)),
        Ok(Advanced::Conflict | Advanced::Illegal(_)) => {}
        Err(error) if error.is_transient() => tracing::warn!(%error, "the meetings could not be handed over yet"),
        Err(error) => return Err(error),
    }
    keeper.refresh().await;
    Ok(None)
}

fn too_late(other: &InstanceId, gives_up: DateTime<Utc>) -> Option<Outcome> {
    tracing::info!(holder = %other, "another bot of this organisation is in this call; waiting for it to leave");
    let detail = format!("Bot {other} stayed in this call until its end.");
    (clock::now() > gives_up).then(|| Outcome::with_detail(OutcomeKind::Missed, detail))
}
