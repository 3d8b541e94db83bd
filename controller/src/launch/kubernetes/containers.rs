//! The two containers of a run's pod, and what they share.

use std::collections::BTreeMap;

use bot_model::process as contract;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvFromSource, EnvVar, EnvVarSource, EphemeralVolumeSource, ExecAction,
    HTTPGetAction, KeyToPath, ObjectFieldSelector, PersistentVolumeClaimSpec, PersistentVolumeClaimTemplate, Probe,
    ResourceRequirements, SeccompProfile, SecretEnvSource, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config::{ContainerConfig, KubernetesConfig};
use super::manifest::{MANAGER, MEETING_BOT};
use crate::launch::{LaunchSpec, RunCommand};

/// Shared by both containers: what is recorded and not yet carried out.
const SCRATCH: &str = "/scratch";
/// The root file system is read-only.
const TMP: &str = "/tmp";
/// Fits the browser's profile and what ffmpeg and the sound server put there.
const TMP_SIZE: &str = "2Gi";
/// The browser's shared memory; counts against the container's memory.
const SHM_SIZE: &str = "512Mi";
/// Where the identity is mounted, into the meeting-bot alone.
const IDENTITY: &str = "/identity";
/// The identity's file, which is also its key in the Secret.
const STORAGE_STATE: &str = "storage-state.json";
/// The meeting-bot listens on loopback, where only its own pod reaches it.
const BOT_API: &str = "http://127.0.0.1:3000";

/// Where an existing image that knows `TEMPVIDEO_DIR` writes.
const TEMPVIDEO: &str = "/scratch/tempvideo";
/// Of the user that the existing images are built for.
const EXISTING_IMAGE_USER: i64 = 1001;
/// Not to be changed in those images.
const EXISTING_IMAGE_PORT: i32 = 3000;

/// The manager: the one main container, whose end is the run's end.
pub(super) fn manager(config: &KubernetesConfig, spec: &LaunchSpec) -> Container {
    let mut variables = config.manager_variables.clone();
    variables.extend(pairs(&[
        (contract::BOT_INSTANCE_ID, spec.instance_id().as_str()),
        (contract::ATTEMPT, &spec.key().attempt.to_string()),
        (contract::SCRATCH_DIR, SCRATCH),
        (contract::TERMINATION_GRACE_SECONDS, &config.grace.as_secs().to_string()),
        (contract::LOG_FORMAT, "json"),
        ("TMPDIR", TMP),
    ]));
    if spec.command() == RunCommand::Record {
        variables.insert(contract::MEETING_BOT_API_URL.into(), BOT_API.into());
    }
    if config.legacy_manager {
        variables.extend(spec.legacy_variables());
    }
    let mut env = env(variables);
    env.push(EnvVar {
        name: contract::RUN_ID.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: "metadata.uid".into(), ..ObjectFieldSelector::default() }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
    let secret = config.manager_secret.as_ref().map(|name| EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: name.clone(), optional: Some(false) }),
        ..EnvFromSource::default()
    });
    Container {
        name: MANAGER.into(),
        args: Some(vec![spec.command().as_str().into()]),
        env: Some(env),
        env_from: secret.map(|secret| vec![secret]),
        volume_mounts: Some(mounts(&[("scratch", SCRATCH), ("tmp", TMP)])),
        ..container(config, &config.manager, None)
    }
}

/// The meeting-bot: a native sidecar, up before the manager and ended after it.
pub(super) fn meeting_bot(config: &KubernetesConfig) -> Container {
    if config.reference_bot {
        return existing_image(config);
    }
    let mut variables = config.bot_variables.clone();
    let mut mounted = mounts(&[("scratch", SCRATCH), ("tmp", TMP), ("shm", "/dev/shm")]);
    if config.identity_secret.is_some() {
        variables.insert(contract::BROWSER_STORAGE_STATE.into(), format!("{IDENTITY}/{STORAGE_STATE}"));
        mounted.push(VolumeMount { read_only: Some(true), ..mount("identity", IDENTITY) });
    }
    let sandbox = if config.seccomp_profile.is_some() { "on" } else { "off" };
    variables.extend(pairs(&[
        ("MEETING_BOT_SCRATCH", "/scratch/bot"),
        ("CHROMIUM_SANDBOX", sandbox),
        (contract::SCRATCH_DIR, SCRATCH),
        (contract::LOG_FORMAT, "json"),
        ("HOME", TMP),
        ("TMPDIR", TMP),
    ]));
    Container {
        name: MEETING_BOT.into(),
        restart_policy: Some("Always".into()),
        env: Some(env(variables)),
        startup_probe: Some(Probe {
            exec: Some(ExecAction { command: Some(vec![MEETING_BOT.into(), "probe".into()]) }),
            period_seconds: Some(2),
            timeout_seconds: Some(5),
            failure_threshold: Some(60),
            ..Probe::default()
        }),
        volume_mounts: Some(mounted),
        ..container(config, &config.meeting_bot, config.seccomp_profile.as_deref())
    }
}

