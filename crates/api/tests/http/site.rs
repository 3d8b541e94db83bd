//! A server on a store of its own, and a client with a key.

use std::path::Path;
use std::sync::Arc;

use api::access::{Access, Role, Scope};
use api::keys::{self, NewKey};
use api::state::{Api, Settings};
use bot_model::capacity::Limits;
use bot_model::configuration::Naming;
use bot_model::document::Fields;
use bot_store::{DocumentKey, Store, Write};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Site {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) origin: String,
    pub(crate) bucket: tempfile::TempDir,
    http: reqwest::Client,
    _stop: DropGuard,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status);
        assert_eq!(self.body["request_id"], self.header("x-request-id"));
        self.body["type"].as_str().unwrap().strip_prefix("urn:meeting-bot:problem:").unwrap()
    }
}

impl Site {
    pub(crate) async fn new(url: &str) -> Self {
        Self::with(url, Access::Keys).await
    }

    pub(crate) async fn with(url: &str, access: Access) -> Self {
        Self::with_settings(url, |settings| settings.access = access).await
    }

    pub(crate) async fn limited(url: &str, access: Access, limits: Limits) -> Self {
        Self::with_settings(url, |settings| (settings.access, settings.limits) = (access, limits)).await
    }

    pub(crate) async fn with_settings(url: &str, change: impl FnOnce(&mut Settings) + Send) -> Self {
        let store = bot_store::connect::open(url, Naming::default()).await.unwrap();
        let bucket = tempfile::tempdir().unwrap();
        let recordings_url = format!("file://{}", bucket.path().display());
        let mut settings =
            Settings { max_live: 4, recordings_url, ageing: std::time::Duration::from_secs(300), ..Settings::default() };
        change(&mut settings);
        let stop = CancellationToken::new();
        let router = api::serve(Api::new(Arc::clone(&store), settings, stop.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let app = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { store, origin, bucket, http: reqwest::Client::new(), _stop: stop.drop_guard() }
    }

    pub(crate) async fn key(&self, role: Role, organizations: &[&str]) -> String {
        self.new_key(role, organizations).await.1
    }

    pub(crate) async fn new_key(&self, role: Role, organizations: &[&str]) -> (String, String) {
        let names = organizations.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let scope = if names.is_empty() { Scope::All } else { Scope::These(names) };
        let name = format!("{} of {organizations:?}", role.as_str());
        let new = NewKey { name, role, scope, expires_at: None, created_by: "test".into() };
        keys::create(self.store.as_ref(), &new, Utc::now()).await.unwrap()
    }

    pub(crate) fn ask(&self, method: &str, path: &str, key: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.origin));
        if key.is_empty() { request } else { request.bearer_auth(key) }
    }

    pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        Self::send(self.ask("GET", path, key)).await
    }

    /// Waits until a GET without a key is answered with this status.
    pub(crate) async fn becomes(&self, path: &str, status: u16) {
        let begun = std::time::Instant::now();
        while self.get(path, "").await.status != status {
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "waited in vain for {status}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Answer {
        Self::send(self.ask("POST", path, key).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, key: &str, body: Value) -> Answer {
        Self::send(self.ask("PATCH", path, key).json(&body)).await
    }

    pub(crate) async fn put(&self, key: DocumentKey, value: Value) {
        let applied = self.store.commit(vec![Write::create(key, fields(value))]).await.unwrap();
        assert!(applied.is_applied());
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.bucket.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(&path, bytes).unwrap();
        format!("file://{}", path.display())
    }
}

pub(crate) fn fields(value: Value) -> Fields {
    value.as_object().unwrap().clone()
}

pub(crate) fn instance(id: &str) -> DocumentKey {
    DocumentKey::Instance(bot_model::ids::InstanceId::parse(id).unwrap())
}

/// Seconds from now, as documents and requests have it.
pub(crate) fn at(seconds: i64) -> String {
    stamp(Utc::now() + TimeDelta::seconds(seconds))
}

pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(crate) const ZOOM: &str = "https://zoom.us/j/123456789?pwd=CANARY";

pub(crate) fn zoom(number: u32) -> String {
    format!("https://zoom.us/j/{}?pwd=CANARY", 100_000_000 + number)
}

/// A bot as the store has it.
pub(crate) fn bot(organization: &str, phase: &str, created: &str) -> Value {
    json!({"meeting_url": ZOOM, "status": if phase == "queued" { "queued" } else { "done" }, "phase": phase, "platform": "zoom",
        "creator_organization_id": organization, "created_at": created})
}
