//! The debug bundle: what a session leaves for whoever wants to know why it failed. Written by the meeting-bot into
//! [`FOLDER`] of the session's folder, whole or not at all; carried by the manager to `{gcs_path}/debug/{attempt}-{run}/`.

use serde::{Deserialize, Serialize};

use crate::outcome::{OutcomeClass, OutcomeKind};

/// Folder of the bundle in the session's folder.
pub const FOLDER: &str = "debug";

/// When a bundle is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Never.
    Off,
    /// When something broke, the bot was not admitted, or it was removed.
    #[default]
    Failures,
    /// At the end of every session.
    Always,
}

impl Policy {
    /// From a setting's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "off" => Some(Self::Off),
            "failures" => Some(Self::Failures),
            "always" => Some(Self::Always),
            _ => None,
        }
    }

    /// Whether a session that ended so leaves a bundle.
    pub fn wants(self, kind: OutcomeKind) -> bool {
        let has_failed = matches!(kind.class(), OutcomeClass::Failed | OutcomeClass::NotAdmitted);
        match self {
            Self::Off => false,
            Self::Failures => has_failed || kind == OutcomeKind::Removed,
            Self::Always => true,
        }
    }
}

/// One file of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// What the page looked like; absent where the browser had ended.
    Screenshot,
    /// The page's visible text, redacted.
    Page,
    /// The end of the browser's console, redacted.
    Console,
    /// The session's events, one JSON object a line.
    Events,
}

impl File {
    /// Every file.
    pub const ALL: [Self; 4] = [Self::Events, Self::Screenshot, Self::Page, Self::Console];

    /// Its name in the bundle.
    pub fn name(self) -> &'static str {
        match self {
            Self::Screenshot => "screenshot.png",
            Self::Page => "page.txt",
            Self::Console => "console.txt",
            Self::Events => "events.jsonl",
        }
    }

    /// MIME type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Screenshot => "image/png",
            Self::Page | Self::Console => "text/plain; charset=utf-8",
            Self::Events => "application/x-ndjson",
        }
    }

    /// More than this is not written, in bytes.
    pub fn most_bytes(self) -> usize {
        match self {
            Self::Screenshot => 16 << 20,
            Self::Page => 256 << 10,
            Self::Console | Self::Events => 1 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_was_refused_or_was_removed_leaves_a_bundle() {
        for kind in [OutcomeKind::BrowserCrashed, OutcomeKind::Denied, OutcomeKind::Removed, OutcomeKind::NoRecording] {
            assert!(Policy::default().wants(kind), "{kind}");
        }
        for kind in [OutcomeKind::HostEnded, OutcomeKind::AskedToLeave, OutcomeKind::Silence] {
            assert!(!Policy::default().wants(kind) && Policy::Always.wants(kind) && !Policy::Off.wants(kind), "{kind}");
        }
    }
}
