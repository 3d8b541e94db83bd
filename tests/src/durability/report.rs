//! What a recording kept of what had been captured before each blow, by the time codes in its frames. Pure.

use practice_room::timecode::WRAPS_AFTER_MS;

use super::blow::Blow;

/// Most that a SIGKILL may cost of what was captured: the open segment of 4 s, its way into the bucket, and what the picture takes
/// from the clock to the capture.
pub const MOST_LOST_SECS: f64 = 6.0;
/// The same for a SIGTERM: the newest frame, and the picture's way. Nothing that was captured is lost.
pub const MOST_LOST_WITH_NOTICE_SECS: f64 = 0.75;
/// From the last picture of the clock until the room knows that the bot has left: the page shows none from the click on (0.3 to 0.7 s
/// measured at a load of 18). A segment that was open at the notice reaches back to before it.
pub const MOST_LOST_LEAVING_SECS: f64 = 1.5;
/// A hole between two time codes that is wider than this is a lost segment, not a page that stalled: a segment is 4 s long.
pub const WIDEST_STALL_MS: i64 = 2_500;

/// A blow, with instants in milliseconds since the epoch, all by this machine's clock, which is the time code's too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Struck {
    /// Which.
    pub blow: Blow,
    /// Since when there had been a capture.
    pub captured_from_ms: i64,
    /// The moment of the blow.
    pub at_ms: i64,
    /// When the bot had left in answer to a notice, by the room's log.
    pub left_ms: Option<i64>,
    /// When the bot was in the call again, by the room's log; the blow's own moment where it never left.
    pub in_call_ms: i64,
    /// When the next capture had begun.
    pub captured_again_ms: i64,
    /// It ended within its notice.
    pub ended_in_time: bool,
}

/// What a blow cost, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Which.
    pub blow: Blow,
    /// Captured before the blow and not in the video.
    pub lost_secs: f64,
    /// From the last instant that the video shows to the bot's leaving in answer to a notice; 0 without one.
    pub lost_leaving_secs: f64,
    /// Until the bot was in the call again.
    pub back_secs: f64,
    /// Until something was captured again.
    pub captured_again_secs: f64,
    /// It ended within its notice.
    pub ended_in_time: bool,
}

impl Cost {
    /// True where no more was lost than is promised.
    pub fn is_as_promised(&self) -> bool {
        let most = if self.blow.is_announced() { MOST_LOST_WITH_NOTICE_SECS } else { MOST_LOST_SECS };
        self.lost_secs <= most && self.lost_leaving_secs <= MOST_LOST_LEAVING_SECS && self.ended_in_time
    }
}

/// The time codes as instants, sorted. `begun_ms` lies before the first, and less than ten minutes before the last.
pub fn instants(codes: &[u32], begun_ms: i64) -> Vec<i64> {
    let wraps = i64::from(WRAPS_AFTER_MS);
    let mut instants: Vec<i64> = codes.iter().map(|code| begun_ms + (i64::from(*code) - begun_ms).rem_euclid(wraps)).collect();
    instants.sort_unstable();
    instants
}

/// What a blow cost, by the instants that the video shows.
pub fn cost(struck: &Struck, shown: &[i64]) -> Cost {
    let Struck { blow, captured_from_ms: from, at_ms: at, .. } = *struck;
    let mut reached = from;
    let mut lost = 0;
    for instant in shown.iter().copied().filter(|instant| (from..=at).contains(instant)) {
        // The page needs a moment until it shows the call, so the first step says nothing of segments.
        let step = instant - reached;
        lost += if step > WIDEST_STALL_MS && reached > from { step } else { 0 };
        reached = instant;
    }
    let secs = |from: i64, to: i64| (to - from) as f64 / 1_000.0;
    let leaving = struck.left_ms.map(|left| {
        let last = shown.iter().copied().filter(|instant| *instant <= left).max();
        secs(last.unwrap_or(from).max(from), left)
    });
    Cost {
        blow,
        lost_leaving_secs: leaving.unwrap_or_default(),
        lost_secs: lost as f64 / 1_000.0 + secs(reached, at),
        back_secs: secs(at, struck.in_call_ms),
        captured_again_secs: secs(at, struck.captured_again_ms),
        ended_in_time: struck.ended_in_time,
    }
}

/// The value that `share` (0 to 1) of the values do not exceed; zero of none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: i64 = 1_795_237_825_000;

    fn struck(at_secs: i64) -> Struck {
        let at_ms = BEGUN + at_secs * 1_000;
        let (in_call_ms, captured_again_ms) = (at_ms + 7_000, at_ms + 8_000);
        Struck {
            blow: Blow::Group,
            captured_from_ms: BEGUN + 5_000,
            at_ms,
            left_ms: None,
            in_call_ms,
            captured_again_ms,
            ended_in_time: true,
        }
    }

    /// A frame each 100 ms in spans of seconds.
    fn shown(spans: &[(i64, i64)]) -> Vec<i64> {
        spans.iter().flat_map(|(from, to)| (from * 10..to * 10).map(|tenth| BEGUN + tenth * 100)).collect()
    }

    fn lost(at_secs: i64, spans: &[(i64, i64)]) -> f64 {
        cost(&struck(at_secs), &shown(spans)).lost_secs
    }

    #[test]
    fn what_is_missing_before_the_blow_is_lost_and_what_is_missing_after_it_is_not() {
        assert!((lost(20, &[(6, 17), (30, 40)]) - 3.1).abs() < 0.01);
        assert!((lost(20, &[(6, 25)])).abs() < 0.01);
    }

    #[test]
    fn what_is_captured_between_a_notice_and_the_leaving_counts_too() {
        let noticed = Struck { blow: Blow::Terminate, left_ms: Some(BEGUN + 22_000), ..struck(20) };
        let cost_of = |spans: &[(i64, i64)]| cost(&noticed, &shown(spans));
        assert!((cost_of(&[(6, 20), (25, 30)]).lost_leaving_secs - 2.1).abs() < 0.01);
        assert!((cost_of(&[(6, 22), (25, 30)]).lost_leaving_secs - 0.1).abs() < 0.01);
        assert!(cost(&struck(20), &shown(&[(6, 15)])).lost_leaving_secs.abs() < 0.01);
    }

    #[test]
    fn a_missing_segment_in_the_middle_counts_and_a_stalled_page_does_not() {
        assert!((lost(30, &[(6, 14), (18, 30)]) - 4.2).abs() < 0.01);
        assert!((lost(30, &[(6, 14), (16, 30)]) - 0.1).abs() < 0.01);
    }

    #[test]
    fn a_stay_without_one_frame_is_lost_whole_and_an_earlier_stay_does_not_make_up_for_it() {
        assert!((lost(9, &[(0, 4)]) - 4.0).abs() < 0.01);
    }

    #[test]
    fn codes_are_told_apart_across_their_wrap() {
        let codes: Vec<u32> =
            [0, 299_000, 301_000].map(|after| ((BEGUN + 351_000 - BEGUN % 650_000 + after) % 650_000) as u32).to_vec();
        let begun = BEGUN + 350_000 - BEGUN % 650_000;
        assert_eq!(instants(&codes, begun), [1_000, 300_000, 302_000].map(|after| begun + after));
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!(
            (percentile(&values, 0.5) - 50.0).abs() < f64::EPSILON && (percentile(&values, 0.99) - 99.0).abs() < f64::EPSILON
        );
        assert!((percentile(&[3.0], 0.99) - 3.0).abs() < f64::EPSILON && percentile(&[], 0.5).abs() < f64::EPSILON);
    }
}