/// One of the existing images in the meeting-bot's place. It has no probe of its own but answers HTTP on every address; it runs as its
/// own user and writes to its own file system; and its file lies in one volume, whichever of the two folders it knows.
fn existing_image(config: &KubernetesConfig) -> Container {
    let mut variables = config.bot_variables.clone();
    variables.extend(pairs(&[(contract::TEMPVIDEO_DIR, TEMPVIDEO), ("TMPDIR", TMP), ("TMP", TMP), ("TEMP", TMP)]));
    let volumes = [("scratch", SCRATCH), ("scratch", contract::STOCK_TEMPVIDEO_DIR), ("tmp", TMP), ("shm", "/dev/shm")];
    let mut container = container(config, &config.meeting_bot, config.seccomp_profile.as_deref());
    if let Some(security) = &mut container.security_context {
        (security.read_only_root_filesystem, security.run_as_user) = (Some(false), Some(EXISTING_IMAGE_USER));
    }
    Container {
        name: MEETING_BOT.into(),
        restart_policy: Some("Always".into()),
        env: Some(env(variables)),
        startup_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/health".into()),
                port: IntOrString::Int(EXISTING_IMAGE_PORT),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(2),
            timeout_seconds: Some(5),
            failure_threshold: Some(60),
            ..Probe::default()
        }),
        volume_mounts: Some(mounts(&volumes)),
        ..container
    }
}

fn container(config: &KubernetesConfig, own: &ContainerConfig, seccomp: Option<&str>) -> Container {
    let memory = ("memory".to_owned(), Quantity(own.memory.clone()));
    Container {
        image: Some(own.image.clone()),
        image_pull_policy: Some(config.pull_policy.clone()),
        resources: Some(ResourceRequirements {
            requests: Some([("cpu".to_owned(), Quantity(own.cpu.clone())), memory.clone()].into()),
            limits: Some([memory].into()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            seccomp_profile: seccomp
                .map(|profile| SeccompProfile { type_: "Localhost".into(), localhost_profile: Some(profile.into()) }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// What the pod's containers write to, all of which goes with the pod; and in a recording pod the identity.
pub(super) fn volumes(config: &KubernetesConfig, command: RunCommand) -> Vec<Volume> {
    let scratch = match &config.scratch_class {
        Some(class) => Volume { ephemeral: Some(claim(class, &config.scratch_size)), ..Volume::default() },
        None => Volume { empty_dir: Some(empty_dir(&config.scratch_size, None)), ..Volume::default() },
    };
    let mut volumes = vec![
        Volume { name: "scratch".into(), ..scratch },
        Volume { name: "tmp".into(), empty_dir: Some(empty_dir(TMP_SIZE, None)), ..Volume::default() },
        Volume { name: "shm".into(), empty_dir: Some(empty_dir(SHM_SIZE, Some("Memory"))), ..Volume::default() },
    ];
    if command == RunCommand::Record {
        volumes.extend(config.identity_secret.as_deref().map(identity));
    }
    volumes
}

/// Only the one key, readable by the containers' group alone.
fn identity(secret: &str) -> Volume {
    let key = KeyToPath { key: STORAGE_STATE.into(), path: STORAGE_STATE.into(), mode: None };
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        items: Some(vec![key]),
        default_mode: Some(0o440),
        optional: Some(false),
    };
    Volume { name: "identity".into(), secret: Some(source), ..Volume::default() }
}

fn empty_dir(size: &str, medium: Option<&str>) -> EmptyDirVolumeSource {
    EmptyDirVolumeSource { size_limit: Some(Quantity(size.into())), medium: medium.map(str::to_owned) }
}

fn claim(class: &str, size: &str) -> EphemeralVolumeSource {
    EphemeralVolumeSource {
        volume_claim_template: Some(PersistentVolumeClaimTemplate {
            metadata: None,
            spec: PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".into()]),
                storage_class_name: Some(class.into()),
                resources: Some(VolumeResourceRequirements {
                    requests: Some([("storage".to_owned(), Quantity(size.into()))].into()),
                    limits: None,
                }),
                ..PersistentVolumeClaimSpec::default()
            },
        }),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The kubelet expands `$(NAME)` inside a value; doubled, a dollar is a dollar.
fn env(variables: BTreeMap<String, String>) -> Vec<EnvVar> {
    variables
        .into_iter()
        .map(|(name, value)| EnvVar { name, value: Some(value.replace('$', "$$")), ..EnvVar::default() })
        .collect()
}

fn mounts(mounts: &[(&str, &str)]) -> Vec<VolumeMount> {
    mounts.iter().map(|(name, path)| mount(name, path)).collect()
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() }
}
