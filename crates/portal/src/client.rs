//! Asking the API: its own router, in this process, with the session's key. What it refuses is refused here, in its words.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName, Method, Request, StatusCode, header};
use axum::response::Response;
use data_encoding::HEXLOWER;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tower::ServiceExt as _;

/// Largest answer that is read whole: a long call's `timeline.json` fits.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// The API answers within 30 s by itself; this is for a body that stops coming.
const WITHIN: Duration = Duration::from_secs(35);
/// Of a browser's request, what the API judges or honours.
const HANDED_ON: [HeaderName; 8] = [
    header::HOST,
    header::ORIGIN,
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("x-forwarded-for"),
    ASSERTION,
];
/// What Identity-Aware Proxy says of whoever it let through.
pub(crate) const ASSERTION: HeaderName = HeaderName::from_static("x-goog-iap-jwt-assertion");

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// For so long a form waits for the answer to itself that was sent a moment before.
const UNDER_WAY: Duration = Duration::from_secs(20);
/// Between two looks whether that is there.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// For a change whose answer shows a secret: the API does not remember it for a repetition.
pub(crate) const NOT_REMEMBERED: &str = "";

/// What the API refused, or could not do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The last part of the problem's type.
    pub(crate) slug: Box<str>,
    pub(crate) title: String,
    pub(crate) detail: String,
    /// Every reason, where there are several.
    pub(crate) errors: Vec<String>,
    pub(crate) request_id: Box<str>,
}

impl Refusal {
    /// One of the portal's own.
    pub(crate) fn of(status: StatusCode, title: &str, detail: &str) -> Self {
        let [slug, request_id] = [Box::default(), Box::default()];
        Self { status, slug, title: title.into(), detail: detail.into(), errors: Vec::new(), request_id }
    }

    fn read(status: StatusCode, body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let errors = body["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let slug = text("type").rsplit(':').next().unwrap_or_default().into();
        let title = if text("title").is_empty() { "The API could not answer".into() } else { text("title") };
        Self { status, slug, title, detail: text("detail"), errors, request_id: text("request_id").into() }
    }
}

/// An answer of the API, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Value,
}

/// The API as one session sees it.
#[derive(Clone)]
pub(crate) struct Client {
    api: Router,
    headers: HeaderMap,
    /// Whose address is counted.
    peer: Option<ConnectInfo<SocketAddr>>,
}

impl Client {
    /// For requests on behalf of a browser's request.
    pub(crate) fn new(api: Router, asked: &HeaderMap, with: &Extensions, key: Option<&str>) -> Self {
        let mut headers = HeaderMap::new();
        for name in HANDED_ON {
            headers.extend(asked.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
        }
        let bearer = key.and_then(|key| format!("Bearer {key}").parse().ok());
        headers.extend(bearer.map(|value| (header::AUTHORIZATION, value)));
        Self { api, headers, peer: with.get().copied() }
    }

    /// An answer as it comes, for what is passed on.
    pub(crate) async fn raw(&self, method: Method, path: &str) -> Response {
        self.send(method, path, &[], None).await
    }

    async fn send(&self, method: Method, path: &str, more: &[(HeaderName, String)], body: Option<&Value>) -> Response {
        let mut request = Request::new(body.map_or_else(Body::empty, |body| Body::from(body.to_string())));
        *request.method_mut() = method;
        *request.headers_mut() = self.headers.clone();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        let refused = |_| Refusal::of(StatusCode::NOT_FOUND, "", "");
        match path.parse().map_err(refused) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(refusal) => return axum::response::IntoResponse::into_response(refusal.status),
        }
        if body.is_some() {
            request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        }
        for (name, value) in more {
            request.headers_mut().extend(value.parse().ok().map(|value| (name.clone(), value)));
        }
        match self.api.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        more: &[(HeaderName, String)],
        body: Option<Value>,
    ) -> Result<Answer, Refusal> {
        let unavailable = |detail| Refusal::of(StatusCode::SERVICE_UNAVAILABLE, "Not reachable right now", detail);
        let whole = async {
            let (parts, bytes) = self.send(method, path, more, body.as_ref()).await.into_parts();
            to_bytes(bytes, MOST_BYTES).await.map(|bytes| (parts.status, bytes))
        };
        let answered = tokio::time::timeout(WITHIN, whole).await.map_err(|_| unavailable("The answer did not come in time."))?;
        let (status, bytes) = answered.map_err(|_| unavailable("The answer broke off."))?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() { Ok(Answer { body }) } else { Err(Refusal::read(status, &body)) }
    }

