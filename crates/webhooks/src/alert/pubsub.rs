//! Google Pub/Sub: one `publish` of its JSON interface, with the Application Default Credentials.

use data_encoding::BASE64;
use google_cloud_auth::credentials::{CacheableResource, Credentials, anonymous};
use http::HeaderMap;
use serde_json::json;

use super::{AlertError, answered, client, failed};
use crate::post::{Answer, Outcome};
use crate::trust::files::{Believing, Trust};

pub(super) struct PubSub {
    url: String,
    credentials: Credentials,
    http: Believing,
}

impl PubSub {
    pub(super) fn new(name: &str, emulator: Option<String>, trust: &Trust) -> Result<Self, AlertError> {
        let is_plain =
            |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+%:".contains(&byte));
        let parts: Vec<&str> = name.split('/').collect();
        match parts.as_slice() {
            ["projects", project, "topics", topic] if is_plain(project) && is_plain(topic) => {}
            _ => return Err(AlertError::Name("a topic such as projects/my-project/topics/alerts")),
        }
        let (origin, credentials) = match emulator {
            Some(host) if host.contains("://") => (host, anonymous::Builder::new().build()),
            Some(host) => (format!("http://{host}"), anonymous::Builder::new().build()),
            None => {
                let found = google_cloud_auth::credentials::Builder::default().build();
                let missing = |error| AlertError::Client(format!("no Google credentials: {error}"));
                ("https://pubsub.googleapis.com".to_owned(), found.map_err(missing)?)
            }
        };
        let url = format!("{}/v1/{name}:publish", origin.trim_end_matches('/'));
        Ok(Self { url, credentials, http: client(trust)? })
    }

    pub(super) async fn publish(&self, message: &str) -> Answer {
        let headers = match self.credentials.headers(http::Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => data,
            Ok(CacheableResource::NotModified) => HeaderMap::new(),
            Err(error) => return failed(Outcome::Unreachable, format!("no Google credentials: {error}")),
        };
        let one =
            json!({ "data": BASE64.encode(message.as_bytes()), "attributes": { "type": bot_store::outbox::CAPACITY_EXHAUSTED } });
        answered(self.http.client().post(&self.url).headers(headers).json(&json!({ "messages": [one] })).send().await).await
    }
}
