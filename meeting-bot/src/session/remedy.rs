//! What to do about a watchdog's signal: a ladder of remedies for each, bounded in number and in time. Pure.
//!
//! From the mildest on: [`Remedy::Rebind`] touches sink and capture alone, the call goes on; [`Remedy::Reload`] leaves the call and
//! opens its page again; [`Remedy::Rejoin`] does so with a browser, display and sink anew. Each costs the recording some seconds at
//! most, and begins a new part: what is recorded is never touched. Where the ladder ends, the bot stays and records what there is.

use std::collections::BTreeMap;
use std::time::Duration;

use bot_model::session::MediaHealth;

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remedy {
    /// Sink and capture are begun anew, and the browser's streams moved to the sink.
    Rebind,
    /// The call is left, and its page opened again.
    Reload,
    /// The call is left, and joined again from nothing.
    Rejoin,
}

use Remedy::{Rebind, Rejoin, Reload};

impl Remedy {
    /// As events call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Rebind => "rebind",
            Reload => "reload",
            Rejoin => "rejoin",
        }
    }

    /// How long it may take to show an effect.
    fn settles(self) -> Duration {
        Duration::from_secs(if self == Rebind { 15 } else { 45 })
    }

    /// How often within [`BUDGET_OVER`].
    fn budget(self) -> usize {
        if self == Rebind { 6 } else { 2 }
    }
}

/// The remedies' number is bounded over this time, and a signal that was quiet for so long begins at the ladder's foot again.
const BUDGET_OVER: Duration = Duration::from_secs(3_600);

/// The remedies for a signal, the mildest first. Signals that no remedy can help, or that the recorder itself acts upon, have none.
fn ladder(signal: &str) -> &'static [Remedy] {
    match signal {
        "audio_missing" | "sink_lost" | "picture_frozen" => &[Rebind, Reload, Rejoin],
        "sound_stalled" => &[Rebind, Rebind, Rejoin],
        "wrong_sink" | "av_drift" => &[Rebind],
        _ => &[],
    }
}

/// Leaving a call on a platform's word alone takes more of it than a rebind: seconds of unheard speech.
const UNHEARD_TO_LEAVE_SECS: f64 = 20.0;

/// What is raised, and what was done about it.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    raised: BTreeMap<&'static str, Duration>,
    done: Vec<(Remedy, &'static str, Duration)>,
}

impl Ladder {
    /// A watchdog told.
    pub(super) fn told(&mut self, signal: &'static str, raised: bool, now: Duration) {
        if raised {
            self.raised.insert(signal, now);
        } else {
            self.raised.remove(signal);
        }
    }

