//! In the call.

use super::*;
use Meaning::*;

const BOTH: &[(&str, u32)] = &[("tiles", 0), ("people", 0)];
const ONE: &[(&str, u32)] = &[("tiles", 0)];
const TWO: &[(&str, u32)] = &[("tiles", 1), ("people", 1)];

fn met() -> Look {
    at(1, &[InCall]).counting(TWO)
}

#[test]
fn a_text_alone_never_ends_a_recording() {
    for meaning in [Ended, Removed, Left, Denied, SignIn, Captcha, Blocked, NotFound] {
        let shown = [InCall, meaning];
        let looks = [at(1, &[InCall]), at(2, &shown), at(2_000, &shown)];
        assert_eq!(play(&looks), Decision::Record, "{meaning:?} without anything else");
        let silent = [met(), at(2, &shown).counting(TWO), at(200, &shown).counting(TWO).silent(190)];
        assert_eq!(play(&silent), Decision::Record, "{meaning:?} in a silent call with somebody in it");
    }
}

#[test]
fn an_end_above_controls_that_stay_is_believed_once_nobody_is_there_and_nothing_is_heard() {
    for (meaning, kind) in [(Ended, OutcomeKind::HostEnded), (Removed, OutcomeKind::Removed)] {
        let shown = [InCall, meaning];
        let looks = |silent: u64| [met(), at(2, &shown), at(18, &shown).silent(silent)];
        assert_eq!(ends(&looks(16)), Some(kind));
        assert_eq!(ends(&looks(3)), None, "something is heard");
    }
}

#[test]
fn nothing_is_clicked_away_while_an_end_is_shown_that_is_not_believed_yet() {
    let looks = [at(1, &[InCall]), at(2, &[InCall, Ended]), at(30, &[InCall, Ended])];
    let mut history = History::default();
    let mut still = Vec::new();
    for look in &looks {
        let now = Duration::from_secs_f64(look.second);
        history = history.after(&look.observed, &limits(), now);
        still.push(history.holds_still(now));
    }
    assert_eq!(still, [false, true, false], "an end that was not believed for so long holds nothing up");
}

#[test]
fn missing_controls_alone_do_not_end_a_recording_soon() {
    assert_eq!(play(&[at(1, &[InCall]), at(2, &[]), at(50, &[])]), Decision::Record);
    let back = [at(1, &[InCall]), at(2, &[]), at(50, &[InCall]), at(70, &[])];
    assert_eq!(play(&back), Decision::Record, "the clock did not start again");
    assert_eq!(ends(&[at(1, &[InCall]), at(2, &[]), at(62, &[])]), Some(OutcomeKind::PageUnresponsive));
}

#[test]
fn text_and_missing_controls_end_it_but_not_in_one_look() {
    for (meaning, kind) in [(Ended, OutcomeKind::HostEnded), (Removed, OutcomeKind::Removed), (Left, OutcomeKind::HostEnded)] {
        assert_eq!(play(&[at(1, &[InCall]), at(2, &[meaning])]), Decision::Record, "{meaning:?} flashed");
        assert_eq!(ends(&[at(1, &[InCall]), at(2, &[meaning]), at(2.5, &[meaning])]), Some(kind), "{meaning:?}");
    }
}

#[test]
fn a_page_that_left_the_platform_without_controls_is_an_end() {
    let away = |second: i32| at(second, &[]).seeing(|seen| seen.host_differs = true);
    assert_eq!(play(&[at(1, &[InCall]), away(2), away(5)]), Decision::Record);
    assert_eq!(ends(&[at(1, &[InCall]), away(2), away(8)]), Some(OutcomeKind::HostEnded));
}

#[test]
fn being_alone_needs_two_sources_that_agree() {
    let split: &[(&str, u32)] = &[("tiles", 0), ("people", 2)];
    let everyone_left = Some(OutcomeKind::EveryoneLeft);
    for (counts, shown, silent, kind) in [
        (BOTH, &[InCall][..], 0, everyone_left),
        (ONE, &[InCall], 0, None),
        (ONE, &[InCall], 70, everyone_left),
        (ONE, &[InCall, Alone], 0, everyone_left),
        (split, &[InCall, Alone], 70, None),
        (&[], &[InCall], 70, None),
        (&[], &[InCall, Alone], 0, None),
        (&[], &[InCall, Alone], 70, everyone_left),
    ] {
        let looks = [met(), at(10, shown).counting(counts).silent(silent), at(75, shown).counting(counts).silent(silent)];
        assert_eq!(ends(&looks), kind, "{counts:?}, {shown:?}, silent {silent}");
    }
}

