//! What a seed stands for: meetings, controllers and faults. Data only, so that a failing plan can be made smaller.

mod aimed;

use bot_store::clock::simulated;
use bot_store::kill_point::KillPoint;

/// One simulated world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of every later draw, too.
    pub seed: u64,
    /// How many controllers run.
    pub controllers: usize,
    /// Runs at once.
    pub slots: usize,
    /// The calls that people hold.
    pub calls: Vec<Call>,
    /// The documents that backends write.
    pub meetings: Vec<Meeting>,
    /// What breaks, in the order of time.
    pub faults: Vec<Fault>,
    /// Out of 1,000 calls of store, bucket or launcher: refused, and applied with the answer lost.
    pub refused: u64,
    /// See `refused`.
    pub lost: u64,
    /// Out of 1,000 writes: applied after their sender has given them up, and after what it sent then.
    pub late: u64,
    /// Who dies between which two steps.
    pub kills: Vec<KillAt>,
    /// Seconds by which each controller's clock is ahead; none where all clocks agree.
    pub skews: Vec<i64>,
    /// Bots at once over all controllers; none is without a limit.
    pub places: Option<u32>,
    /// Bots at once of each organization.
    pub places_each: Option<u32>,
}

/// Death of whoever passes a point.
#[derive(Debug, Clone, Copy)]
pub struct KillAt {
    /// Where.
    pub point: KillPoint,
    /// From the first passing, by anybody.
    pub nth: u32,
    /// A controller is back after so many seconds.
    pub back_after: u64,
}

/// A call as the platform knows it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Seconds from the beginning of the world until people hang up.
    pub over_at: u64,
}

/// A meeting document.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// Index of its call.
    pub call: usize,
    /// Second at which it is written.
    pub written_at: u64,
    /// Second of its `start_time`; none is "now".
    pub starts_at: Option<u64>,
    /// Second of its `end_time`.
    pub ends_at: Option<u64>,
    /// Second at which it is cancelled.
    pub cancelled_at: Option<u64>,
    /// Whose it is, by number.
    pub organization: u64,
    /// Higher first.
    pub priority: i64,
}

/// Something that breaks.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// When.
    pub at: u64,
    /// What.
    pub kind: FaultKind,
}

/// What can break. Pods are picked among those alive at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// kill -9 of a controller; it is back after so many seconds.
    KillController(usize, u64),
    /// A controller stands still (SIGSTOP), with all that it knows, for so many seconds.
    PauseController(usize, u64),
    /// A controller reaches neither store nor launcher.
    CutController(usize, u64),
    /// kill -9 of a manager; its bot leaves by the dead-man switch.
    KillPod,
    /// SIGTERM to a manager.
    TermPod,
    /// A manager does not reach the store.
    CutPod(u64),
    /// A second pod for a Job, out of nowhere.
    SecondPod,
    /// A node dies; Kubernetes knows after so many seconds.
    LoseNode(u64),
    /// The store answers nobody.
    StoreDown(u64),
    /// The bucket answers nobody.
    BucketDown(u64),
    /// A pod is deleted by force: for the cluster it is gone at once. Its bot is dead; its manager stands still for so many
    /// seconds, and then goes on for so many.
    ForgetPod(u64, u64),
    /// A controller's clock is suddenly so many seconds ahead.
    JumpController(usize, i64),
    /// A manager's clock is suddenly so many seconds ahead.
    JumpPod(i64),
}

/// The most by which a clock is wrong, in seconds.
pub(super) const MOST_SKEW: u64 = 300;
/// Seconds after which a killed manager's bot has left and its pod is over.
const KILL_KNOWN: u64 = 55;
/// Seconds before its start from which a meeting is due.
const LEAD: u64 = 120;
/// Seconds from the return of what was lost to the next bot's first segment.
const TO_A_NEW_BOT: u64 = 40;

/// Out of 1,000 plans: one with an outage of up to an hour. Few, for each costs an hour of virtual time.
const LONG_OUTAGES: u64 = 60;

/// A number from `from` to `to`, both included.
pub fn between(from: u64, to: u64) -> u64 {
    from + simulated::next() % (to - from + 1)
}

/// True `of` times out of 1,000.
pub fn draws(of: u64) -> bool {
    simulated::next() % 1_000 < of
}

