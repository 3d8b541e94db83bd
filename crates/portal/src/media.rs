//! Files, picture, log and playlist of a bot, passed on with the session's key: a browser sends no key for what a page embeds.

use axum::extract::{Path, Query};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use serde::Deserialize;

use crate::client::segment;
use crate::visit::Visit;

/// What a file or segment may be kept as by the browser; everything else of the answer is ours.
const KEPT: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_DISPOSITION,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
];
/// Opened by itself, none of it may run anything.
const POLICY: &str = "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; sandbox";

async fn passed(visit: &Visit, path: &str) -> Response {
    let mut response = visit.client.raw(Method::GET, path).await;
    let headers = std::mem::take(response.headers_mut());
    let kept = KEPT.into_iter().filter_map(|name| headers.get(&name).map(|value| (name.clone(), value.clone())));
    response.headers_mut().extend(kept);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// How a file is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    save: String,
}

/// A file, whole or in part.
pub(crate) async fn artifact(visit: Visit, Path((id, name)): Path<(String, String)>, Query(wanted): Query<Wanted>) -> Response {
    let mut response = passed(&visit, &format!("/v1/bots/{}/artifacts/{}", segment(&id), segment(&name))).await;
    if !wanted.save.is_empty() && response.status().is_success() {
        let name: String =
            format!("{id}-{name}").chars().filter(|one| one.is_ascii_alphanumeric() || "-_.".contains(*one)).collect();
        if let Ok(value) = format!("attachment; filename=\"{name}\"").parse() {
            response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
        }
    }
    response
}

/// What the bot's display shows.
pub(crate) async fn picture(visit: Visit, Path(id): Path<String>) -> Response {
    passed(&visit, &format!("/v1/bots/{}/picture", segment(&id))).await
}

/// The end of the bot's log, or all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tail {
    tail_lines: Option<u32>,
}

/// The log.
pub(crate) async fn log(visit: Visit, Path(id): Path<String>, Query(tail): Query<Tail>) -> Response {
    let lines = tail.tail_lines.map(|lines| format!("?tail_lines={lines}")).unwrap_or_default();
    passed(&visit, &format!("/v1/bots/{}/log{lines}", segment(&id))).await
}

/// The playlist of a call in progress, or what it names.
pub(crate) async fn hls(visit: Visit, Path((id, name)): Path<(String, String)>) -> Response {
    passed(&visit, &format!("/v1/bots/{}/hls/{}", segment(&id), segment(&name))).await
}
