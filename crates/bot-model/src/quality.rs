//! The truth about a recording's picture and sound: what the bot notes while it records, and what is made of it.
//!
//! While a part is recorded, the bot writes a [`Stretch`] beside its segments about once a minute
//! ([`crate::segment::quality_file`]); each is final once written and is carried out like a segment, so that a bot that is
//! killed costs a minute of these facts. Whoever makes the files adds them up ([`Quality::of`]) for `recording.json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What was seen of a stretch of one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// When it began.
    pub from: DateTime<Utc>,
    /// What was counted in it.
    pub figures: Figures,
    /// What happened in it, and since the stretch before.
    #[serde(default)]
    pub events: Vec<Noted>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Seconds that were watched; everything else here is of these.
    pub watched_secs: f64,
    /// Seconds with a picture of one colour.
    pub black_secs: f64,
    /// Seconds in which the recorded picture stood still while the page showed another one.
    pub frozen_secs: f64,
    /// Seconds in which the recorded picture stood still for whatever reason; slides do.
    pub still_secs: f64,
    /// Seconds without a sound above -60 dBFS.
    pub silent_secs: f64,
    /// Seconds with samples at full scale.
    pub clipped_secs: f64,
    /// Seconds in which somebody spoke by the platform's own signal; 0 where the platform's page shows none.
    pub speaking_secs: f64,
    /// Of these, seconds in which the recording was silent.
    pub unheard_secs: f64,
    /// Frames written.
    pub frames: u64,
    /// Frames that are a repetition, because the display did not give one in time.
    pub frames_duplicated: u64,
    /// Frames that were left out.
    pub frames_dropped: u64,
    /// How much later than its picture the sound reached the capture, measured before the part and taken off it.
    pub sound_lag_ms: Option<i64>,
    /// How far the sound has moved against the picture since the part began; positive when it is late. The largest seen.
    pub drift_ms: Option<i64>,
}

/// Something that happened while recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noted {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen to picture and sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happening {
    /// A watchdog saw something, or saw it end.
    Watchdog {
        /// As in [`crate::session::SessionEventKind::Watchdog`].
        signal: String,
        /// True when it began.
        raised: bool,
    },
    /// The bot did something about it.
    Remedy {
        /// As in [`crate::session::SessionEventKind::Remedy`].
        remedy: String,
        /// The signal that it is for.
        signal: String,
    },
}

/// The quality section of `recording.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// In one word.
    pub verdict: Verdict,
    /// Why it is not good.
    pub reasons: Vec<Reason>,
    /// Share of the speaking time (by the platform's signal) in which sound was recorded, from 0 to 1; absent where nobody
    /// was seen to speak.
    pub sound_while_speaking: Option<f64>,
    /// Of all parts.
    pub whole: Figures,
    /// Of each part, in the manifest's order.
    pub parts: Vec<Figures>,
    /// Number of the times that nobody recorded.
    pub gaps: u32,
    /// Their length.
    pub gap_secs: f64,
    /// Watchdogs and remedies, in order.
    pub events: Vec<Noted>,
}

/// A recording's quality in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to complain of.
    Good,
    /// Usable, with something to know about it.
    Degraded,
    /// Picture or sound is missing to a large part.
    Bad,
}

/// Why a verdict is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// People spoke by the platform's signal while the recording was silent.
    SpeechMissing,
    /// The whole recording is silent.
    Silent,
    /// The picture was of one colour.
    Black,
    /// The picture stood still while the page's did not.
    Frozen,
    /// There are times that nobody recorded.
    Gaps,
    /// Frames were repeated or left out.
    FramesMissing,
    /// Sound and picture moved apart.
    Drift,
    /// Samples at full scale.
    Clipping,
    /// A sound that was not the call's, or a sink that was not the bot's.
    WrongSink,
    /// Capture or the sound server had to be begun again.
    Interrupted,
    /// Less than half of it was watched.
    Unwatched,
}

/// Shares of the time from which something counts, and from which it makes a recording bad.
const SPEECH: (f64, f64) = (0.05, 0.5);
const PICTURE: (f64, f64) = (0.02, 0.5);
const GAPS: (f64, f64) = (0.0, 0.2);
const FRAMES: (f64, f64) = (0.05, 0.5);
const CLIPPING: (f64, f64) = (0.02, 2.0);
/// Less speech than this proves nothing: the platform's signal is as coarse as a second or two.
const LEAST_SPEECH_SECS: f64 = 10.0;
/// Sound and picture this far apart are noticed; this far, nobody wants to watch it.
const DRIFT_MS: (i64, i64) = (120, 1_000);
/// A recording as short as this may well be silent.
const SHORT_SECS: f64 = 60.0;

