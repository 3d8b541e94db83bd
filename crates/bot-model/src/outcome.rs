//! Why a call ended, from a closed list, and whose doing it was.
//!
//! The list merges the outcomes that operators of comparable systems ask for; every value is reached by a test.

use serde::{Deserialize, Serialize};

/// Who has to act so that it goes better next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// This software or the machine it runs on.
    Ours,
    /// The meeting's host: did not come, did not admit, removed the bot, ended the call.
    Host,
    /// The meeting platform: a bot wall, a captcha, an outage.
    Platform,
    /// The meeting document or the deployment's settings.
    Configuration,
    /// The people in the call: they left, or were silent.
    Participant,
}

macro_rules! outcomes {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal, $attribution:ident, $class:ident, $message:literal; )*) => {
        /// How a call ended. Stored, counted in metrics and logged under its snake_case name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum OutcomeKind {
            $( $(#[$doc])* $variant, )*
        }

        impl OutcomeKind {
            /// Every kind, in declaration order; the source of metric label sets.
            pub const ALL: &'static [OutcomeKind] = &[ $( OutcomeKind::$variant, )* ];

            /// The stored name.
            pub fn as_str(self) -> &'static str {
                match self { $( OutcomeKind::$variant => $name, )* }
            }

            /// Whose doing it was.
            pub fn attribution(self) -> Attribution {
                match self { $( OutcomeKind::$variant => Attribution::$attribution, )* }
            }

            /// What it says about the recording.
            pub fn class(self) -> OutcomeClass {
                match self { $( OutcomeKind::$variant => OutcomeClass::$class, )* }
            }

            /// One sentence for a person, without any data of the call.
            pub fn default_message(self) -> &'static str {
                match self { $( OutcomeKind::$variant => $message, )* }
            }
        }
    };
}

/// What an outcome says about the recording and about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeClass {
    /// The call ran its course; a recording is expected.
    Completed,
    /// The bot never got into the call; nothing was recorded and trying again would change nothing.
    NotAdmitted,
    /// Something broke. What was recorded until then is kept and published.
    Failed,
    /// Decided before a bot was in the call.
    NotAttempted,
}

