//! What all pages share: the frame around them, their headers, and the page of a refusal.

use std::sync::Arc;

use askama::Template;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use chrono::Utc;
use data_encoding::HEXLOWER;

use crate::Portal;
use crate::client::Refusal;
use crate::visit::Visit;
use crate::zone::Zone;
use sealing::random;

/// Nothing but our own files, no inline script or style, no frame around us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With no-referrer a form would be sent with Origin: null.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), display-capture=()"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds to every answer of the portal what it does not say itself.
pub(crate) async fn guarded(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The frame around a page.
pub(crate) struct Frame {
    pub(crate) title: String,
    /// Which part of the navigation it belongs to.
    pub(crate) section: &'static str,
    /// Whether anybody is signed in.
    pub(crate) is_in: bool,
    pub(crate) is_open: bool,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) can_operate: bool,
    pub(crate) is_admin: bool,
    /// For every form.
    pub(crate) token: String,
    /// For every form that asks for a change.
    pub(crate) once: String,
    pub(crate) zone: Zone,
    /// Where events come from, for a page that is live.
    pub(crate) live: String,
    /// What was just done.
    pub(crate) notice: &'static str,
    /// Of the embedded files.
    pub(crate) version: &'static str,
}

impl Frame {
    /// Around a page of somebody who is signed in.
    pub(crate) fn new(visit: &Visit, section: &'static str, title: impl Into<String>) -> Self {
        let did = visit.address.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let did = did.split('&').find_map(|pair| pair.strip_prefix("did=")).unwrap_or_default();
        Self {
            title: title.into(),
            section,
            is_in: true,
            is_open: visit.portal.is_open,
            name: visit.me.name.clone(),
            role: visit.me.role.clone(),
            can_operate: visit.can_operate(),
            is_admin: visit.is_admin(),
            token: visit.session.token.clone(),
            once: random::<16>().map(|bytes| HEXLOWER.encode(&bytes)).unwrap_or_default(),
            zone: visit.zone,
            live: String::new(),
            notice: notice(did),
            version: visit.portal.version(),
        }
    }

    /// Around a page of nobody in particular.
    pub(crate) fn plain(portal: &Portal, headers: &HeaderMap, title: &str, token: &str) -> Self {
        Self {
            title: title.into(),
            section: "",
            is_in: false,
            is_open: portal.is_open,
            name: String::new(),
            role: String::new(),
            can_operate: false,
            is_admin: false,
            token: token.into(),
            once: String::new(),
            zone: Zone::of(headers, Utc::now()),
            live: String::new(),
            notice: "",
            version: portal.version(),
        }
    }

    /// The same, kept up to date by events.
    pub(crate) fn live(mut self, address: impl Into<String>) -> Self {
        self.live = address.into();
        self
    }
}

/// What was just done, from a closed list: an address can make a page say nothing else.
fn notice(did: &str) -> &'static str {
    match did {
        "scheduled" => "Scheduled. A bot is sent shortly before the start.",
        "queued" => "Queued. A bot is on its way.",
        "already" => "This meeting is scheduled or being recorded already. Here it is.",
        "left" => "The bot was asked to leave. What it recorded becomes files.",
        "retried" => "Another bot is on its way.",
        "priority" => "The priority was changed.",
        "changed" => "The meeting was changed.",
        "cancelled" => "The meeting was cancelled.",
        "zone" => "The time zone was set.",
        "tested" => "A test event is on its way; its attempts are listed below.",
        "replayed" => "The event is sent once more; its attempts are listed below.",
        "saved" => "Saved.",
        "deleted" => "Deleted.",
        "limits" => "The limits were set. They hold within half a minute.",
        "defaults" => "The organization has no limits of its own any more. The default holds within half a minute.",
        "revoked" => "The key was revoked.",
        _ => "",
    }
}

/// A page as an answer.
pub(crate) fn show(visit: &Visit, status: StatusCode, page: &impl Template) -> Response {
    let mut response = drawn(status, page);
    if let Some(cookie) = &visit.cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    response
}

pub(crate) fn drawn(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be drawn");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    refusal: &'a Refusal,
    back: String,
}

/// What is shown once.
#[derive(Template)]
#[template(path = "secret.html")]
pub(crate) struct SecretPage {
    pub(crate) frame: Frame,
    pub(crate) words: &'static str,
    pub(crate) secret: String,
    pub(crate) back: String,
}

/// The page of a refusal, in the words of whoever refused.
pub(crate) fn refused(portal: &Portal, headers: &HeaderMap, refusal: &Refusal) -> Response {
    let frame = Frame::plain(portal, headers, &refusal.title, "");
    drawn(refusal.status, &ProblemPage { frame, refusal, back: "/portal/".into() })
}

/// The same within the frame of whoever is signed in, with a way back.
pub(crate) fn refused_to(visit: &Visit, refusal: &Refusal, back: &str) -> Response {
    if refusal.status == StatusCode::UNAUTHORIZED {
        return axum::response::Redirect::to("/portal/sign-in?why=ended").into_response();
    }
    let frame = Frame::new(visit, "", refusal.title.clone());
    show(visit, refusal.status, &ProblemPage { frame, refusal, back: back.to_owned() })
}

/// Whatever has no page.
pub(crate) async fn nothing_here(
    axum::extract::State(portal): axum::extract::State<Arc<Portal>>,
    headers: HeaderMap,
) -> Response {
    let refusal =
        Refusal::of(StatusCode::NOT_FOUND, "There is no such page", "The address may be mistyped, or from another version.");
    refused(&portal, &headers, &refusal)
}