impl Figures {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.watched_secs += other.watched_secs;
        self.black_secs += other.black_secs;
        self.frozen_secs += other.frozen_secs;
        self.still_secs += other.still_secs;
        self.silent_secs += other.silent_secs;
        self.clipped_secs += other.clipped_secs;
        self.speaking_secs += other.speaking_secs;
        self.unheard_secs += other.unheard_secs;
        self.frames += other.frames;
        self.frames_duplicated += other.frames_duplicated;
        self.frames_dropped += other.frames_dropped;
        self.sound_lag_ms = self.sound_lag_ms.or(other.sound_lag_ms);
        self.drift_ms = [self.drift_ms, other.drift_ms].into_iter().flatten().max_by_key(|drift| drift.abs());
    }

    /// Of stretches.
    pub fn sum<'a>(of: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        of.into_iter().for_each(|figures| sum.add(figures));
        // To the millisecond: sums of fractions would differ in the last digit from one finalizer's order to another's.
        for secs in [
            &mut sum.watched_secs,
            &mut sum.black_secs,
            &mut sum.frozen_secs,
            &mut sum.still_secs,
            &mut sum.silent_secs,
            &mut sum.clipped_secs,
            &mut sum.speaking_secs,
            &mut sum.unheard_secs,
        ] {
            *secs = (*secs * 1_000.0).round() / 1_000.0;
        }
        sum
    }

    /// See [`Quality::sound_while_speaking`].
    pub fn sound_while_speaking(&self) -> Option<f64> {
        (self.speaking_secs > 0.0).then(|| 1.0 - (self.unheard_secs / self.speaking_secs).clamp(0.0, 1.0))
    }

    fn share(&self, secs: f64) -> f64 {
        secs / self.watched_secs.max(1.0)
    }
}

impl Quality {
    /// Of a recording of `duration_secs`: the stretches of each part in order, and the lengths of the gaps. `None` where
    /// nothing was watched at all, as in recordings of another make.
    pub fn of(parts: &[Vec<Stretch>], gaps_secs: &[f64], duration_secs: f64) -> Option<Self> {
        if parts.iter().all(Vec::is_empty) {
            return None;
        }
        let figures: Vec<Figures> = parts.iter().map(|part| Figures::sum(part.iter().map(|stretch| &stretch.figures))).collect();
        let whole = Figures::sum(&figures);
        let mut events: Vec<Noted> = parts.iter().flatten().flat_map(|stretch| stretch.events.clone()).collect();
        events.sort_by_key(|event| event.at);
        // The sum of nothing is -0.0.
        let gap_secs: f64 = gaps_secs.iter().fold(0.0, |sum, secs| sum + secs);
        let mut findings = findings(&whole, gap_secs, duration_secs);
        findings.extend(raised(&events));
        let verdict = findings.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Good);
        let mut reasons: Vec<Reason> = findings.into_iter().map(|(_, reason)| reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        Some(Self {
            verdict,
            reasons,
            sound_while_speaking: whole.sound_while_speaking().map(|share| (share * 1_000.0).round() / 1_000.0),
            whole,
            parts: figures,
            gaps: u32::try_from(gaps_secs.len()).unwrap_or(u32::MAX),
            gap_secs,
            events,
        })
    }
}

/// What the figures say, each with the verdict that it would be alone.
fn findings(whole: &Figures, gap_secs: f64, duration_secs: f64) -> Vec<(Verdict, Reason)> {
    let frames = whole.frames.max(1) as f64;
    let unheard = if whole.speaking_secs < LEAST_SPEECH_SECS { 0.0 } else { whole.unheard_secs / whole.speaking_secs };
    let drift = whole.drift_ms.unwrap_or_default().abs();
    let shares = [
        (unheard, SPEECH, Reason::SpeechMissing),
        (whole.share(whole.black_secs), PICTURE, Reason::Black),
        (whole.share(whole.frozen_secs), PICTURE, Reason::Frozen),
        (gap_secs / (gap_secs + duration_secs).max(1.0), GAPS, Reason::Gaps),
        ((whole.frames_duplicated + whole.frames_dropped) as f64 / frames, FRAMES, Reason::FramesMissing),
        (whole.share(whole.clipped_secs), CLIPPING, Reason::Clipping),
        (drift as f64, (DRIFT_MS.0 as f64, DRIFT_MS.1 as f64), Reason::Drift),
    ];
    let judged = shares.into_iter().filter(|(share, (counts, _), _)| share > counts);
    let mut found: Vec<_> =
        judged.map(|(share, (_, bad), reason)| (if share > bad { Verdict::Bad } else { Verdict::Degraded }, reason)).collect();
    let silent = whole.watched_secs >= SHORT_SECS && whole.share(whole.silent_secs) > 0.98;
    found.extend(silent.then_some((Verdict::Degraded, Reason::Silent)));
    let unwatched = duration_secs >= 2.0 * SHORT_SECS && whole.watched_secs < duration_secs / 2.0;
    found.extend(unwatched.then_some((Verdict::Degraded, Reason::Unwatched)));
    found
}

