//! What a session stands on: folder, display, sink and browser of its own, brought up and taken down together.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::CaptureSettings;

use crate::browser::{Browser, BrowserError, CdpError, Identity, IdentityError, LaunchOptions, copy_profile};
use crate::capture::journal::QualityJournal;
use crate::capture::part::{Closed, PartError};
use crate::capture::recorder::{Recorder, Setup};
use crate::children::is_in_group;
use crate::config::Config;
use crate::display::{Display, DisplayError};
use crate::scratch::Scratch;
use crate::sink::{Asker, Mended, Sink, SinkError};

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

/// What a rebind did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rebound {
    /// Sink and streams were as they should be.
    Nothing,
    /// Streams were moved to the sink, which may have been made anew.
    Moved,
    /// The sound server is a new one, and so is the browser's process for sound. Pages opened from now on play to it; those that
    /// played to the old one stay silent (seen).
    Anew,
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
        let mut browser = Browser::start(&scratch, &display, &sink, &options).await?;
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
    pub(super) fn record(
        &self,
        output: &Path,
        settings: &CaptureSettings,
        journal: &QualityJournal,
        before: Closed,
    ) -> Result<Recorder, PartError> {
        let mut prepared = self.scratch.command(Path::new("ffmpeg"));
        self.display.lend(&mut prepared);
        self.sink.lend(&mut prepared);
        let environment: Vec<_> =
            prepared.as_std().get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let (browser, page) = (self.browser.group(), self.browser.page().clone());
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
            screen: Box::new(move || {
                let page = page.clone();
                Box::pin(async move { page.screenshot().await.ok() })
            }),
            journal: journal.clone(),
            before,
        })
    }

    /// Brings sink and browser together again: the sound server runs and has the sink, and the browser's streams play to it.
    pub(super) async fn rebind(&mut self) -> Result<Rebound, SinkError> {
        let group = self.browser.group();
        match self.sink.mend(&self.scratch, |process| is_in_group(process, group)).await? {
            Mended::Nothing => return Ok(Rebound::Nothing),
            Mended::Moved => return Ok(Rebound::Moved),
            Mended::Anew => {}
        }
        // The browser's audio process has lost its server and does not look for another; the next one does.
        self.browser.restart_sound();
        if let Err(error) = self.browser.open_sound().await {
            tracing::warn!(%error, "the way to the sink is not open");
        }
        Ok(Rebound::Anew)
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
