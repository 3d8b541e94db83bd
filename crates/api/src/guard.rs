//! Around every request: an id, a deadline, who asks, and remembered answers. Every error leaves as a problem that names the request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bot_store::clock;
use tower_http::cors::CorsLayer;

use crate::access::{Access, Caller, Principal, RequestId, is_from_this_machine, presented};
use crate::oidc::IAP_HEADER;
use crate::problem::{Kind, Problem};
use crate::replay;
use crate::state::Api;

/// A request is answered, or its stream begins, within this long. Longer than the store's own deadlines for one call.
const DEADLINE: Duration = Duration::from_secs(30);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Paths that need no key and tell nothing.
const OPEN: [&str; 3] = ["/health", "/openapi.json", "/docs"];

/// The layer.
pub(crate) async fn guard(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    let late = || Problem::new(Kind::Unavailable, format!("not done within {} s", DEADLINE.as_secs())).into_response();
    let answered = tokio::time::timeout(DEADLINE, Box::pin(attended(&api, request, next)));
    let mut response = answered.await.unwrap_or_else(|_| late());
    tracing::debug!(request_id = id, %method, path, status = response.status().as_u16(), "answered");
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = naming_the_request(response, &problem.with("request_id", id.clone()));
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn attended(api: &Arc<Api>, mut request: Request, next: Next) -> Response {
    // A link carries its own proof, which its handler judges.
    if OPEN.contains(&request.uri().path()) || request.uri().path().starts_with("/v1/links/") {
        return next.run(request).await;
    }
    if api.settings.access == Access::DangerOpen && !is_from_this_machine(request.headers()) {
        let detail = "without keys only this machine's own programs are served: Host and Origin must be loopback names";
        return Problem::new(Kind::Forbidden, detail).into_response();
    }
    let connected = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let address = api.rates.address(connected, request.headers());
    if let Some(Err(wait)) = address.map(|address| api.rates.of_address(address)) {
        return too_many(wait);
    }
    let caller = caller(api, request.method(), request.headers()).await;
    match (&caller, address) {
        (Ok(principal), _) => {
            if let Err(wait) = api.rates.of_key(&principal.id) {
                return too_many(wait);
            }
        }
        (Err(problem), Some(address)) if problem.kind == Kind::Unauthorized => {
            if let Err(wait) = api.rates.wrong_key(address) {
                return too_many(wait);
            }
        }
        _ => {}
    }
    request.extensions_mut().insert(Caller(caller.clone()));
    if shows_a_secret(request.method(), request.uri().path()) && request.headers().contains_key("idempotency-key") {
        let detail = "an answer that shows a secret is not remembered: send no Idempotency-Key";
        return Problem::new(Kind::BadParameter, detail).into_response();
    }
    match caller {
        Ok(principal) if !request.method().is_safe() => replay::answer(api, &principal, request, next).await,
        _ => next.run(request).await,
    }
}

/// A new key, a new webhook, a rotated one: remembered for a repetition, their secrets would lie in the store.
fn shows_a_secret(method: &Method, path: &str) -> bool {
    let rotates = || path.strip_prefix("/v1/webhooks/").is_some_and(|rest| rest.ends_with("/rotate"));
    *method == Method::POST && (path == "/v1/keys" || path == "/v1/webhooks" || rotates())
}

/// Who asks: by a key or token, else by what the proxy in front vouches for.
async fn caller(api: &Arc<Api>, method: &Method, headers: &HeaderMap) -> Result<Principal, Problem> {
    let presented = presented(headers);
    let assertion = headers.get(IAP_HEADER).and_then(|value| value.to_str().ok());
    match (presented, assertion) {
        (None, Some(assertion)) if api.oidc.takes_proxy() => {
            if !method.is_safe() && is_of_another_page(headers) {
                let detail = "it comes from another page: whoever came through the proxy acts on this address's own pages alone";
                return Err(Problem::new(Kind::Forbidden, detail));
            }
            api.oidc.proxied(assertion).await
        }
        _ => api.principal(presented).await,
    }
}

/// Browsers send `Origin` with whatever could change something.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    origin.is_some_and(|host| text(header::HOST) != Some(host))
}

fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let mut response = Problem::new(Kind::TooMany, format!("try again in {seconds} s")).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// Lets pages of these origins read answers; without any, none.
pub(crate) fn origins(listed: &[String]) -> CorsLayer {
    let listed: Vec<HeaderValue> = listed.iter().filter_map(|origin| origin.parse().ok()).collect();
    if listed.is_empty() {
        return CorsLayer::new();
    }
    let named = |names: [&'static str; 7]| names.map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(listed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(named([
            "authorization",
            "x-api-key",
            "content-type",
            "if-match",
            "idempotency-key",
            "last-event-id",
            "range",
        ]))
        .expose_headers(named([
            "etag",
            "x-request-id",
            "retry-after",
            "content-range",
            "last-modified",
            "location",
            "idempotency-replayed",
        ]))
        .max_age(Duration::from_secs(3600))
}

/// The caller's own id, where it is a plain one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain =
        |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    given.filter(is_plain).map_or_else(|| clock::ordered_id().to_string(), str::to_owned)
}

fn naming_the_request(response: Response, problem: &Problem) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(problem.document().to_string()))
}
