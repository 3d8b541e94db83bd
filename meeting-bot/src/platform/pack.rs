//! Signal packs: what a platform's page looks like in each state, which steps lead into the call and out of it, and
//! where the number of participants can be read. Data only; checked on reading, with every problem named.

mod check;
mod meaning;
mod people;

use std::collections::BTreeMap;
use std::path::Path;

use bot_model::meeting_url::Platform;
use serde::{Deserialize, Serialize};

pub use meaning::Meaning;
pub use people::{Chat, Read, Roster, Speaking};

/// The schema that this build reads.
pub const SCHEMA: u32 = 1;

const MEET: &str = include_str!("../../packs/meet.toml");
const TEAMS: &str = include_str!("../../packs/teams.toml");
const ZOOM: &str = include_str!("../../packs/zoom.toml");

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
    /// It is named as another platform's.
    #[error("the signal pack of {wanted} says that it describes {found:?}")]
    Other {
        /// By the file's name.
        wanted: Platform,
        /// By the pack.
        found: String,
    },
    /// There is none.
    #[error("there is no signal pack for {0}: put {0}.toml into the folder that SIGNAL_PACKS_DIR names")]
    Missing(Platform),
}

/// One thing that can be seen in the page; exactly one of `visible`, `text`, `button`, `title` and `host_differs` is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Predicate {
    /// An element that this CSS selector finds is visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible: Option<String>,
    /// One of these texts is shown: part of the visible text, in upper or lower case; typographic apostrophes count as plain ones,
    /// and what people wrote themselves ([`Pack::user_content`]) does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Vec<String>>,
    /// With `text`: only inside visible elements that this selector finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// A visible button reads exactly one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<Vec<String>>,
    /// The tab's title is exactly one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Vec<String>>,
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
    /// The call's passcode, from its address. Nothing is written where the address has none.
    Passcode,
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
    /// Done only while a greeting waits to be posted or the chat is to be read.
    #[serde(default)]
    pub for_chat: bool,
    /// Not done while this selector finds something visible.
    #[serde(default)]
    pub unless: Option<String>,
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
    /// Whose page it describes: meet, teams, zoom, or a name of OTHER_PLATFORMS.
    pub platform: String,
    /// The pack's own version; logged with each session.
    pub version: String,
    /// The page's hosts; elsewhere means that the platform was left. `.example.com` stands for every name below example.com.
    pub hosts: Vec<String>,
    /// Added to the call's address, such as the language.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Where participants can be counted.
    #[serde(default)]
    pub count: Vec<Count>,
    /// Selectors of what people wrote themselves (chat, names, captions): no text or button in there is a sign of a state.
    #[serde(default)]
    pub user_content: Vec<String>,
    /// Who is in the call.
    #[serde(default)]
    pub roster: Option<Roster>,
    /// Who speaks.
    #[serde(default)]
    pub speaking: Option<Speaking>,
    /// What is written.
    #[serde(default)]
    pub chat: Option<Chat>,
    /// What the page can show.
    pub state: Vec<State>,
    /// What to do.
    pub step: Vec<Step>,
}

impl Pack {
    /// The pack for `platform`: `{folder}/{platform}.toml` where there is one, else the built-in one.
    pub fn load(platform: Platform, folder: Option<&Path>) -> Result<Self, PackError> {
        if let Some(path) = folder.map(|folder| folder.join(format!("{platform}.toml"))).filter(|path| path.exists()) {
            let pack = Self::read(&path)?;
            let is_its = pack.platform == platform.as_str();
            return if is_its { Ok(pack) } else { Err(PackError::Other { wanted: platform, found: pack.platform }) };
        }
        match platform {
            Platform::Meet => Self::parse(MEET),
            Platform::Teams => Self::parse(TEAMS),
            Platform::Zoom => Self::parse(ZOOM),
            Platform::Other(_) => Err(PackError::Missing(platform)),
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
        let problems = check::problems(&pack);
        if problems.is_empty() { Ok(pack) } else { Err(PackError::Problems(problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_packs_are_valid_and_complete() {
        for platform in Platform::ALL {
            let pack = Pack::load(platform, None).unwrap();
            assert_eq!(pack.platform, platform.as_str());
            assert!(pack.count.len() >= 2, "{platform}: being alone needs two sources");
            assert!(pack.roster.is_some() && pack.speaking.is_some() && pack.chat.is_some(), "{platform}");
            let missing: Vec<_> =
                Meaning::ALL.into_iter().filter(|meaning| !pack.state.iter().any(|state| state.means == *meaning)).collect();
            // Meet's client has neither launcher nor passcode.
            let absent = [Meaning::Launcher, Meaning::PasscodePrompt, Meaning::WrongPasscode];
            let absent = if platform == Platform::Meet { &absent[..] } else { &[] };
            assert_eq!(missing, absent, "{platform}: no state means these");
        }
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
            "means in_call",
            "means ended",
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
    fn a_pack_under_another_s_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("zoom.toml"), MEET).unwrap();
        let error = Pack::load(Platform::Zoom, Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("zoom") && error.contains("meet"), "{error}");
    }

    #[test]
    fn a_mounted_pack_wins_over_the_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("meet.toml"), MEET.replacen("version = \"", "version = \"mounted-", 1)).unwrap();
        assert!(Pack::load(Platform::Meet, Some(folder.path())).unwrap().version.starts_with("mounted-"));
    }
}
