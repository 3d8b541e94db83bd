//! The portal: server-rendered pages under `/portal/`, for people.
//!
//! It is a client of the API's own router, in this process, with the key that its session signed in with: it can do and see nothing that
//! the API would not do and show for that key, and every change is in the audit log under that key. It holds no store, no bucket and
//! no state but the sessions that were signed out. No page needs a script; the script makes them live.

mod assets;
mod audit;
mod bot;
mod bots;
mod chart;
mod client;
mod confirm;
mod keys;
mod limits;
mod live;
mod media;
mod meetings;
mod overview;
mod page;
mod people;
mod schedule;
mod session;
mod settings;
mod shapes;
mod sign_in;
mod titles;
mod visit;
mod webhooks;
mod words;
mod zone;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use secrecy::SecretString;

use sealing::{SealError, Sealer};

/// Largest form.
const MOST_FORM_BYTES: usize = 64 * 1024;

/// What an operator decides.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Nobody is asked for a key: the API's explicit local mode.
    pub is_open: bool,
    /// What replicas share so that a session of one is one of all; absent is made anew with each process. At least
    /// [`sealing::SHORTEST_SECRET`] characters.
    pub secret: Option<SecretString>,
}

/// What the pages share.
struct Portal {
    api: Router,
    is_open: bool,
    sealer: Sealer,
    ended: session::Ended,
    titles: titles::Titles,
}

impl Portal {
    fn version(&self) -> &'static str {
        assets::version()
    }
}

/// The API with the portal before it: `/` leads a browser to the pages, and whatever is no page is the API's.
///
/// # Errors
/// Where the system has no randomness to give.
pub fn before(api: Router, options: &Options) -> Result<Router, SealError> {
    let sealer = options.secret.as_ref().map_or_else(Sealer::random, |secret| Sealer::new(session::PURPOSE, secret))?;
    let (ended, titles) = (session::Ended::default(), titles::Titles::default());
    let portal = Arc::new(Portal { api: api.clone(), is_open: options.is_open, sealer, ended, titles });
    let pages =
        pages().with_state(Arc::clone(&portal)).layer(DefaultBodyLimit::max(MOST_FORM_BYTES)).layer(map_response(page::guarded));
    Ok(pages.fallback_service(api).layer(from_fn_with_state(portal, front_door)))
}

fn pages() -> Router<Arc<Portal>> {
    Router::new()
        .route("/portal/", get(overview::show))
        .route("/portal/sign-in", get(sign_in::ask).post(sign_in::enter))
        .route("/portal/sign-out", axum::routing::post(sign_in::leave))
        .route("/portal/settings", get(settings::show).post(settings::save))
        .route("/portal/live", get(live::listen))
        .route("/portal/schedule", get(schedule::ask).post(schedule::send))
        .route("/portal/meetings", get(meetings::list))
        .route("/portal/meetings/{id}", get(meetings::one))
        .route("/portal/meetings/{id}/change", get(schedule::ask_change).post(schedule::change))
        .route("/portal/meetings/{id}/cancel", get(confirm::ask_cancel).post(confirm::cancel))
        .route("/portal/bots", get(bots::list))
        .route("/portal/bots/{id}", get(bot::show))
        .route("/portal/bots/{id}/leave", get(confirm::ask_leave).post(confirm::leave))
        .route("/portal/bots/{id}/retry", get(confirm::ask_retry).post(confirm::retry))
        .route("/portal/bots/{id}/priority", get(confirm::ask_priority).post(confirm::priority))
        .route("/portal/bots/{id}/artifacts/{name}", get(media::artifact))
        .route("/portal/bots/{id}/picture", get(media::picture))
        .route("/portal/bots/{id}/log", get(media::log))
        .route("/portal/bots/{id}/hls/{name}", get(media::hls))
        .route("/portal/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/portal/webhooks/{id}", get(webhooks::one))
        .route("/portal/webhooks/{id}/{verb}", get(webhooks::ask).post(webhooks::act))
        .route("/portal/webhooks/{id}/deliveries/{delivery}/replay", axum::routing::post(webhooks::replay))
        .route("/portal/keys", get(keys::show).post(keys::create))
        .route("/portal/keys/{id}/revoke", get(keys::ask_revoke).post(keys::revoke))
        .route("/portal/limits", get(limits::list))
        .route("/portal/limits/{organization}", get(limits::ask).post(limits::change))
        .route("/portal/limits/{organization}/default", get(limits::ask_default).post(limits::to_default))
        .route("/portal/audit", get(audit::show))
        .route("/portal/assets/{name}", get(assets::file))
        .route("/portal/{*rest}", get(page::nothing_here))
}

/// `/` and `/portal` lead to the overview; a program that asks for `/` gets the API's answer.
async fn front_door(State(_): State<Arc<Portal>>, request: Request, next: Next) -> Response {
    let wants_page = |headers: &HeaderMap| {
        headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
    };
    match request.uri().path() {
        "/portal" => Redirect::to("/portal/").into_response(),
        "/" if *request.method() == Method::GET && wants_page(request.headers()) => Redirect::to("/portal/").into_response(),
        _ => next.run(request).await,
    }
}
