//! Signal packs: what a platform's page looks like in each state, which steps lead into the call and out of it, and
//! where the number of participants can be read. Data only; checked on reading, with every problem named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bot_model::meeting_url::Platform;
use serde::{Deserialize, Serialize};

/// The schema that this build reads.
pub const SCHEMA: u32 = 1;

const MEET: &str = include_str!("../../packs/meet.toml");

/// Why a pack is unusable.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The file could not be read.
    #[error("cannot read signal pack {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or holds a field that this build does not know.
    #[error("the signal pack does not fit schema {SCHEMA}: {0}")]
    Syntax(String),
    /// It is well-formed but says something impossible.
    #[error("the signal pack has {} problem(s):\n  - {}", .0.len(), .0.join("\n  - "))]
    Problems(Vec<String>),
    /// There is none.
    #[error("there is no signal pack for {0}; mount one by SIGNAL_PACKS_DIR")]
    Missing(Platform),
}

/// What the page says when a state's predicates hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// It asks for the guest's name.
    NamePrompt,
    /// It asks about microphone and camera.
    DevicePrompt,
    /// The button that asks to join is there.
    ReadyToJoin,
    /// The host has not started the call.
    WaitingForHost,
    /// Somebody has to let the bot in.
    Lobby,
    /// The bot is in the call and its controls are there.
    InCall,
    /// The request was refused.
    Denied,
    /// Nobody answered the request.
    RequestTimedOut,
    /// A signed-in account is wanted.
    SignIn,
    /// A captcha is shown.
    Captcha,
    /// The platform refuses this client.
    Blocked,
    /// There is no such call.
    NotFound,
    /// The host removed the bot.
    Removed,
    /// The call was ended.
    Ended,
    /// The page says that the bot has left.
    Left,
    /// The page says that nobody else is there.
    Alone,
}

/// One thing that can be seen in the page; exactly one of `visible`, `text`, `button` and `host_differs` is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Predicate {
    /// An element that this CSS selector finds is visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible: Option<String>,
    /// One of these texts is shown (part of the visible text; typographic apostrophes count as plain ones).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Vec<String>>,
    /// With `text`: only inside visible elements that this selector finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// A visible button reads exactly one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<Vec<String>>,
    /// The page has left the platform's hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_differs: Option<bool>,
    /// With `visible`: the element is at least this large, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<[u32; 2]>,
}

/// A state and when it holds: all of `all`, one of `any` (if given), none of `none`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What it means.
    pub means: Meaning,
    /// At least one holds.
    #[serde(default)]
    pub any: Vec<Predicate>,
    /// Every one holds.
    #[serde(default)]
    pub all: Vec<Predicate>,
    /// None holds.
    #[serde(default)]
    pub none: Vec<Predicate>,
}

/// When a step may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepPhase {
    /// Before asking to join.
    Joining,
    /// Before being in the call, asked or not.
    BeforeCall,
    /// In the call.
    InCall,
    /// While leaving.
    Leaving,
}

/// An element to act on: the first visible one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// CSS selector.
    pub selector: String,
    /// It reads exactly one of these (its text or its label).
    #[serde(default)]
    pub text: Vec<String>,
}

/// What to write into a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// The session's display name.
    DisplayName,
    /// The session's greeting, followed by Enter; done once.
    Greeting,
}

/// One action, done when its target is visible. Of several, the first in the file goes first, one a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in the pack; appears in the session's timeline.
    pub name: String,
    /// When it may be done.
    pub phase: StepPhase,
    /// On what.
    pub target: Target,
    /// Write this instead of clicking; done until the field holds it.
    #[serde(default)]
    pub fill: Option<Fill>,
    /// Done only while a greeting waits to be posted.
    #[serde(default)]
    pub for_greeting: bool,
    /// This click asks to join; from then on the bot waits to be admitted.
    #[serde(default)]
    pub asks_to_join: bool,
    /// Seconds before it may be done again.
    #[serde(default = "three")]
    pub again_after_secs: u64,
}

fn three() -> u64 {
    3
}

/// One independent way to count the participants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Unique in the pack.
    pub name: String,
    /// The elements to count, or the element that says the number.
    pub selector: String,
    /// Read the first number in this attribute (`text`: in the text) instead of counting elements.
    #[serde(default)]
    pub number_in: Option<String>,
    /// Count different values of this attribute instead of elements.
    #[serde(default)]
    pub distinct: Option<String>,
    /// Elements whose label or text holds one of these do not count.
    #[serde(default)]
    pub except_text: Vec<String>,
    /// How many of them are the bot itself.
    #[serde(default)]
    pub own: u32,
}

/// A signal pack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whose page it describes.
    pub platform: Platform,
    /// The pack's own version; logged with each session.
    pub version: String,
    /// The page's hosts; elsewhere means that the platform was left.
    pub hosts: Vec<String>,
    /// Added to the call's address, such as the language.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Where participants can be counted.
    #[serde(default)]
    pub count: Vec<Count>,
    /// What the page can show.
    pub state: Vec<State>,
    /// What to do.
    pub step: Vec<Step>,
}

