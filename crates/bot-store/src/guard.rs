//! The guards against doubled bots and lost recordings, by name, so that a negative control can take one away and see its suite fail.
//!
//! Without the feature `simulation` every guard stands, and there is nothing that could take it away.

/// What stands between a fault and its damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// A run's name is derived from its instance, so that a second one is refused.
    DerivedName,
    /// A run of an older attempt is fenced.
    Attempt,
    /// A second run of one attempt is fenced.
    RunLease,
    /// A lease that ran out is suspect, not dead: another bot needs evidence that the run is over.
    Evidence,
    /// The list of segments is frozen once.
    FrozenList,
    /// The live-call slot.
    LiveCallSlot,
    /// Segments leave the pod while the call runs.
    LiveUpload,
    /// The ledger of places changes only as it was read.
    Places,
    /// The join is noted before it is made, so that nothing is settled before a look into the bucket.
    JoinNoted,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 9] = [
        Self::DerivedName,
        Self::Attempt,
        Self::RunLease,
        Self::Evidence,
        Self::FrozenList,
        Self::LiveCallSlot,
        Self::LiveUpload,
        Self::Places,
        Self::JoinNoted,
    ];

    /// False where a negative control has taken it away.
    #[cfg(not(feature = "simulation"))]
    pub fn stands(self) -> bool {
        true
    }

    /// False where a negative control has taken it away on this thread.
    #[cfg(feature = "simulation")]
    pub fn stands(self) -> bool {
        GONE.get() != Some(self)
    }

    /// Takes one guard away on this thread, or gives all back.
    #[cfg(feature = "simulation")]
    pub fn take_away(guard: Option<Self>) {
        GONE.set(guard);
    }
}

#[cfg(feature = "simulation")]
thread_local! {
    static GONE: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}
