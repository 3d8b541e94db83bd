//! The Kubernetes launcher, with the real client, against the stub of the API server that is held to recordings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "kubernetes/engine.rs"]
mod engine;
#[path = "kubernetes/faults.rs"]
mod faults;
#[path = "kubernetes/launcher.rs"]
mod launcher;
#[path = "kubernetes/manifest.rs"]
mod manifest;
#[path = "kubernetes/quota.rs"]
mod quota;
#[path = "kubernetes/rights.rs"]
mod rights;
#[path = "kubernetes/site.rs"]
mod site;
#[path = "kubernetes/troubles.rs"]
mod troubles;
