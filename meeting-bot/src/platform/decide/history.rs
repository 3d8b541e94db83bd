//! What is known from all looks so far.

use std::collections::BTreeSet;
use std::time::Duration;

use bot_model::session::SessionLimits;

use super::observed::Observed;
use super::stands;
use crate::platform::pack::Meaning;

/// Longer than an end has to be shown to be believed.
const HOLDS_STILL: Duration = Duration::from_secs(20);
/// A mark that has not changed for this long names who spoke last.
const SPEAKS: Duration = Duration::from_secs(20);

/// What is known from all looks so far. Times are since the session's page was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// When the bot asked to join, or was first seen waiting.
    pub asked_at: Option<Duration>,
    /// When the bot was first seen in the call.
    pub admitted_at: Option<Duration>,
    /// The last waiting was for the host to start the call.
    pub waits_for_host: bool,
    /// The bot has waited since then for whom it waits for now.
    pub waits_since: Option<Duration>,
    /// Somebody else was in the call at some time.
    pub met_somebody: bool,
    /// Two sources have agreed since then that nobody else is there.
    pub alone_since: Option<Duration>,
    /// The same reason to end has been shown since then.
    pub reason_since: Option<(Meaning, Duration)>,
    /// The controls of the call have been gone since then.
    pub controls_gone_since: Option<Duration>,
    /// The client has said since then that it reconnects.
    pub reconnecting_since: Option<Duration>,
    /// The page has been elsewhere, and shown nothing that is known, since then.
    pub away_since: Option<Duration>,
    /// The page has been empty since then.
    pub blank_since: Option<Duration>,
    /// The page has loaded at some time.
    pub has_loaded: bool,
    /// When the platform last showed somebody beginning or ceasing to speak.
    pub spoke_at: Option<Duration>,
    /// Who was marked as speaking at the last look.
    pub speaking: BTreeSet<String>,
}

impl History {
    /// What is known after a look at `now`.
    pub fn after(&self, observed: &Observed, limits: &SessionLimits, now: Duration) -> Self {
        let mut next = self.clone();
        let since = |holds: bool, before: Option<Duration>| holds.then(|| before.unwrap_or(now));
        let seen = &observed.seen;
        next.has_loaded |= seen.loaded;
        next.blank_since = since(seen.is_blank, self.blank_since);
        next.away_since = since(seen.host_differs && seen.meanings.is_empty(), self.away_since);
        if next.admitted_at.is_none() {
            if observed.is_waiting() {
                next.asked_at = next.asked_at.or(Some(now));
                next.waits_for_host = observed.shows(Meaning::WaitingForHost);
                next.waits_since = self.waits_since.filter(|_| next.waits_for_host == self.waits_for_host).or(Some(now));
            }
            next.admitted_at = observed.shows(Meaning::InCall).then_some(now);
        }
        if next.admitted_at.is_some() {
            next.look_at_call(observed, limits, now);
        }
        next.reason_since = observed.reason(next.admitted_at.is_some()).map(|meaning| match self.reason_since {
            Some((same, since)) if same == meaning => (same, since),
            _ => (meaning, now),
        });
        next
    }

    fn look_at_call(&mut self, observed: &Observed, limits: &SessionLimits, now: Duration) {
        let since = |holds: bool, before: Option<Duration>| holds.then(|| before.unwrap_or(now));
        self.met_somebody |= observed.others(limits).is_some_and(|others| others > 0);
        self.reconnecting_since = since(observed.shows(Meaning::Reconnecting), self.reconnecting_since);
        // Tiles and controls go while a client reconnects: neither means anything then.
        let counts = !self.reconnects(limits, now);
        // Some clients mark who spoke last, for ever: it is the change that tells.
        if observed.seen.speaking != self.speaking {
            self.spoke_at = Some(now);
            self.speaking.clone_from(&observed.seen.speaking);
        }
        // Somebody with a bot's name who speaks may be a person.
        let speaks = observed.somebody_else_speaks() && !stands(self.spoke_at, SPEAKS, now);
        self.alone_since = since(counts && !speaks && observed.is_alone(limits), self.alone_since);
        self.controls_gone_since = since(counts && !observed.shows(Meaning::InCall), self.controls_gone_since);
    }

    /// The client reconnects, and its time for that has not run out.
    pub(super) fn reconnects(&self, limits: &SessionLimits, now: Duration) -> bool {
        self.reconnecting_since.is_some() && !stands(self.reconnecting_since, Duration::from_secs(limits.reconnect_secs), now)
    }

    /// An end has just been shown: what is in the way of it now, such as its own dialog, must stay until it is believed or not.
    pub fn holds_still(&self, now: Duration) -> bool {
        self.reason_since.is_some_and(|(_, since)| !stands(Some(since), HOLDS_STILL, now))
    }

    /// Notes that the bot has asked to join.
    pub fn asked(&mut self, now: Duration) {
        self.asked_at = self.asked_at.or(Some(now));
    }
}