    /// Everything that was raised, which nobody watches any more: the recorder has ended.
    pub(super) fn let_go(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.raised).into_keys().collect()
    }

    /// What to do now, if anything, and for which signal; it counts as done.
    pub(super) fn next(&mut self, health: &MediaHealth, now: Duration) -> Option<(Remedy, &'static str)> {
        self.done.retain(|(.., at)| now.saturating_sub(*at) < BUDGET_OVER);
        if self.done.last().is_some_and(|(remedy, _, at)| now.saturating_sub(*at) < remedy.settles()) {
            return None;
        }
        let due = self.raised.keys().find_map(|signal| Some((self.rung(signal, health)?, *signal)))?;
        self.done.push((due.0, due.1, now));
        Some(due)
    }

    /// The call must be left for this signal, whatever its ladder says: how, where the budget allows it.
    pub(super) fn leave(&mut self, signal: &'static str, now: Duration) -> Option<Remedy> {
        let next = [Reload, Rejoin].into_iter().find(|remedy| self.can_afford(*remedy))?;
        self.done.push((next, signal, now));
        Some(next)
    }

    fn rung(&self, signal: &str, health: &MediaHealth) -> Option<Remedy> {
        let leaves_on_its_word = signal == "audio_missing" && health.unheard_secs < UNHEARD_TO_LEAVE_SECS;
        self.affordable(signal).filter(|remedy| *remedy == Rebind || !leaves_on_its_word)
    }

    /// The rung above those already taken, where the budget allows.
    fn affordable(&self, signal: &str) -> Option<Remedy> {
        let taken = self.done.iter().filter(|(_, of, _)| *of == signal).count();
        let remedy = *ladder(signal).get(taken)?;
        self.can_afford(remedy).then_some(remedy)
    }

    fn can_afford(&self, remedy: Remedy) -> bool {
        self.done.iter().filter(|(done, ..)| *done == remedy).count() < remedy.budget()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn unheard(secs: f64) -> MediaHealth {
        MediaHealth { unheard_secs: secs, ..MediaHealth::default() }
    }

    /// What is done, and when, where these signals are raised from the beginning and nothing ever helps.
    fn done(signals: &[&'static str], health: &MediaHealth, until: u64) -> Vec<(u64, Remedy, &'static str)> {
        let mut ladder = Ladder::default();
        signals.iter().for_each(|signal| ladder.told(signal, true, at(0)));
        (0..until).filter_map(|now| ladder.next(health, at(now)).map(|(remedy, signal)| (now, remedy, signal))).collect()
    }

    #[test]
    fn the_ladder_is_climbed_once_with_time_for_each_remedy_to_help() {
        let taken = done(&["audio_missing"], &unheard(60.0), 3_000);
        assert_eq!(taken, [(0, Rebind, "audio_missing"), (15, Reload, "audio_missing"), (60, Rejoin, "audio_missing")]);
    }

    #[test]
    fn a_call_is_not_left_for_a_few_seconds_of_unheard_speech() {
        assert_eq!(done(&["audio_missing"], &unheard(9.0), 3_000), [(0, Rebind, "audio_missing")]);
    }

    #[test]
    fn what_no_remedy_can_help_or_the_recorder_acts_upon_is_left_alone() {
        let signals = ["picture_black", "segments_stalled", "capture_exited", "audio_clipping", "disk_low", "frames_missing"];
        assert_eq!(done(&signals, &MediaHealth::default(), 3_000), []);
        assert_eq!(done(&["wrong_sink"], &MediaHealth::default(), 3_000), [(0, Rebind, "wrong_sink")]);
    }

    #[test]
    fn whatever_happens_the_call_is_left_four_times_an_hour_at_most() {
        let mut ladder = Ladder::default();
        let all = ["audio_missing", "sink_lost", "picture_frozen", "sound_stalled", "wrong_sink", "av_drift"];
        let mut taken = Vec::new();
        for now in 0..36_000 {
            for signal in all {
                ladder.told(signal, now % 90 < 80, at(now));
            }
            taken.extend(ladder.next(&unheard(60.0), at(now)).map(|(remedy, _)| (now, remedy)));
        }
        for start in 0..32_400 {
            let within =
                |of: Remedy| taken.iter().filter(move |(now, remedy)| *remedy == of && (start..start + 3_600).contains(now));
            assert!(within(Reload).count() <= 2 && within(Rejoin).count() <= 2 && within(Rebind).count() <= 6);
        }
        assert!(taken.len() > 10, "later hours have budgets of their own");
    }

    #[test]
    fn a_signal_that_ended_is_left_alone_and_an_hour_later_begins_at_the_foot() {
        let mut ladder = Ladder::default();
        ladder.told("sink_lost", true, at(0));
        assert_eq!(ladder.next(&unheard(0.0), at(0)), Some((Rebind, "sink_lost")));
        ladder.told("sink_lost", false, at(5));
        assert_eq!(ladder.next(&unheard(0.0), at(100)), None);
        ladder.told("sink_lost", true, at(4_000));
        assert_eq!(ladder.next(&unheard(0.0), at(4_000)), Some((Rebind, "sink_lost")));
    }

    #[test]
    fn a_call_that_must_be_left_is_left_within_the_budget_and_its_signals_are_let_go() {
        let mut ladder = Ladder::default();
        ladder.told("sound_stalled", true, at(0));
        ladder.next(&unheard(0.0), at(0));
        let left: Vec<_> = (1..6).map(|now| ladder.leave("sound_stalled", at(now))).collect();
        assert_eq!(left, [Some(Reload), Some(Reload), Some(Rejoin), Some(Rejoin), None]);
        assert_eq!(ladder.let_go(), ["sound_stalled"]);
        assert_eq!(ladder.next(&unheard(0.0), at(1_000)), None);
    }
}
