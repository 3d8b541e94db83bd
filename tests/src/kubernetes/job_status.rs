//! A Job's pods counted, and its status written as recorded.

use std::sync::Arc;

use serde_json::{Value, json};

use super::garbage::TRACKING;
use super::json_path::{fields, finalizers, int, is_deleting, list, text, timestamp};
use super::resource::Key;
use super::world::World;

/// How a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Complete,
    Failed { reason: &'static str, message: String },
}

impl Verdict {
    pub(crate) fn backoff_limit() -> Self {
        let message = "Job has reached the specified backoff limit".to_owned();
        Self::Failed { reason: "BackoffLimitExceeded", message }
    }

    pub(crate) fn deadline() -> Self {
        let message = "Job was active longer than specified deadline".to_owned();
        Self::Failed { reason: "DeadlineExceeded", message }
    }

    /// The condition that announces the end, and the one that ends it.
    fn conditions(&self) -> (&'static str, &'static str, &str, &str) {
        match self {
            Self::Complete => {
                ("SuccessCriteriaMet", "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
            }
            Self::Failed { reason, message } => ("FailureTarget", "Failed", reason, message),
        }
    }
}

/// The verdict a Job already announced.
pub(crate) fn verdict_of(job: &Value) -> Option<Verdict> {
    for condition in list(job, "/status/conditions") {
        match text(condition, "/type") {
            "SuccessCriteriaMet" => return Some(Verdict::Complete),
            "FailureTarget" => {
                let message = text(condition, "/message").to_owned();
                return Some(match text(condition, "/reason") {
                    "PodFailurePolicy" => Verdict::Failed { reason: "PodFailurePolicy", message },
                    "DeadlineExceeded" => Verdict::deadline(),
                    _ => Verdict::backoff_limit(),
                });
            }
            _ => {}
        }
    }
    None
}

/// Whether a Job has its final condition.
pub(crate) fn is_finished(job: &Value) -> bool {
    ["Complete", "Failed"].iter().any(|kind| condition_of(job, kind) == Some("True"))
}

/// The status of a condition.
pub(crate) fn condition_of<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = list(object, "/status/conditions");
    conditions.iter().find(|condition| text(condition, "/type") == kind).map(|condition| text(condition, "/status"))
}

/// A Job's pods by what they are to the controller.
#[derive(Debug, Default, Clone)]
pub(crate) struct Census {
    pub(crate) active: Vec<Key>,
    pub(crate) ready: i64,
    pub(crate) terminating: i64,
    pub(crate) newly_succeeded: Vec<Key>,
    pub(crate) newly_failed: Vec<Key>,
    uncounted: Vec<Key>,
    uids: Vec<(Key, String)>,
    succeeded: i64,
    failed: i64,
}

impl Census {
    pub(crate) fn of(job: &Value, pods: &[(Key, Arc<Value>)]) -> Self {
        let mut census = Self {
            succeeded: int(job, "/status/succeeded").unwrap_or(0),
            failed: int(job, "/status/failed").unwrap_or(0),
            ..Self::default()
        };
        // With podReplacementPolicy Failed a pod has failed only when its kubelet says so; else its deletion is enough.
        let deletion_fails = text(job, "/spec/podReplacementPolicy") != "Failed";
        for (key, pod) in pods {
            census.add(key, pod, deletion_fails);
        }
        census
    }

    fn add(&mut self, key: &Key, pod: &Value, deletion_fails: bool) {
        let phase = text(pod, "/status/phase");
        let is_over = matches!(phase, "Succeeded" | "Failed");
        let is_tracked = finalizers(pod).iter().any(|name| name == TRACKING);
        self.uids.push((key.clone(), text(pod, "/metadata/uid").to_owned()));
        if !is_over && is_deleting(pod) {
            self.terminating += 1;
        } else if !is_over {
            self.active.push(key.clone());
            self.ready += i64::from(condition_of(pod, "Ready") == Some("True"));
        }
        if !is_tracked {
            return;
        }
        match phase {
            "Succeeded" => self.newly_succeeded.push(key.clone()),
            "Failed" => self.newly_failed.push(key.clone()),
            _ if deletion_fails && is_deleting(pod) => self.newly_failed.push(key.clone()),
            _ => self.uncounted.push(key.clone()),
        }
    }

