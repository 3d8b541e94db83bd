//! An issuer's published keys: fetched when they are first needed, again now and then, and when a token names one that is not known. Kept
//! while the issuer cannot be reached.

use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use webhooks::{Believing, Trust};

use crate::oidc::Issuer;

/// For one document of the issuer's.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A key that is withdrawn works no longer than this, where the issuer can be reached.
const FRESH: Duration = Duration::from_secs(600);
/// And no longer than this where it cannot.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Tokens that name unknown keys cannot make us ask more often.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Largest document.
const MOST_BYTES: usize = 1 << 20;

/// Where keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// `{issuer}/.well-known/openid-configuration` says it.
    Discovered,
    /// At this address.
    At(String),
}

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("no answer: {0}")]
    Silent(#[source] reqwest::Error),
    #[error("no answer: {0}")]
    Untrusted(&'static str),
    #[error("the answer is larger than {MOST_BYTES} bytes, or none of an issuer's")]
    Strange,
    #[error("the issuer's document is of another issuer, or names no place over TLS")]
    Mismatch,
    #[error("asked a moment ago")]
    Waiting,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, Default)]
struct Held {
    keys: Vec<Jwk>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct Keyring {
    issuer: String,
    place: Where,
    http: Option<Believing>,
    held: Mutex<Held>,
}

impl Keyring {
    pub(crate) fn new(issuer: &Issuer, trust: &Trust) -> Self {
        let client = || reqwest::Client::builder().timeout(ANSWER_WITHIN).redirect(reqwest::redirect::Policy::none());
        let http = Believing::new(trust, client).ok();
        Self { issuer: issuer.name.clone(), place: issuer.keys.clone(), http, held: Mutex::default() }
    }

    /// The key of this id, as far as the issuer has one. One request asks at a time; the others get what it finds.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Jwk>, KeyringError> {
        let mut held = self.held.lock().await;
        let known = |held: &Held| held.keys.iter().find(|key| key.common.key_id.as_deref() == Some(id)).cloned();
        let age = held.fetched.map(|at| at.elapsed());
        if let Some(key) = known(&held).filter(|_| age.is_some_and(|age| age < FRESH)) {
            return Ok(Some(key));
        }
        let is_usable = age.is_some_and(|age| age < STALE);
        if held.asked.is_some_and(|at| at.elapsed() < ASK_EVERY) {
            return if is_usable { Ok(known(&held)) } else { Err(KeyringError::Waiting) };
        }
        held.asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => (held.keys, held.fetched) = (keys, Some(Instant::now())),
            Err(error) if !is_usable => return Err(error),
            Err(error) => tracing::warn!(%error, "the issuer's keys are not fresh: it cannot be reached"),
        }
        Ok(known(&held))
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, KeyringError> {
        let place = match &self.place {
            Where::At(place) => place.clone(),
            Where::Discovered => {
                let found: Discovery =
                    self.get(&format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'))).await?;
                if found.issuer != self.issuer || !is_trusted(&found.jwks_uri) {
                    return Err(KeyringError::Mismatch);
                }
                found.jwks_uri
            }
        };
        // A set may hold keys of kinds that are not known here: those are left out one by one.
        let set: serde_json::Value = self.get(&place).await?;
        let keys = set.get("keys").and_then(serde_json::Value::as_array).ok_or(KeyringError::Strange)?;
        let readable = keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok());
        Ok(JwkSet { keys: readable.collect() }.keys)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, place: &str) -> Result<T, KeyringError> {
        let http = self.http.as_ref().ok_or(KeyringError::Strange)?;
        let silent = |error: reqwest::Error| match webhooks::trust::untrusted(&error) {
            Some(reason) => KeyringError::Untrusted(reason),
            None => KeyringError::Silent(error.without_url()),
        };
        let mut answer = http.client().get(place).send().await.and_then(reqwest::Response::error_for_status).map_err(silent)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(KeyringError::Strange);
            }
        }
        serde_json::from_slice(&bytes).map_err(|_| KeyringError::Strange)
    }
}

/// Over TLS, or on this machine.
pub fn is_trusted(url: &str) -> bool {
    let host = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
    match url.split_once("://") {
        Some(("https", rest)) => !host(rest).is_empty(),
        Some(("http", rest)) => crate::access::is_loopback_authority(&host(rest)),
        _ => false,
    }
}
