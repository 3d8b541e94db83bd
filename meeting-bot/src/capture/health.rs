//! What the watchdogs make of what they see: pure bookkeeping of how long something has been so.

use std::collections::VecDeque;
use std::time::Duration;

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

/// Frames repeated or left out, over the last half minute.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Losses(VecDeque<(Duration, u64, u64)>);

/// As far back as losses count.
const LOSSES_OVER: Duration = Duration::from_secs(30);
/// Less says nothing.
const LEAST_FRAMES: u64 = 60;

impl Losses {
    /// Takes in the part's counters: frames, and those of them that were repeated or left out.
    pub fn see(&mut self, frames: u64, lost: u64, now: Duration) {
        if self.0.back().is_some_and(|(_, before, _)| *before > frames) {
            self.0.clear();
        }
        self.0.push_back((now, frames, lost));
        while self.0.len() > 2 && self.0.front().is_some_and(|(at, ..)| now.saturating_sub(*at) > LOSSES_OVER) {
            self.0.pop_front();
        }
    }

    /// From 0 to 1.
    pub fn share(&self) -> f64 {
        let (Some((_, frames, lost)), Some((_, frames_now, lost_now))) = (self.0.front(), self.0.back()) else { return 0.0 };
        let (frames, lost) = (frames_now - frames, lost_now.saturating_sub(*lost));
        if frames < LEAST_FRAMES { 0.0 } else { (lost as f64 / frames as f64).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(on_own_sink: bool, process: i32) -> Stream {
        Stream { index: 1, on_own_sink, process: Some(process) }
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
    fn only_the_losses_of_the_last_half_minute_count() {
        let mut losses = Losses::default();
        let at = Duration::from_secs;
        losses.see(0, 0, at(0));
        losses.see(30, 30, at(2));
        assert!(losses.share() < f64::EPSILON, "too few frames to tell");
        losses.see(150, 60, at(10));
        assert!((losses.share() - 0.4).abs() < 1e-9);
        losses.see(600, 60, at(40));
        losses.see(750, 60, at(50));
        assert!(losses.share() < f64::EPSILON);
        losses.see(15, 0, at(51));
        assert!(losses.share() < f64::EPSILON, "a new part counts from zero");
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
