//! Who wants which events: the document of an endpoint, its secrets and its health.

use std::time::Duration;

use bot_model::document::Fields;
use bot_store::listing::{Listed, Listing};
use bot_store::outbox::{CAPACITY_EXHAUSTED, Event, QUEUE_TIMEOUT};
use bot_store::{DocumentKey, Precondition, Record, Store, StoreError, Version, Write, WriteMode, clock};
use chrono::{DateTime, Utc};
use sealing::SealError;
use serde::{Deserialize, Serialize};

use crate::safe::{Kept, Safe};
use crate::schedule::delta;
use crate::signature::Secret;

/// How long a replaced secret still signs beside the new one.
pub const OLD_SECRET_SIGNS_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Secrets that are valid at once, at most; the oldest ones go first.
pub const MOST_SECRETS: usize = 3;
/// Endpoints of one owner at most.
pub const MOST_OF_ONE_OWNER: usize = 20;
/// Endpoints of an installation at most: what is under way at once is bounded by it.
pub const MOST_ENDPOINTS: usize = 200;
/// The type of the test button's event.
pub const TEST: &str = "webhook.test";
/// Every type that an endpoint can ask for.
pub const EVENT_TYPES: [&str; 14] = [
    "bot.queued",
    "bot.claimed",
    "bot.launched",
    "bot.joining",
    "bot.waiting_room",
    "bot.recording",
    "bot.finalizing",
    "bot.done",
    "bot.failed",
    "bot.cancelled",
    "bot.missed",
    CAPACITY_EXHAUSTED,
    QUEUE_TIMEOUT,
    TEST,
];

/// A secret of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// The secret.
    pub secret: Kept,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops signing; absent for the present one.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

/// An endpoint. Field names are the stored ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id; the document's name.
    #[serde(skip)]
    pub id: String,
    /// Where to post; may hold a token.
    pub url: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whose events it gets; empty with `all_organizations`.
    #[serde(rename = "creator_organization_id", default)]
    pub organization: String,
    /// It gets everybody's events, and the installation's own.
    #[serde(default)]
    pub all_organizations: bool,
    /// The types that it wants; empty is all of them.
    #[serde(default)]
    pub event_types: Vec<String>,
    /// It gets events.
    pub is_enabled: bool,
    /// Why it does not, where nobody asked for that.
    #[serde(default)]
    pub disabled_reason: Option<String>,
    /// Since when it does not.
    #[serde(default)]
    pub disabled_at: Option<DateTime<Utc>>,
    /// Since when every try failed.
    #[serde(default)]
    pub failing_since_at: Option<DateTime<Utc>>,
    /// The newest first.
    pub secrets: Vec<Signing>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom.
    #[serde(default)]
    pub created_by: String,
}

/// An endpoint with the version that it was read in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What a conditional write names.
    pub version: Version,
}

impl Endpoint {
    /// A new one, with a new secret, in clear until it is [sealed](Self::seal). `organization` `None` is for everybody's events. `None`
    /// where there is no randomness.
    pub fn new(url: String, organization: Option<String>, created_by: &str, now: DateTime<Utc>) -> Option<Self> {
        let secret = Signing { secret: Kept::Clear(Secret::random()?), created_at: now, expires_at: None };
        Some(Self {
            id: format!("ep_{}", clock::ordered_id().simple()),
            url,
            description: String::new(),
            all_organizations: organization.is_none(),
            organization: organization.unwrap_or_default(),
            event_types: Vec::new(),
            is_enabled: true,
            disabled_reason: None,
            disabled_at: None,
            failing_since_at: None,
            secrets: vec![secret],
            created_at: now,
            created_by: created_by.to_owned(),
        })
    }

    /// From its document; `None` for one that is damaged, or of a newer program.
    pub fn of(record: &Record) -> Option<Read> {
        let DocumentKey::Endpoint(id) = &record.key else { return None };
        let endpoint: Self = serde_json::from_value(record.fields.clone().into()).ok()?;
        Some(Read { endpoint: Self { id: id.clone(), ..endpoint }, version: record.version.clone() })
    }

    /// Its key.
    pub fn key(&self) -> DocumentKey {
        DocumentKey::Endpoint(self.id.clone())
    }

    /// The write that makes it.
    pub fn create(&self) -> Write {
        Write::create(self.key(), self.fields())
    }

    /// The write that changes it, where it is unchanged since `version`.
    pub fn update(&self, version: Version) -> Write {
        Write { key: self.key(), precondition: Precondition::Unchanged(version), mode: WriteMode::Merge(self.fields()) }
    }

