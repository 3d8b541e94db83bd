//! Names and advice in plain words. A colour never says anything that a word beside it does not.

use bot_model::lifecycle::Phase;
use bot_model::outcome::{Attribution, OutcomeClass, OutcomeKind};

/// A phase as people say it.
pub(crate) fn phase(name: &str) -> &str {
    match name {
        "queued" => "Queued",
        "claimed" => "Starting",
        "launched" => "Launching",
        "joining" => "Joining",
        "waiting_room" => "In the lobby",
        "recording" => "Recording",
        "finalizing" => "Saving",
        "done" => "Done",
        "failed" => "Failed",
        "cancelled" => "Cancelled",
        "missed" => "Missed",
        other => other,
    }
}

/// Which of the few colours a phase has.
pub(crate) fn tone(name: &str) -> &'static str {
    match name {
        "recording" => "live",
        "queued" | "claimed" | "launched" | "joining" | "finalizing" => "busy",
        "waiting_room" => "wait",
        "done" => "good",
        "failed" | "missed" => "bad",
        _ => "calm",
    }
}

/// True for a phase in which nothing happens any more.
pub(crate) fn is_over(name: &str) -> bool {
    Phase::from_name(name).is_some_and(Phase::is_terminal)
}

/// The kind of an outcome by its name.
pub(crate) fn outcome(name: &str) -> Option<OutcomeKind> {
    OutcomeKind::ALL.iter().copied().find(|kind| kind.as_str() == name)
}

/// A stored name as words.
pub(crate) fn plain(name: &str) -> String {
    let text = name.replace(['_', '.'], " ");
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A platform as it calls itself.
pub(crate) fn platform(name: &str) -> String {
    match name {
        "meet" => "Google Meet".into(),
        "teams" => "Microsoft Teams".into(),
        "zoom" => "Zoom".into(),
        other => plain(other),
    }
}

/// Whose doing an outcome was.
pub(crate) fn whose(attribution: Attribution) -> &'static str {
    match attribution {
        Attribution::Ours => "Ours: the recorder or the machine it runs on",
        Attribution::Host => "The meeting's host",
        Attribution::Platform => "The meeting platform",
        Attribution::Configuration => "The request or the settings",
        Attribution::Participant => "The people in the call",
    }
}

/// The same in one word, for a chart.
pub(crate) fn whose_short(attribution: Attribution) -> &'static str {
    match attribution {
        Attribution::Ours => "Recorder",
        Attribution::Host => "Host",
        Attribution::Platform => "Platform",
        Attribution::Configuration => "Request or settings",
        Attribution::Participant => "People in the call",
    }
}

/// What a bot waits for.
pub(crate) fn holds_back(reason: &str) -> &'static str {
    match reason {
        "capacity" => "Every place is taken",
        "machine" => "This machine has no room for another bot",
        "cluster" => "The cluster has no room for another bot",
        "organization_at_once" => "The organization has as many bots at work as it may",
        "organization_per_day" => "The organization has had its bots for today",
        _ => "No place is free",
    }
}

/// What a class of outcome says of the recording.
pub(crate) fn class(class: OutcomeClass) -> &'static str {
    match class {
        OutcomeClass::Completed => "Recorded",
        OutcomeClass::NotAdmitted => "Not let in",
        OutcomeClass::Failed => "Broke",
        OutcomeClass::NotAttempted => "Not tried",
    }
}

/// The colour of a class.
pub(crate) fn class_tone(class: OutcomeClass) -> &'static str {
    match class {
        OutcomeClass::Completed => "good",
        OutcomeClass::NotAdmitted => "wait",
        OutcomeClass::Failed => "bad",
        OutcomeClass::NotAttempted => "calm",
    }
}

