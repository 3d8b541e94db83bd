//! An organization's own limits, in a document of its own.

use bot_model::capacity::OrganizationLimits;
use bot_model::document::Fields;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::as_fields;
use crate::{DocumentKey, Record, Store, StoreError, StoreErrorKind, Write};

/// Longest name that is a document's id as it stands.
const LONGEST_PLAIN: usize = 200;

/// The document of an organization: its name, where both stores take that as an id, else a code of its bytes behind `~`.
pub fn key(organization: &str) -> DocumentKey {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_plain = !organization.is_empty() && organization.len() <= LONGEST_PLAIN && organization.bytes().all(plain);
    let is_reserved = organization.starts_with("__");
    DocumentKey::Organization(if is_plain && !is_reserved {
        organization.to_owned()
    } else {
        format!("~{}", bot_model::ids::organization_code(organization))
    })
}

/// What an organization's document says, with the document; `None` where it has none.
pub async fn read(store: &dyn Store, organization: &str) -> Result<Option<(OrganizationLimits, Record)>, StoreError> {
    let Some(record) = store.read(&key(organization)).await? else { return Ok(None) };
    Ok(Some((of(&record)?, record)))
}

/// What an organization's document says.
pub fn of(record: &Record) -> Result<OrganizationLimits, StoreError> {
    let mut known = record.fields.clone();
    known.retain(|_, value| !value.is_null());
    serde_json::from_value(known.into()).map_err(|error| StoreError {
        kind: StoreErrorKind::Refused,
        operation: "decode",
        message: format!("an organization's document is unusable: {error}"),
    })
}

/// Whose document it is; `None` for one that names nobody, which no list shows.
pub fn name(record: &Record) -> Option<&str> {
    record.fields.get("organization").and_then(serde_json::Value::as_str)
}

/// The write that sets an organization's limits, on the version that was read.
pub fn write(organization: &str, limits: &OrganizationLimits, before: Option<Record>, now: DateTime<Utc>, by: &str) -> Write {
    let mut fields: Fields = as_fields(limits);
    fields.insert("organization".into(), json!(organization));
    fields.insert("updated_at".into(), json!(now));
    fields.insert("updated_by".into(), json!(by));
    match before {
        Some(record) => Write::update(record.key, record.version, fields),
        None => Write::create(key(organization), fields),
    }
}
