//! The reap table, row by row.

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
        is_unlooked: false,
        is_recording_over: false,
        is_cancelled: false,
        finalize_attempts: 0,
        lease_ttl: SECOND * 60,
        max_unleased: None,
        trouble: None,
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
    assert_eq!(decide(&Observation { is_recorded: true, ..seen }), Action::TakeOver, "what was recorded is finalized instead");
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
    let late = Observation { is_joinable: false, ..pending };
    assert!(settles(decide(&Observation { evidence_for: SECOND * 181, ..late }), OutcomeKind::NoCapacity));
    assert!(settles(decide(&Observation { is_meeting_on: false, ..late }), OutcomeKind::NoCapacity));
    let stuck = Observation { trouble: Some(TroubleKind::Unschedulable), ..late };
    assert!(settles(decide(&stuck), OutcomeKind::NoCapacity));
    assert_eq!(decide(&late), Action::Wait, "it got its place at the last moment, and its pod is on the way");
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
    // The store may have been away while it recorded: a run that joins nothing looks into the bucket first.
    let unknown = Observation { is_recorded: false, ..over };
    assert_eq!(decide(&unknown), Action::Finalize("run_lost"));
    assert!(settles(decide(&Observation { phase: Phase::Finalizing, ..unknown }), OutcomeKind::NoRecording));
    let joining = Observation { phase: Phase::Joining, is_recorded: false, ..over };
    assert!(settles(decide(&joining), OutcomeKind::ManagerLost));
}

#[test]
fn no_instance_whose_run_was_about_to_join_ends_before_a_look_into_the_bucket() {
    let unlooked = |phase, evidence| Observation { is_unlooked: true, is_meeting_on: false, ..seen(phase, evidence) };
    for phase in [Phase::Launched, Phase::Joining, Phase::WaitingRoom, Phase::Finalizing] {
        for is_cancelled in [false, true] {
            let lost = Observation { is_cancelled, ..unlooked(phase, LOST) };
            assert_eq!(decide(&lost), Action::Finalize("run_lost"), "{phase}");
        }
    }
    let waiting = Observation { is_joinable: false, ..unlooked(Phase::Launched, Evidence::Seen(RunState::Pending)) };
    assert_eq!(decide(&Observation { evidence_for: SECOND * 100, is_cancelled: true, ..waiting }), Action::Wait);
    let stale = Observation { is_claim_stale: true, is_joinable: false, ..unlooked(Phase::Claimed, Evidence::None) };
    assert_eq!(decide(&stale), Action::TakeOver);
    assert_eq!(decide(&unlooked(Phase::Launched, run(72))), Action::Finalize("refused_before_join"));
    let used_up = Observation { attempt: MAX_ATTEMPTS, is_meeting_on: true, ..unlooked(Phase::Joining, LOST) };
    assert_eq!(decide(&Observation { evidence_for: SECOND * 900, ..used_up }), Action::Finalize("attempts_used_up"));
}

#[test]
fn what_a_person_is_told_where_the_look_finds_nothing_is_what_ended_the_run() {
    let joining = Observation { is_unlooked: true, is_meeting_on: false, ..seen(Phase::Joining, LOST) };
    assert_eq!(lost_outcome(&joining), Some(OutcomeKind::ManagerLost));
    assert_eq!(lost_outcome(&Observation { is_cancelled: true, ..joining }), Some(OutcomeKind::AskedToLeave));
    let evicted = Observation { trouble: Some(TroubleKind::Evicted), ..joining };
    assert_eq!(lost_outcome(&evicted), Some(OutcomeKind::Evicted));
    assert_eq!(lost_outcome(&Observation { phase: Phase::Recording, ..joining }), None);
}

