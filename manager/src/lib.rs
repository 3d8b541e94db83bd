//! One run of one bot instance: takes the run lease, steers the meeting-bot, carries the recording out while the call runs,
//! makes the files, verifies and reports.
//!
//! It launches nothing and decides on no retry: how it ended is its exit code, and the rest is the controller's.

pub mod bundle;
pub mod cli;
pub mod config;
pub mod finalize;
pub mod keeper;
pub mod leftover;
pub mod media;
pub use bot_objects as objects;
pub mod picture;
pub mod record;
pub mod retain;
pub mod retry;
pub mod sidecar;
pub mod spool;
