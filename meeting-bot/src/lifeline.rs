//! Ends the children when this process is killed outright.
//!
//! A small shell waits on a pipe that only this process holds open. It is told every process group that begins and
//! ends; when the pipe closes, it sends SIGTERM to those that are left (ffmpeg then still closes its segment), and
//! SIGKILL three seconds later (`kill` without `--`, which dash does not know). No parent-death signal: that is tied to a thread, and threads end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::Pid;

const SCRIPT: &str = r#"
live=" "
while read -r change group; do
  case $change in
    +) live="$live$group " ;;
    -) case $live in *" $group "*) live="${live%%" $group "*} ${live#*" $group "}" ;; esac ;;
  esac
done
for group in $live; do kill -TERM "-$group" 2>/dev/null; done
[ "$live" = " " ] || sleep 3
for group in $live; do kill -KILL "-$group" 2>/dev/null; done
exit 0
"#;

static LIFELINE: OnceLock<Option<Mutex<std::process::ChildStdin>>> = OnceLock::new();

/// A process group has begun.
pub fn begins(group: Pid) {
    tell('+', group);
}

/// A process group has ended; its number may be another's from now on.
pub fn ends(group: Pid) {
    tell('-', group);
}

fn tell(change: char, group: Pid) {
    let line = format!("{change} {}\n", group.as_raw_nonzero());
    if let Some(pipe) = LIFELINE.get_or_init(start) {
        // Without the shell, only the protection against a SIGKILL is lost.
        let _ = pipe.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

fn start() -> Option<Mutex<std::process::ChildStdin>> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    match command.spawn() {
        Ok(mut shell) => shell.stdin.take().map(Mutex::new),
        Err(error) => {
            tracing::warn!(%error, "children will outlive this process if it is killed outright");
            None
        }
    }
}
