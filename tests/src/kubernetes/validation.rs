//! What a Job must be: the checks the recordings show.

use serde_json::{Value, json};

use super::failure::Cause;
use super::json_path::{has, int, list, text};

const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NEGATIVE: &str = "must be greater than or equal to 0";
const TOO_LONG: &str = "must be no more than 63 bytes";

/// What is wrong with a Job, in the API server's order.
pub(crate) fn job_problems(job: &Value) -> Vec<Cause> {
    let mut problems = name_problems(job);
    problems.extend(label_problems(&job["metadata"]["labels"], "metadata.labels"));
    problems.extend(generated_problems(job));
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        if let Some(negative) = int(job, &format!("/spec/{field}")).filter(|value| *value < 0) {
            problems.push(Cause::invalid(&format!("spec.{field}"), &json!(negative), NEGATIVE));
        }
    }
    problems.extend(policy_problems(job));
    problems.extend(label_problems(&job["spec"]["template"]["metadata"]["labels"], "spec.template.labels"));
    problems.extend(container_problems(&job["spec"]["template"]["spec"]));
    if !matches!(text(job, "/spec/template/spec/restartPolicy"), "OnFailure" | "Never") {
        let why = "valid values: \"OnFailure\", \"Never\"";
        problems.push(Cause::required("spec.template.spec.restartPolicy", why));
    }
    problems
}

fn name_problems(job: &Value) -> Vec<Cause> {
    let name = text(job, "/metadata/name");
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        is_edge(bytes.first())
            && is_edge(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    if name.is_empty() {
        return vec![Cause::required("metadata.name", "name or generateName is required")];
    }
    let mut problems = Vec::new();
    if !name.split('.').all(is_part) {
        problems.push(Cause::invalid("metadata.name", &json!(name), NAME_RULE));
    }
    problems
}

fn label_problems(labels: &Value, field: &str) -> Vec<Cause> {
    let mut problems = Vec::new();
    for value in labels.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str()) {
        let bytes = value.as_bytes();
        let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
        let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if bytes.len() > 63 {
            problems.push(Cause::invalid(field, &json!(value), TOO_LONG));
        } else if !(is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(is_inner)) {
            problems.push(Cause::invalid(field, &json!(value), LABEL_RULE));
        }
    }
    problems
}

/// The labels and the selector the API server made must still be what it makes.
fn generated_problems(job: &Value) -> Vec<Cause> {
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    let (uid, name) = (text(job, "/metadata/uid"), text(job, "/metadata/name"));
    let mut problems = Vec::new();
    for (label, wanted) in [
        ("controller-uid", uid),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
    ] {
        if labels[label] != wanted {
            let field = format!("spec.template.metadata.labels[{label}]");
            problems.push(Cause::invalid(&field, labels, &format!("must be '{wanted}'")));
        }
    }
    if job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] != uid {
        problems.push(Cause::invalid("spec.selector", &job["spec"]["selector"], "`selector` not auto-generated"));
    }
    problems
}

fn policy_problems(job: &Value) -> Vec<Cause> {
    let mut problems = Vec::new();
    let spec = &job["spec"]["template"]["spec"];
    let names: Vec<_> =
        list(spec, "/initContainers").iter().chain(list(spec, "/containers")).map(|container| text(container, "/name")).collect();
    for (index, rule) in list(job, "/spec/podFailurePolicy/rules").iter().enumerate() {
        let wanted = text(rule, "/onExitCodes/containerName");
        if !wanted.is_empty() && !names.contains(&wanted) {
            let field = format!("spec.podFailurePolicy.rules[{index}].onExitCodes.containerName");
            let why = "must be one of the container or initContainer names in the pod template";
            problems.push(Cause::invalid(&field, &json!(wanted), why));
        }
    }
    let replacement = &job["spec"]["podReplacementPolicy"];
    let allowed: &[&str] = if has(job, "/spec/podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !allowed.iter().any(|policy| replacement == policy) {
        problems.push(Cause::not_supported("spec.podReplacementPolicy", replacement, allowed));
    }
    problems
}

fn container_problems(spec: &Value) -> Vec<Cause> {
    let mut problems = Vec::new();
    if list(spec, "/containers").is_empty() {
        problems.push(Cause::required("spec.template.spec.containers", ""));
    }
    for (index, container) in list(spec, "/initContainers").iter().enumerate() {
        let field = format!("spec.template.spec.initContainers[{index}]");
        let policy = text(container, "/restartPolicy");
        if !matches!(policy, "" | "Always" | "Never" | "OnFailure") {
            let allowed = ["Always", "Never", "OnFailure"];
            problems.push(Cause::not_supported(&format!("{field}.restartPolicy"), &json!(policy), &allowed));
        }
        for probe in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if policy != "Always" && has(container, &format!("/{probe}")) {
                let why = "may not be set for init containers without restartPolicy=Always";
                problems.push(Cause::forbidden(&format!("{field}.{probe}"), why));
            }
        }
    }
    problems
}

/// What a change of a Job may not do.
pub(crate) fn job_change_problems(old: &Value, new: &Value) -> Vec<Cause> {
    const IMMUTABLE: &str = "field is immutable";
    let mut problems = Vec::new();
    for field in ["completions", "selector", "completionMode", "podFailurePolicy", "managedBy"] {
        if old["spec"][field] != new["spec"][field] {
            problems.push(Cause::invalid(&format!("spec.{field}"), &new["spec"][field], IMMUTABLE));
        }
    }
    let never_started = old["spec"]["suspend"] == true && !has(old, "/status/startTime");
    let (old_template, new_template) = (&old["spec"]["template"], &new["spec"]["template"]);
    if !never_started && old_template != new_template {
        problems.push(Cause::invalid("spec.template", new_template, IMMUTABLE));
    } else if never_started {
        // While a Job is suspended and has never started, the scheduling fields may change.
        let mut allowed = old_template["spec"].clone();
        for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
            allowed[field] = new_template["spec"][field].clone();
        }
        let mut shown = new_template["spec"].clone();
        drop_nulls(&mut allowed);
        drop_nulls(&mut shown);
        if allowed != shown {
            problems.push(Cause::invalid("spec.template.spec", &new_template["spec"], IMMUTABLE));
        }
    }
    problems
}

fn drop_nulls(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

/// Metadata that no change may touch.
pub(crate) fn metadata_change_problems(old: &Value, new: &Value) -> Vec<Cause> {
    let mut problems = Vec::new();
    if old["metadata"]["uid"] != new["metadata"]["uid"] {
        problems.push(Cause::invalid("metadata.uid", &new["metadata"]["uid"], "field is immutable"));
    }
    if super::json_path::is_deleting(old) {
        let (before, after) = (super::json_path::finalizers(old), super::json_path::finalizers(new));
        let added: Vec<_> = after.iter().filter(|name| !before.contains(name)).map(|name| format!("\"{name}\"")).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            problems.push(Cause::forbidden("metadata.finalizers", &why));
        }
    }
    problems
}
