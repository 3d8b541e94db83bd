//! The command line: wires the manager to its environment and to SIGTERM.

use std::path::{Path, PathBuf};

use bot_model::configuration::Problem;
use bot_model::exit_code::ExitCode;
use bot_model::object_prefix::ObjectPrefix;
use bot_model::platform::OtherPlatforms;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{self, Config};
use crate::finalize::salvage;
use crate::objects::Objects;
use crate::record;
use crate::retain::{self, RetainConfig, Retained};
use crate::retry::verb_within;

/// One run of one bot. Everything is set by the environment: see the configuration reference.
#[derive(Parser)]
#[command(name = "manager", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Joins the call, records, makes the files (the default).
    Record,
    /// Makes the files of what was recorded, joining nothing.
    Finalize,
    /// Deletes raw segments whose retention has passed; for a timer, once a day. Needs STORE_URL, RECORDINGS_URL and, if it is not
    /// 72, RAW_RETENTION_HOURS.
    Retain,
    /// Makes video.mp4 and audio.m4a, on this disk, of whatever segments of a recording lie in the bucket: for a bot that failed with
    /// its segments kept. Needs RECORDINGS_URL; changes nothing in the bucket or the store.
    Salvage {
        /// Where the recording lies below RECORDINGS_URL: the bot's `gcs_path`.
        #[arg(value_parser = ObjectPrefix::parse)]
        path: ObjectPrefix,
        /// The folder for the files; made if need be.
        #[arg(long, value_name = "FOLDER")]
        into: PathBuf,
    },
}

/// Does what the command line asks for; answers how the process ends.
#[tokio::main]
pub async fn run() -> std::process::ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _logs = bot_logs::start("info");
    // Before the settings are looked at, so that --help and --version need none.
    let command = Cli::parse().command.unwrap_or(Command::Record);
    let lookup = |name: &str| std::env::var(name).ok();
    OtherPlatforms::install_from(lookup);
    match command {
        Command::Retain => retain_raw(RetainConfig::read(lookup)).await,
        Command::Salvage { path, into } => salvaged(config::bucket_alone(lookup), &path, &into).await,
        Command::Record | Command::Finalize => one_run(Config::read(lookup), matches!(command, Command::Finalize)).await,
    }
}

async fn retain_raw(config: Result<RetainConfig, Vec<Problem>>) -> std::process::ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(problems) => return unusable(&problems),
    };
    match Box::pin(retained(&config)).await {
        Ok(done) => {
            tracing::info!(done.instances, done.objects, done.unlisted, done.failed, "raw segments looked through");
            if done.failed == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
        }
        Err(error) => {
            tracing::error!(%error, "raw segments could not be looked through");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn retained(config: &RetainConfig) -> Result<Retained, record::RunError> {
    let store = verb_within("open", bot_store::connect::open(&config.store_url, config.naming.clone())).await?;
    let objects = Objects::open(&config.recordings_url).await?;
    Ok(retain::retain(store.as_ref(), &objects, config.retention, chrono::Utc::now()).await?)
}

async fn salvaged(bucket: Result<String, Vec<Problem>>, path: &ObjectPrefix, into: &Path) -> std::process::ExitCode {
    let made = match bucket {
        Ok(url) => Objects::open(&url).await,
        Err(problems) => return unusable(&problems),
    };
    let made = match made {
        Ok(objects) => Box::pin(salvage(&objects, path, into)).await,
        Err(error) => Err(error.into()),
    };
    match made {
        Ok(made) => {
            let files: Vec<_> = made.files.iter().map(|file| file.display().to_string()).collect();
            tracing::info!(files = files.join(", "), secs = made.duration_secs, left_out = made.left_out.len(), "files made");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, path = path.as_str(), "no files could be made; what lies in the bucket is untouched");
            std::process::ExitCode::FAILURE
        }
    }
}

fn unusable(problems: &[Problem]) -> std::process::ExitCode {
    for problem in problems {
        tracing::error!(%problem, "unusable setting");
    }
    ExitCode::BadConfiguration.into()
}

async fn one_run(config: Result<Config, Vec<Problem>>, finalize_only: bool) -> std::process::ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(problems) => return unusable(&problems),
    };
    match bound_run(&config, finalize_only).await {
        Ok(code) => {
            tracing::info!(bot_instance_id = %config.instance, attempt = config.attempt, code = code.code(), "run ended");
            code.into()
        }
        Err(error) => {
            tracing::error!(%error, "run failed before it joined");
            ExitCode::RefusedBeforeJoin.into()
        }
    }
}

async fn bound_run(config: &Config, finalize_only: bool) -> Result<ExitCode, record::RunError> {
    // Listening first: from here on a SIGTERM is heeded, whatever the run is at.
    let mut stop = stop_on_sigterm()?;
    let Some(store) = record::open_store(config, &mut stop).await? else { return Ok(ExitCode::Terminated) };
    if finalize_only {
        Box::pin(record::finalize_only(config, store.as_ref(), stop)).await
    } else {
        Box::pin(record::record(config, store.as_ref(), stop)).await
    }
}

fn stop_on_sigterm() -> std::io::Result<watch::Receiver<bool>> {
    let (tell, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        tracing::info!("SIGTERM: carrying out what was recorded, beginning nothing new");
        let _ = tell.send(true);
        // A second one changes nothing; the sender lives on so that the receiver does.
        terminate.recv().await;
        tell.closed().await;
    });
    Ok(stop)
}
