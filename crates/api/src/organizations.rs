//! The limits of organizations: who has some, what they are, setting them, and taking them back. What is left of them is
//! [`crate::capacity`]'s.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bot_model::capacity::OrganizationLimits;
use bot_model::capacity::day::TimeZone;
use bot_model::capacity::ledger::MOST_PLACES;
use bot_store::listing::{Listed, Listing};
use bot_store::protocol::{capacity, organizations};
use bot_store::{Commit, Record, Write, clock};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, Scope, Viewer, Who};
use crate::audit::{self, Entry};
use crate::capacity::LimitsView;
use crate::input::{Body, IfMatch, Params, cursor, etag, limit, next_cursor, of_list};
use crate::meetings::TRIES;
use crate::problem::{Kind, Problem, invalid};
use crate::state::Api;
use crate::view::text;

/// More is no limit that anybody means.
const MOST_A_DAY: u32 = 1_000_000;
/// The version of limits that nobody has set: with it as `If-Match`, of two who set them first the second is told.
const NONE_YET: &str = "\"none\"";

/// An organization's limits, and whose they are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsAnswer {
    organization: String,
    #[serde(flatten)]
    limits: LimitsView,
    /// False where they are the environment's, as it has none of its own.
    is_own: bool,
    /// For `If-Match`.
    etag: String,
    /// Name of the key that set them.
    updated_by: Option<String>,
    /// When they were set.
    updated_at: Option<String>,
}

/// Organizations with limits of their own, the latest change first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrganizationPage {
    organizations: Vec<LimitsAnswer>,
    /// For the next page; absent after the last.
    next_cursor: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationFilter {
    /// 1 to 200; 50 if absent.
    limit: Option<usize>,
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// What an organization may have from now on: it replaces what was set before, and an absent number is no limit of its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLimits {
    /// Whose midnight begins a day, such as `Europe/Zurich`; `UTC` if absent.
    time_zone: Option<String>,
    /// Bots at once, 0 to 5000.
    #[schema(maximum = 5000)]
    max_active_bots: Option<u32>,
    /// Bots begun in a day, 0 to 1000000.
    #[schema(maximum = 1_000_000)]
    max_bots_per_day: Option<u32>,
}

impl LimitsAnswer {
    /// A document's; `None` for one of nobody, or that this key does not see.
    fn of(record: &Record, who: &Who) -> Result<Option<Self>, Problem> {
        let name = organizations::name(record).filter(|name| who.principal.scope.admits(name));
        Ok(match name {
            Some(name) => Some(Self::own(name, &organizations::of(record)?, record)),
            None => None,
        })
    }

    fn own(name: &str, limits: &OrganizationLimits, record: &Record) -> Self {
        Self {
            organization: name.to_owned(),
            limits: LimitsView::from(limits),
            is_own: true,
            etag: etag(&record.version),
            updated_by: text(&record.fields, "updated_by"),
            updated_at: text(&record.fields, "updated_at"),
        }
    }
}

/// List organizations with limits of their own
#[utoipa::path(get, path = "/v1/organizations", tag = "capacity", params(OrganizationFilter),
    responses((status = 200, body = OrganizationPage, description = "A page")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Params(filter): Params<OrganizationFilter>,
) -> Result<Json<OrganizationPage>, Problem> {
    let (cursor, limit) = (cursor(filter.cursor.as_deref())?, limit(filter.limit)?);
    let (mut found, mut next) = (Vec::new(), None);
    match &who.principal.scope {
        // A key names ten at most.
        Scope::These(own) => {
            for name in own {
                if let Some((limits, record)) = organizations::read(api.store(), name).await? {
                    found.push(LimitsAnswer::own(name, &limits, &record));
                }
            }
        }
        Scope::All => {
            let page =
                api.store().list(&Listing::newest(Listed::Organizations), cursor.as_deref(), limit).await.map_err(of_list)?;
            for record in &page.records {
                found.extend(LimitsAnswer::of(record, &who)?);
            }
            next = page.next;
        }
    }
    Ok(Json(OrganizationPage { organizations: found, next_cursor: next_cursor(next) }))
}

fn visible(who: &Who, organization: &str) -> Result<(), Problem> {
    let is_name = !organization.is_empty() && organization.len() <= 500 && !organization.chars().any(char::is_control);
    if is_name && who.principal.scope.admits(organization) { Ok(()) } else { Err(Problem::not_found("organization")) }
}

/// Read an organization's limits
#[utoipa::path(get, path = "/v1/organizations/{id}/limits", tag = "capacity", params(("id" = String, Path, description = "The organization")),
    responses((status = 200, body = LimitsAnswer, description = "Its own, or the environment's", headers(("ETag" = String)))))]
pub(crate) async fn read_limits(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    visible(&who, &id)?;
    limits_answer(&api, id).await
}

async fn limits_answer(api: &Api, organization: String) -> Result<Response, Problem> {
    let answer = match organizations::read(api.store(), &organization).await? {
        Some((limits, record)) => LimitsAnswer::own(&organization, &limits, &record),
        None => LimitsAnswer {
            limits: LimitsView::from(&api.settings.limits.of(&organization)),
            organization,
            is_own: false,
            etag: NONE_YET.to_owned(),
            updated_by: None,
            updated_at: None,
        },
    };
    Ok(([(header::ETAG, answer.etag.clone())], Json(answer)).into_response())
}

