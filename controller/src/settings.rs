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
    setting("FINALIZE_SERVICE_ACCOUNT", "($JOB_SERVICE_ACCOUNT)", "service account of jobs that make files and run no browser"),
    setting("SCRATCH_STORAGE_SIZE", "50Gi", "size of a job's scratch volume"),
    setting("SCRATCH_STORAGE_CLASS", "", "storage class of a job's scratch volume; unset is the node's own disk"),
    setting("MANAGER_CPU", "250m", "CPU that a manager requests; there is no limit"),
    setting("MANAGER_MEMORY", "512Mi", "memory that a manager requests and may have"),
    setting("MEETING_BOT_CPU", "1", "CPU that a meeting-bot requests; there is no limit"),
    setting("MEETING_BOT_MEMORY", "3Gi", "memory that a meeting-bot requests and may have"),
    setting(
        "MEETING_BOT_SECCOMP_PROFILE",
        "",
        "a Localhost profile on the nodes in which Chromium's sandbox works; unset runs it without",
    ),
    setting(
        "MANAGER_ENV_SECRET",
        "",
        "a Secret whose keys are variables of the manager, such as the credentials of an S3 bucket",
    ),
    setting("IMAGE_PULL_POLICY", "IfNotPresent", "Always, IfNotPresent or Never"),
    setting("IMAGE_PULL_SECRETS", "", "Secrets with registry credentials, separated by commas"),
    setting("PRIORITY_CLASS", "", "priority class of the jobs' pods"),
    setting("RUNTIME_CLASS", "", "runtime class of the jobs' pods, such as gvisor"),
    setting("NODE_SELECTOR", "", "labels of the jobs' nodes, such as pool=bots"),
    setting("JOB_TTL_SECONDS", "86400", "a finished job is removed after this long"),
    setting("TERMINATION_GRACE_SECONDS", "300", "what a job's pod gets from SIGTERM to SIGKILL"),
    setting(
        "LEGACY_MANAGER_ENV",
        "false",
        "true tells MANAGER_IMAGE the call in its environment, address included: only for an image that does not read the store",
    ),
    setting(
        "SIDECAR_CONTRACT",
        "(auto)",
        "what MEETING_BOT_IMAGE speaks: v1 (ours), reference (the existing images, whose pod differs), or auto: the manager finds out",
    ),
    setting("SIDECAR_CALLBACK_PORT", "(8081)", "loopback port of the pod on which a manager hears an existing image's reports"),
    setting("CAPTURE_SIZE", "(1280x720)", "the recorded picture, width by height; see docs/benchmarks.md for what it costs"),
    setting("CAPTURE_FRAMES_PER_SECOND", "(15)", "frames a second of the recorded picture"),
    setting("CAPTURE_CRF", "(26)", "x264 constant rate factor of the recorded picture; smaller is better and larger"),
    setting(
        "LIVE_PICTURE_SECONDS",
        "(10)",
        "seconds between two live pictures of a bot's page (live.jpg beside the recording, gone when it has left); 0 takes none",
    ),
    setting("ENCODE_PRESET", "(veryfast)", "x264 preset for a picture that cannot be copied (VP8 or VP9 of an existing image)"),
    setting("ENCODE_CRF", "(23)", "x264 constant rate factor for the same"),
    setting("ENCODE_AUDIO_KBPS", "(96)", "AAC bit rate for sound that cannot be copied"),
    setting("NODE_ENV", "development", "handed to a third-party meeting-bot image"),
    setting("GCP_DEFAULT_REGION", "us-central1", "handed to a third-party meeting-bot image"),
    setting("MANAGER_BIN", "(manager beside this program)", "the manager, for LAUNCHER=process"),
    setting("MEETING_BOT_BIN", "(meeting-bot beside this program)", "the meeting-bot, for LAUNCHER=process"),
    setting("RUNS_DIR", "(meeting-bot-runs in the system's temporary folder)", "where local runs live, for LAUNCHER=process"),
    setting(
        "MAX_LIVE_BOTS",
        "(4 with LAUNCHER=process, 500 with kubernetes)",
        "bots at once: on this machine, or in the namespace",
    ),
    setting(
        "MACHINE_ADMISSION",
        "measured",
        "measured: no further bot is started where memory or CPU of this machine would not do, for LAUNCHER=process; off: MAX_LIVE_BOTS alone",
    ),
    setting("MAX_ACTIVE_BOTS", "", "bots at once over the whole deployment, whatever its replicas; unset is without a limit"),
    setting("MAX_ACTIVE_BOTS_PER_ORGANIZATION", "", "bots at once of an organization without limits of its own"),
    setting("MAX_BOTS_PER_DAY_PER_ORGANIZATION", "", "bots begun in a day of an organization without limits of its own"),
    setting("ORGANIZATION_TIME_ZONE", "UTC", "whose midnight begins a day of an organization without a time zone of its own"),
    setting("QUEUE_AGEING_SECONDS", "300", "what 100 of priority are worth in waiting"),
    setting("MAX_PENDING_BOTS", "20", "with this many pods that wait for a node, no more are made until they start"),
    setting("CONTROLLER_ID", "($HOSTNAME or controller)", "names this controller in claims"),
    setting("POLL_INTERVAL", "10", "seconds between polls when no hint comes"),
    setting("LISTEN", "true", "false polls alone, without the store's hints"),
    setting(
        "REAP_INTERVAL_SECONDS",
        "20",
        "seconds between looks at every live bot; the end of a run is acted on at once, and what store or cluster did not answer is tried again after 5 s",
    ),
    setting(
        "SWEEP_INTERVAL_SECONDS",
        "(600; 60 with LISTEN=false)",
        "seconds between full sweeps, which alone find a meeting without a start where nothing is listened to",
    ),
    setting("MAX_CLAIM_PER_POLL", "10", "instances claimed in one commit at most; more follow at once"),
    setting("CLAIM_TTL_SECONDS", "600", "a claim unchanged for this long is taken over"),
    setting("JOIN_LEAD_SECONDS", "120", "a bot is sent this long before the start"),
    setting("MAX_LATE_SECONDS", "900", "a meeting this much past its start is missed"),
    setting(
        "HTTP_LISTEN",
        "0.0.0.0:8080",
        "address of health, readiness and metrics, and of the API unless API_LISTEN names another; port 0 picks one",
    ),
    setting("API_LISTEN", "", "an address of its own for the API, such as 0.0.0.0:8090"),
    setting(
        "API_ACCESS",
        "keys",
        "keys: each request needs a key (controller keys create); danger_open: nobody is asked, on a loopback address alone",
    ),
    setting(
        "PORTAL_SECRET",
        "",
        "seals the portal's sessions, at least 32 characters, the same on every replica; absent: sessions end with the controller",
    ),
    setting(
        "OIDC_ISSUER",
        "",
        "an OpenID Connect issuer whose bearer tokens the API takes beside keys, such as https://accounts.google.com",
    ),
    setting("OIDC_AUDIENCE", "", "aud of those tokens; several are separated by commas"),
    setting("OIDC_JWKS_URL", "", "where the issuer's keys are; unset is what its discovery document says"),
    setting(
        "OIDC_ROLES",
        "",
        "what values of claims grant: value=role pairs, role viewer, operator or admin, with :* for every organization, such as ops=operator,root=admin:*",
    ),
    setting(
        "OIDC_ROLE_CLAIMS",
        "(roles,groups)",
        "claims whose values are looked up in OIDC_ROLES, such as realm_access.roles, or email (a verified one)",
    ),
    setting(
        "OIDC_ORGANIZATIONS_CLAIM",
        "(organizations)",
        "the claim with the organizations that a token sees, a text or a list",
    ),
    setting("IAP_AUDIENCE", "", "audience of Identity-Aware Proxy's assertion, where the API is behind it; roles by OIDC_ROLES"),
    setting("IAP_JWKS_URL", "(Google's)", "where Identity-Aware Proxy's keys are"),
    setting(
        "API_RATE_PER_KEY",
        "3000",
        "requests a minute of one key or person, bursts of 10 s at once; 0 is without limit; counted in each replica",
    ),
    setting("API_RATE_PER_ADDRESS", "6000", "the same of one address (of one /64 of IPv6)"),
    setting(
        "API_TRUSTED_PROXIES",
        "0",
        "how many proxies stand in front and add to X-Forwarded-For: without it their address is everybody's",
    ),
    setting("API_CORS_ORIGINS", "", "origins whose pages may read the API's answers, separated by commas"),
    setting(
        "API_LINK_SECRET",
        "(one at random in each process)",
        "signs links to files in a folder (file:// in RECORDINGS_URL); at least 32 characters, for links that outlive a restart",
    ),
    setting(
        "WEBHOOK_ALLOW",
        "",
        "receivers of webhooks besides the public internet: networks and host names, such as 10.1.0.0/16,hooks.internal",
    ),
    setting(
        "TRUSTED_CA_FILE",
        "",
        "certificates (PEM) of private authorities that are believed, besides the system's, by whatever the controller asks over https: issuers of tokens, services of alerts, receivers of webhooks, and the API that a command names; a changed file counts without a restart",
    ),
    setting("WEBHOOK_CA_FILE", "", "the same for receivers of webhooks alone, beside TRUSTED_CA_FILE"),
    setting(
        "WEBHOOK_SECRETS_KEY",
        "",
        "seals the secrets of webhooks in the store, at least 32 characters, the same on every replica; several are separated by commas: the first seals, all open; absent: they are stored in clear",
    ),
    setting("ALERT_SNS_TOPIC_ARN", "", "a topic of AWS SNS that is told when all bots are busy"),
    setting("ALERT_PUBSUB_TOPIC", "", "a topic of Google Pub/Sub that is told the same: projects/my-project/topics/alerts"),
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
    setting("HOST_TIMEOUT_MINUTES", "", "a bot gives up this long after asking to join a call that its host has not started"),
    setting("JOIN_TIMEOUT_SECONDS", "", "a bot gives up when it found no way to ask to join within this long"),
    setting("RECONNECT_TIMEOUT_SECONDS", "", "a bot leaves when the platform's client tries to reconnect for this long"),
    setting(
        "OTHER_BOT_NAMES",
        "",
        "names of other bots, separated by commas, * for anything: they do not count as people; replaces the built-in list",
    ),
    setting("DEFAULT_BOT_NAME", "", "name in the call where the document gives none"),
    setting("GREETING", "", "posted to each call's chat once; unset posts nothing"),
    setting(
        "READ_CHAT",
        "false",
        "true opens the chat's pane in the call, so that timeline.json has its messages; it is in the picture",
    ),
    setting("DEBUG_BUNDLE", "failures", "off, failures or always: when a session leaves screenshot, redacted texts and events"),
    setting("BROWSER_PROFILE_DIR", "", "a Chromium profile folder whose identity the bots take, for LAUNCHER=process"),
    setting("BROWSER_STORAGE_STATE", "", "a storage state file whose identity the bots take, for LAUNCHER=process"),
    setting(
        "BOT_IDENTITY_SECRET",
        "",
        "a Secret whose key storage-state.json is the identity that the bots take, for LAUNCHER=kubernetes",
    ),
    setting("RAW_RETENTION_HOURS", "72", "`manager retain` deletes raw segments this long after done"),
    setting("RUN_LEASE_TTL_SECONDS", "60", "a run whose lease is unchanged for this long is suspect"),
    setting("MAX_UNLEASED_SECONDS", "", "a bot that cannot reach the store leaves after this long; unset is never"),
    setting(
        "OTHER_PLATFORMS",
        "",
        "name=host pairs separated by commas, such as jitsi=meet.jit.si: platforms that are not built in, each with a signal pack of its name in SIGNAL_PACKS_DIR",
    ),
    setting("PRACTICE_ROOM_ORIGIN", "", "origin of practice rooms, handed to the meeting-bot alone"),
    setting("LOG_FORMAT", "text", "text or json"),
    setting("LOG_LEVEL", "info", "as RUST_LOG"),
];

/// The reference page: `docs/configuration.md`.
pub fn page() -> String {
    let row = |setting: &Setting| {
        let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        format!("| `{}` | {} | {default} |\n", setting.name, setting.what.replace('|', "\\|"))
    };
    let rows: String = SETTINGS.iter().map(row).collect();
    format!(
        "# Configuration\n\nEvery setting of the controller is an environment variable; an empty one counts as absent. What a run needs is handed on \
         to it. This page is made by `controller settings --markdown`; a test compares the two.\n\n| variable | means | default |\n|---|---|---|\n{rows}"
    )
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let written = std::fs::read_to_string(file).unwrap();
        assert!(written == page(), "docs/configuration.md is old: controller settings --markdown > docs/configuration.md");
    }

    #[test]
    fn no_setting_is_listed_twice() {
        let mut names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
