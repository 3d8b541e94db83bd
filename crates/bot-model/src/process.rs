//! Names of the environment variables that one of our processes sets for another. Values are derived ids and validated
//! settings only: nothing of a document, and never the meeting's address, goes through an environment.

/// Id of the `bot_instances` document; set for the manager.
pub const BOT_INSTANCE_ID: &str = "BOT_INSTANCE_ID";
/// The attempt, from 1; set for the manager.
pub const ATTEMPT: &str = "ATTEMPT";
/// Identifies the pod or the local run, `[a-z0-9]{1,32}` ([`crate::segment::is_run_label`]); set for the manager.
pub const RUN_ID: &str = "RUN_ID";
/// Where the store is: `sqlite:{path}` or `firestore:{project}[/{database}]`.
pub const STORE_URL: &str = "STORE_URL";
/// Where the files go: `gs://{bucket}`, `s3://{bucket}` or `file:///{folder}`.
pub const RECORDINGS_URL: &str = "RECORDINGS_URL";
/// Where the manager finds its meeting-bot, such as `http://127.0.0.1:3000`.
pub const MEETING_BOT_API_URL: &str = "MEETING_BOT_API_URL";
/// Folder of the run, shared by manager and meeting-bot; removed after the terminal commit.
pub const SCRATCH_DIR: &str = "SCRATCH_DIR";
/// Seconds from SIGTERM to SIGKILL, where what lies in [`SCRATCH_DIR`] is lost with the run; absent where it outlives it.
pub const TERMINATION_GRACE_SECONDS: &str = "TERMINATION_GRACE_SECONDS";
/// Earlier runs of the same instance whose scratch lies on this machine: a JSON array of [`crate::scratch::EarlierRun`]. Absent where
/// scratch dies with its run. An array and no list of folders: a value that began with a run's folder would mark the process
/// as one of that run, to be ended with it.
pub const EARLIER_RUNS: &str = "EARLIER_RUNS";
/// Origin of practice rooms, for the meeting-bot alone; without it a `practice:` address is refused.
pub const PRACTICE_ROOM_ORIGIN: &str = "PRACTICE_ROOM_ORIGIN";
/// TTL of the run lease in seconds; renewals and self-fencing keep the default's proportions.
pub const RUN_LEASE_TTL_SECONDS: &str = "RUN_LEASE_TTL_SECONDS";
/// Seconds that an unleased manager stays in the call; unset means without limit.
pub const MAX_UNLEASED_SECONDS: &str = "MAX_UNLEASED_SECONDS";
/// Minutes from admission to leaving.
pub const MAX_RECORDING_DURATION_MINUTES: &str = "MAX_RECORDING_DURATION_MINUTES";
/// Minutes of silence after which the bot leaves.
pub const MEETING_INACTIVITY_MINUTES: &str = "MEETING_INACTIVITY_MINUTES";
/// Minutes from admission until silence counts.
pub const INACTIVITY_DETECTION_START_DELAY_MINUTES: &str = "INACTIVITY_DETECTION_START_DELAY_MINUTES";
/// Minutes in the waiting room after which the bot gives up.
pub const LOBBY_TIMEOUT_MINUTES: &str = "LOBBY_TIMEOUT_MINUTES";
/// Minutes that the bot waits for a host who has not started the call.
pub const HOST_TIMEOUT_MINUTES: &str = "HOST_TIMEOUT_MINUTES";
/// Seconds from opening the call's page to asking to join.
pub const JOIN_TIMEOUT_SECONDS: &str = "JOIN_TIMEOUT_SECONDS";
/// Seconds that the platform's client may try to get its connection back.
pub const RECONNECT_TIMEOUT_SECONDS: &str = "RECONNECT_TIMEOUT_SECONDS";
/// Names of other bots, separated by commas, `*` for anything ([`crate::other_bots`]); they replace the default list.
pub const OTHER_BOT_NAMES: &str = "OTHER_BOT_NAMES";
/// Platforms that are not built in ([`crate::platform::OtherPlatforms`]); for controller, manager and meeting-bot alike.
pub const OTHER_PLATFORMS: &str = "OTHER_PLATFORMS";
/// Seconds alone, after somebody had been there, until the bot leaves.
pub const EVERYONE_LEFT_SECONDS: &str = "EVERYONE_LEFT_SECONDS";
/// Seconds alone from the start until the bot leaves.
pub const NO_ONE_JOINED_SECONDS: &str = "NO_ONE_JOINED_SECONDS";
/// Name shown where the document names none.
pub const DEFAULT_BOT_NAME: &str = "DEFAULT_BOT_NAME";
/// Posted to the chat of each call once; unset posts nothing.
pub const GREETING: &str = "GREETING";
/// `true` opens the chat's pane, for the meeting-bot.
pub const READ_CHAT: &str = "READ_CHAT";
/// When a session leaves a debug bundle, for the meeting-bot: `off`, `failures` or `always`.
pub const DEBUG_BUNDLE: &str = "DEBUG_BUNDLE";
/// A Chromium profile folder whose identity the meeting-bot takes; copied at each session's start, never written to.
pub const BROWSER_PROFILE_DIR: &str = "BROWSER_PROFILE_DIR";
/// A storage state file (cookies, local storage) whose identity the meeting-bot takes.
pub const BROWSER_STORAGE_STATE: &str = "BROWSER_STORAGE_STATE";
/// Hours that raw segments are kept after `done`.
pub const RAW_RETENTION_HOURS: &str = "RAW_RETENTION_HOURS";
/// What an absent [`RAW_RETENTION_HOURS`] means.
pub const DEFAULT_RAW_RETENTION_HOURS: u64 = 72;
/// What the meeting-bot speaks: `auto`, `v1` (ours) or `reference` (the existing images).
pub const SIDECAR_CONTRACT: &str = "SIDECAR_CONTRACT";
/// Loopback port on which the manager hears an existing image's reports.
pub const SIDECAR_CALLBACK_PORT: &str = "SIDECAR_CALLBACK_PORT";
/// The images' own default, in `AUTH_BASE_URL_V2`.
pub const DEFAULT_SIDECAR_CALLBACK_PORT: u16 = 8081;
/// Folder below which an existing image writes `{userId}/{file}`.
pub const TEMPVIDEO_DIR: &str = "TEMPVIDEO_DIR";
/// The same where the image does not know [`TEMPVIDEO_DIR`].
pub const STOCK_TEMPVIDEO_DIR: &str = "/usr/src/app/dist/_tempvideo";
/// x264 preset for a picture that cannot be copied.
pub const ENCODE_PRESET: &str = "ENCODE_PRESET";
/// x264 constant rate factor for the same.
pub const ENCODE_CRF: &str = "ENCODE_CRF";
/// AAC bit rate, in kbit/s, for sound that cannot be copied.
pub const ENCODE_AUDIO_KBPS: &str = "ENCODE_AUDIO_KBPS";
/// The recorded picture, such as `1280x720` ([`crate::session::CaptureSettings::parse_size`]).
pub const CAPTURE_SIZE: &str = "CAPTURE_SIZE";
/// Frames a second of the recorded picture.
pub const CAPTURE_FRAMES_PER_SECOND: &str = "CAPTURE_FRAMES_PER_SECOND";
/// x264 constant rate factor of the recorded picture.
pub const CAPTURE_CRF: &str = "CAPTURE_CRF";
/// Seconds between two live pictures; 0 takes none.
pub const LIVE_PICTURE_SECONDS: &str = "LIVE_PICTURE_SECONDS";
/// `json` or `text`.
pub const LOG_FORMAT: &str = "LOG_FORMAT";

