//! `/v1/session`, as `bot_model::session` describes it. Looks at and asks the session; decides nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bot_model::session::{LeaveRequest, StartSession};

use super::session::{Session, Started};

pub(super) fn routes(session: Arc<Session>) -> Router {
    Router::new()
        .route("/v1/session", get(state).post(start))
        .route("/v1/session/leave", post(leave))
        .route("/v1/session/people", get(|| async { Json(Vec::<bot_model::session::PersonNow>::new()) }))
        .route("/health", get(|| async { "ok" }))
        .route("/shutdown", post(shut_down))
        .with_state(session)
}

async fn state(State(session): State<Arc<Session>>) -> Response {
    Json(session.polled()).into_response()
}

async fn start(State(session): State<Arc<Session>>, Json(wanted): Json<StartSession>) -> Response {
    let status = match session.start(wanted) {
        Started::Anew => StatusCode::CREATED,
        Started::Already => StatusCode::OK,
        Started::Busy => return StatusCode::CONFLICT.into_response(),
    };
    (status, Json(session.state())).into_response()
}

async fn leave(State(session): State<Arc<Session>>, Json(request): Json<LeaveRequest>) -> Response {
    session.leave(request.reason);
    StatusCode::ACCEPTED.into_response()
}

async fn shut_down(State(session): State<Arc<Session>>) -> Response {
    session.end_process();
    StatusCode::ACCEPTED.into_response()
}
