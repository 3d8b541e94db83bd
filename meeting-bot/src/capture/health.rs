//! What the watchdogs make of what they see: pure bookkeeping of how long something has been so, and which signals
//! are raised.

use std::collections::BTreeMap;
use std::time::Duration;

use bot_model::session::MediaHealth;

use super::picture::Thumbnail;
use crate::sink::Stream;

/// A condition and since when it holds, on the recorder's own clock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lasting(Option<Duration>);

impl Lasting {
    /// Notes whether it holds at `now`.
    pub fn note(&mut self, holds: bool, now: Duration) {
        self.0 = holds.then(|| self.0.unwrap_or(now));
    }

    /// For how long it has held.
    pub fn lasted(&self, now: Duration) -> Duration {
        self.0.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

/// The pictures seen so far.
#[derive(Debug, Clone, Default)]
pub struct PictureWatch {
    last: Option<Thumbnail>,
    /// Of one colour.
    pub black: Lasting,
    /// Unchanged.
    pub frozen: Lasting,
}

impl PictureWatch {
    /// Takes a new picture in.
    pub fn see(&mut self, picture: Thumbnail, now: Duration) {
        self.black.note(picture.is_blank(), now);
        let same = self.last.as_ref().is_some_and(|last| last.is_same_as(&picture));
        self.frozen.note(same, now);
        self.last = Some(picture);
    }
}

/// Sound streams get this long to appear once the bot is in a call.
const STREAM_APPEARS: Duration = Duration::from_secs(20);

/// The silence that the browser plays all the time, so that the way to the sink stays open.
const STANDING_STREAMS: usize = 1;

/// Every stream plays to the bot's own sink and comes from its own browser, and the call's own is there where one is due.
pub fn sink_is_right(streams: &[Stream], is_ours: impl Fn(i32) -> bool, others: bool, in_call_for: Duration) -> bool {
    let all_right = streams.iter().all(|stream| stream.on_own_sink && stream.process.is_none_or(&is_ours));
    all_right && (streams.len() > STANDING_STREAMS || !others || in_call_for < STREAM_APPEARS)
}

/// How long a segment may take: three times its length, and a start on a loaded machine.
pub fn stall_limit(segment_secs: u32) -> Duration {
    Duration::from_secs(u64::from(segment_secs) * 3 + 8)
}

/// A black picture is worth a signal after this.
const BLACK: f64 = 20.0;
/// A still picture is normal while a slide is shown; only a long one is worth a signal.
const FROZEN: f64 = 120.0;

/// Which watchdog signals are raised.
#[derive(Debug, Clone, Default)]
pub struct Signals(BTreeMap<&'static str, bool>);

impl Signals {
    /// The signals that changed, with their new value.
    pub fn changes(&mut self, health: &MediaHealth, segment_secs: u32) -> Vec<(&'static str, bool)> {
        let stalled = health.part.is_some() && health.segment_age_secs > stall_limit(segment_secs).as_secs_f64();
        let now = [
            ("segments_stalled", stalled),
            ("picture_black", health.black_secs >= BLACK),
            ("picture_frozen", health.frozen_secs >= FROZEN),
            ("wrong_sink", !health.sink_is_right),
        ];
        now.into_iter().filter(|(name, raised)| self.0.insert(name, *raised).unwrap_or(false) != *raised).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(on_own_sink: bool, process: i32) -> Stream {
        Stream { on_own_sink, process: Some(process) }
    }

    #[test]
    fn a_foreign_or_misplaced_stream_makes_the_sink_wrong() {
        let ours = |process| process == 7;
        let late = Duration::from_secs(60);
        for (streams, right) in [
            (vec![stream(true, 7), stream(true, 7)], true),
            (vec![stream(true, 7)], false),
            (vec![stream(true, 7), stream(true, 8)], false),
            (vec![stream(true, 7), stream(false, 7)], false),
            (vec![], false),
        ] {
            assert_eq!(sink_is_right(&streams, ours, true, late), right, "{streams:?}");
        }
        assert!(sink_is_right(&[], ours, false, late), "alone, no stream is due");
        assert!(sink_is_right(&[], ours, true, Duration::ZERO), "streams get time to appear");
    }

    #[test]
    fn a_signal_is_told_when_it_begins_and_when_it_ends_and_not_between() {
        let mut signals = Signals::default();
        let good = MediaHealth { sink_is_right: true, ..MediaHealth::default() };
        let black = MediaHealth { black_secs: 30.0, ..good.clone() };
        assert_eq!(signals.changes(&good, 4), vec![]);
        assert_eq!(signals.changes(&black, 4), vec![("picture_black", true)]);
        assert_eq!(signals.changes(&black, 4), vec![]);
        assert_eq!(signals.changes(&good, 4), vec![("picture_black", false)]);
    }

    #[test]
    fn lasting_counts_from_the_first_time_and_starts_again() {
        let mut lasting = Lasting::default();
        let at = Duration::from_secs;
        lasting.note(true, at(5));
        lasting.note(true, at(9));
        assert_eq!(lasting.lasted(at(12)), at(7));
        lasting.note(false, at(12));
        assert_eq!(lasting.lasted(at(13)), at(0));
    }
}
