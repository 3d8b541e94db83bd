//! A room's script: timed actions that are given together with its settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::action::{Action, perform};
use crate::server::Rooms;

/// What a step's time counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// The room was opened with these settings.
    #[default]
    Opened,
    /// The first guest asked to join.
    Asked,
    /// The first guest was in the call.
    Admitted,
}

/// One timed action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What the time counts from.
    #[serde(default)]
    pub since: Since,
    /// When, in milliseconds after that.
    #[serde(default)]
    pub after_ms: u64,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// When what steps wait for happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Milestones {
    pub(crate) opened: Option<Instant>,
    pub(crate) asked: Option<Instant>,
    pub(crate) admitted: Option<Instant>,
}

impl Milestones {
    fn at(&self, since: Since) -> Option<Instant> {
        match since {
            Since::Opened => self.opened,
            Since::Asked => self.asked,
            Since::Admitted => self.admitted,
        }
    }
}

/// Plays the steps, each in its own time. A room that is opened anew drops its milestones, and with them the old script.
pub(crate) fn play(rooms: &Rooms, code: &str, steps: &[Step], milestones: &watch::Receiver<Milestones>) {
    for step in steps.iter().cloned() {
        let (rooms, code, mut milestones) = (rooms.clone(), code.to_owned(), milestones.clone());
        tokio::spawn(async move {
            let since = step.since;
            let reached = milestones.wait_for(|reached| reached.at(since).is_some()).await.ok();
            let Some(from) = reached.and_then(|reached| reached.at(since)) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(from + Duration::from_millis(step.after_ms)) => {}
                () = gone(milestones.clone()) => return,
            }
            if let Err(error) = perform(&rooms, &code, &step.action) {
                tracing::warn!(room = %code, %error, "a step of the script could not be done");
            }
        });
    }
}

async fn gone(mut milestones: watch::Receiver<Milestones>) {
    while milestones.changed().await.is_ok() {}
}
