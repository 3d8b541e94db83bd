//! The Job controller: pods made, counted, ended; conditions in the recorded order.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::agenda::Task;
use super::failure_policy::failing_rule;
use super::garbage::TRACKING;
use super::job_status::{Census, Verdict, condition_of, is_finished, verdict_of};
use super::json_path::{flag, int, is_deleting, text};
use super::pod_template::pod_of;
use super::resource::{Key, Resource};
use super::script::Start;
use super::world::World;

/// The first back-off after a failed pod; it doubles with each.
const BACKOFF_SECONDS: i64 = 10;

impl World {
    /// Looks at a Job and does what is to be done.
    pub(crate) fn sync_job(&mut self, key: &Key) {
        self.syncing.remove(key);
        let Some(job) = self.get(key) else { return };
        let plan = self.script(&job).plan();
        if is_finished(&job) {
            return;
        }
        if is_deleting(&job) {
            for pod in self.store.owned_by(text(&job, "/metadata/uid")) {
                self.drop_finalizer(&pod, TRACKING);
            }
            let census = self.census(&job);
            self.write_progress(key, &census, None, false);
            return;
        }
        let census = self.census(&job);
        if let Some(verdict) = self.verdict(&job, &census) {
            return self.end_job(key, &job, &verdict);
        }
        if flag(&job, "/spec/suspend") {
            return self.suspend_job(key, &job);
        }
        self.start_clock(&job);
        if let Start::NoPod { forbidden } = plan.start {
            self.write_progress(key, &census, None, true);
            if forbidden {
                let name = text(&pod_of(&job), "/metadata/name").to_owned();
                let why = format!(
                    "pods \"{name}\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true)"
                );
                self.refuse_pod(key, &job, &why);
            }
            return;
        }
        self.make_pods(key, &job, &census);
        let census = self.census(&job);
        self.write_progress(key, &census, None, true);
        self.count(key, &job, &census, None);
    }

    fn pods_of(&self, job: &Value) -> Vec<(Key, Arc<Value>)> {
        let keys = self.store.owned_by(text(job, "/metadata/uid"));
        keys.into_iter()
            .filter(|key| key.resource == Resource::Pods)
            .filter_map(|key| self.get(&key).map(|pod| (key, pod)))
            .collect()
    }

    pub(crate) fn census(&self, job: &Value) -> Census {
        Census::of(job, &self.pods_of(job))
    }

    /// Whether the Job is to end, and how.
    fn verdict(&self, job: &Value, census: &Census) -> Option<Verdict> {
        if let Some(known) = verdict_of(job) {
            return Some(known);
        }
        let failed: Vec<_> = census.newly_failed.iter().filter_map(|key| self.get(key)).collect();
        if let Some(message) = failed.iter().find_map(|pod| failing_rule(job, pod)) {
            return Some(Verdict::Failed { reason: "PodFailurePolicy", message });
        }
        let limit = int(job, "/spec/backoffLimit").unwrap_or(6);
        if census.failed_in_all() > limit {
            return Some(Verdict::backoff_limit());
        }
        let wanted = int(job, "/spec/completions").unwrap_or(1);
        if wanted > 0 && census.succeeded_in_all() >= wanted {
            return Some(Verdict::Complete);
        }
        let record = self.jobs.get(text(job, "/metadata/uid"));
        let deadline = int(job, "/spec/activeDeadlineSeconds");
        let started = record.and_then(|record| record.started).filter(|_| !flag(job, "/spec/suspend"));
        if let (Some(started), Some(seconds)) = (started, deadline)
            && self.agenda.now() >= started + self.timing.seconds(seconds)
        {
            return Some(Verdict::deadline());
        }
        None
    }

    /// Ends what runs, says why, counts, and adds the final condition when no pod is left.
    fn end_job(&mut self, key: &Key, job: &Value, verdict: &Verdict) {
        for pod in self.census(job).active {
            self.record(job, "Normal", "SuccessfulDelete", &format!("Deleted pod: {}", pod.name), "job-controller");
            self.delete_pod(&pod, None);
        }
        let mut census = self.census(job);
        if matches!(verdict, Verdict::Failed { .. }) {
            census.fail_all_uncounted();
        }
        self.write_progress(key, &census, Some(verdict), true);
        self.count(key, job, &census, Some(verdict));
    }

    /// Takes the tracking finalizer off the counted pods and moves them from uncounted to the counters.
    fn count(&mut self, key: &Key, job: &Value, census: &Census, verdict: Option<&Verdict>) {
        for pod in census.newly_succeeded.iter().chain(&census.newly_failed) {
            self.drop_finalizer(pod, TRACKING);
        }
        let is_over = census.active.is_empty() && census.terminating == 0;
        let final_verdict = verdict.filter(|_| is_over);
        if census.has_uncounted() || final_verdict.is_some() {
            self.write_counts(key, census, final_verdict);
        }
        if let Some(verdict) = final_verdict {
            self.job_is_over(key, job, verdict);
        } else if census.has_uncounted() {
            self.back_off(job, census);
            self.sync_soon(key, self.timing.job_sync);
        }
    }

