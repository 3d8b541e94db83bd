//! `Idempotency-Key`: the first answer is remembered and given again; another request under the same key is refused.
//!
//! What broke on our side is not remembered, nor what another try may get otherwise, so that a retry runs. A request that died half-way is
//! run again after a while: what a POST makes is derived from the request, so that doing it twice is doing it once; a change of a version
//! that is gone by its own doing is refused then, as anybody else's would be.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bot_model::document::Fields;
use bot_store::listing::{Listed, Listing};
use bot_store::{Commit, DocumentKey, Store, StoreError, StoreErrorKind, Version, Write, clock};
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::access::Principal;
use crate::input::MAX_BODY_BYTES;
use crate::problem::{Kind, Problem};
use crate::state::Api;

/// How long an answer is remembered.
const REMEMBERED: TimeDelta = TimeDelta::hours(24);
/// A request under way for longer than this has died: the guard's deadline is shorter.
const UNDER_WAY: TimeDelta = TimeDelta::seconds(60);
/// Largest answer that is remembered: it must fit into a document.
const MOST_ANSWER_BYTES: usize = 900_000;
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Headers that belong to an answer.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];
/// Answers that say nothing of the same request a moment later: nothing was done.
const PASSING: [StatusCode; 4] =
    [StatusCode::UNAUTHORIZED, StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED, StatusCode::PRECONDITION_REQUIRED];
/// Between removals of what is no longer remembered.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// The handler's answer, or the one that it gave before.
pub(crate) async fn answer(api: &Arc<Api>, principal: &Principal, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get(KEY) else { return next.run(request).await };
    let is_usable = |key: &&str| (1..=255).contains(&key.len()) && key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let Some(key) = key.to_str().ok().filter(is_usable).map(str::to_owned) else {
        return Problem::new(Kind::BadParameter, "Idempotency-Key wants 1 to 255 printable ASCII characters").into_response();
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return Problem::new(Kind::TooLarge, format!("at most {MAX_BODY_BYTES} bytes")).into_response();
    };
    let path = parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    let document = DocumentKey::Replay(digest(&[principal.id.as_bytes(), key.as_bytes()]));
    // A POST's without its method: replicas before this one, which remembered no other, must know it.
    let asked = if parts.method == Method::POST { path } else { format!("{} {path}", parts.method) };
    let version = parts.headers.get(header::IF_MATCH).map(HeaderValue::as_bytes);
    let fingerprint = digest(&[&[asked.as_bytes(), &body], version.as_slice()].concat());
    match begin(api.store(), &document, &fingerprint, clock::now()).await {
        Ok(Begun::Ours(version)) => {
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            remember(api, document, version, response).await
        }
        Ok(Begun::Answered(response)) => response,
        Err(problem) => problem.into_response(),
    }
}

enum Begun {
    Ours(Version),
    Answered(Response),
}

async fn begin(store: &dyn Store, document: &DocumentKey, fingerprint: &str, now: DateTime<Utc>) -> Result<Begun, Problem> {
    let fresh = fields(json!({
        "fingerprint": fingerprint, "begun_at": now, "expires_at": now + REMEMBERED, "try": clock::random_id().to_string(),
        "status": null, "headers": null, "body": null,
    }));
    // A lost race is looked at again.
    for _ in 0..3 {
        let found = store.read(document).await?;
        let write = match &found {
            None => Write::create(document.clone(), fresh.clone()),
            Some(found) => {
                let text = |name: &str| found.fields.get(name).and_then(Value::as_str).unwrap_or_default();
                let instant = |name: &str| text(name).parse::<DateTime<Utc>>().ok();
                let is_over = instant("expires_at").is_none_or(|at| at <= now);
                if !is_over && text("fingerprint") != fingerprint {
                    return Err(Problem::new(Kind::KeyReused, "use a new key for a new request"));
                }
                if !is_over && found.fields.contains_key("status") {
                    return Ok(Begun::Answered(replayed(&found.fields)));
                }
                if !is_over && instant("begun_at").is_some_and(|at| now - at < UNDER_WAY) {
                    return Err(Problem::new(Kind::InProgress, "ask again with the same key in a moment"));
                }
                Write::update(document.clone(), found.version.clone(), fresh.clone())
            }
        };
        match store.commit(vec![write]).await {
            Ok(Commit::Applied(versions)) => {
                return versions.into_iter().next().map(Begun::Ours).ok_or_else(|| Problem::new(Kind::Internal, "no version"));
            }
            Ok(Commit::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::new(Kind::InProgress, "ask again with the same key in a moment"))
}

async fn remember(api: &Arc<Api>, document: DocumentKey, version: Version, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let is_ours = parts.status.is_server_error() || PASSING.contains(&parts.status);
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::new(Kind::Internal, "the answer broke off").into_response();
    };
    let write = if is_ours || bytes.len() > MOST_ANSWER_BYTES {
        Write::delete(document, version)
    } else {
        let kept: Fields = KEPT
            .iter()
            .filter_map(|name| Some((name.to_string(), Value::from(parts.headers.get(name)?.to_str().ok()?))))
            .collect();
        let answer = json!({"status": parts.status.as_u16(), "headers": kept, "body": String::from_utf8_lossy(&bytes)});
        Write::update(document, version, fields(answer))
    };
    if let Err(error) = api.store.commit(vec![write]).await {
        tracing::warn!(error = error.message, "an answer was not remembered; a retry runs the request again");
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn replayed(found: &Fields) -> Response {
    let status = found.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = found.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut response = (status, Bytes::from(body)).into_response();
    let headers = response.headers_mut();
    for name in KEPT {
        let kept = found.get("headers").and_then(|headers| headers.get(name.as_str())).and_then(Value::as_str);
        if let Some(value) = kept.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Forgets what is past its time, until told to stop. Every replica does it; a lost race is one deletion less.
pub(crate) async fn tidy(api: Arc<Api>) {
    loop {
        if let Err(error) = forget(api.store(), clock::now()).await {
            tracing::warn!(kind = ?error.kind, error = error.message, "remembered answers were not tidied");
        }
        tokio::select! {
            () = api.stop.cancelled() => return,
            () = tokio::time::sleep(TIDY_EVERY) => {}
        }
    }
}

async fn forget(store: &dyn Store, now: DateTime<Utc>) -> Result<(), StoreError> {
    let over = Listing { before: Some(now), ..Listing::oldest(Listed::Replays) };
    loop {
        let page = store.list(&over, None, 100).await?;
        let count = page.records.len();
        let deletions = page.records.into_iter().map(|record| vec![Write::delete(record.key, record.version)]).collect();
        let failed = store.commit_each(deletions).await.into_iter().find_map(Result::err);
        match failed {
            Some(error) if error.kind != StoreErrorKind::Unknown => return Err(error),
            _ if count < 100 => return Ok(()),
            _ => {}
        }
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    HEXLOWER.encode(&hasher.finalize())
}

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}
