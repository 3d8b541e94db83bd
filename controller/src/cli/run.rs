//! `controller run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api::logs::RunLogs;
use api::state::{Api, Settings};
use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CliError, opening};
use crate::config::{Config, Needs};
use crate::engine::Engine;
use crate::http;
use crate::launch::kubernetes::KubernetesLauncher;
use crate::launch::logs::Logs;
use crate::launch::process::ProcessLauncher;
use crate::launch::{LaunchError, Launcher};

/// Between looks for idleness; it must be seen twice.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// Runs until SIGTERM or SIGINT, or until idle. The bots are left alone.
pub(super) async fn run(until_idle: bool) -> Result<ExitCode, CliError> {
    let config = Config::from_environment(Needs::Everything).map_err(CliError::Configuration)?;
    let failed = |what: &str, error: &dyn std::fmt::Display| CliError::Failed(format!("{what}: {error}"));
    let program = std::env::current_exe().map_err(|error| failed("cannot find this program", &error))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed("cannot listen for signals", &error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed("cannot listen for signals", &error))?;
    let listener = http::bind(config.http_listen, config.http_port_file.as_deref())
        .await
        .map_err(|error| failed(&format!("HTTP_LISTEN {}", config.http_listen), &error))?;
    let address = listener.local_addr().ok();
    let (stage, seen) = watch::channel(http::Stage::Opening("it is being opened".to_owned()));
    let server = tokio::spawn(http::serve(listener, seen));
    // A file that cannot be opened is a mistake; a service that cannot be reached is an outage.
    let is_patient = !until_idle && config.store_url.starts_with("firestore:");
    let store = tokio::select! {
        biased;
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        store = opening::open_for_long(&config, is_patient, &stage) => store?,
    };
    let launcher = launcher(&config, program).await.map_err(|error| CliError::Failed(error.to_string()))?;
    let engine = Engine::new(store, launcher, &config.controller_id, config.pace.clone());
    let (api, api_server) = serve_api(&config, &engine).await?;
    stage.send_replace(http::Stage::Running(Arc::clone(&engine), api));
    tracing::info!(?address, controller_id = config.controller_id, store = config.store_url, "running");
    let ending = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: the step in hand is finished, and the bots go on"),
                _ = interrupt.recv() => tracing::info!("interrupted: the step in hand is finished, and the bots go on"),
                () = idle(&engine), if until_idle => tracing::info!("idle"),
            }
            engine.stop();
        })
    };
    engine.run().await;
    let _ = ending.await;
    [Some(server), api_server].into_iter().flatten().for_each(|server| server.abort());
    Ok(ExitCode::SUCCESS)
}

/// The API to serve beside health and metrics, or the server that has it on an address of its own.
async fn serve_api(config: &Config, engine: &Arc<Engine>) -> Result<(Option<Router>, Option<JoinHandle<()>>), CliError> {
    let settings = Settings {
        access: config.api.access,
        window: config.pace.window,
        max_live: config.runs.max_live,
        recordings_url: config.runs.recordings_url.clone(),
        link_secret: config.api.link_secret.clone(),
        oidc: config.api.oidc.clone(),
        rate: config.api.rate,
        cors_origins: config.api.cors_origins.clone(),
    };
    let logs = Some(Arc::new(Logs(engine.shared_launcher())) as Arc<dyn RunLogs>);
    let api = api::serve(Api::with_logs(engine.shared_store(), settings, engine.stopping(), logs));
    let Some(address) = config.api.listen else { return Ok((Some(api), None)) };
    let own = TcpListener::bind(address).await.map_err(|error| CliError::Failed(format!("API_LISTEN {address}: {error}")))?;
    tracing::info!(address = ?own.local_addr().ok(), "the API has an address of its own");
    Ok((None, Some(tokio::spawn(http::serve_router(own, api, engine.stopping())))))
}

async fn launcher(config: &Config, program: PathBuf) -> Result<Arc<dyn Launcher>, LaunchError> {
    Ok(match &config.kubernetes {
        Some(jobs) => {
            tracing::info!(
                namespace = jobs.namespace,
                manager = jobs.manager.image,
                meeting_bot = jobs.meeting_bot.image,
                "each run is a Job"
            );
            Arc::new(KubernetesLauncher::connect(jobs.clone()).await?)
        }
        None => {
            tracing::info!(runs = %config.runs.folder.display(), "each run is a process on this machine");
            Arc::new(ProcessLauncher::new(config.runs.clone(), &config.store_url, &config.controller_id, program)?)
        }
    })
}

async fn idle(engine: &Engine) {
    let mut seen = 0;
    while seen < 2 {
        tokio::time::sleep(IDLE_LOOK).await;
        seen = if engine.is_idle().await { seen + 1 } else { 0 };
    }
}