#[test]
fn nobody_ever_coming_has_a_longer_limit() {
    assert_eq!(play(&[at(1, &[InCall]).counting(BOTH), at(599, &[InCall]).counting(BOTH)]), Decision::Record);
    assert_eq!(ends(&[at(1, &[InCall]).counting(BOTH), at(601, &[InCall]).counting(BOTH)]), Some(OutcomeKind::NoOneJoined));
}

#[test]
fn a_tile_that_vanishes_for_a_moment_ends_nothing() {
    let looks = [met(), at(10, &[InCall]).counting(BOTH), at(60, &[InCall]).counting(TWO), at(80, &[InCall]).counting(BOTH)];
    assert_eq!(play(&looks), Decision::Record, "the clock did not start again");
    let strict = SessionLimits { everyone_left_secs: 0, ..limits() };
    let (first, then) = (met(), at(2, &[InCall]).counting(BOTH));
    let history = History::default().after(&first.observed, &strict, Duration::from_secs(1));
    let history = history.after(&then.observed, &strict, Duration::from_secs(2));
    assert_eq!(decide(&history, &then.observed, &strict, Duration::from_secs(4)), Decision::Record, "even where the limit is 0");
}

#[test]
fn other_bots_are_nobody() {
    let bots = ["Otter.ai", "Ann's Fireflies.ai Notetaker"];
    let counts: &[(&str, u32)] = &[("tiles", 2), ("people", 2)];
    let call = |second: i32| at(second, &[InCall]).counting(counts).with(&bots);
    assert_eq!(ends(&[met(), call(2), call(62)]), Some(OutcomeKind::EveryoneLeft));
    assert_eq!(ends(&[call(1), call(601)]), Some(OutcomeKind::NoOneJoined));
    let one_more: &[(&str, u32)] = &[("tiles", 2), ("people", 3)];
    assert_eq!(play(&[met(), call(2), call(62).counting(one_more)]), Decision::Record, "somebody who is counted, not listed");
    let person = |second: i32| at(second, &[InCall]).counting(counts).with(&["Otter.ai", "Ann"]);
    assert_eq!(play(&[met(), person(2), person(62)]), Decision::Record);
}

#[test]
fn a_bot_s_name_that_speaks_may_be_a_person() {
    let call = |second: i32| at(second, &[InCall]).counting(&[("tiles", 1), ("people", 1)]).with(&["Otter.ai"]);
    let looks = [met(), call(2), call(50).speaking(&["Otter.ai"]), call(60), call(70), call(100)];
    assert_eq!(play(&looks), Decision::Record);
    let last: Vec<Look> = std::iter::once(met()).chain((2..100).map(|s| call(s).speaking(&["Otter.ai"]))).collect();
    assert_eq!(ends(&last), Some(OutcomeKind::EveryoneLeft), "a mark that never changes names who spoke last");
}

#[test]
fn reconnecting_is_no_end_until_its_own_limit() {
    let gone = |second: i32| at(second, &[Reconnecting]).counting(BOTH).silent(100);
    assert_eq!(play(&[met(), gone(10), gone(129)]), Decision::Record, "neither missing controls nor missing tiles count");
    assert_eq!(ends(&[met(), gone(10), gone(131)]), Some(OutcomeKind::ConnectionLost));
    let heard = |second: i32| at(second, &[InCall, Reconnecting]).counting(TWO);
    assert_eq!(play(&[met(), heard(10), heard(3_000)]), Decision::Record, "a banner that stays while all is well");
    let back = [met(), gone(10), gone(100), at(101, &[InCall]).counting(TWO), gone(110), gone(200)];
    assert_eq!(play(&back), Decision::Record);
    let ended = [met(), gone(10), at(20, &[Reconnecting, Ended]), at(21, &[Ended]), at(22, &[Ended])];
    assert_eq!(ends(&ended), Some(OutcomeKind::HostEnded));
}

#[test]
fn silence_counts_only_after_its_delay_and_where_nobody_was_shown_speaking() {
    let call = |second: i32, silent: u64| at(second, &[InCall]).counting(TWO).silent(silent);
    assert_eq!(play(&[met(), call(200, 1_000)]), Decision::Record);
    assert_eq!(ends(&[met(), call(1_500, 900)]), Some(OutcomeKind::Silence));
    let shown = [met(), call(1_000, 400).speaking(&["ann"]), call(1_500, 900)];
    assert_eq!(play(&shown), Decision::Record, "the platform shows somebody speaking: it is the bot that hears nothing");
    let before = [met(), call(500, 0).speaking(&["ann"]), call(510, 0), call(1_500, 900)];
    assert_eq!(ends(&before), Some(OutcomeKind::Silence));
}

#[test]
fn length_counts_only_by_the_clock() {
    assert_eq!(play(&[met(), at(3_600, &[InCall]).counting(TWO)]), Decision::Record);
    assert_eq!(ends(&[met(), at(3_601, &[InCall]).counting(TWO)]), Some(OutcomeKind::MaxDuration));
}
