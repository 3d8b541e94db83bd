//! What to do, given what was seen: pure, and tested in tables.
//!
//! Leaving a call needs two independent signals to agree: a text can be typed into a chat, a control can be hidden by
//! a dialog, a counter can be misread. [`History::after`] folds a look into what is known, [`decide`] judges it.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionLimits;

use super::pack::Meaning;
use super::probe::Seen;

/// A refusal has to stand this long: pages flash texts while they load.
const REFUSAL_STANDS: Duration = Duration::from_millis(900);
/// A wall (sign-in, captcha, blocked, not found) has to stand this long; Meet shows some of them for a moment.
const WALL_STANDS: Duration = Duration::from_secs(3);
/// Controls gone and the platform's host left: two signals, but navigation may be passing.
const AWAY_STANDS: Duration = Duration::from_secs(5);
/// Controls gone without any reason shown.
const CONTROLS_GONE: Duration = Duration::from_secs(60);

/// What is known from all looks so far. Times are since the session's page was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// When the bot asked to join, or was first seen waiting.
    pub asked_at: Option<Duration>,
    /// When the bot was first seen in the call.
    pub admitted_at: Option<Duration>,
    /// The last waiting was for the host to start the call.
    pub waits_for_host: bool,
    /// Somebody else was in the call at some time.
    pub met_somebody: bool,
    /// Two sources have agreed since then that nobody else is there.
    pub alone_since: Option<Duration>,
    /// The same reason to end has been shown since then.
    pub reason_since: Option<(Meaning, Duration)>,
    /// The controls of the call have been gone since then.
    pub controls_gone_since: Option<Duration>,
}

/// A look at the page together with what the recorder hears.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The page.
    pub seen: Seen,
    /// No sound for this long.
    pub silent_for: Duration,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go on with the pack's steps.
    Stay,
    /// The bot is waiting to be let in.
    Wait,
    /// The bot is in the call: record.
    Record,
    /// Leave; the text says which signals agreed.
    End(OutcomeKind, &'static str),
}

impl Observed {
    /// Others in the call: the highest of the readable sources.
    pub fn others(&self) -> Option<u32> {
        self.seen.counts.values().flatten().copied().max()
    }

    fn shows(&self, meaning: Meaning) -> bool {
        self.seen.meanings.contains(&meaning)
    }

    fn is_waiting(&self) -> bool {
        self.shows(Meaning::Lobby) || self.shows(Meaning::WaitingForHost)
    }

    /// Two sources at least say that nobody else is there, and none says otherwise.
    fn is_alone(&self, limits: &SessionLimits) -> bool {
        if self.others().is_some_and(|others| others > 0) {
            return false;
        }
        let counters = self.seen.counts.values().flatten().count();
        let silent = self.silent_for >= Duration::from_secs(limits.everyone_left_secs.max(5));
        counters + usize::from(self.shows(Meaning::Alone)) + usize::from(silent && counters > 0) >= 2
    }

    fn reason(&self, admitted: bool) -> Option<Meaning> {
        let order: &[Meaning] = if admitted {
            &[Meaning::Removed, Meaning::Ended, Meaning::Left]
        } else {
            &[
                Meaning::Denied,
                Meaning::RequestTimedOut,
                Meaning::Removed,
                Meaning::Ended,
                Meaning::Captcha,
                Meaning::SignIn,
                Meaning::NotFound,
                Meaning::Blocked,
            ]
        };
        order.iter().copied().find(|meaning| self.shows(*meaning))
    }
}

impl History {
    /// What is known after a look at `now`.
    pub fn after(&self, observed: &Observed, limits: &SessionLimits, now: Duration) -> Self {
        let mut next = self.clone();
        let in_call = observed.shows(Meaning::InCall);
        if next.admitted_at.is_none() {
            if observed.is_waiting() {
                next.asked_at = next.asked_at.or(Some(now));
                next.waits_for_host = observed.shows(Meaning::WaitingForHost);
            }
            if in_call {
                next.admitted_at = Some(now);
            }
        }
        if next.admitted_at.is_some() {
            next.met_somebody |= observed.others().is_some_and(|others| others > 0);
            next.alone_since = observed.is_alone(limits).then(|| self.alone_since.unwrap_or(now));
            next.controls_gone_since = (!in_call).then(|| self.controls_gone_since.unwrap_or(now));
        }
        next.reason_since = observed.reason(next.admitted_at.is_some()).map(|meaning| match self.reason_since {
            Some((same, since)) if same == meaning => (same, since),
            _ => (meaning, now),
        });
        next
    }

