//! Health, readiness and metrics over HTTP, and the API beside them unless it has an address of its own. What is here changes nothing;
//! what the API changes is its own to guard.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// How long a part may take to say that it is ready.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// The routes; the API, where it is served here too, has `/health` itself.
pub fn router(engine: Arc<Engine>, api: Option<Router>) -> Router {
    let beside = api.unwrap_or_else(|| Router::new().route("/health", get(health)));
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(engine)
        .merge(beside)
}

/// Binds, and writes the address that is really listened on where a file is named.
pub async fn bind(listen: SocketAddr, port_file: Option<&Path>) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(listen).await?;
    if let Some(file) = port_file {
        let draft = file.with_extension("tmp");
        std::fs::write(&draft, listener.local_addr()?.to_string())?;
        std::fs::rename(draft, file)?;
    }
    Ok(listener)
}

/// Answers until told to stop.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { stopping.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

async fn health() -> &'static str {
    "OK"
}

async fn ready(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let age = engine.poll_age();
    let poll = age.is_some_and(|age| age <= engine.poll_limit());
    let store = timeout(CHECK_LIMIT, engine.store().ping()).await;
    let launcher = timeout(CHECK_LIMIT, engine.launcher().ready()).await;
    let checks = json!({
        "poll": {"ok": poll, "age_seconds": age.map(|age| age.as_secs_f64()), "limit_seconds": engine.poll_limit().as_secs_f64()},
        "store": check(store.map(|result| result.map_err(|error| error.to_string()))),
        "launcher": check(launcher.map(|result| result.map_err(|error| error.to_string()))),
    });
    let all = poll && checks["store"]["ok"] == true && checks["launcher"]["ok"] == true;
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": all, "checks": checks})))
}

fn check(result: Result<Result<(), String>, tokio::time::error::Elapsed>) -> Value {
    match result {
        Ok(Ok(())) => json!({"ok": true}),
        Ok(Err(problem)) => json!({"ok": false, "problem": problem}),
        Err(_) => json!({"ok": false, "problem": format!("no answer within {} s", CHECK_LIMIT.as_secs())}),
    }
}

async fn metrics(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    engine.metrics.poll_age.set(engine.poll_age().map_or(-1.0, |age| age.as_secs_f64()));
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], engine.metrics.encode())
}
