//! Around every request: an id, a deadline, who asks, and remembered answers. Every error leaves as a problem that names the request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bot_store::clock;

use crate::access::{Access, Caller, RequestId, is_from_this_machine, presented};
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
    let key = presented(request.headers()).map(str::to_owned);
    let caller = api.principal(key.as_deref()).await;
    request.extensions_mut().insert(Caller(caller.clone()));
    match caller {
        Ok(principal) if *request.method() == Method::POST => replay::answer(api, &principal, request, next).await,
        _ => next.run(request).await,
    }
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