impl Plan {
    /// The plan of a seed. Needs the simulation's chance to be seeded with it.
    pub fn of(seed: u64) -> Self {
        let calls: Vec<Call> = (0..between(1, 2)).map(|_| Call { over_at: between(240, 1_200) }).collect();
        let meetings: Vec<Meeting> = (0..between(1, 4)).map(|_| meeting(&calls)).collect();
        let controllers = between(1, 3) as usize;
        let mut faults: Vec<Fault> = (0..between(0, 6)).map(|_| fault(controllers)).collect();
        faults.sort_by_key(|fault| fault.at);
        let (refused, lost) = if draws(300) { (0, 0) } else { (between(0, 60), between(0, 60)) };
        let slots = between(3, 6) as usize;
        let late = if refused == 0 || draws(500) { 0 } else { between(1, 30) };
        let kills = if draws(400) { (0..between(1, 2)).map(|_| kill()).collect() } else { Vec::new() };
        let skews = if draws(300) { (0..controllers).map(|_| ahead()).collect() } else { Vec::new() };
        if draws(250) {
            // What a pod that is gone still brings may come while another one makes the files.
            let over_at = calls[0].over_at;
            faults.push(Fault { at: over_at - between(1, 20), kind: FaultKind::ForgetPod(between(1, 60), 20) });
            faults.sort_by_key(|fault| fault.at);
        }
        let (places, places_each) = (None, None);
        let plan =
            Self { seed, controllers, slots, calls, meetings, faults, refused, lost, late, kills, skews, places, places_each };
        // Drawn last, so that every other plan of this seed stays as it was.
        let plan = if draws(350) { plan.with_places() } else { plan };
        if draws(LONG_OUTAGES) { plan.with_a_long_outage() } else { plan }
    }

    /// The same with the store, the bucket or both away for ten minutes to an hour.
    fn with_a_long_outage(mut self) -> Self {
        let (at, secs) = (between(20, 900), between(600, 3_600));
        let which = between(0, 2);
        if which != 1 {
            self.faults.push(Fault { at, kind: FaultKind::StoreDown(secs) });
        }
        if which != 0 {
            self.faults.push(Fault { at, kind: FaultKind::BucketDown(secs) });
        }
        self.faults.sort_by_key(|fault| fault.at);
        self
    }

    /// The same with more calls than there are places.
    fn with_places(mut self) -> Self {
        self.places = Some(between(1, 3) as u32);
        self.places_each = draws(300).then(|| between(1, 2) as u32);
        self.slots = 12;
        for _ in 0..between(1, 4) {
            self.calls.push(Call { over_at: between(240, 1_500) });
            let call = self.calls.len() - 1;
            let mut meeting = meeting(&self.calls);
            (meeting.call, meeting.organization, meeting.priority) = (call, between(0, 1), priority());
            meeting.starts_at = draws(500).then(|| between(30, 200));
            meeting.written_at = between(0, 120);
            meeting.ends_at = draws(600).then_some(self.calls[call].over_at + between(0, 300));
            self.meetings.push(meeting);
        }
        self
    }

    /// True where nothing at all breaks: then the queue's order can be told to the second.
    pub fn is_calm(&self) -> bool {
        self.faults.is_empty() && self.kills.is_empty() && self.skews.is_empty() && self.refused + self.lost + self.late == 0
    }

    /// True where no controller could work for a minute on end within a stretch of seconds.
    pub fn is_unattended_within(&self, from: u64, to: u64) -> bool {
        self.is_unattended_from(from, to)
    }

    /// The second after which nothing new happens.
    pub fn quiet_from(&self) -> u64 {
        let faults = self.faults.iter().map(|fault| fault.at + fault.kind.lasts());
        let calls = self.calls.iter().map(|call| call.over_at);
        faults.chain(calls).max().unwrap_or_default()
    }

    /// True where a node is lost or a manager cut off, and what comes next too, until the call is over.
    pub fn loses_the_whole_call(&self, call: usize) -> bool {
        let over_at = self.calls.get(call).map_or(0, |call| call.over_at);
        self.faults.iter().any(|lost| {
            let (FaultKind::LoseNode(secs) | FaultKind::CutPod(secs)) = lost.kind else { return false };
            let mut until = lost.at + secs + TO_A_NEW_BOT;
            for next in self.faults.iter().filter(|next| next.at >= lost.at) {
                let (FaultKind::CutPod(secs) | FaultKind::StoreDown(secs) | FaultKind::LoseNode(secs)) = next.kind else {
                    continue;
                };
                if next.at <= until {
                    until = until.max(next.at + secs + TO_A_NEW_BOT);
                }
            }
            until > over_at
        })
    }

