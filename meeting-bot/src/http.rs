//! The HTTP interface: `/v1/session` and the routes of the existing images that managers know.
//!
//! Loopback only and without authentication, so whatever a web page could send is refused: any request that carries
//! an `Origin`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bot_model::outcome::OutcomeKind;
use bot_model::session::{LeaveRequest, PersonNow, SessionEvent, SessionPhase, SessionState, StartSession};
use futures::Stream;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::legacy::{self, Legacy};
use crate::session::checks;
use crate::session::hub::{Admission, Hub};
use crate::session::run;

/// Shared by the routes.
#[derive(Debug, Clone)]
pub struct App {
    /// The session.
    pub hub: Arc<Hub>,
    /// The process's settings.
    pub config: Arc<Config>,
    /// Asks the process to end.
    pub shutdown: Arc<Notify>,
    /// When the process started.
    pub started: Instant,
    /// The existing images' contract.
    pub legacy: Arc<Legacy>,
}

/// The routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/v1/session", get(state).post(start))
        .route("/v1/session/events", get(events))
        .route("/v1/session/people", get(people))
        .route("/v1/session/leave", post(leave))
        .route("/v1/session/screenshot", get(screenshot))
        .route("/v1/session/picture", get(picture))
        .route("/health", get(health))
        .route("/isbusy", get(is_busy))
        .route("/metrics", get(metrics))
        .route("/shutdown", post(shutdown))
        .merge(legacy::routes())
        .layer(from_fn(refuse_web_pages))
        .with_state(app)
}

async fn refuse_web_pages(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return problem(StatusCode::FORBIDDEN, "web pages may not use this interface");
    }
    next.run(request).await
}

async fn state(State(app): State<App>) -> Json<SessionState> {
    app.hub.polled();
    Json(app.hub.state())
}

/// Who is there, by name: no sign of a manager's life, anybody on this machine may look.
async fn people(State(app): State<App>) -> Json<Vec<PersonNow>> {
    Json(app.hub.roster())
}

async fn start(State(app): State<App>, body: Bytes) -> Response {
    let request: StartSession = match serde_json::from_slice(&body) {
        Ok(request) => request,
        // serde's text may repeat a value; line and column are enough to find it.
        Err(error) => return problem(StatusCode::BAD_REQUEST, &unusable(&error)),
    };
    let problems = checks::problems(&request, app.config.practice_origin.as_deref());
    if !problems.is_empty() {
        return problem(StatusCode::BAD_REQUEST, &problems.join("; "));
    }
    match app.hub.admit(&request) {
        Admission::Fresh => {
            tokio::spawn(run::run(app.hub.clone(), app.config.clone(), request));
            (StatusCode::CREATED, Json(app.hub.state())).into_response()
        }
        Admission::Same => (StatusCode::OK, Json(app.hub.state())).into_response(),
        Admission::Other => problem(StatusCode::CONFLICT, "another session has this process; one session a process"),
    }
}

fn unusable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let known = text.starts_with("missing field") || text.starts_with("the meeting address");
    if known { text } else { format!("the body is no start request (line {}, column {})", error.line(), error.column()) }
}

async fn leave(State(app): State<App>, Json(request): Json<LeaveRequest>) -> StatusCode {
    app.hub.ask_to_leave(request.reason);
    StatusCode::ACCEPTED
}

async fn screenshot(State(app): State<App>) -> Response {
    let taken = timeout(Duration::from_secs(8), app.hub.screenshot()).await.ok().flatten();
    match taken {
        Some(png) => ([(header::CONTENT_TYPE, "image/png")], png).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no page to take a picture of"),
    }
}

/// What the page shows, small: no sign of a manager's life.
async fn picture(State(app): State<App>) -> Response {
    let taken = timeout(Duration::from_secs(4), app.hub.glance()).await.ok().flatten();
    match taken {
        Some(jpeg) => ([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no page to take a picture of"),
    }
}

async fn events(State(app): State<App>, headers: HeaderMap) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let start = (app.hub.clone(), app.hub.changes(), after, Vec::<SessionEvent>::new().into_iter());
    let stream = futures::stream::unfold(start, |(hub, mut changes, mut after, mut batch)| async move {
        loop {
            if let Some(event) = batch.next() {
                after = event.seq;
                return Some((Ok(to_sse(&event)), (hub, changes, after, batch)));
            }
            changes.mark_unchanged();
            batch = hub.events_after(after).into_iter();
            if batch.len() == 0 {
                if hub.state().phase == SessionPhase::Ended {
                    return None;
                }
                changes.changed().await.ok()?;
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn to_sse(event: &SessionEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().id(event.seq.to_string()).data(data)
}

async fn health(State(app): State<App>) -> Json<serde_json::Value> {
    let uptime = app.started.elapsed().as_secs_f64();
    Json(json!({ "status": "healthy", "timestamp": chrono::Utc::now(), "uptime": uptime }))
}

fn busy(app: &App) -> u8 {
    u8::from(app.legacy.is_working() || !matches!(app.hub.state().phase, SessionPhase::Idle | SessionPhase::Ended))
}

async fn is_busy(State(app): State<App>) -> Json<serde_json::Value> {
    app.legacy.polled(&app.hub);
    Json(json!({ "success": true, "data": busy(&app) }))
}

async fn metrics(State(app): State<App>) -> Response {
    let (busy, state) = (busy(&app), app.hub.state());
    let free = u8::from(state.phase == SessionPhase::Idle);
    let gauges = [
        ("isbusy", "1 while a session runs", f64::from(busy)),
        ("isavailable", "1 while a session may be started", f64::from(free)),
        ("meeting_bot_segments", "Closed segments", state.media.segments as f64),
        ("meeting_bot_segment_bytes", "Bytes in closed segments", state.media.bytes as f64),
        ("meeting_bot_segment_age_seconds", "Since a segment was last closed", state.media.segment_age_secs),
        ("meeting_bot_silent_seconds", "Without sound", state.media.silent_secs),
        ("meeting_bot_frozen_seconds", "With an unchanged picture", state.media.frozen_secs),
        ("meeting_bot_black_seconds", "With a picture of one colour", state.media.black_secs),
    ];
    let line = |(name, help, value): (&str, &str, f64)| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
    let text: String = gauges.into_iter().map(line).collect();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn shutdown(State(app): State<App>) -> Json<serde_json::Value> {
    app.hub.ask_to_leave(OutcomeKind::AskedToLeave);
    app.shutdown.notify_one();
    Json(json!({ "success": true, "message": "Shutdown initiated" }))
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "success": false, "error": message }))).into_response()
}
