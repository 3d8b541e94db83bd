//! What there is room for: places, who holds them down, and the limits of organizations.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bot_model::capacity::OrganizationLimits;
use bot_model::capacity::day::TimeZone;
use bot_model::capacity::ledger::{MOST_PLACES, Refusal};
use bot_store::protocol::{capacity, exhaustion, organizations};
use bot_store::{Commit, clock};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Admin, Scope, Viewer, Who};
use crate::audit::{self, Entry};
use crate::input::{Body, IfMatch, etag};
use crate::meetings::TRIES;
use crate::problem::{Kind, Problem, invalid};
use crate::queue::Picture;
use crate::state::Api;

/// Organizations in one answer at most.
const MOST_ORGANIZATIONS: usize = 200;

/// What there is room for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CapacityAnswer {
    /// Bots that there may be at once: the smaller of `MAX_ACTIVE_BOTS` and `MAX_LIVE_BOTS`.
    places: u32,
    /// Taken, from claim to end; absent where the key does not see all.
    held: Option<usize>,
    /// What is left; absent where `held` is.
    free: Option<usize>,
    /// Bots wait for want of capacity.
    is_exhausted: bool,
    /// What holds them back: `capacity`, `machine` (CPU, memory, or this launcher's own limit) or `cluster` (pods wait for nodes, or a quota).
    reason: Option<&'static str>,
    /// Since when it is so.
    changed_at: Option<DateTime<Utc>>,
    /// The deployment's settings.
    limits: DeploymentLimits,
    /// Those that this key sees and that have bots, wait for one, or are the key's own.
    organizations: Vec<OrganizationUse>,
}

/// The deployment's settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeploymentLimits {
    /// `MAX_ACTIVE_BOTS`: over all replicas.
    max_active_bots: Option<u32>,
    /// `MAX_LIVE_BOTS`: of this controller's launcher.
    max_live_bots: usize,
    /// Of an organization without limits of its own.
    organization: LimitsView,
}

/// What an organization may have.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OrganizationLimits)]
pub(crate) struct LimitsView {
    /// Whose midnight begins a day, by its name in the IANA data base.
    time_zone: &'static str,
    /// Bots at once; absent is without a limit of its own.
    max_active_bots: Option<u32>,
    /// Bots begun in a day.
    max_bots_per_day: Option<u32>,
}

impl From<&OrganizationLimits> for LimitsView {
    fn from(limits: &OrganizationLimits) -> Self {
        Self {
            time_zone: limits.time_zone.name(),
            max_active_bots: limits.max_active_bots,
            max_bots_per_day: limits.max_bots_per_day,
        }
    }
}

/// What an organization has of what it may have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrganizationUse {
    organization: String,
    limits: LimitsView,
    /// Bots between claim and end.
    active: u32,
    /// Bots that wait.
    waiting: usize,
    /// Bots begun today; counted where there is a limit.
    begun_today: u32,
    /// When its next day begins.
    next_day_at: DateTime<Utc>,
}

/// Read the capacity
#[utoipa::path(get, path = "/v1/capacity", tag = "capacity", responses((status = 200, body = CapacityAnswer, description = "At this moment")))]
pub(crate) async fn capacity_now(State(api): State<Arc<Api>>, Viewer(who): Viewer) -> Result<Json<CapacityAnswer>, Problem> {
    let picture = api.picture().await?;
    let state = exhaustion::read(api.store()).await?;
    let sees_all = who.principal.scope == Scope::All;
    let places = crate::queue::places(&api.settings);
    let held = picture.live.len();
    Ok(Json(CapacityAnswer {
        places,
        held: sees_all.then_some(held),
        free: sees_all.then_some((places as usize).saturating_sub(held)),
        is_exhausted: state.reason.is_some(),
        reason: state.reason.map(Refusal::as_str),
        changed_at: state.since,
        limits: DeploymentLimits {
            max_active_bots: api.settings.limits.active,
            max_live_bots: api.settings.max_live,
            organization: LimitsView::from(&api.settings.limits.default),
        },
        organizations: organizations_of(&api, &picture, &who).await?,
    }))
}

async fn organizations_of(api: &Api, picture: &Picture, who: &Who) -> Result<Vec<OrganizationUse>, Problem> {
    let with_bots = picture.live.iter().map(|bot| bot.facts.creator_organization_id.clone());
    let mut names: BTreeSet<String> = with_bots.chain(picture.entries.iter().map(|entry| entry.organization.clone())).collect();
    if let Scope::These(own) = &who.principal.scope {
        names.extend(own.iter().cloned());
    }
    names.retain(|name| who.principal.scope.admits(name));
    let mut found = Vec::new();
    for name in names.into_iter().take(MOST_ORGANIZATIONS) {
        let own = match picture.limits.organizations.get(&name) {
            Some(own) => own.clone(),
            None => match organizations::read(api.store(), &name).await? {
                Some((own, _)) => own,
                None => picture.limits.of(&name),
            },
        };
        found.push(OrganizationUse {
            limits: LimitsView::from(&own),
            active: picture.ledger.active_of(&name),
            waiting: picture.entries.iter().filter(|entry| entry.organization == name).count(),
            begun_today: picture.ledger.today(&name, &own, picture.now).begun,
            next_day_at: own.time_zone.next_day(picture.now),
            organization: name,
        });
    }
    Ok(found)
}

/// An organization's limits, and whose they are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsAnswer {
    organization: String,
    #[serde(flatten)]
    limits: LimitsView,
    /// False where they are the environment's, as it has none of its own.
    is_own: bool,
}

/// What an organization may have from now on: it replaces what was set before, and an absent number is no limit of its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLimits {
    /// Whose midnight begins a day, such as `Europe/Zurich`; `UTC` if absent.
    time_zone: Option<String>,
    /// Bots at once, 0 to 5000.
    max_active_bots: Option<u32>,
    /// Bots begun in a day.
    max_bots_per_day: Option<u32>,
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
    let found = organizations::read(api.store(), &organization).await?;
    let limits = found.as_ref().map_or_else(|| api.settings.limits.of(&organization), |(own, _)| own.clone());
    let answer = LimitsAnswer { organization, limits: LimitsView::from(&limits), is_own: found.is_some() };
    Ok(match found {
        Some((_, record)) => ([(header::ETAG, etag(&record.version))], Json(answer)).into_response(),
        None => Json(answer).into_response(),
    })
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
    // From here on every replica counts.
    capacity::open(api.store()).await?;
    for _ in 0..TRIES {
        let found = organizations::read(api.store(), &id).await?.map(|(_, record)| record);
        let is_wanted = match &found {
            Some(record) => wanted.admits(&record.version),
            None => wanted == IfMatch::Absent,
        };
        if !is_wanted {
            let problem = Problem::new(Kind::Changed, "the limits are not what you read; read them again");
            return Err(problem.with("current_etag", found.map(|record| etag(&record.version))));
        }
        let now = clock::now();
        let entry = Entry { action: "organization.limits", target: &id, organization: &id, request_id: &who.request_id };
        let write = organizations::write(&id, &limits, found, now, &who.principal.name);
        if let Commit::Applied(_) = api.store().commit(vec![write, audit::write(&who.principal, &entry, now)]).await? {
            return limits_answer(&api, id).await;
        }
    }
    Err(Problem::new(Kind::Unavailable, "the limits kept changing; try again"))
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
    let limits = OrganizationLimits { time_zone, max_active_bots: new.max_active_bots, max_bots_per_day: new.max_bots_per_day };
    if reasons.is_empty() { Ok(limits) } else { Err(invalid(reasons)) }
}
