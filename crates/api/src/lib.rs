//! The REST API: a thin layer over the store, which writes meeting documents as a backend would and asks for everything else by the
//! protocol's own verbs.
//!
//! It launches nothing, joins nothing and decides nothing about a bot's life. Every answer is confined to what its key may see, every
//! error is a [`problem::Problem`], and every change is in the audit log before it is done.

pub mod access;
mod admin;
mod aliases;
mod audit;
mod bots;
mod capacity;
mod deliveries;
mod description;
mod events;
mod feed;
mod forecast;
mod guard;
mod hls;
mod input;
mod kept;
mod keyring;
pub mod keys;
mod links;
pub mod logs;
mod me;
mod meetings;
pub mod oidc;
mod organizations;
mod picture;
pub mod problem;
mod queue;
pub mod rate;
mod recordings;
mod replay;
mod schedule;
pub mod shortfall;
pub mod state;
mod statistics;
mod view;
mod webhook_views;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{Kind, Problem};
use crate::state::Api;

/// Every route, and what is tidied beside them until `api`'s token is cancelled. To be called within a runtime.
pub fn serve(api: Arc<Api>) -> Router {
    tokio::spawn(replay::tidy(Arc::clone(&api)));
    router(api)
}

/// Every route.
pub fn router(api: Arc<Api>) -> Router {
    let (router, openapi) = routed().split_for_parts();
    router
        .merge(description::pages(&description::finished(&openapi)))
        .fallback(no_such_address)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(input::MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&api), guard::guard))
        .layer(guard::origins(&api.settings.cors_origins))
        .with_state(api)
}

/// The OpenAPI document (3.1).
pub fn openapi() -> Value {
    description::finished(&routed().into_openapi())
}

async fn no_such_address() -> Problem {
    Problem::new(Kind::NotFound, "no such address; GET /openapi.json lists them")
}

async fn no_such_method() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "GET /openapi.json lists what is possible here")
}

/// A route that is not here is not in the document.
fn routed() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(description::about())
        .routes(routes!(meetings::create, meetings::list))
        .routes(routes!(meetings::batch))
        .routes(routes!(meetings::read, meetings::change))
        .routes(routes!(meetings::cancel))
        .routes(routes!(bots::list))
        .routes(routes!(bots::read, bots::change))
        .routes(routes!(bots::timeline))
        .routes(routes!(bots::leave))
        .routes(routes!(bots::retry))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::download))
        .routes(routes!(recordings::recording))
        .routes(routes!(recordings::participants))
        .routes(routes!(events::listen))
        .routes(routes!(statistics::statistics))
        .routes(routes!(admin::audit))
        .routes(routes!(admin::keys, admin::create_key))
        .routes(routes!(aliases::botcall))
        .routes(routes!(aliases::join))
        .routes(routes!(aliases::status))
        .routes(routes!(aliases::leave))
        .routes(routes!(description::health))
        .routes(routes!(me::me))
        .routes(routes!(hls::list))
        .routes(routes!(hls::segment))
        .routes(routes!(picture::picture))
        .routes(routes!(logs::log))
        .routes(routes!(links::create))
        .routes(routes!(links::open))
        .routes(routes!(webhooks::create, webhooks::list))
        .routes(routes!(webhooks::read, webhooks::change, webhooks::delete))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(deliveries::test))
        .routes(routes!(deliveries::deliveries))
        .routes(routes!(deliveries::replay))
        .routes(routes!(queue::queue))
        .routes(routes!(capacity::capacity_now))
        .routes(routes!(forecast::read))
        .routes(routes!(organizations::list))
        .routes(routes!(organizations::read_limits, organizations::set_limits, organizations::delete_limits))
        .routes(routes!(admin::revoke_key))
}
