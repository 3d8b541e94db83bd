//! Capture: one ffmpeg grabs display and sink into fMP4 segments, watched all the while.
//!
//! [`command`] is the command line, [`part`] one run of it in a folder of its own, [`recorder`] the task that starts
//! parts, watches them and restarts them, [`picture`] looks at what was recorded.

pub mod command;
pub mod health;
pub mod part;
pub mod picture;
pub mod recorder;