    fn job_is_over(&mut self, key: &Key, job: &Value, verdict: &Verdict) {
        match verdict {
            Verdict::Complete => self.record(job, "Normal", "Completed", "Job completed", "job-controller"),
            Verdict::Failed { reason, message } => self.record(job, "Warning", reason, message, "job-controller"),
        }
        if let Some(seconds) = int(job, "/spec/ttlSecondsAfterFinished") {
            let uid = text(job, "/metadata/uid").to_owned();
            self.agenda.after(self.timing.seconds(seconds), Task::ExpireJob(key.clone(), uid));
        }
    }

    fn back_off(&mut self, job: &Value, census: &Census) {
        let failures = census.failed_in_all();
        if failures > 0 && !census.newly_failed.is_empty() {
            let doubled = u32::try_from(failures - 1).unwrap_or(0).min(5);
            let wait = self.timing.seconds(BACKOFF_SECONDS << doubled);
            let until = self.agenda.now() + wait;
            self.jobs.entry(text(job, "/metadata/uid").to_owned()).or_default().backs_off_until = Some(until);
        }
    }

    /// Suspension: the running pods are let go uncounted, with their grace.
    fn suspend_job(&mut self, key: &Key, job: &Value) {
        for pod in self.census(job).active {
            self.drop_finalizer(&pod, TRACKING);
            self.delete_pod(&pod, None);
        }
        if condition_of(job, "Suspended") != Some("True") {
            self.record(job, "Normal", "Suspended", "Job suspended", "job-controller");
        }
        if let Some(record) = self.jobs.get_mut(text(job, "/metadata/uid")) {
            (record.started, record.deadline) = (None, None);
        }
        let census = self.census(job);
        self.write_suspended(key, &census);
    }

    /// The Job runs: its clock starts, and with it the deadline.
    fn start_clock(&mut self, job: &Value) {
        let now = self.agenda.now();
        let seconds = int(job, "/spec/activeDeadlineSeconds");
        let length = seconds.map(|seconds| self.timing.seconds(seconds));
        let record = self.jobs.entry(text(job, "/metadata/uid").to_owned()).or_default();
        let started = *record.started.get_or_insert(now);
        let deadline = length.map(|length| started + length);
        if deadline != record.deadline {
            record.deadline = deadline;
            if let Some(at) = deadline {
                let key = Key::new(Resource::Jobs, text(job, "/metadata/namespace"), text(job, "/metadata/name"));
                self.agenda.after(at.saturating_duration_since(now), Task::SyncJob(key));
            }
        }
    }

    fn make_pods(&mut self, key: &Key, job: &Value, census: &Census) {
        let wanted = int(job, "/spec/parallelism").unwrap_or(1);
        let left = int(job, "/spec/completions").map_or(wanted, |all| all - census.succeeded_in_all());
        let waits_for_terminating = text(job, "/spec/podReplacementPolicy") == "Failed";
        let present =
            i64::try_from(census.active.len()).unwrap_or(0) + if waits_for_terminating { census.terminating } else { 0 };
        let missing = wanted.min(left) - present;
        if missing <= 0 || self.waits_out_back_off(key, job) {
            return;
        }
        for _ in 0..missing {
            let pod = pod_of(job);
            let name = text(&pod, "/metadata/name").to_owned();
            let pod_key = Key::new(Resource::Pods, &key.namespace, &name);
            if let Some(why) = self.over_quota(&pod_key) {
                return self.refuse_pod(key, job, &why);
            }
            self.create(pod_key, pod);
            self.record(job, "Normal", "SuccessfulCreate", &format!("Created pod: {name}"), "job-controller");
        }
    }

    fn waits_out_back_off(&mut self, key: &Key, job: &Value) -> bool {
        let now = self.agenda.now();
        let until = self.jobs.get(text(job, "/metadata/uid")).and_then(|record| record.backs_off_until);
        let wait = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if !wait.is_zero() {
            self.agenda.after(wait, Task::SyncJob(key.clone()));
        }
        !wait.is_zero()
    }

    /// Pod Security or a quota forbids the pod: an event, and another try after 1, 2, 4, ... seconds.
    fn refuse_pod(&mut self, key: &Key, job: &Value, why: &str) {
        self.record(job, "Warning", "FailedCreate", &format!("Error creating: {why}"), "job-controller");
        let record = self.jobs.entry(text(job, "/metadata/uid").to_owned()).or_default();
        record.failed_creations += 1;
        let wait = 1_i64 << (record.failed_creations - 1).min(9);
        self.agenda.after(self.timing.seconds(wait), Task::SyncJob(key.clone()));
    }

    /// The Job as it is now, to be changed.
    pub(crate) fn job_to_change(&self, key: &Key) -> Option<Value> {
        self.get(key).map(|job| (*job).clone())
    }

    /// Writes a Job's status back.
    pub(crate) fn write_status(&mut self, key: &Key, status: Value) {
        if let Some(mut job) = self.job_to_change(key) {
            job["status"] = status;
            self.update(key, job);
        }
    }

    /// `terminating` and the rest start from what the object shows.
    pub(crate) fn job_status(&self, key: &Key) -> Value {
        self.get(key).map_or_else(|| json!({}), |job| job["status"].clone())
    }
}
