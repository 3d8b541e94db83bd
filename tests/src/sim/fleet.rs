//! Jobs and pods as Kubernetes keeps them: a Job's name is taken as long as it exists, its pod starts late, dies, is doubled, or
//! sits on a node that nobody hears of. Each controller sees it through its weather.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bot_model::ids::InstanceId;
use bot_store::clock::simulated::OnClock;
use bot_store::guard::Guard;
use bot_store::kill_point::KillPoint;
use controller::launch::{
    LaunchError, LaunchSpec, Launched, Launcher, Observed, RunCommand, RunKey, RunState, Trouble, TroubleKind,
};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::World;
use super::actor::{Actor, Fate, Weather, on_its_way};
use super::plan::{ahead, between, draws};
use super::pod::{self, Pod};

/// What runs.
pub struct Fleet {
    state: Mutex<State>,
    /// No `watch`: it wakes its receivers in a random order.
    changed: broadcast::Sender<()>,
    slots: usize,
}

#[derive(Default)]
struct State {
    jobs: BTreeMap<RunKey, Job>,
    pods: Vec<Live>,
    serial: u32,
    /// Managers that go on although their pod is gone.
    ghosts: u32,
}

struct Job {
    instance: InstanceId,
    command: RunCommand,
}

struct Live {
    key: RunKey,
    uid: String,
    actor: Arc<Actor>,
    stop: watch::Sender<bool>,
    task: Option<AbortHandle>,
    is_started: bool,
    node_is_lost: bool,
    /// The exit code, where there is one.
    over: Option<Option<i32>>,
}

/// The launcher of one controller.
pub struct SimLauncher {
    world: Weak<World>,
    weather: Arc<Weather>,
    actor: Arc<Actor>,
    news: tokio::sync::Mutex<broadcast::Receiver<()>>,
}

impl Fleet {
    /// Nothing runs; `slots` runs may at once.
    pub fn new(slots: usize) -> Self {
        Self { state: Mutex::default(), changed: broadcast::channel(16).0, slots }
    }

    /// Uids of the pods that are alive.
    pub fn alive(&self) -> Vec<String> {
        let state = self.lock();
        state.pods.iter().filter(|pod| pod.over.is_none() && !pod.node_is_lost).map(|pod| pod.uid.clone()).collect()
    }

    /// True where nothing runs, seen or unseen.
    pub fn is_still(&self) -> bool {
        self.alive().is_empty() && self.lock().ghosts == 0
    }

    /// Its clock is wrong.
    pub fn jump(&self, uid: &str, ahead: i64) {
        self.with(uid, |pod| pod.actor.jump(ahead));
    }

    /// SIGTERM.
    pub fn term(&self, uid: &str) {
        self.with(uid, |pod| {
            pod.stop.send_replace(true);
        });
    }

    /// It does not reach the store.
    pub fn cut(&self, uid: &str, secs: u64) {
        self.with(uid, |pod| pod.actor.cut(secs));
    }

    /// Aborts its task: nothing of it is done any more. False where that had been done before.
    fn abort(&self, uid: &str) -> bool {
        let mut was_there = false;
        self.with(uid, |pod| {
            if let Some(task) = pod.task.take() {
                task.abort();
                was_there = true;
            }
        });
        was_there
    }

    fn end(&self, uid: &str, code: Option<i32>) {
        self.with(uid, |pod| {
            pod.over.get_or_insert(code);
        });
        let _ = self.changed.send(());
    }

