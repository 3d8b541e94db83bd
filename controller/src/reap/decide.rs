//! The reaper's decision, as one pure function: what is known of an instance and its run, and what to do about it.
//!
//! An expired lease alone is never a reason to launch: only the evidence that the old run has ended is. What was recorded is
//! never thrown away: once there are segments, every path leads to files or to a failure that keeps the raw data.

use std::time::Duration;

use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::OutcomeKind;
use bot_store::guard::Guard;

use crate::launch::{RunState, TroubleKind};

/// Launches that may join a call, over the life of an instance.
pub const MAX_ATTEMPTS: u32 = 6;
/// Runs of every kind, over the life of an instance: bounds a manager that dies before it can count.
pub const MAX_RUNS: u32 = 24;
/// Tries to finalize; past it the raw segments are kept and the instance fails. With [`FINALIZE_BACKOFF`] these are three hours: a
/// bucket may be away that long, and files that nobody can make do not keep a machine busy.
pub const MAX_FINALIZE: u32 = 16;
const BACKOFF_STEPS: u32 = 5;
/// Before the nth launch that follows a failure.
const BACKOFF: [Duration; BACKOFF_STEPS as usize] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(80), Duration::from_secs(300)];
/// Before each further finalize run, from where [`BACKOFF`] ends. Shorter than a finished Job is kept.
const FINALIZE_BACKOFF: Duration = Duration::from_secs(900);
/// A launch that waits this long for capacity is reported.
pub const START_LIMIT: Duration = Duration::from_secs(180);
/// How long a run that ended as settled may be ahead of what we read of it.
const READ_LAG: Duration = Duration::from_secs(10);
/// How long a run found beside a bare claim is left to the controller that launched it.
const ADOPT_AFTER: Duration = Duration::from_secs(3);
/// Beyond lease and leaving limit, before an invisible bot counts as gone.
const INVISIBLE_MARGIN: Duration = Duration::from_secs(120);

/// What is known of the run of the instance's present attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It was seen.
    Seen(RunState),
    /// This launcher would see it, and there is none: it never began, or is gone.
    None,
    /// It may run where this launcher cannot look.
    Invisible,
    /// A run of an earlier attempt is still alive.
    OlderAlive,
}

/// Everything that the decision rests on. Durations are by the observer's own monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Where the instance stands.
    pub phase: Phase,
    /// The present attempt.
    pub attempt: u32,
    /// The present attempt's run.
    pub evidence: Evidence,
    /// How long claim, run lease and phase are unchanged.
    pub unchanged_for: Duration,
    /// How long the evidence is unchanged.
    pub evidence_for: Duration,
    /// The claim has run out, or its owner is silent.
    pub is_claim_stale: bool,
    /// The call can still go on, and nobody cancelled it.
    pub is_meeting_on: bool,
    /// Its time to be joined for the first time has not passed.
    pub is_joinable: bool,
    /// There are segments in the bucket, or on a disk that the next attempt can reach.
    pub is_recorded: bool,
    /// A run was about to join, and may have lost the store before it could say what it carried out.
    pub is_unlooked: bool,
    /// The call is over for the bot by the document: its outcome is known, or the list of segments is frozen.
    pub is_recording_over: bool,
    /// It shall not join, or shall leave.
    pub is_cancelled: bool,
    /// How often finalizing was begun.
    pub finalize_attempts: u32,
    /// TTL of the run lease.
    pub lease_ttl: Duration,
    /// After this long without a lease a bot has left by itself.
    pub max_unleased: Option<Duration>,
    /// What is wrong with the run, beyond its exit code.
    pub trouble: Option<TroubleKind>,
}

