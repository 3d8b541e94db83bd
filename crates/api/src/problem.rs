//! Every error as a Problem Details document (RFC 9457), with a `type` that stays the same.
//!
//! Texts name what to change; they never repeat an address, a key, or what the store said about a document.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bot_objects::ObjectError;
use bot_store::{StoreError, StoreErrorKind};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Prefix of every `type`.
pub const TYPE_PREFIX: &str = "urn:meeting-bot:problem:";

macro_rules! kinds {
    ($( $(#[$doc:meta])* $variant:ident = $slug:literal, $status:ident, $title:literal; )*) => {
        /// What went wrong, from a closed list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $( $(#[$doc])* $variant, )* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[ $( Kind::$variant, )* ];

            /// The last part of the `type`.
            pub fn slug(self) -> &'static str {
                match self { $( Kind::$variant => $slug, )* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $( Kind::$variant => StatusCode::$status, )* }
            }

            /// One phrase, the same for every problem of this kind.
            pub fn title(self) -> &'static str {
                match self { $( Kind::$variant => $title, )* }
            }
        }
    };
}

kinds! {
    /// The body is no JSON, or nested too deep.
    MalformedBody = "malformed-body", BAD_REQUEST, "The body is not usable JSON";
    /// A query parameter or header cannot be read.
    BadParameter = "bad-parameter", BAD_REQUEST, "A parameter cannot be used";
    /// The cursor was made by no list.
    BadCursor = "bad-cursor", BAD_REQUEST, "The cursor is not one of ours";
    /// No key, or one that is unknown, revoked or expired.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid API key is needed";
    /// The key's role or organisation does not allow it.
    Forbidden = "forbidden", FORBIDDEN, "This key may not do that";
    /// Nothing of this id that the key may see.
    NotFound = "not-found", NOT_FOUND, "There is nothing here";
    /// The address exists, the method does not.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This method is not possible here";
    /// The state does not allow it.
    Conflict = "conflict", CONFLICT, "The present state does not allow it";
    /// The same request is being worked on.
    InProgress = "in-progress", CONFLICT, "The same request is being worked on";
    /// `If-Match` names an older version.
    Changed = "changed", PRECONDITION_FAILED, "Somebody was faster";
    /// `If-Match` is missing.
    NeedsVersion = "needs-if-match", PRECONDITION_REQUIRED, "If-Match is needed";
    /// The body is too large.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// Not `application/json`.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be application/json";
    /// The body is JSON of the wrong shape or values.
    Invalid = "invalid", UNPROCESSABLE_ENTITY, "The request is understood and cannot be carried out";
    /// The key of an earlier, different request.
    KeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "This Idempotency-Key belongs to another request";
    /// Asked too often.
    TooMany = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests";
    /// The range lies outside of the file.
    BadRange = "range-not-satisfiable", RANGE_NOT_SATISFIABLE, "The range lies outside of the file";
    /// A mistake of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something broke on our side";
    /// Every bot is busy, and the request does not want to wait.
    CapacityExhausted = "capacity-exhausted", SERVICE_UNAVAILABLE, "Every bot is busy";
    /// The store or the bucket cannot be reached, or took too long.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not reachable right now";
}

/// An error as it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What kind.
    pub kind: Kind,
    /// For a person: what to change.
    pub detail: String,
    /// Further members.
    pub extensions: Map<String, Value>,
}

/// The shape of every error (RFC 9457, `application/problem+json`).
#[derive(Debug, serde::Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// Stable name of the kind of problem, such as `urn:meeting-bot:problem:not-found`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The same phrase for every problem of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What to change.
    pub detail: String,
    /// The request, as in `X-Request-Id`.
    pub request_id: Option<String>,
    /// Every reason, where there are several.
    pub errors: Option<Vec<String>>,
}

impl Problem {
    /// A problem with what to change.
    pub fn new(kind: Kind, detail: impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string(), extensions: Map::new() }
    }

    /// The same with a further member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Nothing of this id.
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("no {what} of this id is visible to this key"))
    }

    /// As JSON.
    pub fn document(&self) -> Value {
        let mut document = self.extensions.clone();
        document.insert("type".into(), format!("{TYPE_PREFIX}{}", self.kind.slug()).into());
        document.insert("title".into(), self.kind.title().into());
        document.insert("status".into(), self.kind.status().as_u16().into());
        document.insert("detail".into(), self.detail.clone().into());
        Value::Object(document)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.document())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.kind {
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::CapacityExhausted => {
                let secs = self.extensions.get("retry_after_seconds").and_then(Value::as_i64).unwrap_or(60);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
            }
            Kind::Unavailable | Kind::InProgress => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(operation = error.operation, kind = ?error.kind, error = error.message, "the store failed a request");
        match error.kind {
            StoreErrorKind::Refused => Self::new(Kind::Internal, "the store refused; the log of this request says why"),
            _ => Self::new(Kind::Unavailable, "the store could not be reached in time; nothing is known to be lost, try again"),
        }
    }
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Self {
        tracing::warn!(operation = error.operation, error = error.message, "the bucket failed a request");
        Self::new(Kind::Unavailable, "the bucket could not be reached in time; try again")
    }
}

/// Several reasons as one problem.
pub(crate) fn invalid(reasons: Vec<String>) -> Problem {
    Problem::new(Kind::Invalid, reasons.join("; ")).with("errors", json!(reasons))
}
