//! A seeded simulation of controllers, managers, store, bucket and cluster in one process, on virtual time: the controller's whole
//! engine and the manager's own protocol code run over adapters that refuse, lose answers, stall and cut off, while pods die, are
//! doubled, and vanish with their node. Invariants are checked after every step of the store and over the whole history.
//!
//! A seed is a plan ([`plan::Plan`]); the same seed is the same run. Clocks of two machines differ where the plan says so; their monotonic time is true.

pub mod actor;
pub mod bucket;
pub mod fleet;
pub mod places;
pub mod plan;
pub mod pod;
pub mod store;
pub mod truth;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bot_model::configuration::Naming;
use bot_model::document::{BotInstance, Fields};
use bot_model::ids::MeetingPath;
use bot_model::invariants::Violation;
use bot_model::lifecycle::Phase;
use bot_store::clock::simulated::{self, OnClock};
use bot_store::guard::Guard;
use bot_store::kill_point::{self, KillPoint};
use bot_store::protocol::InstanceRecord;
use bot_store::{DocumentKey, Write};
use chrono::{DateTime, TimeDelta, Utc};
use controller::config::{Config, Needs, Pace};
use controller::engine::Engine;
use serde_json::json;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use actor::{Actor, Weather};
use bucket::Bucket;
use fleet::Fleet;
use plan::{Fault, FaultKind, KillAt, Plan};
use store::Documents;
use truth::Truth;

/// After the last fault and the last call, everything has to be settled within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(2 * 3600);
/// For a controller that has just come back, before anything is judged.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// Everything that a simulated actor can touch.
pub struct World {
    documents: Arc<Documents>,
    weather: Arc<Weather>,
    storage: Arc<Weather>,
    api: Arc<Weather>,
    bucket: Arc<Bucket>,
    fleet: Fleet,
    truth: Truth,
    pace: Pace,
    began: Instant,
    over_at: Vec<u64>,
    controllers: Mutex<Vec<Controller>>,
    kills: Mutex<Kills>,
    clocks_are_wrong: bool,
}

/// What the points have seen.
#[derive(Default)]
struct Kills {
    passed: BTreeMap<KillPoint, u32>,
    left: Vec<KillAt>,
    hit: Vec<KillPoint>,
    /// What befell whom, and when.
    struck: Vec<Fault>,
}

/// What one run met, and what it cost.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Faults by their name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Deaths at each point.
    pub points: BTreeMap<KillPoint, u64>,
    /// Calls refused or with their answer lost.
    pub troubles: u64,
    /// Instances that ended, by phase.
    pub ended: BTreeMap<&'static str, u64>,
    /// Seconds of media lost in each run that was killed.
    pub lost: Vec<f64>,
    /// Seconds from one bot's end to the next one's join in the same call.
    pub gaps: Vec<f64>,
}

/// A broken promise, and everything that led to it.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Which, and how.
    pub violation: Violation,
    /// Timeline events and stays, in the order of time.
    pub story: String,
}

/// A plan that broke a promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which, and how.
    pub broken: Broken,
    /// The smallest plan found that still breaks it.
    pub plan: Plan,
}

impl World {
    fn new(plan: &Plan) -> Arc<Self> {
        Arc::new(Self {
            documents: Documents::new(),
            weather: Weather::new(plan.refused, plan.lost, plan.late),
            storage: Weather::new(plan.refused, plan.lost, plan.late),
            api: Weather::new(plan.refused, plan.lost, plan.late),
            bucket: Arc::default(),
            fleet: Fleet::new(plan.slots),
            truth: Truth::of(plan.places),
            pace: pace(plan),
            began: Instant::now(),
            over_at: plan.calls.iter().map(|call| call.over_at).collect(),
            controllers: Mutex::default(),
            kills: Mutex::new(Kills { left: plan.kills.clone(), ..Kills::default() }),
            clocks_are_wrong: !plan.skews.is_empty(),
        })
    }

    /// True once people have hung up.
    pub fn is_over(&self, call: usize) -> bool {
        self.over_at.get(call).is_none_or(|at| self.began.elapsed() >= Duration::from_secs(*at))
    }

