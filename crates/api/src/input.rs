//! What comes in: bodies, query strings, cursors and versions, each with its refusal as a problem.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bot_store::{StoreError, StoreErrorKind, Version};
use data_encoding::BASE64URL_NOPAD;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::problem::{Kind, Problem};

/// Largest body: a batch of 100 meetings fits many times.
pub(crate) const MAX_BODY_BYTES: usize = 512 * 1024;
/// Longest page.
const MAX_LIMIT: usize = 200;

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mime = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if mime != "application/json" {
            return Err(Problem::new(Kind::UnsupportedMediaType, "send Content-Type: application/json"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Kind::TooLarge, format!("at most {MAX_BODY_BYTES} bytes"))
            } else {
                Problem::new(Kind::MalformedBody, "the body broke off")
            }
        })?;
        parse(&bytes).map(Self)
    }
}

/// JSON of a shape.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::new(Kind::Invalid, error),
        _ => Problem::new(Kind::MalformedBody, error),
    })
}

/// A query string.
#[derive(Debug)]
pub(crate) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed = Query::<T>::from_request_parts(parts, state).await;
        parsed.map(|Query(params)| Self(params)).map_err(|rejection| Problem::new(Kind::BadParameter, rejection.body_text()))
    }
}

/// How many, from 1 to 200.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(50) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Problem::new(Kind::BadParameter, format!("limit wants 1 to {MAX_LIMIT}"))),
    }
}

/// The store's cursor out of ours.
pub(crate) fn cursor(text: Option<&str>) -> Result<Option<String>, Problem> {
    let refused = || Problem::new(Kind::BadCursor, "cursor wants next_cursor of an earlier page");
    text.map(|text| {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| refused())?;
        let cursor = String::from_utf8(bytes).map_err(|_| refused())?;
        bot_store::listing::of_cursor(&cursor).is_some().then_some(cursor).ok_or_else(refused)
    })
    .transpose()
}

/// Ours out of the store's.
pub(crate) fn next_cursor(cursor: Option<String>) -> Option<String> {
    cursor.map(|cursor| BASE64URL_NOPAD.encode(cursor.as_bytes()))
}

/// A list that the store refused was asked for with a cursor of another store.
pub(crate) fn of_list(error: StoreError) -> Problem {
    match error.kind {
        StoreErrorKind::Refused => {
            tracing::warn!(error = error.message, "the store refused a list");
            Problem::new(Kind::BadCursor, "the store refused this cursor, or an index is missing: controller indexes")
        }
        _ => error.into(),
    }
}

/// The `ETag` of a version.
pub(crate) fn etag(version: &Version) -> String {
    format!("\"{}\"", version.as_str())
}

/// What `If-Match` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Nothing.
    Absent,
    /// Whatever is there.
    Any,
    /// One of these tags.
    Tags(Vec<String>),
}

impl IfMatch {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Self::Absent) };
        let refused = || Problem::new(Kind::BadParameter, "If-Match wants the ETag of an earlier answer, with its quotes");
        let text = value.to_str().map_err(|_| refused())?.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
        let is_tag = |tag: &String| tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"');
        if tags.iter().all(is_tag) { Ok(Self::Tags(tags)) } else { Err(refused()) }
    }

    pub(crate) fn admits(&self, version: &Version) -> bool {
        match self {
            Self::Absent | Self::Any => true,
            Self::Tags(tags) => tags.contains(&etag(version)),
        }
    }
}

/// A field that may be absent (unchanged) or `null` (cleared).
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
