//! A manager and its bot in a simulated pod. Bind, path, slot, lease and every commit are the manager's own code; the call, the
//! segments and the files are models of what its `record` and `finalize` do, for those need a browser, a disk and ffmpeg.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bot_model::document::{Artifact, Facts, FrozenList, FrozenPart, RecordingProgress};
use bot_model::exit_code::ExitCode;
use bot_model::ids::InstanceId;
use bot_model::lease::LeaseTimings;
use bot_model::lifecycle::{Phase, Step};
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::clock;
use bot_store::guard::Guard;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::run::{Bind, Purpose, bind};
use bot_store::protocol::settle::settle;
use bot_store::protocol::slot::{release, somebody_waits};
use bot_store::protocol::{Advanced, Note};
use chrono::{DateTime, Utc};
use controller::launch::RunCommand;
use manager::config::Config;
use manager::keeper::{Keeper, Kept};
use manager::record::{Prepared, prepare, without_files};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::World;
use super::actor::Actor;
use super::bucket::Segment;
use super::plan::between;
use super::store::SimStore;
use super::truth::fingerprint;

/// From one closed segment to the next.
const SEGMENT: Duration = Duration::from_secs(4);
/// After a SIGTERM, to carry out what lies on the disk.
const DRAIN: Duration = Duration::from_secs(60);

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

/// Why a stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    CallOver,
    Asked,
    Fenced,
    Stopped,
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

/// One stay in the call.
struct Stay<'p> {
    pod: &'p Pod,
    place: usize,
    call: usize,
    path: String,
    admitted_at: Option<DateTime<Utc>>,
    left_at: Option<DateTime<Utc>>,
    earlier: Option<RecordingProgress>,
    closed: u32,
    pending: Vec<Segment>,
    carried: u64,
}

impl<'p> Stay<'p> {
    fn new(pod: &'p Pod, keeper: &Keeper<'_>) -> Self {
        let native = keeper.facts().meeting_url.native_id();
        Self {
            pod,
            place: usize::MAX,
            call: native.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default(),
            path: keeper.facts().gcs_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            admitted_at: None,
            left_at: None,
            earlier: keeper.facts().recording.clone(),
            closed: 0,
            pending: Vec::new(),
            carried: 0,
        }
    }

    fn progress(&self) -> Option<RecordingProgress> {
        let earlier = self.earlier.as_ref().filter(|earlier| earlier.segments > 0);
        let started_at = earlier.map(|earlier| earlier.started_at).or(self.admitted_at)?;
        let (parts, segments) = earlier.map_or((0, 0), |earlier| (earlier.parts, earlier.segments));
        Some(RecordingProgress {
            started_at,
            ended_at: self.left_at,
            parts: parts + u32::from(self.carried > 0),
            segments: segments + self.carried,
            bytes: 0,
        })
    }

