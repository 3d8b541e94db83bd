//! Known meetings are known load: the bots of the next hours against the places there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bot_model::capacity::day::TimeZone;
use bot_model::capacity::estimate::History;
use bot_model::capacity::forecast::{Load, forecast};
use bot_model::document::Meeting;
use bot_model::ids::InstanceId;
use bot_store::listing::{ListField, Listed, Listing};
use bot_store::{DocumentKey, Record, StoreError, clock};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Viewer;
use crate::input::Params;
use crate::problem::{Kind, Problem};
use crate::queue::{Picture, places};
use crate::state::Api;

/// Longest forecast, in hours.
const MOST_HOURS: u32 = 168;
/// Meetings that are read for one forecast at most.
const MOST_MEETINGS: usize = 10_000;
const PAGE: usize = 200;

/// What to forecast.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForecastFilter {
    /// Of this organization alone, against its own limit.
    organization: Option<String>,
    /// 1 to 168; 24 if absent.
    hours: Option<u32>,
    /// In which the begins are given, by its name in the IANA data base; `UTC` if absent.
    time_zone: Option<String>,
}

/// The bots of the next hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForecastAnswer {
    /// Bots that there may be at once.
    places: u32,
    /// Quarters of an hour, from the present one on.
    buckets: Vec<BucketView>,
    /// The most bots at any one moment.
    most: u32,
    /// The most by which they exceed the places.
    shortfall: u32,
    /// Begin of the first quarter of an hour with a shortfall.
    first_shortfall_at: Option<String>,
    /// Scheduled meetings that were counted.
    meetings: usize,
    /// Of them without an end: they were taken to last as long as calls did lately.
    assumed_ends: usize,
    /// How long that is.
    typical_seconds: i64,
    /// More meetings than these were not looked at.
    is_partial: bool,
}

/// A quarter of an hour.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketView {
    /// Its begin, with the offset of the zone that was asked for.
    starts_at: String,
    /// The most bots at any one moment of it.
    bots: u32,
    /// By how many they exceed the places.
    shortfall: u32,
}

/// Meetings that have no bot yet, as times.
#[derive(Default)]
pub(crate) struct Scheduled {
    loads: Vec<Load>,
    meetings: usize,
    assumed: usize,
    is_partial: bool,
}

/// The meetings of a week may be thousands of documents, each billed, and a page that people keep open asks all the time: they are given
/// out again for so many times as long as statistics are.
const KEPT_TIMES: u32 = 6;

/// Forecast the load
///
/// From scheduled meetings, from what waits and from what runs. A meeting without a `start_time` is not known before it is due.
#[utoipa::path(get, path = "/v1/forecast", tag = "capacity", params(ForecastFilter), responses((status = 200, body = ForecastAnswer, description = "As known now")))]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Params(filter): Params<ForecastFilter>,
) -> Result<Json<ForecastAnswer>, Problem> {
    let hours = filter.hours.unwrap_or(24);
    if !(1..=MOST_HOURS).contains(&hours) {
        return Err(Problem::new(Kind::BadParameter, format!("hours wants 1 to {MOST_HOURS}")));
    }
    let zone = TimeZone::parse(filter.time_zone.as_deref().unwrap_or("UTC"))
        .ok_or_else(|| Problem::new(Kind::BadParameter, "time_zone wants a name of the IANA data base, such as Europe/Zurich"))?;
    let organizations = who.principal.organizations(filter.organization.as_deref())?;
    let picture = api.picture().await?;
    let all = places(&api.settings);
    let places = match organizations.as_deref() {
        Some([one]) => api.limits_of(&picture, one).await?.max_active_bots.map_or(all, |own| own.min(all)),
        _ => all,
    };
    let find = async { Ok(Arc::new(scheduled(&api, organizations.as_deref(), hours).await?)) };
    let known = api.scheduled.get((&organizations, hours), api.settings.statistics_kept * KEPT_TIMES, find).await?;
    let buckets = forecast(picture.now, hours, &loads(&picture, organizations.as_deref(), &known), Some(places));
    let stamp = |at: DateTime<Utc>| zone.stamp(at);
    Ok(Json(ForecastAnswer {
        places,
        most: buckets.iter().map(|bucket| bucket.bots).max().unwrap_or_default(),
        shortfall: buckets.iter().map(|bucket| bucket.shortfall).max().unwrap_or_default(),
        first_shortfall_at: buckets.iter().find(|bucket| bucket.shortfall > 0).map(|bucket| stamp(bucket.starts_at)),
        buckets: buckets
            .iter()
            .map(|bucket| BucketView { starts_at: stamp(bucket.starts_at), bots: bucket.bots, shortfall: bucket.shortfall })
            .collect(),
        meetings: known.meetings,
        assumed_ends: known.assumed,
        typical_seconds: picture.history.typical().num_seconds(),
        is_partial: known.is_partial,
    }))
}

