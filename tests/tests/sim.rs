//! The simulation: every seed keeps every promise, and without any one of the guards some seed breaks one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bot_store::guard::Guard;
use tests::sim::{run, run_once};

const SEEDS: u64 = 1_000;

#[test]
fn a_thousand_seeds_keep_every_promise() {
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= SEEDS {
                            return;
                        }
                        if let Err(failure) = run(seed, None) {
                            panic!(
                                "seed {seed}: {}\nsmallest plan: {:?}\n{}",
                                failure.broken.violation, failure.plan, failure.broken.story
                            );
                        }
                    }
                })
            })
            .collect();
        for hand in hands {
            hand.join().unwrap();
        }
    });
    println!("{SEEDS} seeds in {:.0} s", begun.elapsed().as_secs_f64());
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..20 {
        let runs: Vec<String> = (0..2).map(|_| format!("{:?}", run_once(seed, None))).collect();
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

#[test]
fn without_any_one_guard_some_seed_breaks_a_promise() {
    // Two guards have others behind them here, so that their loss alone breaks nothing: the run lease keeps finalizers apart, and the
    // lifecycle and the slot refuse an older attempt. They have tests of their own: two real finalizers at once
    // (manager/tests/runs/finalize.rs), and the protocol's rule that a relaunch fences the old run.
    let alone = Guard::ALL.into_iter().filter(|guard| !matches!(guard, Guard::FrozenList | Guard::Attempt));
    let caught = |guard| (0..500).find_map(|seed| run_once(seed, Some(guard)).err().map(|broken| (seed, broken.violation)));
    std::thread::scope(|scope| {
        let hands: Vec<_> = alone.map(|guard| (guard, scope.spawn(move || caught(guard)))).collect();
        for (guard, hand) in hands {
            let (seed, violation) =
                hand.join().unwrap().unwrap_or_else(|| panic!("500 seeds without {guard:?} and nothing broke"));
            println!("without {guard:?}: seed {seed}: {violation}");
        }
    });
}
