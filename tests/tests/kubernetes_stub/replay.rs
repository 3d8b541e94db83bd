//! Sends recorded requests to the stub and compares the answers.

use std::collections::HashMap;

use serde_json::{Value, json};
use tests::kubernetes::{Cluster, Resource, Rule, Timing};

use super::exceptions::accepted;
use super::recording::{Names, Recorded, comparable, differences, json_lines};

/// The bearer tokens of the recorded identities.
const TOKENS: [(&str, Option<&str>); 4] = [
    ("admin", Some("admin-token")),
    ("controller", Some("controller-token")),
    ("badtoken", Some("no-such-token")),
    ("anonymous", None),
];

/// A cluster with the recorded users and namespaces.
pub(crate) async fn recorded_cluster(timing: Timing) -> Cluster {
    let jobs = ["create", "get", "list", "watch", "patch", "delete"];
    let rules = vec![Rule::new("rec", Resource::Jobs, &jobs), Rule::new("rec", Resource::Pods, &["get", "list", "watch"])];
    Cluster::builder()
        .timing(timing)
        .namespaces(&["rec", "default"])
        .user("admin-token", "kubernetes-admin", vec![Rule::everything()])
        .user("controller-token", "system:serviceaccount:rec:controller", rules)
        .pod_security()
        .start()
        .await
        .unwrap()
}

/// A replay of one scenario.
pub(crate) struct Replay {
    pub(crate) cluster: Cluster,
    pub(crate) names: Names,
    pub(crate) first: Value,
    scenario: String,
    http: reqwest::Client,
    /// Fields whose difference is accepted, by request, and whether it came.
    accepted: HashMap<usize, (&'static [&'static str], bool)>,
    problems: Vec<String>,
}

impl Replay {
    pub(crate) fn new(scenario: &str, cluster: Cluster) -> Self {
        let first = json_lines(scenario, "requests.jsonl")[0]["requestBody"].clone();
        Self {
            cluster,
            names: Names::default(),
            first,
            scenario: scenario.to_owned(),
            http: reqwest::Client::new(),
            accepted: accepted(scenario).into_iter().map(|(index, fields)| (index, (fields, false))).collect(),
            problems: Vec::new(),
        }
    }

    /// Builds the request in the terms of the replay.
    pub(crate) fn request(&self, recorded: &Recorded) -> reqwest::RequestBuilder {
        let method = recorded.text("method").parse().unwrap();
        let path: Vec<_> = recorded.text("path").split('/').map(|part| self.names.get(part)).collect();
        let mut request = self.http.request(method, format!("{}{}", self.cluster.url(), path.join("/")));
        let query = recorded.line["query"].as_object().unwrap();
        let query: Vec<_> = query.iter().map(|(key, value)| (key, self.names.get(value.as_str().unwrap()))).collect();
        let pairs: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        if !pairs.is_empty() {
            let url = format!("{}{}?{}", self.cluster.url(), path.join("/"), pairs.join("&"));
            request = self.http.request(recorded.text("method").parse().unwrap(), url);
        }
        let (_, token) = TOKENS.iter().find(|(name, _)| *name == recorded.text("as")).unwrap();
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(media) = recorded.line["requestContentType"].as_str() {
            request = request.header("content-type", media);
        }
        match recorded.body(&self.first) {
            Some(body) => request.body(self.names.translate(&body)),
            None => request,
        }
    }

