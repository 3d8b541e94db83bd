//! Carrying out: beside the call, and to the last segment after it.

use std::time::Duration;

use bot_model::document::RecordingProgress;
use bot_model::outcome::{Outcome, OutcomeClass};
use bot_model::scratch::EarlierRun;
use bot_store::clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{CutShort, Follower, POLL_EVERY};
use crate::keeper::Kept;
use crate::leftover;
use crate::objects::Objects;
use crate::spool::{Carried, Route, Spool};

/// Carrying out takes a second; where it takes this long the bucket is away, and how the call ended is written down before: should this
/// run die meanwhile, nobody is to join a call again that is over or that the bot was sent out of. Where the call may go on (something
/// broke) it is joined again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What carries out beside the call.
pub(super) struct Hauled {
    /// Ends once everything is in the bucket; answers what earlier runs had left, and what this one recorded.
    pub(super) hauling: JoinHandle<(Carried, Carried)>,
    /// Tells that nothing more will come.
    pub(super) finish: watch::Sender<bool>,
    /// How far this run's own recording is.
    pub(super) carried: watch::Receiver<Carried>,
}

/// Begins to carry out: this run's own recording and what earlier runs left, side by side.
pub(super) fn haul(objects: &Objects, route: Route, left: Vec<EarlierRun>) -> Hauled {
    let earlier = leftover::carry(objects.clone(), route.prefix.clone(), left);
    let (spool, carried) = Spool::new(objects.clone(), route);
    let (finish, finished) = watch::channel(false);
    let hauling = tokio::spawn(async move { tokio::join!(earlier, spool.run(finished)) });
    Hauled { hauling, finish, carried }
}

/// What was recorded so far, with more of it carried out.
pub(in crate::record) fn added(earlier: Option<&RecordingProgress>, carried: Carried) -> RecordingProgress {
    let none = RecordingProgress { started_at: clock::now(), ended_at: None, parts: 0, segments: 0, bytes: 0 };
    let earlier = earlier.cloned().unwrap_or(none);
    RecordingProgress {
        parts: earlier.parts + carried.parts,
        segments: earlier.segments + carried.segments,
        bytes: earlier.bytes + carried.bytes,
        ..earlier
    }
}

impl Follower<'_, '_> {
    /// What was recorded by this run and by those before it. That an earlier one was in the call stays known, whatever it lost.
    pub(super) fn progress(&self) -> Option<RecordingProgress> {
        let earlier = self.earlier.as_ref();
        let since = |earlier: &RecordingProgress| earlier.started_at;
        let recorded_since = earlier.filter(|earlier| earlier.segments > 0).map(since);
        let started_at = recorded_since.or(self.admitted_at).or_else(|| earlier.map(since))?;
        let carried = *self.carried.borrow();
        Some(RecordingProgress { started_at, ended_at: self.left_at, ..added(earlier, carried) })
    }

    /// Waits until everything is in the bucket, keeping the lease meanwhile. Only a SIGTERM bounds it; then false.
    pub(super) async fn drain(
        &mut self,
        mut hauling: JoinHandle<(Carried, Carried)>,
        outcome: &Outcome,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let mut stopped_at = (self.cut_short == Some(CutShort::Stopped)).then(Instant::now);
        let (mut look_at, mut is_said) = (Instant::now() + LOOK_EVERY, outcome.kind.class() == OutcomeClass::Failed);
        loop {
            if let Ok(hauled) = timeout(POLL_EVERY, &mut hauling).await {
                return self.hauled(hauled.ok());
            }
            if *stop.borrow() {
                let since = *stopped_at.get_or_insert_with(Instant::now);
                self.cut_short.get_or_insert(CutShort::Stopped);
                if since.elapsed() > self.config.patience.drain_on_stop {
                    tracing::error!("segments are left on the disk: the bucket did not take them in time");
                    hauling.abort();
                    return false;
                }
            }
            if Instant::now() >= look_at {
                is_said = is_said || matches!(self.keeper.set_outcome(outcome).await, Kept::Done);
                self.make_room().await;
                look_at = Instant::now() + LOOK_EVERY;
            }
            let progress = self.progress();
            if let Kept::Fenced(reason) = self.keeper.renew_if_due(progress.as_ref()).await {
                self.cut_short.get_or_insert(CutShort::Fenced(reason));
            }
        }
    }

    /// Everything is in the bucket: accounts for what earlier runs had left, and says so on the disk.
    fn hauled(&mut self, hauled: Option<(Carried, Carried)>) -> bool {
        let Some((earlier, own)) = hauled else { return false };
        if earlier.segments > 0 {
            self.earlier = Some(added(self.earlier.as_ref(), earlier));
        }
        leftover::mark_saved(&self.config.scratch, own.saved);
        true
    }
}
