//! Counts: bots by phase, outcomes of a window, slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_store::clock;
use bot_store::listing::{ListField, Listed, Listing};
use chrono::TimeDelta;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Viewer;
use crate::input::Params;
use crate::problem::{Kind, Problem};
use crate::state::Api;

/// Counts under way at once.
const AT_ONCE: usize = 16;
/// Longest window, in hours.
const MOST_HOURS: u32 = 24 * 31;

/// What to count.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatisticsFilter {
    /// Of this organization alone.
    organization: Option<String>,
    /// Outcomes of bots queued in the last hours, 1 to 744; 24 if absent.
    hours: Option<u32>,
}

/// Counts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Statistics {
    /// Bots at this moment; the phases of ended ones count those of the window.
    bots_by_phase: BTreeMap<String, u64>,
    /// How the bots of the window ended.
    outcomes: BTreeMap<String, u64>,
    /// The window in hours.
    hours: u32,
    /// Places for bots.
    slots: Slots,
}

/// Places for bots.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Slots {
    /// `MAX_LIVE_BOTS` of this controller.
    total: u64,
    /// Bots of every organization between claim and end; absent where the key does not see all.
    used: Option<u64>,
    /// What is left; absent where `used` is.
    free: Option<u64>,
}

/// Count bots, outcomes and slots
#[utoipa::path(get, path = "/v1/statistics", tag = "statistics", params(StatisticsFilter),
    responses((status = 200, body = Statistics, description = "Some seconds old at most")))]
pub(crate) async fn statistics(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Params(filter): Params<StatisticsFilter>,
) -> Result<Json<Statistics>, Problem> {
    let hours = filter.hours.unwrap_or(24);
    if !(1..=MOST_HOURS).contains(&hours) {
        return Err(Problem::new(Kind::BadParameter, format!("hours wants 1 to {MOST_HOURS}")));
    }
    let organizations = who.principal.organizations(filter.organization.as_deref())?;
    // They are some fifty counts, and a page that people keep open asks for them all the time.
    let count = count_all(&api, organizations.as_ref(), hours);
    Ok(Json(api.counts.get((&organizations, hours), api.settings.statistics_kept, count).await?))
}

async fn count_all(api: &Api, organizations: Option<&Vec<String>>, hours: u32) -> Result<Statistics, Problem> {
    let since = clock::now() - TimeDelta::hours(i64::from(hours));
    let sees_all = organizations.is_none();
    let of = |field: ListField, value: &str, in_window: bool| {
        let mut listing = Listing::newest(Listed::Instances).with(field, vec![value.to_owned()]);
        listing.from = in_window.then_some(since);
        match organizations {
            Some(organizations) => listing.with(ListField::Organization, organizations.clone()),
            None => listing,
        }
    };
    let phases = Phase::ALL.map(|phase| (phase.as_str(), of(ListField::Phase, phase.as_str(), phase.is_terminal())));
    let outcomes = OutcomeKind::ALL.iter().map(|kind| (kind.as_str(), of(ListField::Outcome, kind.as_str(), true)));
    let bots_by_phase = counted(api, phases.into_iter().collect()).await?;
    let mut outcomes = counted(api, outcomes.collect()).await?;
    outcomes.retain(|_, count| *count > 0);
    let is_live = |phase: &Phase| !phase.is_terminal() && *phase != Phase::Queued;
    let used = Phase::ALL.iter().filter(|phase| is_live(phase)).filter_map(|phase| bots_by_phase.get(phase.as_str())).sum();
    let total = api.settings.max_live as u64;
    let slots = Slots { total, used: sees_all.then_some(used), free: sees_all.then_some(total.saturating_sub(used)) };
    Ok(Statistics { bots_by_phase, outcomes, hours, slots })
}

async fn counted(api: &Api, listings: Vec<(&'static str, Listing)>) -> Result<BTreeMap<String, u64>, Problem> {
    let counts: Vec<_> = listings.into_iter().map(|(name, listing)| count(api, name, listing)).collect();
    stream::iter(counts).buffer_unordered(AT_ONCE).try_collect().await
}

async fn count(api: &Api, name: &'static str, listing: Listing) -> Result<(String, u64), Problem> {
    Ok((name.to_owned(), api.store().count(&listing).await?))
}
