//! How a job of an existing image ended, told from what it reported and from what it recorded. Pure.
//!
//! An image reports once an attempt, at its end: the list of states that the attempt reached, then, for some failures, a log entry.
//! Source: the images' own code, as reference original-systems.md section 1.9 lays it out.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;

/// One report of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// The states that an attempt reached.
    Reached(Vec<Reached>),
    /// Why it did not go on.
    Because(Because),
}

/// A state of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    Processing,
    Joined,
    Finished,
    Failed,
}

impl Reached {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "processing" => Some(Self::Processing),
            "joined" => Some(Self::Joined),
            "finished" => Some(Self::Finished),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// A reason that the images know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    Denied,
    LobbyTimeout,
    SignInRequired,
    Restricted,
    Crashed,
    Unresponsive,
}

impl Because {
    pub(super) fn parse(category: &str, sub_category: &str) -> Option<Self> {
        match (category, sub_category) {
            ("WaitingAtLobby", "UserDeniedRequest") => Some(Self::Denied),
            ("WaitingAtLobby", _) => Some(Self::LobbyTimeout),
            ("UnsupportedMeeting", "RequiresSignIn") => Some(Self::SignInRequired),
            ("UnsupportedMeeting", _) => Some(Self::Restricted),
            ("Platform", "BotCrashed") => Some(Self::Crashed),
            ("Platform", _) => Some(Self::Unresponsive),
            _ => None,
        }
    }
}

/// How long a recording has to be, of what it may be, to have been ended by the limit: the images stop 12 s late at most.
const AT_THE_LIMIT: Duration = Duration::from_secs(20);

/// How the job ended. `recorded` is how long it recorded, if it wrote anything.
pub(super) fn verdict(reports: &[Report], recorded: Option<Duration>, longest: Duration) -> OutcomeKind {
    let reason = last_attempt(reports).iter().find_map(|report| match report {
        Report::Because(because) => Some(*because),
        Report::Reached(_) => None,
    });
    let has = |state| reports.iter().any(|report| matches!(report, Report::Reached(states) if states.contains(&state)));
    match recorded {
        Some(length) if length + AT_THE_LIMIT >= longest => OutcomeKind::MaxDuration,
        // It was in the call, broke, and was not let in again; what it recorded until then is kept.
        Some(_) if reason.is_some() || (is_known(reports) && !has(Reached::Joined)) => OutcomeKind::SidecarLost,
        // An upload of its own that failed, which is how it is to be set up, is reported like a crash: the file decides.
        Some(_) => OutcomeKind::Ended,
        None => unrecorded(reason, has(Reached::Joined)),
    }
}

fn unrecorded(reason: Option<Because>, has_joined: bool) -> OutcomeKind {
    match reason {
        Some(Because::Denied) => OutcomeKind::Denied,
        Some(Because::LobbyTimeout) => OutcomeKind::LobbyTimeout,
        Some(Because::SignInRequired) => OutcomeKind::SignInRequired,
        Some(Because::Restricted) => OutcomeKind::BlockedByPlatform,
        // Not as its kinds BrowserCrashed and PageUnresponsive: the image has tried again by itself, and they would ask for more.
        Some(Because::Crashed | Because::Unresponsive) => OutcomeKind::SidecarLost,
        None if has_joined => OutcomeKind::NoRecording,
        None => OutcomeKind::NotAdmitted,
    }
}

/// From the last list on; one attempt may report two lists (its own upload failed after the call had ended).
fn last_attempt(reports: &[Report]) -> &[Report] {
    let last = reports.iter().rposition(|report| matches!(report, Report::Reached(_))).unwrap_or_default();
    &reports[last..]
}

fn is_known(reports: &[Report]) -> bool {
    reports.iter().any(|report| matches!(report, Report::Reached(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reached::{Failed, Finished, Joined, Processing};

    const LONGEST: Duration = Duration::from_secs(3600);

    fn judged(reports: &[Report], recorded_secs: Option<u64>) -> OutcomeKind {
        verdict(reports, recorded_secs.map(Duration::from_secs), LONGEST)
    }

    fn list(states: &[Reached]) -> Report {
        Report::Reached(states.to_vec())
    }

    #[test]
    fn a_failed_upload_of_its_own_is_a_normal_end_where_there_is_a_file() {
        assert_eq!(judged(&[list(&[Processing, Joined, Failed])], Some(60)), OutcomeKind::Ended);
        assert_eq!(judged(&[list(&[Processing, Joined, Finished])], Some(60)), OutcomeKind::Ended);
        let two = [list(&[Processing, Joined, Finished]), list(&[Processing, Joined, Failed])];
        assert_eq!(judged(&two, Some(60)), OutcomeKind::Ended);
    }

    #[test]
    fn joined_without_a_file_is_no_recording() {
        assert_eq!(judged(&[list(&[Processing, Joined, Failed])], None), OutcomeKind::NoRecording);
        assert_eq!(judged(&[list(&[Processing, Joined, Finished])], None), OutcomeKind::NoRecording);
    }

    #[test]
    fn a_reason_that_was_logged_is_the_outcome() {
        let cases = [
            ("WaitingAtLobby", "UserDeniedRequest", OutcomeKind::Denied),
            ("WaitingAtLobby", "Timeout", OutcomeKind::LobbyTimeout),
            ("WaitingAtLobby", "StuckInLobby", OutcomeKind::LobbyTimeout),
            ("UnsupportedMeeting", "RequiresSignIn", OutcomeKind::SignInRequired),
            ("UnsupportedMeeting", "RestrictedMeeting", OutcomeKind::BlockedByPlatform),
            ("Platform", "BotCrashed", OutcomeKind::SidecarLost),
        ];
        for (category, sub_category, wanted) in cases {
            let because = Because::parse(category, sub_category).unwrap();
            assert_eq!(judged(&[list(&[Processing, Failed]), Report::Because(because)], None), wanted, "{sub_category}");
        }
    }

    #[test]
    fn of_three_attempts_the_last_one_s_reason_counts() {
        let failed = || list(&[Processing, Failed]);
        let reports = [failed(), Report::Because(Because::LobbyTimeout), failed(), Report::Because(Because::Denied)];
        assert_eq!(judged(&reports, None), OutcomeKind::Denied);
        let reports = [failed(), Report::Because(Because::LobbyTimeout), failed()];
        assert_eq!(judged(&reports, None), OutcomeKind::NotAdmitted);
    }

    #[test]
    fn a_retry_that_was_denied_keeps_what_the_first_attempt_recorded() {
        let reports = [list(&[Processing, Joined, Failed]), list(&[Processing, Failed]), Report::Because(Because::Denied)];
        assert_eq!(judged(&reports, Some(60)).class(), bot_model::outcome::OutcomeClass::Failed);
    }

    #[test]
    fn without_a_word_the_file_alone_decides() {
        assert_eq!(judged(&[], Some(60)), OutcomeKind::Ended);
        assert_eq!(judged(&[], None), OutcomeKind::NotAdmitted);
    }

    #[test]
    fn a_recording_of_the_longest_length_was_ended_by_the_limit() {
        assert_eq!(judged(&[], Some(3590)), OutcomeKind::MaxDuration);
    }
}
