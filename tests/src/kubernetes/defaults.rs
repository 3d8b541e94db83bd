//! What the API server fills in.

use serde_json::{Value, json};

use super::json_path::{default, fields, has, text};

/// The labels a Job's pods carry, besides their own.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Fills in a Job. Its uid and name must be there.
pub(crate) fn default_job(job: &mut Value) {
    let uid = text(job, "/metadata/uid").to_owned();
    let name = text(job, "/metadata/name").to_owned();
    if !has(job, "/spec/completions") && !has(job, "/spec/parallelism") {
        default(job, &["spec", "completions"], json!(1));
    }
    let policy = if has(job, "/spec/podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    for (field, value) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!(policy)),
        ("manualSelector", json!(false)),
    ] {
        default(job, &["spec", field], value);
    }
    for label in UID_LABELS {
        default_label(job, label, &uid);
    }
    for label in NAME_LABELS {
        default_label(job, label, &name);
    }
    if !has(job, "/spec/selector") {
        job["spec"]["selector"] = json!({"matchLabels": {UID_LABELS[0]: uid}});
    }
    default_pod_spec(&mut job["spec"]["template"]["spec"]);
}

fn default_label(job: &mut Value, label: &str, value: &str) {
    let template = super::json_path::object(&mut job["spec"], "template");
    let metadata = fields(template.entry("metadata").or_insert_with(|| json!({})));
    let labels = fields(metadata.entry("labels").or_insert_with(|| json!({})));
    labels.entry(label).or_insert_with(|| json!(value));
}

/// Fills in a pod spec.
pub(crate) fn default_pod_spec(spec: &mut Value) {
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        default(spec, &[field], value);
    }
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            default_container(container);
        }
    }
    for volume in items(spec, "volumes") {
        for source in ["secret", "configMap", "projected", "downwardAPI"] {
            if volume.get(source).is_some() {
                default(volume, &[source, "defaultMode"], json!(420));
            }
        }
    }
}

fn default_container(container: &mut Value) {
    let image = text(container, "/image");
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map_or("latest", |(_, tag)| tag);
    let policy = if tag == "latest" && !image.contains('@') { "Always" } else { "IfNotPresent" };
    for (field, value) in [
        ("resources", json!({})),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
        ("imagePullPolicy", json!(policy)),
    ] {
        default(container, &[field], value);
    }
    for port in items(container, "ports") {
        default(port, &["protocol"], json!("TCP"));
    }
    for variable in items(container, "env") {
        if has(variable, "/valueFrom/fieldRef") {
            default(variable, &["valueFrom", "fieldRef", "apiVersion"], json!("v1"));
        }
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            default_probe(probe);
        }
    }
}

fn default_probe(probe: &mut Value) {
    if has(probe, "/httpGet") {
        default(probe, &["httpGet", "path"], json!("/"));
        default(probe, &["httpGet", "scheme"], json!("HTTP"));
    }
    for (field, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        default(probe, &[field], json!(value));
    }
}

fn items<'a>(value: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(list).and_then(Value::as_array_mut).map(|list| list.iter_mut()).into_iter().flatten()
}
