//! Until the bot is in the call.

use bot_model::outcome::Attribution;

use super::*;
use Meaning::*;

#[test]
fn every_wall_before_the_call_has_its_own_outcome_and_says_whose_it_is() {
    for (meaning, kind, whose) in [
        (Denied, OutcomeKind::Denied, Attribution::Host),
        (RequestTimedOut, OutcomeKind::LobbyTimeout, Attribution::Host),
        (Removed, OutcomeKind::Denied, Attribution::Host),
        (Ended, OutcomeKind::EndedBeforeAdmission, Attribution::Host),
        (Captcha, OutcomeKind::Captcha, Attribution::Platform),
        (SignIn, OutcomeKind::SignInRequired, Attribution::Configuration),
        (Registration, OutcomeKind::RegistrationRequired, Attribution::Configuration),
        (NotFound, OutcomeKind::MeetingNotFound, Attribution::Configuration),
        (WrongPasscode, OutcomeKind::WrongPasscode, Attribution::Configuration),
        (Blocked, OutcomeKind::BlockedByPlatform, Attribution::Platform),
        (CouldNotConnect, OutcomeKind::CouldNotConnect, Attribution::Platform),
    ] {
        assert_eq!(play(&[at(1, &[meaning])]), Decision::Stay, "{meaning:?} flashed once");
        assert_eq!(ends(&[at(1, &[meaning]), at(12, &[meaning])]), Some(kind), "{meaning:?}");
        assert_eq!(kind.attribution(), whose, "{kind}");
        let asked = [at(1, &[Lobby]), at(2, &[meaning]), at(13, &[meaning])];
        assert_eq!(ends(&asked), Some(kind), "{meaning:?} after waiting");
    }
}

#[test]
fn a_wall_that_goes_away_starts_its_clock_again() {
    assert_eq!(play(&[at(1, &[Blocked]), at(2, &[NamePrompt]), at(5, &[Blocked])]), Decision::Stay);
}

#[test]
fn waiting_ends_by_its_own_limit_and_says_for_whom_it_waited() {
    assert_eq!(play(&[at(1, &[Lobby]), at(299, &[Lobby])]), Decision::Wait);
    assert_eq!(ends(&[at(1, &[Lobby]), at(301, &[Lobby])]), Some(OutcomeKind::LobbyTimeout));
    assert_eq!(play(&[at(1, &[WaitingForHost]), at(499, &[WaitingForHost])]), Decision::Wait);
    assert_eq!(ends(&[at(1, &[WaitingForHost]), at(501, &[WaitingForHost])]), Some(OutcomeKind::HostNeverStarted));
}

#[test]
fn a_host_who_came_late_has_the_whole_time_to_admit() {
    let came = [at(1, &[WaitingForHost]), at(490, &[Lobby]), at(789, &[Lobby])];
    assert_eq!(play(&came), Decision::Wait);
    assert_eq!(ends(&[at(1, &[WaitingForHost]), at(490, &[Lobby]), at(790, &[Lobby])]), Some(OutcomeKind::LobbyTimeout));
    let flapping: Vec<Look> = (0..500).map(|n| at(n * 2, if n % 2 == 0 { &[Lobby] } else { &[WaitingForHost] })).collect();
    assert!(ends(&flapping).is_some(), "one that comes and goes is not waited for for ever");
}

#[test]
fn a_page_that_asks_again_after_a_waiting_room_is_answered_again() {
    for shown in [&[NamePrompt, ReadyToJoin][..], &[PasscodePrompt], &[Launcher]] {
        assert_eq!(play(&[at(1, &[Lobby]), at(2, shown).with_passcode()]), Decision::Stay);
    }
    let late = [at(1, &[Lobby]), at(301, &[NamePrompt, ReadyToJoin])];
    assert_eq!(ends(&late), Some(OutcomeKind::LobbyTimeout), "but not for ever");
}

#[test]
fn a_passcode_that_is_asked_for_and_not_known_is_a_wrong_one() {
    let asked = [at(1, &[PasscodePrompt]), at(5, &[PasscodePrompt])];
    assert_eq!(ends(&asked), Some(OutcomeKind::WrongPasscode));
    let known = [at(1, &[PasscodePrompt]).with_passcode(), at(100, &[PasscodePrompt]).with_passcode()];
    assert_eq!(play(&known), Decision::Stay, "it is being typed");
    let never = [at(1, &[PasscodePrompt]).with_passcode(), at(121, &[PasscodePrompt]).with_passcode()];
    assert_eq!(ends(&never), Some(OutcomeKind::WrongPasscode), "it was typed, and is asked for still");
}

#[test]
fn a_page_with_no_known_way_to_join_is_reported_as_such() {
    assert_eq!(play(&[at(119, &[])]), Decision::Stay);
    assert_eq!(ends(&[at(120, &[])]), Some(OutcomeKind::JoinPageNotRecognised));
    let Decision::End(_, why) = play(&[at(120, &[]).seeing(|seen| seen.foreign_frames = 1)]) else { panic!("it goes on") };
    assert!(why.contains("another origin"), "{why}");
}

#[test]
fn a_page_that_shows_nothing_is_not_blamed_on_the_pack() {
    let blank = |second: i32| at(second, &[]).seeing(|seen| seen.is_blank = true);
    assert_eq!(ends(&[blank(1), blank(120)]), Some(OutcomeKind::PageUnresponsive));
    assert_eq!(play(&[at(1, &[Lobby]), blank(2), blank(61)]), Decision::Wait);
    assert_eq!(
        ends(&[at(1, &[Lobby]), blank(2), blank(62)]),
        Some(OutcomeKind::PageUnresponsive),
        "a dead page is not polled for the whole limit"
    );
}

#[test]
fn another_host_that_shows_nothing_known_is_a_sign_in() {
    let away = |second: i32, shown: &[Meaning]| at(second, shown).seeing(|seen| seen.host_differs = true);
    assert_eq!(play(&[away(1, &[]), away(10, &[])]), Decision::Stay);
    assert_eq!(ends(&[away(1, &[]), away(11, &[])]), Some(OutcomeKind::SignInRequired));
    assert_eq!(ends(&[at(1, &[Lobby]), away(2, &[]), away(12, &[])]), Some(OutcomeKind::SignInRequired));
    assert_eq!(play(&[away(1, &[Launcher]), away(60, &[Launcher])]), Decision::Stay, "a page that the pack knows");
    assert_eq!(play(&[away(1, &[]), at(9, &[]), away(12, &[])]), Decision::Stay, "passing through");
}