    /// Sends a request and compares its answer.
    pub(crate) async fn send(&mut self, recorded: &Recorded) {
        let response = self.request(recorded).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        self.compare_status(recorded, status, &headers);
        let expected = &recorded.line["body"];
        if let Some(expected) = expected.as_str() {
            if text.starts_with("{\"") {
                self.compare_streams(recorded, &events_of(expected), &events_of(&text));
            } else if text != *expected {
                self.problem(recorded, &format!("recorded {expected}, replayed {text}"));
            }
            return;
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        self.names.learn(expected, &body);
        self.compare(recorded, expected, &body);
    }

    pub(crate) fn compare_status(&mut self, recorded: &Recorded, status: u16, headers: &reqwest::header::HeaderMap) {
        if u64::from(status) != recorded.status() {
            self.problem(recorded, &format!("status recorded {}, replayed {status}", recorded.status()));
        }
        for header in ["content-type", "warning", "retry-after", "transfer-encoding"] {
            let wanted = recorded.line["headers"][header].as_str();
            let found = headers.get(header).and_then(|value| value.to_str().ok());
            // The recording names transfer-encoding for watches only.
            if wanted != found && !(header == "transfer-encoding" && wanted.is_none()) {
                self.problem(recorded, &format!("header {header} recorded {wanted:?}, replayed {found:?}"));
            }
        }
    }

    pub(crate) fn compare(&mut self, recorded: &Recorded, expected: &Value, found: &Value) {
        let mut differ = Vec::new();
        differences(&comparable(expected, expected), &comparable(found, expected), "", &mut differ);
        if let Some((fields, came)) = self.accepted.get_mut(&recorded.index) {
            let before = differ.len();
            differ.retain(|difference| !fields.iter().any(|path| difference.starts_with(path)));
            *came |= differ.len() < before;
        }
        for difference in differ {
            self.problem(recorded, &difference);
        }
    }

    /// Compares two watches event by event. Bookmarks come when the clock says so: only their number and shape count.
    pub(crate) fn compare_streams(&mut self, recorded: &Recorded, expected: &[Value], found: &[Value]) {
        let is_mark = |event: &&Value| event["type"] == "BOOKMARK";
        for (kind, expected, found) in [
            ("bookmark", expected.iter().filter(is_mark).collect(), found.iter().filter(is_mark).collect()),
            (
                "event",
                expected.iter().filter(|event| !is_mark(event)).collect::<Vec<_>>(),
                found.iter().filter(|event| !is_mark(event)).collect::<Vec<_>>(),
            ),
        ] {
            let types = |events: &[&Value]| {
                let name = |event: &&Value| format!("{} {}", event["type"], event["object"]["metadata"]["name"]);
                events.iter().map(name).collect::<Vec<_>>().join(", ")
            };
            if expected.len() != found.len() {
                let message = format!("{kind}s recorded [{}], replayed [{}]", types(&expected), types(&found));
                self.problem(recorded, &message);
                continue;
            }
            for (expected, found) in expected.iter().zip(&found) {
                self.compare(recorded, &json!({"type": expected["type"]}), &json!({"type": found["type"]}));
                self.compare(recorded, &expected["object"], &found["object"]);
            }
        }
    }

    fn problem(&mut self, recorded: &Recorded, what: &str) {
        let (method, path) = (recorded.text("method"), recorded.text("path"));
        let what: String = what.chars().take(600).collect();
        self.problems.push(format!("{} #{} {method} {path} ({}): {what}", self.scenario, recorded.index, recorded.text("note")));
    }

    /// Fails with everything that differed, and with every exception that is none.
    pub(crate) fn finish(mut self) {
        let unused = self.accepted.iter().filter(|(_, (_, came))| !came);
        let unused: Vec<_> =
            unused.map(|(index, _)| format!("{} #{index}: accepted, but nothing differs", self.scenario)).collect();
        self.problems.extend(unused);
        assert!(self.problems.is_empty(), "{} differences:\n{}", self.problems.len(), self.problems.join("\n"));
    }
}

/// The events of a watch's body.
pub(crate) fn events_of(body: &str) -> Vec<Value> {
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Creates a Job like the first of the scenario, which the recording left out.
pub(crate) async fn create_like_first(replay: &Replay, name: &str, change: impl FnOnce(&mut Value)) {
    let mut job = replay.first.clone();
    let old = job["metadata"]["name"].as_str().unwrap().to_owned();
    job = serde_json::from_str(&job.to_string().replace(&format!("\"{old}\""), &format!("\"{name}\""))).unwrap();
    change(&mut job);
    let url = format!("{}/apis/batch/v1/namespaces/rec/jobs", replay.cluster.url());
    let request = reqwest::Client::new().post(url).bearer_auth("admin-token").header("content-type", "application/json");
    let response = request.body(job.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
}