/// The most by which the next 24 hours exceed the places.
pub(crate) async fn shortfall(api: &Api) -> Result<u32, StoreError> {
    let loads = loads(&*api.picture().await?, None, &scheduled(api, None, 24).await?);
    let buckets = forecast(clock::now(), 24, &loads, Some(places(&api.settings)));
    Ok(buckets.iter().map(|bucket| bucket.shortfall).max().unwrap_or_default())
}

/// What runs, what waits and what is scheduled.
fn loads(picture: &Picture, organizations: Option<&[String]>, scheduled: &Scheduled) -> Vec<Load> {
    let (now, history) = (picture.now, &picture.history);
    let is_asked = |organization: &str| organizations.is_none_or(|names| names.iter().any(|name| name == organization));
    let live = picture.live.iter().filter(|bot| is_asked(&bot.facts.creator_organization_id)).map(|bot| {
        let since = bot.facts.claim.claimed_at.unwrap_or(now);
        Load { from: since, to: history.expected_end(since, bot.facts.end_time, now) }
    });
    // Wanted now, whenever it will be sent: that is what is lacking.
    let waiting = picture.entries.iter().filter(|entry| is_asked(&entry.organization)).map(|entry| {
        let pause = entry.queue.estimated_start_at.unwrap_or(now) - now;
        Load { from: now, to: now + history.typical() + pause }
    });
    live.chain(waiting).chain(scheduled.loads.iter().cloned()).collect()
}

/// Meetings that have no bot yet. Two documents for one occurrence are one bot.
async fn scheduled(api: &Api, organizations: Option<&[String]>, hours: u32) -> Result<Scheduled, StoreError> {
    let (now, history) = (clock::now(), api.history().await?);
    let mut known = Scheduled::default();
    let naming = api.store().naming();
    let lead = TimeDelta::from_std(api.settings.window.lead).unwrap_or_default();
    let mut listing = Listing::oldest(Listed::Meetings).with(ListField::Status, naming.meeting_status_values.clone());
    listing.from = Some(now - TimeDelta::from_std(api.settings.window.max_late).unwrap_or_default());
    listing.before = Some(now + TimeDelta::hours(i64::from(hours)) + lead);
    if let Some(names) = organizations {
        listing = listing.with(ListField::Organization, names.to_vec());
    }
    let mut bots: BTreeMap<InstanceId, (Load, bool)> = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = api.store().list(&listing, cursor.as_deref(), PAGE).await?;
        bots.extend(page.records.iter().filter_map(|record| load_of(api, record, lead, &history)));
        cursor = page.next;
        known.is_partial = cursor.is_some() && bots.len() >= MOST_MEETINGS;
        if cursor.is_none() || known.is_partial {
            break;
        }
    }
    known.meetings = bots.len();
    known.assumed = bots.values().filter(|(_, is_assumed)| *is_assumed).count();
    known.loads = bots.into_values().map(|(load, _)| load).collect();
    Ok(known)
}

fn load_of(api: &Api, record: &Record, lead: TimeDelta, history: &History) -> Option<(InstanceId, (Load, bool))> {
    let DocumentKey::Meeting(path) = &record.key else { return None };
    let naming = api.store().naming();
    if Meeting::link(&record.fields, naming).is_some() {
        return None;
    }
    let meeting = Meeting::decode(path, &record.fields, naming).ok()?;
    let start = meeting.start_time?;
    let id = InstanceId::derive(&meeting.organization, &meeting.url, Some(start), path);
    let end = meeting.end_time.filter(|end| *end > start);
    let to = end.unwrap_or(start + history.typical());
    Some((id, (Load { from: start - lead, to }, end.is_none())))
}
