//! The list of every setting: its environment variable, its default and what it means. The one place that names them;
//! `controller settings` prints it, and [`crate::config`] reads by it.

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What an absent or empty value means; text in parentheses is derived.
    pub default: &'static str,
    /// For a person.
    pub what: &'static str,
}

const fn setting(name: &'static str, default: &'static str, what: &'static str) -> Setting {
    Setting { name, default, what }
}

/// Every setting, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    setting(
        "STORE_URL",
        "(firestore:$GCP_PROJECT_ID/$FIRESTORE_DATABASE)",
        "sqlite:/path/of/a/file or firestore:project[/database]",
    ),
    setting("GCP_PROJECT_ID", "", "Google Cloud project; needed where STORE_URL is not set"),
    setting("FIRESTORE_DATABASE", "(default)", "Firestore database id"),
    setting("RECORDINGS_URL", "(gs://$GCS_BUCKET)", "gs://bucket, s3://bucket or file:///folder"),
    setting("GCS_BUCKET", "", "bucket of the recordings; needed where RECORDINGS_URL is not set"),
    setting("LAUNCHER", "(process where STORE_URL is sqlite:, else kubernetes)", "process or kubernetes"),
    setting("MANAGER_IMAGE", "", "image of the manager; needed for LAUNCHER=kubernetes"),
    setting("MEETING_BOT_IMAGE", "", "image of the meeting-bot; needed for LAUNCHER=kubernetes"),
    setting("KUBERNETES_NAMESPACE", "default", "namespace of the jobs"),
    setting("JOB_SERVICE_ACCOUNT", "meeting-bot-job", "service account of the jobs"),
    setting("SCRATCH_STORAGE_SIZE", "50Gi", "size of a job's scratch volume"),
    setting("NODE_ENV", "development", "handed to a third-party meeting-bot image"),
    setting("GCP_DEFAULT_REGION", "us-central1", "handed to a third-party meeting-bot image"),
    setting("MANAGER_BIN", "(manager beside this program)", "the manager, for LAUNCHER=process"),
    setting("MEETING_BOT_BIN", "(meeting-bot beside this program)", "the meeting-bot, for LAUNCHER=process"),
    setting("RUNS_DIR", "(meeting-bot-runs in the system's temporary folder)", "where local runs live, for LAUNCHER=process"),
    setting("MAX_LIVE_BOTS", "4", "bots at once on this machine, for LAUNCHER=process"),
    setting("CONTROLLER_ID", "($HOSTNAME or controller)", "names this controller in claims"),
    setting("POLL_INTERVAL", "10", "seconds between polls when no hint comes"),
    setting("REAP_INTERVAL_SECONDS", "10", "seconds between looks at what runs"),
    setting("SWEEP_INTERVAL_SECONDS", "600", "seconds between full sweeps"),
    setting("MAX_CLAIM_PER_POLL", "10", "instances claimed in one pass at most"),
    setting("CLAIM_TTL_SECONDS", "600", "a claim unchanged for this long is taken over"),
    setting("JOIN_LEAD_SECONDS", "120", "a bot is sent this long before the start"),
    setting("MAX_LATE_SECONDS", "900", "a meeting this much past its start is missed"),
    setting("HTTP_LISTEN", "0.0.0.0:8080", "address of health, readiness and metrics; port 0 picks one"),
    setting("HTTP_PORT_FILE", "", "file to write the address to that is really listened on"),
    setting("MEETINGS_COLLECTION_PATH", "meetings", "where meetings are discovered"),
    setting("MEETINGS_QUERY_MODE", "collection", "collection or collection_group"),
    setting("MEETING_STATUS_FIELD", "status", "a meeting's status field"),
    setting("MEETING_STATUS_VALUES", "scheduled", "statuses that want a bot, separated by commas"),
    setting("MEETING_CANCEL_VALUES", "cancelled", "statuses that cancel one, separated by commas"),
    setting("MEETING_BOT_INSTANCE_FIELD", "bot_instance_id", "a meeting's field with its instance"),
    setting("BOT_INSTANCE_STATUS_FIELD", "status", "an instance's status field"),
    setting("BOT_INSTANCE_QUEUED_VALUE", "queued", "stored status"),
    setting("BOT_INSTANCE_PROCESSING_VALUE", "processing", "stored status"),
    setting("BOT_INSTANCE_DONE_VALUE", "done", "stored status"),
    setting("BOT_INSTANCE_FAILED_VALUE", "failed", "stored status"),
    setting("DONE_WHEN", "files_verified", "files_verified or job_created"),
    setting("MAX_RECORDING_DURATION_MINUTES", "600", "a bot leaves after this long"),
    setting("MEETING_INACTIVITY_MINUTES", "15", "a bot leaves after this much silence"),
    setting("INACTIVITY_DETECTION_START_DELAY_MINUTES", "5", "silence counts from this long after admission"),
    setting("LOBBY_TIMEOUT_MINUTES", "", "a bot gives up in the waiting room after this long"),
    setting("EVERYONE_LEFT_SECONDS", "", "a bot leaves when alone for this long"),
    setting("NO_ONE_JOINED_SECONDS", "", "a bot leaves when nobody came for this long"),
    setting("DEFAULT_BOT_NAME", "", "name in the call where the document gives none"),
    setting("RAW_RETENTION_HOURS", "72", "`manager retain` deletes raw segments this long after done"),
    setting("RUN_LEASE_TTL_SECONDS", "60", "a run whose lease is unchanged for this long is suspect"),
    setting("MAX_UNLEASED_SECONDS", "", "a bot that cannot reach the store leaves after this long; unset is never"),
    setting("PRACTICE_ROOM_ORIGIN", "", "origin of practice rooms, handed to the meeting-bot alone"),
    setting("LOG_FORMAT", "text", "text or json"),
    setting("LOG_LEVEL", "info", "as RUST_LOG"),
];

/// The reference, one setting a line.
pub fn reference() -> String {
    SETTINGS
        .iter()
        .map(|setting| {
            let default = if setting.default.is_empty() { "-" } else { setting.default };
            format!("{}\n    {}\n    default: {default}\n", setting.name, setting.what)
        })
        .collect()
}
