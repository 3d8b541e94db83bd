//! `make test-cluster`: the black-box suite on the cluster that `KUBECONFIG` names (docs/test-cluster.md).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command's own output")]

use std::process::ExitCode;

use clap::Parser;
use tests::cluster_suite::{ClusterSite, NoCluster, Scenario, Site, all, play};
use tokio::signal::unix::{SignalKind, signal};

/// There is no cluster: nothing was tried, nothing is proven. EX_UNAVAILABLE of sysexits.h.
const NO_CLUSTER: u8 = 69;
/// EX_USAGE.
const USAGE: u8 = 64;
/// Of a shell for what Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Plays meetings on the cluster that KUBECONFIG names, in a namespace of its own, which it removes.
#[derive(Parser)]
struct Args {
    /// Print the scenarios and what each proves.
    #[arg(long)]
    list: bool,
    /// Play this one alone; may be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leave the namespace there, to look at.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let table = all();
    if args.list {
        for scenario in &table {
            println!("{:<17} {}", scenario.name, scenario.proves);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.only.iter().find(|name| table.iter().all(|one| one.name != **name)) {
        eprintln!("no scenario {unknown}: --list shows them");
        return ExitCode::from(USAGE);
    }
    let wanted: Vec<&Scenario> =
        table.iter().filter(|one| args.only.is_empty() || args.only.iter().any(|name| name == one.name)).collect();
    match ClusterSite::connect().await {
        Ok(site) => run(site, &wanted, args.keep).await,
        Err(why) => no_cluster(&why),
    }
}

fn no_cluster(why: &NoCluster) -> ExitCode {
    eprintln!(
        "NOT RUN: {}. Nothing was tried, so nothing is proven.\n\
         Name a cluster that may be tried on, with the images loaded (docs/test-cluster.md has every step):\n  \
         kind create cluster --name bots && kind get kubeconfig --name bots >/tmp/bots.kubeconfig\n  \
         KUBECONFIG=/tmp/bots.kubeconfig BOT_IMAGE_PREFIX=meeting-recorder make test-cluster",
        why.0
    );
    ExitCode::from(NO_CLUSTER)
}

async fn run(site: ClusterSite, wanted: &[&Scenario], keep: bool) -> ExitCode {
    println!("namespace {}", site.name());
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return ExitCode::FAILURE;
    };
    let begun = site.set_up();
    let mut code = tokio::select! {
        ready = begun => match ready {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("FAIL     the suite's own services: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ = terminate.recv() => ExitCode::from(INTERRUPTED),
        _ = interrupt.recv() => ExitCode::from(INTERRUPTED),
    };
    let site = Site::Cluster(Box::new(site));
    if code == ExitCode::SUCCESS {
        let mut tell = |line: &str| println!("{line}");
        code = tokio::select! {
            is_good = play(&site, wanted, &mut tell) => if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            _ = terminate.recv() => ExitCode::from(INTERRUPTED),
            _ = interrupt.recv() => ExitCode::from(INTERRUPTED),
        };
    }
    if keep {
        println!("kept: kubectl delete namespace {}", site.namespace());
    } else if let Err(error) = site.remove().await {
        eprintln!("FAIL     {error:#}");
        code = ExitCode::FAILURE;
    }
    code
}
