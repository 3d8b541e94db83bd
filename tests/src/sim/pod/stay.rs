//! One stay of a simulated bot in its call, and what it carries out meanwhile.

use std::time::Duration;

use bot_model::document::RecordingProgress;
use bot_model::lifecycle::{Phase, Step};
use bot_store::clock;
use bot_store::clock::simulated::true_now;
use bot_store::guard::Guard;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::Note;
use bot_store::protocol::slot::somebody_waits;
use chrono::{DateTime, Utc};
use manager::keeper::{Keeper, Kept};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Pod, SEGMENT, stopped};
use crate::sim::bucket::Segment;
use crate::sim::plan::between;

/// After a SIGTERM, to carry out what lies on the disk.
const DRAIN: Duration = Duration::from_secs(60);

/// An upload that takes longer hangs.
const PROMPT: Duration = Duration::from_secs(1);

/// One try to carry a segment out. Where it fails, hangs or is cut off by its run's death, the truth knows how long that was.
struct Upload<'p> {
    pod: &'p Pod,
    since: DateTime<Utc>,
    begun: Instant,
    is_through: bool,
}

impl<'p> Upload<'p> {
    fn begin(pod: &'p Pod) -> Self {
        Self { pod, since: true_now().unwrap_or_default(), begun: Instant::now(), is_through: false }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if !self.is_through || self.begun.elapsed() > PROMPT {
            self.pod.world.truth.held_up(&self.pod.uid, self.since);
        }
    }
}

/// Why a stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    CallOver,
    Asked,
    Fenced,
    Stopped,
}

/// One stay in the call.
pub(super) struct Stay<'p> {
    pod: &'p Pod,
    place: usize,
    call: usize,
    path: String,
    admitted_at: Option<DateTime<Utc>>,
    left_at: Option<DateTime<Utc>>,
    earlier: Option<RecordingProgress>,
    closed: u32,
    pending: Vec<Segment>,
    carried: u64,
}

impl<'p> Stay<'p> {
    pub(super) fn new(pod: &'p Pod, keeper: &Keeper<'_>) -> Self {
        let native = keeper.facts().meeting_url.native_id();
        Self {
            pod,
            place: usize::MAX,
            call: native.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default(),
            path: keeper.facts().gcs_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            admitted_at: None,
            left_at: None,
            earlier: keeper.facts().recording.clone(),
            closed: 0,
            pending: Vec::new(),
            carried: 0,
        }
    }

    pub(super) fn progress(&self) -> Option<RecordingProgress> {
        let earlier = self.earlier.as_ref().filter(|earlier| earlier.segments > 0);
        let started_at = earlier.map(|earlier| earlier.started_at).or(self.admitted_at)?;
        let (parts, segments) = earlier.map_or((0, 0), |earlier| (earlier.parts, earlier.segments));
        Some(RecordingProgress {
            started_at,
            ended_at: self.left_at,
            parts: parts + u32::from(self.carried > 0),
            segments: segments + self.carried,
            bytes: 0,
        })
    }

    /// Without a bot it waits for what becomes of it: the cluster has forgotten it already.
    pub(super) async fn follow(&mut self, keeper: &mut Keeper<'_>, stop: &mut watch::Receiver<bool>) -> Left {
        while !keeper.is_fresh() || self.pod.actor.has_no_bot() {
            if *stop.borrow() {
                return Left::Stopped;
            }
            if let Some(left) = self.keep(keeper).await {
                return left;
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.place = self.pod.world.truth.joins(self.call, &self.pod.uid);
        KillPoint::Joined.pass(&self.pod.uid).await;
        let mut next = Instant::now() + Duration::from_secs(between(2, 12));
        let left = loop {
            tokio::select! {
                biased;
                () = stopped(stop) => break Left::Stopped,
                () = sleep(Duration::from_secs(1)) => {}
            }
            if self.pod.actor.has_no_bot() {
                self.last_segment();
                self.carry().await;
            } else if Instant::now() >= next {
                next += SEGMENT;
                self.segment(keeper).await;
            } else if !self.pending.is_empty() && Guard::LiveUpload.stands() {
                self.carry().await;
            }
            if let Some(left) = self.keep(keeper).await {
                break left;
            }
            if self.pod.world.is_over(self.call) && !self.pod.actor.has_no_bot() {
                break Left::CallOver;
            }
        };
        let leaves = Duration::from_secs(between(1, 9));
        sleep(leaves).await;
        self.pod.world.truth.leaves(self.place, Duration::ZERO);
        self.left_at = Some(clock::now());
        left
    }

    /// Admitted, and from then on a segment is closed each time.
    async fn segment(&mut self, keeper: &mut Keeper<'_>) {
        if self.admitted_at.is_none() {
            self.admitted_at = Some(clock::now());
        } else {
            self.close();
        }
        if matches!(keeper.record().instance.phase, Phase::Joining | Phase::WaitingRoom) {
            keeper.step(Step::Record, Note::new("manager", "recording"), |_| ()).await;
        }
        if Guard::LiveUpload.stands() {
            self.carry().await;
        }
    }

    /// The bot was ended, which closes what was open. What is on the disk is carried out as long as the manager lives.
    fn last_segment(&mut self) {
        if self.admitted_at.is_some() && self.left_at.is_none() {
            self.left_at = Some(clock::now());
            self.close();
        }
    }

    fn close(&mut self) {
        self.closed += 1;
        let segment = (self.pod.attempt, self.pod.uid.clone(), self.closed);
        self.pod.world.truth.captured(&self.pod.instance, segment.clone());
        self.pending.push(segment);
    }

    async fn carry(&mut self) {
        let world = &self.pod.world;
        let mut left = Vec::new();
        for segment in std::mem::take(&mut self.pending) {
            let mut upload = Upload::begin(self.pod);
            let put = world.bucket.put(&self.pod.actor, &world.storage, &self.path, segment.clone()).await;
            upload.is_through = put.is_ok();
            drop(upload);
            match put {
                Ok(()) => {
                    self.carried += 1;
                    if self.carried == 1 {
                        KillPoint::FirstPart.pass(&self.pod.uid).await;
                    }
                }
                Err(_) => left.push(segment),
            }
        }
        self.pending = left;
    }

    async fn keep(&mut self, keeper: &mut Keeper<'_>) -> Option<Left> {
        let progress = self.progress();
        if let Kept::Fenced(_) = keeper.renew_if_due(progress.as_ref()).await {
            return Some(Left::Fenced);
        }
        if keeper.facts().cancel_requested_at.is_some() {
            return Some(Left::Asked);
        }
        let facts = keeper.facts();
        let is_past = facts.end_time.is_some_and(|end| end < clock::now());
        match &facts.call_key {
            Some(key) if is_past => {
                let waits = somebody_waits(keeper.store(), key, &self.pod.instance).await.unwrap_or(false);
                waits.then_some(Left::Asked)
            }
            _ => None,
        }
    }

    /// Until everything is in the bucket; only a SIGTERM bounds it.
    pub(super) async fn drain(&mut self, keeper: &mut Keeper<'_>, stop: &mut watch::Receiver<bool>) -> bool {
        let begun = Instant::now();
        while !self.pending.is_empty() {
            if *stop.borrow() && begun.elapsed() > DRAIN {
                self.pod.world.truth.killed(&self.pod.uid);
                return false;
            }
            self.carry().await;
            let progress = self.progress();
            let _ = keeper.renew_if_due(progress.as_ref()).await;
            sleep(Duration::from_millis(500)).await;
        }
        true
    }
}
