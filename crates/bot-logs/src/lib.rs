//! Logs to standard error: text for a person, JSON with `LOG_FORMAT=json`.
//!
//! A full pipe or a disk that does not take the container's log must not hold up a recording, so that lines go through a bounded queue
//! to a thread of its own; what does not fit is dropped and counted. Never an address with its passcode, never a name.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait at most, some hundred bytes each.
const LINES: usize = 8_192;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Dropped at the end of `main`, it waits up to a second until the last lines are written.
#[must_use = "without it the last lines are lost"]
pub struct Logs(#[allow(dead_code, reason = "held for its drop")] WorkerGuard);

/// Starts logging. `LOG_LEVEL`, else `RUST_LOG`, else `default` (such as `info,rusqlite=warn`) filters. A second start, as in tests,
/// keeps the first.
pub fn start(default: &str) -> Logs {
    let filter = EnvFilter::try_from_env("LOG_LEVEL")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new(default));
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).thread_name("logs").finish(std::io::stderr());
    let dropped = writer.error_counter();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(std::io::stderr().is_terminal());
    let json = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json");
    if (if json { builder.json().try_init() } else { builder.try_init() }).is_ok() {
        let _ = DROPPED.set(dropped);
    }
    Logs(guard)
}

/// Lines dropped since the start, because nobody took them.
pub fn dropped() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}
