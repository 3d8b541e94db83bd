//! A server that speaks Google Cloud Storage's documented JSON protocol and holds state, with faults on demand.
//!
//! The public emulators are no oracle (they accept a wrong checksum, ignore `ifGenerationMatch`, finalize on a status query, and
//! corrupt the official crate's single-shot uploads), so this one keeps to what Google documents: multipart and resumable
//! uploads, 308 with the bytes persisted, generations and their preconditions, crc32c verified, listing in pages.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};

/// What goes wrong with the next requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refused with 503; nothing is written.
    Unavailable,
    /// Written, but the answer is cut off.
    AnswerLost,
}

/// An object as the server holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The bytes.
    pub bytes: Bytes,
    /// MIME type.
    pub content_type: String,
    /// Changes with every write.
    pub generation: i64,
    /// Custom metadata.
    pub metadata: Value,
    /// When it was written.
    pub created_at: chrono::DateTime<chrono::Utc>,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Stored>,
    sessions: HashMap<u64, Session>,
    faults: Vec<Fault>,
    generation: i64,
    writes: u64,
    delay: Duration,
    at_once: u32,
    most_at_once: u32,
    takes_at_once: Option<u32>,
    refused: u32,
    is_create_only: bool,
}

struct Session {
    name: String,
    precondition: Option<i64>,
    metadata: Value,
    received: Vec<u8>,
}

/// The running server.
#[derive(Clone)]
pub struct GcsServer {
    /// Where it listens.
    pub address: SocketAddr,
    origin: String,
    bucket: Arc<Mutex<Bucket>>,
}

type Parameters = Query<HashMap<String, String>>;

impl GcsServer {
    /// Starts it on a free port. It ends with the runtime.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), None).await
    }

    /// Starts it on an address. `origin` is how clients reach it, where that is not the address listened on: an upload goes on there.
    /// (The request does not tell: Google's crate sends the public service's name as its host.)
    ///
    /// # Errors
    /// When the address is not to be had.
    pub async fn start_on(listen: SocketAddr, origin: Option<String>) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let server = Self { address, origin: origin.unwrap_or_else(|| format!("http://{address}")), bucket: Arc::default() };
        let app = Router::new()
            .route("/upload/storage/v1/b/{bucket}/o", post(begin_upload))
            .route("/resumable/{session}", put(continue_upload))
            .route("/storage/v1/b/{bucket}/o", get(list))
            .route("/storage/v1/b/{bucket}/o/{object}", get(read).delete(delete))
            // The XML protocol's way: no slash is encoded, which the API server's service proxy would decode.
            .route("/{bucket}/{*object}", get(download))
            .layer(DefaultBodyLimit::disable())
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(server)
    }

    /// For `STORAGE_EMULATOR_HOST`.
    pub fn host(&self) -> String {
        self.origin.clone()
    }

    /// Makes the next uploads fail, one fault each.
    pub fn fail_next(&self, faults: &[Fault]) {
        self.lock().faults = faults.iter().rev().copied().collect();
    }

    /// An object, if it is there.
    pub fn object(&self, name: &str) -> Option<Stored> {
        self.lock().objects.get(name).cloned()
    }

    /// The names that begin so, in order.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.lock().objects.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// How many writes were applied.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Takes this long for each upload.
    pub fn answers_after(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// The most uploads that were on their way at once.
    pub fn most_at_once(&self) -> u32 {
        self.lock().most_at_once
    }

    /// Refuses with 503 what would be more at once.
    pub fn takes_at_once(&self, most: u32) {
        self.lock().takes_at_once = Some(most);
    }

    /// Grants the right to create alone, as `roles/storage.objectCreator` does.
    pub fn grants_creating_alone(&self) {
        self.lock().is_create_only = true;
    }

    /// How many uploads were refused for being too many at once.
    pub fn refused(&self) -> u32 {
        self.lock().refused
    }

    /// Takes the time of an upload, counted; false where it is one too many.
    async fn work(&self) -> bool {
        let (delay, is_taken) = {
            let mut bucket = self.lock();
            bucket.at_once += 1;
            bucket.most_at_once = bucket.most_at_once.max(bucket.at_once);
            let is_taken = bucket.takes_at_once.is_none_or(|most| bucket.at_once <= most);
            bucket.refused += u32::from(!is_taken);
            (bucket.delay, is_taken)
        };
        tokio::time::sleep(delay).await;
        self.lock().at_once -= 1;
        is_taken
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, name: &str, precondition: Option<i64>, metadata: &Value, bytes: Bytes) -> Response {
        let fault = self.lock().faults.pop();
        if fault == Some(Fault::Unavailable) {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "backendError");
        }
        let mut bucket = self.lock();
        let found = bucket.objects.get(name).map_or(0, |object| object.generation);
        if found != 0 && bucket.is_create_only {
            let denied = "the identity does not have storage.objects.delete access to the Google Cloud Storage object.";
            return problem(StatusCode::FORBIDDEN, denied);
        }
        if precondition.is_some_and(|wanted| wanted != found) {
            return problem(StatusCode::PRECONDITION_FAILED, "conditionNotMet");
        }
        let crc = encoded_crc(&bytes);
        if metadata.get("crc32c").and_then(Value::as_str).is_some_and(|given| given != crc) {
            return problem(StatusCode::BAD_REQUEST, "Provided CRC32C does not match calculated CRC32C");
        }
        bucket.generation += 1;
        bucket.writes += 1;
        let stored = Stored {
            content_type: metadata.get("contentType").and_then(Value::as_str).unwrap_or("application/octet-stream").to_owned(),
            generation: bucket.generation,
            metadata: metadata.get("metadata").cloned().unwrap_or_else(|| json!({})),
            created_at: chrono::Utc::now(),
            bytes,
        };
        let answer = resource(name, &stored);
        bucket.objects.insert(name.to_owned(), stored);
        if fault == Some(Fault::AnswerLost) {
            let cut = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut on demand")) });
            return Body::from_stream(cut).into_response();
        }
        axum::Json(answer).into_response()
    }
}

