//! What the API server says about itself: version, health, groups and resources.

use serde_json::{Value, json};

/// The answer to a path that names no resource: status, body (text for the health checks).
pub(crate) fn discover(path: &str) -> Option<Value> {
    match path.trim_end_matches('/') {
        "/version" => Some(version()),
        "/readyz" | "/livez" | "/healthz" => Some(json!("ok")),
        "/api" => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}],
        })),
        "/apis" => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()})),
        "/api/v1" => Some(resources(
            "v1",
            &[
                ("events", "event", "Event", true, READ_WRITE),
                ("nodes", "node", "Node", false, READ_ONLY),
                ("pods", "pod", "Pod", true, ALL),
                ("pods/log", "", "Pod", true, &["get"]),
                ("pods/eviction", "", "Eviction", true, &["create"]),
                ("pods/status", "", "Pod", true, STATUS),
            ],
        )),
        "/apis/batch/v1" => {
            Some(resources("batch/v1", &[("jobs", "job", "Job", true, ALL), ("jobs/status", "", "Job", true, STATUS)]))
        }
        "/apis/policy/v1" => Some(resources(
            "policy/v1",
            &[("poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", true, READ_WRITE)],
        )),
        "/apis/authorization.k8s.io/v1" => Some(resources(
            "authorization.k8s.io/v1",
            &[("selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview", false, &["create"])],
        )),
        _ => None,
    }
}

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS: &[&str] = &["get", "patch", "update"];
const READ_ONLY: &[&str] = &["get", "list", "watch"];
const READ_WRITE: &[&str] = &["create", "delete", "get", "list", "watch"];

type Listed<'a> = (&'a str, &'a str, &'a str, bool, &'a [&'a str]);

fn resources(group_version: &str, listed: &[Listed<'_>]) -> Value {
    let listed: Vec<_> = listed
        .iter()
        .map(|(name, singular, kind, namespaced, verbs)| {
            json!({"name": name, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": verbs})
        })
        .collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed})
}

fn groups() -> Vec<Value> {
    let group = |name: &str| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    ["batch", "policy", "authorization.k8s.io"].into_iter().map(group).collect()
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "unknown", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.27.3", "compiler": "gc", "platform": "linux/amd64",
    })
}