    /// True where the bucket was away until a call was over, and a run of it was lost before.
    pub fn has_no_bucket(&self, call: usize) -> bool {
        let over_at = self.calls.get(call).map_or(0, |call| call.over_at);
        let takes = |fault: &Fault| {
            matches!(fault.kind, FaultKind::KillPod | FaultKind::TermPod | FaultKind::ForgetPod(..) | FaultKind::LoseNode(_))
        };
        let lost = |down: u64, up: u64| self.faults.iter().any(|fault| takes(fault) && (down..up).contains(&fault.at));
        let away = |fault: &Fault| match fault.kind {
            FaultKind::BucketDown(secs) => fault.at + secs >= over_at && lost(fault.at, fault.at + secs),
            _ => false,
        };
        self.faults.iter().any(away)
    }

    /// True where no controller could work for a minute on end while this meeting was due and its call went on.
    pub fn is_unattended(&self, meeting: &Meeting) -> bool {
        let over_at = self.calls.get(meeting.call).map_or(0, |call| call.over_at);
        let due_at = meeting.starts_at.map_or(0, |start| start.saturating_sub(LEAD) + self.behind());
        self.is_unattended_from(meeting.written_at.max(due_at), over_at)
    }

    /// Seconds by which even the foremost controller's clock may be behind.
    fn behind(&self) -> u64 {
        if self.faults.iter().any(|fault| matches!(fault.kind, FaultKind::JumpController(..))) {
            return MOST_SKEW;
        }
        let clocks = self.skews.iter().take(self.controllers).map(|ahead| ahead.min(&0).unsigned_abs());
        clocks.min().unwrap_or_default()
    }

    /// True where a run was lost, and from when that could be known until its call was over nobody was there to send another.
    pub fn loses_its_last_run(&self, call: usize) -> bool {
        let over_at = self.calls.get(call).map_or(0, |call| call.over_at);
        let takes = |fault: &&Fault| matches!(fault.kind, FaultKind::KillPod | FaultKind::TermPod | FaultKind::ForgetPod(..));
        let mut lost = self.faults.iter().filter(takes).filter(|fault| fault.at < over_at);
        lost.any(|fault| self.is_unattended_from(fault.at + KILL_KNOWN, over_at.saturating_sub(TO_A_NEW_BOT)))
    }

    fn is_unattended_from(&self, from: u64, over_at: u64) -> bool {
        let hits = |fault: &Fault, controller: usize, second: u64| {
            let secs = match fault.kind {
                FaultKind::KillController(index, secs)
                | FaultKind::PauseController(index, secs)
                | FaultKind::CutController(index, secs)
                    if index == controller =>
                {
                    secs
                }
                FaultKind::StoreDown(secs) => secs,
                _ => return false,
            };
            (fault.at..fault.at + secs).contains(&second)
        };
        let works = |second: u64| (0..self.controllers).any(|index| !self.faults.iter().any(|fault| hits(fault, index, second)));
        let mut on_end = 0;
        for second in from..over_at {
            on_end = if works(second) { on_end + 1 } else { 0 };
            if on_end >= 60 {
                return false;
            }
        }
        true
    }

    /// Seconds between the two at which the store is away.
    pub fn store_away(&self, from: u64, to: u64) -> u64 {
        let overlap = |fault: &Fault| match fault.kind {
            FaultKind::StoreDown(secs) => (fault.at + secs).min(to).saturating_sub(fault.at.max(from)),
            _ => 0,
        };
        self.faults.iter().map(overlap).sum()
    }

    /// True where a clock is wrong, at first or later on.
    pub fn is_skewed(&self) -> bool {
        let jumps = |fault: &Fault| matches!(fault.kind, FaultKind::JumpController(..) | FaultKind::JumpPod(_));
        !self.skews.is_empty() || self.faults.iter().any(jumps)
    }

    /// True where, by a wrong clock, this meeting was over as long as its call could have been joined, or for the first time.
    pub fn is_over_by_a_wrong_clock(&self, meeting: &Meeting) -> bool {
        let over_at = self.calls.get(meeting.call).map_or(0, |call| call.over_at);
        let soonest = meeting.starts_at.unwrap_or_default().max(meeting.written_at) + TO_A_NEW_BOT;
        let is_too_short = meeting.ends_at.is_some_and(|end| end <= soonest + MOST_SKEW);
        // Nor was any controller there before a wrong clock could call it over.
        let due_at = meeting.starts_at.unwrap_or_default().max(meeting.written_at);
        let called_over_at = meeting.ends_at.map_or(over_at, |end| end.min(over_at)).saturating_sub(MOST_SKEW);
        let is_unattended = self.is_unattended_from(due_at, called_over_at);
        self.is_skewed() && (is_too_short || soonest + MOST_SKEW >= over_at || is_unattended)
    }

    /// The same plan with what befell actors at points that no plan knows the time of.
    pub fn with(&self, struck: &[Fault]) -> Self {
        let mut plan = self.clone();
        plan.faults.extend(struck);
        plan.faults.sort_by_key(|fault| fault.at);
        plan
    }

