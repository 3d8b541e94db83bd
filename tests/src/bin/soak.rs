//! `make soak SEEDS=… SEED_START=…`: the simulation over many seeds. The last line holds the counts.

#![allow(clippy::print_stdout, reason = "it prints counts")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bot_store::kill_point::KillPoint;
use clap::Parser;
use tests::sim::{Failure, Tally, run};

/// Runs the simulation over many seeds.
#[derive(Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    seed_start: u64,
}

/// What ended well, and what did not.
type Found = (Vec<Tally>, Vec<(u64, Failure)>);

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let begun = Instant::now();
    let next = AtomicU64::new(args.seed_start);
    let found: Mutex<Found> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seed_start + args.seeds {
                        return;
                    }
                    let ended = run(seed, None);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    match ended {
                        Ok(tally) => found.0.push(tally),
                        Err(failure) => {
                            println!(
                                "seed {seed}: {}\nsmallest plan: {:?}\n{}",
                                failure.broken.violation, failure.plan, failure.broken.story
                            );
                            found.1.push((seed, *failure));
                        }
                    }
                }
            });
        }
    });
    let (tallies, failures) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&tallies);
    let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    println!("{} seeds in {:.0} s: {} broke a promise {seeds:?}", args.seeds, begun.elapsed().as_secs_f64(), failures.len());
    if failures.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

fn report(tallies: &[Tally]) {
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    let mut points: BTreeMap<KillPoint, u64> = BTreeMap::new();
    let (mut lost, mut gaps, mut troubles) = (Vec::new(), Vec::new(), 0);
    for tally in tallies {
        for (name, count) in &tally.faults {
            *faults.entry(name).or_default() += count;
        }
        for (name, count) in &tally.ended {
            *ended.entry(name).or_default() += count;
        }
        for (point, count) in &tally.points {
            *points.entry(*point).or_default() += count;
        }
        lost.extend(&tally.lost);
        gaps.extend(&tally.gaps);
        troubles += tally.troubles;
    }
    println!("calls refused or with their answer lost: {troubles}; faults: {faults:?}");
    let points: Vec<String> = points.iter().map(|(point, count)| format!("{} {count}", point.name())).collect();
    println!("deaths at kill points: {}", points.join(", "));
    println!("instances ended: {ended:?}");
    println!("segments lost with a killed run, seconds before its end: {}", spread(lost));
    println!("seconds from one bot's end to the next one's join in the same call: {}", spread(gaps));
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or_default();
    format!("{} values, p50 {:.1}, p99 {:.1}, worst {:.1}", values.len(), at(0.5), at(0.99), at(1.0))
}
