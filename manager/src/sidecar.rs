//! The meeting-bot as the manager sees it: `/v1/session` over loopback, each call with a deadline.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::{LeaveRequest, SessionState, StartSession};
use reqwest::StatusCode;

/// Longest wait for an answer: the bot answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A client of one meeting-bot.
#[derive(Debug, Clone)]
pub struct Sidecar {
    http: reqwest::Client,
    base: String,
}

/// Why the bot could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// Not reachable, or no answer in time. No address is named: a proxy's error page could repeat it.
    #[error("the meeting-bot does not answer: {0}")]
    Silent(#[source] reqwest::Error),
    /// It answered, but refused.
    #[error("the meeting-bot refuses ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
}

impl Sidecar {
    /// A client for `base`, such as `http://127.0.0.1:3000`.
    ///
    /// # Errors
    /// When no client can be built.
    pub fn new(base: &str) -> Result<Self, SidecarError> {
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build().map_err(SidecarError::Silent)?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    /// Starts a session, or finds this very session started.
    ///
    /// # Errors
    /// As every call here.
    pub async fn start(&self, session: &StartSession) -> Result<SessionState, SidecarError> {
        answered(self.http.post(self.at("/v1/session")).json(session)).await
    }

    /// The session's state; also the sign of life that keeps the bot in the call.
    ///
    /// # Errors
    /// As every call here.
    pub async fn state(&self) -> Result<SessionState, SidecarError> {
        answered(self.http.get(self.at("/v1/session"))).await
    }

    /// Asks the bot to leave.
    ///
    /// # Errors
    /// As every call here.
    pub async fn leave(&self, reason: OutcomeKind) -> Result<(), SidecarError> {
        let request = self.http.post(self.at("/v1/session/leave")).json(&LeaveRequest { reason });
        checked(request).await.map(|_| ())
    }

    /// Asks the process to end, so that its supervisor starts a fresh one.
    ///
    /// # Errors
    /// As every call here.
    pub async fn shut_down(&self) -> Result<(), SidecarError> {
        checked(self.http.post(self.at("/shutdown"))).await.map(|_| ())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Result<SessionState, SidecarError> {
    checked(request).await?.json().await.map_err(|error| SidecarError::Silent(error.without_url()))
}

async fn checked(request: reqwest::RequestBuilder) -> Result<reqwest::Response, SidecarError> {
    let response = request.send().await.map_err(|error| SidecarError::Silent(error.without_url()))?;
    let status = response.status();
    if status.is_success() || status == StatusCode::ACCEPTED {
        return Ok(response);
    }
    let message = response.text().await.unwrap_or_default().chars().take(300).collect();
    Err(SidecarError::Refused { status: status.as_u16(), message })
}
