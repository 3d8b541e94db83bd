//! Our own contract: `/v1/session` ([`bot_model::session`]).

use bot_model::outcome::OutcomeKind;
use bot_model::session::{LeaveRequest, SessionState, StartSession};

use super::{Asker, SidecarError};

/// A meeting-bot of ours.
#[derive(Debug)]
pub(super) struct V1 {
    asker: Asker,
}

impl V1 {
    pub(super) fn new(asker: Asker) -> Self {
        Self { asker }
    }

    pub(super) async fn start(&self, session: &StartSession) -> Result<SessionState, SidecarError> {
        read(self.asker.post("/v1/session", session).await?).await
    }

    pub(super) async fn state(&self) -> Result<SessionState, SidecarError> {
        read(self.asker.get("/v1/session").await?).await
    }

    pub(super) async fn leave(&self, reason: OutcomeKind) -> Result<(), SidecarError> {
        self.asker.post("/v1/session/leave", &LeaveRequest { reason }).await.map(|_| ())
    }
}

async fn read(response: reqwest::Response) -> Result<SessionState, SidecarError> {
    response.json().await.map_err(|error| SidecarError::Silent(error.without_url()))
}
