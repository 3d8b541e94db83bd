use super::*;

fn read(needs: Needs, pairs: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    Config::read(needs, |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

const LOCAL: [(&str, &str); 4] = [
    ("STORE_URL", "sqlite:/tmp/x.sqlite"),
    ("RECORDINGS_URL", "file:///tmp/r"),
    ("MANAGER_BIN", "/bin/true"),
    ("MEETING_BOT_BIN", "/bin/true"),
];

#[test]
fn every_variable_of_the_original_is_listed_with_its_default() {
    let original = [
        ("GCP_PROJECT_ID", ""),
        ("GCS_BUCKET", ""),
        ("MANAGER_IMAGE", ""),
        ("MEETING_BOT_IMAGE", ""),
        ("FIRESTORE_DATABASE", "(default)"),
        ("KUBERNETES_NAMESPACE", "default"),
        ("JOB_SERVICE_ACCOUNT", "meeting-bot-job"),
        ("POLL_INTERVAL", "10"),
        ("MAX_CLAIM_PER_POLL", "10"),
        ("CLAIM_TTL_SECONDS", "600"),
        ("MEETINGS_COLLECTION_PATH", "meetings"),
        ("MEETINGS_QUERY_MODE", "collection"),
        ("MEETING_STATUS_FIELD", "status"),
        ("MEETING_STATUS_VALUES", "scheduled"),
        ("MEETING_BOT_INSTANCE_FIELD", "bot_instance_id"),
        ("BOT_INSTANCE_STATUS_FIELD", "status"),
        ("BOT_INSTANCE_QUEUED_VALUE", "queued"),
        ("BOT_INSTANCE_PROCESSING_VALUE", "processing"),
        ("BOT_INSTANCE_DONE_VALUE", "done"),
        ("BOT_INSTANCE_FAILED_VALUE", "failed"),
        ("NODE_ENV", "development"),
        ("MAX_RECORDING_DURATION_MINUTES", "600"),
        ("MEETING_INACTIVITY_MINUTES", "15"),
        ("INACTIVITY_DETECTION_START_DELAY_MINUTES", "5"),
        ("GCP_DEFAULT_REGION", "us-central1"),
        ("SCRATCH_STORAGE_SIZE", "50Gi"),
        ("CONTROLLER_ID", "($HOSTNAME or controller)"),
    ];
    for (name, default) in original {
        let found = SETTINGS.iter().find(|setting| setting.name == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(found.default, default, "{name}");
    }
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = read(Needs::Everything, &LOCAL).unwrap();
    assert_eq!(config.controller_id, "controller");
    assert_eq!(config.pace.poll, Duration::from_secs(10));
    assert_eq!(config.pace.claim_ttl, Duration::from_secs(600));
    assert_eq!((config.pace.max_claims, config.runs.max_live), (10, 4));
    assert_eq!(config.pace.window, StartWindow::default());
    assert_eq!(config.pace.max_recording, Duration::from_secs(36_000));
    assert_eq!(config.http_listen.port(), 8080);
}

#[test]
fn the_store_and_the_bucket_follow_from_the_original_s_variables() {
    let config = read(
        Needs::Everything,
        &[
            ("GCP_PROJECT_ID", "p"),
            ("GCS_BUCKET", "b"),
            ("LAUNCHER", "process"),
            ("MANAGER_BIN", "/bin/true"),
            ("MEETING_BOT_BIN", "/bin/true"),
        ],
    )
    .unwrap();
    assert_eq!(config.store_url, "firestore:p/(default)");
    assert_eq!(config.runs.recordings_url, "gs://b");
}

#[test]
fn all_problems_are_reported_at_once_with_variable_value_and_wish() {
    let problems = read(
        Needs::Everything,
        &[
            ("STORE_URL", "mysql:x"),
            ("RECORDINGS_URL", "/folder"),
            ("LAUNCHER", "cloud"),
            ("POLL_INTERVAL", "soon"),
            ("MAX_CLAIM_PER_POLL", "0"),
            ("MEETINGS_QUERY_MODE", "all"),
            ("HTTP_LISTEN", "8080"),
            ("PRACTICE_ROOM_ORIGIN", "http://h/path"),
            ("MANAGER_BIN", "/nowhere/manager"),
            ("MEETING_BOT_BIN", "/bin/true"),
            ("LOBBY_TIMEOUT_MINUTES", "long"),
            ("CONTROLLER_ID", "a/b"),
            ("GREETING", "two\nlines"),
            ("CAPTURE_SIZE", "big"),
            ("CAPTURE_FRAMES_PER_SECOND", "100"),
            ("DEBUG_BUNDLE", "sometimes"),
            ("BROWSER_STORAGE_STATE", "state.json"),
        ],
    )
    .unwrap_err();
    let mut named: Vec<&str> = problems.iter().map(|problem| problem.variable.as_str()).collect();
    named.sort_unstable();
    let expected = [
        "BROWSER_STORAGE_STATE",
        "CAPTURE_FRAMES_PER_SECOND",
        "CAPTURE_SIZE",
        "CONTROLLER_ID",
        "DEBUG_BUNDLE",
        "GREETING",
        "HTTP_LISTEN",
        "LAUNCHER",
        "LOBBY_TIMEOUT_MINUTES",
        "MANAGER_BIN",
        "MAX_CLAIM_PER_POLL",
        "MEETINGS_QUERY_MODE",
        "POLL_INTERVAL",
        "PRACTICE_ROOM_ORIGIN",
        "RECORDINGS_URL",
        "STORE_URL",
    ];
    assert_eq!(named, expected, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.got == "soon" && problem.wants.contains("whole number")));
}

const CLUSTER: [(&str, &str); 4] =
    [("GCP_PROJECT_ID", "p"), ("GCS_BUCKET", "b"), ("MANAGER_IMAGE", "r/manager:1"), ("MEETING_BOT_IMAGE", "r/bot:1")];

#[test]
fn the_original_s_four_variables_are_enough_for_jobs() {
    let config = read(Needs::Everything, &CLUSTER).unwrap();
    let jobs = config.kubernetes.unwrap();
    assert_eq!((jobs.namespace.as_str(), jobs.record_account.as_str()), ("default", "meeting-bot-job"));
    assert_eq!((jobs.finalize_account.as_str(), jobs.scratch_size.as_str()), ("meeting-bot-job", "50Gi"));
    assert_eq!((jobs.max_live, jobs.legacy_manager, jobs.scratch_class), (500, false, None));
    assert_eq!(jobs.manager_variables["RECORDINGS_URL"], "gs://b");
}

#[test]
fn what_kubernetes_would_refuse_is_refused_here() {
    let wrong = [
        ("KUBERNETES_NAMESPACE", "Bots"),
        ("SCRATCH_STORAGE_SIZE", "50GB"),
        ("IMAGE_PULL_POLICY", "Sometimes"),
        ("NODE_SELECTOR", "pool"),
        ("MEETING_BOT_SECCOMP_PROFILE", "../x"),
        ("LEGACY_MANAGER_ENV", "yes"),
        ("JOB_TTL_SECONDS", "1"),
    ];
    let problems = read(Needs::Everything, &[&CLUSTER[..2], &wrong[..]].concat()).unwrap_err();
    let mut named: Vec<&str> = problems.iter().map(|problem| problem.variable.as_str()).collect();
    named.sort_unstable();
    let mut expected: Vec<&str> = wrong.iter().map(|(name, _)| *name).chain(["MANAGER_IMAGE", "MEETING_BOT_IMAGE"]).collect();
    expected.sort_unstable();
    assert_eq!(named, expected, "{problems:?}");
}

#[test]
fn jobs_cannot_reach_a_file() {
    let problems = read(Needs::Everything, &[&LOCAL[..], &CLUSTER[2..], &[("LAUNCHER", "kubernetes")]].concat()).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.variable.as_str()).collect::<Vec<_>>(), ["LAUNCHER"]);
}

