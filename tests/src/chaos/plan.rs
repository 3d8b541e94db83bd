//! What a seed stands for: when what is broken, and which meetings come. Data only; the same seed is the same plan.

mod fault;
mod size;

use std::time::Duration;

pub use fault::{Behind, Blow, Clock, Fault, Part, Strike, Trouble};
pub use size::{Launcher, Outages, Size};

use crate::scripted_bot::SEGMENT;
use size::BETWEEN_OUTAGES;

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
