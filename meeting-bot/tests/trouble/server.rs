//! Pages that misbehave, before the call or in it, when the test says so.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt as _;

#[derive(Clone, Default)]
pub(crate) struct Server {
    pub(crate) origin: String,
    begun: Arc<Mutex<BTreeSet<String>>>,
    told: Arc<Mutex<BTreeSet<String>>>,
    pop_up_at: Arc<Mutex<Option<Instant>>>,
}

/// Says ten times a second that it is there.
const POP_UP: &str = "<title>pop-up</title><body style='background:#f00'>pop-up<script>setInterval(() => fetch('/alive', { method: 'POST' }), 100); fetch('/alive', { method: 'POST' })</script>";

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { origin: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let router = Router::new()
            .route("/meet/{code}", get(page))
            .route(
                "/go/{code}",
                get(async |State(server): State<Server>, Path(code): Path<String>| {
                    Json(server.begun.lock().unwrap().contains(&code))
                }),
            )
            .route("/told/{code}/{what}", post(told))
            .route("/elsewhere", get(async || Html("<h1>Something else altogether</h1>")))
            .route("/popup", get(async || Html(POP_UP)))
            .route("/alive", post(async |State(server): State<Server>| *server.pop_up_at.lock().unwrap() = Some(Instant::now())))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// The trouble of this page begins now.
    pub(crate) fn begin(&self, code: &str) {
        self.begun.lock().unwrap().insert(code.to_owned());
    }

    /// How long ago a pop-up last said that it is there; `None` before the first.
    pub(crate) fn pop_up_gone_for(&self) -> Option<Duration> {
        self.pop_up_at.lock().unwrap().map(|at| at.elapsed())
    }

    /// What the page has told: `joined-{characters of the name}`, `left`.
    pub(crate) fn told(&self, code: &str) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().filter_map(|line| line.strip_prefix(&format!("{code} "))).map(str::to_owned).collect()
    }
}

async fn told(State(server): State<Server>, Path((code, what)): Path<(String, String)>) {
    server.told.lock().unwrap().insert(format!("{code} {what}"));
}

async fn page(Path(code): Path<String>) -> Response {
    match code.as_str() {
        "before-silence" => std::future::pending().await,
        "before-drip" => {
            let first = futures::stream::once(async {
                Ok::<_, std::io::Error>("<!doctype html><link rel=stylesheet href=/meet/before-silence><p>Loading")
            });
            let body = Body::from_stream(first.chain(futures::stream::pending()));
            ([("content-type", "text/html")], body).into_response()
        }
        "before-download" => ([("content-disposition", "attachment; filename=a.bin")], vec![0_u8; 1_000]).into_response(),
        "before-redirects" => axum::response::Redirect::temporary("/meet/before-redirects").into_response(),
        _ => Html(include_str!("page.html")).into_response(),
    }
}
