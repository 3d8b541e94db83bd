//! `make durability`: every process of real recordings is killed at random moments, ROUNDS times over. The last lines hold what was
//! lost and how long the bot was away.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use tests::durability::blow::{Blow, parse};
use tests::durability::report::{Cost, percentile};
use tests::durability::{Dice, round};

/// Runs the matrix.
#[derive(Parser)]
struct Args {
    /// How many calls; each is struck four times: its capture, its browser, and twice its run.
    #[arg(long, default_value_t = 10)]
    rounds: u64,
    /// Repeats a run; a round's own seed is printed with it.
    #[arg(long)]
    seed: Option<u64>,
    /// Instead of the matrix, these in each call, such as `manager,group`.
    #[arg(long, value_parser = |text: &str| parse(text).map(List))]
    blows: Option<List>,
}

#[derive(Clone)]
struct List(Vec<Blow>);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let first = args.seed.unwrap_or_else(|| chrono::Utc::now().timestamp().unsigned_abs());
    let begun = Instant::now();
    let (mut costs, mut failed): (Vec<Cost>, Vec<u64>) = (Vec::new(), Vec::new());
    for seed in (first..).take(usize::try_from(args.rounds)?) {
        let mut dice = Dice(seed);
        let blows = args.blows.as_ref().map_or_else(|| matrix(seed, &mut dice), |list| list.0.clone());
        let folder = tempfile::tempdir()?;
        match round(folder.path(), &mut dice, &blows).await {
            Ok(round) => {
                println!("seed {seed}: {round:?}");
                failed.extend(round.iter().any(|cost| !cost.is_as_promised()).then_some(seed));
                costs.extend(round);
            }
            Err(error) => {
                println!("seed {seed}: {error:?}; its files are in {}", folder.keep().display());
                failed.push(seed);
            }
        }
    }
    report(&costs);
    println!("{} calls in {:.0} s, seeds from {first}; not as promised: {failed:?}", args.rounds, begun.elapsed().as_secs_f64());
    ensure!(failed.is_empty(), "{} calls lost more than is promised, or broke", failed.len());
    Ok(())
}

/// A call's blows: capture, browser, and two that end the run (more would measure the pause before each further attempt), each kind
/// as often as any other, in a random order.
fn matrix(seed: u64, dice: &mut Dice) -> Vec<Blow> {
    let kinds = Blow::OF_THE_RUN;
    let of_the_run = |nth: u64| kinds[(seed.wrapping_mul(2) + nth) as usize % kinds.len()];
    let mut blows = vec![Blow::Ffmpeg, Blow::Browser, of_the_run(0), of_the_run(1)];
    for at in (1..blows.len()).rev() {
        blows.swap(at, dice.roll(0..at as u64 + 1) as usize);
    }
    blows
}

fn report(costs: &[Cost]) {
    println!("{:<16} {:>5} {:>9} {:>9} {:>10} {:>10}", "blow", "count", "lost p50", "worst", "back p50", "p99");
    let mut kinds: Vec<Blow> = costs.iter().map(|cost| cost.blow).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        line(&format!("{kind:?}"), &costs.iter().filter(|cost| cost.blow == kind).collect::<Vec<_>>());
    }
    line("SIGKILL, all", &costs.iter().filter(|cost| !cost.blow.is_announced()).collect::<Vec<_>>());
    line("SIGTERM, all", &costs.iter().filter(|cost| cost.blow.is_announced()).collect::<Vec<_>>());
    let leaving: Vec<f64> = costs.iter().map(|cost| cost.lost_leaving_secs).collect();
    println!("from the last picture to the bot's leaving after a SIGTERM: {:.2} s at most", percentile(&leaving, 1.0));
}

/// "Back" is when something was captured again: for a blow that the bot survives, too.
fn line(name: &str, costs: &[&Cost]) {
    let lost: Vec<f64> = costs.iter().map(|cost| cost.lost_secs).collect();
    let back: Vec<f64> = costs.iter().map(|cost| cost.captured_again_secs).collect();
    let (p50, worst) = (percentile(&lost, 0.5), percentile(&lost, 1.0));
    println!(
        "{name:<16} {:>5} {p50:>8.2}s {worst:>8.2}s {:>9.2}s {:>9.2}s",
        costs.len(),
        percentile(&back, 0.5),
        percentile(&back, 0.99)
    );
}
