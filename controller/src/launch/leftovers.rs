//! Processes that belong to a run by what their own environment says: the run's folder occurs in it, either as
//! `BOT_RUN_DIR` or as the home or scratch folder of something further down. Never by a remembered process id.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::RUN_DIR_VARIABLE;

/// A live process of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leftover {
    pid: Pid,
    /// True for one that the supervisor itself started: manager or meeting-bot.
    pub(crate) is_manager: bool,
}

/// Every live process, but the caller's own, whose environment names the run's folder.
pub(crate) fn of_run(run_dir: &Path) -> Vec<Leftover> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own))
        .filter_map(|pid| leftover(pid, run_dir))
        .collect()
}

fn leftover(pid: i32, run_dir: &Path) -> Option<Leftover> {
    // Unreadable means another user's or gone; a zombie's is empty.
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let folder = run_dir.to_str()?;
    let ours = environment.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok()).any(|entry| {
        let value = entry.split_once('=').map_or("", |(_, value)| value);
        value == folder || value.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    });
    let is_manager = contains(&environment, format!("{RUN_DIR_VARIABLE}={folder}\0").as_bytes())
        && contains(&environment, b"MEETING_BOT_API_URL=");
    ours.then(|| Pid::from_raw(pid)).flatten().map(|pid| Leftover { pid, is_manager })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Signals each process itself: its children carry the same mark and are in the list, too.
pub(crate) fn signal(leftovers: &[Leftover], signal: Signal) {
    for leftover in leftovers {
        // Gone in between is what was wanted.
        let _ = kill_process(leftover.pid, signal);
    }
}