    /// Smaller plans, for a failing one: each lacks something.
    pub fn smaller(&self) -> Vec<Self> {
        let without = |index: usize| {
            let mut plan = self.clone();
            plan.faults.remove(index);
            plan
        };
        let mut plans: Vec<Self> = (0..self.faults.len()).map(without).collect();
        if self.meetings.len() > 1 {
            plans.extend((0..self.meetings.len()).map(|index| {
                let mut plan = self.clone();
                plan.meetings.remove(index);
                plan
            }));
        }
        plans.extend((0..self.kills.len()).map(|index| {
            let mut plan = self.clone();
            plan.kills.remove(index);
            plan
        }));
        if !self.skews.is_empty() {
            plans.push(Self { skews: Vec::new(), ..self.clone() });
        }
        if self.late > 0 {
            plans.push(Self { late: 0, ..self.clone() });
        }
        if self.refused + self.lost > 0 {
            plans.push(Self { refused: 0, lost: 0, ..self.clone() });
        }
        if self.places_each.is_some() {
            plans.push(Self { places_each: None, ..self.clone() });
        }
        if self.controllers > 1 {
            plans.push(Self { controllers: self.controllers - 1, ..self.clone() });
        }
        plans
    }
}

impl FaultKind {
    fn lasts(self) -> u64 {
        match self {
            Self::KillController(_, secs)
            | Self::PauseController(_, secs)
            | Self::CutController(_, secs)
            | Self::CutPod(secs)
            | Self::LoseNode(secs)
            | Self::StoreDown(secs)
            | Self::BucketDown(secs) => secs,
            Self::ForgetPod(frozen, lives) => frozen + lives,
            Self::KillPod | Self::TermPod | Self::SecondPod | Self::JumpController(..) | Self::JumpPod(_) => 0,
        }
    }

    /// Its name in the tally.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillController(..) => "controllers killed",
            Self::PauseController(..) => "controllers paused",
            Self::CutController(..) => "controllers cut off",
            Self::KillPod => "managers killed",
            Self::TermPod => "managers told to end",
            Self::CutPod(_) => "managers cut off",
            Self::SecondPod => "second pods",
            Self::LoseNode(_) => "nodes lost",
            Self::StoreDown(_) => "store outages",
            Self::BucketDown(_) => "bucket outages",
            Self::ForgetPod(..) => "pods deleted by force",
            Self::JumpController(..) | Self::JumpPod(_) => "clocks set wrong",
        }
    }
}

fn meeting(calls: &[Call]) -> Meeting {
    let call = between(0, calls.len() as u64 - 1) as usize;
    let over_at = calls[call].over_at;
    let starts_at = draws(700).then(|| between(30, over_at / 2));
    let latest = starts_at.map_or(over_at / 3, |start| start.min(over_at / 3));
    Meeting {
        call,
        written_at: between(0, latest),
        starts_at,
        ends_at: draws(600).then_some(over_at + between(0, 300)),
        cancelled_at: draws(120).then(|| between(60, over_at)),
        organization: 0,
        priority: 0,
    }
}

fn priority() -> i64 {
    if draws(500) { 0 } else { i64::try_from(between(0, 1_000)).unwrap_or_default() - 500 }
}

fn fault(controllers: usize) -> Fault {
    let one = between(0, controllers as u64 - 1) as usize;
    let kind = match between(0, 12) {
        0 => FaultKind::KillController(one, between(1, 200)),
        1 => FaultKind::PauseController(one, between(30, 200)),
        2 => FaultKind::CutController(one, between(10, 300)),
        3 => FaultKind::KillPod,
        4 => FaultKind::TermPod,
        5 => FaultKind::CutPod(between(10, 300)),
        6 => FaultKind::SecondPod,
        7 => FaultKind::LoseNode(between(60, 400)),
        8 => FaultKind::StoreDown(between(5, 240)),
        9 => FaultKind::BucketDown(between(5, 120)),
        10 => FaultKind::ForgetPod(if draws(500) { 0 } else { between(1, 120) }, between(1, 40)),
        11 => FaultKind::JumpController(one, ahead()),
        _ => FaultKind::JumpPod(ahead()),
    };
    Fault { at: between(20, 900), kind }
}

fn kill() -> KillAt {
    let point = KillPoint::ALL[between(0, KillPoint::ALL.len() as u64 - 1) as usize];
    KillAt { point, nth: between(1, 3) as u32, back_after: between(1, 90) }
}

/// A clock that is wrong, either way.
pub fn ahead() -> i64 {
    i64::try_from(between(0, 2 * MOST_SKEW)).unwrap_or_default() - MOST_SKEW.cast_signed()
}
