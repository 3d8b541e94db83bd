//! The command line: what a person or a pod starts. Prints results to standard output, problems to standard error.
#![allow(clippy::print_stderr, reason = "this is the command line's own output")]

mod cancel;
mod doctor;
mod indexes;
mod keys;
mod opening;
mod probe;
mod run;
mod say;
mod schedule;
mod status;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bot_model::configuration::Problem;
use bot_model::exit_code::ExitCode as Code;
use bot_model::platform::OtherPlatforms;
use bot_store::Store;
use clap::{Parser, Subcommand};

use crate::config::{Config, Needs};
use crate::settings;

/// How long a store may take to open.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// Finds due meetings, sends one bot to each, and sees that its recording is finished.
#[derive(Debug, Parser)]
#[command(name = "controller", version, after_help = "Settings are environment variables; `controller settings` lists them.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Discover, claim, launch and reap until told to stop.
    Run {
        /// End once nothing is due, queued, live or running.
        #[arg(long)]
        until_idle: bool,
    },
    /// Write a meeting into the store.
    Schedule(schedule::Args),
    /// Show meetings and their bots.
    Status(status::Args),
    /// Cancel a meeting or a bot.
    Cancel {
        /// A meeting's path or id, or a bot instance's id.
        id: String,
    },
    /// Say what is missing on this machine or in this configuration, and what mends it.
    Doctor,
    /// Print the Firestore indexes that the configured names need.
    Indexes {
        /// How to print them.
        #[arg(long, value_enum, default_value = "gcloud")]
        format: indexes::Format,
    },
    /// Make, list and revoke the API's keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Print the API's OpenAPI document.
    Openapi,
    /// List every setting with its default.
    Settings {
        /// As the reference page.
        #[arg(long)]
        markdown: bool,
    },
    /// Exit 0 when the controller on this machine answers.
    Probe,
    /// Supervise one local run; started by the controller itself.
    #[command(hide = true)]
    Supervise {
        /// The run's folder.
        #[arg(long)]
        run_dir: PathBuf,
    },
}

/// Why a command ended without doing its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Settings that cannot be used.
    #[error("{}", list(.0))]
    Configuration(Vec<Problem>),
    /// What was asked for cannot be done as asked.
    #[error("{0}")]
    Usage(String),
    /// The store, the launcher or this machine failed.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    fn code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) | Self::Usage(_) => Code::BadConfiguration.into(),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl From<bot_store::StoreError> for CliError {
    fn from(error: bot_store::StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!("the configuration cannot be used:\n{}\n`controller settings` lists every setting", lines.join("\n"))
}

/// Reads the command line and runs what it names.
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Code::BadConfiguration.into() } else { ExitCode::SUCCESS };
        }
    };
    let _logs = bot_logs::start("info,rusqlite=warn");
    OtherPlatforms::install_from(|name| std::env::var(name).ok());
    // The Firestore client needs a provider chosen; a second choice is refused, which is fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ended = match args.command {
        Command::Supervise { run_dir } => {
            crate::supervise::supervise(&run_dir).map(|()| ExitCode::SUCCESS).map_err(|error| CliError::Failed(error.to_string()))
        }
        Command::Probe => Ok(probe::probe()),
        Command::Indexes { format } => indexes::indexes(format),
        Command::Openapi => {
            say::say!("{:#}", api::openapi());
            Ok(ExitCode::SUCCESS)
        }
        Command::Settings { markdown } => {
            say::say!("{}", (if markdown { settings::page() } else { settings::reference() }).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        command => on_runtime(command),
    };
    ended.unwrap_or_else(|error| {
        // Standard error may be a file on a full disk; the exit code says it, too.
        let _ = writeln!(std::io::stderr(), "controller: {error}");
        error.code()
    })
}

fn on_runtime(command: Command) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(async {
        match command {
            Command::Run { until_idle } => run::run(until_idle).await,
            Command::Schedule(args) => schedule::schedule(args).await,
            Command::Status(args) => status::status(args).await,
            Command::Cancel { id } => cancel::cancel(&id).await,
            Command::Keys(command) => keys::keys(command).await,
            _ => doctor::doctor().await,
        }
    });
    // A thread that still waits for the store must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// The configuration and its store, for a command that needs no more.
async fn open_store() -> Result<Arc<dyn Store>, CliError> {
    let config = Config::from_environment(Needs::Store).map_err(CliError::Configuration)?;
    open(&config).await
}

async fn open(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    match tokio::time::timeout(OPEN_LIMIT, bot_store::connect::open(&config.store_url, config.naming.clone())).await {
        Ok(store) => Ok(store?),
        Err(_) => Err(CliError::Failed(format!("{} did not open within {} s", config.store_url, OPEN_LIMIT.as_secs()))),
    }
}
