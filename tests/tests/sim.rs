//! The simulation: every seed keeps every promise, and without any one of the guards some seed breaks one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bot_model::invariants::Violation;
use bot_store::guard::Guard;
use bot_store::kill_point::KillPoint;
use tests::sim::{Failure, Tally, run, run_aimed, run_once, run_to_death};

const SEEDS: u64 = 1_000;
/// Seeds for each kill point.
const DEATHS: u64 = 20;

#[test]
fn a_thousand_seeds_keep_every_promise() {
    let begun = Instant::now();
    keeps_every_promise(SEEDS, |seed| run(seed, None));
    println!("{SEEDS} seeds in {:.0} s", begun.elapsed().as_secs_f64());
}

#[test]
fn whoever_dies_between_two_steps_no_promise_is_broken_and_every_kill_point_is_hit() {
    let count = KillPoint::ALL.len() as u64;
    let hits = Mutex::new(BTreeMap::new());
    keeps_every_promise(DEATHS * count, |index| {
        let (point, seed) = (KillPoint::ALL[(index % count) as usize], index / count);
        let tally = run_to_death(seed, point)?;
        *hits.lock().unwrap().entry(point).or_insert(0) += tally.points.get(&point).copied().unwrap_or_default();
        Ok(tally)
    });
    let hits = hits.into_inner().unwrap();
    println!("{hits:?}");
    for point in KillPoint::ALL {
        // A few of the seeds get nowhere near it for the third time.
        assert!(hits[&point] >= DEATHS / 4, "{}: {} deaths only", point.name(), hits[&point]);
    }
}

/// Runs each of so many, on every core.
fn keeps_every_promise(count: u64, one: impl Fn(u64) -> Result<Tally, Box<Failure>> + Sync) {
    let next = AtomicU64::new(0);
    on_every_core(|| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            if let Err(failure) = one(number) {
                let (broken, plan) = (&failure.broken, &failure.plan);
                panic!("number {number}: {}\nsmallest plan: {plan:?}\n{}", broken.violation, broken.story);
            }
        }
    });
}

fn on_every_core(work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        let hands: Vec<_> =
            (0..std::thread::available_parallelism().map_or(2, usize::from)).map(|_| scope.spawn(&work)).collect();
        for hand in hands {
            hand.join().unwrap();
        }
    });
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..20 {
        let runs: Vec<String> = (0..2).map(|_| format!("{:?}", run_once(seed, None))).collect();
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

/// Seeds until a guard must be missed. The plans are aimed at those that few need.
const MISSED_WITHIN: u64 = 200;

#[test]
fn plans_that_are_aimed_at_a_guard_keep_every_promise_with_it() {
    for guard in [Guard::JoinNoted, Guard::FrozenList, Guard::Places] {
        for seed in 0..30 {
            if let Err(broken) = run_aimed(seed, guard, None) {
                panic!("{guard:?}, seed {seed}: {}\n{}", broken.violation, broken.story);
            }
        }
    }
}

/// The first seed that breaks a promise without a guard.
fn caught(guard: Guard) -> Option<(u64, Violation)> {
    (0..MISSED_WITHIN).find_map(|seed| run_aimed(seed, guard, Some(guard)).err().map(|broken| (seed, broken.violation)))
}

#[test]
fn without_any_one_guard_some_seed_breaks_a_promise() {
    let next = AtomicU64::new(0);
    let found = Mutex::new(Vec::new());
    on_every_core(|| {
        while let Some(guard) = Guard::ALL.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let caught = caught(*guard);
            println!("without {guard:?}: {caught:?}");
            found.lock().unwrap().push((*guard, caught.is_some()));
        }
    });
    let missed: Vec<Guard> =
        found.into_inner().unwrap().into_iter().filter(|(_, caught)| !caught).map(|(guard, _)| guard).collect();
    assert!(missed.is_empty(), "{MISSED_WITHIN} seeds without {missed:?} and nothing broke");
}