async fn begin_upload(
    State(server): State<GcsServer>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !server.work().await {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "backendError");
    }
    let precondition = parameters.get("ifGenerationMatch").and_then(|text| text.parse().ok());
    let name = parameters.get("name").cloned();
    match parameters.get("uploadType").map(String::as_str) {
        Some("multipart") => {
            let Some((metadata, media)) = multipart(&headers, &body) else {
                return problem(StatusCode::BAD_REQUEST, "not multipart/related with metadata and media");
            };
            let named = metadata.get("name").and_then(Value::as_str).map(str::to_owned);
            match name.or(named) {
                Some(name) => server.store(&name, precondition, &metadata, media),
                None => problem(StatusCode::BAD_REQUEST, "Required: name"),
            }
        }
        Some("resumable") => begin_session(&server, name, precondition, &body),
        _ => problem(StatusCode::BAD_REQUEST, "uploadType must be multipart or resumable"),
    }
}

fn begin_session(server: &GcsServer, name: Option<String>, precondition: Option<i64>, body: &[u8]) -> Response {
    let Some(name) = name else { return problem(StatusCode::BAD_REQUEST, "Required: name") };
    let metadata = serde_json::from_slice(body).unwrap_or_default();
    let mut bucket = server.lock();
    let id = bucket.sessions.len() as u64 + 1;
    bucket.sessions.insert(id, Session { name, precondition, metadata, received: Vec::new() });
    ([(header::LOCATION, format!("{}/resumable/{id}", server.origin))], "").into_response()
}

async fn continue_upload(State(server): State<GcsServer>, Path(id): Path<u64>, headers: HeaderMap, body: Bytes) -> Response {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (span, total) = range.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).unwrap_or(("", "*"));
    let finished = {
        let mut bucket = server.lock();
        let Some(session) = bucket.sessions.get_mut(&id) else { return problem(StatusCode::NOT_FOUND, "no such upload") };
        if span == "*" && total == "*" {
            return incomplete(session.received.len());
        }
        if let Some((first, _)) = span.split_once('-') {
            let first: usize = first.parse().unwrap_or(usize::MAX);
            if first > session.received.len() {
                return incomplete(session.received.len());
            }
            session.received.truncate(first);
            session.received.extend_from_slice(&body);
        }
        // A total of `*` with the whole stream sent ends the upload; a number ends it once that many bytes are there.
        let is_whole = total.parse().map_or(true, |total: usize| total == session.received.len());
        if !is_whole {
            return incomplete(session.received.len());
        }
        (session.name.clone(), session.precondition, session.metadata.clone(), Bytes::from(session.received.clone()))
    };
    let (name, precondition, mut metadata, bytes) = finished;
    if let Some(crc) = hash_header(&headers) {
        metadata["crc32c"] = json!(crc);
    }
    server.store(&name, precondition, &metadata, bytes)
}

fn incomplete(received: usize) -> Response {
    let status = StatusCode::PERMANENT_REDIRECT;
    if received == 0 {
        status.into_response()
    } else {
        (status, [(header::RANGE, format!("bytes=0-{}", received - 1))]).into_response()
    }
}

