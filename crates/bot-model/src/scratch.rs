//! Scratch: what of a run lies on the machine's own disk, and how one process tells another about it.
//!
//! A session's parts (see [`crate::segment`]) lie in [`SESSION_FOLDER`] below the run's scratch folder. Whoever has carried it
//! into the bucket lays [`SAVED_FILE`] down beside it; scratch that holds more segments than that says is unsaved, and is
//! neither deleted nor forgotten.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Folder of the session's parts, below the scratch folder.
pub const SESSION_FOLDER: &str = "session";
/// File name of [`Saved`] in the scratch folder.
pub const SAVED_FILE: &str = "saved.json";

/// What of a scratch folder is in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// How many of the segments that lie there are in the bucket.
    pub segments: u64,
}

/// An earlier run of the same instance whose scratch lies on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierRun {
    /// The attempt that it belonged to.
    pub attempt: u32,
    /// The run, which names its raw folder.
    pub run: String,
    /// Its scratch folder.
    pub scratch: PathBuf,
}