    /// What a GET answers, in a shape.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        let answer = self.ask(Method::GET, path, &[], None).await?;
        serde_json::from_value(answer.body).map_err(|error| {
            tracing::warn!(%error, "the API answered in another shape than the portal knows");
            Refusal::of(StatusCode::INTERNAL_SERVER_ERROR, "Something broke on our side", "The answer has an unknown shape.")
        })
    }

    /// The same; `None` where there is nothing of the kind: an older API, or nothing yet.
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Refusal> {
        match self.get(path).await {
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(None),
            found => found.map(Some),
        }
    }

    /// A text; `None` where there is none.
    pub(crate) async fn text(&self, path: &str) -> Option<String> {
        let response = self.raw(Method::GET, path).await;
        let is_there = response.status().is_success();
        let bytes = tokio::time::timeout(WITHIN, to_bytes(response.into_body(), MOST_BYTES)).await.ok()?.ok()?;
        is_there.then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A change. `once` names the form that asks for it: sent twice as it is, it is done once.
    pub(crate) async fn post(&self, path: &str, once: &str, body: Value) -> Result<Answer, Refusal> {
        self.once(Method::POST, path, once, "", Some(body)).await
    }

    /// A change without a body of what was read under `etag`.
    pub(crate) async fn post_on(&self, path: &str, once: &str, etag: &str) -> Result<Answer, Refusal> {
        self.once(Method::POST, path, once, etag, Some(json!({}))).await
    }

    /// A change of what was read under `etag`.
    pub(crate) async fn patch(&self, path: &str, once: &str, etag: &str, body: Value) -> Result<Answer, Refusal> {
        self.once(Method::PATCH, path, once, etag, Some(body)).await
    }

    /// A replacement of what was read under `etag`.
    pub(crate) async fn put(&self, path: &str, once: &str, etag: &str, body: Value) -> Result<Answer, Refusal> {
        self.once(Method::PUT, path, once, etag, Some(body)).await
    }

    /// A deletion; with an `etag`, of what was read under it alone.
    pub(crate) async fn delete(&self, path: &str, once: &str, etag: &str) -> Result<Answer, Refusal> {
        self.once(Method::DELETE, path, once, etag, None).await
    }

    /// Goes on where the browser does not wait for it: of a button that is pressed twice the first request is given up by the browser,
    /// and the second one gets its answer.
    async fn once(&self, method: Method, path: &str, once: &str, etag: &str, body: Option<Value>) -> Result<Answer, Refusal> {
        let key = if once.is_empty() { String::new() } else { key_of(once, &format!("{method} {path}"), etag, body.as_ref()) };
        let headers = [(header::IF_MATCH, etag.to_owned()), (IDEMPOTENCY_KEY, key)];
        let more: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let (client, path) = (self.clone(), path.to_owned());
        let asking = tokio::spawn(async move {
            let give_up = Instant::now() + UNDER_WAY;
            loop {
                match client.ask(method.clone(), &path, &more, body.clone()).await {
                    Err(refusal) if &*refusal.slug == "in-progress" && Instant::now() < give_up => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                    answered => return answered,
                }
            }
        });
        asking.await.unwrap_or_else(|_| Err(Refusal::of(StatusCode::INTERNAL_SERVER_ERROR, "Something broke on our side", "")))
    }
}

/// The key of a form as it was filled in: other contents, and another form of the same page, are another request.
fn key_of(once: &str, request: &str, etag: &str, body: Option<&Value>) -> String {
    let mut digest = Sha256::new();
    for part in [once, request, etag, &body.map(Value::to_string).unwrap_or_default()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    format!("portal-{}", HEXLOWER.encode(&digest.finalize()))
}

/// An id as one segment of a path.
pub(crate) fn segment(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    id.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A query string of what is not empty, with its question mark.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let given: Vec<String> =
        pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

/// An object of what is not empty.
pub(crate) fn object(pairs: Vec<(&str, Option<Value>)>) -> Value {
    let given = pairs.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)));
    Value::Object(given.collect::<Map<_, _>>())
}

/// A text as a field, unless it is empty.
pub(crate) fn given(text: &str) -> Option<Value> {
    let text = text.trim();
    (!text.is_empty()).then(|| json!(text))
}