impl Observation {
    /// True where only a look into the bucket can tell that there is nothing.
    fn may_be_recorded(&self) -> bool {
        self.is_recorded || self.is_unlooked || self.phase == Phase::Recording
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing now.
    Wait,
    /// Nothing now, and a person should know.
    Alert(&'static str),
    /// Write that the run found belongs to the instance.
    Adopt,
    /// Nothing was launched under the claim: claim it anew and launch.
    TakeOver,
    /// A new attempt that joins the call again.
    Relaunch(&'static str),
    /// A new attempt that makes files of what there is.
    Finalize(&'static str),
    /// End it, with why; `stop` ends what waits for capacity.
    Settle {
        /// `Fail`, `Cancel` or `Miss`.
        step: Step,
        /// The outcome.
        kind: OutcomeKind,
        /// For a person.
        why: &'static str,
    },
    /// Its run has no pod for want of room: it waits in the queue, and not there.
    Withdraw,
    /// The instance has ended and so has its run: forget the run.
    RemoveRun,
}

/// Decides.
pub fn decide(seen: &Observation) -> Action {
    if seen.phase.is_terminal() {
        return terminal(seen);
    }
    match seen.evidence {
        Evidence::OlderAlive => Action::Alert("older_run_alive"),
        Evidence::Invisible => invisible(seen),
        Evidence::Seen(RunState::Pending) => pending(seen),
        Evidence::Seen(RunState::Running) => running(seen),
        Evidence::Seen(state) => match seen.phase {
            // The launch was decided, and its run is over before anybody wrote `launched`: first say that it was.
            Phase::Queued => Action::Wait,
            Phase::Claimed => adopt(seen),
            _ => ended(seen, state),
        },
        Evidence::None => match seen.phase {
            Phase::Queued => Action::Wait,
            Phase::Claimed => claimed_without_run(seen),
            _ => ended(seen, RunState::Lost),
        },
    }
}

fn terminal(seen: &Observation) -> Action {
    match seen.evidence {
        Evidence::Seen(state) if state.is_over() => Action::RemoveRun,
        _ => Action::Wait,
    }
}

fn adopt(seen: &Observation) -> Action {
    if seen.unchanged_for >= ADOPT_AFTER { Action::Adopt } else { Action::Wait }
}

fn claimed_without_run(seen: &Observation) -> Action {
    match (seen.is_claim_stale, seen.may_be_recorded()) {
        (false, _) => Action::Wait,
        // What an earlier attempt recorded is finalized in any case.
        (true, true) => Action::TakeOver,
        (true, false) if seen.is_cancelled => {
            Action::Settle { step: Step::Cancel, kind: OutcomeKind::Cancelled, why: "cancelled before a run was launched" }
        }
        (true, false) if !seen.is_joinable => {
            Action::Settle { step: Step::Miss, kind: OutcomeKind::Missed, why: "its claim ran out and its time has passed" }
        }
        (true, false) => Action::TakeOver,
    }
}

fn pending(seen: &Observation) -> Action {
    match seen.phase {
        Phase::Claimed => adopt(seen),
        _ if seen.is_cancelled && !seen.may_be_recorded() => {
            Action::Settle { step: Step::Cancel, kind: OutcomeKind::Cancelled, why: "cancelled before its run had started" }
        }
        // It may have started there, for all that anybody can tell; once Kubernetes gives the pod up, another one is sent.
        _ if seen.is_meeting_on && seen.trouble == Some(TroubleKind::NodeLost) => Action::Alert(TroubleKind::NodeLost.as_str()),
        _ if !seen.is_joinable && !seen.may_be_recorded() && !is_starting(seen) => never_started(seen.trouble),
        // A run that makes files, or brings a bot back into its call, stays the first in line.
        Phase::Launched if seen.trouble == Some(TroubleKind::Quota) && !seen.may_be_recorded() => Action::Withdraw,
        _ if seen.evidence_for >= START_LIMIT => Action::Alert(seen.trouble.map_or("pending_too_long", TroubleKind::as_str)),
        _ => Action::Wait,
    }
}

/// It was launched at the last moment, having waited for its place, and its pod is on the way: people are still in the call.
fn is_starting(seen: &Observation) -> bool {
    let is_stuck = !matches!(seen.trouble, None | Some(TroubleKind::NoPod));
    seen.is_meeting_on && !seen.is_cancelled && !is_stuck && seen.evidence_for < START_LIMIT
}

/// What kept it from starting until it was too late to join.
fn never_started(trouble: Option<TroubleKind>) -> Action {
    let (kind, why) = match trouble {
        None | Some(TroubleKind::Unschedulable | TroubleKind::Quota) => {
            (OutcomeKind::NoCapacity, "no capacity until it was too late")
        }
        Some(TroubleKind::NodeLost) => (OutcomeKind::NodeLost, "its node was lost before the run had started"),
        Some(TroubleKind::ImagePull) => (OutcomeKind::ImagePullFailed, "an image could not be had until it was too late"),
        Some(_) => (OutcomeKind::LaunchFailed, "the run had not started until it was too late"),
    };
    Action::Settle { step: Step::Fail, kind, why }
}

/// The outcome of a run that is over and not tried again.
fn lost_kind(trouble: Option<TroubleKind>) -> OutcomeKind {
    match trouble {
        Some(TroubleKind::OutOfMemory) => OutcomeKind::OutOfMemory,
        Some(TroubleKind::Evicted | TroubleKind::Preempted) => OutcomeKind::Evicted,
        Some(TroubleKind::NodeLost) => OutcomeKind::NodeLost,
        Some(TroubleKind::Deadline) => OutcomeKind::RunDeadline,
        Some(TroubleKind::ImagePull) => OutcomeKind::ImagePullFailed,
        _ => OutcomeKind::ManagerLost,
    }
}

fn running(seen: &Observation) -> Action {
    match seen.phase {
        Phase::Claimed => adopt(seen),
        // Nobody can tell whether its bot is in the call: it is replaced when Kubernetes says that the pod is over.
        _ if matches!(seen.trouble, Some(TroubleKind::NodeLost | TroubleKind::SecondPod)) => {
            Action::Alert(seen.trouble.map_or("node_lost", TroubleKind::as_str))
        }
        phase if phase.is_running() && seen.unchanged_for > seen.lease_ttl && !Guard::Evidence.stands() => crashed(seen),
        // Alive but not renewing: it is cut off from the store and goes on recording. Two bots would be worse.
        phase if phase.is_running() && seen.unchanged_for > seen.lease_ttl + Duration::from_secs(300) => {
            Action::Alert("lease_silent")
        }
        Phase::Launched if seen.unchanged_for > START_LIMIT => Action::Alert("not_bound"),
        _ => Action::Wait,
    }
}

/// Where nothing can be seen, only the bot's own limit tells that it has left.
fn invisible(seen: &Observation) -> Action {
    if !matches!(seen.phase, Phase::Launched) && !seen.phase.is_running() {
        return Action::Wait;
    }
    if seen.unchanged_for <= seen.lease_ttl {
        return Action::Wait;
    }
    match seen.max_unleased {
        Some(limit) if seen.unchanged_for > seen.lease_ttl + limit + INVISIBLE_MARGIN => crashed(seen),
        _ => Action::Alert("run_not_visible"),
    }
}

fn ended(seen: &Observation, state: RunState) -> Action {
    let code = match state {
        RunState::Ended { code: Some(code) } => ExitCode::from_code(code),
        _ => None,
    };
    match code {
        // It says that a terminal state is committed: read again before disbelieving it.
        Some(ExitCode::Settled) if seen.evidence_for < READ_LAG => Action::Wait,
        Some(ExitCode::BadConfiguration) => {
            broken(seen, "the manager or the meeting-bot refused its configuration; see the run's logs")
        }
        Some(ExitCode::MissingDependency) => broken(seen, "something is missing on this machine; `controller doctor` says what"),
        // Another run owns the instance: as long as that one renews, there is nothing to do here. Of one that nobody has bound yet, it came
        // while the instance was back in the queue: its launch had been given up, and the next one found it.
        Some(ExitCode::Fenced) if seen.phase != Phase::Launched && seen.unchanged_for < seen.lease_ttl => Action::Wait,
        // Everything is in the bucket, and the bot was sent out of a call that may go on: then it joins again.
        Some(ExitCode::FinalizeNeeded) if seen.phase != Phase::Recording => finalize(seen, "raw_saved"),
        Some(ExitCode::RefusedBeforeJoin) if !seen.is_recorded => refused(seen),
        _ => crashed(seen),
    }
}

fn broken(seen: &Observation, why: &'static str) -> Action {
    let kind = if seen.is_recorded { OutcomeKind::FinalizeFailed } else { OutcomeKind::LaunchFailed };
    Action::Settle { step: Step::Fail, kind, why }
}

fn refused(seen: &Observation) -> Action {
    let is_last = seen.attempt >= MAX_ATTEMPTS;
    if seen.may_be_recorded() && (is_last || seen.is_cancelled || !seen.is_meeting_on) {
        return finalize(seen, "refused_before_join");
    }
    if seen.is_cancelled || !seen.is_meeting_on {
        return given_up(seen);
    }
    if is_last {
        return Action::Settle {
            step: Step::Fail,
            kind: OutcomeKind::LaunchFailed,
            why: "refused before joining, time and again",
        };
    }
    after_backoff(seen, Action::Relaunch("refused_before_join"))
}

/// The run is over, without having settled anything.
fn crashed(seen: &Observation) -> Action {
    let finalizes = seen.phase == Phase::Finalizing || seen.is_recording_over;
    let reason = seen.trouble.map_or("run_lost", TroubleKind::as_str);
    match (finalizes || seen.is_cancelled || !seen.is_meeting_on, seen.may_be_recorded()) {
        // It may have recorded without the store's hearing of it: a run that joins nothing looks into the bucket.
        (true, true) => finalize(seen, reason),
        (true, false) => given_up(seen),
        (false, _) if seen.attempt < MAX_ATTEMPTS => after_backoff(seen, Action::Relaunch(reason)),
        (false, true) => finalize(seen, "attempts_used_up"),
        (false, false) => Action::Settle {
            step: Step::Fail,
            kind: lost_kind(seen.trouble),
            why: "the run was lost and the attempts are used up",
        },
    }
}

fn finalize(seen: &Observation, reason: &'static str) -> Action {
    if seen.finalize_attempts >= MAX_FINALIZE || seen.attempt >= MAX_RUNS {
        let why = "finalizing failed time and again; the raw segments are kept";
        return Action::Settle { step: Step::Fail, kind: OutcomeKind::FinalizeFailed, why };
    }
    // A run that died before it could count itself is counted by its attempt.
    let tried = seen.finalize_attempts.max(seen.attempt.min(BACKOFF_STEPS));
    let pause = if tried > BACKOFF_STEPS { FINALIZE_BACKOFF } else { backoff(tried) };
    if seen.evidence_for >= pause { Action::Finalize(reason) } else { Action::Wait }
}

/// How the call ended for the bot, where its run was lost and what it recorded is finalized: what a person is told if there is
/// nothing. `None` where the document knows better, or where it was seen in the call and nothing else is known.
pub fn lost_outcome(seen: &Observation) -> Option<OutcomeKind> {
    match (lost_kind(seen.trouble), seen.phase) {
        (OutcomeKind::ManagerLost, Phase::Recording | Phase::Finalizing) => None,
        (_, phase) if seen.is_cancelled && phase != Phase::Recording => Some(OutcomeKind::AskedToLeave),
        (kind, _) => Some(kind),
    }
}

/// Nothing recorded, and nothing more to try.
fn given_up(seen: &Observation) -> Action {
    let before_recording = matches!(seen.phase, Phase::Launched | Phase::Joining | Phase::WaitingRoom);
    if seen.is_cancelled && before_recording {
        return Action::Settle {
            step: Step::Cancel,
            kind: OutcomeKind::Cancelled,
            why: "cancelled before anything was recorded",
        };
    }
    let kind = match (lost_kind(seen.trouble), seen.phase) {
        (OutcomeKind::ManagerLost, Phase::Recording | Phase::Finalizing) => OutcomeKind::NoRecording,
        (kind, _) => kind,
    };
    Action::Settle { step: Step::Fail, kind, why: "the run was lost, and the meeting is over" }
}

fn after_backoff(seen: &Observation, action: Action) -> Action {
    if seen.evidence_for >= backoff(seen.attempt) { action } else { Action::Wait }
}

/// How long to wait before the launch that follows attempt `attempt`.
pub fn backoff(attempt: u32) -> Duration {
    let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(BACKOFF.len() - 1);
    BACKOFF[index]
}

#[cfg(test)]
mod tests;
