//! The reaper's decision, as one pure function: what is known of an instance and its run, and what to do about it.
//!
//! An expired lease alone is never a reason to launch: only the evidence that the old run has ended is. What was recorded is
//! never thrown away: once there are segments, every path leads to files or to a failure that keeps the raw data.

use std::time::Duration;

use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::OutcomeKind;

use crate::launch::RunState;

/// Launches that may join a call, over the life of an instance.
pub const MAX_ATTEMPTS: u32 = 6;
/// Runs of every kind, over the life of an instance: bounds a manager that dies before it can count.
pub const MAX_RUNS: u32 = 12;
/// Tries to finalize; past it the raw segments are kept and the instance fails.
pub const MAX_FINALIZE: u32 = 5;
/// Before the nth launch that follows a failure.
const BACKOFF: [Duration; 5] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(80), Duration::from_secs(300)];
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
    match (seen.is_claim_stale, seen.is_recorded) {
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
        _ if !seen.is_joinable && !seen.is_recorded => {
            Action::Settle { step: Step::Fail, kind: OutcomeKind::NoCapacity, why: "no capacity until it was too late" }
        }
        _ if seen.evidence_for >= START_LIMIT => Action::Alert("pending_too_long"),
        _ => Action::Wait,
    }
}

fn running(seen: &Observation) -> Action {
    match seen.phase {
        Phase::Claimed => adopt(seen),
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
        // Another run owns the instance: as long as that one renews, there is nothing to do here.
        Some(ExitCode::Fenced) if seen.unchanged_for < seen.lease_ttl => Action::Wait,
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
    if seen.is_cancelled || !seen.is_meeting_on {
        return given_up(seen);
    }
    if seen.attempt >= MAX_ATTEMPTS {
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
    match (finalizes || seen.is_cancelled || !seen.is_meeting_on, seen.is_recorded) {
        (true, true) => finalize(seen, "run_lost"),
        // Finalizing without a segment in the bucket: whatever there was is in no reach any more.
        (true, false) => given_up(seen),
        (false, _) if seen.attempt < MAX_ATTEMPTS => after_backoff(seen, Action::Relaunch("run_lost")),
        (false, true) => finalize(seen, "attempts_used_up"),
        (false, false) => Action::Settle {
            step: Step::Fail,
            kind: OutcomeKind::ManagerLost,
            why: "the run was lost and the attempts are used up",
        },
    }
}

fn finalize(seen: &Observation, reason: &'static str) -> Action {
    if seen.finalize_attempts >= MAX_FINALIZE || seen.attempt >= MAX_RUNS {
        let why = "finalizing failed time and again; the raw segments are kept";
        return Action::Settle { step: Step::Fail, kind: OutcomeKind::FinalizeFailed, why };
    }
    after_backoff(seen, Action::Finalize(reason))
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
    let kind = if matches!(seen.phase, Phase::Recording | Phase::Finalizing) {
        OutcomeKind::NoRecording
    } else {
        OutcomeKind::ManagerLost
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
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seen(phase: Phase, evidence: Evidence) -> Observation {
        Observation {
            phase,
            attempt: 1,
            evidence,
            unchanged_for: SECOND * 90,
            evidence_for: SECOND * 90,
            is_claim_stale: false,
            is_meeting_on: true,
            is_joinable: true,
            is_recorded: false,
            is_recording_over: false,
            is_cancelled: false,
            finalize_attempts: 0,
            lease_ttl: SECOND * 60,
            max_unleased: None,
        }
    }

    fn run(code: i32) -> Evidence {
        Evidence::Seen(RunState::Ended { code: Some(code) })
    }

    const RUNNING: Evidence = Evidence::Seen(RunState::Running);
    const LOST: Evidence = Evidence::Seen(RunState::Lost);
    const KILLED: Evidence = Evidence::Seen(RunState::Ended { code: None });

    fn settles(action: Action, kind: OutcomeKind) -> bool {
        matches!(action, Action::Settle { kind: found, .. } if found == kind)
    }

    #[test]
    fn a_live_claim_without_a_run_waits() {
        assert_eq!(decide(&seen(Phase::Claimed, Evidence::None)), Action::Wait);
    }

    #[test]
    fn a_stale_claim_without_a_run_is_taken_over_while_it_can_be_joined() {
        assert_eq!(decide(&Observation { is_claim_stale: true, ..seen(Phase::Claimed, Evidence::None) }), Action::TakeOver);
    }

    #[test]
    fn a_stale_claim_without_a_run_whose_time_has_passed_is_missed() {
        let seen = Observation { is_claim_stale: true, is_joinable: false, ..seen(Phase::Claimed, Evidence::None) };
        assert!(settles(decide(&seen), OutcomeKind::Missed));
        assert_eq!(
            decide(&Observation { is_recorded: true, ..seen }),
            Action::TakeOver,
            "what was recorded is finalized instead"
        );
        assert!(settles(decide(&Observation { is_cancelled: true, ..seen }), OutcomeKind::Cancelled));
    }

    #[test]
    fn a_claim_with_a_run_of_the_same_attempt_is_adopted() {
        for evidence in [RUNNING, run(0), LOST, Evidence::Seen(RunState::Pending)] {
            assert_eq!(decide(&seen(Phase::Claimed, evidence)), Action::Adopt, "{evidence:?}");
        }
        let fresh = Observation { unchanged_for: SECOND, ..seen(Phase::Claimed, RUNNING) };
        assert_eq!(decide(&fresh), Action::Wait, "its own controller is about to say so");
    }

    #[test]
    fn a_launch_that_waits_for_capacity_is_kept_reported_and_given_up_when_too_late() {
        let pending = seen(Phase::Launched, Evidence::Seen(RunState::Pending));
        assert_eq!(decide(&pending), Action::Wait);
        assert_eq!(decide(&Observation { evidence_for: SECOND * 181, ..pending }), Action::Alert("pending_too_long"));
        assert!(settles(decide(&Observation { is_joinable: false, ..pending }), OutcomeKind::NoCapacity));
    }

    #[test]
    fn an_expired_lease_with_a_running_run_is_not_relaunched() {
        for phase in [Phase::Launched, Phase::Joining, Phase::WaitingRoom, Phase::Recording, Phase::Finalizing] {
            assert_eq!(decide(&seen(phase, RUNNING)), Action::Wait, "{phase}");
            let long = Observation { unchanged_for: SECOND * 7200, ..seen(phase, RUNNING) };
            assert!(matches!(decide(&long), Action::Alert(_)), "{phase}");
        }
    }

    #[test]
    fn a_run_lost_while_the_meeting_is_on_is_launched_again() {
        for evidence in [LOST, KILLED, run(143), run(1), Evidence::None] {
            for phase in [Phase::Launched, Phase::Joining, Phase::WaitingRoom, Phase::Recording] {
                let observed = Observation { is_recorded: phase == Phase::Recording, ..seen(phase, evidence) };
                assert_eq!(decide(&observed), Action::Relaunch("run_lost"), "{phase} {evidence:?}");
            }
        }
    }

    #[test]
    fn a_run_lost_after_the_meeting_is_finalized_from_its_segments() {
        let over = Observation { is_meeting_on: false, is_recorded: true, ..seen(Phase::Recording, LOST) };
        assert_eq!(decide(&over), Action::Finalize("run_lost"));
        assert!(settles(decide(&Observation { is_recorded: false, ..over }), OutcomeKind::NoRecording));
        let joining = Observation { phase: Phase::Joining, is_recorded: false, ..over };
        assert!(settles(decide(&joining), OutcomeKind::ManagerLost));
    }

    #[test]
    fn finalizing_is_tried_again_with_growing_pauses_and_then_fails_with_the_raw_kept() {
        let failed = Observation { is_recorded: true, ..seen(Phase::Finalizing, run(1)) };
        assert_eq!(decide(&failed), Action::Finalize("run_lost"));
        let third = Observation { attempt: 3, evidence_for: SECOND * 19, ..failed };
        assert_eq!(decide(&third), Action::Wait);
        assert_eq!(decide(&Observation { evidence_for: SECOND * 20, ..third }), Action::Finalize("run_lost"));
        assert!(settles(decide(&Observation { finalize_attempts: 5, ..failed }), OutcomeKind::FinalizeFailed));
        assert!(settles(decide(&Observation { attempt: MAX_RUNS, ..failed }), OutcomeKind::FinalizeFailed));
    }

    #[test]
    fn raw_saved_is_finalized_once_the_call_is_over() {
        let saved = Observation { is_recorded: true, ..seen(Phase::Finalizing, run(71)) };
        assert_eq!(decide(&saved), Action::Finalize("raw_saved"));
        let over = Observation { is_meeting_on: false, phase: Phase::Recording, ..saved };
        assert_eq!(decide(&over), Action::Finalize("run_lost"));
    }

    #[test]
    fn a_bot_sent_out_by_sigterm_of_a_call_that_goes_on_joins_again() {
        let saved = Observation { is_recorded: true, ..seen(Phase::Recording, run(71)) };
        assert_eq!(decide(&saved), Action::Relaunch("run_lost"));
        assert_eq!(decide(&Observation { is_cancelled: true, is_meeting_on: false, ..saved }), Action::Finalize("run_lost"));
    }

    #[test]
    fn a_refusal_before_the_join_is_tried_again_up_to_a_cap() {
        let refused = seen(Phase::Launched, run(72));
        assert_eq!(decide(&refused), Action::Relaunch("refused_before_join"));
        assert_eq!(decide(&Observation { attempt: 2, evidence_for: SECOND * 4, ..refused }), Action::Wait);
        let last = Observation { attempt: MAX_ATTEMPTS, ..refused };
        assert!(settles(decide(&last), OutcomeKind::LaunchFailed));
        let over = Observation { is_meeting_on: false, ..refused };
        assert!(settles(decide(&over), OutcomeKind::ManagerLost));
    }

    #[test]
    fn a_fenced_run_is_silent_while_its_owner_renews() {
        let fenced = Observation { unchanged_for: SECOND * 10, ..seen(Phase::Recording, run(70)) };
        assert_eq!(decide(&fenced), Action::Wait);
        assert_eq!(decide(&Observation { unchanged_for: SECOND * 61, ..fenced }), Action::Relaunch("run_lost"));
    }

    #[test]
    fn bad_configuration_and_missing_programs_are_not_tried_again() {
        for code in [64, 69] {
            assert!(settles(decide(&seen(Phase::Launched, run(code))), OutcomeKind::LaunchFailed), "{code}");
        }
    }

    #[test]
    fn a_settled_run_is_believed_after_reading_again() {
        let settled = Observation { evidence_for: SECOND, ..seen(Phase::Finalizing, run(0)) };
        assert_eq!(decide(&settled), Action::Wait);
    }

    #[test]
    fn attempts_are_bounded() {
        let last = Observation { attempt: MAX_ATTEMPTS, evidence_for: SECOND * 900, ..seen(Phase::Joining, LOST) };
        assert!(settles(decide(&last), OutcomeKind::ManagerLost));
        assert_eq!(decide(&Observation { is_recorded: true, ..last }), Action::Finalize("attempts_used_up"));
    }

    #[test]
    fn a_cancelled_run_that_is_lost_is_cancelled_or_finalized() {
        let cancelled = Observation { is_cancelled: true, is_meeting_on: false, ..seen(Phase::WaitingRoom, LOST) };
        assert!(settles(decide(&cancelled), OutcomeKind::Cancelled));
        assert_eq!(decide(&Observation { is_recorded: true, ..cancelled }), Action::Finalize("run_lost"));
    }

    #[test]
    fn a_bot_out_of_sight_is_replaced_only_past_its_own_leaving_limit() {
        let hidden =
            Observation { unchanged_for: SECOND * 4000, is_recorded: true, ..seen(Phase::Recording, Evidence::Invisible) };
        assert_eq!(decide(&hidden), Action::Alert("run_not_visible"));
        let limited = Observation { max_unleased: Some(SECOND * 600), ..hidden };
        assert_eq!(decide(&limited), Action::Relaunch("run_lost"));
        assert_eq!(decide(&Observation { unchanged_for: SECOND * 700, ..limited }), Action::Alert("run_not_visible"));
        assert_eq!(decide(&Observation { unchanged_for: SECOND * 30, ..limited }), Action::Wait);
    }

    #[test]
    fn an_older_run_still_alive_stops_everything() {
        assert_eq!(decide(&seen(Phase::Claimed, Evidence::OlderAlive)), Action::Alert("older_run_alive"));
    }

    #[test]
    fn a_terminal_instance_s_run_is_removed_once_it_is_over_and_never_before() {
        for phase in [Phase::Done, Phase::Failed, Phase::Cancelled, Phase::Missed] {
            assert_eq!(decide(&seen(phase, run(0))), Action::RemoveRun);
            assert_eq!(decide(&seen(phase, RUNNING)), Action::Wait);
            assert_eq!(decide(&seen(phase, Evidence::None)), Action::Wait);
        }
    }

    #[test]
    fn every_observation_has_an_answer_and_no_recording_is_cancelled_or_missed_away() {
        let states = [
            RUNNING,
            LOST,
            KILLED,
            run(0),
            run(64),
            run(69),
            run(70),
            run(71),
            run(72),
            run(143),
            Evidence::None,
            Evidence::Invisible,
            Evidence::OlderAlive,
            Evidence::Seen(RunState::Pending),
        ];
        for phase in Phase::ALL {
            for evidence in states {
                for bits in 0..64u8 {
                    let flag = |bit: u8| bits & (1 << bit) != 0;
                    let observed = Observation {
                        is_claim_stale: flag(0),
                        is_meeting_on: flag(1),
                        is_joinable: flag(2),
                        is_recorded: true,
                        is_recording_over: flag(3),
                        is_cancelled: flag(4),
                        attempt: if flag(5) { MAX_RUNS } else { 1 },
                        ..seen(phase, evidence)
                    };
                    if let Action::Settle { step, .. } = decide(&observed) {
                        assert_eq!(step, Step::Fail, "{observed:?}");
                    }
                    let alive = matches!(evidence, RUNNING | Evidence::OlderAlive | Evidence::Seen(RunState::Pending));
                    let launches = matches!(decide(&observed), Action::TakeOver | Action::Relaunch(_) | Action::Finalize(_));
                    assert!(!(alive && launches), "two runs at once: {observed:?}");
                }
            }
        }
    }
}
