//! A meeting-bot that is in a call until it is asked to leave, and records nothing itself: it speaks `/v1/session`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bot_model::session::{LeaveRequest, SessionEnd, SessionPhase, SessionState, StartSession};
use chrono::Utc;

/// The running sidecar; it ends with the runtime.
#[derive(Clone)]
pub struct Sidecar {
    /// For `MEETING_BOT_API_URL`.
    pub url: String,
    state: Arc<Mutex<SessionState>>,
}

impl Sidecar {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start() -> Result<Self> {
        let state = SessionState { others_in_call: Some(1), ..SessionState::idle("endurance".into(), Utc::now()) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let sidecar = Self { url, state: Arc::new(Mutex::new(state)) };
        let app = Router::new()
            .route("/v1/session", get(state_of).post(start))
            .route("/v1/session/leave", post(leave))
            .route("/shutdown", post(|| async { StatusCode::ACCEPTED }))
            .with_state(sidecar.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(sidecar)
    }

    fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn state_of(State(sidecar): State<Sidecar>) -> Json<SessionState> {
    Json(sidecar.lock().clone())
}

/// Admitted at once.
async fn start(State(sidecar): State<Sidecar>, Json(session): Json<StartSession>) -> (StatusCode, Json<SessionState>) {
    let mut state = sidecar.lock();
    state.session_id = Some(session.session_id);
    state.phase = SessionPhase::Recording;
    state.admitted_at = Some(Utc::now());
    (StatusCode::CREATED, Json(state.clone()))
}

async fn leave(State(sidecar): State<Sidecar>, Json(request): Json<LeaveRequest>) -> StatusCode {
    let mut state = sidecar.lock();
    state.phase = SessionPhase::Ended;
    state.left_at = Some(Utc::now());
    state.end.get_or_insert(SessionEnd { kind: request.reason, detail: String::new(), at: Utc::now() });
    StatusCode::ACCEPTED
}
