//! Files of a recording: what there is, and the bytes, whole or in part, straight from the bucket.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bot_model::document::{Artifact, BotInstance};
use bot_model::object_prefix::ObjectName;
use bot_objects::{ByteStream, ObjectError};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::{Scope, Viewer, Who};
use crate::problem::{Kind, Problem};
use crate::state::Api;
use crate::view::{ArtifactView, artifacts};

/// The next bytes of a download come within this long, or it ends.
const CHUNK_WITHIN: Duration = Duration::from_secs(30);
/// Largest JSON document that is given out as an answer of its own.
const MOST_JSON_BYTES: u64 = 64 * 1024 * 1024;

/// The files of a bot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArtifactList {
    bot_id: String,
    /// Empty until the files were verified.
    artifacts: Vec<ArtifactView>,
}

/// List a bot's files
#[utoipa::path(get, path = "/v1/bots/{id}/artifacts", tag = "recordings", params(("id" = String, Path, description = "The bot")),
    responses((status = 200, body = ArtifactList, description = "What there is")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<ArtifactList>, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?.instance;
    let artifacts = artifacts(bot.id.as_str(), &bot.facts);
    Ok(Json(ArtifactList { bot_id: bot.id.to_string(), artifacts }))
}

/// Download a file
///
/// One byte range is honoured (`Range: bytes=…`); `If-Range` and `If-None-Match` go by the `ETag`, which is the file's checksum.
#[utoipa::path(get, path = "/v1/bots/{id}/artifacts/{name}", tag = "recordings",
    params(("id" = String, Path, description = "The bot"),
        ("name" = String, Path, description = "video.mp4, audio.m4a, recording.json or timeline.json"),
        ("Range" = Option<String>, Header, description = "Such as bytes=0-1023")),
    responses((status = 200, description = "The whole file", content_type = "application/octet-stream"),
        (status = 206, description = "The range", content_type = "application/octet-stream"),
        (status = 304, description = "It is what If-None-Match names")))]
