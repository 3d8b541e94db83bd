//! Alerts to a topic of the operator's cloud when all bots are busy: at most one of a kind in [`PERIOD_SECS`], whatever number of
//! replicas sees it, told with the patience of a webhook.
//!
//! The topic is the operator's own setting, not somebody's wish: its address passes no guard.

#[cfg(feature = "alerts-pubsub")]
mod pubsub;
#[cfg(feature = "alerts-sns")]
mod sns;

use std::sync::Arc;
use std::time::Duration;

use bot_store::outbox::{CAPACITY_EXHAUSTED, Event};

use crate::post::{Answer, Outcome};
#[cfg(any(feature = "alerts-sns", feature = "alerts-pubsub"))]
use crate::trust;
#[cfg(any(feature = "alerts-sns", feature = "alerts-pubsub"))]
use crate::trust::files::Believing;
use crate::trust::files::Trust;

/// One alert of a kind in this time; a period begins at its multiples.
pub const PERIOD_SECS: i64 = 600;
/// Of an answer, what is kept.
#[cfg(any(feature = "alerts-sns", feature = "alerts-pubsub"))]
const KEPT_CHARACTERS: usize = 300;

/// Where alerts go.
#[derive(Clone)]
pub struct Alert {
    topic: Arc<Topic>,
}

enum Topic {
    #[cfg(feature = "alerts-sns")]
    Sns(sns::Sns),
    #[cfg(feature = "alerts-pubsub")]
    PubSub(pubsub::PubSub),
}

/// A topic that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// Its name is none.
    #[error("{0}")]
    Name(&'static str),
    /// The program was built without this kind.
    #[error("this program was built without the feature {0}")]
    NotBuilt(&'static str),
    /// No credentials, or no client.
    #[error("{0}")]
    Client(String),
}

impl Alert {
    /// A topic of AWS SNS by its ARN. Credentials are those of the environment, of the web identity, or of the instance.
    /// `AWS_ENDPOINT_URL_SNS` names another server. `trust` counts for the topic's service; credentials are found with the platform's roots.
    #[cfg(feature = "alerts-sns")]
    pub fn sns(arn: &str, trust: &Trust) -> Result<Self, AlertError> {
        Ok(Self { topic: Arc::new(Topic::Sns(sns::Sns::new(arn, std::env::var("AWS_ENDPOINT_URL_SNS").ok(), trust)?)) })
    }

    /// Refused: the program was built without it.
    #[cfg(not(feature = "alerts-sns"))]
    pub fn sns(_arn: &str, _trust: &Trust) -> Result<Self, AlertError> {
        Err(AlertError::NotBuilt("alerts-sns"))
    }

    /// A topic of Google Pub/Sub, `projects/{project}/topics/{topic}`, with the Application Default Credentials.
    /// `PUBSUB_EMULATOR_HOST` names a local server without credentials. `trust` as with SNS.
    #[cfg(feature = "alerts-pubsub")]
    pub fn pubsub(name: &str, trust: &Trust) -> Result<Self, AlertError> {
        let emulator = std::env::var("PUBSUB_EMULATOR_HOST").ok().filter(|host| !host.is_empty());
        Ok(Self { topic: Arc::new(Topic::PubSub(pubsub::PubSub::new(name, emulator, trust)?)) })
    }

    /// Refused: the program was built without it.
    #[cfg(not(feature = "alerts-pubsub"))]
    pub fn pubsub(_name: &str, _trust: &Trust) -> Result<Self, AlertError> {
        Err(AlertError::NotBuilt("alerts-pubsub"))
    }

    pub(crate) fn id(&self) -> &'static str {
        match *self.topic {
            #[cfg(feature = "alerts-sns")]
            Topic::Sns(_) => "alert_sns",
            #[cfg(feature = "alerts-pubsub")]
            Topic::PubSub(_) => "alert_pubsub",
        }
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        event.event_type == CAPACITY_EXHAUSTED && event.organization.is_empty()
    }

    /// The event under the id of its period: a second one in it is told already.
    pub(crate) fn as_told(&self, event: &Event) -> Event {
        let period = event.occurred_at.timestamp().div_euclid(PERIOD_SECS) * PERIOD_SECS;
        event.clone().once_per(&period.to_string())
    }

    #[cfg_attr(not(any(feature = "alerts-sns", feature = "alerts-pubsub")), allow(unused_variables))]
    pub(crate) async fn send(&self, body: &str, deadline: Duration) -> Answer {
        let sending = async {
            match *self.topic {
                #[cfg(feature = "alerts-sns")]
                Topic::Sns(ref topic) => topic.publish(body).await,
                #[cfg(feature = "alerts-pubsub")]
                Topic::PubSub(ref topic) => topic.publish(body).await,
            }
        };
        match tokio::time::timeout(deadline, sending).await {
            Ok(answer) => answer,
            Err(_) => failed(Outcome::TimedOut, "no answer in time".into()),
        }
    }
}

fn failed(outcome: Outcome, excerpt: String) -> Answer {
    Answer { outcome, status: None, excerpt, retry_after: None }
}

/// The client of a topic.
#[cfg(any(feature = "alerts-sns", feature = "alerts-pubsub"))]
fn client(trust: &Trust) -> Result<Believing, AlertError> {
    let built = Believing::new(trust, || reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()));
    built.map_err(|error| AlertError::Client(error.to_string()))
}

/// What came of a request to a topic's service.
#[cfg(any(feature = "alerts-sns", feature = "alerts-pubsub"))]
async fn answered(sent: Result<reqwest::Response, reqwest::Error>) -> Answer {
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            return match trust::untrusted(&error) {
                Some(reason) => failed(Outcome::Untrusted, reason.into()),
                None => failed(Outcome::Unreachable, error.without_url().to_string()),
            };
        }
    };
    let status = response.status();
    let outcome = if status.is_success() { Outcome::Accepted } else { Outcome::Refused };
    // The service's own reason, such as a missing right; it is the operator's to read.
    let text = if status.is_success() { String::new() } else { response.text().await.unwrap_or_default() };
    let excerpt = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(KEPT_CHARACTERS).collect();
    Answer { outcome, status: Some(status.as_u16()), excerpt, retry_after: None }
}
