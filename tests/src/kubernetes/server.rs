//! The HTTP server: who asks, what goes wrong, what is answered.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::connection::{Connection, Incoming};
use super::decode::parse;
use super::discovery::discover;
use super::failure::Failure;
use super::fault::{Effect, refusal};
use super::registry::{Answer, Body as RequestBody};
use super::request::{RequestInfo, Verb};
use super::request_log::RequestRecord;
use super::resource::Resource;
use super::shared::{Shared, lock};
use super::watching::Watch;

/// The API server's own limit for a body.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// A list of a resourceVersion that is yet to come is answered after that many seconds.
const TOO_LARGE_SECONDS: u32 = 3;

/// Serves until the cluster is dropped. While it is closed, connections are refused.
pub(crate) async fn serve(shared: Arc<Shared>, first: TcpListener, address: SocketAddr) {
    let app = Router::new().fallback(answer).with_state(shared.clone());
    let mut is_open = shared.is_open.subscribe();
    let mut listener = Some(first);
    loop {
        if let Some(listener) = listener.take() {
            let incoming = Incoming { listener, shared: shared.clone() };
            let app = app.clone().into_make_service_with_connect_info::<Connection>();
            tokio::select! {
                _ = axum::serve(incoming, app) => {}
                _ = is_open.wait_for(|open| !open) => {}
                () = shared.shutdown.cancelled() => return,
            }
        }
        tokio::select! {
            _ = is_open.wait_for(|open| *open) => {}
            () = shared.shutdown.cancelled() => return,
        }
        match TcpListener::bind(address).await {
            Ok(bound) => listener = Some(bound),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(info) = RequestInfo::parse(&parts.method, &parts.uri) else {
        return match discover(parts.uri.path()) {
            Some(Value::String(text)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
            Some(body) => json_response(200, &body),
            None => failure_response(&Failure::no_resource()),
        };
    };
    let Ok(bytes) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return failure_response(&Failure::new(413, "RequestEntityTooLarge", "request is too large"));
    };
    let call = Call { shared: &shared, info: &info, connection: &connection };
    call.answer(&parts.method, &parts.headers, &bytes).await
}

struct Call<'a> {
    shared: &'a Arc<Shared>,
    info: &'a RequestInfo,
    connection: &'a Connection,
}

enum Outcome {
    Object(Answer),
    Text(String),
    Stream(Watch),
}

impl Call<'_> {
    async fn answer(&self, method: &Method, headers: &HeaderMap, bytes: &Bytes) -> Response {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let user = lock(&self.shared.access).authenticate(authorization);
        let user = match user {
            Ok(user) => user,
            Err(failure) => return self.logged("", failure_response(&failure)),
        };
        let effect = lock(&self.shared.faults).strike(self.info);
        match effect {
            Some(Effect::Refuse { code, retry_after }) => {
                return self.logged(&user, failure_response(&refusal(code, retry_after, &user, self.info)));
            }
            Some(Effect::NeverAnswer) => return self.never(&user).await,
            Some(Effect::LoseRequest) => {
                self.connection.cut();
                return self.never(&user).await;
            }
            Some(Effect::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Effect::LoseAnswer) | None => {}
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let outcome = self.serve(method, &user, &RequestBody { content_type, bytes });
        if effect == Some(Effect::LoseAnswer) {
            self.connection.cut();
            return self.never(&user).await;
        }
        let response = match outcome {
            Ok(Outcome::Object(answer)) => answer_response(&answer),
            Ok(Outcome::Text(text)) => ([(header::CONTENT_TYPE, "text/plain")], text).into_response(),
            Ok(Outcome::Stream(watch)) => stream_response(watch.into_body(self.shared.clone())),
            Err(failure) => {
                self.wait_for_too_large(&failure).await;
                failure_response(&failure)
            }
        };
        self.logged(&user, response)
    }

    async fn never(&self, user: &str) -> Response {
        lock(&self.shared.log).push(RequestRecord::of(self.info, user, 0));
        std::future::pending().await
    }

    fn logged(&self, user: &str, response: Response) -> Response {
        lock(&self.shared.log).push(RequestRecord::of(self.info, user, response.status().as_u16()));
        response
    }

    async fn wait_for_too_large(&self, failure: &Failure) {
        if failure.code == 504 && failure.retry_after.is_some() {
            let wait = self.shared.read(|world| world.timing.request_second) * TOO_LARGE_SECONDS;
            tokio::time::sleep(wait).await;
        }
    }

    fn serve(&self, method: &Method, user: &str, body: &RequestBody<'_>) -> Result<Outcome, Failure> {
        if self.info.plural == "selfsubjectaccessreviews" && *method == Method::POST {
            let review = parse("SelfSubjectAccessReview", body.bytes)?;
            let answer = lock(&self.shared.access).review(user, &review);
            return Ok(Outcome::Object(Answer::new(201, answer)));
        }
        lock(&self.shared.access).authorize(user, self.info)?;
        let resource = self.info.resource.ok_or_else(Failure::no_resource)?;
        if (resource, self.info.verb, self.info.subresource.as_str()) == (Resource::Pods, Verb::Get, "log") {
            return self.shared.read(|world| world.api_log(self.info)).map(Outcome::Text);
        }
        if self.info.verb == Verb::Watch {
            return self.shared.read(|world| world.api_watch(self.info, resource)).map(Outcome::Stream);
        }
        self.object(resource, body).map(Outcome::Object)
    }

    fn object(&self, resource: Resource, body: &RequestBody<'_>) -> Result<Answer, Failure> {
        let info = self.info;
        match (info.verb, info.subresource.as_str()) {
            (Verb::Get, "" | "status") => self.shared.read(|world| world.api_get(info, resource)),
            (Verb::List, _) => self.shared.read(|world| world.api_list(info, resource)),
            (Verb::Create, "eviction") if resource == Resource::Pods => self.shared.write(|world| world.api_evict(info)),
            (Verb::Create, "") if info.name.is_empty() => self.shared.write(|world| world.api_create(info, resource, body)),
            (Verb::Update, "" | "status") => self.shared.write(|world| world.api_update(info, resource, body)),
            (Verb::Patch, "" | "status") => self.shared.write(|world| world.api_patch(info, resource, body)),
            (Verb::Delete, "") => self.shared.write(|world| world.api_delete(info, resource, body)),
            (Verb::DeleteCollection, "") => self.shared.write(|world| world.api_delete_collection(info, resource, body)),
            _ => Err(Failure::no_resource()),
        }
    }
}

fn json_response(code: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn answer_response(answer: &Answer) -> Response {
    let mut response = json_response(answer.code, &answer.body);
    for warning in &answer.warnings {
        let text = format!("299 - {}", json!(warning));
        if let Ok(value) = text.parse() {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn failure_response(failure: &Failure) -> Response {
    let mut response = json_response(failure.code, &failure.body());
    if let Some(seconds) = failure.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn stream_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
