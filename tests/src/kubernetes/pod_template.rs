//! The pod a Job's template makes, with what the API server's admission adds.

use serde_json::{Value, json};

use super::garbage::TRACKING;
use super::json_path::{default, has, list, text, timestamp};

/// The letters Kubernetes makes name suffixes of.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A generated name keeps so much of its base.
const NAME_BASE_LENGTH: usize = 58;

/// `base` plus five random letters.
pub(crate) fn generated_name(base: &str) -> String {
    let letters = uuid::Uuid::new_v4().into_bytes();
    let suffix = letters[..5].iter().map(|byte| char::from(SUFFIX_LETTERS[usize::from(*byte) % SUFFIX_LETTERS.len()]));
    let kept: String = base.chars().take(NAME_BASE_LENGTH).collect();
    kept + &suffix.collect::<String>()
}

/// A pod of a Job.
pub(crate) fn pod_of(job: &Value) -> Value {
    let base = format!("{}-", text(job, "/metadata/name"));
    let mut metadata = job["spec"]["template"]["metadata"].clone();
    let owner = json!({
        "apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    });
    for (field, value) in [
        ("name", json!(generated_name(&base))),
        ("generateName", json!(base)),
        ("namespace", job["metadata"]["namespace"].clone()),
        ("uid", json!(uuid::Uuid::new_v4().to_string())),
        ("generation", json!(1)),
        ("creationTimestamp", json!(timestamp())),
        ("ownerReferences", json!([owner])),
        ("finalizers", json!([TRACKING])),
    ] {
        metadata[field] = value;
    }
    let mut pod = json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": job["spec"]["template"]["spec"],
        "status": {"phase": "Pending"},
    });
    admit_pod(&mut pod);
    pod
}

/// What admission adds to a pod.
pub(crate) fn admit_pod(pod: &mut Value) {
    let account = Some(text(pod, "/spec/serviceAccountName")).filter(|name| !name.is_empty()).unwrap_or("default");
    let account = json!(account);
    default(pod, &["spec", "serviceAccountName"], account.clone());
    default(pod, &["spec", "serviceAccount"], account);
    default(pod, &["spec", "priority"], json!(0));
    default(pod, &["spec", "preemptionPolicy"], json!("PreemptLowerPriority"));
    default(pod, &["spec", "enableServiceLinks"], json!(true));
    let mut tolerations = list(pod, "/spec/tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_set = tolerations.iter().any(|toleration| {
            matches!(text(toleration, "/key"), "" | "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable")
                && (text(toleration, "/key").is_empty() || text(toleration, "/key") == key)
                && matches!(text(toleration, "/effect"), "NoExecute" | "")
        });
        if !is_set {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    pod["spec"]["tolerations"] = json!(tolerations);
    let class = quality_class(pod);
    default(pod, &["status", "phase"], json!("Pending"));
    default(pod, &["status", "qosClass"], json!(class));
}

fn quality_class(pod: &Value) -> &'static str {
    let containers: Vec<_> = list(pod, "/spec/initContainers").iter().chain(list(pod, "/spec/containers")).collect();
    let has_resources = |container: &&Value| has(container, "/resources/requests") || has(container, "/resources/limits");
    let is_guaranteed = |container: &&Value| {
        let resources = &container["resources"];
        has(resources, "/limits/cpu") && has(resources, "/limits/memory") && resources["requests"] == resources["limits"]
    };
    if !containers.iter().any(has_resources) {
        "BestEffort"
    } else if containers.iter().all(is_guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