    fn with(&self, uid: &str, work: impl FnOnce(&mut Live)) {
        if let Some(pod) = self.lock().pods.iter_mut().find(|pod| pod.uid == uid) {
            work(pod);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn state_of(&self, key: &RunKey) -> (RunState, bool) {
        let pods: Vec<&Live> = self.pods.iter().filter(|pod| pod.key == *key).collect();
        let is_lost = pods.iter().any(|pod| pod.node_is_lost && pod.over.is_none());
        let state = if pods.iter().all(|pod| pod.over.is_some()) && !pods.is_empty() {
            match pods[0].over.flatten() {
                Some(code) => RunState::Ended { code: Some(code) },
                None if pods[0].node_is_lost => RunState::Lost,
                None => RunState::Ended { code: None },
            }
        } else if pods.iter().any(|pod| pod.is_started && pod.over.is_none()) {
            RunState::Running
        } else {
            RunState::Pending
        };
        (state, is_lost)
    }
}

impl World {
    /// A pod for a Job, which starts after a while.
    pub fn spawn_pod(self: &Arc<Self>, key: &RunKey, after: Duration) {
        let (stop, stopped) = watch::channel(false);
        let mut state = self.fleet.lock();
        let Some((instance, command)) = state.jobs.get(key).map(|job| (job.instance.clone(), job.command)) else { return };
        state.serial += 1;
        let uid = format!("r{}", state.serial);
        let wrong = if self.clocks_are_wrong { ahead() } else { 0 };
        let actor = Actor::new(&uid, Some((instance.clone(), key.attempt)), wrong);
        let pod =
            Pod { world: Arc::clone(self), instance, attempt: key.attempt, command, uid: uid.clone(), actor: Arc::clone(&actor) };
        let world = Arc::clone(self);
        let running = uid.clone();
        let task = tokio::spawn(OnClock::new(Arc::clone(&actor.skew), async move {
            sleep(after).await;
            world.fleet.with(&running, |pod| pod.is_started = true);
            let _ = world.fleet.changed.send(());
            let code = pod::run(&pod, stopped).await;
            world.fleet.end(&running, Some(i32::from(code.code())));
        }));
        let task = Some(task.abort_handle());
        let (is_started, node_is_lost, over) = (false, false, None);
        state.pods.push(Live { key: key.clone(), uid, actor, stop, task, is_started, node_is_lost, over });
    }

    /// kill -9 of a manager: its bot leaves when nobody has polled it for 45 s, and only then its pod is over.
    pub fn kill_pod(self: &Arc<Self>, uid: &str) {
        if !self.fleet.abort(uid) {
            return;
        }
        self.truth.killed(uid);
        let leaves = Duration::from_secs(between(0, 50));
        self.truth.leaves_all(uid, leaves);
        self.over_after(uid, leaves + Duration::from_secs(between(1, 5)));
    }

    /// Deleted by force: the cluster forgets it at once and its bot is dead, but its manager goes on.
    pub fn forget_pod(self: &Arc<Self>, uid: &str, frozen: u64, lives: u64) {
        let is_told = draws(500);
        let mut task = None;
        self.fleet.with(uid, |pod| {
            pod.actor.lose_bot();
            pod.actor.pause(frozen);
            task = pod.task.take();
            if is_told {
                pod.stop.send_replace(true);
            }
        });
        let Some(task) = task else { return };
        self.truth.killed(uid);
        self.truth.leaves_all(uid, Duration::ZERO);
        self.fleet.lock().ghosts += 1;
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(Duration::from_secs(frozen + lives)).await;
            task.abort();
            world.fleet.lock().ghosts -= 1;
        });
        self.fleet.end(uid, None);
    }

    /// A node dies: its bot is gone at once, and Kubernetes finds out after a while.
    pub fn lose_node(self: &Arc<Self>, uid: &str, known_after: u64) {
        if self.fleet.abort(uid) {
            self.truth.killed(uid);
        }
        self.truth.leaves_all(uid, Duration::ZERO);
        self.fleet.with(uid, |pod| pod.node_is_lost = true);
        self.over_after(uid, Duration::from_secs(known_after));
    }

    /// A second pod for the Job of this one.
    pub fn double_pod(self: &Arc<Self>, uid: &str) {
        let key = self.fleet.lock().pods.iter().find(|pod| pod.uid == uid).map(|pod| pod.key.clone());
        if let Some(key) = key {
            // Some come when their attempt is long over.
            let after = if draws(500) { between(0, 10) } else { between(10, 400) };
            self.spawn_pod(&key, Duration::from_secs(after));
        }
    }

    fn over_after(self: &Arc<Self>, uid: &str, after: Duration) {
        let (world, uid) = (Arc::clone(self), uid.to_owned());
        tokio::spawn(async move {
            sleep(after).await;
            world.fleet.end(&uid, None);
        });
    }

    /// The launcher of a controller.
    pub fn launcher(self: &Arc<Self>, actor: &Arc<Actor>) -> SimLauncher {
        let news = tokio::sync::Mutex::new(self.fleet.changed.subscribe());
        SimLauncher { world: Arc::downgrade(self), weather: Arc::clone(&self.api), actor: Arc::clone(actor), news }
    }

