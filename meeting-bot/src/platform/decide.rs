//! What to do, given what was seen: pure, and tested in tables.
//!
//! Leaving a call needs two independent signals to agree: a text can be typed by anybody, a control can be hidden by a dialog, a
//! counter can be misread, a sink can be the wrong one. [`History::after`] folds a look into what is known, [`decide`] judges it.

mod before;
mod history;
mod in_call;
mod observed;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionLimits;

pub use history::History;
pub use observed::Observed;

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

/// Judges a look; `history` has it folded in already. `now` counts from the opening of the page.
pub fn decide(history: &History, observed: &Observed, limits: &SessionLimits, now: Duration) -> Decision {
    match history.admitted_at {
        Some(admitted_at) => in_call::decide(history, observed, limits, (admitted_at, now)),
        None => before::decide(history, observed, limits, now),
    }
}

/// `since` began at least `limit` ago.
fn stands(since: Option<Duration>, limit: Duration, now: Duration) -> bool {
    since.is_some_and(|since| now.saturating_sub(since) >= limit)
}
