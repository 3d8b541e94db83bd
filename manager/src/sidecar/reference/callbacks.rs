//! What the existing images report to their backend, which by their own default is this pod: `PATCH
//! /v2/meeting/app/bot/{status,log}` on a loopback port.
//!
//! Answered at once (the images ask without a time limit and stay busy meanwhile), and believed only with the bearer token that was
//! made for this one job. Nothing of a report's free text is kept or logged.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::patch;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::verdict::{Because, Reached, Report};

/// A report has a few hundred bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// Three attempts with two lists and a log entry each are nine.
const MOST_REPORTS: usize = 64;

/// The reports of one job; no longer listened to once dropped.
#[derive(Debug)]
pub(super) struct Callbacks {
    heard: Arc<Heard>,
    _listening: JoinSet<()>,
}

#[derive(Debug)]
struct Heard {
    authorization: String,
    reports: Mutex<Vec<Report>>,
}

impl Callbacks {
    /// Listens on a loopback port for reports that carry `token`.
    ///
    /// # Errors
    /// When the port is taken.
    pub(super) async fn listen(port: u16, token: &str) -> std::io::Result<Self> {
        let heard = Arc::new(Heard { authorization: format!("Bearer {token}"), reports: Mutex::default() });
        let app = Router::new()
            .route("/v2/meeting/app/bot/status", patch(status))
            .route("/v2/meeting/app/bot/log", patch(log))
            .layer(DefaultBodyLimit::max(LONGEST_BODY))
            .with_state(heard.clone());
        let mut listening = JoinSet::new();
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let served = app.clone();
        listening.spawn(async move { drop(axum::serve(listener, served).await) });
        // The images say "localhost", which some resolve to this one first; a machine without it needs none.
        if let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            listening.spawn(async move { drop(axum::serve(listener, app).await) });
        }
        Ok(Self { heard, _listening: listening })
    }

    /// Everything heard so far, in order.
    pub(super) fn reports(&self) -> Vec<Report> {
        self.heard.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Heard {
    fn take(&self, headers: &HeaderMap, report: Option<Report>) -> Response {
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        if given != Some(self.authorization.as_bytes()) {
            tracing::warn!("a report without this job's token was refused");
            return (StatusCode::UNAUTHORIZED, Json(json!({ "success": false }))).into_response();
        }
        if let Some(report) = report {
            tracing::info!(?report, "the meeting-bot reports");
            let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
            if reports.len() < MOST_REPORTS {
                reports.push(report);
            }
        }
        Json(json!({ "success": true })).into_response()
    }
}

#[derive(Deserialize)]
struct StatusBody {
    #[serde(default)]
    status: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogBody {
    #[serde(default)]
    category: String,
    #[serde(default)]
    sub_category: String,
}

async fn status(State(heard): State<Arc<Heard>>, headers: HeaderMap, Json(body): Json<StatusBody>) -> Response {
    let states = body.status.iter().filter_map(|state| Reached::parse(state.as_str()?)).collect();
    heard.take(&headers, Some(Report::Reached(states)))
}

async fn log(State(heard): State<Arc<Heard>>, headers: HeaderMap, Json(body): Json<LogBody>) -> Response {
    heard.take(&headers, Because::parse(&body.category, &body.sub_category).map(Report::Because))
}
