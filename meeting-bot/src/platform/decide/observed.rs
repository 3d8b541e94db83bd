//! One look at the page together with what the recorder hears, and what follows from it alone.

use std::time::Duration;

use bot_model::other_bots::is_other_bot;
use bot_model::session::SessionLimits;

use crate::platform::pack::Meaning;
use crate::platform::probe::Seen;

/// A look at the page together with what the recorder hears.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The page.
    pub seen: Seen,
    /// No sound for this long.
    pub silent_for: Duration,
    /// The call's address holds a passcode.
    pub has_passcode: bool,
}

/// Silence that agrees with an empty call is at least this long, whatever the limits say.
const SHORTEST_SILENCE: Duration = Duration::from_secs(5);

impl Observed {
    /// Other people in the call: the highest of the readable sources, less those whose names are other bots'.
    pub fn others(&self, limits: &SessionLimits) -> Option<u32> {
        let people = self.seen.people.iter().flatten().filter(|person| !person.is_self);
        let bots = people.clone().filter(|person| is_other_bot(&person.name, &limits.other_bot_names)).count();
        let listed = self.seen.people.as_ref().map(|_| people.count());
        let counted = self.seen.counts.values().flatten().copied().max();
        let all = listed.and_then(|count| u32::try_from(count).ok()).max(counted)?;
        Some(all.saturating_sub(u32::try_from(bots).unwrap_or(u32::MAX)))
    }

    /// Two sources at least say that nobody else is there, and none says otherwise. The list of people is a source of its own only
    /// where nothing could be counted: it is read from the same tiles as a count.
    pub(super) fn is_alone(&self, limits: &SessionLimits) -> bool {
        if self.others(limits).is_some_and(|others| others > 0) {
            return false;
        }
        let counters = self.seen.counts.values().flatten().count();
        let listed = usize::from(counters == 0 && self.seen.people.is_some());
        let shown = counters + listed + usize::from(self.shows(Meaning::Alone));
        let silent = self.silent_for >= Duration::from_secs(limits.everyone_left_secs).max(SHORTEST_SILENCE);
        shown + usize::from(silent && shown > 0) >= 2
    }

    /// The platform's own mark stands beside somebody else.
    pub(super) fn somebody_else_speaks(&self) -> bool {
        let own = |key: &String| self.seen.people.iter().flatten().any(|person| person.is_self && person.key == *key);
        self.seen.speaking.iter().any(|key| !own(key))
    }

    pub(super) fn shows(&self, meaning: Meaning) -> bool {
        self.seen.meanings.contains(&meaning)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.shows(Meaning::Lobby) || self.shows(Meaning::WaitingForHost)
    }

    /// The page wants something that comes before waiting.
    pub(super) fn asks(&self) -> bool {
        let asking = [Meaning::ReadyToJoin, Meaning::NamePrompt, Meaning::PasscodePrompt, Meaning::Launcher];
        !self.is_waiting() && asking.iter().any(|meaning| self.shows(*meaning))
    }

    /// The most telling reason to end that is shown.
    pub(super) fn reason(&self, is_admitted: bool) -> Option<Meaning> {
        let order: &[Meaning] = if is_admitted {
            &[Meaning::Removed, Meaning::Ended, Meaning::Left]
        } else {
            &[
                Meaning::Denied,
                Meaning::RequestTimedOut,
                Meaning::Removed,
                Meaning::Ended,
                Meaning::Left,
                Meaning::Captcha,
                Meaning::SignIn,
                Meaning::Registration,
                Meaning::WrongPasscode,
                Meaning::NotFound,
                Meaning::Blocked,
                Meaning::CouldNotConnect,
            ]
        };
        let shown = order.iter().copied().find(|meaning| self.shows(*meaning));
        // A passcode is asked for and there is none: the same as a wrong one.
        let cannot_answer = !is_admitted && !self.has_passcode && self.shows(Meaning::PasscodePrompt);
        shown.or(cannot_answer.then_some(Meaning::PasscodePrompt))
    }
}