    /// Timeline events and stays, in the order of time.
    fn story(&self) -> String {
        let mut lines = self.truth.story();
        for record in self.documents.all() {
            let DocumentKey::Event(id, _) = &record.key else { continue };
            let text = |name: &str| record.fields.get(name).map(|value| value.to_string().replace('"', "")).unwrap_or_default();
            let (at, id) = (text("occurred_at"), &id.as_str()[..6]);
            let what = ["actor", "attempt", "event", "phase", "detail"].map(text).join(" ");
            lines.push(format!("{at} {id} {what}"));
        }
        lines.sort();
        lines.join("\n")
    }

    fn instances(&self) -> Vec<BotInstance> {
        let decoded = |record| InstanceRecord::from_record(record, self.documents.naming()).ok().map(|record| record.instance);
        let all = self.documents.all();
        all.iter().filter(|record| matches!(record.key, DocumentKey::Instance(_))).filter_map(decoded).collect()
    }
}

/// Runs a seed, on virtual time. A failing one is made smaller.
///
/// # Errors
/// What broke, with the smallest plan that still breaks.
pub fn run(seed: u64, guard: Option<Guard>) -> Result<Tally, Box<Failure>> {
    let plan = with_chance(seed, || Plan::of(seed));
    run_plan(&plan, guard).map_err(|broken| Box::new(shrunk(plan, broken, guard)))
}

/// Runs a seed in which, besides all else, who passes `point` dies there, the first, second or third time.
///
/// # Errors
/// As [`run`].
pub fn run_to_death(seed: u64, point: KillPoint) -> Result<Tally, Box<Failure>> {
    let plan = with_chance(seed, || {
        let kills = vec![KillAt { point, nth: 1 + (seed % 3) as u32, back_after: plan::between(1, 90) }];
        Plan { kills, ..Plan::of(seed) }
    });
    run_plan(&plan, None).map_err(|broken| Box::new(shrunk(plan, broken, None)))
}

/// Runs a seed once, as fast as can be.
///
/// # Errors
/// What broke.
pub fn run_once(seed: u64, guard: Option<Guard>) -> Result<Tally, Broken> {
    let plan = with_chance(seed, || Plan::of(seed));
    run_plan(&plan, guard)
}

/// Runs a seed's plan that is aimed at a guard once, with or without one.
///
/// # Errors
/// What broke.
pub fn run_aimed(seed: u64, at: Guard, without: Option<Guard>) -> Result<Tally, Broken> {
    let plan = with_chance(seed, || Plan::of(seed).aimed_at(at));
    run_plan(&plan, without)
}

/// Takes away what is not needed for the same promise to break.
pub fn shrunk(plan: Plan, broken: Broken, guard: Option<Guard>) -> Failure {
    let mut failure = Failure { broken, plan };
    'again: loop {
        for smaller in failure.plan.smaller() {
            match run_plan(&smaller, guard) {
                Err(broken) if broken.violation.id == failure.broken.violation.id => {
                    failure = Failure { broken, plan: smaller };
                    continue 'again;
                }
                _ => {}
            }
        }
        return failure;
    }
}

fn beginning() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

fn with_chance<T>(seed: u64, work: impl FnOnce() -> T) -> T {
    simulated::begin(seed, beginning);
    let done = work();
    simulated::end();
    done
}

/// Runs a plan.
///
/// # Errors
/// What broke.
pub fn run_plan(plan: &Plan, guard: Option<Guard>) -> Result<Tally, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let broken = |violation, story| Broken { violation, story };
    let runtime = runtime.map_err(|error| broken(Violation { id: "SIM", what: error.to_string() }, String::new()))?;
    Guard::take_away(guard);
    let judged = runtime.block_on(async {
        let began = Instant::now();
        simulated::begin(plan.seed ^ 0x5eed, move || beginning() + TimeDelta::from_std(began.elapsed()).unwrap_or_default());
        let world = World::new(plan);
        let seen = Arc::downgrade(&world);
        kill_point::simulated::begin(move |point, who| seen.upgrade().is_some_and(|world| world.dies(point, who)));
        let judged = drive(&world, plan).await.map_err(|violation| broken(violation, world.story()));
        simulated::end();
        kill_point::simulated::end();
        judged
    });
    Guard::take_away(None);
    // Whatever still runs is dropped with the runtime, without a clock of its own.
    drop(runtime);
    judged
}

