//! What the existing images report to their backend at the end: the states reached, and for some failures a log entry. Best effort, as
//! theirs: an error is logged and forgotten.

use std::time::Duration;

use bot_model::outcome::{OutcomeClass, OutcomeKind};
use bot_model::session::SessionState;
use serde_json::{Value, json};

use super::Job;

/// A backend that hangs must not keep the process busy.
const WITHIN: Duration = Duration::from_secs(5);

/// Where it is reported.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    base: String,
    key: Option<String>,
}

impl Backend {
    pub(super) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let base = lookup("AUTH_BASE_URL_V2").unwrap_or_else(|| "http://localhost:8081/v2".into());
        Self { base: base.trim_end_matches('/').to_owned(), key: lookup("SCREENAPP_BACKEND_SERVICE_API_KEY") }
    }

    /// Reports how the session ended.
    pub(super) async fn report(&self, job: &Job, state: &SessionState, is_made: bool) {
        let ended = state.end.as_ref().map(|end| end.kind);
        let has_ended_well = is_made && ended.is_some_and(|kind| kind.class() == OutcomeClass::Completed);
        let joined = state.admitted_at.map(|_| "joined");
        let states: Vec<&str> =
            ["processing"].into_iter().chain(joined).chain([if has_ended_well { "finished" } else { "failed" }]).collect();
        let mut status = job.report();
        status["status"] = json!(states);
        self.patch("status", job, &status).await;
        if let Some((category, sub_category)) = ended.and_then(reason) {
            let mut log = job.report();
            let message = ended.map_or("", OutcomeKind::default_message);
            for (name, value) in [("level", "error"), ("message", message), ("category", category), ("subCategory", sub_category)]
            {
                log[name] = json!(value);
            }
            self.patch("log", job, &log).await;
        }
    }

    async fn patch(&self, what: &str, job: &Job, body: &Value) {
        let Ok(http) = reqwest::Client::builder().timeout(WITHIN).no_proxy().build() else { return };
        let mut request = http.patch(format!("{}/meeting/app/bot/{what}", self.base)).bearer_auth(&job.token).json(body);
        if let Some(key) = &self.key {
            request = request.header("x-sa-api-key", key);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => tracing::info!(status = answer.status().as_u16(), what, "the report was refused"),
            Err(error) => tracing::info!(error = %error.without_url(), what, "nobody hears the report"),
        }
    }
}

impl Job {
    fn report(&self) -> Value {
        let mut body = json!({ "provider": self.provider });
        for (name, id) in [("eventId", &self.event_id), ("botId", &self.bot_id)] {
            if let Some(id) = id {
                body[name] = json!(id);
            }
        }
        body
    }
}

fn reason(kind: OutcomeKind) -> Option<(&'static str, &'static str)> {
    match kind {
        OutcomeKind::Denied => Some(("WaitingAtLobby", "UserDeniedRequest")),
        OutcomeKind::LobbyTimeout => Some(("WaitingAtLobby", "Timeout")),
        OutcomeKind::SignInRequired => Some(("UnsupportedMeeting", "RequiresSignIn")),
        OutcomeKind::BlockedByPlatform | OutcomeKind::Captcha => Some(("UnsupportedMeeting", "RestrictedMeeting")),
        OutcomeKind::BrowserCrashed => Some(("Platform", "BotCrashed")),
        OutcomeKind::PageUnresponsive => Some(("Platform", "BotNotResponding")),
        _ => None,
    }
}
