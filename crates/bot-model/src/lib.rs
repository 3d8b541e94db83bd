//! The pure domain of the meeting recorder: documents, lifecycle, leases, names and the contracts between processes. No I/O.
