//! Asks the page, in one evaluation, which of a pack's signals it shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::pack::{Chat, Count, Meaning, Pack, Roster, Speaking, State, Step};
use crate::browser::{CdpError, Page, Point};

const SIGHT: &str = include_str!("sight.js");
const PROBE: &str = include_str!("probe.js");
const PRESS: &str = include_str!("press.js");

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
    /// Who is there, the bot included; `None` where the pack has no roster or the page shows none now.
    #[serde(default)]
    pub people: Option<Vec<PersonSeen>>,
    /// Keys of those who speak now.
    #[serde(default)]
    pub speaking: BTreeSet<String>,
    /// The chat's messages as far as the page shows them, oldest first.
    #[serde(default)]
    pub chat: Vec<ChatSeen>,
    /// Steps whose target is visible, in the pack's order.
    pub steps: Vec<Possible>,
    /// The page shows no text, no picture and nothing to click.
    #[serde(default)]
    pub is_blank: bool,
    /// Large frames of other origins: the bot cannot look into them.
    #[serde(default)]
    pub foreign_frames: u32,
    /// Selectors that the browser refused.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// Somebody in the call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PersonSeen {
    /// The platform's id of the person, or the name; stable within the session.
    pub key: String,
    /// As shown, at most 200 characters; may be empty.
    pub name: String,
    /// It is the bot.
    pub is_self: bool,
}

/// A message in the chat.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChatSeen {
    /// Stable within the session.
    pub key: String,
    /// As shown, at most 200 characters; may be empty.
    pub author: String,
    /// At most 4,000 characters.
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
    /// What the field holds, if it is one; of a passcode its length alone, in asterisks.
    pub value: Option<String>,
}

#[derive(Serialize)]
struct Specification<'a> {
    hosts: &'a [String],
    user_content: &'a [String],
    roster: Option<&'a Roster>,
    speaking: Option<&'a Speaking>,
    chat: Option<&'a Chat>,
    states: &'a [State],
    counts: &'a [Count],
    steps: &'a [Step],
}

/// What a press asks the page.
#[derive(Debug, Serialize)]
pub(super) struct Ask<'a> {
    /// One of `aim`, `focus`, `release`.
    pub(super) what: &'a str,
    /// The step's name.
    pub(super) step: &'a str,
}

/// The compiled question.
#[derive(Debug, Clone)]
pub struct Probe {
    specification: String,
    look: String,
}

impl Probe {
    /// For a pack; `extra_host` is the practice room's.
    pub fn new(pack: &Pack, extra_host: Option<String>) -> Self {
        let hosts: Vec<String> = pack.hosts.iter().cloned().chain(extra_host).collect();
        let specification = Specification {
            hosts: &hosts,
            user_content: &pack.user_content,
            roster: pack.roster.as_ref(),
            speaking: pack.speaking.as_ref(),
            chat: pack.chat.as_ref(),
            states: &pack.state,
            counts: &pack.count,
            steps: &pack.step,
        };
        // A pack was parsed from text, so it can be written as text.
        let specification = serde_json::to_string(&specification).unwrap_or_default();
        let look = format!("((spec) => ({PROBE})(spec, ({SIGHT})(spec)))({specification})");
        Self { specification, look }
    }

    /// Looks once.
    pub async fn look(&self, page: &Page) -> Result<Seen, CdpError> {
        let value = page.evaluate(&self.look).await?;
        serde_json::from_value(value).map_err(|_| CdpError::Incomplete { method: "Runtime.evaluate", what: "a probe's answer" })
    }

    /// Asks for a press on what the last look found.
    pub(super) async fn ask(&self, page: &Page, ask: &Ask<'_>) -> Result<serde_json::Value, CdpError> {
        let asked = serde_json::to_string(ask).unwrap_or_default();
        let specification = &self.specification;
        page.evaluate(&format!("((spec) => ({PRESS})(spec, () => ({SIGHT})(spec), {asked}))({specification})")).await
    }
}