    fn start(self: &Arc<Self>, spec: &LaunchSpec) -> Result<Launched, LaunchError> {
        let key = spec.key();
        {
            let mut state = self.fleet.lock();
            let is_named = Guard::DerivedName.stands();
            if is_named && state.jobs.contains_key(&key) {
                return Ok(Launched::AlreadyThere);
            }
            let others: Vec<RunKey> = state.jobs.keys().filter(|other| other.job == key.job).cloned().collect();
            let alive = others.iter().find(|other| **other != key && !state.state_of(other).0.is_over());
            if let Some(alive) = alive.filter(|_| is_named && Guard::Evidence.stands()) {
                return Err(LaunchError::OtherAttemptAlive { attempt: alive.attempt });
            }
            if alive.is_some() || state.jobs.get(&key).is_some_and(|_| !state.state_of(&key).0.is_over()) {
                self.truth.broken("I1", format!("a second run of {} was launched", spec.instance_id()));
            }
            let live = state.jobs.keys().filter(|job| !state.state_of(job).0.is_over()).count();
            if live >= self.fleet.slots && spec.command() == RunCommand::Record {
                return Err(LaunchError::Full { limit: self.fleet.slots });
            }
            state.jobs.insert(key.clone(), Job { instance: spec.instance_id().clone(), command: spec.command() });
        }
        self.spawn_pod(&key, Duration::from_millis(between(500, 20_000)));
        Ok(Launched::Started)
    }
}

impl SimLauncher {
    async fn call<T>(&self, work: impl FnOnce(&Arc<World>) -> Result<T, LaunchError>) -> Result<T, LaunchError> {
        let unavailable = || LaunchError::Unavailable { message: "as the plan says".into() };
        let fate = self.weather.fate(&self.actor).await;
        let world = self.world.upgrade().ok_or_else(unavailable)?;
        if fate == Fate::Refused {
            return Err(unavailable());
        }
        let done = work(&world);
        if fate == Fate::AnswerLost { Err(unavailable()) } else { done }
    }
}

#[async_trait]
impl Launcher for SimLauncher {
    async fn launch(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError> {
        KillPoint::CreatingJob.pass(&self.actor.name).await;
        if self.weather.is_late() {
            // It arrives when nobody waits for it any more.
            let (world, spec) = (self.world.clone(), spec.clone());
            tokio::spawn(async move {
                sleep(on_its_way()).await;
                if let Some(world) = world.upgrade() {
                    let _ = world.start(&spec);
                }
            });
            sleep(Duration::from_secs(between(1, 10))).await;
            return Err(LaunchError::Unavailable { message: "as the plan says".into() });
        }
        self.call(|world| world.start(spec)).await
    }

    async fn list(&self) -> Result<Vec<Observed>, LaunchError> {
        self.call(|world| {
            let state = world.fleet.lock();
            let seen = |(key, job): (&RunKey, &Job)| {
                let (run, is_lost) = state.state_of(key);
                let trouble = is_lost.then(|| Trouble { kind: TroubleKind::NodeLost, detail: String::new() });
                Observed { key: key.clone(), instance_id: job.instance.clone(), state: run, trouble }
            };
            Ok(state.jobs.iter().map(seen).collect())
        })
        .await
    }

    async fn stop(&self, run: &RunKey) -> Result<(), LaunchError> {
        self.call(|world| {
            for pod in world.fleet.lock().pods.iter().filter(|pod| pod.key == *run) {
                let _ = pod.stop.send(true);
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, run: &RunKey) -> Result<(), LaunchError> {
        self.call(|world| {
            let mut state = world.fleet.lock();
            if state.jobs.contains_key(run) && !state.state_of(run).0.is_over() {
                return Err(LaunchError::Alive);
            }
            state.jobs.remove(run);
            state.pods.retain(|pod| pod.key != *run);
            Ok(())
        })
        .await
    }

    async fn free_slots(&self) -> Result<usize, LaunchError> {
        self.call(|world| {
            let state = world.fleet.lock();
            let live = state.jobs.keys().filter(|job| !state.state_of(job).0.is_over()).count();
            Ok(world.fleet.slots.saturating_sub(live))
        })
        .await
    }

    fn sees_runs_of(&self, _: &str) -> bool {
        true
    }

    async fn changed(&self) {
        if let Err(broadcast::error::RecvError::Closed) = self.news.lock().await.recv().await {
            std::future::pending::<()>().await;
        }
    }

    async fn ready(&self) -> Result<(), LaunchError> {
        Ok(())
    }
}
