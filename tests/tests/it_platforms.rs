//! Every state of a call, on each platform's practice room: which outcome the bot ends with, and what it recorded.
//!
//! The recordings and the pages that misbehave are played with the real `meeting-bot` process. The table of states is played with
//! its engine and pack in one real browser a platform, since bringing up a display, a sink and a browser for each of some
//! seventy states would take longer than all other suites together.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

// The longest waits come first: names are played in order, and what a suite waits for longest should not be left to the end.
#[path = "platforms/broken_pages.rs"]
mod broken_pages;
#[path = "platforms/check_pack.rs"]
mod check_pack;
#[path = "platforms/drift.rs"]
mod drift;
#[path = "platforms/people.rs"]
mod people;
#[path = "platforms/recordings.rs"]
mod recordings;
#[path = "platforms/stage.rs"]
mod stage;
#[path = "platforms/states.rs"]
mod states;
