//! What there is room for: places, who holds them down, and what organizations have of what they may have.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bot_model::capacity::OrganizationLimits;
use bot_model::capacity::ledger::Refusal;
use bot_store::protocol::exhaustion;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{Scope, Viewer, Who};
use crate::problem::Problem;
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
        let own = api.limits_of(picture, &name).await?;
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
