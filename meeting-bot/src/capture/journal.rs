//! Writes down, beside the segments, how picture and sound are: one [`Stretch`] about a minute.
//!
//! Shared by the recorder, which counts, and the session, which knows what was done about it. Losing a stretch costs nothing but
//! knowledge, so nothing here fails.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bot_model::quality::{Figures, Happening, Noted, Stretch};
use bot_model::segment;
use chrono::{DateTime, Utc};

use super::part::write_json;

/// Length of a stretch in seconds; what a SIGKILL may cost of these facts.
const STRETCH_SECS: f64 = 60.0;
/// Of a part's first: short calls, and those that end badly at once, are known, too.
const FIRST_SECS: f64 = 10.0;

/// What holds at a moment of the recording.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    /// Seconds since the moment before.
    pub secs: f64,
    /// The picture is of one colour.
    pub is_black: bool,
    /// It stands still.
    pub is_still: bool,
    /// It stands still while the page's does not.
    pub is_frozen: bool,
    /// There is no sound.
    pub is_silent: bool,
    /// Samples are at full scale.
    pub is_clipped: bool,
    /// Somebody speaks by the platform's signal.
    pub is_speaking: bool,
    /// What the part has by now: frames, repetitions, left out.
    pub frames: (u64, u64, u64),
    /// Taken off the sound.
    pub sound_lag_ms: i64,
    /// Since the part began.
    pub drift_ms: Option<i64>,
}

/// The journal of one session; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct QualityJournal(Arc<Mutex<Open>>);

/// The stretch that is open.
#[derive(Debug, Default)]
struct Open {
    folder: Option<PathBuf>,
    next: u32,
    from: DateTime<Utc>,
    figures: Figures,
    events: Vec<Noted>,
    /// Frames in the part's closed stretches.
    before: (u64, u64, u64),
}

impl QualityJournal {
    /// A part begins in `folder`. What happened since the last one goes into its first stretch.
    pub fn begin(&self, folder: &Path) {
        let mut open = self.lock();
        let events = std::mem::take(&mut open.events);
        *open = Open { folder: Some(folder.to_owned()), from: Utc::now(), events, ..Open::default() };
    }

    /// Counts a moment, and closes the stretch when it is long enough.
    pub fn count(&self, moment: &Moment) {
        let mut open = self.lock();
        let figures = figures(moment, open.before);
        open.figures.add(&Figures { frames: 0, frames_duplicated: 0, frames_dropped: 0, ..figures });
        // The part's counters are totals.
        open.figures.frames = figures.frames;
        open.figures.frames_duplicated = figures.frames_duplicated;
        open.figures.frames_dropped = figures.frames_dropped;
        let long_enough = if open.next == 0 { FIRST_SECS } else { STRETCH_SECS };
        if open.figures.watched_secs >= long_enough {
            open.before = moment.frames;
            open.close();
        }
    }

    /// Notes that something happened now.
    pub fn note(&self, what: Happening) {
        self.lock().events.push(Noted { at: Utc::now(), what });
    }

    /// Closes the stretch: the part has ended, or the session.
    pub fn close(&self) {
        let mut open = self.lock();
        if open.figures.watched_secs > 0.0 || !open.events.is_empty() {
            open.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn close(&mut self) {
        let Some(folder) = &self.folder else { return };
        let stretch = Stretch {
            from: std::mem::replace(&mut self.from, Utc::now()),
            figures: Figures::sum([&std::mem::take(&mut self.figures)]),
            events: std::mem::take(&mut self.events),
        };
        if let Err(error) = write_json(&folder.join(segment::quality_file(self.next)), &stretch) {
            tracing::warn!(%error, "how the recording was could not be written down");
        }
        self.next += 1;
    }
}

fn figures(moment: &Moment, before: (u64, u64, u64)) -> Figures {
    let of = |holds: bool| if holds { moment.secs } else { 0.0 };
    Figures {
        watched_secs: moment.secs,
        black_secs: of(moment.is_black),
        frozen_secs: of(moment.is_frozen),
        still_secs: of(moment.is_still),
        silent_secs: of(moment.is_silent),
        clipped_secs: of(moment.is_clipped),
        speaking_secs: of(moment.is_speaking),
        unheard_secs: of(moment.is_speaking && moment.is_silent),
        frames: moment.frames.0.saturating_sub(before.0),
        frames_duplicated: moment.frames.1.saturating_sub(before.1),
        frames_dropped: moment.frames.2.saturating_sub(before.2),
        sound_lag_ms: Some(moment.sound_lag_ms),
        drift_ms: moment.drift_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Path, seq: u32) -> Stretch {
        serde_json::from_slice(&std::fs::read(folder.join(segment::quality_file(seq))).unwrap()).unwrap()
    }

    #[test]
    fn stretches_are_written_as_they_fill_and_their_frames_add_up() {
        let part = tempfile::tempdir().unwrap();
        let journal = QualityJournal::default();
        journal.begin(part.path());
        for tick in 1..=160_u64 {
            let is_speaking = tick <= 10;
            let moment = Moment { secs: 0.5, frames: (tick * 7, tick, 0), is_speaking, is_silent: true, ..Moment::default() };
            journal.count(&moment);
        }
        journal.close();
        let stretches: Vec<Figures> = (0..3).map(|seq| read(part.path(), seq).figures).collect();
        assert_eq!(stretches.iter().map(|one| one.watched_secs).collect::<Vec<_>>(), [10.0, 60.0, 10.0]);
        let sum = Figures::sum(&stretches);
        assert_eq!((sum.frames, sum.frames_duplicated), (1_120, 160));
        assert_eq!((sum.speaking_secs, sum.unheard_secs, sum.silent_secs), (5.0, 5.0, 80.0));
    }

    #[test]
    fn what_happens_between_two_parts_stands_in_the_next_and_after_the_last_in_the_last() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let journal = QualityJournal::default();
        let remedy = |remedy: &str| Happening::Remedy { remedy: remedy.into(), signal: "audio_missing".into() };
        journal.begin(first.path());
        journal.close();
        journal.note(remedy("reload"));
        journal.begin(second.path());
        journal.count(&Moment { secs: 1.0, ..Moment::default() });
        journal.close();
        journal.note(remedy("rejoin"));
        journal.close();
        assert!(!first.path().join(segment::quality_file(0)).exists(), "an empty stretch was written");
        assert_eq!(read(second.path(), 0).events[0].what, remedy("reload"));
        assert_eq!(read(second.path(), 1).events[0].what, remedy("rejoin"));
    }
}
