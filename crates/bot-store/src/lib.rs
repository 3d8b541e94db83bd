//! The Store: what controller and manager share, behind one narrow port.
//!
//! An adapter reads documents with their versions and commits a few writes atomically, each on its own condition; that
//! is all it does ([`Store`]). The protocol (enqueue, claim, launch, run lease, slot, settle) is written once above it,
//! in [`protocol`], so that two adapters cannot drift apart. `conformance` holds what both must pass.

pub mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod connect;
#[cfg(feature = "conformance")]
pub mod emulator;
pub mod firestore;
pub mod guard;
mod key_path;
pub mod kill_point;
pub mod listing;
pub mod outbox;
mod port;
pub mod protocol;
pub mod sqlite;

pub use port::{
    Commit, DocumentKey, Hint, HintStream, InstanceQuery, MeetingQuery, Page, Precondition, Record, Store, StoreError,
    StoreErrorKind, Version, Write, WriteMode,
};