async fn download(
    State(server): State<GcsServer>,
    Path((_, name)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = expired(&parameters) {
        return refusal;
    }
    match server.object(&name) {
        Some(object) => ranged(&headers, [(header::CONTENT_TYPE, object.content_type)].into_response(), object.bytes),
        None => problem(StatusCode::NOT_FOUND, "No such object"),
    }
}

/// A signed address (V4) that has run out. Its signature is judged by the test that knows the key.
fn expired(parameters: &HashMap<String, String>) -> Option<Response> {
    let signed = chrono::NaiveDateTime::parse_from_str(parameters.get("X-Goog-Date")?, "%Y%m%dT%H%M%SZ").ok()?.and_utc();
    let lasts = chrono::TimeDelta::seconds(parameters.get("X-Goog-Expires")?.parse().ok()?);
    (chrono::Utc::now() >= signed + lasts).then(|| problem(StatusCode::BAD_REQUEST, "ExpiredToken"))
}

/// The whole, or the one range that is asked for.
fn ranged(headers: &HeaderMap, mut response: Response, bytes: Bytes) -> Response {
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let Some((first, last)) = asked.and_then(|range| range.split_once('-')) else {
        *response.body_mut() = Body::from(bytes);
        return response;
    };
    let whole = bytes.len();
    let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), last) => (first, last.unwrap_or(usize::MAX).min(whole.saturating_sub(1))),
        (Err(_), Ok(count)) => (whole.saturating_sub(count), whole.saturating_sub(1)),
        _ => (whole, 0),
    };
    if first >= whole || first > last {
        return problem(StatusCode::RANGE_NOT_SATISFIABLE, "requestedRangeNotSatisfiable");
    }
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    if let Ok(value) = format!("bytes {first}-{last}/{whole}").parse() {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    *response.body_mut() = Body::from(bytes.slice(first..=last));
    response
}

async fn read(
    State(server): State<GcsServer>,
    Path((_, name)): Path<(String, String)>,
    Query(parameters): Parameters,
    asked: HeaderMap,
) -> Response {
    let Some(object) = server.object(&name) else { return problem(StatusCode::NOT_FOUND, "No such object") };
    if parameters.get("alt").map(String::as_str) != Some("media") {
        return axum::Json(resource(&name, &object)).into_response();
    }
    let text = |name: &'static str, value: String| (HeaderName::from_static(name), value);
    let headers = [
        text("content-type", object.content_type.clone()),
        text("x-goog-generation", object.generation.to_string()),
        text("x-goog-metageneration", "1".into()),
        text("x-goog-stored-content-length", object.bytes.len().to_string()),
        text("x-goog-stored-content-encoding", "identity".into()),
        text("x-goog-storage-class", "STANDARD".into()),
        text("x-goog-hash", format!("crc32c={}", encoded_crc(&object.bytes))),
    ];
    ranged(&asked, headers.into_response(), object.bytes)
}

async fn delete(State(server): State<GcsServer>, Path((_, name)): Path<(String, String)>) -> Response {
    match server.lock().objects.remove(&name) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => problem(StatusCode::NOT_FOUND, "No such object"),
    }
}

/// Pages of three, so that every listing of a test meets a page's end.
async fn list(State(server): State<GcsServer>, Query(parameters): Parameters) -> Response {
    let prefix = parameters.get("prefix").cloned().unwrap_or_default();
    let after = parameters.get("pageToken").cloned().unwrap_or_default();
    let bucket = server.lock();
    let from = parameters.get("startOffset").cloned().unwrap_or_default();
    let mut found = bucket.objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > after && **name >= from);
    let page: Vec<_> = found.by_ref().take(3).collect();
    let next = found.next().and(page.last()).map(|(name, _)| (*name).clone());
    let items: Vec<Value> = page.iter().map(|(name, object)| resource(name, object)).collect();
    axum::Json(json!({"kind": "storage#objects", "items": items, "nextPageToken": next})).into_response()
}

fn resource(name: &str, object: &Stored) -> Value {
    json!({
        "kind": "storage#object", "bucket": "fake", "name": name, "generation": object.generation.to_string(), "metageneration": "1",
        "size": object.bytes.len().to_string(), "contentType": object.content_type, "crc32c": encoded_crc(&object.bytes),
        "metadata": object.metadata, "timeCreated": object.created_at,
    })
}

/// Metadata and media of a `multipart/related` body. The crate may send a last part with the checksum that it has computed while
/// sending; it counts as metadata.
fn multipart(headers: &HeaderMap, body: &[u8]) -> Option<(Value, Bytes)> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let boundary = kind.split("boundary=").nth(1)?.split(';').next()?.trim_matches('"');
    let mark = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body.get(find(body, mark.as_bytes())? + mark.len()..)?;
    while let Some(end) = find(rest, format!("\r\n{mark}").as_bytes()) {
        let part = rest.get(..end)?;
        let head = find(part, b"\r\n\r\n")?;
        parts.push(part.get(head + 4..)?);
        rest = rest.get(end + 2 + mark.len()..)?;
    }
    let [first, media, others @ ..] = parts.as_slice() else { return None };
    let mut metadata: Value = serde_json::from_slice(first).ok()?;
    for other in others {
        let more: Value = serde_json::from_slice(other).ok()?;
        metadata.as_object_mut()?.extend(more.as_object()?.clone());
    }
    Some((metadata, Bytes::copy_from_slice(media)))
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

fn hash_header(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-goog-hash")?.to_str().ok()?;
    text.split(',').find_map(|hash| hash.trim().strip_prefix("crc32c=")).map(str::to_owned)
}

fn encoded_crc(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(&crc32c::crc32c(bytes).to_be_bytes())
}

fn problem(status: StatusCode, reason: &str) -> Response {
    (status, axum::Json(json!({"error": {"code": status.as_u16(), "message": reason, "errors": [{"reason": reason}]}})))
        .into_response()
}
