//! Child processes, each the leader of a process group of its own, ended as a group.
//!
//! Owns spawning, signalling and reaping. Must not know what a child is for.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::lifeline;

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program is not there or may not be run.
    #[error("cannot start {name}: {source}")]
    Start {
        /// The program's role.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was gone before it could be looked at.
    #[error("{name} ended at once")]
    Gone {
        /// The program's role.
        name: &'static str,
    },
}

/// One child and everything it starts. Dropping it kills the whole group.
#[derive(Debug)]
pub struct ChildGroup {
    name: &'static str,
    child: Child,
    group: Pid,
    over: bool,
}

impl ChildGroup {
    /// Starts `command` as the leader of a new process group.
    pub fn spawn(name: &'static str, command: &mut Command) -> Result<Self, SpawnError> {
        let child = command.process_group(0).spawn().map_err(|source| SpawnError::Start { name, source })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).ok_or(SpawnError::Gone { name })?;
        lifeline::begins(group);
        Ok(Self { name, child, group, over: false })
    }

    /// The group's id, which is also its leader's process id.
    pub fn group(&self) -> Pid {
        self.group
    }

    /// The handles of the leader.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Signals the whole group.
    pub fn signal(&self, signal: Signal) {
        if !self.over {
            // A group that is gone already is what the signal was to bring about.
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Waits for the leader to end; `None` when it has not within `limit`.
    pub async fn wait_for(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = timeout(limit, self.child.wait()).await.ok()?.ok()?;
        self.end_group();
        Some(status)
    }

    /// True once the leader has ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.end_group();
        Some(status)
    }

    /// SIGTERM to the group, SIGKILL after `grace`.
    pub async fn stop(mut self, grace: Duration) {
        self.end(grace).await;
    }

    /// The same, for one that another will take the place of.
    pub async fn end(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if self.wait_for(grace).await.is_none() {
            tracing::warn!(child = self.name, "child did not end on SIGTERM");
            self.signal(Signal::KILL);
            self.wait_for(Duration::from_secs(2)).await;
        }
    }

    fn end_group(&mut self) {
        if !self.over {
            let _ = kill_process_group(self.group, Signal::KILL);
            lifeline::ends(self.group);
            self.over = true;
        }
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        self.end_group();
    }
}

/// True for a living process of the group.
///
/// Read from /proc: for a process that entered the container from outside, whose group's leader is not in it, `getpgid` answers 0,
/// which no [`Pid`] can hold.
pub fn is_in_group(process: i32, group: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the program's name, in brackets, which may hold anything: state, parent, group.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let found = after_name.split_whitespace().nth(2).and_then(|group| group.parse::<i32>().ok());
    found == Some(group.as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_told_apart_from_others() {
        use std::os::unix::process::CommandExt as _;
        let mut child = std::process::Command::new("sleep").arg("30").process_group(0).spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        let group = Pid::from_raw(id).unwrap();
        assert!(is_in_group(id, group));
        assert!(!is_in_group(1, group), "another process's group");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_in_group(id, group), "it has ended");
    }
}
