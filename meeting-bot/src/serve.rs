//! The process: listens, and ends on SIGTERM, on `/shutdown`, or when an ended session is no longer polled.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bot_model::exit_code::ExitCode as Code;
use bot_model::outcome::OutcomeKind;
use bot_model::session::{DEAD_MAN_SWITCH, LEAVE_BUDGET, SessionPhase};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, interval, timeout};

use crate::config::Config;
use crate::http::{App, router};
use crate::legacy::Legacy;
use crate::session::hub::Hub;

/// What is left of the leave budget for the process's own end.
const RESERVE: Duration = Duration::from_millis(500);

/// Runs until there is a reason to end.
pub fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(run(config))?;
    // A request that still hangs must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(code)
}

async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    if let Some(file) = &config.port_file {
        write_address(file, &address.to_string())?;
    }
    let hub = Arc::new(Hub::new());
    let shutdown = Arc::new(Notify::new());
    let legacy = Arc::new(Legacy::read(|name| std::env::var(name).ok()));
    let (config, started) = (Arc::new(config), Instant::now());
    let app = App { hub: hub.clone(), config, shutdown: shutdown.clone(), started, legacy: legacy.clone() };
    tracing::info!(%address, boot_id = hub.state().boot_id, "listening");
    tokio::spawn(async move { axum::serve(listener, router(app)).await });
    let code = tokio::select! {
        _ = terminate.recv() => Code::Terminated.into(),
        _ = interrupt.recv() => Code::Terminated.into(),
        () = shutdown.notified() => ExitCode::SUCCESS,
        () = forgotten(&hub) => ExitCode::SUCCESS,
    };
    tracing::info!("ending");
    hub.ask_to_leave(OutcomeKind::Evicted);
    let over = async {
        ended(&hub).await;
        legacy.settled().await;
    };
    if timeout(LEAVE_BUDGET - RESERVE, over).await.is_err() {
        tracing::error!("the session did not end within the leave budget");
    }
    Ok(code)
}

/// An ended session that nobody has polled for the dead-man switch's time.
async fn forgotten(hub: &Hub) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        if hub.state().phase == SessionPhase::Ended && hub.unpolled_for() > DEAD_MAN_SWITCH {
            return;
        }
    }
}

async fn ended(hub: &Hub) {
    let mut changes = hub.changes();
    while !matches!(hub.state().phase, SessionPhase::Idle | SessionPhase::Ended) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn write_address(file: &Path, address: &str) -> std::io::Result<()> {
    let temporary = file.with_extension("tmp");
    std::fs::write(&temporary, address)?;
    std::fs::rename(temporary, file)
}