outcomes! {
    /// The host ended the call for everyone.
    HostEnded = "host_ended", Host, Completed, "The host ended the call.";
    /// Everybody else left.
    EveryoneLeft = "everyone_left", Participant, Completed, "Everyone else left the call.";
    /// Nobody ever came.
    NoOneJoined = "no_one_joined", Participant, Completed, "Nobody else joined the call.";
    /// Nobody spoke for the configured time.
    Silence = "silence", Participant, Completed, "Nobody spoke for the configured time.";
    /// The configured maximum length was reached.
    MaxDuration = "max_duration", Configuration, Completed, "The configured maximum duration was reached.";
    /// The call ended for the bot, and a meeting-bot of the reference contract does not say how.
    Ended = "ended", Participant, Completed, "The call ended; this meeting-bot does not say how.";
    /// Somebody asked the bot to leave, by the API or a cancelled document.
    AskedToLeave = "asked_to_leave", Configuration, Completed, "The bot was asked to leave.";
    /// The host removed the bot from the call.
    Removed = "removed", Host, Completed, "The bot was removed from the call.";
    /// Nobody let the bot in within the limit.
    LobbyTimeout = "lobby_timeout", Host, NotAdmitted, "Nobody admitted the bot from the waiting room in time.";
    /// The bot did not get in, and a meeting-bot of the reference contract does not say why.
    NotAdmitted = "not_admitted", Host, NotAdmitted, "The bot did not get into the call; this meeting-bot does not say why.";
    /// The host refused the request to join.
    Denied = "denied", Host, NotAdmitted, "The host denied the request to join.";
    /// The host never started the call.
    HostNeverStarted = "host_never_started", Host, NotAdmitted, "The host did not start the call in time.";
    /// The platform asks for a signed-in account.
    SignInRequired = "sign_in_required", Configuration, NotAdmitted, "The call admits signed-in accounts only.";
    /// The platform asks for registration.
    RegistrationRequired = "registration_required", Configuration, NotAdmitted, "The call requires registration.";
    /// The platform shows a captcha. It is reported, never fought.
    Captcha = "captcha", Platform, NotAdmitted, "The platform asked for a captcha.";
    /// The platform refuses this client.
    BlockedByPlatform = "blocked_by_platform", Platform, NotAdmitted, "The platform refused this client.";
    /// No call exists at the address.
    MeetingNotFound = "meeting_not_found", Configuration, NotAdmitted, "No call exists at this address.";
    /// The passcode is missing or wrong.
    WrongPasscode = "wrong_passcode", Configuration, NotAdmitted, "The call's passcode is missing or wrong.";
    /// The call was over before the bot was admitted.
    EndedBeforeAdmission = "ended_before_admission", Host, NotAdmitted, "The call ended before the bot was admitted.";
    /// The page showed no known way to join.
    JoinPageNotRecognised = "join_page_not_recognised", Platform, Failed, "The platform's page showed no known way to join; a newer signal pack may be needed.";
    /// The page did not load or stopped answering.
    PageUnresponsive = "page_unresponsive", Platform, Failed, "The platform's page did not load or stopped answering.";
    /// The profile or storage state with which the bot was to join could not be used.
    IdentityUnusable = "identity_unusable", Configuration, Failed, "The signed-in identity could not be used.";
    /// The platform's client could not connect to the call.
    CouldNotConnect = "could_not_connect", Platform, Failed, "The platform's client could not connect to the call.";
    /// The connection to the call was lost while in it, and did not come back within the limit.
    ConnectionLost = "connection_lost", Ours, Failed, "The connection to the call was lost and did not come back.";
    /// The browser ended by itself.
    BrowserCrashed = "browser_crashed", Ours, Failed, "The browser crashed.";
    /// Picture or sound could not be captured.
    CaptureFailed = "capture_failed", Ours, Failed, "Picture or sound could not be captured.";
    /// The meeting-bot process vanished and could not be brought back.
    SidecarLost = "sidecar_lost", Ours, Failed, "The meeting-bot process was lost.";
    /// The manager process vanished and the attempts are used up.
    ManagerLost = "manager_lost", Ours, Failed, "The manager process was lost.";
    /// The process group or pod was told to end while recording.
    Evicted = "evicted", Ours, Failed, "The bot was told to stop by the machine that it ran on.";
    /// The launcher could not start the bot.
    LaunchFailed = "launch_failed", Ours, Failed, "The bot could not be started.";
    /// No capacity until it was too late to join.
    NoCapacity = "no_capacity", Ours, Failed, "No capacity was free in time.";
    /// The organization has as many bots as it may, at once or in a day, until it was too late to join.
    OrganizationLimit = "organization_limit", Configuration, NotAttempted, "The organization's own limit of bots was reached.";
    /// Its bot could not be sent within the time that its request allows.
    QueueTimeout = "queue_timeout", Ours, NotAttempted, "The bot could not be sent within the time that the request allows.";
    /// A container's image could not be had.
    ImagePullFailed = "image_pull_failed", Configuration, Failed, "An image of the bot could not be had.";
    /// A container needed more memory than it may have.
    OutOfMemory = "out_of_memory", Ours, Failed, "The bot ran out of memory.";
    /// The node that it ran on was lost.
    NodeLost = "node_lost", Ours, Failed, "The machine that the bot ran on was lost.";
    /// It took longer than any run may.
    RunDeadline = "run_deadline", Ours, Failed, "The bot's run exceeded its deadline.";
    /// The local disk filled up.
    DiskFull = "disk_full", Ours, Failed, "The local disk was full.";
    /// The bot was in the call but not one segment was captured.
    NoRecording = "no_recording", Ours, Failed, "The bot was in the call but nothing was captured.";
    /// The segments could not be made into files; the raw segments are kept.
    FinalizeFailed = "finalize_failed", Ours, Failed, "The recording could not be finalized; its raw segments are kept.";
    /// The files could not be written to the bucket; local or raw data is kept.
    UploadFailed = "upload_failed", Ours, Failed, "The files could not be uploaded; the recording's raw data is kept.";
    /// The document is unusable as it stands.
    InvalidDocument = "invalid_document", Configuration, NotAttempted, "The document is unusable.";
    /// The meeting was cancelled, or its document deleted, before the bot joined.
    Cancelled = "cancelled", Configuration, NotAttempted, "The meeting was cancelled.";
    /// Its time had passed before a bot could be sent.
    Missed = "missed", Ours, NotAttempted, "The meeting's time had passed before a bot could be sent.";
}

impl std::fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An outcome as it stands on a document: the kind, whose doing it was, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// From the closed list.
    pub kind: OutcomeKind,
    /// Derived from the kind; stored so that a reader of the document needs no table.
    pub attribution: Attribution,
    /// For a person. Holds no address, no passcode and no name.
    pub message: String,
}

impl Outcome {
    /// The outcome with its standard sentence.
    pub fn new(kind: OutcomeKind) -> Self {
        Self { kind, attribution: kind.attribution(), message: kind.default_message().to_owned() }
    }

    /// The outcome with a sentence that says more; `detail` must hold no secrets.
    pub fn with_detail(kind: OutcomeKind, detail: impl std::fmt::Display) -> Self {
        Self { kind, attribution: kind.attribution(), message: format!("{} {detail}", kind.default_message()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_are_the_serde_names() {
        for kind in OutcomeKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), serde_json::json!(kind.as_str()));
        }
    }
}
