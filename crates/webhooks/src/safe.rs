//! How endpoints' secrets are kept in the store: sealed with the keys that the replicas share, or in clear where there are none.

use std::fmt;
use std::sync::Arc;

use sealing::{SealError, Sealer};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::signature::Secret;

/// What the keys are for; with the endpoint's id it is what a secret is sealed to.
const PURPOSE: &str = "meeting-bot webhook secret 1";
/// Begins what is sealed.
const SEALED: &str = "sealed:";

/// The keys. The first one seals, every one opens; without any, secrets are kept in clear.
#[derive(Clone, Default)]
pub struct Safe(Arc<[Sealer]>);

impl fmt::Debug for Safe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Safe({})", self.0.len())
    }
}

/// A secret as its document has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kept {
    /// `whsec_…`
    Clear(Secret),
    /// `sealed:…`
    Sealed(String),
}

impl From<Kept> for String {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Clear(secret) => secret.reveal(),
            Kept::Sealed(text) => format!("{SEALED}{text}"),
        }
    }
}

impl TryFrom<String> for Kept {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.strip_prefix(SEALED) {
            Some(sealed) => Ok(Self::Sealed(sealed.to_owned())),
            None => Secret::parse(&text).map(Self::Clear).ok_or("no secret"),
        }
    }
}

impl Safe {
    /// With these keys, each made of a secret of [`sealing::SHORTEST_SECRET`] bytes or more.
    pub fn new(secrets: &[SecretString]) -> Result<Self, SealError> {
        secrets.iter().map(|secret| Sealer::new(PURPOSE, secret)).collect::<Result<_, _>>().map(Self)
    }

    /// True where there is a key.
    pub fn seals(&self) -> bool {
        !self.0.is_empty()
    }

    /// The secret of this endpoint; `None` where no key opens it.
    pub fn open(&self, endpoint_id: &str, kept: &Kept) -> Option<Secret> {
        match kept {
            Kept::Clear(secret) => Some(secret.clone()),
            Kept::Sealed(text) => self.0.iter().find_map(|key| opened(key, endpoint_id, text)),
        }
    }

    /// As it is to be kept from now on: sealed by the first key. `None` where it is, or where there is nothing to be done.
    pub(crate) fn resealed(&self, endpoint_id: &str, kept: &Kept) -> Result<Option<Kept>, SealError> {
        let Some(first) = self.0.first() else { return Ok(None) };
        if matches!(kept, Kept::Sealed(text) if opened(first, endpoint_id, text).is_some()) {
            return Ok(None);
        }
        let Some(secret) = self.open(endpoint_id, kept) else { return Ok(None) };
        let text = first.seal(&place(endpoint_id), secret.reveal().as_bytes())?;
        Ok(Some(Kept::Sealed(text)))
    }
}

fn opened(key: &Sealer, endpoint_id: &str, text: &str) -> Option<Secret> {
    Secret::parse(std::str::from_utf8(&key.open(&place(endpoint_id), text)?).ok()?)
}

fn place(endpoint_id: &str) -> String {
    format!("{PURPOSE} {endpoint_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(keys: &[&str]) -> Safe {
        Safe::new(&keys.iter().map(|key| SecretString::from(key.repeat(32))).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_key_is_replaced_in_two_steps_and_nothing_is_lost() {
        let secret = Secret::random().unwrap();
        let clear = Kept::Clear(secret.clone());
        assert_eq!(Safe::default().resealed("ep_1", &clear).unwrap(), None, "without a key it stays in clear");
        let old = safe(&["a"]).resealed("ep_1", &clear).unwrap().unwrap();
        let both = safe(&["b", "a"]);
        assert_eq!(safe(&["a"]).resealed("ep_1", &old).unwrap(), None, "sealed once");
        let new = both.resealed("ep_1", &old).unwrap().unwrap();
        for (safe, kept) in [(safe(&["a"]), &old), (both, &old), (safe(&["b"]), &new)] {
            assert_eq!(safe.open("ep_1", kept), Some(secret.clone()));
            assert_eq!(safe.open("ep_2", kept), None, "it is this endpoint's alone");
        }
        for stranger in [safe(&["c"]), Safe::default()] {
            assert_eq!((stranger.open("ep_1", &new), stranger.resealed("ep_1", &new).unwrap()), (None, None));
        }
    }

    #[test]
    fn a_secret_is_read_back_as_it_was_written() {
        let secret = Secret::random().unwrap();
        for kept in [Kept::Clear(secret), Kept::Sealed("abc".to_owned())] {
            let text = serde_json::to_string(&kept).unwrap();
            assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
        }
        assert!(serde_json::from_str::<Kept>("\"nothing\"").is_err());
    }
}
