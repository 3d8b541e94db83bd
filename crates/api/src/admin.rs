//! For admins who see everything: the audit log and the keys. A key is shown once, when it is made.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bot_store::clock;
use bot_store::listing::{ListField, Listed, Listing};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, Principal, Role, Scope};
use crate::input::{Body, Params, cursor, limit, next_cursor, of_list};
use crate::keys::{self, KeyError, KeyInfo, NewKey};
use crate::problem::{Kind, Problem};
use crate::state::Api;
use crate::view::text;

/// Filters of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditFilter {
    /// Of this organization alone.
    organization: Option<String>,
    /// At this instant or later.
    from: Option<DateTime<Utc>>,
    /// Before this instant.
    before: Option<DateTime<Utc>>,
    /// 1 to 200; 50 if absent.
    limit: Option<usize>,
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// Sorts by time.
    id: String,
    /// When it was asked for.
    occurred_at: Option<String>,
    /// Id of the key, `local` or `cli`.
    actor: Option<String>,
    /// Name of the key.
    actor_name: Option<String>,
    /// Such as `meeting.create`.
    action: Option<String>,
    /// Id of what was changed.
    target: Option<String>,
    /// Whose it is.
    organization: Option<String>,
    /// As in `X-Request-Id`.
    request_id: Option<String>,
}

/// A page of the audit log, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    entries: Vec<AuditEntry>,
    /// For the next page; absent after the last.
    next_cursor: Option<String>,
}

/// Read the audit log
#[utoipa::path(get, path = "/v1/audit", tag = "admin", params(AuditFilter), responses((status = 200, body = AuditPage, description = "A page")))]
pub(crate) async fn audit(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Params(filter): Params<AuditFilter>,
) -> Result<Json<AuditPage>, Problem> {
    let mut listing = Listing { from: filter.from, before: filter.before, ..Listing::newest(Listed::Audit) };
    if let Some(organizations) = who.principal.organizations(filter.organization.as_deref())? {
        listing = listing.with(ListField::Organization, organizations);
    }
    let cursor = cursor(filter.cursor.as_deref())?;
    let page = api.store().list(&listing, cursor.as_deref(), limit(filter.limit)?).await.map_err(of_list)?;
    let entry = |record: &bot_store::Record| AuditEntry {
        id: record.key.path().rsplit('/').next().unwrap_or_default().to_owned(),
        occurred_at: text(&record.fields, "occurred_at"),
        actor: text(&record.fields, "actor"),
        actor_name: text(&record.fields, "actor_name"),
        action: text(&record.fields, "action"),
        target: text(&record.fields, "target"),
        organization: text(&record.fields, "creator_organization_id"),
        request_id: text(&record.fields, "request_id"),
    };
    Ok(Json(AuditPage { entries: page.records.iter().map(entry).collect(), next_cursor: next_cursor(page.next) }))
}

/// Every key, newest first, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    keys: Vec<KeyInfo>,
}

/// What a new key shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyWish {
    /// For people.
    name: String,
    /// What it may do.
    role: Role,
    /// What it sees, at most 10.
    #[serde(default)]
    organizations: Vec<String>,
    /// It sees everything.
    #[serde(default)]
    all_organizations: bool,
    /// Days until it stops working, 1 to 3650; absent is never.
    #[schema(minimum = 1, maximum = 3650)]
    expires_in_days: Option<u16>,
}

/// A key, the only time that it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeKey {
    /// Names it in the audit log and for its revocation.
    id: String,
    /// The key itself.
    key: String,
}

/// Make a key
///
/// For an admin who sees every organization. It is shown in this answer and never again, so `Idempotency-Key` is refused here: an answer that is
/// remembered would hold it.
#[utoipa::path(post, path = "/v1/keys", tag = "admin", request_body = KeyWish, responses((status = 201, body = MadeKey, description = "The key")))]
pub(crate) async fn create_key(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Body(wish): Body<KeyWish>,
) -> Result<Response, Problem> {
    let by = of_everything(who.principal)?;
    let now = clock::now();
    let is_time = wish.expires_in_days.is_none_or(|days| (1..=3650).contains(&days));
    if !is_time || wish.all_organizations != wish.organizations.is_empty() {
        let reason = "a key wants organizations or all_organizations, one of the two, and expires_in_days within 1 to 3650";
        return Err(Problem::new(Kind::Invalid, reason));
    }
    let new = NewKey {
        name: wish.name,
        role: wish.role,
        scope: if wish.all_organizations { Scope::All } else { Scope::These(wish.organizations) },
        expires_at: wish.expires_in_days.map(|days| now + TimeDelta::days(days.into())),
        created_by: by.id.clone(),
    };
    let made = keys::create_as(api.store(), &new, &by, &who.request_id, now).await;
    let (id, key) = made.map_err(|error| match error {
        KeyError::Usage(text) => Problem::new(Kind::Invalid, text),
        KeyError::Store(error) => error.into(),
        KeyError::Random(_) => Problem::new(Kind::Internal, "this machine gives no randomness"),
    })?;
    Ok((StatusCode::CREATED, Json(MadeKey { id, key })).into_response())
}

/// Revoke a key
///
/// For good, on every replica within 5 s. For an admin who sees every organization.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "admin", params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "It is revoked")))]
pub(crate) async fn revoke_key(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let by = of_everything(who.principal)?;
    let is_name = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_there = is_name && keys::revoke(api.store(), &id, &by, clock::now()).await?;
    if is_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("key")) }
}

fn of_everything(principal: Principal) -> Result<Principal, Problem> {
    if principal.scope == Scope::All {
        return Ok(principal);
    }
    Err(Problem::new(Kind::Forbidden, "it needs a key that sees every organization"))
}

/// List the keys
///
/// For an admin who sees every organization.
#[utoipa::path(get, path = "/v1/keys", tag = "admin", responses((status = 200, body = KeyList, description = "Every key")))]
pub(crate) async fn keys(State(api): State<Arc<Api>>, Admin(who): Admin) -> Result<Json<KeyList>, Problem> {
    of_everything(who.principal)?;
    Ok(Json(KeyList { keys: keys::list(api.store()).await? }))
}
