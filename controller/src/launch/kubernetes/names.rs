//! What the API server accepts as a name, a label and a quantity, and the labels and annotations that we set.

use std::collections::BTreeMap;

use bot_model::ids::{InstanceId, JobName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::launch::{LaunchSpec, RunCommand, RunKey};

/// Which store a run belongs to, hashed: runs of another store are not ours to touch.
pub(super) const STORE: &str = "meeting-bot/store";
/// The attempt, from 1.
pub(super) const ATTEMPT: &str = "meeting-bot/attempt";
/// `record` or `finalize`.
pub(super) const COMMAND: &str = "meeting-bot/command";
/// The run's name, on the pod too: the API server's own label goes with the Job.
pub(super) const JOB: &str = "meeting-bot/job";
/// Annotation: the instance's id in full, which need not fit into a label.
pub(super) const INSTANCE: &str = "meeting-bot/instance-id";
/// Annotation: made anew by each launch, so that one whose answer was lost recognises its own Job.
pub(super) const LAUNCH: &str = "meeting-bot/launch-id";
/// Annotation: a hash of the Job's spec.
pub(super) const SPEC_HASH: &str = "meeting-bot/spec-hash";

/// The label value that stands for a store.
pub(super) fn store_label(store_url: &str) -> String {
    short_hash(store_url.as_bytes())
}

/// Twelve hexadecimal characters.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The labels of a Job and of its pod.
pub(super) fn labels(store: &str, spec: &LaunchSpec) -> BTreeMap<String, String> {
    let key = spec.key();
    let pairs = [
        ("app.kubernetes.io/name", "meeting-bot"),
        ("app.kubernetes.io/managed-by", "meeting-bot-controller"),
        ("app.kubernetes.io/component", spec.command().as_str()),
        (STORE, store),
        (JOB, key.job.as_str()),
        (ATTEMPT, &key.attempt.to_string()),
        (COMMAND, spec.command().as_str()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Whose run an object belongs to, by its labels and annotations; `None` where they are not ours.
pub(super) fn identity(metadata: &ObjectMeta) -> Option<(RunKey, InstanceId, RunCommand)> {
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    let instance = InstanceId::parse(metadata.annotations.as_ref()?.get(INSTANCE)?)?;
    let attempt = label(ATTEMPT)?.parse().ok()?;
    let command = match label(COMMAND)? {
        "finalize" => RunCommand::Finalize,
        _ => RunCommand::Record,
    };
    let job = JobName::for_instance(&instance);
    (label(JOB) == Some(job.as_str())).then_some((RunKey { job, attempt }, instance, command))
}

/// Lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit.
pub(super) fn is_dns_name(text: &str, longest: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text.len() <= longest
        && text.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'.')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().last().is_some_and(plain)
}

/// At most 63 of letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit; may be empty.
pub(super) fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 63
        && text.bytes().all(inner)
        && text.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().last().is_none_or(|byte| byte.is_ascii_alphanumeric())
}

/// A label's name, with or without a prefix.
pub(super) fn is_qualified_name(text: &str) -> bool {
    let name = |name: &str| !name.is_empty() && is_label_value(name);
    match text.split_once('/') {
        Some((prefix, rest)) => is_dns_name(prefix, 253) && name(rest),
        None => name(text),
    }
}

/// A positive quantity: digits with at most one point, and a suffix that Kubernetes knows.
pub(super) fn is_quantity(text: &str) -> bool {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let known = ["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
    known.contains(&suffix) && number.parse::<f64>().is_ok_and(|number| number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_those_that_kubernetes_takes() {
        for good in ["1", "500m", "0.5", "50Gi", "1536Mi"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "0", "-1", "50GB", "1 Gi", "Gi", "1.2.3", "NaN", "inf", "1e3x"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }

    #[test]
    fn names_and_labels_are_those_that_kubernetes_takes() {
        assert!(is_dns_name("meeting-bots", 63) && is_dns_name("a.b", 253));
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "x\n"] {
            assert!(!is_dns_name(bad, 63), "{bad:?}");
        }
        assert!(!is_dns_name(&"a".repeat(64), 63));
        assert!(is_label_value("") && is_label_value("A_b.c-1"));
        assert!(!is_label_value("-a") && !is_label_value(&"a".repeat(64)) && !is_label_value("a b"));
        assert!(is_qualified_name("kubernetes.io/arch") && is_qualified_name("pool"));
        assert!(!is_qualified_name("/arch") && !is_qualified_name("a/b/c") && !is_qualified_name(""));
    }
}
