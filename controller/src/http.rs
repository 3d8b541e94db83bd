//! Health, readiness and metrics over HTTP, and the API beside them unless it has an address of its own. What is here changes nothing;
//! what the API changes is its own to guard.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::engine::Engine;

/// How long a part may take to say that it is ready.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// How far the controller is.
#[derive(Clone)]
pub enum Stage {
    /// The store is not open yet, for this reason: alive, but not ready.
    Opening(String),
    /// It runs, with the API that is served here, if it is.
    Running(Arc<Engine>, Option<Router>),
}

type Seen = State<watch::Receiver<Stage>>;

/// The routes.
pub fn router(stage: watch::Receiver<Stage>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(beside)
        .with_state(stage)
}

/// What is not of health and metrics: the API's, which has `/health` itself.
async fn beside(State(stage): Seen, request: Request) -> Response {
    let stage = stage.borrow().clone();
    match stage {
        Stage::Running(_, Some(api)) => api.oneshot(request).await.into_response(),
        _ if request.uri().path() == "/health" => health().await.into_response(),
        Stage::Running(_, None) => StatusCode::NOT_FOUND.into_response(),
        Stage::Opening(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
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
pub async fn serve_router(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let app = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, app).with_graceful_shutdown(async move { stopping.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

/// Health, metrics and what lies beside them, until the engine stops.
pub async fn serve(listener: TcpListener, stage: watch::Receiver<Stage>) {
    let mut stages = stage.clone();
    let stopped = async move {
        let running = stages.wait_for(|stage| matches!(stage, Stage::Running(..))).await.map(|stage| stage.clone());
        if let Ok(Stage::Running(engine, _)) = running {
            engine.stopping().cancelled().await;
        }
    };
    let app = router(stage).into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

async fn health() -> &'static str {
    "OK"
}

async fn ready(State(stage): Seen) -> Response {
    let stage = stage.borrow().clone();
    match stage {
        Stage::Running(engine, _) => is_ready(&engine).await.into_response(),
        Stage::Opening(problem) => {
            let checks = json!({"store": check(Ok(Err(problem)))});
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "checks": checks}))).into_response()
        }
    }
}

async fn is_ready(engine: &Engine) -> (StatusCode, Json<Value>) {
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

async fn metrics(State(stage): Seen) -> Response {
    let Stage::Running(engine, _) = stage.borrow().clone() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    engine.metrics.poll_age.set(engine.poll_age().map_or(-1.0, |age| age.as_secs_f64()));
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], engine.metrics.encode()).into_response()
}
