//! What a seed stands for: when what is broken, and which meetings come. Data only; the same seed is the same plan.

use std::time::Duration;

/// How big a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
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
        seconds: 27,
        controllers: 2,
        fault_gap_ms: (600, 1_300),
        trouble_ms: (800, 3_000),
        outage_ms: (5_000, 7_000),
        meeting_gap_ms: (1_000, 3_000),
        segments: (5, 8),
        hits: 2,
    };

    /// For `make chaos`: as long as it is told.
    pub fn long(seconds: u64) -> Self {
        Self {
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
}

/// What the network does to store or bucket.
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

/// Before which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Firestore.
    Store,
    /// The bucket.
    Bucket,
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
}

impl Fault {
    /// Every kind.
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
            Self::Controller(_) | Self::Run(..) | Self::Clock(Clock::Controller) => None,
        }
    }

    /// True for what takes long.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Network(_, Trouble::Outage))
    }

    /// True where it leaves a process dead that nobody asked to end.
    pub fn is_kill(self) -> bool {
        matches!(self, Self::Controller(Blow::Kill) | Self::Run(Blow::Kill, _))
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
/// at one place never overlap.
fn faults(chance: &mut Chance, size: &Size) -> Vec<Planned> {
    let (end, mut at) = (size.seconds * 1_000, 1_000);
    let (mut planned, mut bag, mut free_at) = (Vec::new(), Fault::ALL.to_vec(), [0_u64; 4]);
    loop {
        at += chance.between(size.fault_gap_ms);
        if at >= end {
            break;
        }
        if bag.is_empty() {
            bag.extend(Fault::ALL.into_iter().filter(|fault| !fault.is_outage()));
        }
        let fault = bag.swap_remove(chance.below(bag.len()));
        let mut begins = at;
        let lasts = chance.between(if fault.is_outage() { size.outage_ms } else { size.trouble_ms });
        if let Some(place) = fault.place() {
            let free = &mut free_at[place];
            begins = at.max(*free);
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

fn calls(chance: &mut Chance, size: &Size) -> Vec<PlannedCall> {
    let (mut calls, mut at) = (Vec::new(), 0);
    while at < size.seconds * 1_000 * 4 / 5 {
        let documents = match chance.below(10) {
            0 | 1 => Documents::SameStart,
            2 => Documents::NoStart,
            3 => Documents::Cancelled,
            _ => Documents::One,
        };
        calls.push(PlannedCall {
            at: Duration::from_millis(at),
            segments: u32::try_from(chance.between(size.segments)).unwrap_or(1),
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
            let plan = Plan::of(seed, &Size::long(240));
            for behind in [Behind::Store, Behind::Bucket] {
                let of =
                    plan.faults.iter().filter(|planned| matches!(planned.fault, Fault::Network(which, _) if which == behind));
                let times: Vec<_> = of.map(|planned| (planned.at, planned.at + planned.lasts)).collect();
                assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].0), "seed {seed}: {times:?}");
            }
        }
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(Fault::Run(Blow::Kill, Part::Machine).name(), "run_kill_machine");
        assert_eq!(Fault::Network(Behind::Store, Trouble::HalfOpen).name(), "network_store_halfopen");
    }
}
