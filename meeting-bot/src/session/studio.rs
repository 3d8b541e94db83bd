//! What a session stands on: folder, display, sink and browser of its own, brought up and taken down together.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::CaptureSettings;
use rustix::process::Pid;

use crate::browser::{Browser, BrowserError, CdpError, Identity, IdentityError, LaunchOptions, copy_profile};
use crate::capture::part::PartError;
use crate::capture::recorder::{Recorder, Setup};
use crate::config::Config;
use crate::display::{Display, DisplayError};
use crate::scratch::Scratch;
use crate::sink::{Asker, Sink, SinkError};

/// Of the sound on its way to the sink, where a call began before it was measured.
const USUAL_LAG: Duration = Duration::from_millis(30);
const LAG_READINGS: usize = 7;

/// Why it could not be brought up.
#[derive(Debug, thiserror::Error)]
pub(super) enum StudioError {
    #[error("cannot make the session's folder: {0}")]
    Scratch(#[from] std::io::Error),
    #[error(transparent)]
    Display(#[from] DisplayError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Browser(#[from] BrowserError),
    #[error("the profile {0}")]
    Profile(#[from] IdentityError),
    #[error("the browser refuses the storage state: {0}")]
    StorageState(CdpError),
}

impl StudioError {
    pub(super) fn kind(&self) -> OutcomeKind {
        match self {
            Self::Browser(_) => OutcomeKind::BrowserCrashed,
            Self::Profile(_) | Self::StorageState(CdpError::Refused { .. }) => OutcomeKind::IdentityUnusable,
            Self::StorageState(_) => OutcomeKind::BrowserCrashed,
            Self::Scratch(_) | Self::Display(_) | Self::Sink(_) => OutcomeKind::CaptureFailed,
        }
    }
}

pub(super) struct Studio {
    pub(super) browser: Browser,
    display: Display,
    sink: Sink,
    sound_lag: Arc<OnceLock<Duration>>,
    scratch: Arc<Scratch>,
}

impl Studio {
    pub(super) async fn bring_up(config: &Config, capture: &CaptureSettings, practice: bool) -> Result<Self, StudioError> {
        let scratch = Arc::new(Scratch::create(config.scratch.as_deref())?);
        take_profile(&config.identity, &scratch).await?;
        let (display, sink) = tokio::join!(Display::start(&scratch, capture.width, capture.height), Sink::start(&scratch));
        let (display, sink) = (display?, sink?);
        let options = LaunchOptions {
            program: config.browser.clone(),
            width: capture.width,
            height: capture.height,
            practice,
            is_sandboxed: config.is_sandboxed,
        };
        let browser = Browser::start(&scratch, &display, &sink, &options).await?;
        if let Some(state) = &config.identity.state {
            browser.take_identity(state).await.map_err(StudioError::StorageState)?;
        }
        if let Err(error) = browser.open_sound().await {
            tracing::warn!(%error, "the way to the sink is not open yet; the first second of a call may be out of step");
        }
        let sound_lag = Arc::default();
        tokio::spawn(measure_lag(sink.asker(), Arc::clone(&sound_lag)));
        Ok(Self { browser, display, sink, sound_lag, scratch })
    }

    /// Starts recording this studio's picture and sound into `output`.
    pub(super) fn record(&self, output: &Path, settings: &CaptureSettings) -> Result<Recorder, PartError> {
        let mut prepared = self.scratch.command(Path::new("ffmpeg"));
        self.display.lend(&mut prepared);
        self.sink.lend(&mut prepared);
        let environment: Vec<_> =
            prepared.as_std().get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let browser = self.browser.group();
        Recorder::start(Setup {
            output: output.to_owned(),
            settings: settings.clone(),
            display: self.display.name().to_owned(),
            ffmpeg: Box::new(move || {
                let mut command = tokio::process::Command::new("ffmpeg");
                command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
                command
            }),
            sink: self.sink.asker(),
            sound_lag: self.sound_lag.get().copied().unwrap_or(USUAL_LAG),
            is_ours: Box::new(move |process| is_in_group(process, browser)),
        })
    }

    /// Takes everything down, the browser first.
    pub(super) async fn take_down(self) {
        self.browser.stop().await;
        tokio::join!(self.sink.stop(), self.display.stop());
        // Chromium's last writes race with the removal; a folder that stays is removed with its parent.
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(self.scratch);
    }
}

/// Copies the profile where one is given: the browser writes to its own.
async fn take_profile(identity: &Identity, scratch: &Scratch) -> Result<(), StudioError> {
    let Some(from) = identity.profile.clone() else { return Ok(()) };
    let to = scratch.profile();
    let copied = tokio::task::spawn_blocking(move || copy_profile(&from, &to)).await;
    Ok(copied.map_err(std::io::Error::other)??)
}

/// A stream's first readings are of its filling: the median of the later ones counts.
async fn measure_lag(sink: Asker, found: Arc<OnceLock<Duration>>) {
    let mut readings = Vec::new();
    for _ in 0..LAG_READINGS {
        tokio::time::sleep(Duration::from_millis(200)).await;
        readings.extend(sink.latency().await);
    }
    readings.sort();
    if let Some(median) = readings.get(readings.len() / 2) {
        tracing::debug!(lag_ms = median.as_millis() as u64, "the sound's way to the sink is measured");
        let _ = found.set(*median);
    }
}

/// Read from /proc: for a process that entered the container from outside, whose group's leader is not in it, `getpgid` answers 0,
/// which no [`Pid`] can hold.
fn is_in_group(process: i32, group: Pid) -> bool {
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
