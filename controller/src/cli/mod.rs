//! The command line: what a person or a pod starts. Prints results to standard output, problems to standard error.
#![allow(clippy::print_stderr, reason = "this is the command line's own output")]

mod cancel;
mod doctor;
mod indexes;
mod keys;
mod opening;
mod probe;
mod remote;
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
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, Needs};
use crate::settings;

/// How long a store may take to open.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

const EPILOGUE: &str = "Settings are environment variables; `controller settings` lists them. Exit codes: 0 done; 1 this machine or the store failed; \
    3 (watch) the bot ended without files; 64 wrong usage or settings; 65 a download is not what was sent; 66 nothing of this id; 69 the API cannot be reached or \
    answer now; 77 the key may not do that.";

/// Finds due meetings, sends one bot to each, and sees that its recording is finished.
#[derive(Debug, Parser)]
#[command(name = "controller", version, after_help = EPILOGUE)]
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
        #[command(flatten)]
        api: remote::ApiArgs,
        /// A meeting's path or id, or a bot instance's id.
        id: String,
    },
    /// List bots, or meetings, by a running controller's API.
    List(remote::ListArgs),
    /// Tell what happens as it happens, by a running controller's API.
    Watch(remote::WatchArgs),
    /// Ask a bot to leave its call, by a running controller's API.
    Leave(remote::OneArgs),
    /// Download a bot's files, taking up what broke off, by a running controller's API.
    Download(remote::DownloadArgs),
    /// Show the end of a bot's log, by a running controller's API.
    Log(remote::LogArgs),
    /// Make a link to a file that needs no key, by a running controller's API.
    Link(remote::LinkArgs),
    /// Print the completion of commands for a shell.
    Completion {
        /// Which.
        shell: clap_complete::Shell,
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
    /// The API has nothing of this id that the key may see.
    #[error("{0}")]
    NotFound(String),
    /// The key is missing, wrong, or may not do that.
    #[error("{0}")]
    Denied(String),
    /// What came is not what was sent.
    #[error("{0}")]
    Corrupt(String),
    /// The API cannot be reached, or cannot answer now.
    #[error("{0}")]
    Unreachable(String),
    /// The store, the launcher or this machine failed.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    fn code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) | Self::Usage(_) => Code::BadConfiguration.into(),
            Self::Corrupt(_) => ExitCode::from(65),
            Self::NotFound(_) => ExitCode::from(66),
            Self::Unreachable(_) => ExitCode::from(69),
            Self::Denied(_) => ExitCode::from(77),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }

    /// The same with more words, where it is about reaching the API or being let in.
    fn and(self, more: &str) -> Self {
        match self {
            Self::Unreachable(text) => Self::Unreachable(text + more),
            Self::Denied(text) => Self::Denied(text + more),
            other => other,
        }
    }

    fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
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
        Command::Completion { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "controller", &mut text);
            say::say!("{}", String::from_utf8_lossy(&text).trim_end());
            Ok(ExitCode::SUCCESS)
        }
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
            Command::Cancel { api, id } => match api.named()? {
                Some(client) => remote::cancel(&client, &id).await,
                None => cancel::cancel(&id).await,
            },
            Command::List(args) => remote::list(args).await,
            Command::Watch(args) => remote::watch(args).await,
            Command::Leave(args) => remote::leave(args).await,
            Command::Download(args) => remote::download(args).await,
            Command::Log(args) => remote::log(args).await,
            Command::Link(args) => remote::link(args).await,
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