    /// Notes that the bot has asked to join.
    pub fn asked(&mut self, now: Duration) {
        self.asked_at = self.asked_at.or(Some(now));
    }
}

/// Judges a look; `history` has it folded in already.
pub fn decide(history: &History, observed: &Observed, limits: &SessionLimits, now: Duration) -> Decision {
    match history.admitted_at {
        Some(admitted_at) => decide_in_call(history, observed, limits, (admitted_at, now)),
        None => decide_before(history, observed, limits, now),
    }
}

fn decide_before(history: &History, observed: &Observed, limits: &SessionLimits, now: Duration) -> Decision {
    if let Some((meaning, since)) = history.reason_since {
        let (kind, stands) = refusal(meaning);
        if now.saturating_sub(since) >= stands {
            return Decision::End(kind, "the page has shown the reason for long enough");
        }
    }
    if let Some(asked_at) = history.asked_at {
        // Asked, yet the page asks again: the click was lost, or what looked like the waiting room was none.
        let asks_again = observed.shows(Meaning::ReadyToJoin) && !observed.is_waiting();
        if asks_again && now.saturating_sub(asked_at) < Duration::from_secs(limits.lobby_timeout_secs) {
            return Decision::Stay;
        }
        if now.saturating_sub(asked_at) >= Duration::from_secs(limits.lobby_timeout_secs) {
            let kind = if history.waits_for_host { OutcomeKind::HostNeverStarted } else { OutcomeKind::LobbyTimeout };
            return Decision::End(kind, "not admitted within the limit");
        }
        return Decision::Wait;
    }
    if now < Duration::from_secs(limits.join_timeout_secs) {
        return Decision::Stay;
    }
    if observed.seen.host_differs {
        return Decision::End(OutcomeKind::SignInRequired, "the page has left the platform's host before joining");
    }
    Decision::End(OutcomeKind::JoinPageNotRecognised, "no way to join was found within the limit")
}

fn refusal(meaning: Meaning) -> (OutcomeKind, Duration) {
    match meaning {
        Meaning::RequestTimedOut => (OutcomeKind::LobbyTimeout, REFUSAL_STANDS),
        Meaning::Removed => (OutcomeKind::Denied, REFUSAL_STANDS),
        Meaning::Ended | Meaning::Left => (OutcomeKind::EndedBeforeAdmission, REFUSAL_STANDS),
        Meaning::Captcha => (OutcomeKind::Captcha, WALL_STANDS),
        Meaning::SignIn => (OutcomeKind::SignInRequired, WALL_STANDS),
        Meaning::NotFound => (OutcomeKind::MeetingNotFound, WALL_STANDS),
        Meaning::Blocked => (OutcomeKind::BlockedByPlatform, WALL_STANDS),
        _ => (OutcomeKind::Denied, REFUSAL_STANDS),
    }
}

fn decide_in_call(
    history: &History,
    observed: &Observed,
    limits: &SessionLimits,
    (admitted_at, now): (Duration, Duration),
) -> Decision {
    let in_call_for = now.saturating_sub(admitted_at);
    if let Some(end) = call_is_over(history, observed, now) {
        return end;
    }
    if in_call_for >= Duration::from_secs(limits.max_recording_secs) {
        return Decision::End(OutcomeKind::MaxDuration, "the limit was reached");
    }
    let (alone_limit, kind) = if history.met_somebody {
        (limits.everyone_left_secs, OutcomeKind::EveryoneLeft)
    } else {
        (limits.no_one_joined_secs, OutcomeKind::NoOneJoined)
    };
    if history.alone_since.is_some_and(|since| now.saturating_sub(since) >= Duration::from_secs(alone_limit)) {
        return Decision::End(kind, "two sources agree that nobody else is in the call");
    }
    let silence_counts = limits.silence_secs > 0 && in_call_for >= Duration::from_secs(limits.silence_start_delay_secs);
    if silence_counts && observed.silent_for >= Duration::from_secs(limits.silence_secs) {
        return Decision::End(OutcomeKind::Silence, "no sound for the limit");
    }
    Decision::Record
}

