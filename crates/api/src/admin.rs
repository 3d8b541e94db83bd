//! For admins who see everything: the audit log and the keys. Keys are made by `controller keys create`, never over the network.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bot_store::listing::{ListField, Listed, Listing};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, Scope};
use crate::input::{Params, cursor, limit, next_cursor, of_list};
use crate::keys::{self, KeyInfo};
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

/// List the keys
///
/// For an admin who sees every organization.
#[utoipa::path(get, path = "/v1/keys", tag = "admin", responses((status = 200, body = KeyList, description = "Every key")))]
pub(crate) async fn keys(State(api): State<Arc<Api>>, Admin(who): Admin) -> Result<Json<KeyList>, Problem> {
    if who.principal.scope != Scope::All {
        return Err(Problem::new(Kind::Forbidden, "it needs a key that sees every organization"));
    }
    Ok(Json(KeyList { keys: keys::list(api.store()).await? }))
}