/// Set an organization's limits
///
/// For admins. They hold for bots that are not sent yet, within 30 s; whatever runs goes on. `If-Match` is honoured where it is sent.
#[utoipa::path(put, path = "/v1/organizations/{id}/limits", tag = "capacity", request_body = NewLimits,
    params(("id" = String, Path, description = "The organization")),
    responses((status = 200, body = LimitsAnswer, description = "As they are now", headers(("ETag" = String)))))]
pub(crate) async fn set_limits(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(new): Body<NewLimits>,
) -> Result<Response, Problem> {
    visible(&who, &id)?;
    let (wanted, limits) = (IfMatch::of(&headers)?, checked(&new)?);
    // From here on every replica counts, and of the day what was begun of it already.
    capacity::open(api.store()).await?;
    capacity::count_day(api.store(), &id, &limits, clock::now()).await?;
    for _ in 0..TRIES {
        let found = organizations::read(api.store(), &id).await?.map(|(_, record)| record);
        if !is_wanted(&wanted, found.as_ref()) {
            return Err(overtaken(found.as_ref()));
        }
        let now = clock::now();
        let write = organizations::write(&id, &limits, found, now, &who.principal.name);
        if let Commit::Applied(_) = api.store().commit(vec![write, noted(&who, "organization.limits", &id, now)]).await? {
            return limits_answer(&api, id).await;
        }
    }
    Err(contended())
}

/// Go back to the defaults
///
/// For admins. The organization's own limits are deleted, and the environment's hold for it, within 30 s; whatever runs goes on. Where it
/// has none of its own, nothing is done. `If-Match` is honoured where it is sent.
#[utoipa::path(delete, path = "/v1/organizations/{id}/limits", tag = "capacity",
    params(("id" = String, Path, description = "The organization")),
    responses((status = 200, body = LimitsAnswer, description = "The environment's, which hold from now on", headers(("ETag" = String)))))]
pub(crate) async fn delete_limits(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    visible(&who, &id)?;
    let wanted = IfMatch::of(&headers)?;
    for _ in 0..TRIES {
        // Whatever it holds: a document that cannot be read is taken away by this, too.
        let found = api.store().read(&organizations::key(&id)).await?;
        if !is_wanted(&wanted, found.as_ref()) {
            return Err(overtaken(found.as_ref()));
        }
        let Some(found) = found else { return limits_answer(&api, id).await };
        let delete = Write::delete(found.key, found.version);
        let noted = noted(&who, "organization.limits.delete", &id, clock::now());
        if api.store().commit(vec![delete, noted]).await?.is_applied() {
            return limits_answer(&api, id).await;
        }
    }
    Err(contended())
}

fn noted(who: &Who, action: &'static str, id: &str, now: DateTime<Utc>) -> Write {
    let entry = Entry { action, target: id, organization: id, request_id: &who.request_id };
    audit::write(&who.principal, &entry, now)
}

fn contended() -> Problem {
    Problem::new(Kind::Unavailable, "the limits kept changing; try again")
}

fn is_wanted(wanted: &IfMatch, found: Option<&Record>) -> bool {
    match (found, wanted) {
        (Some(record), wanted) => wanted.admits(&record.version),
        (None, IfMatch::Absent) => true,
        (None, IfMatch::Any) => false,
        (None, IfMatch::Tags(tags)) => tags.iter().any(|tag| tag == NONE_YET),
    }
}

/// 412, with who set them last.
fn overtaken(found: Option<&Record>) -> Problem {
    let of = |name: &str| found.and_then(|record| text(&record.fields, name));
    let (by, at) = (of("updated_by"), of("updated_at"));
    let who = match (&by, &at) {
        (Some(by), Some(at)) => format!("they were set by key {by:?} at {at}"),
        _ => "nobody has set any".to_owned(),
    };
    Problem::new(Kind::Changed, format!("the limits are not what you read: {who}; read them again"))
        .with("current_etag", Some(found.map_or_else(|| NONE_YET.to_owned(), |record| etag(&record.version))))
        .with("updated_by", by)
        .with("updated_at", at)
}

fn checked(new: &NewLimits) -> Result<OrganizationLimits, Problem> {
    let mut reasons = Vec::new();
    let name = new.time_zone.as_deref().unwrap_or("UTC");
    let time_zone = TimeZone::parse(name).unwrap_or_else(|| {
        reasons.push("time_zone wants a name of the IANA data base, such as Europe/Zurich".into());
        TimeZone::default()
    });
    if new.max_active_bots.is_some_and(|most| most > MOST_PLACES) {
        reasons.push(format!("max_active_bots wants 0 to {MOST_PLACES}"));
    }
    if new.max_bots_per_day.is_some_and(|most| most > MOST_A_DAY) {
        reasons.push(format!("max_bots_per_day wants 0 to {MOST_A_DAY}"));
    }
    let limits = OrganizationLimits { time_zone, max_active_bots: new.max_active_bots, max_bots_per_day: new.max_bots_per_day };
    if reasons.is_empty() { Ok(limits) } else { Err(invalid(reasons)) }
}
