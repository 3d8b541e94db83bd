//! How the suite talks to what it put beside the bots: the store, the bucket, the practice room.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::Value;

/// What a site offers over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The Firestore emulator's REST interface.
    Firestore,
    /// The bucket stand-in.
    Bucket,
    /// The practice room.
    Room,
}

impl Service {
    /// Name of its Service, and port.
    pub fn address(self) -> (&'static str, u16) {
        match self {
            Self::Firestore => ("firestore", 8787),
            Self::Bucket => ("bucket", 9000),
            Self::Room => ("room", 8400),
        }
    }
}

/// The way there.
pub enum Reach {
    /// Origins on this machine, in the order store, bucket, room.
    Direct(reqwest::Client, [String; 3]),
    /// The API server's service proxy: no port is opened, and no more is needed than the kubeconfig.
    Proxy(kube::Client, String),
}

impl Reach {
    /// Asks a service; a status that is no success is an error.
    pub async fn ask(&self, service: Service, method: http::Method, path: &str, body: Option<&Value>) -> Result<Bytes> {
        let what = format!("{method} {service:?} {path}");
        let (status, bytes) = match self {
            Self::Direct(client, origins) => direct(client, &origins[service as usize], method, path, body).await,
            Self::Proxy(client, namespace) => proxied(client, namespace, service, (method, path), body).await,
        }
        .with_context(|| what.clone())?;
        ensure!(status.is_success(), "{what}: {status}: {}", String::from_utf8_lossy(&bytes));
        Ok(bytes)
    }

    /// The same, answered with JSON.
    pub async fn json(&self, service: Service, method: http::Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let bytes = self.ask(service, method, path, body).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("{path} answered no JSON"))
    }
}

type Answer = Result<(http::StatusCode, Bytes)>;

async fn direct(client: &reqwest::Client, origin: &str, method: http::Method, path: &str, body: Option<&Value>) -> Answer {
    let mut request = client.request(method, format!("{origin}{path}"));
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.timeout(super::ANSWER).send().await?;
    Ok((response.status(), response.bytes().await?))
}

async fn proxied(
    client: &kube::Client,
    namespace: &str,
    service: Service,
    (method, path): (http::Method, &str),
    body: Option<&Value>,
) -> Answer {
    let (name, port) = service.address();
    let uri = format!("/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy{path}");
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = http::Request::builder().method(method).uri(uri).header("content-type", "application/json");
    let response = tokio::time::timeout(super::ANSWER, client.send(request.body(body.into())?)).await??;
    let status = response.status();
    Ok((status, response.into_body().collect_bytes().await?))
}
