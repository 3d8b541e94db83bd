//! What the recorder sees of a running part: disk, sink, picture, sound. Looks only; [`super::signals`] judges.

use std::path::Path;
use std::time::Duration;

use bot_model::session::MediaHealth;
use tokio::time::Instant;

use super::health::{Lasting, Losses, PictureWatch, sink_is_right};
use super::journal::Moment;
use super::part::{Closed, Part};
use super::picture::Thumbnail;
use super::recorder::{Present, Setup};
use super::speech::{PAUSE, Speech};

/// Looks between two at the sink and the disk.
const SINK_EVERY: u64 = 8;
/// A picture is looked at each so many segments.
const PICTURE_EVERY: u32 = 2;
/// From here on a still picture is compared with the page's, and again each so often.
const COMPARE_FROM: Duration = Duration::from_secs(16);
const COMPARE_EVERY: Duration = Duration::from_secs(12);
/// Pages that differ in a row, before it counts.
const DIFFERING: u32 = 2;
/// A look is no moment of longer than this: the bot itself was suspended.
const LONGEST_MOMENT: f64 = 5.0;

/// What was seen by now.
pub(super) struct Watch {
    started: Instant,
    looked: Instant,
    looks: u64,
    /// Watching the running part since then: another part's sound and picture say nothing of it.
    pictured: Option<u32>,
    picture: PictureWatch,
    recorded: Option<Thumbnail>,
    differing: u32,
    compared_at: Option<Duration>,
    sink_right: bool,
    sink_lost: Lasting,
    speech: Speech,
    losses: Losses,
    clipped: Vec<Duration>,
    free_bytes: Option<u64>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            looked: now,
            looks: 0,
            pictured: None,
            picture: PictureWatch::default(),
            recorded: None,
            differing: 0,
            compared_at: None,
            sink_right: true,
            sink_lost: Lasting::default(),
            speech: Speech::default(),
            losses: Losses::default(),
            clipped: Vec::new(),
            free_bytes: None,
        }
    }

    /// A new part begins.
    pub(super) fn begin(&mut self) {
        self.pictured = None;
        self.clipped.clear();
    }

    /// Looks at everything that is due. May take as long as its slowest question.
    pub(super) async fn look(&mut self, setup: &Setup, part: &Part, closed: Closed, present: Present) {
        self.looks += 1;
        if self.looks % SINK_EVERY == 1 {
            self.free_bytes = free_bytes(&setup.output);
            self.look_at_the_sink(setup, present).await;
        }
        let newest = closed.segments.checked_sub(1).filter(|newest| newest % PICTURE_EVERY == 0);
        if let Some(newest) = newest.filter(|newest| self.pictured != Some(*newest)) {
            self.pictured = Some(newest);
            if let Some(picture) = Thumbnail::of_segment(part.folder(), newest).await {
                self.picture.see(picture.clone(), self.started.elapsed());
                self.recorded = Some(picture);
            }
            self.compare(setup).await;
        }
    }

    async fn look_at_the_sink(&mut self, setup: &Setup, present: Present) {
        let streams = setup.sink.streams().await;
        let now = self.started.elapsed();
        self.sink_lost.note(!matches!(streams, Ok(Some(_))), now);
        if let Ok(Some(streams)) = streams {
            self.sink_right = sink_is_right(&streams, &setup.is_ours, present.others, now);
        }
    }

    /// A picture that stands still is legitimate as long as the page shows the same.
    async fn compare(&mut self, setup: &Setup) {
        let now = self.started.elapsed();
        if self.picture.frozen.lasted(now) < COMPARE_FROM {
            (self.differing, self.compared_at) = (0, None);
            return;
        }
        if self.compared_at.is_some_and(|at| now.saturating_sub(at) < COMPARE_EVERY) {
            return;
        }
        self.compared_at = Some(now);
        let shown = match (setup.screen)().await {
            Some(png) => Thumbnail::of_png(&png).await,
            None => None,
        };
        let same = matches!((&self.recorded, &shown), (Some(recorded), Some(shown)) if !recorded.is_another(shown));
        self.differing = if same { 0 } else { self.differing + 1 };
    }

    /// The moment that has passed since the last, and how everything is at its end; the segments are the recorder's to fill in.
    pub(super) fn moment(&mut self, setup: &Setup, part: &Part, present: Present) -> (Moment, MediaHealth) {
        let (now, age, meter) = (self.started.elapsed(), part.age(), part.meter());
        let secs = self.looked.elapsed().as_secs_f64().min(LONGEST_MOMENT);
        self.looked = Instant::now();
        let silent_for = meter.silent_for(age);
        self.speech.see(present.speaking, silent_for, secs);
        self.losses.see(meter.frames, meter.duplicated + meter.dropped, age);
        let is_clipped = meter.clipped_at.is_some_and(|at| age.saturating_sub(at).as_secs_f64() <= secs);
        self.clipped.extend(is_clipped.then_some(now));
        self.clipped.retain(|at| now.saturating_sub(*at) < Duration::from_secs(10));
        let (black, frozen) = (self.picture.black.lasted(now), self.picture.frozen.lasted(now));
        let health = MediaHealth {
            part: Some(part.number()),
            black_secs: black.as_secs_f64(),
            frozen_secs: frozen.as_secs_f64(),
            silent_secs: silent_for.as_secs_f64(),
            sink_is_right: self.sink_right,
            sink_lost_secs: self.sink_lost.lasted(now).as_secs_f64(),
            picture_differs: self.differing >= DIFFERING,
            sound_age_secs: meter.sound_age(age).as_secs_f64(),
            unheard_secs: self.speech.unheard_secs(),
            clipped_secs: self.clipped.len() as f64 * secs.min(1.0),
            drift_ms: meter.drift.millis(),
            frames: meter.frames,
            frames_duplicated: meter.duplicated,
            frames_dropped: meter.dropped,
            frames_lost_share: self.losses.share(),
            free_bytes: self.free_bytes,
            ..MediaHealth::default()
        };
        let moment = Moment {
            secs,
            is_black: !black.is_zero(),
            is_still: !frozen.is_zero(),
            is_frozen: !frozen.is_zero() && health.picture_differs,
            is_silent: silent_for >= PAUSE,
            is_clipped,
            is_speaking: present.speaking,
            frames: (meter.frames, meter.duplicated, meter.dropped),
            sound_lag_ms: i64::try_from(setup.sound_lag.as_millis()).unwrap_or_default(),
            drift_ms: health.drift_ms,
        };
        (moment, health)
    }
}

/// Free bytes where `folder` lies.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let facts = rustix::fs::statvfs(folder).ok()?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}
