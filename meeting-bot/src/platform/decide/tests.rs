//! Looks played one after another, and the decision that follows.

mod before;
mod in_call;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::platform::pack::Meaning;
use crate::platform::probe::{PersonSeen, Seen};

/// A look at the page: when, what is shown, what is counted, how long it has been silent.
#[derive(Debug, Clone, Default)]
struct Look {
    second: f64,
    observed: Observed,
}

fn at(second: impl Into<f64>, shown: &[Meaning]) -> Look {
    let seen = Seen { loaded: true, meanings: shown.iter().copied().collect(), ..Seen::default() };
    Look { second: second.into(), observed: Observed { seen, ..Observed::default() } }
}

impl Look {
    fn counting(mut self, counts: &[(&str, u32)]) -> Self {
        self.observed.seen.counts =
            counts.iter().map(|(name, count)| ((*name).to_owned(), Some(*count))).collect::<BTreeMap<_, _>>();
        self
    }

    /// The bot itself and these.
    fn with(mut self, names: &[&str]) -> Self {
        let person = |name: &&str| PersonSeen { key: (*name).to_owned(), name: (*name).to_owned(), is_self: *name == "self" };
        self.observed.seen.people = Some(["self"].iter().chain(names).map(person).collect());
        self
    }

    fn speaking(mut self, keys: &[&str]) -> Self {
        self.observed.seen.speaking = keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        self
    }

    fn silent(mut self, seconds: u64) -> Self {
        self.observed.silent_for = Duration::from_secs(seconds);
        self
    }

    fn seeing(mut self, change: impl FnOnce(&mut Seen)) -> Self {
        change(&mut self.observed.seen);
        self
    }

    fn with_passcode(mut self) -> Self {
        self.observed.has_passcode = true;
        self
    }
}

fn limits() -> SessionLimits {
    SessionLimits {
        join_timeout_secs: 120,
        lobby_timeout_secs: 300,
        host_timeout_secs: 500,
        reconnect_secs: 120,
        max_recording_secs: 3_600,
        everyone_left_secs: 60,
        no_one_joined_secs: 600,
        silence_secs: 900,
        silence_start_delay_secs: 300,
        ..SessionLimits::default()
    }
}

/// Plays looks one after another; answers the last decision.
fn play(looks: &[Look]) -> Decision {
    let (mut history, limits, mut decision) = (History::default(), limits(), Decision::Stay);
    for Look { second, observed } in looks {
        let now = Duration::from_secs_f64(*second);
        history = history.after(observed, &limits, now);
        decision = decide(&history, observed, &limits, now);
    }
    decision
}

fn ends(looks: &[Look]) -> Option<OutcomeKind> {
    match play(looks) {
        Decision::End(kind, _) => Some(kind),
        _ => None,
    }
}

/// One way to each outcome that the engine can come to.
fn ways() -> Vec<(OutcomeKind, Vec<Look>)> {
    use Meaning::*;
    let shown = |meaning: Meaning| vec![at(1, &[meaning]), at(15, &[meaning])];
    let both: &[(&str, u32)] = &[("tiles", 0), ("people", 0)];
    let met = || at(1, &[InCall]).counting(&[("tiles", 1), ("people", 1)]);
    vec![
        (OutcomeKind::Denied, shown(Denied)),
        (OutcomeKind::LobbyTimeout, shown(RequestTimedOut)),
        (OutcomeKind::EndedBeforeAdmission, shown(Ended)),
        (OutcomeKind::Captcha, shown(Captcha)),
        (OutcomeKind::SignInRequired, shown(SignIn)),
        (OutcomeKind::RegistrationRequired, shown(Registration)),
        (OutcomeKind::MeetingNotFound, shown(NotFound)),
        (OutcomeKind::BlockedByPlatform, shown(Blocked)),
        (OutcomeKind::WrongPasscode, shown(WrongPasscode)),
        (OutcomeKind::CouldNotConnect, shown(CouldNotConnect)),
        (OutcomeKind::HostNeverStarted, vec![at(1, &[WaitingForHost]), at(501, &[WaitingForHost])]),
        (OutcomeKind::JoinPageNotRecognised, vec![at(120, &[])]),
        (OutcomeKind::PageUnresponsive, vec![at(120, &[]).seeing(|seen| seen.loaded = false)]),
        (OutcomeKind::HostEnded, vec![at(1, &[InCall]), at(2, &[Ended]), at(3, &[Ended])]),
        (OutcomeKind::Removed, vec![at(1, &[InCall]), at(2, &[Removed]), at(3, &[Removed])]),
        (OutcomeKind::ConnectionLost, vec![at(1, &[InCall]), at(2, &[Reconnecting]), at(122, &[Reconnecting])]),
        (OutcomeKind::EveryoneLeft, vec![met(), at(2, &[InCall]).counting(both), at(62, &[InCall]).counting(both)]),
        (OutcomeKind::NoOneJoined, vec![at(1, &[InCall]).counting(both), at(601, &[InCall]).counting(both)]),
        (OutcomeKind::Silence, vec![met(), at(1_500, &[InCall]).counting(&[("tiles", 1)]).silent(900)]),
        (OutcomeKind::MaxDuration, vec![met(), at(3_601, &[InCall]).counting(&[("tiles", 1)])]),
    ]
}

#[test]
fn every_outcome_that_the_engine_names_is_reached() {
    let reached: BTreeSet<String> = ways()
        .iter()
        .map(|(kind, looks)| {
            assert_eq!(ends(looks), Some(*kind));
            format!("{kind:?}")
        })
        .collect();
    let sources = [include_str!("before.rs"), include_str!("in_call.rs")].concat();
    let named = |rest: &str| rest.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
    let all: BTreeSet<String> = sources.split("OutcomeKind::").skip(1).map(named).collect();
    assert_eq!(reached, all);
}
