//! Ground truth: who was in which call, what was captured and what was broken, as lines of one file that nothing of the product writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bot_model::invariants::Stay;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// By the one clock of the machine.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A bot was let in.
    Joined {
        /// The call's own id.
        call: String,
        /// The bot's process.
        bot: String,
        /// Its run.
        run: String,
        /// The instance that it serves.
        instance: String,
        /// The run's attempt.
        attempt: u32,
    },
    /// A segment was closed on the bot's disk.
    Captured {
        /// For whom.
        instance: String,
        /// By which run.
        run: String,
        /// Its part.
        part: u32,
        /// Its number in the part.
        seq: u32,
        /// Of its bytes.
        crc32c: u32,
    },
    /// A bot is out of its call.
    Left {
        /// Which.
        bot: String,
        /// True where its process ended without a word.
        died: bool,
    },
    /// Something was broken.
    Injected {
        /// Its name.
        fault: String,
        /// The run that was hit, where it was one.
        run: Option<String>,
        /// Until it was whole again; nothing where it never is.
        secs: f64,
    },
    /// A process of the site was started again.
    Restarted {
        /// Which.
        who: String,
    },
    /// A meeting was cancelled.
    Cancelled {
        /// The call.
        call: String,
    },
}

/// The file, open for appending.
pub struct Log {
    file: Mutex<File>,
}

impl Log {
    /// Begins a new log.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: Mutex::new(File::create_new(path).with_context(|| format!("create {}", path.display()))?) })
    }

    /// Appends what happens now, on the disk when this answers. A disk that refuses ends the run: a gap would be a lie.
    pub fn write(&self, event: Event) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = serde_json::to_string(&Line { at: Utc::now(), event })? + "\n";
        file.write_all(line.as_bytes())?;
        Ok(file.sync_data()?)
    }
}

/// Reads a log.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// A stay with the run that it belongs to.
#[derive(Debug, Clone)]
pub struct Attended {
    /// Who was where, and when.
    pub stay: Stay,
    /// The bot's run.
    pub run: String,
    /// True where it ended without a word.
    pub died: bool,
}

/// Every stay of the log, in the order of joining.
pub fn stays(lines: &[Line]) -> Vec<Attended> {
    let mut stays: Vec<Attended> = Vec::new();
    let mut of_bot: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        match &line.event {
            Event::Joined { call, bot, run, .. } => {
                of_bot.insert(bot, stays.len());
                let stay = Stay { call: call.clone(), bot: bot.clone(), from: line.at, to: None };
                stays.push(Attended { stay, run: run.clone(), died: false });
            }
            Event::Left { bot, died } => {
                if let Some(attended) = of_bot.get(bot.as_str()).and_then(|place| stays.get_mut(*place)) {
                    attended.stay.to.get_or_insert(line.at);
                    attended.died = *died;
                }
            }
            _ => {}
        }
    }
    stays
}