#[test]
fn scheduling_asks_for_the_store_alone() {
    assert!(read(Needs::Store, &[("STORE_URL", "sqlite:/tmp/x.sqlite")]).is_ok());
    let problems = read(Needs::Store, &[]).unwrap_err();
    assert_eq!(problems[0].variable, "GCP_PROJECT_ID");
}

#[test]
fn the_manager_gets_the_naming_and_nothing_it_was_not_told() {
    let config =
        read(Needs::Everything, &[&LOCAL[..], &[("MEETING_STATUS_VALUES", "a,b"), ("AWS_SECRET_ACCESS_KEY", "s")]].concat())
            .unwrap();
    assert_eq!(config.runs.handed_on["MEETING_STATUS_VALUES"], "a,b");
    assert_eq!(config.runs.handed_on["STORE_URL"], "sqlite:/tmp/x.sqlite");
    assert!(!config.runs.handed_on.contains_key("AWS_SECRET_ACCESS_KEY"));
    assert!(!config.runs.handed_on.contains_key("LOBBY_TIMEOUT_MINUTES"));
}

#[test]
fn an_api_without_keys_is_refused_wherever_others_can_reach_it() {
    let with = |more: &[(&str, &str)]| read(Needs::Everything, &[&LOCAL[..], more].concat());
    let api = with(&[]).unwrap().api;
    assert_eq!((api.access, api.listen), (Access::Keys, None));
    assert!(with(&[("API_LINK_SECRET", "short")]).is_err());
    let (long, keys) = ("k".repeat(32), format!("{0}, {0}", "k".repeat(32)));
    for (keys, seals) in [("", false), (&long, true), (&keys, true)] {
        assert_eq!(with(&[("WEBHOOK_SECRETS_KEY", keys)]).unwrap().webhook_safe.seals(), seals, "{keys}");
    }
    let problems = with(&[("WEBHOOK_SECRETS_KEY", &format!("{long},CANARY"))]).unwrap_err();
    assert!(problems[0].variable == "WEBHOOK_SECRETS_KEY" && !problems[0].got.contains("CANARY"), "{problems:?}");
    let open = ("API_ACCESS", "danger_open");
    for reachable in [
        &[open][..],
        &[open, ("HTTP_LISTEN", "0.0.0.0:0")],
        &[open, ("HTTP_LISTEN", "[::]:0")],
        &[open, ("HTTP_LISTEN", "127.0.0.1:0"), ("API_LISTEN", "10.0.0.1:8090")],
    ] {
        assert_eq!(with(reachable).unwrap_err()[0].variable, "API_ACCESS", "{reachable:?}");
    }
    for local in [&[open, ("HTTP_LISTEN", "127.0.0.1:0")][..], &[open, ("API_LISTEN", "[::1]:0")]] {
        assert_eq!(with(local).unwrap().api.access, Access::DangerOpen, "{local:?}");
    }
    assert_eq!(with(&[("API_ACCESS", "off")]).unwrap_err()[0].variable, "API_ACCESS");
    assert_eq!(with(&[("API_LISTEN", "everywhere")]).unwrap_err()[0].variable, "API_LISTEN");
}
