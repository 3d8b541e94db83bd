//! A receiver of webhooks: a real HTTP server that answers as it is told and remembers what came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::serve::Listener;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use webhooks::signature::{Secret, is_signed};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) signature: String,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Received {
    pub(crate) fn is_signed_by(&self, secret: &Secret) -> bool {
        is_signed(secret, &self.signature, &self.id, self.timestamp, &self.body)
    }
}

type Answering = Arc<dyn Fn(usize) -> BoxFuture<'static, Response> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    came: Arc<Notify>,
    answering: Answering,
}

pub(crate) fn status(code: u16) -> Response {
    Response::builder().status(code).body(format!("answer {code}").into()).unwrap()
}

impl Receiver {
    /// Answers the nth request (from 0) as `answering` says.
    pub(crate) async fn new<F>(answering: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, "http://127.0.0.1", answering)
    }

    /// The same on a listener of another kind, whose port follows the origin.
    pub(crate) fn on<F>(
        listener: impl Listener<Addr = SocketAddr>,
        origin: &str,
        answering: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let url = format!("{origin}:{}/hook?token=CANARY", listener.local_addr().unwrap().port());
        let answering: Answering = Arc::new(move |n| Box::pin(answering(n)));
        let receiver = Self { url, received: Arc::default(), came: Arc::default(), answering };
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub(crate) async fn that_accepts() -> Self {
        Self::new(|_| async { status(204) }).await
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until so many have come.
    pub(crate) async fn until(&self, count: usize) -> Vec<Received> {
        let all = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let came = self.came.notified();
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                came.await;
            }
        });
        all.await.unwrap_or_else(|_| panic!("{} came, not {count}", self.received().len()))
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    assert_eq!(text("content-type"), "application/json");
    let received = Received {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp").parse().unwrap(),
        signature: text("webhook-signature"),
        body,
        at: Instant::now(),
    };
    let count = {
        let mut all = receiver.received.lock().unwrap();
        all.push(received);
        all.len()
    };
    receiver.came.notify_waiters();
    (receiver.answering)(count - 1).await
}
