//! The meeting-bot as the manager sees it, over loopback: one interface, and behind it one of two contracts.
//!
//! Our own meeting-bot speaks `/v1/session` ([`v1`]). The existing images speak the reference contract alone ([`reference`]), which
//! knows one job, a busy flag and a file; what they do not say is told from what they do. Which of the two it is shows in the first
//! answer, unless [`Contract`] says so.

mod reference;
mod v1;

use std::path::PathBuf;
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::{SessionState, StartSession};
use chrono::{DateTime, Utc};
use reqwest::StatusCode;

use reference::Reference;
use v1::V1;

/// Longest wait for an answer: the bot answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What a meeting-bot speaks (`SIDECAR_CONTRACT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Contract {
    /// Found out by the first answer.
    #[default]
    Auto,
    /// Ours.
    V1,
    /// That of the existing images.
    Reference,
}

impl Contract {
    /// The setting's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "v1" => Some(Self::V1),
            "reference" => Some(Self::Reference),
            _ => None,
        }
    }
}

/// What only the reference contract needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceSettings {
    /// Loopback port to which the images report how a call went; their own default is 8081.
    pub callback_port: u16,
    /// Folders in which their `{userId}/{file}` may lie, the likeliest first.
    pub recording_roots: Vec<PathBuf>,
}

/// A client of one meeting-bot.
#[derive(Debug)]
pub struct Sidecar {
    asker: Asker,
    contract: Contract,
    settings: ReferenceSettings,
    spoken: Option<Spoken>,
}

#[derive(Debug)]
enum Spoken {
    V1(V1),
    Reference(Box<Reference>),
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
    /// It answered something that is neither contract's.
    #[error("the meeting-bot's answer is of no known contract")]
    Strange,
}

impl Sidecar {
    /// A client for `base`, such as `http://127.0.0.1:3000`.
    ///
    /// # Errors
    /// When no client can be built.
    pub fn new(base: &str, contract: Contract, settings: ReferenceSettings) -> Result<Self, SidecarError> {
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build().map_err(SidecarError::Silent)?;
        let asker = Asker { http, base: base.trim_end_matches('/').to_owned() };
        Ok(Self { asker, contract, settings, spoken: None })
    }

    /// Starts a session, or finds this very session started.
    ///
    /// # Errors
    /// As every call here.
    pub async fn start(&mut self, session: &StartSession) -> Result<SessionState, SidecarError> {
        match self.spoken().await? {
            Spoken::V1(bot) => bot.start(session).await,
            Spoken::Reference(bot) => bot.start(session).await,
        }
    }

    /// The session's state; also the sign of life that keeps our own bot in the call.
    ///
    /// # Errors
    /// As every call here.
    pub async fn state(&mut self) -> Result<SessionState, SidecarError> {
        match self.spoken().await? {
            Spoken::V1(bot) => bot.state().await,
            Spoken::Reference(bot) => bot.state().await,
        }
    }

    /// Asks the bot to leave.
    ///
    /// # Errors
    /// As every call here.
    pub async fn leave(&mut self, reason: OutcomeKind) -> Result<(), SidecarError> {
        match self.spoken().await? {
            Spoken::V1(bot) => bot.leave(reason).await,
            Spoken::Reference(bot) => bot.leave(reason).await,
        }
    }

    /// Asks the process to end, so that its supervisor starts a fresh one. A bot that knows no such request is none the worse.
    ///
    /// # Errors
    /// As every call here.
    pub async fn shut_down(&self) -> Result<(), SidecarError> {
        self.asker.shut_down().await
    }

    /// Nothing more is expected of the bot: whatever it wrote until now lies in the session's folder when this answers. Says since when
    /// it has recorded, where it could not say so itself.
    pub async fn close(&mut self) -> Option<DateTime<Utc>> {
        match &mut self.spoken {
            Some(Spoken::Reference(bot)) => bot.close().await,
            Some(Spoken::V1(_)) | None => None,
        }
    }

    /// The contract, found out at the first answer.
    async fn spoken(&mut self) -> Result<&mut Spoken, SidecarError> {
        let spoken = match self.spoken.take() {
            Some(spoken) => spoken,
            None if self.speaks_v1().await? => Spoken::V1(V1::new(self.asker.clone())),
            None => Spoken::Reference(Box::new(Reference::new(self.asker.clone(), self.settings.clone()))),
        };
        Ok(self.spoken.insert(spoken))
    }

    async fn speaks_v1(&self) -> Result<bool, SidecarError> {
        match self.contract {
            Contract::V1 => return Ok(true),
            Contract::Reference => return Ok(false),
            Contract::Auto => {}
        }
        match self.asker.get("/v1/session").await {
            Err(SidecarError::Refused { status: 404, .. }) => {}
            answered => return answered.map(|_| true),
        }
        reference::busy(&self.asker).await?;
        tracing::info!("the meeting-bot speaks the reference contract alone");
        Ok(false)
    }
}

/// Requests to one meeting-bot, each with a deadline.
#[derive(Debug, Clone)]
struct Asker {
    http: reqwest::Client,
    base: String,
}

impl Asker {
    async fn get(&self, path: &str) -> Result<reqwest::Response, SidecarError> {
        checked(self.http.get(self.at(path))).await
    }

    async fn post(&self, path: &str, body: &impl serde::Serialize) -> Result<reqwest::Response, SidecarError> {
        checked(self.http.post(self.at(path)).json(body)).await
    }

    async fn shut_down(&self) -> Result<(), SidecarError> {
        match checked(self.http.post(self.at("/shutdown"))).await {
            // The plain image has no such route.
            Ok(_) | Err(SidecarError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
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
