//! One request of a browser: its session, what its key may do, and its forms. Nothing passes here without a session, and no form
//! without its token from a page of ours.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::Utc;

use crate::Portal;
use crate::client::{ASSERTION, Client, Refusal, query};
use crate::page::refused;
use crate::session::{self, Session};
use crate::shapes::Me;
use crate::zone::Zone;
use sealing::SealError;

/// A signed-in request.
pub(crate) struct Visit {
    pub(crate) portal: Arc<Portal>,
    pub(crate) headers: HeaderMap,
    pub(crate) session: Session,
    pub(crate) client: Client,
    pub(crate) zone: Zone,
    pub(crate) me: Me,
    /// Path and query that were asked for.
    pub(crate) address: String,
    /// A session that begins with this answer.
    pub(crate) cookie: Option<HeaderValue>,
}

impl Visit {
    pub(crate) fn can_operate(&self) -> bool {
        matches!(self.me.role.as_str(), "operator" | "admin")
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.me.role == "admin"
    }

    /// Refuses what would be refused anyway, before anybody is asked to confirm it.
    pub(crate) fn needs_operator(&self) -> Result<(), Refusal> {
        let detail = format!("It needs the role operator, and this key is a {}.", self.me.role);
        self.can_operate().then_some(()).ok_or_else(|| Refusal::of(StatusCode::FORBIDDEN, "This key may not do that", &detail))
    }
}

impl FromRequestParts<Arc<Portal>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, portal: &Arc<Portal>) -> Result<Self, Response> {
        let now = Utc::now();
        let address = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let found = session::of(&parts.headers, &portal.sealer, &portal.ended, now).filter(|session| session.is_in);
        let (session, cookie) = match found {
            Some(session) => (session, None),
            // A proxy's assertion is as good as a key, where the API takes it.
            None if portal.is_open || parts.headers.contains_key(ASSERTION) => {
                begun(portal, &parts.headers).map_err(|error| broken(&error))?
            }
            None => return Err(to_sign_in(&parts.headers, &address, "")),
        };
        let client = Client::new(portal.api.clone(), &parts.headers, &parts.extensions, session.key.as_deref());
        let me = match client.get::<Me>("/v1/me").await {
            Ok(me) => me,
            Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
                return Err(to_sign_in(&parts.headers, &address, "ended"));
            }
            Err(refusal) => return Err(refused(portal, &parts.headers, &refusal)),
        };
        let zone = Zone::of(&parts.headers, now);
        Ok(Self { portal: Arc::clone(portal), headers: parts.headers.clone(), session, client, zone, me, address, cookie })
    }
}

fn begun(portal: &Portal, headers: &HeaderMap) -> Result<(Session, Option<HeaderValue>), SealError> {
    let session = Session::new(None, true, Utc::now())?;
    let cookie = session::carried(headers, &portal.sealer, &session)?;
    Ok((session, Some(cookie)))
}

pub(crate) fn broken(error: &SealError) -> Response {
    tracing::error!(%error, "no session could be made");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// To the sign-in, for a page; a plain 401 for what a page loads.
fn to_sign_in(headers: &HeaderMap, address: &str, why: &str) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_page = text("accept").contains("text/html") && matches!(text("sec-fetch-dest"), "" | "document" | "empty");
    if !is_page {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let next = if address == "/portal/" { "" } else { address };
    Redirect::to(&format!("/portal/sign-in{}", query(&[("next", next), ("why", why)]))).into_response()
}

/// A form that was sent from a page of ours, in this session.
pub(crate) struct Posted {
    pub(crate) visit: Visit,
    pub(crate) fields: Fields,
}

/// What a form holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(HashMap<String, String>);

impl Fields {
    /// A field without the blanks around it; empty where it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    /// Names the form, so that sending it twice is sending it once.
    pub(crate) fn once(&self) -> &str {
        let once = self.get("once");
        if once.len() <= 64 && once.bytes().all(|byte| byte.is_ascii_alphanumeric()) { once } else { "" }
    }

    /// What follows a beginning of names, of the fields that are there.
    pub(crate) fn begin_with<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().filter_map(move |name| name.strip_prefix(beginning))
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Of a request, if it was sent from a page of ours.
    pub(crate) async fn read(request: Request) -> Result<Self, Refusal> {
        let forbidden = || {
            let detail = "This form did not come from a page of this portal. Open the page again and send it from there.";
            Refusal::of(StatusCode::FORBIDDEN, "The form is not ours", detail)
        };
        if !session::is_from_our_pages(request.headers()) {
            return Err(forbidden());
        }
        let form = Form::<HashMap<String, String>>::from_request(request, &()).await;
        let unreadable =
            |_| Refusal::of(StatusCode::BAD_REQUEST, "The form cannot be read", "Open the page again and send it from there.");
        form.map(|Form(fields)| Self(fields)).map_err(unreadable)
    }

    /// Refuses a form of another session.
    pub(crate) fn check(&self, session: &Session) -> Result<(), Refusal> {
        let detail =
            "The form is from before your present session. Open the page again and send it from there; nothing was changed.";
        let old = || Refusal::of(StatusCode::FORBIDDEN, "The form is too old", detail);
        session.admits(self.get("token")).then_some(()).ok_or_else(old)
    }
}

impl FromRequest<Arc<Portal>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, portal: &Arc<Portal>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, portal).await?;
        let fields = Fields::read(Request::from_parts(parts, body)).await;
        let checked = fields.and_then(|fields| fields.check(&visit.session).map(|()| fields));
        match checked {
            Ok(fields) => Ok(Self { visit, fields }),
            Err(refusal) => Err(refused(portal, &visit.headers, &refusal)),
        }
    }
}

/// A redirection after a change, with a word of what was done.
pub(crate) fn done(path: &str, did: &str) -> Response {
    let mut response = Redirect::to(&format!("{path}{}", query(&[("did", did)]))).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
