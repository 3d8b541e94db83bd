//! API keys: 256 random bits that are shown once, of which the store has a hash.
//!
//! A key is `mbk_{id}_{secret}`. The id names the document, so that a look-up compares one hash and takes the same time whatever is
//! wrong. A slow hash would add nothing: nobody guesses 256 bits.

use bot_model::document::Fields;
use bot_store::listing::{Listed, Listing};
use bot_store::{Commit, DocumentKey, Record, Store, StoreError, StoreErrorKind, Write};
use chrono::{DateTime, Utc};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use crate::access::{Principal, Role, Scope};

/// Begins every key, so that scanners of repositories know it.
const PREFIX: &str = "mbk";
const ID_BYTES: usize = 10;
const SECRET_BYTES: usize = 32;
/// Organisations of one key at most: more would not fit into one query.
pub const MOST_ORGANIZATIONS: usize = 10;
/// Characters of a name or of an organisation at most.
const LONGEST: usize = 128;

/// What a new key shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it sees.
    pub scope: Scope,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who made it.
    pub created_by: String,
}

/// A key as it is stored, without its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyInfo {
    /// Names it in the audit log and for `revoke`.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it sees; empty with `all_organizations`.
    pub organizations: Vec<String>,
    /// It sees everything.
    pub all_organizations: bool,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Usage(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness to give.
    #[error("no randomness: {0}")]
    Random(String),
}

/// Makes a key and answers with its id and its text, which nobody can see again.
pub async fn create(store: &dyn Store, new: &NewKey, now: DateTime<Utc>) -> Result<(String, String), KeyError> {
    let actor = Principal { id: new.created_by.clone(), name: new.created_by.clone(), ..Principal::local() };
    create_as(store, new, &actor, "", now).await
}

/// The same for somebody who asks over the API.
pub(crate) async fn create_as(
    store: &dyn Store,
    new: &NewKey,
    actor: &Principal,
    request_id: &str,
    now: DateTime<Utc>,
) -> Result<(String, String), KeyError> {
    check(new, now)?;
    let mut random = [0_u8; ID_BYTES + SECRET_BYTES];
    getrandom::fill(&mut random).map_err(|error| KeyError::Random(error.to_string()))?;
    let (id, secret) = random.split_at(ID_BYTES);
    let [id, secret] = [id, secret].map(|bytes| BASE32_NOPAD.encode(bytes).to_ascii_lowercase());
    let organizations = match &new.scope {
        Scope::All => Vec::new(),
        Scope::These(names) => names.clone(),
    };
    let fields = fields(json!({
        "name": new.name, "role": new.role, "organizations": organizations, "all_organizations": new.scope == Scope::All,
        "hash": hash(&secret), "created_by": new.created_by, "created_at": now, "expires_at": new.expires_at,
    }));
    let entry = crate::audit::Entry { action: "key.create", target: &id, organization: "", request_id };
    let writes = vec![Write::create(DocumentKey::ApiKey(id.clone()), fields), crate::audit::write(actor, &entry, now)];
    match store.commit(writes).await? {
        Commit::Applied(_) => Ok((id.clone(), format!("{PREFIX}_{id}_{secret}"))),
        Commit::Conflict => Err(KeyError::Usage("a key of this id is there already: try again".into())),
    }
}

fn check(new: &NewKey, now: DateTime<Utc>) -> Result<(), KeyError> {
    let usage = |text: String| Err(KeyError::Usage(text));
    let is_name = |text: &str| !text.trim().is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
    if !is_name(&new.name) {
        return usage(format!("a key needs a name of at most {LONGEST} printable characters"));
    }
    if let Scope::These(names) = &new.scope
        && (names.is_empty() || names.len() > MOST_ORGANIZATIONS || !names.iter().all(|name| is_name(name)))
    {
        return usage(format!("a key needs 1 to {MOST_ORGANIZATIONS} organizations, or all of them"));
    }
    if new.expires_at.is_some_and(|at| at <= now) {
        return usage("a key cannot expire in the past".into());
    }
    Ok(())
}

/// True where a text is a key of this store that works.
pub async fn is_live(store: &dyn Store, key: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let Some((id, secret)) = parts(key) else { return Ok(false) };
    let record = store.read(&DocumentKey::ApiKey(id.to_owned())).await?;
    Ok(judge(record.as_ref(), secret, now).is_some())
}

/// Every key, newest first.
pub async fn list(store: &dyn Store) -> Result<Vec<KeyInfo>, StoreError> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(&Listing::newest(Listed::ApiKeys), cursor.as_deref(), 200).await?;
        keys.extend(page.records.iter().filter_map(info));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(keys);
        }
    }
}

