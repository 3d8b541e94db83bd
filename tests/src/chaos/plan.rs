//! What a seed stands for: when what is broken, and which meetings come. Data only; the same seed is the same plan.

use std::time::Duration;

use crate::scripted_bot::SEGMENT;

/// What launches runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Launcher {
    /// Process groups of this machine.
    Process,
    /// Jobs.
    Kubernetes,
}

/// Outages that a round is about, one after the other, each while calls go on and others are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages {
    /// How long each is.
    pub secs: u64,
    /// Of what.
    pub of: Vec<Behind>,
}

/// Calls have begun before the first outage, and what was away is back, for so long.
const BETWEEN_OUTAGES: u64 = 90;

impl Outages {
    /// From when to when, in milliseconds.
    fn times(&self) -> Vec<(Behind, u64, u64)> {
        let begin = |index: usize| BETWEEN_OUTAGES + index as u64 * (self.secs + BETWEEN_OUTAGES);
        let times = |(index, behind): (usize, &Behind)| (*behind, begin(index) * 1_000, (begin(index) + self.secs) * 1_000);
        self.of.iter().enumerate().map(times).collect()
    }

    /// True where a call that begins then is to go on beyond an outage.
    fn is_soon(&self, at: u64) -> bool {
        self.times().iter().any(|(_, from, _)| (from.saturating_sub(BETWEEN_OUTAGES * 1_000)..*from).contains(&at))
    }
}

/// How big a round is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// What launches runs.
    pub launcher: Launcher,
    /// Without the faults of store, bucket, clocks and disk, which break over processes all the same.
    pub only_beside: bool,
    /// What it is about, beside everything else.
    pub outages: Outages,
    /// How long things break.
    pub seconds: u64,
    /// Controllers.
    pub controllers: usize,
    /// Between two faults, in milliseconds, at least and at most.
    pub fault_gap_ms: (u64, u64),
    /// Length of a trouble or a pause, in milliseconds.
    pub trouble_ms: (u64, u64),
    /// Length of an outage of store or bucket, in milliseconds.
    pub outage_ms: (u64, u64),
    /// Between two meetings, in milliseconds.
    pub meeting_gap_ms: (u64, u64),
    /// Length of a meeting, in segments.
    pub segments: (u64, u64),
    /// Process faults that one instance suffers at most: the product gives up after six attempts, as it says.
    pub hits: u32,
}

impl Size {
    /// For `make test`: every fault once, in half a minute.
    pub const SMALL: Self = Self {
        launcher: Launcher::Process,
        only_beside: false,
        outages: Outages { secs: 0, of: Vec::new() },
        seconds: 27,
        controllers: 2,
        fault_gap_ms: (600, 1_300),
        trouble_ms: (800, 3_000),
        outage_ms: (5_000, 7_000),
        meeting_gap_ms: (1_000, 3_000),
        segments: (5, 8),
        hits: 2,
    };

    /// For `make test` over Jobs: what there is beside, and kills, once each in a quarter of a minute.
    pub const BRIEF: Self = Self {
        launcher: Launcher::Kubernetes,
        only_beside: true,
        outages: Outages { secs: 0, of: Vec::new() },
        seconds: 13,
        controllers: 2,
        meeting_gap_ms: (1_200, 2_200),
        fault_gap_ms: (250, 500),
        trouble_ms: (300, 700),
        outage_ms: (2_000, 2_500),
        segments: (3, 4),
        hits: 1,
    };

    /// For `make chaos`: as long as it is told.
    pub fn long(seconds: u64) -> Self {
        Self {
            launcher: Launcher::Process,
            only_beside: false,
            outages: Outages::default(),
            seconds,
            controllers: 3,
            fault_gap_ms: (1_000, 3_000),
            trouble_ms: (2_000, 15_000),
            outage_ms: (60_000, 90_000),
            meeting_gap_ms: (3_000, 9_000),
            segments: (10, 30),
            hits: 2,
        }
    }

    /// Every kind that there is in it.
    pub fn kinds(&self) -> Vec<Fault> {
        let is_beside = |fault: &Fault| {
            Fault::OF_JOBS.contains(fault) || matches!(fault, Fault::Controller(_) | Fault::Run(Blow::Kill | Blow::Stop, _))
        };
        let kinds = Fault::kinds(self.launcher).into_iter();
        kinds.filter(|fault| !self.only_beside || is_beside(fault)).collect()
    }

    /// The same over Jobs, or not.
    #[must_use]
    pub fn over(self, launcher: Launcher) -> Self {
        Self { launcher, ..self }
    }