    pub(crate) fn has_uncounted(&self) -> bool {
        !self.newly_succeeded.is_empty() || !self.newly_failed.is_empty()
    }

    /// A failed Job counts every pod that has not succeeded as failed.
    pub(crate) fn fail_all_uncounted(&mut self) {
        self.newly_failed.append(&mut self.uncounted);
    }

    pub(crate) fn succeeded_in_all(&self) -> i64 {
        self.succeeded + i64::try_from(self.newly_succeeded.len()).unwrap_or(0)
    }

    pub(crate) fn failed_in_all(&self) -> i64 {
        self.failed + i64::try_from(self.newly_failed.len()).unwrap_or(0)
    }

    fn uids_of(&self, keys: &[Key]) -> Vec<&str> {
        let of = |key: &Key| self.uids.iter().find(|(known, _)| known == key).map(|(_, uid)| uid.as_str());
        keys.iter().filter_map(of).collect()
    }

    fn uncounted_body(&self) -> Value {
        let mut body = json!({});
        for (name, keys) in [("succeeded", &self.newly_succeeded), ("failed", &self.newly_failed)] {
            if !keys.is_empty() {
                body[name] = json!(self.uids_of(keys));
            }
        }
        body
    }
}

impl World {
    /// Writes the numbers, and the verdict's first condition. `runs`: whether the Job has a start time.
    pub(crate) fn write_progress(&mut self, key: &Key, census: &Census, verdict: Option<&Verdict>, runs: bool) {
        let mut status = self.job_status(key);
        numbers(&mut status, census);
        status["uncountedTerminatedPods"] = census.uncounted_body();
        if runs && verdict.is_none() {
            resume(&mut status);
        }
        if let Some(verdict) = verdict {
            let (first, _, reason, message) = verdict.conditions();
            add_condition(&mut status, first, "True", reason, message);
        }
        self.write_status(key, status);
    }

    /// Moves the uncounted to the counters; with a final verdict adds the condition that ends the Job.
    pub(crate) fn write_counts(&mut self, key: &Key, census: &Census, verdict: Option<&Verdict>) {
        let mut status = self.job_status(key);
        numbers(&mut status, census);
        status["uncountedTerminatedPods"] = json!({});
        for (name, count) in [("succeeded", census.succeeded_in_all()), ("failed", census.failed_in_all())] {
            if count > 0 {
                status[name] = json!(count);
            }
        }
        if let Some(verdict) = verdict {
            let (_, last, reason, message) = verdict.conditions();
            add_condition(&mut status, last, "True", reason, message);
            if *verdict == Verdict::Complete {
                status["completionTime"] = json!(timestamp());
            }
        }
        self.write_status(key, status);
    }

    /// A suspended Job has no start time and no pods.
    pub(crate) fn write_suspended(&mut self, key: &Key, census: &Census) {
        let mut status = self.job_status(key);
        numbers(&mut status, census);
        status["uncountedTerminatedPods"] = json!({});
        fields(&mut status).remove("startTime");
        add_condition(&mut status, "Suspended", "True", "JobSuspended", "Job suspended");
        self.write_status(key, status);
    }
}

fn numbers(status: &mut Value, census: &Census) {
    let status = fields(status);
    if census.active.is_empty() {
        status.remove("active");
    } else {
        status.insert("active".into(), json!(census.active.len()));
    }
    status.insert("ready".into(), json!(census.ready));
    status.insert("terminating".into(), json!(census.terminating));
}

fn resume(status: &mut Value) {
    let was_suspended = list(status, "/conditions").iter().any(|condition| condition["type"] == "Suspended");
    if was_suspended {
        add_condition(status, "Suspended", "False", "JobResumed", "Job resumed");
    }
    fields(status).entry("startTime").or_insert_with(|| json!(timestamp()));
}

/// Adds a condition or turns it; its times move only when its status does.
fn add_condition(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str) {
    let now = timestamp();
    let new = json!({
        "type": kind, "status": value, "lastProbeTime": now, "lastTransitionTime": now, "reason": reason, "message": message,
    });
    let conditions = fields(status).entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        match conditions.iter_mut().find(|known| known["type"] == kind) {
            Some(known) if known["status"] == value => {}
            Some(known) => *known = new,
            None => conditions.push(new),
        }
    }
}
