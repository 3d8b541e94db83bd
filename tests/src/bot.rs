//! A real `meeting-bot` process as a manager sees it: over its session contract.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bot_model::session::{CaptureSettings, SessionEnd, SessionEvent, SessionLimits, SessionPhase, SessionState};
use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::process::{Process, address, binary};

/// A running bot; dropped, it is ended together with everything that it started.
pub struct Bot {
    /// Where its parts lie.
    pub output: PathBuf,
    base: String,
    http: reqwest::Client,
    process: Process,
}

impl Bot {
    /// Starts one in `folder`, for practice rooms at `origin`.
    pub async fn start(folder: &Path, origin: &str) -> Result<Self> {
        let (port_file, output) = (folder.join("bot.port"), folder.join("parts"));
        std::fs::create_dir_all(&output)?;
        let mut command = Command::new(binary("meeting-bot")?);
        command.env("MEETING_BOT_LISTEN", "127.0.0.1:0").env("MEETING_BOT_PORT_FILE", &port_file);
        command.env("MEETING_BOT_SCRATCH", folder.join("scratch")).env("PRACTICE_ROOM_ORIGIN", origin);
        let mut process = Process::start(command, &folder.join("bot.log"))?;
        let base = format!("http://{}", address(&port_file, &mut process).await?);
        Ok(Self { output, base, http: reqwest::Client::new(), process })
    }

    /// Asks it to join a call.
    pub async fn join(&self, meeting: &str, limits: &SessionLimits) -> Result<()> {
        let body = json!({
            "session_id": "suite", "meeting": meeting, "display_name": "Recorder Zoë", "output_dir": self.output, "limits": limits,
            "capture": CaptureSettings { segment_secs: 2, ..CaptureSettings::default() },
        });
        let answer = self.http.post(format!("{}/v1/session", self.base)).json(&body).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "the bot answered {status}: {}", answer.text().await?);
        Ok(())
    }

    /// Where its session stands.
    pub async fn state(&self) -> Result<SessionState> {
        Ok(self.http.get(format!("{}/v1/session", self.base)).send().await?.json().await?)
    }

    /// Waits for a phase, or for a later one.
    pub async fn reaches(&self, phase: SessionPhase, limit: Duration) -> Result<SessionState> {
        let begun = Instant::now();
        loop {
            let state = self.state().await?;
            if state.phase >= phase {
                return Ok(state);
            }
            if begun.elapsed() > limit {
                bail!("not {phase:?} within {limit:?} but {:?}; its log:\n{}", state.phase, self.process.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the session's end.
    pub async fn ends(&self, limit: Duration) -> Result<SessionEnd> {
        self.reaches(SessionPhase::Ended, limit).await?.end.context("ended without an outcome")
    }

    /// The session's timeline, once it has ended.
    pub async fn timeline(&self) -> Result<Vec<SessionEvent>> {
        let text = self.http.get(format!("{}/v1/session/events", self.base)).send().await?.text().await?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Sends a signal to those of its processes whose command line holds `part`. Answers how many there were.
    pub fn signal_children(&self, part: &str, signal: Signal) -> Result<usize> {
        let found = self.children(part)?;
        for pid in &found {
            // It may have ended in this moment.
            let _ = rustix::process::kill_process(Pid::from_raw(*pid).context("a process id of zero")?, signal);
        }
        Ok(found.len())
    }

    /// Those of its processes whose command line holds `part`.
    pub fn children(&self, part: &str) -> Result<Vec<i32>> {
        let mut found = self.descendants()?;
        found.retain(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(part)
        });
        Ok(found)
    }

    /// Whoever has it for a parent, or a parent's parent.
    fn descendants(&self) -> Result<Vec<i32>> {
        let pids: Vec<i32> =
            std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let parents: Vec<(i32, i32)> = pids.into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let mut found = vec![self.process.id()];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        Ok(found.split_off(1))
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, spaces and brackets too.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
