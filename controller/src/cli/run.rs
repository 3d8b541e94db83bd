//! `controller run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api::access::Access;
use api::logs::RunLogs;
use api::state::{Api, Settings};
use axum::Router;
use bot_model::configuration::Problem;
use bot_store::listing::{Listed, Listing};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webhooks::Webhooks;
use webhooks::alert::{Alert, AlertError};
use webhooks::engine::Parts;
use webhooks::post::Poster;

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
    let hooks = webhooks(&config, &engine)?;
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
    tokio::join!(engine.run(), hooks.run(engine.stopping()));
    let _ = ending.await;
    [Some(server), api_server].into_iter().flatten().for_each(|server| server.abort());
    Ok(ExitCode::SUCCESS)
}

/// Between two counts of the same statistics, however many look at them.
const STATISTICS_KEPT: Duration = Duration::from_secs(10);

/// The API with the portal before it, to serve beside health and metrics, or the server that has it on an address of its own.
async fn serve_api(config: &Config, engine: &Arc<Engine>) -> Result<(Option<Router>, Option<JoinHandle<()>>), CliError> {
    let settings = Settings {
        access: config.api.access,
        window: config.pace.window,
        max_live: config.runs.max_live,
        recordings_url: config.runs.recordings_url.clone(),
        link_secret: config.api.link_secret.clone(),
        webhook_allow: config.webhook_allow.clone(),
        webhook_safe: config.webhook_safe.clone(),
        limits: config.pace.limits.clone(),
        ageing: config.pace.ageing,
        statistics_kept: STATISTICS_KEPT,
        oidc: config.api.oidc.clone(),
        trust: config.trust.clone(),
        rate: config.api.rate,
        cors_origins: config.api.cors_origins.clone(),
    };
    let options = portal::Options { is_open: settings.access == Access::DangerOpen, secret: config.portal_secret.clone() };
    let logs = Some(Arc::new(Logs(engine.shared_launcher())) as Arc<dyn RunLogs>);
    let api = Api::with_logs(engine.shared_store(), settings, engine.stopping(), logs);
    let measured = Arc::clone(engine);
    tokio::spawn(api::shortfall::measure(Arc::clone(&api), move |shortfall| {
        measured.metrics.forecast_shortfall.set(shortfall.into());
    }));
    let api = api::serve(api);
    let api = portal::before(api, &options).map_err(|error| CliError::Failed(format!("the portal: {error}")))?;
    let Some(address) = config.api.listen else { return Ok((Some(api), None)) };
    let own = TcpListener::bind(address).await.map_err(|error| CliError::Failed(format!("API_LISTEN {address}: {error}")))?;
    tracing::info!(address = ?own.local_addr().ok(), "the API has an address of its own");
    Ok((None, Some(tokio::spawn(http::serve_router(own, api, engine.stopping())))))
}

/// Who is told when all bots are busy, besides the endpoints.
fn alerts(config: &Config) -> Result<Vec<Alert>, CliError> {
    let wrong = |variable: &str, got: &str, error: AlertError| {
        let problem = Problem { variable: variable.into(), got: got.into(), wants: error.to_string() };
        CliError::Configuration(vec![problem])
    };
    let mut alerts = Vec::new();
    if let Some(arn) = &config.alert_sns {
        alerts.push(Alert::sns(arn, &config.trust).map_err(|error| wrong("ALERT_SNS_TOPIC_ARN", arn, error))?);
    }
    if let Some(topic) = &config.alert_pubsub {
        alerts.push(Alert::pubsub(topic, &config.trust).map_err(|error| wrong("ALERT_PUBSUB_TOPIC", topic, error))?);
    }
    Ok(alerts)
}

/// The deliverer, woken by the engine's hints.
fn webhooks(config: &Config, engine: &Engine) -> Result<Arc<Webhooks>, CliError> {
    let pace = webhooks::Pace::default();
    // Hints make it immediate; without them the outbox is looked at as often as the meetings are.
    let poll = if config.pace.is_listening { pace.poll } else { config.pace.poll };
    let poster = Poster::new(config.webhook_allow.clone(), &config.webhook_trust, pace.deadline)
        .map_err(|error| CliError::Failed(format!("the client of webhooks: {error}")))?;
    Ok(Webhooks::new(Parts {
        store: engine.shared_store(),
        poster,
        pace: webhooks::Pace { poll, ..pace },
        metrics: engine.metrics.webhooks.clone(),
        alerts: alerts(config)?,
        safe: config.webhook_safe.clone(),
        hints: engine.outbox_hints(),
    }))
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

/// Nothing waits to be handed to endpoints.
async fn is_told(engine: &Engine) -> bool {
    let waiting = engine.store().list(&Listing::oldest(Listed::Outbox), None, 1).await;
    waiting.is_ok_and(|page| page.records.is_empty())
}

async fn idle(engine: &Engine) {
    let mut seen = 0;
    while seen < 2 {
        tokio::time::sleep(IDLE_LOOK).await;
        seen = if engine.is_idle().await && is_told(engine).await { seen + 1 } else { 0 };
    }
}