/// The controls are gone (one signal) and something else says that the call is over (the other).
fn call_is_over(history: &History, observed: &Observed, now: Duration) -> Option<Decision> {
    let gone_for = now.saturating_sub(history.controls_gone_since?);
    if let Some((meaning, _)) = history.reason_since {
        let kind = if meaning == Meaning::Removed { OutcomeKind::Removed } else { OutcomeKind::HostEnded };
        return Some(Decision::End(kind, "the page says so and the call's controls are gone"));
    }
    if observed.seen.host_differs && gone_for >= AWAY_STANDS {
        return Some(Decision::End(OutcomeKind::HostEnded, "the page has left the platform and the call's controls are gone"));
    }
    let lost = gone_for >= CONTROLS_GONE;
    lost.then_some(Decision::End(OutcomeKind::PageUnresponsive, "the call's controls are gone and no reason is shown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Meaning::*;

    /// A look: second, what is shown, counts, seconds of silence.
    type Look<'a> = (u64, &'a [Meaning], &'a [(&'a str, u32)], u64);

    fn limits() -> SessionLimits {
        SessionLimits {
            join_timeout_secs: 120,
            lobby_timeout_secs: 300,
            max_recording_secs: 3_600,
            everyone_left_secs: 60,
            no_one_joined_secs: 600,
            silence_secs: 900,
            silence_start_delay_secs: 300,
        }
    }

    /// Plays looks one after another; answers the last decision.
    fn play(looks: &[Look<'_>]) -> Decision {
        let mut history = History::default();
        let mut decision = Decision::Stay;
        for (second, shown, counts, silent) in looks {
            let seen = Seen {
                meanings: shown.iter().copied().collect(),
                counts: counts.iter().map(|(name, count)| ((*name).to_owned(), Some(*count))).collect(),
                ..Seen::default()
            };
            let observed = Observed { seen, silent_for: Duration::from_secs(*silent) };
            let now = Duration::from_secs(*second);
            history = history.after(&observed, &limits(), now);
            decision = decide(&history, &observed, &limits(), now);
        }
        decision
    }

    fn ends(decision: Decision) -> Option<OutcomeKind> {
        match decision {
            Decision::End(kind, _) => Some(kind),
            _ => None,
        }
    }

    const NONE: &[(&str, u32)] = &[];

    #[test]
    fn every_wall_before_the_call_has_its_own_outcome() {
        for (meaning, kind) in [
            (Denied, OutcomeKind::Denied),
            (RequestTimedOut, OutcomeKind::LobbyTimeout),
            (Ended, OutcomeKind::EndedBeforeAdmission),
            (Captcha, OutcomeKind::Captcha),
            (SignIn, OutcomeKind::SignInRequired),
            (NotFound, OutcomeKind::MeetingNotFound),
            (Blocked, OutcomeKind::BlockedByPlatform),
        ] {
            let shown = [meaning];
            assert_eq!(play(&[(1, &shown, NONE, 0)]), Decision::Stay, "{meaning:?} flashed once");
            assert_eq!(ends(play(&[(1, &shown, NONE, 0), (5, &shown, NONE, 0)])), Some(kind), "{meaning:?}");
        }
    }

    #[test]
    fn a_wall_that_goes_away_starts_its_clock_again() {
        let looks: [Look<'_>; 3] = [(1, &[Blocked], NONE, 0), (2, &[NamePrompt], NONE, 0), (5, &[Blocked], NONE, 0)];
        assert_eq!(play(&looks), Decision::Stay);
    }

    #[test]
    fn waiting_ends_by_its_own_limit_and_says_for_whom_it_waited() {
        assert_eq!(play(&[(1, &[Lobby], NONE, 0), (299, &[Lobby], NONE, 0)]), Decision::Wait);
        assert_eq!(ends(play(&[(1, &[Lobby], NONE, 0), (301, &[Lobby], NONE, 0)])), Some(OutcomeKind::LobbyTimeout));
        let host: [Look<'_>; 2] = [(1, &[WaitingForHost], NONE, 0), (301, &[WaitingForHost], NONE, 0)];
        assert_eq!(ends(play(&host)), Some(OutcomeKind::HostNeverStarted));
    }

    #[test]
    fn a_page_that_asks_again_after_a_waiting_room_is_answered_again() {
        let looks: [Look<'_>; 2] = [(1, &[Lobby], NONE, 0), (2, &[NamePrompt, ReadyToJoin], NONE, 0)];
        assert_eq!(play(&looks), Decision::Stay);
        let late: [Look<'_>; 2] = [(1, &[Lobby], NONE, 0), (301, &[NamePrompt, ReadyToJoin], NONE, 0)];
        assert_eq!(ends(play(&late)), Some(OutcomeKind::LobbyTimeout), "but not for ever");
    }

    #[test]
    fn a_page_with_no_known_way_to_join_is_reported_as_such() {
        assert_eq!(play(&[(119, &[], NONE, 0)]), Decision::Stay);
        assert_eq!(ends(play(&[(120, &[], NONE, 0)])), Some(OutcomeKind::JoinPageNotRecognised));
    }

    #[test]
    fn a_text_alone_never_ends_a_recording() {
        for meaning in [Ended, Removed, Left, Denied] {
            let shown = [InCall, meaning];
            let looks: [Look<'_>; 3] = [(1, &[InCall], NONE, 0), (2, &shown, NONE, 0), (2_000, &shown, NONE, 0)];
            assert_eq!(play(&looks), Decision::Record, "{meaning:?} typed into the chat");
        }
    }

    #[test]
    fn missing_controls_alone_do_not_end_a_recording_soon() {
        let looks: [Look<'_>; 3] = [(1, &[InCall], NONE, 0), (2, &[], NONE, 0), (50, &[], NONE, 0)];
        assert_eq!(play(&looks), Decision::Record);
        let back: [Look<'_>; 4] = [(1, &[InCall], NONE, 0), (2, &[], NONE, 0), (50, &[InCall], NONE, 0), (70, &[], NONE, 0)];
        assert_eq!(play(&back), Decision::Record, "the clock did not start again");
        let lost: [Look<'_>; 3] = [(1, &[InCall], NONE, 0), (2, &[], NONE, 0), (62, &[], NONE, 0)];
        assert_eq!(ends(play(&lost)), Some(OutcomeKind::PageUnresponsive));
    }

    #[test]
    fn text_and_missing_controls_end_it_at_once() {
        for (meaning, kind) in [(Ended, OutcomeKind::HostEnded), (Removed, OutcomeKind::Removed), (Left, OutcomeKind::HostEnded)]
        {
            assert_eq!(ends(play(&[(1, &[InCall], NONE, 0), (2, &[meaning], NONE, 0)])), Some(kind), "{meaning:?}");
        }
    }

    #[test]
    fn being_alone_needs_two_sources_that_agree() {
        let both: &[(&str, u32)] = &[("tiles", 0), ("people", 0)];
        let one: &[(&str, u32)] = &[("tiles", 0)];
        let split: &[(&str, u32)] = &[("tiles", 0), ("people", 2)];
        let met: Look<'_> = (1, &[InCall], &[("tiles", 1), ("people", 1)], 0);
        for (counts, silent, kind) in [
            (both, 0, Some(OutcomeKind::EveryoneLeft)),
            (one, 0, None),
            (one, 70, Some(OutcomeKind::EveryoneLeft)),
            (split, 70, None),
            (NONE, 70, None),
        ] {
            let looks = [met, (10, &[InCall], counts, silent), (75, &[InCall], counts, silent)];
            assert_eq!(ends(play(&looks)), kind, "{counts:?}, silent {silent}");
        }
    }

    #[test]
    fn nobody_ever_coming_has_a_longer_limit() {
        let both: &[(&str, u32)] = &[("tiles", 0), ("people", 0)];
        assert_eq!(play(&[(1, &[InCall], both, 0), (599, &[InCall], both, 0)]), Decision::Record);
        assert_eq!(ends(play(&[(1, &[InCall], both, 0), (601, &[InCall], both, 0)])), Some(OutcomeKind::NoOneJoined));
    }

    #[test]
    fn somebody_coming_back_starts_the_clock_of_being_alone_again() {
        let both: &[(&str, u32)] = &[("tiles", 0), ("people", 0)];
        let two: &[(&str, u32)] = &[("tiles", 1), ("people", 1)];
        let looks: [Look<'_>; 4] =
            [(1, &[InCall], two, 0), (10, &[InCall], both, 0), (60, &[InCall], two, 0), (80, &[InCall], both, 0)];
        assert_eq!(play(&looks), Decision::Record);
    }

    #[test]
    fn silence_counts_only_after_its_delay_and_length_only_by_the_clock() {
        let two: &[(&str, u32)] = &[("tiles", 1), ("people", 1)];
        assert_eq!(play(&[(1, &[InCall], two, 0), (200, &[InCall], two, 1_000)]), Decision::Record);
        assert_eq!(ends(play(&[(1, &[InCall], two, 0), (1_500, &[InCall], two, 900)])), Some(OutcomeKind::Silence));
        assert_eq!(ends(play(&[(1, &[InCall], two, 0), (3_601, &[InCall], two, 0)])), Some(OutcomeKind::MaxDuration));
    }
}
