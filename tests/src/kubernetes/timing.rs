//! How fast the simulated cluster is.

use std::time::Duration;

/// Delays of the simulated controllers and kubelet. Their order is what was recorded; their size is free.
///
/// All steps happen on a simulated clock that follows the real one: a busy machine makes them late, never reorders them.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long one second of a Job's or pod's own durations lasts: grace periods, `activeDeadlineSeconds`,
    /// `ttlSecondsAfterFinished`, `tolerationSeconds`, back-off.
    pub second: Duration,
    /// From a change of a Job to the Job controller's reaction (recorded: 10 ms).
    pub job_create: Duration,
    /// From a change of a pod to the Job controller's reaction (recorded: up to 1 s).
    pub job_sync: Duration,
    /// From a deletion to the garbage collector's reaction (recorded: 10 to 30 ms).
    pub collect: Duration,
    /// From the creation of a pod to its binding.
    pub schedule: Duration,
    /// Between two reports of the kubelet (recorded: 0.1 to 1.5 s).
    pub kubelet_step: Duration,
    /// From a deleted pod's terminal phase to the kubelet's removal of it (recorded: 0.2 to 0.8 s).
    pub confirm: Duration,
    /// How long a second of a request lasts: `timeoutSeconds`, bookmarks, the wait before 504.
    pub request_second: Duration,
}

impl Default for Timing {
    /// Fast: a Job's whole life takes tens of milliseconds. Requests keep real seconds.
    fn default() -> Self {
        Self {
            second: Duration::from_millis(10),
            job_create: Duration::ZERO,
            job_sync: Duration::from_millis(2),
            collect: Duration::from_micros(300),
            schedule: Duration::from_micros(500),
            kubelet_step: Duration::from_millis(4),
            confirm: Duration::from_millis(1),
            request_second: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// As slow as the recorded cluster.
    pub fn recorded() -> Self {
        Self {
            second: Duration::from_secs(1),
            job_create: Duration::from_millis(10),
            job_sync: Duration::from_millis(700),
            collect: Duration::from_millis(20),
            schedule: Duration::from_millis(10),
            kubelet_step: Duration::from_millis(800),
            confirm: Duration::from_millis(300),
            request_second: Duration::from_secs(1),
        }
    }

    /// Real seconds for grace periods and deadlines, fast controllers: for pods that are real processes.
    pub fn real_seconds() -> Self {
        Self { second: Duration::from_secs(1), ..Self::default() }
    }

    /// The length of `seconds` of a Job's or pod's own durations.
    pub(crate) fn seconds(&self, seconds: i64) -> Duration {
        self.second.saturating_mul(u32::try_from(seconds).unwrap_or_default())
    }
}
