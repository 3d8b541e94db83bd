//! What breaks in a round: every kind, and its name. Data only.

use super::size::Launcher;

/// What the network does to store, bucket or API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Everything is late.
    Latency,
    /// Connections are reset.
    Reset,
    /// Connections stand, and nothing passes.
    HalfOpen,
    /// A thin line.
    Bandwidth,
    /// Answers are cut in the middle.
    Cut,
    /// Nobody listens, briefly.
    Refused,
    /// Nobody listens, for long.
    Outage,
}

/// Before which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Behind {
    /// Firestore.
    Store,
    /// The bucket.
    Bucket,
    /// The API server.
    Api,
}

/// What befalls a pod by way of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It is evicted.
    Evict,
    /// One of a higher priority takes its place.
    Preempt,
    /// It is deleted.
    Delete,
    /// It is deleted by force: gone for the cluster, while its processes go on for a while.
    DeleteByForce,
    /// Its Job is deleted by hand, in one of the three ways.
    DeleteJob,
}

/// Which process of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Keeps the other two.
    Supervisor,
    /// The manager.
    Manager,
    /// The meeting-bot.
    Bot,
    /// All of them at once.
    Whole,
    /// All of them, and what lies on their disk, as when a node dies.
    Machine,
}

/// Whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// A controller's.
    Controller,
    /// The managers'.
    Managers,
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// SIGSTOP, and SIGCONT when its time is over.
    Pause,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A controller; where it ended, it is started again when the fault's time is over.
    Controller(Blow),
    /// Some run that lives then.
    Run(Blow, Part),
    /// The network.
    Network(Behind, Trouble),
    /// A clock is up to five minutes wrong, and right again.
    Clock(Clock),
    /// The disk of the runs takes not a byte more.
    DiskFull,
    /// Some pod that lives then.
    Pod(Strike),
    /// Every watch breaks off.
    Watches,
    /// The node does not answer, and its pods go on.
    Node,
}

impl Fault {
    /// Every kind, where runs are processes.
    pub const ALL: [Self; 30] = [
        Self::Controller(Blow::Kill),
        Self::Controller(Blow::Kill),
        Self::Controller(Blow::Stop),
        Self::Controller(Blow::Pause),
        Self::Run(Blow::Kill, Part::Supervisor),
        Self::Run(Blow::Kill, Part::Manager),
        Self::Run(Blow::Stop, Part::Manager),
        Self::Run(Blow::Pause, Part::Manager),
        Self::Run(Blow::Kill, Part::Bot),
        Self::Run(Blow::Pause, Part::Bot),
        Self::Run(Blow::Kill, Part::Whole),
        Self::Run(Blow::Kill, Part::Machine),
        Self::Network(Behind::Store, Trouble::Latency),
        Self::Network(Behind::Store, Trouble::Reset),
        Self::Network(Behind::Store, Trouble::HalfOpen),
        Self::Network(Behind::Store, Trouble::Bandwidth),
        Self::Network(Behind::Store, Trouble::Cut),
        Self::Network(Behind::Store, Trouble::Refused),
        Self::Network(Behind::Store, Trouble::Outage),
        Self::Network(Behind::Bucket, Trouble::Latency),
        Self::Network(Behind::Bucket, Trouble::Reset),
        Self::Network(Behind::Bucket, Trouble::HalfOpen),
        Self::Network(Behind::Bucket, Trouble::Bandwidth),
        Self::Network(Behind::Bucket, Trouble::Cut),
        Self::Network(Behind::Bucket, Trouble::Refused),
        Self::Network(Behind::Bucket, Trouble::Outage),
        Self::Clock(Clock::Controller),
        Self::Clock(Clock::Controller),
        Self::Clock(Clock::Managers),
        Self::DiskFull,
    ];

    /// What there is beside, where runs are Jobs.
    pub(super) const OF_JOBS: [Self; 17] = [
        Self::Network(Behind::Api, Trouble::Latency),
        Self::Network(Behind::Api, Trouble::Reset),
        Self::Network(Behind::Api, Trouble::HalfOpen),
        Self::Network(Behind::Api, Trouble::Bandwidth),
        Self::Network(Behind::Api, Trouble::Cut),
        Self::Network(Behind::Api, Trouble::Cut),
        Self::Network(Behind::Api, Trouble::Refused),
        Self::Network(Behind::Api, Trouble::Outage),
        Self::Pod(Strike::Evict),
        Self::Pod(Strike::Preempt),
        Self::Pod(Strike::Delete),
        Self::Pod(Strike::DeleteByForce),
        Self::Pod(Strike::DeleteJob),
        Self::Pod(Strike::DeleteJob),
        Self::Watches,
        Self::Watches,
        Self::Node,
    ];

    /// Every kind.
    pub fn kinds(launcher: Launcher) -> Vec<Self> {
        let mut kinds = Self::ALL.to_vec();
        if launcher == Launcher::Kubernetes {
            kinds.retain(|fault| !matches!(fault, Self::Run(_, Part::Supervisor)));
            kinds.extend(Self::OF_JOBS);
        }
        kinds
    }

    /// As in the log and in reports.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase().replace(", ", "_").replace('(', "_").replace(')', "")
    }

    /// What troubles share that may not overlap: a proxy, the managers' clock, the disk.
    pub(super) fn place(self) -> Option<usize> {
        match self {
            Self::Network(Behind::Store, _) => Some(0),
            Self::Network(Behind::Bucket, _) => Some(1),
            Self::Clock(Clock::Managers) => Some(2),
            Self::DiskFull => Some(3),
            Self::Network(Behind::Api, _) => Some(4),
            Self::Node => Some(5),
            Self::Controller(_) | Self::Run(..) | Self::Clock(Clock::Controller) | Self::Pod(_) | Self::Watches => None,
        }
    }

    /// True for what takes long.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Network(_, Trouble::Outage))
    }

    /// True where it leaves a process dead that nobody asked to end.
    pub fn is_kill(self) -> bool {
        matches!(self, Self::Controller(Blow::Kill) | Self::Run(Blow::Kill, _) | Self::Pod(Strike::DeleteByForce))
    }
}
