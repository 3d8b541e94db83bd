//! What the simulated controllers and kubelets do next, on a clock that never reorders.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::resource::Key;
use super::script::{Disruption, Exit};

/// A step of a controller.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// The Job controller looks at a Job.
    SyncJob(Key),
    /// The garbage collector looks at a Job that is being deleted.
    CollectJob(Key),
    /// The garbage collector deletes what a gone Job (uid) left.
    CollectOrphans(String),
    /// The TTL controller deletes a finished Job (uid).
    ExpireJob(Key, String),
    /// A step in the life of a pod (uid).
    Pod(String, PodTask),
}

/// A step in the life of a pod.
#[derive(Debug, Clone)]
pub(crate) enum PodTask {
    /// The scheduler binds it, or says why not.
    Schedule,
    /// The kubelet's next step of the start, by its index.
    Start(usize),
    /// main waits with the next of its reasons.
    Wait(usize),
    /// The kubelet hears that the pod is deleted, with this grace period.
    Terminate(i64),
    /// A container ends.
    Exit(String, Exit),
    /// The grace period is over: what still runs is killed.
    Kill,
    /// A sidecar's time is over.
    KillSidecar(String),
    /// All containers have ended: the terminal phase.
    Settle,
    /// The kubelet removes a deleted pod that has ended.
    Confirm,
    /// The pod garbage collector ends a deleted pod that was never bound.
    Forget,
    /// Something befalls the pod.
    Disrupt(Disruption),
    /// The taint manager evicts it from a lost node.
    EvictByTaint,
    /// Its node is back.
    Return,
}

/// Tasks by time, then by order of entry.
pub(crate) struct Agenda {
    now: Instant,
    entered: u64,
    tasks: BTreeMap<(Instant, u64), Task>,
}

impl Default for Agenda {
    fn default() -> Self {
        Self { now: Instant::now(), entered: 0, tasks: BTreeMap::new() }
    }
}

impl Agenda {
    /// The simulated now.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Enters a task that is due `delay` from the simulated now.
    pub(crate) fn after(&mut self, delay: Duration, task: Task) {
        self.entered += 1;
        self.tasks.insert((self.now + delay, self.entered), task);
    }

    /// When the next task is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.tasks.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next task that is due at `real`; the simulated clock goes to its time.
    pub(crate) fn take_due(&mut self, real: Instant) -> Option<Task> {
        if self.next_at()? > real {
            return None;
        }
        let ((at, _), task) = self.tasks.pop_first()?;
        self.now = self.now.max(at);
        Some(task)
    }

    /// Something from outside happens at `real`: the simulated clock catches up.
    pub(crate) fn catch_up(&mut self, real: Instant) {
        self.now = self.now.max(real);
    }
}
