//! How big a round is, over what it runs, and the outages that it is about. Data only.

use super::fault::{Behind, Blow, Fault};

/// What launches runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Launcher {
    /// Process groups of this machine.
    Process,
    /// Jobs.
    Kubernetes,
}

/// Outages that a round is about, one after the other, each while calls go on and others are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages {
    /// How long each is.
    pub secs: u64,
    /// Of what.
    pub of: Vec<Behind>,
}

/// Calls have begun before the first outage, and what was away is back, for so long.
pub(super) const BETWEEN_OUTAGES: u64 = 90;

impl Outages {
    /// From when to when, in milliseconds.
    pub(super) fn times(&self) -> Vec<(Behind, u64, u64)> {
        let begin = |index: usize| BETWEEN_OUTAGES + index as u64 * (self.secs + BETWEEN_OUTAGES);
        let times = |(index, behind): (usize, &Behind)| (*behind, begin(index) * 1_000, (begin(index) + self.secs) * 1_000);
        self.of.iter().enumerate().map(times).collect()
    }

    /// True where a call that begins then is to go on beyond an outage.
    pub(super) fn is_soon(&self, at: u64) -> bool {
        self.times().iter().any(|(_, from, _)| (from.saturating_sub(BETWEEN_OUTAGES * 1_000)..*from).contains(&at))
    }
}

/// How big a round is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// What launches runs.
    pub launcher: Launcher,
    /// Without the faults of store, bucket, clocks and disk, which break over processes all the same.
    pub only_beside: bool,
    /// What it is about, beside everything else.
    pub outages: Outages,
    /// How long things break.
    pub seconds: u64,
    /// Controllers.
    pub controllers: usize,
    /// Between two faults, in milliseconds, at least and at most.
    pub fault_gap_ms: (u64, u64),
    /// Length of a trouble or a pause, in milliseconds.
    pub trouble_ms: (u64, u64),
    /// Length of an outage of store or bucket, in milliseconds.
    pub outage_ms: (u64, u64),
    /// Between two meetings, in milliseconds.
    pub meeting_gap_ms: (u64, u64),
    /// Length of a meeting, in segments.
    pub segments: (u64, u64),
    /// Process faults that one instance suffers at most: the product gives up after six attempts, as it says.
    pub hits: u32,
}

impl Size {
    /// For `make test`: every fault once, in half a minute.
    pub const SMALL: Self = Self {
        launcher: Launcher::Process,
        only_beside: false,
        outages: Outages { secs: 0, of: Vec::new() },
        seconds: 27,
        controllers: 2,
        fault_gap_ms: (600, 1_300),
        trouble_ms: (800, 3_000),
        outage_ms: (5_000, 7_000),
        meeting_gap_ms: (1_000, 3_000),
        segments: (5, 8),
        hits: 2,
    };

    /// For `make test` over Jobs: what there is beside, and kills, once each in a quarter of a minute.
    pub const BRIEF: Self = Self {
        launcher: Launcher::Kubernetes,
        only_beside: true,
        outages: Outages { secs: 0, of: Vec::new() },
        seconds: 13,
        controllers: 2,
        meeting_gap_ms: (1_200, 2_200),
        fault_gap_ms: (250, 500),
        trouble_ms: (300, 700),
        outage_ms: (2_000, 2_500),
        segments: (3, 4),
        hits: 1,
    };

    /// For `make chaos`: as long as it is told.
    pub fn long(seconds: u64) -> Self {
        Self {
            launcher: Launcher::Process,
            only_beside: false,
            outages: Outages::default(),
            seconds,
            controllers: 3,
            fault_gap_ms: (1_000, 3_000),
            trouble_ms: (2_000, 15_000),
            outage_ms: (60_000, 90_000),
            meeting_gap_ms: (3_000, 9_000),
            segments: (10, 30),
            hits: 2,
        }
    }

    /// Every kind that there is in it.
    pub fn kinds(&self) -> Vec<Fault> {
        let is_beside = |fault: &Fault| {
            Fault::OF_JOBS.contains(fault) || matches!(fault, Fault::Controller(_) | Fault::Run(Blow::Kill | Blow::Stop, _))
        };
        let kinds = Fault::kinds(self.launcher).into_iter();
        kinds.filter(|fault| !self.only_beside || is_beside(fault)).collect()
    }

    /// The same over Jobs, or not.
    #[must_use]
    pub fn over(self, launcher: Launcher) -> Self {
        Self { launcher, ..self }
    }

    /// The same about outages, thinner and as long as these take: what comes due in one is served all at once after it.
    #[must_use]
    pub fn about(self, outages: Outages) -> Self {
        let last = outages.times().last().map_or(0, |(_, _, to)| to / 1_000 + BETWEEN_OUTAGES);
        let seconds = self.seconds.max(last);
        Self { outages, seconds, fault_gap_ms: (4_000, 12_000), meeting_gap_ms: (8_000, 24_000), ..self }
    }
}