/// Revokes a key for good; false where there is none. Replicas notice within [`crate::state::KEY_FRESH`].
pub async fn revoke(store: &dyn Store, id: &str, by: &Principal, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let key = DocumentKey::ApiKey(id.to_owned());
    for _ in 0..5 {
        let Some(record) = store.read(&key).await? else { return Ok(false) };
        if record.fields.contains_key("revoked_at") {
            return Ok(true);
        }
        let entry = crate::audit::Entry { action: "key.revoke", target: id, organization: "", request_id: "" };
        let update = Write::update(key.clone(), record.version, fields(json!({"revoked_at": now})));
        if store.commit(vec![update, crate::audit::write(by, &entry, now)]).await?.is_applied() {
            return Ok(true);
        }
    }
    Err(StoreError { kind: StoreErrorKind::Unavailable, operation: "revoke", message: "the key kept changing".into() })
}

/// True where a text says that it is a key of ours.
pub(crate) fn is_key(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('_'))
}

/// Id and secret of a presented key.
pub(crate) fn parts(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    let is_base32 = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte));
    (id.len() == 16 && secret.len() == 52 && is_base32(id) && is_base32(secret)).then_some((id, secret))
}

/// Who presents a secret, judged by the stored document. Without a document the same work is done.
pub(crate) fn judge(record: Option<&Record>, secret: &str, now: DateTime<Utc>) -> Option<Principal> {
    let presented = hash(secret);
    let stored = record.and_then(|record| record.fields.get("hash")).and_then(Value::as_str);
    let is_equal: bool = presented.as_bytes().ct_eq(stored.unwrap_or(&"0".repeat(64)).as_bytes()).into();
    let key = record.and_then(info)?;
    // Unreadable is revoked, and unreadable is expired.
    let raw = |name: &str| record.is_some_and(|record| record.fields.contains_key(name));
    let is_live = !raw("revoked_at") && (!raw("expires_at") || key.expires_at.is_some_and(|at| now < at));
    let scope = if key.all_organizations { Scope::All } else { Scope::These(key.organizations) };
    (is_equal && is_live && scope != Scope::These(Vec::new())).then_some(Principal {
        id: key.id,
        name: key.name,
        role: key.role,
        scope,
    })
}

fn info(record: &Record) -> Option<KeyInfo> {
    let DocumentKey::ApiKey(id) = &record.key else { return None };
    let text = |name: &str| record.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let instant = |name: &str| text(name).parse::<DateTime<Utc>>().ok();
    let organizations = record.fields.get("organizations").and_then(Value::as_array);
    Some(KeyInfo {
        id: id.clone(),
        name: text("name"),
        role: Role::parse(&text("role"))?,
        organizations: organizations.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        all_organizations: record.fields.get("all_organizations") == Some(&Value::Bool(true)),
        created_by: text("created_by"),
        created_at: instant("created_at"),
        expires_at: instant("expires_at"),
        last_used_at: instant("last_used_at"),
        revoked_at: instant("revoked_at"),
    })
}

fn hash(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(secret.as_bytes()))
}

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bot_store::Version;

    fn stored(secret: &str, more: Value) -> Record {
        let mut all = fields(json!({"name": "n", "role": "viewer", "organizations": ["a"], "hash": hash(secret)}));
        all.extend(fields(more));
        Record { key: DocumentKey::ApiKey("k".into()), fields: all, version: Version::from_adapter("1") }
    }

    #[test]
    fn a_key_counts_only_while_it_is_live_and_readable() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let passes = |more: Value| judge(Some(&stored("s", more)), "s", now).is_some();
        assert!(passes(json!({})) && passes(json!({"expires_at": "2027-01-15T08:00:01Z"})));
        for broken in [
            json!({"expires_at": "2027-01-15T08:00:00Z"}),
            json!({"expires_at": "never"}),
            json!({"expires_at": 7}),
            json!({"revoked_at": "2020-01-01T00:00:00Z"}),
            json!({"revoked_at": {}}),
            json!({"role": "root"}),
            json!({"hash": ""}),
            json!({"hash": null}),
            json!({"organizations": []}),
            json!({"organizations": "a"}),
        ] {
            assert!(!passes(broken.clone()), "{broken}");
        }
        assert!(judge(Some(&stored("s", json!({}))), "t", now).is_none() && judge(None, "s", now).is_none());
    }

    #[test]
    fn only_texts_of_the_right_shape_are_looked_up() {
        let key = format!("mbk_{}_{}", "a".repeat(16), "b".repeat(52));
        assert!(parts(&key).is_some());
        for text in ["", "mbk__", "mbk_../../x_y", &key.to_uppercase(), &key[..80 - 12], &format!("{key}x")] {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}
