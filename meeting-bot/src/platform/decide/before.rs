//! Until the bot is in the call: walls, refusals, and how long to wait for whom.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionLimits;

use super::{Decision, History, Observed, stands};
use crate::platform::pack::Meaning;

/// A refusal has to stand this long: pages flash texts while they load.
const REFUSAL_STANDS: Duration = Duration::from_millis(900);
/// A wall (sign-in, captcha, blocked, not found) has to stand this long; Meet shows some of them for a moment.
const WALL_STANDS: Duration = Duration::from_secs(3);
/// Clients try again by themselves before they give up on connecting.
const TRIES_STAND: Duration = Duration::from_secs(10);
/// The platform's hosts left and nothing known shown: two signals, but pages pass through other hosts on their way.
const AWAY_STANDS: Duration = Duration::from_secs(10);
/// A page that waits and shows nothing at all any more has died.
const BLANK_STANDS: Duration = Duration::from_secs(60);

pub(super) fn decide(history: &History, observed: &Observed, limits: &SessionLimits, now: Duration) -> Decision {
    if let Some((meaning, since)) = history.reason_since {
        let (kind, limit) = refusal(meaning);
        if stands(Some(since), limit, now) {
            return Decision::End(kind, "the page has shown the reason for long enough");
        }
    }
    if stands(history.away_since, AWAY_STANDS, now) {
        let why = "the page has left the platform's hosts, as it does for a sign-in, and shows nothing that is known";
        return Decision::End(OutcomeKind::SignInRequired, why);
    }
    match history.asked_at {
        Some(asked_at) => while_waiting(history, observed, limits, (asked_at, now)),
        None => while_joining(history, observed, limits, now),
    }
}

fn while_waiting(
    history: &History,
    observed: &Observed,
    limits: &SessionLimits,
    (asked_at, now): (Duration, Duration),
) -> Decision {
    let (limit, kind) = if history.waits_for_host {
        (limits.host_timeout_secs, OutcomeKind::HostNeverStarted)
    } else {
        (limits.lobby_timeout_secs, OutcomeKind::LobbyTimeout)
    };
    // Who goes from one kind of waiting to the other and back is not waited for longer than for both.
    let longest = Duration::from_secs(limits.host_timeout_secs.saturating_add(limits.lobby_timeout_secs));
    let since = history.waits_since.unwrap_or(asked_at);
    if stands(Some(since), Duration::from_secs(limit), now) || stands(Some(asked_at), longest, now) {
        return Decision::End(kind, "not admitted within the limit");
    }
    if stands(history.blank_since, BLANK_STANDS, now) {
        return Decision::End(OutcomeKind::PageUnresponsive, "the page that the bot waited in has been empty for a minute");
    }
    // Asked, yet the page asks again: the click was lost, or what looked like the waiting room was none.
    if observed.asks() { Decision::Stay } else { Decision::Wait }
}

fn while_joining(history: &History, observed: &Observed, limits: &SessionLimits, now: Duration) -> Decision {
    if now < Duration::from_secs(limits.join_timeout_secs) {
        return Decision::Stay;
    }
    if observed.shows(Meaning::PasscodePrompt) {
        return Decision::End(OutcomeKind::WrongPasscode, "the page still asks for a passcode after it was typed");
    }
    if !history.has_loaded || history.blank_since.is_some() {
        return Decision::End(OutcomeKind::PageUnresponsive, "the page did not load, or showed nothing, within the limit");
    }
    if observed.seen.foreign_frames > 0 {
        let why = "no way to join was found within the limit; the page holds a large frame of another origin, which cannot be looked into";
        return Decision::End(OutcomeKind::JoinPageNotRecognised, why);
    }
    Decision::End(OutcomeKind::JoinPageNotRecognised, "no way to join was found within the limit")
}

/// The outcome of a reason to give up, and how long it has to be shown.
fn refusal(meaning: Meaning) -> (OutcomeKind, Duration) {
    match meaning {
        Meaning::RequestTimedOut => (OutcomeKind::LobbyTimeout, REFUSAL_STANDS),
        Meaning::Ended | Meaning::Left => (OutcomeKind::EndedBeforeAdmission, REFUSAL_STANDS),
        Meaning::Captcha => (OutcomeKind::Captcha, WALL_STANDS),
        Meaning::SignIn => (OutcomeKind::SignInRequired, WALL_STANDS),
        Meaning::Registration => (OutcomeKind::RegistrationRequired, WALL_STANDS),
        Meaning::NotFound => (OutcomeKind::MeetingNotFound, WALL_STANDS),
        Meaning::Blocked => (OutcomeKind::BlockedByPlatform, WALL_STANDS),
        Meaning::WrongPasscode | Meaning::PasscodePrompt => (OutcomeKind::WrongPasscode, WALL_STANDS),
        Meaning::CouldNotConnect => (OutcomeKind::CouldNotConnect, TRIES_STAND),
        _ => (OutcomeKind::Denied, REFUSAL_STANDS),
    }
}