pub(crate) async fn download(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path((id, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (_, file) = file_of(&api, &who.principal.scope, &id, |file| file.file_name() == name).await?;
    given(&api, &file, &method, &headers).await
}

/// A file, or the part of it that the headers ask for.
pub(crate) async fn given(api: &Api, file: &Artifact, method: &Method, headers: &HeaderMap) -> Result<Response, Problem> {
    let tag = format!("\"{}\"", file.crc32c);
    let asks = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if asks(header::IF_NONE_MATCH).is_some_and(|tags| tags.trim() == "*" || tags.split(',').any(|one| one.trim() == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let is_still = asks(header::IF_RANGE).is_none_or(|known| known == tag);
    let part = match asks(header::RANGE).filter(|_| is_still && *method == Method::GET) {
        Some(range) => wanted(range, file.bytes).map_err(|()| out_of_range(file.bytes))?,
        None => None,
    };
    let range = part.clone().unwrap_or(0..file.bytes);
    let body =
        if *method == Method::HEAD || range.is_empty() { Body::empty() } else { body_of(api, file, range.clone()).await? };
    let mut response = (
        if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK },
        [
            (header::CONTENT_TYPE, file.name.content_type().to_owned()),
            (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            (header::ETAG, tag),
            (header::CACHE_CONTROL, "private, no-cache".to_owned()),
            (header::CONTENT_DISPOSITION, format!("inline; filename=\"{}\"", file.name.file_name())),
        ],
        body,
    )
        .into_response();
    if part.is_some()
        && let Ok(value) = format!("bytes {}-{}/{}", range.start, range.end - 1, file.bytes).parse()
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

fn out_of_range(bytes: u64) -> Problem {
    Problem::new(Kind::BadRange, format!("the file has {bytes} bytes")).with("bytes", bytes)
}

/// A bot that this scope sees, and a file of its.
pub(crate) async fn file_of(
    api: &Api,
    scope: &Scope,
    id: &str,
    is_wanted: impl Fn(ObjectName) -> bool,
) -> Result<(BotInstance, Artifact), Problem> {
    let bot = api.bot(scope, id).await?.instance;
    let file = bot.facts.artifacts.iter().find(|file| is_wanted(file.name)).cloned();
    let missing = || Problem::new(Kind::NotFound, "this bot has no such file; GET …/artifacts lists what there is");
    let file = file.ok_or_else(missing)?;
    Ok((bot, file))
}

async fn opened(api: &Api, file: &Artifact, range: Range<u64>) -> Result<ByteStream, Problem> {
    let objects = api.objects().await?;
    let elsewhere = || Problem::new(Kind::NotFound, "the file does not lie in the bucket that this controller is configured for");
    let name = objects.name_of(&file.object).ok_or_else(elsewhere)?;
    let gone = || Problem::new(Kind::NotFound, "the file is not in the bucket any more");
    objects.read(name, range).await?.ok_or_else(gone)
}

async fn body_of(api: &Api, file: &Artifact, range: Range<u64>) -> Result<Body, Problem> {
    let bytes = opened(api, file, range).await?;
    // A broken stream cuts the body short of its stated length: the client sees that, and asks for the rest.
    let timed = stream::unfold(Some(bytes), |bytes| async {
        let mut bytes = bytes?;
        match tokio::time::timeout(CHUNK_WITHIN, bytes.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(bytes))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => {
                let message = "no bytes in time".to_owned();
                Some((Err(ObjectError { operation: "get", message, is_transient: true }), None))
            }
        }
    });
    Ok(Body::from_stream(timed))
}

/// The one range that is asked for; `None` is the whole file (several ranges, or another unit), an error lies outside.
fn wanted(text: &str, bytes: u64) -> Result<Option<Range<u64>>, ()> {
    let Some(spec) = text.trim().strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Ok(None) };
    let Some((first, last)) = spec.trim().split_once('-') else { return Ok(None) };
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let range = match (number(first), number(last), first.is_empty(), last.is_empty()) {
        (Some(first), Some(last), ..) if first <= last => first..last.saturating_add(1).min(bytes),
        (Some(first), None, _, true) => first..bytes,
        (None, Some(count), true, _) => bytes.saturating_sub(count)..bytes,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(()) }
}

async fn document(api: &Api, who: &Who, id: &str, name: ObjectName) -> Result<Json<Value>, Problem> {
    let (_, file) = file_of(api, &who.principal.scope, id, |file| file == name).await?;
    if file.bytes > MOST_JSON_BYTES {
        return Err(Problem::new(Kind::Conflict, "it is too large for one answer: download it in ranges"));
    }
    let mut bytes = opened(api, &file, 0..file.bytes).await?;
    let mut text = Vec::new();
    while let Some(chunk) = bytes.next().await {
        text.extend_from_slice(&chunk?);
    }
    let broken = |_| Problem::new(Kind::Internal, "the file in the bucket is no JSON");
    serde_json::from_slice(&text).map(Json).map_err(broken)
}

/// Read what was recorded
///
/// `recording.json`: parts, gaps, quality, checksums.
#[utoipa::path(get, path = "/v1/bots/{id}/recording", tag = "recordings", params(("id" = String, Path, description = "The bot")),
    responses((status = 200, body = Object, description = "recording.json")))]
pub(crate) async fn recording(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    document(&api, &who, &id, ObjectName::Manifest).await
}

/// Read who was there
///
/// `timeline.json`: participants, who spoke when, the chat. 404 where the bot told nothing of the people.
#[utoipa::path(get, path = "/v1/bots/{id}/participants", tag = "recordings", params(("id" = String, Path, description = "The bot")),
    responses((status = 200, body = Object, description = "timeline.json")))]
pub(crate) async fn participants(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    document(&api, &who, &id, ObjectName::Timeline).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        for (text, expected) in [
            ("bytes=0-0", Ok(Some(0..1))),
            ("bytes=2-", Ok(Some(2..10))),
            ("bytes=-3", Ok(Some(7..10))),
            ("bytes=-30", Ok(Some(0..10))),
            ("bytes=5-18446744073709551615", Ok(Some(5..10))),
            ("bytes=9-9", Ok(Some(9..10))),
            ("bytes=10-", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=99-100", Err(())),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("bytes=+1-2", Ok(None)),
            ("bytes=a-b", Ok(None)),
            ("bytes=-", Ok(None)),
            ("lines=0-1", Ok(None)),
        ] {
            assert_eq!(wanted(text, 10), expected, "{text}");
        }
        assert_eq!(wanted("bytes=0-", 0), Err(()));
    }
}