impl Pack {
    /// The pack for `platform`: `{folder}/{platform}.toml` where there is one, else the built-in one.
    pub fn load(platform: Platform, folder: Option<&Path>) -> Result<Self, PackError> {
        if let Some(path) = folder.map(|folder| folder.join(format!("{platform}.toml"))).filter(|path| path.exists()) {
            return Self::read(&path);
        }
        match platform {
            Platform::Meet => Self::parse(MEET),
            Platform::Teams | Platform::Zoom => Err(PackError::Missing(platform)),
        }
    }

    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, PackError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| PackError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Parses and checks a text.
    pub fn parse(text: &str) -> Result<Self, PackError> {
        let pack: Self = toml::from_str(text).map_err(|error| PackError::Syntax(error.to_string()))?;
        let problems = pack.problems();
        if problems.is_empty() { Ok(pack) } else { Err(PackError::Problems(problems)) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.schema != SCHEMA {
            problems.push(format!("schema is {}, this build reads {SCHEMA}", self.schema));
        }
        if self.hosts.is_empty() {
            problems.push("hosts is empty: name the page's host".to_owned());
        }
        self.check_states(&mut problems);
        self.check_steps(&mut problems);
        self.check_counts(&mut problems);
        problems
    }

    fn check_states(&self, problems: &mut Vec<String>) {
        for state in &self.state {
            let means = state.means;
            if state.any.is_empty() && state.all.is_empty() {
                problems.push(format!("state {means:?}: needs a predicate in any or all, or it would always hold"));
            }
            for predicate in state.any.iter().chain(&state.all).chain(&state.none) {
                if let Some(problem) = predicate.problem() {
                    problems.push(format!("state {means:?}: {problem}"));
                }
            }
        }
        for needed in [Meaning::InCall, Meaning::Ended] {
            if !self.state.iter().any(|state| state.means == needed) {
                problems
                    .push(format!("no state means {needed:?}: the bot could not tell that it is in the call or that it is over"));
            }
        }
    }

    fn check_steps(&self, problems: &mut Vec<String>) {
        let mut names = BTreeSet::new();
        for step in &self.step {
            if !names.insert(&step.name) {
                problems.push(format!("step {:?} stands twice", step.name));
            }
            if step.target.selector.trim().is_empty() {
                problems.push(format!("step {:?}: selector is empty", step.name));
            }
            if step.fill == Some(Fill::Greeting) && !(step.for_greeting && step.phase == StepPhase::InCall) {
                problems.push(format!("step {:?}: fill = \"greeting\" needs for_greeting = true and phase in_call", step.name));
            }
            if step.asks_to_join && (step.phase != StepPhase::Joining || step.fill.is_some()) {
                problems.push(format!("step {:?}: asks_to_join is for clicks in phase joining", step.name));
            }
        }
        if !self.step.iter().any(|step| step.asks_to_join) {
            problems.push("no step has asks_to_join".to_owned());
        }
        if !self.step.iter().any(|step| step.phase == StepPhase::Leaving) {
            problems.push("no step leaves (phase = \"leaving\")".to_owned());
        }
    }

    fn check_counts(&self, problems: &mut Vec<String>) {
        let mut names = BTreeSet::new();
        for count in &self.count {
            if !names.insert(&count.name) {
                problems.push(format!("count {:?} stands twice", count.name));
            }
            if count.number_in.is_some() && count.distinct.is_some() {
                problems.push(format!("count {:?}: number_in and distinct exclude each other", count.name));
            }
        }
    }
}

impl Predicate {
    fn problem(&self) -> Option<String> {
        let kinds = [self.visible.is_some(), self.text.is_some(), self.button.is_some(), self.host_differs.is_some()];
        if kinds.iter().filter(|set| **set).count() != 1 {
            return Some("a predicate sets exactly one of visible, text, button, host_differs".to_owned());
        }
        if self.within.is_some() && self.text.is_none() {
            return Some("within belongs to text".to_owned());
        }
        if self.at_least.is_some() && self.visible.is_none() {
            return Some("at_least belongs to visible".to_owned());
        }
        let texts = self.text.iter().chain(&self.button).flatten();
        if texts.clone().any(|text| text.trim().is_empty())
            || matches!((&self.text, &self.button), (Some(list), _) | (_, Some(list)) if list.is_empty())
        {
            return Some("an empty text would match every page".to_owned());
        }
        texts.clone().any(|text| text.contains('\u{2019}')).then(|| "write ' for the typographic apostrophe".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_packs_are_valid() {
        let pack = Pack::load(Platform::Meet, None).unwrap();
        assert_eq!(pack.platform, Platform::Meet);
        assert!(pack.count.len() >= 2, "being alone needs two sources");
    }

    #[test]
    fn a_bad_pack_is_refused_with_every_problem_named() {
        let text = r#"
            schema = 9
            platform = "meet"
            version = "x"
            hosts = []
            [[state]]
            means = "lobby"
            any = [{ text = [""] }, { visible = "a", text = ["b"] }]
            [[step]]
            name = "a"
            phase = "in_call"
            asks_to_join = true
            target = { selector = " " }
        "#;
        let error = Pack::parse(text).unwrap_err().to_string();
        for part in [
            "schema is 9",
            "hosts is empty",
            "empty text",
            "exactly one of",
            "InCall",
            "Ended",
            "selector is empty",
            "phase joining",
            "no step leaves",
        ] {
            assert!(error.contains(part), "{part:?} is not named in:\n{error}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_and_named() {
        let text = "schema = 1\nplatform = \"meet\"\nversion = \"x\"\nhosts = [\"a\"]\nstate = []\nstep = []\nstates = 3\n";
        let error = Pack::parse(text).unwrap_err().to_string();
        assert!(error.contains("states"), "{error}");
    }

    #[test]
    fn a_mounted_pack_wins_over_the_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("meet.toml"), MEET.replacen("version = \"", "version = \"mounted-", 1)).unwrap();
        assert!(Pack::load(Platform::Meet, Some(folder.path())).unwrap().version.starts_with("mounted-"));
    }

    #[test]
    fn a_platform_without_a_pack_says_how_to_get_one() {
        let error = Pack::load(Platform::Zoom, None).unwrap_err().to_string();
        assert!(error.contains("SIGNAL_PACKS_DIR"), "{error}");
    }
}
