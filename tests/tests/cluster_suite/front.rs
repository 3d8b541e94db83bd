//! A cluster in front of the stub, as far as the suite's own binary needs one: it takes namespaces, Deployments and Services, runs
//! controllers and participants as processes, and is the service proxy to what runs on this machine. Jobs, pods, nodes are the stub's.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tests::process::{Process, binary};

/// What the front knows.
pub(crate) struct Front {
    pub(crate) stub: String,
    pub(crate) kubeconfig: std::path::PathBuf,
    /// By Service: store, bucket, room.
    pub(crate) origins: HashMap<&'static str, String>,
    pub(crate) folder: std::path::PathBuf,
    pub(crate) state: Mutex<Seen>,
    pub(crate) http: reqwest::Client,
}

/// What came in.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) made: Vec<String>,
    pub(crate) deleted: Vec<String>,
    pub(crate) processes: HashMap<String, Vec<Process>>,
}

/// Starts it, and answers its address.
pub(crate) async fn start(front: Arc<Front>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer).with_state(front);
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path().to_owned();
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    if let Some((before, rest)) = path.split_once("/proxy/") {
        let service = before.rsplit('/').next().and_then(|name| name.split(':').next()).unwrap();
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return forward(&front, parts.method, &format!("{}/{rest}{query}", front.origins[service]), None, bytes).await;
    }
    let kind = match words.as_slice() {
        ["api", "v1", "namespaces"] | ["api", "v1", "namespaces", _] => "namespaces",
        [.., "namespaces", _, kind] | [.., "namespaces", _, kind, _] => kind,
        _ => "",
    };
    let is_participant = kind == "pods" && parts.method == Method::POST && words.last() == Some(&"pods");
    let is_ours = ["namespaces", "deployments", "services", "serviceaccounts", "roles", "rolebindings"].contains(&kind);
    if is_ours || is_participant {
        return object(&front, &parts.method, kind, words.last().unwrap(), &bytes);
    }
    let kept = parts.headers.get(header::CONTENT_TYPE).cloned();
    forward(&front, parts.method, &format!("{}{}", front.stub, parts.uri), kept, bytes).await
}

async fn forward(front: &Front, method: Method, url: &str, kind: Option<header::HeaderValue>, body: Bytes) -> Response {
    let kind = kind.unwrap_or(header::HeaderValue::from_static("application/json"));
    let request = front.http.request(method, url).header(header::CONTENT_TYPE, kind).body(body);
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned().unwrap_or(header::HeaderValue::from_static("text/plain"));
    (status, [(header::CONTENT_TYPE, kind)], Body::from_stream(answer.bytes_stream())).into_response()
}

fn object(front: &Front, method: &Method, kind: &str, name: &str, bytes: &Bytes) -> Response {
    let mut state = front.state.lock().unwrap();
    match *method {
        Method::POST => {
            let object: Value = serde_json::from_slice(bytes).unwrap();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            if let Some(processes) = run(front, kind, &object) {
                state.processes.insert(name.clone(), processes);
            }
            state.made.push(format!("{kind}/{name}"));
            (StatusCode::CREATED, axum::Json(object)).into_response()
        }
        Method::DELETE => {
            state.processes.remove(name);
            state.deleted.push(format!("{kind}/{name}"));
            axum::Json(json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}})).into_response()
        }
        _ => axum::Json(json!({"metadata": {"name": name}, "status": {"availableReplicas": 9}})).into_response(),
    }
}

/// Controllers and participants run here; of the others only the object is taken.
fn run(front: &Front, kind: &str, object: &Value) -> Option<Vec<Process>> {
    let name = object["metadata"]["name"].as_str()?;
    let start =
        |command: Command, number: u64| Process::start(command, &front.folder.join(format!("{name}-{number}.log"))).unwrap();
    if kind == "pods" {
        let words: Vec<&str> = object["spec"]["containers"][0]["command"].as_array()?.iter().filter_map(Value::as_str).collect();
        let mut command = Command::new(binary("practice-room").unwrap());
        command.args(words[1..].iter().map(|word| if word.starts_with("http://room.") { &front.origins["room"] } else { *word }));
        return Some(vec![start(command, 0)]);
    }
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    if container["name"] != "controller" {
        return None;
    }
    let one = |number: u64| {
        let mut command = Command::new(binary("controller").unwrap());
        command.args(container["args"].as_array().unwrap().iter().filter_map(Value::as_str));
        let env = container["env"].as_array().unwrap().iter();
        command.envs(env.filter_map(|one| Some((one["name"].as_str()?, one["value"].as_str()?))));
        command.env("CONTROLLER_ID", format!("{name}-{number}")).env("HTTP_LISTEN", "127.0.0.1:0");
        command.env("KUBECONFIG", &front.kubeconfig).env("PRACTICE_ROOM_ORIGIN", &front.origins["room"]);
        command.env("FIRESTORE_EMULATOR_HOST", front.origins["firestore"].trim_start_matches("http://"));
        command.env("STORAGE_EMULATOR_HOST", &front.origins["bucket"]);
        start(command, number)
    };
    Some((0..object["spec"]["replicas"].as_u64()?).map(one).collect())
}
