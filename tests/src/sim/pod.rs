//! A manager and its bot in a simulated pod. Bind, path, slot, lease and every commit are the manager's own code; the call, the
//! segments and the files are models of what its `record` and `finalize` do, for those need a browser, a disk and ffmpeg.

mod files;
mod stay;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bot_model::document::{Facts, RecordingProgress};
use bot_model::exit_code::ExitCode;
use bot_model::ids::InstanceId;
use bot_model::lease::LeaseTimings;
use bot_model::lifecycle::Step;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::clock;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::Note;
use bot_store::protocol::run::{Bind, Purpose, bind};
use bot_store::protocol::slot::release;
use controller::launch::RunCommand;
use manager::config::Config;
use manager::keeper::{Keeper, Kept};
use manager::record::{Prepared, prepare};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::World;
use super::actor::Actor;
use super::store::SimStore;
use files::{finalize, listed, settled};
use stay::{Left, Stay};

/// From one closed segment to the next.
const SEGMENT: Duration = Duration::from_secs(4);
/// What a pod is told.
pub struct Pod {
    /// Where it runs.
    pub world: Arc<World>,
    /// For whom.
    pub instance: InstanceId,
    /// Of which attempt.
    pub attempt: u32,
    /// What it is to do.
    pub command: RunCommand,
    /// Its own id.
    pub uid: String,
    /// Its way to the world.
    pub actor: Arc<Actor>,
}

/// Runs it to its end.
pub async fn run(pod: &Pod, mut stop: watch::Receiver<bool>) -> ExitCode {
    let store = pod.world.documents.seen_by(&pod.actor, &pod.world.weather);
    match pod.command {
        RunCommand::Record => record(pod, &store, &mut stop).await,
        RunCommand::Finalize => {
            let sent_at = Instant::now();
            let bound = bind(&store, &pod.instance, (pod.attempt, &pod.uid), Purpose::Finalize, clock::now()).await;
            match bound {
                Ok(Bind::Bound(record) | Bind::Cancelled(record) | Bind::Unusable(record, _)) => {
                    let outcome = record.instance.facts.outcome.clone().unwrap_or_else(|| Outcome::new(OutcomeKind::ManagerLost));
                    KillPoint::RunLeased.pass(&pod.uid).await;
                    let mut keeper = Keeper::new(&store, record, LeaseTimings::default(), sent_at);
                    finalize(pod, &mut keeper, outcome, &mut stop).await
                }
                Ok(Bind::Fenced(_)) => ExitCode::Fenced,
                Err(_) => ExitCode::RefusedBeforeJoin,
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn record(pod: &Pod, store: &SimStore, stop: &mut watch::Receiver<bool>) -> ExitCode {
    let config = config(pod);
    let prepared = tokio::select! {
        biased;
        () = stopped(stop) => return ExitCode::Terminated,
        prepared = prepare(&config, store, false) => prepared,
    };
    let (mut keeper, key) = match prepared {
        Ok(Prepared::Over(code)) => return code,
        Ok(Prepared::Finalize(mut keeper, outcome)) => return finalize(pod, &mut keeper, outcome, stop).await,
        Ok(Prepared::Join(keeper, key)) => (*keeper, key),
        Err(_) => return ExitCode::RefusedBeforeJoin,
    };
    let mut stay = Stay::new(pod, &keeper);
    let left = stay.follow(&mut keeper, stop).await;
    let is_drained = stay.drain(&mut keeper, stop).await;
    KillPoint::Stopped.pass(&pod.uid).await;
    let _ = release(store, &key, &pod.instance, pod.attempt).await;
    let progress = stay.progress();
    match left {
        Left::Fenced => ExitCode::Fenced,
        Left::Stopped if !is_drained => ExitCode::Terminated,
        Left::Stopped => {
            keeper.end_run(progress.as_ref()).await;
            if progress.is_some_and(|progress| progress.segments > 0) { ExitCode::FinalizeNeeded } else { ExitCode::Terminated }
        }
        Left::CallOver | Left::Asked => {
            let kind = if left == Left::Asked { OutcomeKind::AskedToLeave } else { OutcomeKind::HostEnded };
            ended(pod, keeper, Outcome::new(kind), progress, stop).await
        }
    }
}

fn config(pod: &Pod) -> Config {
    let attempt = pod.attempt.to_string();
    let pairs: BTreeMap<&str, &str> = BTreeMap::from([
        ("BOT_INSTANCE_ID", pod.instance.as_str()),
        ("ATTEMPT", &attempt),
        ("RUN_ID", &pod.uid),
        ("STORE_URL", "sqlite:/simulated"),
        ("RECORDINGS_URL", "file:///simulated"),
        ("SCRATCH_DIR", "/simulated"),
    ]);
    match Config::read(|name| pairs.get(name).map(|value| (*value).to_owned())) {
        Ok(config) => config,
        Err(problems) => unreachable!("{problems:?}"),
    }
}

/// After a call that ended by itself.
async fn ended(
    pod: &Pod,
    mut keeper: Keeper<'_>,
    outcome: Outcome,
    progress: Option<RecordingProgress>,
    stop: &mut watch::Receiver<bool>,
) -> ExitCode {
    let mut progress = progress;
    if progress.as_ref().is_none_or(|progress| progress.segments == 0) {
        match of_earlier_runs(pod, &keeper).await {
            Some(found) => progress = found.or(progress),
            None => return ExitCode::FinalizeNeeded,
        }
    }
    if progress.as_ref().is_none_or(|progress| progress.segments == 0) {
        let kind = if outcome.kind == OutcomeKind::AskedToLeave { outcome.kind } else { OutcomeKind::EndedBeforeAdmission };
        return settled(pod, &mut keeper, Step::Fail, Outcome::new(kind), Vec::new(), stop).await;
    }
    for _ in 0..60 {
        let edit = |facts: &mut Facts| {
            facts.recording = progress.clone();
            facts.outcome = Some(outcome.clone());
            facts.finalize_attempts += 1;
        };
        match keeper.step(Step::Finalize, Note::new("manager", "left_the_call"), edit).await {
            Kept::Done => return finalize(pod, &mut keeper, outcome, stop).await,
            Kept::Fenced(_) | Kept::Refused => return ExitCode::Fenced,
            Kept::Unreachable(_) => sleep(Duration::from_secs(5)).await,
        }
    }
    ExitCode::FinalizeNeeded
}

/// What lies in the bucket of runs that could not say so; `None` where that cannot be told.
async fn of_earlier_runs(pod: &Pod, keeper: &Keeper<'_>) -> Option<Option<RecordingProgress>> {
    let Some(path) = keeper.facts().gcs_path.clone() else { return Some(None) };
    let segments = listed(pod, path.as_str()).await?.len() as u64;
    let started_at = clock::now();
    Some((segments > 0).then_some(RecordingProgress { started_at, ended_at: None, parts: 1, segments, bytes: 0 }))
}