    /// The same about outages, thinner and as long as these take: what comes due in one is served all at once after it.
    #[must_use]
    pub fn about(self, outages: Outages) -> Self {
        let last = outages.times().last().map_or(0, |(_, _, to)| to / 1_000 + BETWEEN_OUTAGES);
        let seconds = self.seconds.max(last);
        Self { outages, seconds, fault_gap_ms: (4_000, 12_000), meeting_gap_ms: (8_000, 24_000), ..self }
    }
}

/// What the network does to store, bucket or API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Everything is late.
    Latency,
    /// Connections are reset.
    Reset,
    /// Connections stand, and nothing passes.
    HalfOpen,
    /// A thin line.
    Bandwidth,
    /// Answers are cut in the middle.
    Cut,
    /// Nobody listens, briefly.
    Refused,
    /// Nobody listens, for long.
    Outage,
}

/// Before which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Behind {
    /// Firestore.
    Store,
    /// The bucket.
    Bucket,
    /// The API server.
    Api,
}

/// What befalls a pod by way of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It is evicted.
    Evict,
    /// One of a higher priority takes its place.
    Preempt,
    /// It is deleted.
    Delete,
    /// It is deleted by force: gone for the cluster, while its processes go on for a while.
    DeleteByForce,
    /// Its Job is deleted by hand, in one of the three ways.
    DeleteJob,
}

/// Which process of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Keeps the other two.
    Supervisor,
    /// The manager.
    Manager,
    /// The meeting-bot.
    Bot,
    /// All of them at once.
    Whole,
    /// All of them, and what lies on their disk, as when a node dies.
    Machine,
}

/// Whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// A controller's.
    Controller,
    /// The managers'.
    Managers,
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// SIGSTOP, and SIGCONT when its time is over.
    Pause,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A controller; where it ended, it is started again when the fault's time is over.
    Controller(Blow),
    /// Some run that lives then.
    Run(Blow, Part),
    /// The network.
    Network(Behind, Trouble),
    /// A clock is up to five minutes wrong, and right again.
    Clock(Clock),
    /// The disk of the runs takes not a byte more.
    DiskFull,
    /// Some pod that lives then.
    Pod(Strike),
    /// Every watch breaks off.
    Watches,
    /// The node does not answer, and its pods go on.
    Node,
}

impl Fault {
    /// Every kind, where runs are processes.
    pub const ALL: [Self; 30] = [
        Self::Controller(Blow::Kill),
        Self::Controller(Blow::Kill),
        Self::Controller(Blow::Stop),
        Self::Controller(Blow::Pause),
        Self::Run(Blow::Kill, Part::Supervisor),
        Self::Run(Blow::Kill, Part::Manager),
        Self::Run(Blow::Stop, Part::Manager),
        Self::Run(Blow::Pause, Part::Manager),
        Self::Run(Blow::Kill, Part::Bot),
        Self::Run(Blow::Pause, Part::Bot),
        Self::Run(Blow::Kill, Part::Whole),
        Self::Run(Blow::Kill, Part::Machine),
        Self::Network(Behind::Store, Trouble::Latency),
        Self::Network(Behind::Store, Trouble::Reset),
        Self::Network(Behind::Store, Trouble::HalfOpen),
        Self::Network(Behind::Store, Trouble::Bandwidth),
        Self::Network(Behind::Store, Trouble::Cut),
        Self::Network(Behind::Store, Trouble::Refused),
        Self::Network(Behind::Store, Trouble::Outage),
        Self::Network(Behind::Bucket, Trouble::Latency),
        Self::Network(Behind::Bucket, Trouble::Reset),
        Self::Network(Behind::Bucket, Trouble::HalfOpen),
        Self::Network(Behind::Bucket, Trouble::Bandwidth),
        Self::Network(Behind::Bucket, Trouble::Cut),
        Self::Network(Behind::Bucket, Trouble::Refused),
        Self::Network(Behind::Bucket, Trouble::Outage),
        Self::Clock(Clock::Controller),
        Self::Clock(Clock::Controller),
        Self::Clock(Clock::Managers),
        Self::DiskFull,
    ];

