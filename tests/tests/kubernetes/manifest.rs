//! The Job's manifest, held by golden files: what changes in one is a change of the deployment.

use controller::launch::kubernetes::manifest::job;
use controller::launch::{LaunchSpec, RunCommand};

use crate::site::{Site, jobs_config};

/// Every setting that shows in a manifest.
const EVERYTHING: &[(&str, &str)] = &[
    ("KUBERNETES_NAMESPACE", "meeting-bots"),
    ("JOB_SERVICE_ACCOUNT", "bot-record"),
    ("FINALIZE_SERVICE_ACCOUNT", "bot-finalize"),
    ("SCRATCH_STORAGE_CLASS", "standard-rwo"),
    ("SCRATCH_STORAGE_SIZE", "20Gi"),
    ("MANAGER_CPU", "100m"),
    ("MANAGER_MEMORY", "256Mi"),
    ("MEETING_BOT_CPU", "1500m"),
    ("MEETING_BOT_MEMORY", "4Gi"),
    ("MEETING_BOT_SECCOMP_PROFILE", "profiles/chromium.json"),
    ("MANAGER_ENV_SECRET", "bucket-credentials"),
    ("BOT_IDENTITY_SECRET", "bot-identity"),
    ("DEBUG_BUNDLE", "always"),
    ("IMAGE_PULL_POLICY", "Always"),
    ("IMAGE_PULL_SECRETS", "one, two"),
    ("PRIORITY_CLASS", "meeting-bot"),
    ("RUNTIME_CLASS", "gvisor"),
    ("NODE_SELECTOR", "pool=bots,kubernetes.io/arch=amd64"),
    ("JOB_TTL_SECONDS", "3600"),
    ("TERMINATION_GRACE_SECONDS", "120"),
    ("MAX_RECORDING_DURATION_MINUTES", "60"),
    ("LOBBY_TIMEOUT_MINUTES", "5"),
    ("DEFAULT_BOT_NAME", "costs $(HOME) $5"),
    ("FIRESTORE_EMULATOR_HOST", "emulator:8787"),
];

async fn spec(command: RunCommand) -> LaunchSpec {
    LaunchSpec::new(&Site::new().await.claim("b4x2").await, command)
}

#[tokio::test]
async fn a_recording_job_with_the_defaults() {
    insta::assert_yaml_snapshot!(job(&jobs_config(&[]), &spec(RunCommand::Record).await, "launch"));
}

#[tokio::test]
async fn a_recording_job_with_every_setting() {
    insta::assert_yaml_snapshot!(job(&jobs_config(EVERYTHING), &spec(RunCommand::Record).await, "launch"));
}

/// Its probe, user, volumes and variables are those of the images of the reference contract.
#[tokio::test]
async fn a_recording_job_with_an_existing_image() {
    let settings = [
        ("MEETING_BOT_IMAGE", "registry/existing-meeting-bot:2"),
        ("SIDECAR_CONTRACT", "reference"),
        ("SIDECAR_CALLBACK_PORT", "8082"),
        ("LOBBY_TIMEOUT_MINUTES", "5"),
        ("ENCODE_CRF", "20"),
    ];
    insta::assert_yaml_snapshot!(job(&jobs_config(&settings), &spec(RunCommand::Record).await, "launch"));
}

#[tokio::test]
async fn a_finalizing_job_runs_no_browser() {
    insta::assert_yaml_snapshot!(job(&jobs_config(EVERYTHING), &spec(RunCommand::Finalize).await, "launch"));
}

/// An id that a backend chose need not fit into a label, and must not be expanded by the kubelet.
#[tokio::test]
async fn a_foreign_id_stays_whole_and_harmless() {
    let odd = "Ünïcode $(PATH) id with spaces and a length beyond what a label may have, which is sixty-three";
    let made = job(&jobs_config(&[]), &LaunchSpec::new(&Site::new().await.claim(odd).await, RunCommand::Record), "launch");
    let labels = made.metadata.labels.unwrap();
    assert!(labels.values().all(|value| value.len() <= 63 && value.is_ascii()), "{labels:?}");
    assert_eq!(made.metadata.annotations.unwrap()["meeting-bot/instance-id"], odd);
    let env = made.spec.unwrap().template.spec.unwrap().containers[0].env.clone().unwrap();
    let id = env.iter().find(|one| one.name == "BOT_INSTANCE_ID").unwrap().value.clone().unwrap();
    assert_eq!(id, odd.replace('$', "$$"));
}
