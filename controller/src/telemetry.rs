//! Logs: text for a person, JSON with `LOG_FORMAT=json`. Never an address with its passcode, never a name.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error; `LOG_LEVEL` (or `RUST_LOG`, default `info`) filters.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("info,rusqlite=warn"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let json = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second start, as in tests, keeps the first.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
