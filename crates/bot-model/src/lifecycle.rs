//! The life of a bot instance as one total function: [`next`] answers every (phase, step) and refuses the illegal.
//!
//! ```text
//! queued ─claim→ claimed ─launch→ launched ─join→ joining ─→ waiting_room ─→ recording ─→ finalizing ─→ done
//!    ↑─release──────┘        ↑──────relaunch (new attempt)──────┴──────────────┴────────────┘
//!    ↑─release (no room for its pod)─┘ launched
//! any phase that is not terminal ─→ failed | cancelled | missed, each with its own conditions below
//! ```

use serde::{Deserialize, Serialize};

/// Where an instance stands. The stored four-valued status follows from it ([`Phase::status`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for a controller.
    Queued,
    /// A controller holds the claim and is about to launch.
    Claimed,
    /// The Job (or local run) exists.
    Launched,
    /// A manager holds the run lease and the bot is opening the call.
    Joining,
    /// Asked to join; waiting for the host.
    WaitingRoom,
    /// In the call, recording.
    Recording,
    /// Out of the call; files are being made and verified.
    Finalizing,
    /// The files are in the bucket and were verified.
    Done,
    /// Ended without verified files; the outcome says why and what is left.
    Failed,
    /// Cancelled before anything was recorded.
    Cancelled,
    /// Its time passed before a bot could be sent.
    Missed,
}

/// The status that backends know (names and defaults of the original data model; the values are configurable).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waiting.
    Queued,
    /// Anything between claim and end.
    Processing,
    /// Succeeded.
    Done,
    /// Ended otherwise.
    Failed,
}

/// When the stored status becomes `done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoneWhen {
    /// When the files were verified.
    #[default]
    FilesVerified,
    /// When the Job was created: the literal meaning of the original, for backends that rely on it.
    JobCreated,
}

/// What can happen to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A controller takes it, to launch.
    Claim,
    /// The controller gives it back unlaunched, or takes back a launch for which there was no room.
    Release,
    /// The Job exists.
    Launch,
    /// A manager holds the run lease and starts the bot.
    Join,
    /// The bot asked to join.
    EnterWaitingRoom,
    /// The bot was admitted.
    Record,
    /// The bot is out of the call and there is something to finalize.
    Finalize,
    /// The files are verified.
    Complete,
    /// It ended without verified files.
    Fail,
    /// It was cancelled.
    Cancel,
    /// Its time passed.
    Miss,
    /// The old run has ended on evidence; a new attempt is due.
    Relaunch,
}

/// A step that the phase does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{step:?} is not possible in phase {phase:?}")]
pub struct IllegalStep {
    /// Where the instance stood.
    pub phase: Phase,
    /// What was asked.
    pub step: Step,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 11] = [
        Phase::Queued,
        Phase::Claimed,
        Phase::Launched,
        Phase::Joining,
        Phase::WaitingRoom,
        Phase::Recording,
        Phase::Finalizing,
        Phase::Done,
        Phase::Failed,
        Phase::Cancelled,
        Phase::Missed,
    ];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Launched => "launched",
            Self::Joining => "joining",
            Self::WaitingRoom => "waiting_room",
            Self::Recording => "recording",
            Self::Finalizing => "finalizing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
        }
    }

    /// The phase of a stored name; `None` for a name that we do not know and must not act on.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }

    /// True once nothing can change any more (invariant I5).
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::Missed)
    }

    /// True while a manager owns the run.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Joining | Self::WaitingRoom | Self::Recording | Self::Finalizing)
    }

    /// The status that backends see.
    pub fn status(self, done_when: DoneWhen) -> Status {
        match self {
            Self::Queued => Status::Queued,
            Self::Claimed => Status::Processing,
            Self::Launched | Self::Joining | Self::WaitingRoom | Self::Recording | Self::Finalizing => match done_when {
                DoneWhen::FilesVerified => Status::Processing,
                DoneWhen::JobCreated => Status::Done,
            },
            Self::Done => Status::Done,
            Self::Failed | Self::Cancelled | Self::Missed => Status::Failed,
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The phase that follows, or why there is none. Total: every phase and every step has an answer.
pub fn next(phase: Phase, step: Step) -> Result<Phase, IllegalStep> {
    use Phase::{Cancelled, Claimed, Done, Failed, Finalizing, Joining, Launched, Missed, Queued, Recording, WaitingRoom};
    let refused = Err(IllegalStep { phase, step });
    match (phase, step) {
        // Terminal is final.
        (Done | Failed | Cancelled | Missed, _) => refused,
        // Taking over an expired claim is a claim, too.
        (Queued | Claimed, Step::Claim) => Ok(Claimed),
        (Claimed | Launched, Step::Release) => Ok(Queued),
        // A launch found already running (answer lost, controller restarted) is the same launch.
        (Claimed | Launched, Step::Launch) => Ok(Launched),
        // A restarted bot of the same run joins again: its recording goes on as another part.
        (Launched | Joining | WaitingRoom | Recording, Step::Join) => Ok(Joining),
        // The manager may bind before the controller has written `launched`.
        (Claimed, Step::Join) => Ok(Joining),
        (Joining | WaitingRoom, Step::EnterWaitingRoom) => Ok(WaitingRoom),
        (Joining | WaitingRoom | Recording, Step::Record) => Ok(Recording),
        // A finalize run goes there straight from its claim: it joins no call.
        (Claimed | Launched | Joining | WaitingRoom | Recording | Finalizing, Step::Finalize) => Ok(Finalizing),
        (Finalizing, Step::Complete) => Ok(Done),
        (_, Step::Fail) => Ok(Failed),
        // Once something is recorded, a cancelled meeting is still finalized: nothing recorded is thrown away.
        // (While finalizing: a run looked into the bucket for what the document did not know of, and there was nothing.)
        (Queued | Claimed | Launched | Joining | WaitingRoom | Finalizing, Step::Cancel) => Ok(Cancelled),
        (Queued | Claimed, Step::Miss) => Ok(Missed),
        (Launched | Joining | WaitingRoom | Recording | Finalizing, Step::Relaunch) => Ok(Claimed),
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 12] = [
        Step::Claim,
        Step::Release,
        Step::Launch,
        Step::Join,
        Step::EnterWaitingRoom,
        Step::Record,
        Step::Finalize,
        Step::Complete,
        Step::Fail,
        Step::Cancel,
        Step::Miss,
        Step::Relaunch,
    ];

    #[test]
    fn terminal_is_final() {
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
            for step in STEPS {
                assert!(next(phase, step).is_err(), "{phase:?} {step:?}");
            }
        }
    }

    #[test]
    fn done_is_reached_from_finalizing_only() {
        for phase in Phase::ALL {
            for step in STEPS {
                if next(phase, step) == Ok(Phase::Done) {
                    assert_eq!((phase, step), (Phase::Finalizing, Step::Complete));
                }
            }
        }
    }

    #[test]
    fn what_is_recorded_cannot_be_cancelled_or_missed_away() {
        assert!(next(Phase::Recording, Step::Cancel).is_err());
        for phase in [Phase::Recording, Phase::Finalizing] {
            assert!(next(phase, Step::Miss).is_err());
        }
    }

    #[test]
    fn every_live_phase_can_fail() {
        for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()) {
            assert_eq!(next(phase, Step::Fail), Ok(Phase::Failed));
        }
    }

    #[test]
    fn names_round_trip() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_name(phase.as_str()), Some(phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
        assert_eq!(Phase::from_name("paused"), None);
    }
}
