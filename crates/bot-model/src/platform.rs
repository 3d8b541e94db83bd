//! The meeting platforms: three that we know by their addresses, and those that the process's configuration adds.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What `OTHER_PLATFORMS` wants.
pub const OTHER_PLATFORMS_WANTS: &str = "name=host pairs separated by commas, such as jitsi=meet.jit.si; names of 2 to 16 letters, digits and -, none of them built in; hosts with a dot";
/// Longest list.
const ENTRIES: usize = 50;

static CONFIGURED: OnceLock<OtherPlatforms> = OnceLock::new();
/// Names live as long as the process: there are as many as the configuration has.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The meeting platform, also the name of its signal pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// Google Meet.
    Meet,
    /// Microsoft Teams.
    Teams,
    /// Zoom.
    Zoom,
    /// One that the configuration adds ([`OtherPlatforms`]).
    Other(OtherPlatform),
}

/// The name of a platform that the configuration adds; made by [`OtherPlatforms::parse`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherPlatform(&'static str);

impl Platform {
    /// Those that are built in.
    pub const ALL: [Platform; 3] = [Platform::Meet, Platform::Teams, Platform::Zoom];

    /// The built-in ones and those of the configuration; the source of metric label sets.
    pub fn configured() -> Vec<Platform> {
        let others: BTreeSet<Platform> =
            CONFIGURED.get().into_iter().flat_map(|others| others.0.iter().map(|(name, _)| Self::Other(*name))).collect();
        Self::ALL.into_iter().chain(others).collect()
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meet => "meet",
            Self::Teams => "teams",
            Self::Zoom => "zoom",
            Self::Other(OtherPlatform(name)) => name,
        }
    }

    /// The platform of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::configured().into_iter().find(|platform| platform.as_str() == name)
    }

    /// The configured platform that is at this host.
    pub(crate) fn at_host(host: &str) -> Option<Self> {
        let (name, _) = CONFIGURED.get()?.0.iter().find(|(_, known)| known == host)?;
        Some(Self::Other(*name))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom("no platform that is built in or named by OTHER_PLATFORMS"))
    }
}

/// Platforms that we do not ship: a name, which is that of their signal pack, and the hosts that their calls are at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OtherPlatforms(Vec<(OtherPlatform, String)>);

impl OtherPlatforms {
    /// Reads `name=host` pairs, separated by commas. `None` where it is not what [`OTHER_PLATFORMS_WANTS`] says.
    pub fn parse(text: &str) -> Option<Self> {
        let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.len() > ENTRIES {
            return None;
        }
        let parsed: Option<Vec<_>> = entries.into_iter().map(entry).collect();
        let parsed = parsed?;
        let hosts: BTreeSet<&String> = parsed.iter().map(|(_, host)| host).collect();
        (hosts.len() == parsed.len()).then_some(Self(parsed))
    }

    /// Reads [`crate::process::OTHER_PLATFORMS`] through `lookup` and installs what it says. An unusable value installs nothing: it is
    /// the settings' reader that reports it.
    pub fn install_from(lookup: impl Fn(&str) -> Option<String>) {
        let parsed = lookup(crate::process::OTHER_PLATFORMS).and_then(|text| Self::parse(&text));
        parsed.unwrap_or_default().install();
    }

    /// Makes them known to this process, once and for all; later calls change nothing. To be called before any address is parsed.
    pub fn install(self) {
        let _ = CONFIGURED.set(self);
    }
}

fn entry(text: &str) -> Option<(OtherPlatform, String)> {
    let (name, host) = text.split_once('=')?;
    let (name, host) = (name.trim(), host.trim().to_ascii_lowercase());
    let built_in = Platform::ALL.iter().any(|platform| platform.as_str() == name) || name == "practice";
    let is_name = (2..=16).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (is_name && !built_in && is_free_host(&host)).then(|| (OtherPlatform(kept(name)), host))
}

/// A host's name with a dot, no address, and none of the built-in platforms'.
fn is_free_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<&str> = host.split('.').collect();
    let is_address = labels.last().is_some_and(|label| label.starts_with(|c: char| c.is_ascii_digit()));
    let is_below = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    let built_in = ["meet.google.com", "teams.microsoft.com", "teams.live.com", "zoom.us"].into_iter().any(is_below);
    labels.len() >= 2 && host.len() <= 253 && labels.iter().all(|label| is_label(label)) && !is_address && !built_in
}

fn kept(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hosts_that_could_be_something_else_are_refused() {
        for text in [
            "jitsi",
            "jitsi=",
            "=meet.jit.si",
            "zoom=meet.jit.si",
            "practice=meet.jit.si",
            "jitsi=localhost",
            "jitsi=127.0.0.1",
            "jitsi=[::1]",
            "jitsi=us02web.zoom.us",
            "jitsi=meet.google.com",
            "jitsi=meet.jit.si:8443",
            "jitsi=meet.jit.si/x",
            "jitsi=*.jit.si",
            "jitsi=meet..si",
            "Jitsi=meet.jit.si",
            "../x=meet.jit.si",
            "a=meet.jit.si,b=meet.jit.si",
            "jitsi=meet.jit.si,other=meet.jit.si",
        ] {
            assert_eq!(OtherPlatforms::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_may_have_several_hosts() {
        let parsed = OtherPlatforms::parse(" jitsi=Meet.jit.si, jitsi=8x8.vc ,").unwrap();
        let hosts: Vec<&str> = parsed.0.iter().map(|(_, host)| host.as_str()).collect();
        assert_eq!(hosts, ["meet.jit.si", "8x8.vc"]);
        assert_eq!(parsed.0[0].0, parsed.0[1].0);
    }
}