    /// Without a bot it waits for what becomes of it: the cluster has forgotten it already.
    async fn follow(&mut self, keeper: &mut Keeper<'_>, stop: &mut watch::Receiver<bool>) -> Left {
        while !keeper.is_fresh() || self.pod.actor.has_no_bot() {
            if *stop.borrow() {
                return Left::Stopped;
            }
            if let Some(left) = self.keep(keeper).await {
                return left;
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.place = self.pod.world.truth.joins(self.call, &self.pod.uid);
        KillPoint::Joined.pass(&self.pod.uid).await;
        let mut next = Instant::now() + Duration::from_secs(between(2, 12));
        let left = loop {
            tokio::select! {
                biased;
                () = stopped(stop) => break Left::Stopped,
                () = sleep(Duration::from_secs(1)) => {}
            }
            if self.pod.actor.has_no_bot() {
                self.last_segment();
                self.carry().await;
            } else if Instant::now() >= next {
                next += SEGMENT;
                self.segment(keeper).await;
            } else if !self.pending.is_empty() && Guard::LiveUpload.stands() {
                self.carry().await;
            }
            if let Some(left) = self.keep(keeper).await {
                break left;
            }
            if self.pod.world.is_over(self.call) && !self.pod.actor.has_no_bot() {
                break Left::CallOver;
            }
        };
        let leaves = Duration::from_secs(between(1, 9));
        sleep(leaves).await;
        self.pod.world.truth.leaves(self.place, Duration::ZERO);
        self.left_at = Some(clock::now());
        left
    }

    /// Admitted, and from then on a segment is closed each time.
    async fn segment(&mut self, keeper: &mut Keeper<'_>) {
        if self.admitted_at.is_none() {
            self.admitted_at = Some(clock::now());
        } else {
            self.close();
        }
        if matches!(keeper.record().instance.phase, Phase::Joining | Phase::WaitingRoom) {
            keeper.step(Step::Record, Note::new("manager", "recording"), |_| ()).await;
        }
        if Guard::LiveUpload.stands() {
            self.carry().await;
        }
    }

    /// The bot was ended, which closes what was open. What is on the disk is carried out as long as the manager lives.
    fn last_segment(&mut self) {
        if self.admitted_at.is_some() && self.left_at.is_none() {
            self.left_at = Some(clock::now());
            self.close();
        }
    }

    fn close(&mut self) {
        self.closed += 1;
        let segment = (self.pod.attempt, self.pod.uid.clone(), self.closed);
        self.pod.world.truth.captured(&self.pod.instance, segment.clone());
        self.pending.push(segment);
    }

    async fn carry(&mut self) {
        let world = &self.pod.world;
        let mut left = Vec::new();
        for segment in std::mem::take(&mut self.pending) {
            match world.bucket.put(&self.pod.actor, &world.storage, &self.path, segment.clone()).await {
                Ok(()) => {
                    self.carried += 1;
                    if self.carried == 1 {
                        KillPoint::FirstPart.pass(&self.pod.uid).await;
                    }
                }
                Err(_) => left.push(segment),
            }
        }
        self.pending = left;
    }

    async fn keep(&mut self, keeper: &mut Keeper<'_>) -> Option<Left> {
        let progress = self.progress();
        if let Kept::Fenced(_) = keeper.renew_if_due(progress.as_ref()).await {
            return Some(Left::Fenced);
        }
        if keeper.facts().cancel_requested_at.is_some() {
            return Some(Left::Asked);
        }
        let facts = keeper.facts();
        let is_past = facts.end_time.is_some_and(|end| end < clock::now());
        match &facts.call_key {
            Some(key) if is_past => {
                let waits = somebody_waits(keeper.store(), key, &self.pod.instance).await.unwrap_or(false);
                waits.then_some(Left::Asked)
            }
            _ => None,
        }
    }

    /// Until everything is in the bucket; only a SIGTERM bounds it.
    async fn drain(&mut self, keeper: &mut Keeper<'_>, stop: &mut watch::Receiver<bool>) -> bool {
        let begun = Instant::now();
        while !self.pending.is_empty() {
            if *stop.borrow() && begun.elapsed() > DRAIN {
                self.pod.world.truth.killed(&self.pod.uid);
                return false;
            }
            self.carry().await;
            let progress = self.progress();
            let _ = keeper.renew_if_due(progress.as_ref()).await;
            sleep(Duration::from_millis(500)).await;
        }
        true
    }
}

async fn finalize(pod: &Pod, keeper: &mut Keeper<'_>, outcome: Outcome, stop: &mut watch::Receiver<bool>) -> ExitCode {
    let making = Box::pin(make(pod, keeper));
    let made = tokio::select! {
        biased;
        () = stopped(stop) => None,
        made = making => Some(made),
    };
    match made {
        Some(Ok(artifacts)) => {
            KillPoint::Verified.pass(&pod.uid).await;
            settled(pod, keeper, Step::Complete, outcome, artifacts, stop).await
        }
        Some(Err(Unmade::Fenced)) => ExitCode::Fenced,
        Some(Err(Unmade::Nothing)) => {
            let (step, outcome) = without_files(keeper.facts(), outcome);
            settled(pod, keeper, step, outcome, Vec::new(), stop).await
        }
        Some(Err(Unmade::Later)) | None => {
            keeper.end_run(None).await;
            ExitCode::FinalizeNeeded
        }
    }
}

enum Unmade {
    Fenced,
    Nothing,
    Later,
}

/// In the order of the manager's own `finalize`.
async fn make(pod: &Pod, keeper: &mut Keeper<'_>) -> Result<Vec<Artifact>, Unmade> {
    let Some(path) = keeper.facts().gcs_path.clone() else { return Err(Unmade::Nothing) };
    let mut list = standing_list(pod, keeper, path.as_str()).await?;
    for _ in 0..3 {
        let segments = segments_of(&list);
        if segments.is_empty() {
            return Err(Unmade::Nothing);
        }
        let work = sleep(Duration::from_millis(between(300, 6_000)));
        keeper.keeping(work).await.map_err(|_| Unmade::Fenced)?;
        KillPoint::Converted.pass(&pod.uid).await;
        publish(pod, keeper, path.as_str(), &list, &segments).await?;
        let standing = standing_list(pod, keeper, path.as_str()).await?;
        if standing.sha256 == list.sha256 {
            return Ok(vec![artifact(&path, &segments)]);
        }
        list = standing;
    }
    Err(Unmade::Later)
}

/// What the files are to be made of. Without the frozen list it is whatever lies there.
async fn standing_list(pod: &Pod, keeper: &mut Keeper<'_>, path: &str) -> Result<FrozenList, Unmade> {
    let listed = listed(pod, path).await.ok_or(Unmade::Later)?;
    let there = frozen(&listed);
    if !Guard::FrozenList.stands() {
        return Ok(there);
    }
    let froze = match keeper.facts().frozen.clone() {
        None => keeper.freeze(&there).await,
        Some(stands) if segments_of(&stands).len() < listed.len() => keeper.freeze_again(&stands.sha256, &there).await,
        Some(stands) => return Ok(stands),
    };
    match froze {
        Kept::Done => Ok(keeper.facts().frozen.clone().unwrap_or(there)),
        Kept::Fenced(_) => Err(Unmade::Fenced),
        Kept::Refused | Kept::Unreachable(_) => Err(Unmade::Later),
    }
}

/// The generation first, then whether the run and the list still stand, and then exactly that generation is replaced.
async fn publish(pod: &Pod, keeper: &mut Keeper<'_>, path: &str, list: &FrozenList, segments: &[Segment]) -> Result<(), Unmade> {
    let world = &pod.world;
    let over = world.bucket.head(&pod.actor, &world.storage, path).await.map_err(|_| Unmade::Later)?.generation;
    match keeper.refresh().await {
        Kept::Fenced(_) => return Err(Unmade::Fenced),
        Kept::Unreachable(_) => return Err(Unmade::Later),
        Kept::Done | Kept::Refused => {}
    }
    let standing = keeper.facts().frozen.as_ref().map(|standing| standing.sha256.clone());
    if Guard::FrozenList.stands() && standing.as_ref() != Some(&list.sha256) {
        return Err(Unmade::Later);
    }
    match world.bucket.publish(&pod.actor, &world.storage, path, over, (segments, standing)).await {
        Ok(true) => {}
        Ok(false) | Err(_) => return Err(Unmade::Later),
    }
    KillPoint::Uploaded.pass(&pod.uid).await;
    let read_back = world.bucket.head(&pod.actor, &world.storage, path).await.map_err(|_| Unmade::Later)?;
    if read_back.segments == segments { Ok(()) } else { Err(Unmade::Later) }
}

async fn listed(pod: &Pod, path: &str) -> Option<Vec<Segment>> {
    for _ in 0..4 {
        if let Some(found) = listed_now(pod, path).await {
            return Some(found);
        }
        sleep(Duration::from_secs(2)).await;
    }
    None
}

async fn listed_now(pod: &Pod, path: &str) -> Option<Vec<Segment>> {
    let found = pod.world.bucket.list(&pod.actor, &pod.world.storage, path).await.ok()?;
    Some(found.into_iter().collect())
}

/// Runs of numbers without a gap are parts, as the manager's own lists have them.
fn frozen(segments: &[Segment]) -> FrozenList {
    let mut parts: Vec<FrozenPart> = Vec::new();
    for (attempt, run, number) in segments {
        let follows = |part: &FrozenPart| {
            part.run == *run && u64::from(part.first_seq) + part.segment_crc32c.len() as u64 / 8 == u64::from(*number)
        };
        match parts.last_mut().filter(|part| follows(part)) {
            Some(part) => part.segment_crc32c += "00000000",
            None => parts.push(FrozenPart {
                attempt: *attempt,
                run: run.clone(),
                part: 0,
                info_crc32c: 0,
                init_crc32c: 0,
                quality_crc32c: String::new(),
                first_seq: *number,
                segment_crc32c: "00000000".into(),
            }),
        }
    }
    FrozenList { sha256: fingerprint(segments), parts }
}

fn segments_of(list: &FrozenList) -> Vec<Segment> {
    let of = |part: &FrozenPart| {
        let count = u32::try_from(part.segment_crc32c.len() / 8).unwrap_or_default();
        let (attempt, run, first) = (part.attempt, part.run.clone(), part.first_seq);
        (0..count).map(move |index| (attempt, run.clone(), first + index)).collect::<Vec<_>>()
    };
    list.parts.iter().flat_map(of).collect()
}

fn artifact(path: &ObjectPrefix, segments: &[Segment]) -> Artifact {
    Artifact {
        name: ObjectName::Video,
        object: format!("sim://{path}/video.mp4"),
        bytes: segments.len() as u64,
        crc32c: fingerprint(segments),
        duration_secs: Some(segments.len() as f64 * SEGMENT.as_secs_f64()),
        codecs: Vec::new(),
    }
}

/// Commits the end, as long as it takes within five minutes.
async fn settled(
    pod: &Pod,
    keeper: &mut Keeper<'_>,
    step: Step,
    outcome: Outcome,
    artifacts: Vec<Artifact>,
    stop: &mut watch::Receiver<bool>,
) -> ExitCode {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(300) && !*stop.borrow() {
        if keeper.is_fresh() {
            let note = Note::new("manager", "settled");
            match settle(keeper.store(), keeper.record(), step, outcome.clone(), artifacts.clone(), note, clock::now()).await {
                Ok(Advanced::Applied(_)) => {
                    KillPoint::Settled.pass(&pod.uid).await;
                    KillPoint::CleanedUp.pass(&pod.uid).await;
                    return ExitCode::Settled;
                }
                Ok(Advanced::Illegal(_)) => return ExitCode::Fenced,
                Ok(Advanced::Conflict) | Err(_) => {}
            }
        }
        if let Kept::Fenced(_) = keeper.refresh().await {
            return ExitCode::Fenced;
        }
        sleep(Duration::from_secs(1)).await;
    }
    ExitCode::FinalizeNeeded
}