struct Controller {
    actor: Arc<Actor>,
    task: AbortHandle,
}

impl World {
    /// Starts a controller, the first time or again.
    fn start_controller(self: &Arc<Self>, index: usize, ahead: i64) {
        let name = format!("c{index}");
        let actor = Actor::new(&name, None, ahead);
        let store = Arc::new(self.documents.seen_by(&actor, &self.weather));
        let launcher = Arc::new(self.launcher(&actor));
        let engine = Engine::new(store, launcher, &name, self.pace.clone());
        let task = tokio::spawn(OnClock::new(Arc::clone(&actor.skew), async move { engine.run().await })).abort_handle();
        let mut controllers = lock(&self.controllers);
        match controllers.get_mut(index) {
            Some(before) => {
                before.task.abort();
                *before = Controller { actor, task };
            }
            None => controllers.push(Controller { actor, task }),
        }
    }

    /// kill -9 of a controller; it is back after so many seconds. One that is down stays so.
    fn kill_controller(self: &Arc<Self>, index: usize, secs: u64) {
        let ahead = {
            let controllers = lock(&self.controllers);
            let Some(controller) = controllers.get(index).filter(|controller| !controller.task.is_finished()) else { return };
            controller.task.abort();
            controller.actor.ahead()
        };
        let at = self.began.elapsed().as_secs();
        lock(&self.kills).struck.push(Fault { at, kind: FaultKind::KillController(index, secs) });
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(Duration::from_secs(secs)).await;
            world.start_controller(index, ahead);
        });
    }

    /// Whether who passes a point dies there; then it is dead.
    fn dies(self: &Arc<Self>, point: KillPoint, who: &str) -> bool {
        let kill = {
            let mut kills = lock(&self.kills);
            let passed = kills.passed.entry(point).or_default();
            *passed += 1;
            let passed = *passed;
            let found = kills.left.iter().position(|kill| kill.point == point && kill.nth == passed);
            let Some(kill) = found.map(|place| kills.left.remove(place)) else { return false };
            kills.hit.push(point);
            kill
        };
        match who.strip_prefix('c').and_then(|index| index.parse().ok()) {
            Some(index) => self.kill_controller(index, kill.back_after),
            None => {
                let at = self.began.elapsed().as_secs();
                lock(&self.kills).struck.push(Fault { at, kind: FaultKind::KillPod });
                self.kill_pod(who);
            }
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The defaults of production, and the plan's limits.
fn pace(plan: &Plan) -> Pace {
    let lookup = |name: &str| match name {
        "STORE_URL" => Some("sqlite:/simulated".to_owned()),
        "MAX_ACTIVE_BOTS" => plan.places.map(|places| places.to_string()),
        "MAX_ACTIVE_BOTS_PER_ORGANIZATION" => plan.places_each.map(|places| places.to_string()),
        _ => None,
    };
    match Config::read(Needs::Store, lookup) {
        Ok(config) => config.pace,
        Err(problems) => unreachable!("{problems:?}"),
    }
}

async fn drive(world: &Arc<World>, plan: &Plan) -> Result<Tally, Violation> {
    for (index, meeting) in plan.meetings.iter().enumerate() {
        tokio::spawn(backend(Arc::clone(world), index, meeting.clone()));
    }
    for index in 0..plan.controllers {
        world.start_controller(index, plan.skews.get(index).copied().unwrap_or_default());
    }
    let mut tally = Tally::default();
    for fault in &plan.faults {
        sleep_until(world.began + Duration::from_secs(fault.at)).await;
        strike(world, fault.kind);
        *tally.faults.entry(fault.kind.name()).or_default() += 1;
    }
    sleep_until(world.began + Duration::from_secs(plan.quiet_from())).await;
    settle_down(world, plan).await?;
    for controller in lock(&world.controllers).iter() {
        controller.task.abort();
    }
    let struck = lock(&world.kills).struck.clone();
    tally.lost = judge(world, &plan.with(&struck))?;
    for point in &lock(&world.kills).hit {
        *tally.points.entry(*point).or_default() += 1;
    }
    tally.gaps = world.truth.gaps();
    tally.troubles = world.weather.troubles() + world.storage.troubles() + world.api.troubles();
    for instance in world.instances() {
        *tally.ended.entry(instance.phase.as_str()).or_default() += 1;
    }
    Ok(tally)
}

/// Waits until every instance has ended and nothing runs.
async fn settle_down(world: &Arc<World>, plan: &Plan) -> Result<(), Violation> {
    let deadline = Instant::now() + SETTLES_WITHIN;
    // Who has just come back has not looked at anything yet.
    sleep(FIRST_LOOK).await;
    loop {
        let left: Vec<_> = world.instances().into_iter().filter(|instance| !instance.phase.is_terminal()).collect();
        let held = world.documents.held_places();
        if left.is_empty() && world.fleet.is_still() && held == 0 {
            return Ok(());
        }
        if Instant::now() > deadline && left.is_empty() && world.fleet.is_still() {
            return Err(Violation { id: "I18", what: format!("everything has ended, and {held} places are still held") });
        }
        if Instant::now() > deadline {
            let what = left.iter().map(|instance| format!("{} is {}", instance.id, instance.phase)).collect::<Vec<_>>();
            let what =
                format!("{} s after the last fault and call: {what:?}, pods {:?}", SETTLES_WITHIN.as_secs(), world.fleet.alive());
            return Err(Violation { id: "I2", what: format!("{what} (quiet from {})", plan.quiet_from()) });
        }
        sleep(Duration::from_secs(5)).await;
    }
}

/// A backend writes its meeting, and perhaps cancels it.
async fn backend(world: Arc<World>, index: usize, meeting: plan::Meeting) {
    let at = |second: u64| world.began + Duration::from_secs(second);
    let stamp = |second: u64| json!((beginning() + TimeDelta::seconds(i64::try_from(second).unwrap_or_default())).to_rfc3339());
    sleep_until(at(meeting.written_at)).await;
    let Some(path) = MeetingPath::parse(&format!("meetings/m{index}")) else { return };
    let mut fields = Fields::new();
    fields.insert("meeting_url".into(), json!(format!("practice:meet/call-{}", meeting.call)));
    fields.insert("status".into(), json!("scheduled"));
    let organization = if meeting.organization == 0 { "org".to_owned() } else { format!("org{}", meeting.organization) };
    fields.insert("creator_organization_id".into(), json!(organization));
    fields.insert("priority".into(), json!(meeting.priority));
    fields.extend(meeting.starts_at.map(|start| ("start_time".to_owned(), stamp(start))));
    fields.extend(meeting.ends_at.map(|end| ("end_time".to_owned(), stamp(end))));
    world.documents.apply(&[Write::create(DocumentKey::Meeting(path.clone()), fields)]);
    if let Some(cancelled_at) = meeting.cancelled_at {
        sleep_until(at(cancelled_at.max(meeting.written_at))).await;
        let mut fields = Fields::new();
        fields.insert("status".into(), json!("cancelled"));
        world.documents.apply(&[Write::merge_existing(DocumentKey::Meeting(path), fields)]);
    }
}

/// Lets a fault happen.
fn strike(world: &Arc<World>, kind: FaultKind) {
    let alive = world.fleet.alive();
    let picked = (!alive.is_empty()).then(|| alive[plan::between(0, alive.len() as u64 - 1) as usize].clone());
    let on = |index: usize, work: &dyn Fn(&Actor)| {
        if let Some(controller) = lock(&world.controllers).get(index) {
            work(&controller.actor);
        }
    };
    match (kind, picked) {
        (FaultKind::KillController(index, secs), _) => world.kill_controller(index, secs),
        (FaultKind::PauseController(index, secs), _) => on(index, &|actor| actor.pause(secs)),
        (FaultKind::CutController(index, secs), _) => on(index, &|actor| actor.cut(secs)),
        (FaultKind::JumpController(index, ahead), _) => on(index, &|actor| actor.jump(ahead)),
        (FaultKind::StoreDown(secs), _) => world.weather.outage(secs),
        (FaultKind::BucketDown(secs), _) => {
            world.storage.outage(secs);
            world.truth.cut_off(None, secs);
        }
        (FaultKind::KillPod, Some(uid)) => world.kill_pod(&uid),
        (FaultKind::TermPod, Some(uid)) => world.fleet.term(&uid),
        (FaultKind::CutPod(secs), Some(uid)) => {
            world.fleet.cut(&uid, secs);
            world.truth.cut_off(Some(&uid), secs);
        }
        (FaultKind::SecondPod, Some(uid)) => world.double_pod(&uid),
        (FaultKind::LoseNode(secs), Some(uid)) => world.lose_node(&uid, secs),
        (FaultKind::ForgetPod(frozen, lives), Some(uid)) => {
            world.forget_pod(&uid, frozen, lives);
            world.truth.cut_off(Some(&uid), frozen);
        }
        (FaultKind::JumpPod(ahead), Some(uid)) => world.fleet.jump(&uid, ahead),
        // Of those that need a pod, where none is alive.
        (_, None) => {}
    }
}

/// What has to hold in the end.
fn judge(world: &Arc<World>, plan: &Plan) -> Result<Vec<f64>, Violation> {
    if let Some(violation) = world.documents.violations().into_iter().next() {
        return Err(violation);
    }
    world.bucket.check()?;
    let instances = world.instances();
    let moves = world.documents.moves();
    let lost = world.truth.judge(&instances, &moves, &world.bucket)?;
    places::judge(&instances, &moves, plan)?;
    let naming = Naming::default();
    for (index, meeting) in plan.meetings.iter().enumerate() {
        let Some(path) = MeetingPath::parse(&format!("meetings/m{index}")) else { continue };
        let record = world.documents.all().into_iter().find(|record| record.key == DocumentKey::Meeting(path.clone()));
        let Some(record) = record else { continue };
        if meeting.cancelled_at.is_some() {
            continue;
        }
        let link = bot_model::document::Meeting::link(&record.fields, &naming);
        let served = link.and_then(|id| instances.iter().find(|instance| instance.id == id));
        match served {
            Some(instance) if instance.phase == Phase::Done => {}
            // Nothing could be recorded: the node was lost before, and until the call was over nobody could know.
            Some(instance) if instance.phase == Phase::Failed && plan.loses_the_whole_call(meeting.call) => {}
            Some(instance)
                if instance.phase == Phase::Failed && !instance.is_recorded() && plan.loses_its_last_run(meeting.call) => {}
            // Every segment died with its run while the bucket could not be reached.
            Some(instance) if instance.phase == Phase::Failed && plan.has_no_bucket(meeting.call) => {}
            // There was no place for it, or nobody who heard of one that became free: see `places`.
            Some(instance) if places::found_none(instance, &moves, plan) => {}
            // Its own wrong clock told it that there was nothing to do any more.
            found
                if plan.is_over_by_a_wrong_clock(meeting)
                    && found.map_or(record.fields.get("bot_status") == Some(&json!("missed")), |bot| bot.phase.is_terminal()) => {
            }
            // Nobody was there to look, and it says so.
            found
                if plan.is_unattended(meeting)
                    && found.map_or(record.fields.get("bot_status") == Some(&json!("missed")), |bot| {
                        matches!(bot.phase, Phase::Failed | Phase::Missed)
                    }) => {}
            found => {
                let found = found.map(|instance| format!("{} ({:?})", instance.phase, instance.facts.outcome));
                let what =
                    format!("{path} of call {} has no recording: {found:?}, {:?}", meeting.call, record.fields.get("bot_status"));
                return Err(Violation { id: "I2", what });
            }
        }
    }
    for (index, call) in plan.calls.iter().enumerate() {
        let mut mine = plan.meetings.iter().filter(|meeting| meeting.call == index).peekable();
        if mine.peek().is_some() && mine.clone().all(|meeting| meeting.cancelled_at.is_some()) {
            let last =
                mine.filter_map(|meeting| Some(meeting.cancelled_at?.max(meeting.written_at))).max().unwrap_or(call.over_at);
            world.truth.check_cancelled(index, beginning() + TimeDelta::seconds(i64::try_from(last).unwrap_or_default()))?;
        }
    }
    Ok(lost)
}