    /// What there is beside, where runs are Jobs.
    const OF_JOBS: [Self; 17] = [
        Self::Network(Behind::Api, Trouble::Latency),
        Self::Network(Behind::Api, Trouble::Reset),
        Self::Network(Behind::Api, Trouble::HalfOpen),
        Self::Network(Behind::Api, Trouble::Bandwidth),
        Self::Network(Behind::Api, Trouble::Cut),
        Self::Network(Behind::Api, Trouble::Cut),
        Self::Network(Behind::Api, Trouble::Refused),
        Self::Network(Behind::Api, Trouble::Outage),
        Self::Pod(Strike::Evict),
        Self::Pod(Strike::Preempt),
        Self::Pod(Strike::Delete),
        Self::Pod(Strike::DeleteByForce),
        Self::Pod(Strike::DeleteJob),
        Self::Pod(Strike::DeleteJob),
        Self::Watches,
        Self::Watches,
        Self::Node,
    ];

    /// Every kind.
    pub fn kinds(launcher: Launcher) -> Vec<Self> {
        let mut kinds = Self::ALL.to_vec();
        if launcher == Launcher::Kubernetes {
            kinds.retain(|fault| !matches!(fault, Self::Run(_, Part::Supervisor)));
            kinds.extend(Self::OF_JOBS);
        }
        kinds
    }

    /// As in the log and in reports.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase().replace(", ", "_").replace('(', "_").replace(')', "")
    }

    /// What troubles share that may not overlap: a proxy, the managers' clock, the disk.
    fn place(self) -> Option<usize> {
        match self {
            Self::Network(Behind::Store, _) => Some(0),
            Self::Network(Behind::Bucket, _) => Some(1),
            Self::Clock(Clock::Managers) => Some(2),
            Self::DiskFull => Some(3),
            Self::Network(Behind::Api, _) => Some(4),
            Self::Node => Some(5),
            Self::Controller(_) | Self::Run(..) | Self::Clock(Clock::Controller) | Self::Pod(_) | Self::Watches => None,
        }
    }

    /// True for what takes long.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Network(_, Trouble::Outage))
    }

    /// True where it leaves a process dead that nobody asked to end.
    pub fn is_kill(self) -> bool {
        matches!(self, Self::Controller(Blow::Kill) | Self::Run(Blow::Kill, _) | Self::Pod(Strike::DeleteByForce))
    }
}

/// A fault with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// From the beginning of the round.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// Until it is over.
    pub lasts: Duration,
    /// Picks among those that it could hit.
    pub pick: usize,
}

/// How a call comes to its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    /// One.
    One,
    /// Two for one occurrence, with the same start: they share an instance.
    SameStart,
    /// Two without a start: two instances, of which one may be in the call.
    NoStart,
    /// One, which is cancelled after a while.
    Cancelled,
}

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedCall {
    /// From the beginning of the round.
    pub at: Duration,
    /// The host ends it after so many segments.
    pub segments: u32,
    /// What backends write.
    pub documents: Documents,
    /// For one that is cancelled: so long after it was written.
    pub cancelled_after: Duration,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order of time.
    pub faults: Vec<Planned>,
    /// In the order of time.
    pub calls: Vec<PlannedCall>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64, size: &Size) -> Self {
        let mut chance = Chance(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let calls = calls(&mut chance, size);
        Self { faults: faults(&mut chance, size), calls }
    }
}

