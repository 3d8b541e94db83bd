//! In the call: when to leave it. Never on one signal that can lie.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionLimits;

use super::{Decision, History, Observed, stands};
use crate::platform::pack::Meaning;

/// Controls gone and an end shown: two signals, that have to last for more than a single look.
const END_STANDS: Duration = Duration::from_millis(400);
/// An end shown while the controls stay, below a dialog: believed only after this much silence.
const SILENT_END_STANDS: Duration = Duration::from_secs(15);
/// Controls gone and the platform's host left: two signals, but navigation may be passing.
const AWAY_STANDS: Duration = Duration::from_secs(5);
/// Controls gone without any reason shown.
const CONTROLS_GONE: Duration = Duration::from_secs(60);
/// Tiles vanish for a moment while a client lays them out anew: nobody is alone sooner than this, whatever the limits say.
const TILES_VANISH: Duration = Duration::from_secs(5);

pub(super) fn decide(
    history: &History,
    observed: &Observed,
    limits: &SessionLimits,
    (admitted_at, now): (Duration, Duration),
) -> Decision {
    let checks = [
        call_is_over(history, observed, limits, now),
        connection_is_lost(history, observed, limits, now),
        longest(limits, now.saturating_sub(admitted_at)),
        nobody_is_there(history, limits, now),
        nobody_speaks(history, observed, limits, (admitted_at, now)),
    ];
    checks.into_iter().flatten().next().unwrap_or(Decision::Record)
}

/// The page says that the call is over and its controls are gone; or, where they stay below a dialog, nobody is shown and nothing has
/// been heard since it says so.
fn call_is_over(history: &History, observed: &Observed, limits: &SessionLimits, now: Duration) -> Option<Decision> {
    let gone_since = history.controls_gone_since;
    if let Some((meaning, since)) = history.reason_since {
        let kind = if meaning == Meaning::Removed { OutcomeKind::Removed } else { OutcomeKind::HostEnded };
        if stands(gone_since, END_STANDS, now) && stands(Some(since), END_STANDS, now) {
            return Some(Decision::End(kind, "the page says so and the call's controls are gone"));
        }
        let nobody = observed.others(limits).is_none_or(|others| others == 0);
        if nobody && stands(Some(since), SILENT_END_STANDS, now) && observed.silent_for >= SILENT_END_STANDS {
            return Some(Decision::End(kind, "the page says so, and nobody is shown and nothing has been heard since"));
        }
    }
    if observed.seen.host_differs && stands(gone_since, AWAY_STANDS, now) {
        return Some(Decision::End(OutcomeKind::HostEnded, "the page has left the platform and the call's controls are gone"));
    }
    let lost = stands(gone_since, CONTROLS_GONE, now);
    lost.then_some(Decision::End(OutcomeKind::PageUnresponsive, "the call's controls are gone and no reason is shown"))
}

/// The client still says that it reconnects when its time is up, and there are no controls or there is no sound either.
fn connection_is_lost(history: &History, observed: &Observed, limits: &SessionLimits, now: Duration) -> Option<Decision> {
    let limit = Duration::from_secs(limits.reconnect_secs);
    let agrees = !observed.shows(Meaning::InCall) || observed.silent_for >= limit;
    let lost = stands(history.reconnecting_since, limit, now) && agrees;
    let why = "the client has tried to reconnect for the limit, and controls or sound are gone";
    lost.then_some(Decision::End(OutcomeKind::ConnectionLost, why))
}

fn longest(limits: &SessionLimits, in_call_for: Duration) -> Option<Decision> {
    let reached = in_call_for >= Duration::from_secs(limits.max_recording_secs);
    reached.then_some(Decision::End(OutcomeKind::MaxDuration, "the limit was reached"))
}

fn nobody_is_there(history: &History, limits: &SessionLimits, now: Duration) -> Option<Decision> {
    let (limit, kind) = if history.met_somebody {
        (limits.everyone_left_secs, OutcomeKind::EveryoneLeft)
    } else {
        (limits.no_one_joined_secs, OutcomeKind::NoOneJoined)
    };
    let alone = stands(history.alone_since, Duration::from_secs(limit).max(TILES_VANISH), now);
    alone.then_some(Decision::End(kind, "two sources agree that nobody else is in the call"))
}

/// Nothing was heard, and the platform showed nobody speaking: a sink that hears nothing would be silent too.
fn nobody_speaks(
    history: &History,
    observed: &Observed,
    limits: &SessionLimits,
    (admitted_at, now): (Duration, Duration),
) -> Option<Decision> {
    let limit = Duration::from_secs(limits.silence_secs);
    let counts = limits.silence_secs > 0 && stands(Some(admitted_at), Duration::from_secs(limits.silence_start_delay_secs), now);
    let unseen = stands(Some(history.spoke_at.unwrap_or_default()), limit, now);
    let silent = counts && observed.silent_for >= limit && unseen;
    silent.then_some(Decision::End(OutcomeKind::Silence, "no sound for the limit, and nobody was shown speaking"))
}
