//! `make chaos ROUNDS=… SECONDS=… SEED=…`: real processes under faults. The last lines hold the counts.

#![allow(clippy::print_stdout, reason = "it prints counts")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::chaos::plan::{Behind, Launcher, Outages, Size};
use tests::chaos::report::Figures;
use tests::chaos::{checker, round};

const EMULATOR: &str = "FIRESTORE_EMULATOR_HOST";

/// Breaks things, and judges what became of them.
#[derive(Parser)]
struct Args {
    /// How many, each over a site of its own.
    #[arg(long, default_value_t = 2)]
    rounds: u64,
    /// How long things break in each.
    #[arg(long, default_value_t = 210)]
    seconds: u64,
    /// Of the first round; each further one takes the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The round of `make test`: everything once, in half a minute, or over Jobs in a quarter of one.
    #[arg(long)]
    small: bool,
    /// What launches runs.
    #[arg(long, value_enum, default_value_t = Launcher::Process)]
    launcher: Launcher,
    /// Long outages, so many seconds each; 0 leaves it at one of up to 90 s of each.
    #[arg(long, default_value_t = 0)]
    outage_seconds: u64,
    /// What is away for so long, one after the other; nothing is everything that there is.
    #[arg(long, value_enum, value_delimiter = ',')]
    outage_of: Vec<Behind>,
    /// How long it may take, when nothing breaks any more, until everything has ended. Unset: a finalize run that failed six times waits
    /// for a quarter of an hour, and what came due in an outage is recorded after it, within as long as that was and five minutes.
    #[arg(long)]
    quiet: Option<u64>,
}

impl Args {
    fn size(&self) -> Size {
        let size = match (self.small, self.launcher) {
            (true, Launcher::Process) => Size::SMALL,
            (true, Launcher::Kubernetes) => Size::BRIEF,
            (false, launcher) => Size::long(self.seconds).over(launcher),
        };
        if self.outage_seconds == 0 {
            return size;
        }
        let all = [Behind::Store, Behind::Bucket, Behind::Api];
        let mut of = if self.outage_of.is_empty() { all.to_vec() } else { self.outage_of.clone() };
        of.retain(|behind| *behind != Behind::Api || self.launcher == Launcher::Kubernetes);
        size.about(Outages { secs: self.outage_seconds, of })
    }

    fn quiet(&self) -> Duration {
        Duration::from_secs(self.quiet.unwrap_or(1_200 + self.outage_seconds))
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if std::env::var_os(EMULATOR).is_some() {
        // Whoever interrupts it leaves nothing running: what is dropped here ends its processes.
        return tokio::select! {
            ended = rounds(&args) => ended,
            interrupted = interrupted() => interrupted.map(|()| ExitCode::FAILURE),
        };
    }
    // Again, with the emulator in the environment, where the store's adapter looks for it.
    let emulator = bot_store::emulator::start().await.context("install the Firestore emulator")?;
    let mut again = tokio::process::Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(EMULATOR, emulator.host())
        .kill_on_drop(true)
        .spawn()?;
    let ended = tokio::select! {
        ended = again.wait() => ended?,
        interrupted = interrupted() => {
            interrupted?;
            if let Some(pid) = again.id().and_then(|id| i32::try_from(id).ok()) {
                tests::chaos::runs::signal(pid, rustix::process::Signal::TERM);
            }
            again.wait().await?
        }
    };
    Ok(if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Answers at SIGINT or SIGTERM.
async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn rounds(args: &Args) -> Result<ExitCode> {
    let (begun, mut figures) = (Instant::now(), Figures::default());
    let size = args.size();
    for seed in args.seed..args.seed + args.rounds {
        let folder = tempfile::Builder::new().prefix("chaos-").tempdir()?;
        let ended = match round(folder.path(), seed, &size, args.quiet()).await {
            Ok(ended) => ended,
            Err(error) => return Err(error.context(format!("what was left is kept in {}", folder.keep().display()))),
        };
        let judged = checker::judge(&ended.history);
        println!(
            "seed {seed}: {} meetings, {} joins, {} broken",
            ended.history.meetings.len(),
            judged.joins,
            judged.violations.len()
        );
        if !judged.violations.is_empty() || ended.quiet_after.is_none() {
            println!("seed {seed}: logs and ground truth are kept in {}", folder.keep().display());
        }
        figures.add(&ended, &judged);
    }
    figures.lines(begun.elapsed()).iter().for_each(|line| println!("{line}"));
    Ok(if figures.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