/// Every kind in turn, in an order of chance, over and over, outages but once: nothing lives long enough in them to be hit. Two troubles
/// at one place never overlap. A round about outages has no others.
fn faults(chance: &mut Chance, size: &Size) -> Vec<Planned> {
    let (end, mut at) = (size.seconds * 1_000, 1_000);
    let kinds = size.kinds();
    let is_brief = |fault: &Fault| !fault.is_outage();
    let mut bag = kinds.clone();
    let (mut planned, mut free_at) = (outages(size), [0_u64; 6]);
    if !planned.is_empty() {
        bag.retain(is_brief);
    }
    loop {
        at += chance.between(size.fault_gap_ms);
        if at >= end {
            break;
        }
        if bag.is_empty() {
            bag.extend(kinds.iter().copied().filter(is_brief));
        }
        let fault = bag.swap_remove(chance.below(bag.len()));
        let mut begins = at;
        let lasts = chance.between(if fault.is_outage() { size.outage_ms } else { size.trouble_ms });
        if let Some(place) = fault.place() {
            let free = &mut free_at[place];
            begins = at.max(*free);
            if is_away(fault, begins, begins + lasts, size) {
                continue;
            }
            *free = begins + lasts + 500;
        }
        if begins + lasts < end + size.outage_ms.1 {
            let (at, lasts) = (Duration::from_millis(begins), Duration::from_millis(lasts));
            planned.push(Planned { at, fault, lasts, pick: chance.below(1_000) });
        }
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// The outages that a round is about.
fn outages(size: &Size) -> Vec<Planned> {
    let outage = |(behind, from, to): (Behind, u64, u64)| Planned {
        at: Duration::from_millis(from),
        fault: Fault::Network(behind, Trouble::Outage),
        lasts: Duration::from_millis(to - from),
        pick: 0,
    };
    size.outages.times().into_iter().map(outage).collect()
}

/// True where a trouble would fall into an outage of the same.
fn is_away(fault: Fault, from: u64, to: u64, size: &Size) -> bool {
    let Fault::Network(behind, _) = fault else { return false };
    size.outages.times().iter().any(|(away, begins, ends)| *away == behind && from < ends + 500 && *begins < to + 500)
}

fn calls(chance: &mut Chance, size: &Size) -> Vec<PlannedCall> {
    let (mut calls, mut at) = (Vec::new(), 0);
    while at < size.seconds * 1_000 * 4 / 5 {
        let documents = match chance.below(10) {
            0 | 1 => Documents::SameStart,
            2 => Documents::NoStart,
            3 => Documents::Cancelled,
            _ => Documents::One,
        };
        let mut segments = chance.between(size.segments);
        if calls.len() % 2 == 0 && size.outages.is_soon(at) {
            segments = (size.outages.secs + 2 * BETWEEN_OUTAGES) / SEGMENT.as_secs();
        }
        calls.push(PlannedCall {
            at: Duration::from_millis(at),
            segments: u32::try_from(segments).unwrap_or(1),
            documents,
            cancelled_after: Duration::from_millis(chance.between((500, 12_000))),
        });
        at += chance.between(size.meeting_gap_ms);
    }
    calls
}

/// SplitMix64: the same on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Both included.
    fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.next() % (to.saturating_sub(from) + 1)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_same_plan_each_time_and_another_seed_another() {
        assert_eq!(Plan::of(7, &Size::SMALL), Plan::of(7, &Size::SMALL));
        assert_ne!(Plan::of(7, &Size::SMALL), Plan::of(8, &Size::SMALL));
    }

    #[test]
    fn troubles_before_one_proxy_never_overlap() {
        for seed in 0..50 {
            let outages = Outages { secs: 60, of: vec![Behind::Bucket] };
            let plan = Plan::of(seed, &Size::long(240).over(Launcher::Kubernetes).about(outages));
            for behind in [Behind::Store, Behind::Bucket, Behind::Api] {
                let of =
                    plan.faults.iter().filter(|planned| matches!(planned.fault, Fault::Network(which, _) if which == behind));
                let times: Vec<_> = of.map(|planned| (planned.at, planned.at + planned.lasts)).collect();
                assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].0), "seed {seed}: {times:?}");
            }
        }
    }

    #[test]
    fn outages_come_one_after_the_other_while_calls_go_on() {
        let outages = Outages { secs: 600, of: vec![Behind::Store, Behind::Api] };
        let plan = Plan::of(1, &Size::long(10).over(Launcher::Kubernetes).about(outages));
        let away: Vec<_> = plan.faults.iter().filter(|planned| planned.fault.is_outage()).collect();
        let times: Vec<_> = away.iter().map(|planned| (planned.at.as_secs(), planned.lasts.as_secs())).collect();
        assert_eq!(times, [(90, 600), (780, 600)]);
        for outage in away {
            let over = |call: &&PlannedCall| {
                call.at < outage.at && call.at + SEGMENT * call.segments > outage.at + outage.lasts + Duration::from_secs(60)
            };
            let within = |call: &&PlannedCall| (outage.at..outage.at + outage.lasts).contains(&call.at);
            assert!(plan.calls.iter().filter(over).count() >= 2 && plan.calls.iter().filter(within).count() >= 10);
        }
    }

    #[test]
    fn the_brief_round_has_every_kind_in_it() {
        // The seed of `make test`.
        let plan = Plan::of(2, &Size::BRIEF);
        let is_missing = |fault: &Fault| !plan.faults.iter().any(|planned| planned.fault == *fault);
        let missing: Vec<_> = Size::BRIEF.kinds().into_iter().filter(is_missing).collect();
        assert_eq!(missing, []);
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(Fault::Pod(Strike::DeleteByForce).name(), "pod_deletebyforce");
        assert_eq!(Fault::Run(Blow::Kill, Part::Machine).name(), "run_kill_machine");
        assert_eq!(Fault::Network(Behind::Store, Trouble::HalfOpen).name(), "network_store_halfopen");
    }
}