/// What to do about an outcome; nothing where it is as it should be.
pub(crate) fn advice(kind: OutcomeKind) -> &'static str {
    use OutcomeKind as K;
    match kind {
        K::HostEnded | K::EveryoneLeft | K::Ended | K::AskedToLeave => "",
        K::NoOneJoined => "Check that the meeting took place at this time and at this address.",
        K::Silence => "If people were only quiet, raise MEETING_INACTIVITY_MINUTES.",
        K::MaxDuration => "If calls run longer, raise MAX_RECORDING_DURATION_MINUTES.",
        K::Removed => "Tell the participants beforehand that the call is recorded and by whom, then send another bot.",
        K::LobbyTimeout => {
            "Ask the host to admit the bot by its name, or to let guests in without the lobby; then send another bot."
        }
        K::NotAdmitted => "Ask the host whether the bot was seen in the lobby; then send another bot.",
        K::Denied => "Ask the host to admit the bot by its name; then send another bot.",
        K::HostNeverStarted => "Check the meeting's time with the host. HOST_TIMEOUT_MINUTES says how long a bot waits.",
        K::SignInRequired => {
            "Let guests in on the meeting's settings, or give the bots an account (BOT_IDENTITY_SECRET or BROWSER_STORAGE_STATE)."
        }
        K::RegistrationRequired => {
            "Turn registration off for this meeting, or register and schedule the address that you are given."
        }
        K::Captcha => "Send the bots as a signed-in account, or from another network address. Captchas are never solved.",
        K::BlockedByPlatform => "Send the bots as a signed-in account, or from another network address.",
        K::MeetingNotFound => "Check the address, and schedule the meeting again.",
        K::WrongPasscode => "Schedule the meeting again with the whole address, its passcode included.",
        K::EndedBeforeAdmission => "Nothing was missed after the bot arrived. Ask the host to admit the bot earlier.",
        K::JoinPageNotRecognised => {
            "The platform has changed its pages: mount a newer signal pack (SIGNAL_PACKS_DIR), and look at the debug bundle."
        }
        K::PageUnresponsive | K::CouldNotConnect => {
            "Check that bots can reach the platform from their network; then send another bot."
        }
        K::IdentityUnusable => "Renew the bots' account: sign in again and replace the stored state.",
        K::ConnectionLost => "Check the network of the bots. What was recorded until then is kept.",
        K::BrowserCrashed | K::CaptureFailed | K::SidecarLost | K::NoRecording => {
            "Send another bot. If it happens again, look at the log and the debug bundle."
        }
        K::ManagerLost | K::Evicted | K::NodeLost => {
            "The machine took the bot away. Send another bot; what was recorded is kept."
        }
        K::LaunchFailed => "Run controller doctor: it says what is missing.",
        K::NoCapacity => {
            "Raise MAX_LIVE_BOTS where the machine allows it, or add machines; the forecast shows when it gets tight."
        }
        K::OrganizationLimit => "The organization's own limit was used up. Raise it, or spread its meetings over the day.",
        K::QueueTimeout => {
            "It waited longer in the queue than it was to. Raise MAX_ACTIVE_BOTS where there is room, or give it a higher priority."
        }
        K::ImagePullFailed => "Check the names of the images and the right to pull them.",
        K::OutOfMemory => "Give the bots more memory; docs/sizing.md says how much a bot needs.",
        K::RunDeadline => "Look at the log for what took so long. What was recorded is kept.",
        K::DiskFull => "Free or add disk on the bots' machines. What was uploaded until then is kept.",
        K::FinalizeFailed => "The raw segments are kept. manager finalize makes the files; the log says what stopped it.",
        K::UploadFailed => "Check that the bucket can be written. The raw data is kept.",
        K::InvalidDocument => "The meeting cannot be used as it is written; correct it and schedule it again.",
        K::Cancelled => "Somebody cancelled it. Schedule it again if that was a mistake.",
        K::Missed => {
            "No bot could be sent in time: look whether the controller ran and whether places were free, then schedule it again."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_did_not_go_as_it_should_has_advice() {
        for kind in OutcomeKind::ALL {
            assert!(!advice(*kind).is_empty() || kind.class() == OutcomeClass::Completed, "{kind}");
        }
        assert!(Phase::ALL.iter().all(|one| phase(one.as_str()) != one.as_str()));
    }
}
