//! Capture: one ffmpeg grabs display and sink into fMP4 segments, watched all the while.
//!
//! [`command`] is the command line, [`part`] one run of it in a folder of its own, [`recorder`] the task that starts
//! parts and restarts them, [`watch`] what it sees meanwhile. [`meter`], [`drift`], [`speech`], [`health`] and [`signals`] judge that,
//! pure; [`picture`] looks at what was recorded; [`journal`] writes down how it was.

pub mod command;
pub mod drift;
pub mod health;
pub mod journal;
pub mod meter;
pub mod part;
pub mod picture;
pub mod recorder;
pub mod signals;
pub mod speech;
mod watch;
