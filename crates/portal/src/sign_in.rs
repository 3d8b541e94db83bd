//! Signing in with a key of the API, and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::Utc;
use serde::Deserialize;

use crate::Portal;
use crate::client::{Client, Refusal};
use crate::page::{Frame, drawn, refused};
use crate::session::{self, LONGEST_KEY, Session};
use crate::shapes::Me;
use crate::visit::{Fields, Posted, broken};

/// Where to go after it, and why one is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    next: String,
    why: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    reason: &'static str,
    error: String,
}

/// A page of ours, and nothing else: an address must not lead elsewhere after a sign-in.
fn onward(next: &str) -> &str {
    let is_ours = next.starts_with("/portal/") && !next.contains(['\\', '\r', '\n']) && !next.starts_with("/portal/sign-");
    if is_ours { next } else { "/portal/" }
}

/// The form.
pub(crate) async fn ask(State(portal): State<Arc<Portal>>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    if portal.is_open {
        return Redirect::to(onward(&asked.next)).into_response();
    }
    let now = Utc::now();
    let known = session::of(&headers, &portal.sealer, &portal.ended, now);
    let is_cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_cross_site && known.is_none() {
        // A link from elsewhere comes without our cookie (SameSite=Strict): asked for once more from here, it comes with it.
        return drawn(
            StatusCode::OK,
            &OnwardPage { frame: Frame::plain(&portal, &headers, "One moment", ""), next: onward(&asked.next).into() },
        );
    }
    if known.as_ref().is_some_and(|session| session.is_in) && asked.why.is_empty() {
        return Redirect::to(onward(&asked.next)).into_response();
    }
    let reason = match asked.why.as_str() {
        "ended" => "The key that you signed in with is not valid any more: it expired or was revoked.",
        "out" => "You have signed out.",
        "cookie" => "Your browser did not keep the session. Open the portal over https, or on this machine by localhost.",
        _ => "",
    };
    form(&portal, &headers, known, onward(&asked.next), reason, String::new())
}

#[derive(Template)]
#[template(path = "onward.html")]
struct OnwardPage {
    frame: Frame,
    next: String,
}

fn form(
    portal: &Portal,
    headers: &HeaderMap,
    known: Option<Session>,
    next: &str,
    reason: &'static str,
    error: String,
) -> Response {
    let begun = known.map_or_else(|| Session::new(None, false, Utc::now()), Ok);
    let carried = begun.and_then(|session| session::carried(headers, &portal.sealer, &session).map(|cookie| (session, cookie)));
    let (session, cookie) = match carried {
        Ok(carried) => carried,
        Err(error) => return broken(&error),
    };
    let status = if error.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let frame = Frame::plain(portal, headers, "Sign in", &session.token);
    let mut response = drawn(status, &SignInPage { frame, next: next.into(), reason, error });
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// Takes the key.
pub(crate) async fn enter(State(portal): State<Arc<Portal>>, request: Request) -> Response {
    let (headers, with) = (request.headers().clone(), request.extensions().clone());
    let known = session::of(&headers, &portal.sealer, &portal.ended, Utc::now());
    let fields = match Fields::read(request).await {
        Ok(fields) => fields,
        Err(refusal) => return refused(&portal, &headers, &refusal),
    };
    let next = onward(fields.get("next")).to_owned();
    let Some(before) = known else { return Redirect::to("/portal/sign-in?why=cookie").into_response() };
    if let Err(refusal) = fields.check(&before) {
        return refused(&portal, &headers, &refusal);
    }
    let key = fields.get("key").to_owned();
    if let Err(refusal) = verified(&portal, &headers, &with, &key).await {
        let error = if refusal.status == StatusCode::UNAUTHORIZED {
            "This key is unknown, revoked or expired.".into()
        } else {
            refusal.detail
        };
        return form(&portal, &headers, Some(before), &next, "", error);
    }
    // A new session: what was known before the sign-in is worth nothing after it.
    let session = Session::new(Some(key), true, Utc::now());
    match session.and_then(|session| session::carried(&headers, &portal.sealer, &session)) {
        Ok(cookie) => {
            portal.ended.end(&before, Utc::now());
            let mut response = Redirect::to(&next).into_response();
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => broken(&error),
    }
}

async fn verified(portal: &Portal, headers: &HeaderMap, with: &Extensions, key: &str) -> Result<Me, Refusal> {
    let unusable = |detail| Refusal::of(StatusCode::UNPROCESSABLE_ENTITY, "No key", detail);
    if key.is_empty() {
        return Err(unusable("Give the key."));
    }
    if key.len() > LONGEST_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable("This is no key: keys begin with mbk_ and are printed by controller keys create."));
    }
    Client::new(portal.api.clone(), headers, with, Some(key)).get("/v1/me").await
}

/// Ends the session.
pub(crate) async fn leave(posted: Posted) -> Response {
    let visit = posted.visit;
    visit.portal.ended.end(&visit.session, Utc::now());
    let mut response = Redirect::to("/portal/sign-in?why=out").into_response();
    response.headers_mut().extend(session::taken_away(&visit.headers).map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

#[cfg(test)]
mod tests {
    use super::onward;

    #[test]
    fn a_sign_in_leads_to_our_pages_alone() {
        assert_eq!(onward("/portal/bots?phase=done"), "/portal/bots?phase=done");
        for next in [
            "",
            "//evil.example",
            "https://evil.example",
            "/portal",
            "/portal/\\evil",
            "/portal/sign-out",
            "/portal/\r\nx: y",
            "/v1/bots",
        ] {
            assert_eq!(onward(next), "/portal/", "{next}");
        }
    }
}
