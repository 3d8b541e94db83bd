//! The portal in a real browser: every page, every action, who may do what, and what must not happen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "all of this is a test")]

mod actions;
#[allow(dead_code, unreachable_pub, reason = "the file is shared with another suite")]
#[path = "../../../../tests/src/chromium.rs"]
mod chromium;
mod entry;
mod guards;
mod hooks;
#[allow(dead_code, reason = "the file is shared with another suite")]
#[path = "../../../api/tests/http/issuer.rs"]
mod issuer;
mod looks;
mod site;
mod twice;