#[test]
fn finalizing_is_tried_again_with_growing_pauses_and_then_fails_with_the_raw_kept() {
    let failed = Observation { is_recorded: true, ..seen(Phase::Finalizing, run(1)) };
    assert_eq!(decide(&failed), Action::Finalize("run_lost"));
    let third = Observation { attempt: 3, evidence_for: SECOND * 19, ..failed };
    assert_eq!(decide(&third), Action::Wait);
    assert_eq!(decide(&Observation { evidence_for: SECOND * 20, ..third }), Action::Finalize("run_lost"));
    let sixth = Observation { finalize_attempts: 6, evidence_for: SECOND * 899, ..failed };
    assert_eq!(decide(&sixth), Action::Wait);
    assert_eq!(decide(&Observation { evidence_for: SECOND * 900, ..sixth }), Action::Finalize("run_lost"));
    assert!(settles(decide(&Observation { finalize_attempts: MAX_FINALIZE, ..failed }), OutcomeKind::FinalizeFailed));
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
    // Nobody has bound it: what was fenced came while the instance was in the queue, and the launch that counts found it.
    let unbound = Observation { unchanged_for: SECOND, ..seen(Phase::Launched, run(70)) };
    assert_eq!(decide(&unbound), Action::Relaunch("run_lost"));
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
    let hidden = Observation { unchanged_for: SECOND * 4000, is_recorded: true, ..seen(Phase::Recording, Evidence::Invisible) };
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
            for bits in 0..128u8 {
                let flag = |bit: u8| bits & (1 << bit) != 0;
                let observed = Observation {
                    is_claim_stale: flag(0),
                    is_meeting_on: flag(1),
                    is_joinable: flag(2),
                    is_recorded: flag(6),
                    is_unlooked: !flag(6),
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

fn in_trouble(phase: Phase, state: RunState, trouble: TroubleKind) -> Observation {
    Observation { trouble: Some(trouble), ..seen(phase, Evidence::Seen(state)) }
}

#[test]
fn a_pending_run_is_kept_and_reported_with_its_trouble_and_ends_typed_when_too_late() {
    for (trouble, kind) in [
        (TroubleKind::Unschedulable, OutcomeKind::NoCapacity),
        (TroubleKind::ImagePull, OutcomeKind::ImagePullFailed),
        (TroubleKind::BadContainer, OutcomeKind::LaunchFailed),
        (TroubleKind::CrashLoop, OutcomeKind::LaunchFailed),
        (TroubleKind::NoPod, OutcomeKind::LaunchFailed),
    ] {
        let pending = in_trouble(Phase::Launched, RunState::Pending, trouble);
        assert_eq!(decide(&pending), Action::Wait, "{trouble:?}");
        let long = Observation { evidence_for: SECOND * 181, ..pending };
        assert_eq!(decide(&long), Action::Alert(trouble.as_str()), "{trouble:?}");
        assert!(settles(decide(&Observation { is_joinable: false, ..long }), kind), "{trouble:?}");
    }
}

#[test]
fn a_run_whose_pod_a_quota_refuses_waits_in_the_queue_and_one_that_has_recorded_stays_first_in_line() {
    let refused = in_trouble(Phase::Launched, RunState::Pending, TroubleKind::Quota);
    assert_eq!(decide(&refused), Action::Withdraw);
    let recorded = Observation { is_recorded: true, ..refused };
    assert_eq!(decide(&recorded), Action::Wait);
    assert_eq!(decide(&Observation { evidence_for: SECOND * 181, ..recorded }), Action::Alert("quota_exceeded"));
    assert!(settles(decide(&Observation { is_joinable: false, ..refused }), OutcomeKind::NoCapacity));
    assert!(settles(decide(&Observation { is_cancelled: true, ..refused }), OutcomeKind::Cancelled));
    assert_eq!(decide(&Observation { phase: Phase::Claimed, ..refused }), Action::Adopt);
}

#[test]
fn a_pending_run_of_a_cancelled_meeting_is_ended() {
    let cancelled = Observation { is_cancelled: true, ..seen(Phase::Launched, Evidence::Seen(RunState::Pending)) };
    assert!(settles(decide(&cancelled), OutcomeKind::Cancelled));
}

#[test]
fn a_finalize_run_that_waits_for_capacity_is_never_given_up() {
    let pending =
        Observation { is_joinable: false, is_recorded: true, ..seen(Phase::Launched, Evidence::Seen(RunState::Pending)) };
    assert_eq!(decide(&pending), Action::Wait);
    assert_eq!(decide(&Observation { evidence_for: SECOND * 7200, ..pending }), Action::Alert("pending_too_long"));
}

#[test]
fn a_pod_on_a_node_that_does_not_answer_is_reported_and_never_replaced() {
    for phase in [Phase::Launched, Phase::Joining, Phase::WaitingRoom, Phase::Recording, Phase::Finalizing] {
        let lost = in_trouble(phase, RunState::Running, TroubleKind::NodeLost);
        assert_eq!(decide(&lost), Action::Alert("node_lost"), "{phase}");
        let long = Observation { unchanged_for: SECOND * 86_400, is_meeting_on: false, is_recorded: true, ..lost };
        assert_eq!(decide(&long), Action::Alert("node_lost"), "{phase}");
    }
}

#[test]
fn a_pod_that_has_not_started_on_a_lost_node_is_waited_for_as_long_as_the_call_goes_on() {
    let lost = in_trouble(Phase::Launched, RunState::Pending, TroubleKind::NodeLost);
    let late = Observation { is_joinable: false, evidence_for: SECOND * 600, ..lost };
    assert_eq!(decide(&late), Action::Alert("node_lost"));
    assert!(settles(decide(&Observation { is_meeting_on: false, ..late }), OutcomeKind::NodeLost));
    assert!(settles(decide(&Observation { is_cancelled: true, ..late }), OutcomeKind::Cancelled));
}

#[test]
fn two_pods_of_one_run_hit_the_guard() {
    assert_eq!(decide(&in_trouble(Phase::Recording, RunState::Running, TroubleKind::SecondPod)), Action::Alert("second_pod"));
}

#[test]
fn what_ended_a_run_is_the_reason_of_the_next_and_of_the_outcome() {
    let ended = RunState::Ended { code: Some(143) };
    for (trouble, kind) in [
        (TroubleKind::Evicted, OutcomeKind::Evicted),
        (TroubleKind::Preempted, OutcomeKind::Evicted),
        (TroubleKind::OutOfMemory, OutcomeKind::OutOfMemory),
        (TroubleKind::NodeLost, OutcomeKind::NodeLost),
        (TroubleKind::Deadline, OutcomeKind::RunDeadline),
    ] {
        let joining = in_trouble(Phase::Joining, ended, trouble);
        assert_eq!(decide(&joining), Action::Relaunch(trouble.as_str()), "{trouble:?}");
        let used_up = Observation { attempt: MAX_ATTEMPTS, evidence_for: SECOND * 900, ..joining };
        assert!(settles(decide(&used_up), kind), "{trouble:?}");
        let over = Observation { is_meeting_on: false, ..joining };
        assert!(settles(decide(&over), kind), "{trouble:?}");
        let recorded = Observation { is_recorded: true, phase: Phase::Recording, ..over };
        assert_eq!(decide(&recorded), Action::Finalize(trouble.as_str()), "{trouble:?}");
    }
}
