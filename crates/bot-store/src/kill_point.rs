//! The places at which a test kills a process: one between each two steps from the claim to the end of the clean-up, by name.
//!
//! Without the feature `simulation` passing one does nothing, and nothing could arm it.

/// Between which two steps the process dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "simulation", derive(Debug))]
pub enum KillPoint {
    /// K1, controller: a claim is decided, and not committed.
    Claiming,
    /// K2, controller: it is committed, and no Job is asked for.
    Claimed,
    /// K3, controller: everything is ready for the Job, which is not there.
    CreatingJob,
    /// K4, controller: the Job is there, and `launched` is not written.
    JobCreated,
    /// K5, controller: it is written.
    Launched,
    /// K6, manager: the run lease is taken, and the call not joined.
    RunLeased,
    /// K7, manager: the bot was sent into the call.
    Joined,
    /// K8, manager: the first segment of a part is in the bucket.
    FirstPart,
    /// K9, manager: the bot has left, everything is in the bucket, and the document does not say so.
    Stopped,
    /// K10, manager: the files are made, on its own disk.
    Converted,
    /// K11, manager: a file is uploaded, and not read back.
    Uploaded,
    /// K12, manager: all files are verified, and `done` is not committed.
    Verified,
    /// K13, manager: the end is committed, and nothing cleaned up.
    Settled,
    /// K14, manager: it has cleaned up, and has not exited.
    CleanedUp,
}

impl KillPoint {
    /// A process goes past it: the controller or the run that `who` names.
    #[cfg(not(feature = "simulation"))]
    pub async fn pass(self, _who: &str) {}

    /// A process goes past it, or ends here: the controller or the run that `who` names.
    #[cfg(feature = "simulation")]
    pub async fn pass(self, who: &str) {
        armed::pass(self);
        if simulated::dies(self, who) {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(feature = "simulation")]
impl KillPoint {
    /// Every point, from K1 to K14.
    pub const ALL: [Self; 14] = [
        Self::Claiming,
        Self::Claimed,
        Self::CreatingJob,
        Self::JobCreated,
        Self::Launched,
        Self::RunLeased,
        Self::Joined,
        Self::FirstPart,
        Self::Stopped,
        Self::Converted,
        Self::Uploaded,
        Self::Verified,
        Self::Settled,
        Self::CleanedUp,
    ];

    /// `K1` to `K14`.
    pub fn name(self) -> String {
        format!("K{}", self as usize + 1)
    }

    /// True where it is a controller that dies.
    pub fn is_the_controller_s(self) -> bool {
        self <= Self::Launched
    }
}

/// Death of a real process.
#[cfg(feature = "simulation")]
pub mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::KillPoint;

    struct Armed {
        point: KillPoint,
        nth: u32,
        passed: AtomicU32,
        obituary: PathBuf,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// This process dies, without a chance to do anything more, as it passes `point` for the `nth` time, unless the file `obituary`
    /// exists, which it makes: of all that share it one alone dies.
    pub fn arm(point: KillPoint, nth: u32, obituary: PathBuf) {
        let _ = ARMED.set(Armed { point, nth, passed: AtomicU32::new(0), obituary });
    }

    pub(super) fn pass(point: KillPoint) {
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
        if armed.passed.fetch_add(1, Ordering::Relaxed) + 1 >= armed.nth && std::fs::File::create_new(&armed.obituary).is_ok() {
            std::process::abort();
        }
    }
}

/// Death in a simulation, for the thread that it runs on.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::cell::RefCell;

    use super::KillPoint;

    type Reaper = Box<dyn Fn(KillPoint, &str) -> bool>;

    thread_local! {
        static REAPER: RefCell<Option<Reaper>> = const { RefCell::new(None) };
    }

    /// From now on `reaper` says whether who passes a point dies there. It has to end the tasks of whoever dies.
    pub fn begin(reaper: impl Fn(KillPoint, &str) -> bool + 'static) {
        REAPER.replace(Some(Box::new(reaper)));
    }

    /// Nobody dies any more.
    pub fn end() {
        REAPER.replace(None);
    }

    pub(super) fn dies(point: KillPoint, who: &str) -> bool {
        REAPER.with_borrow(|reaper| reaper.as_ref().is_some_and(|reaper| reaper(point, who)))
    }
}
