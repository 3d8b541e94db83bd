//! `podFailurePolicy`: the first rule that fits a failed pod decides.

use serde_json::Value;

use super::json_path::{list, text};

/// The message of the FailJob rule that fits, if that is the first rule that does.
pub(crate) fn failing_rule(job: &Value, pod: &Value) -> Option<String> {
    let namespace = text(pod, "/metadata/namespace");
    let name = text(pod, "/metadata/name");
    for (index, rule) in list(job, "/spec/podFailurePolicy/rules").iter().enumerate() {
        let matched = match rule.get("onExitCodes") {
            Some(codes) => exit_code_match(codes, pod).map(|(container, code)| {
                format!("Container {container} for pod {namespace}/{name} failed with exit code {code}")
            }),
            None => condition_match(rule, pod).map(|kind| format!("Pod {namespace}/{name} has condition {kind}")),
        };
        if let Some(what) = matched {
            let action = text(rule, "/action");
            return (action == "FailJob").then(|| format!("{what} matching FailJob rule at index {index}"));
        }
    }
    None
}

fn exit_code_match(codes: &Value, pod: &Value) -> Option<(String, i64)> {
    let wanted = text(codes, "/containerName");
    let values = list(codes, "/values");
    let is_in = text(codes, "/operator") == "In";
    let statuses = list(pod, "/status/initContainerStatuses").iter().chain(list(pod, "/status/containerStatuses"));
    statuses
        .filter(|status| wanted.is_empty() || text(status, "/name") == wanted)
        .filter_map(|status| Some((text(status, "/name"), status.pointer("/state/terminated/exitCode")?.as_i64()?)))
        .find(|(_, code)| *code != 0 && values.iter().any(|value| value.as_i64() == Some(*code)) == is_in)
        .map(|(name, code)| (name.to_owned(), code))
}

fn condition_match(rule: &Value, pod: &Value) -> Option<String> {
    let patterns = list(rule, "/onPodConditions");
    let found = list(pod, "/status/conditions").iter().find(|condition| {
        patterns.iter().any(|pattern| {
            let status = Some(text(pattern, "/status")).filter(|status| !status.is_empty()).unwrap_or("True");
            pattern["type"] == condition["type"] && text(condition, "/status") == status
        })
    });
    found.map(|condition| text(condition, "/type").to_owned())
}
