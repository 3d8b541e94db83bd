//! The loops over a real store (SQLite in a file) and a launcher in memory. Each rule of the design is a test of its own;
//! those named `c1` … `c14` are the known failures of the original.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod claims;
mod discovery;
mod fleet;
mod launchers;
mod places;
mod reaping;
mod site;