/// Settings of the controller that it hands on to every manager unchanged, besides the naming of the store
/// ([`crate::configuration::NAMING_VARIABLES`]).
pub const HANDED_ON: [&str; 27] = [
    STORE_URL,
    RECORDINGS_URL,
    RUN_LEASE_TTL_SECONDS,
    MAX_UNLEASED_SECONDS,
    MAX_RECORDING_DURATION_MINUTES,
    MEETING_INACTIVITY_MINUTES,
    INACTIVITY_DETECTION_START_DELAY_MINUTES,
    LOBBY_TIMEOUT_MINUTES,
    EVERYONE_LEFT_SECONDS,
    NO_ONE_JOINED_SECONDS,
    HOST_TIMEOUT_MINUTES,
    JOIN_TIMEOUT_SECONDS,
    RECONNECT_TIMEOUT_SECONDS,
    OTHER_BOT_NAMES,
    OTHER_PLATFORMS,
    DEFAULT_BOT_NAME,
    GREETING,
    RAW_RETENTION_HOURS,
    SIDECAR_CONTRACT,
    SIDECAR_CALLBACK_PORT,
    ENCODE_PRESET,
    ENCODE_CRF,
    ENCODE_AUDIO_KBPS,
    CAPTURE_SIZE,
    CAPTURE_FRAMES_PER_SECOND,
    CAPTURE_CRF,
    LIVE_PICTURE_SECONDS,
];
