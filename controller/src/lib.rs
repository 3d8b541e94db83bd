//! The controller: finds due meetings, claims bot instances, launches their runs and reaps them.
//!
//! Everything is here in the library; the binary only hands over. Nothing here joins a call or touches a recording: that is
//! the manager's and the meeting-bot's, which run as children of a small supervisor and outlive the controller.

mod capacity;
pub mod claim;
pub mod cli;
pub mod config;
pub mod discover;
pub mod engine;
pub mod http;
pub mod launch;
pub mod metrics;
pub mod reap;
pub mod settings;
pub mod supervise;