/// What the watchdogs say, where the figures do not say it better.
fn raised(events: &[Noted]) -> impl Iterator<Item = (Verdict, Reason)> + '_ {
    events.iter().filter_map(|event| match &event.what {
        Happening::Watchdog { signal, raised: true } => match signal.as_str() {
            "wrong_sink" => Some((Verdict::Degraded, Reason::WrongSink)),
            "segments_stalled" | "capture_exited" | "sound_stalled" | "sink_lost" => {
                Some((Verdict::Degraded, Reason::Interrupted))
            }
            "audio_missing" => Some((Verdict::Degraded, Reason::SpeechMissing)),
            "picture_frozen" => Some((Verdict::Degraded, Reason::Frozen)),
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(figures: Figures, events: Vec<Noted>) -> Stretch {
        Stretch { from: DateTime::UNIX_EPOCH, figures, events }
    }

    fn minute() -> Figures {
        Figures { watched_secs: 60.0, frames: 900, speaking_secs: 40.0, silent_secs: 10.0, ..Figures::default() }
    }

    fn judge(figures: Figures) -> (Verdict, Vec<Reason>) {
        let quality = Quality::of(&[vec![stretch(figures, vec![])]], &[], 60.0).unwrap();
        (quality.verdict, quality.reasons)
    }

    #[test]
    fn a_recording_is_judged_by_what_it_lacks() {
        use Reason::{Black, Clipping, Drift, FramesMissing, Frozen, Silent, SpeechMissing};
        use Verdict::{Bad, Degraded, Good};
        let table = [
            (minute(), Good, vec![]),
            (Figures { unheard_secs: 1.0, ..minute() }, Good, vec![]),
            (Figures { unheard_secs: 10.0, ..minute() }, Degraded, vec![SpeechMissing]),
            (Figures { unheard_secs: 30.0, silent_secs: 40.0, ..minute() }, Bad, vec![SpeechMissing]),
            (Figures { speaking_secs: 6.0, unheard_secs: 6.0, ..minute() }, Good, vec![]),
            (Figures { speaking_secs: 0.0, silent_secs: 60.0, ..minute() }, Degraded, vec![Silent]),
            (Figures { black_secs: 20.0, ..minute() }, Degraded, vec![Black]),
            (Figures { black_secs: 40.0, ..minute() }, Bad, vec![Black]),
            (Figures { still_secs: 60.0, ..minute() }, Good, vec![]),
            (Figures { still_secs: 60.0, frozen_secs: 40.0, ..minute() }, Bad, vec![Frozen]),
            (Figures { frames_duplicated: 60, frames_dropped: 30, ..minute() }, Degraded, vec![FramesMissing]),
            (Figures { clipped_secs: 3.0, ..minute() }, Degraded, vec![Clipping]),
            (Figures { drift_ms: Some(-200), ..minute() }, Degraded, vec![Drift]),
            (Figures { drift_ms: Some(60), ..minute() }, Good, vec![]),
        ];
        for (figures, verdict, reasons) in table {
            assert_eq!(judge(figures), (verdict, reasons), "{figures:?}");
        }
    }

    #[test]
    fn gaps_between_parts_are_stated_and_a_large_one_makes_it_bad() {
        let parts = [vec![stretch(minute(), vec![])], vec![stretch(minute(), vec![])]];
        let quality = Quality::of(&parts, &[4.0], 120.0).unwrap();
        assert_eq!((quality.verdict, quality.reasons), (Verdict::Degraded, vec![Reason::Gaps]));
        assert_eq!((quality.parts.len(), quality.whole.watched_secs), (2, 120.0));
        assert_eq!(Quality::of(&parts, &[60.0], 120.0).unwrap().verdict, Verdict::Bad);
    }

    #[test]
    fn a_raised_watchdog_degrades_a_recording_even_where_its_figures_are_good() {
        let noted = |signal: &str, raised| Noted {
            at: DateTime::UNIX_EPOCH,
            what: Happening::Watchdog { signal: signal.into(), raised },
        };
        let events = vec![noted("sink_lost", true), noted("sink_lost", false), noted("capture_exited", true)];
        let quality = Quality::of(&[vec![stretch(minute(), events)]], &[], 60.0).unwrap();
        assert_eq!((quality.verdict, quality.reasons), (Verdict::Degraded, vec![Reason::Interrupted]));
        assert_eq!(quality.events.len(), 3);
    }

    #[test]
    fn a_recording_that_nobody_watched_has_no_quality() {
        assert_eq!(Quality::of(&[vec![], vec![]], &[], 60.0), None);
        let unwatched = Quality::of(&[vec![stretch(minute(), vec![])]], &[], 600.0).unwrap();
        assert_eq!(unwatched.reasons, [Reason::Unwatched]);
    }

    #[test]
    fn the_sum_keeps_the_first_lag_and_the_worst_drift() {
        let with = |lag, drift| Figures { sound_lag_ms: lag, drift_ms: drift, ..minute() };
        let sum = Figures::sum(&[with(None, Some(10)), with(Some(30), Some(-40)), with(Some(9), None)]);
        assert_eq!((sum.sound_lag_ms, sum.drift_ms), (Some(30), Some(-40)));
    }
}
