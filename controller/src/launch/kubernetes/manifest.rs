//! The Job of a run, made of a claim and of settings alone. Pure; held by golden files.
//!
//! Nothing of the meeting's document is in it but ids derived from it: no address, no passcode, no name. The one exception is a
//! manager image that is not ours and has to be told what to record ([`KubernetesConfig::legacy_manager`]).
//!
//! The choices rest on recordings of a real API server: with `backoffLimit: 0` and `podReplacementPolicy: Failed` no second pod was
//! ever made in 75 runs; a pod on a node that is cut off is left alone as long as it tolerates that without limit.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::config::KubernetesConfig;
use super::containers::{manager, meeting_bot, volumes};
use super::names::{INSTANCE, LAUNCH, SPEC_HASH, labels, short_hash, store_label};
use crate::launch::{LaunchSpec, RunCommand};

/// The manager's container; its exit code is the run's.
pub const MANAGER: &str = "manager";
/// The meeting-bot's container.
pub const MEETING_BOT: &str = "meeting-bot";
/// The user and group of every container.
const USER: i64 = 1000;
/// Exit codes of the manager that mean "do not try again by yourself".
const FINAL_CODES: std::ops::RangeInclusive<i32> = 70..=79;

/// The Job of a run. `launch_id` is made anew by each launch.
pub fn job(config: &KubernetesConfig, spec: &LaunchSpec, launch_id: &str) -> Job {
    let key = spec.key();
    let labels = labels(&store_label(&config.store_url), spec);
    let deadline = match spec.command() {
        RunCommand::Record => config.limits.record_deadline(),
        RunCommand::Finalize => config.limits.finalize_deadline(),
    };
    let instance = BTreeMap::from([(INSTANCE.to_owned(), spec.instance_id().to_string())]);
    let job_spec = JobSpec {
        parallelism: Some(1),
        completions: Some(1),
        backoff_limit: Some(0),
        pod_replacement_policy: Some("Failed".into()),
        pod_failure_policy: Some(failure_policy()),
        active_deadline_seconds: i64::try_from(deadline.as_secs()).ok(),
        ttl_seconds_after_finished: i32::try_from(config.ttl.as_secs()).ok(),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels.clone()),
                annotations: Some(pod_annotations(instance.clone())),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(config, spec)),
        },
        ..JobSpec::default()
    };
    let hash = short_hash(&serde_json::to_vec(&job_spec).unwrap_or_default());
    let mut annotations = instance;
    annotations.extend([(LAUNCH.to_owned(), launch_id.to_owned()), (SPEC_HASH.to_owned(), hash)]);
    let metadata = ObjectMeta {
        name: Some(key.job.to_string()),
        namespace: Some(config.namespace.clone()),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    Job { metadata, spec: Some(job_spec), status: None }
}

/// A node is not emptied for the sake of its size while a call is recorded on it.
fn pod_annotations(mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.insert("cluster-autoscaler.kubernetes.io/safe-to-evict".into(), "false".into());
    annotations.insert("kubectl.kubernetes.io/default-container".into(), MANAGER.into());
    annotations
}

fn failure_policy() -> PodFailurePolicy {
    let disrupted = PodFailurePolicyRule {
        action: "FailJob".into(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            status: "True".into(),
            type_: "DisruptionTarget".into(),
        }]),
        ..PodFailurePolicyRule::default()
    };
    let decided = PodFailurePolicyRule {
        action: "FailJob".into(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(MANAGER.into()),
            operator: "In".into(),
            values: FINAL_CODES.collect(),
        }),
        ..PodFailurePolicyRule::default()
    };
    PodFailurePolicy { rules: vec![disrupted, decided] }
}

fn pod(config: &KubernetesConfig, spec: &LaunchSpec) -> PodSpec {
    let (sidecars, account) = match spec.command() {
        RunCommand::Record => (Some(vec![meeting_bot(config)]), &config.record_account),
        RunCommand::Finalize => (None, &config.finalize_account),
    };
    PodSpec {
        restart_policy: Some("Never".into()),
        service_account_name: Some(account.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: i64::try_from(config.grace.as_secs()).ok(),
        priority_class_name: config.priority_class.clone(),
        runtime_class_name: config.runtime_class.clone(),
        node_selector: (!config.node_selector.is_empty()).then(|| config.node_selector.clone()),
        image_pull_secrets: secrets(&config.pull_secrets),
        tolerations: Some(vec![tolerate("node.kubernetes.io/not-ready"), tolerate("node.kubernetes.io/unreachable")]),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        init_containers: sidecars,
        containers: vec![manager(config, spec)],
        volumes: Some(volumes(config, spec.command())),
        ..PodSpec::default()
    }
}

/// Without a limit: a node that is out of reach for a while must not end a call that goes on there.
fn tolerate(key: &str) -> Toleration {
    Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        ..Toleration::default()
    }
}

fn secrets(names: &[String]) -> Option<Vec<LocalObjectReference>> {
    (!names.is_empty()).then(|| names.iter().map(|name| LocalObjectReference { name: name.clone() }).collect())
}
