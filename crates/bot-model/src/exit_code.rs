//! Exit codes of our processes. 70–79 are "do not retry by yourself": the Job's failure policy fails the Job on them.

/// How the manager ended, as its parent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// A terminal state is committed, whatever the outcome of the call.
    Settled = 0,
    /// Bad configuration; every problem was printed (`EX_USAGE`).
    BadConfiguration = 64,
    /// Something is missing on this machine (`EX_UNAVAILABLE`).
    MissingDependency = 69,
    /// Another attempt or another pod owns the instance; nothing final was written.
    Fenced = 70,
    /// Every recorded byte is in the bucket, but the files are not made yet.
    FinalizeNeeded = 71,
    /// Refused before joining; the controller decides about another try.
    RefusedBeforeJoin = 72,
    /// Ended by SIGTERM (128 + 15). Never 0: a main container that exits 0 on SIGTERM turns an eviction into `Complete`.
    Terminated = 143,
}

impl ExitCode {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The meaning of a number, if it is one of ours.
    pub fn from_code(code: i32) -> Option<Self> {
        [
            Self::Settled,
            Self::BadConfiguration,
            Self::MissingDependency,
            Self::Fenced,
            Self::FinalizeNeeded,
            Self::RefusedBeforeJoin,
            Self::Terminated,
        ]
        .into_iter()
        .find(|known| i32::from(known.code()) == code)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}
