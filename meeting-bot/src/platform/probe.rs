//! Asks the page, in one evaluation, which of a pack's signals it shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::pack::{Count, Meaning, Pack, State, Step};
use crate::browser::{CdpError, Page, Point};

const SCRIPT: &str = include_str!("probe.js");

/// What one look at the page saw.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Seen {
    /// The page has loaded. Before, style sheets may be missing, and everything that is hidden later is shown.
    #[serde(default)]
    pub loaded: bool,
    /// The page has left the platform's hosts.
    pub host_differs: bool,
    /// The states that hold.
    pub meanings: BTreeSet<Meaning>,
    /// Others in the call by each source that could be read.
    pub counts: BTreeMap<String, Option<u32>>,
    /// Steps whose target is visible, in the pack's order.
    pub steps: Vec<Possible>,
    /// Selectors that the browser refused.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Who is in the call; `None` where the pack has no roster or it cannot be read now.
    #[serde(default)]
    pub people: Option<Vec<PersonSeen>>,
    /// Keys of those who speak.
    #[serde(default)]
    pub speaking: BTreeSet<String>,
    /// Messages that the chat shows.
    #[serde(default)]
    pub chat: Vec<ChatSeen>,
}

/// Somebody in the call. Untrusted, as everything of the page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PersonSeen {
    /// Stable within the session.
    pub key: String,
    /// As shown; may be empty.
    pub name: String,
    /// The bot itself.
    pub is_self: bool,
}

/// A message of the chat.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChatSeen {
    /// Stable, so that each message is reported once.
    pub key: String,
    /// As shown.
    pub author: String,
    /// As shown.
    pub text: String,
}

/// A step that could be done now.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Possible {
    /// The step's name.
    pub name: String,
    /// The middle of its target.
    #[serde(flatten)]
    pub at: Point,
    /// Nothing lies over the target there.
    pub reachable: bool,
    /// What the field holds, if it is one.
    pub value: Option<String>,
}

#[derive(Serialize)]
struct Specification<'a> {
    hosts: &'a [String],
    states: &'a [State],
    counts: &'a [Count],
    steps: &'a [Step],
}

/// The compiled question.
#[derive(Debug, Clone)]
pub struct Probe {
    expression: String,
}

impl Probe {
    /// For a pack; `extra_host` is the practice room's.
    pub fn new(pack: &Pack, extra_host: Option<String>) -> Self {
        let hosts: Vec<String> = pack.hosts.iter().cloned().chain(extra_host).collect();
        let specification = Specification { hosts: &hosts, states: &pack.state, counts: &pack.count, steps: &pack.step };
        // A pack was parsed from text, so it can be written as text.
        let specification = serde_json::to_string(&specification).unwrap_or_default();
        Self { expression: format!("{}({specification})", SCRIPT.trim_end()) }
    }

    /// Looks once.
    pub async fn look(&self, page: &Page) -> Result<Seen, CdpError> {
        let value = page.evaluate(&self.expression).await?;
        serde_json::from_value(value).map_err(|_| CdpError::Incomplete { method: "Runtime.evaluate", what: "a probe's answer" })
    }
}