    fn fields(&self) -> Fields {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => Fields::new(),
        }
    }

    /// It wants this event. Its organization's alone, unless it has all: whatever an event tells is its organization's to know.
    pub fn wants(&self, event: &Event) -> bool {
        let is_its = self.all_organizations || (!self.organization.is_empty() && self.organization == event.organization);
        let is_asked_for = self.event_types.is_empty() || self.event_types.contains(&event.event_type);
        self.is_enabled && is_its && is_asked_for
    }

    /// The secrets that sign now, the newest first; `None` where one of them does not open: its receivers may know no other.
    pub fn signing(&self, safe: &Safe, now: DateTime<Utc>) -> Option<Vec<Secret>> {
        let is_valid = |signing: &&Signing| signing.expires_at.is_none_or(|at| now < at);
        self.secrets.iter().filter(is_valid).map(|signing| safe.open(&self.id, &signing.secret)).collect()
    }

    /// True where a secret that signs now is sealed.
    pub fn is_sealed(&self, now: DateTime<Utc>) -> bool {
        let is_valid = |signing: &&Signing| signing.expires_at.is_none_or(|at| now < at);
        self.secrets.iter().filter(is_valid).any(|signing| matches!(signing.secret, Kept::Sealed(_)))
    }

    /// Seals every secret with the first key, where there is one; true where that changed something.
    pub fn seal(&mut self, safe: &Safe) -> Result<bool, SealError> {
        let mut has_changed = false;
        for signing in &mut self.secrets {
            if let Some(sealed) = safe.resealed(&self.id, &signing.secret)? {
                signing.secret = sealed;
                has_changed = true;
            }
        }
        Ok(has_changed)
    }

    /// Puts a new secret before the present one, which signs for another day, and seals them; one that no key opens goes. The new one, unless
    /// there is no randomness.
    pub fn rotate(&mut self, safe: &Safe, now: DateTime<Utc>) -> Result<Secret, SealError> {
        let secret = Secret::random().ok_or_else(|| SealError::Random("none for a secret".into()))?;
        let id = &self.id;
        let signs = |signing: &Signing| signing.expires_at.is_none_or(|at| now < at) && safe.open(id, &signing.secret).is_some();
        self.secrets.retain(signs);
        for signing in &mut self.secrets {
            signing.expires_at.get_or_insert(now + delta(OLD_SECRET_SIGNS_FOR));
        }
        self.secrets.insert(0, Signing { secret: Kept::Clear(secret.clone()), created_at: now, expires_at: None });
        self.secrets.truncate(MOST_SECRETS);
        self.seal(safe)?;
        Ok(secret)
    }

    /// Switches it off, with a reason where nobody asked for it.
    pub fn disable(&mut self, reason: Option<&str>, now: DateTime<Utc>) {
        self.is_enabled = false;
        self.disabled_reason = reason.map(str::to_owned);
        self.disabled_at = Some(now);
    }

    /// Switches it on, with a clean slate.
    pub fn enable(&mut self) {
        self.is_enabled = true;
        self.disabled_reason = None;
        self.disabled_at = None;
        self.failing_since_at = None;
    }
}

/// Every endpoint that can be read, oldest first.
pub async fn all(store: &dyn Store) -> Result<Vec<Read>, StoreError> {
    let page = store.list(&Listing::oldest(Listed::Endpoints), None, MOST_ENDPOINTS).await?;
    Ok(page.records.iter().filter_map(Endpoint::of).collect())
}

/// One endpoint.
pub async fn read(store: &dyn Store, id: &str) -> Result<Option<Read>, StoreError> {
    Ok(store.read(&DocumentKey::Endpoint(id.to_owned())).await?.as_ref().and_then(Endpoint::of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn endpoint(organization: Option<&str>) -> Endpoint {
        Endpoint::new("https://x.example/".into(), organization.map(str::to_owned), "t", at(0)).unwrap()
    }

    #[test]
    fn nobody_gets_another_organization_s_events() {
        let of = |organization: &str| Event::new("bot.done", organization, at(0), json!({}));
        assert!(
            endpoint(Some("a")).wants(&of("a")) && !endpoint(Some("a")).wants(&of("b")) && !endpoint(Some("a")).wants(&of(""))
        );
        assert!(endpoint(None).wants(&of("a")) && endpoint(None).wants(&of("")));
        assert!(!endpoint(Some("")).wants(&of("")), "a lost organization opens nothing");
        let picky = Endpoint { event_types: vec!["bot.failed".into()], ..endpoint(None) };
        assert!(!picky.wants(&of("a")));
        assert!(!Endpoint { is_enabled: false, ..endpoint(None) }.wants(&of("a")));
    }

    #[test]
    fn a_replaced_secret_signs_for_another_day() {
        let mut endpoint = endpoint(None);
        let signing = |endpoint: &Endpoint, seconds| endpoint.signing(&Safe::default(), at(seconds)).unwrap();
        let first = signing(&endpoint, 0);
        let second = endpoint.rotate(&Safe::default(), at(10)).unwrap();
        assert_eq!(signing(&endpoint, 11), [second.clone(), first[0].clone()]);
        assert_eq!(signing(&endpoint, 10 + 86_400), [second]);
        for _ in 0..5 {
            endpoint.rotate(&Safe::default(), at(20)).unwrap();
        }
        assert_eq!(signing(&endpoint, 21).len(), MOST_SECRETS);
        let stored = Record { key: endpoint.key(), fields: endpoint.fields(), version: Version::from_adapter("1") };
        assert_eq!(Endpoint::of(&stored).unwrap().endpoint, endpoint);
        assert!(!format!("{endpoint:?}").contains("whsec_"));

        let safe = Safe::new(&["x".repeat(32).into()]).unwrap();
        let secrets = signing(&endpoint, 21);
        assert_eq!((endpoint.seal(&safe).unwrap(), endpoint.seal(&safe).unwrap()), (true, false));
        assert_eq!(endpoint.signing(&safe, at(21)), Some(secrets));
        assert_eq!(endpoint.signing(&Safe::default(), at(21)), None, "never without a signature that receivers know");
        assert!(!serde_json::to_string(&endpoint.fields()).unwrap().contains("whsec_"));
        let other = Safe::new(&["y".repeat(32).into()]).unwrap();
        let new = endpoint.rotate(&other, at(30)).unwrap();
        assert_eq!(endpoint.signing(&other, at(30)), Some(vec![new]), "what no key opens signs no more");
    }
}
