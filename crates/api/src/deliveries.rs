//! What was delivered to an endpoint: the log, a test, and once more. For admins, as the endpoints are ([`crate::webhooks`]).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bot_store::listing::{ListField, Listed, Listing};
use bot_store::{DocumentKey, Write, clock};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use webhooks::delivery::{Delivery, State as DeliveryState};
use webhooks::endpoint::Endpoint;

use crate::access::Admin;
use crate::input::{Params, cursor, limit, next_cursor, of_list};
use crate::problem::{Kind, Problem};
use crate::state::Api;
use crate::webhook_views::DeliveryView;
use crate::webhooks::{find, noted};

/// A page of deliveries, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryPage {
    deliveries: Vec<DeliveryView>,
    /// For the next page; absent after the last.
    next_cursor: Option<String>,
}

/// Pages of deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryFilter {
    /// 1 to 200; 50 if absent.
    limit: Option<usize>,
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// Send a test
///
/// An event `webhook.test`, whatever types the endpoint asks for. What came of it is among the deliveries in a moment.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path, description = "The endpoint")),
    responses((status = 202, body = DeliveryView, description = "On its way")))]
pub(crate) async fn test(State(api): State<Arc<Api>>, Admin(who): Admin, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = find(&api, &who.principal, &id).await?;
    enabled(&found.endpoint)?;
    let (delivery, mut writes) = webhooks::fan_out::test_of(&found.endpoint, clock::now());
    writes.push(noted(&who, "webhook.test", &found.endpoint));
    under_way(&api, delivery, writes).await
}

/// List an endpoint's deliveries
///
/// The newest first; kept for 7 days.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks", params(("id" = String, Path, description = "The endpoint"), DeliveryFilter),
    responses((status = 200, body = DeliveryPage, description = "A page")))]
pub(crate) async fn deliveries(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    Params(filter): Params<DeliveryFilter>,
) -> Result<Json<DeliveryPage>, Problem> {
    let found = find(&api, &who.principal, &id).await?;
    let listing = Listing::newest(Listed::Deliveries).with(ListField::Endpoint, vec![found.endpoint.id]);
    let cursor = cursor(filter.cursor.as_deref())?;
    let page = api.store().list(&listing, cursor.as_deref(), limit(filter.limit)?).await.map_err(of_list)?;
    let deliveries = page.records.iter().filter_map(Delivery::of).map(|(delivery, _)| delivery.into()).collect();
    Ok(Json(DeliveryPage { deliveries, next_cursor: next_cursor(page.next) }))
}

/// Deliver again
///
/// What was delivered or given up gets another day of tries, with the same `webhook-id` and body.
#[utoipa::path(post, path = "/v1/webhooks/{id}/deliveries/{delivery}/replay", tag = "webhooks",
    params(("id" = String, Path, description = "The endpoint"), ("delivery" = String, Path, description = "The delivery")),
    responses((status = 202, body = DeliveryView, description = "On its way")))]
pub(crate) async fn replay(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let found = find(&api, &who.principal, &id).await?;
    enabled(&found.endpoint)?;
    let missing = || Problem::not_found("delivery");
    let is_its = delivery.len() <= 256 && delivery.split_once('~').is_some_and(|(of, _)| of == found.endpoint.id);
    let is_name = !delivery.contains(|c: char| c == '/' || c.is_control());
    let key = Some(DocumentKey::Delivery(delivery)).filter(|_| is_its && is_name).ok_or_else(missing)?;
    let record = api.store().read(&key).await?.ok_or_else(missing)?;
    let (delivery, version) = Delivery::of(&record).ok_or_else(missing)?;
    let pending = || Problem::new(Kind::Conflict, "it is not over yet: it is tried again by itself");
    let mut writes = delivery.clone().replay(version, clock::now()).ok_or_else(pending)?;
    writes.push(noted(&who, "webhook.replay", &found.endpoint));
    let shown =
        Delivery { state: DeliveryState::Pending, reason: None, ended_at: None, next_attempt_at: Some(clock::now()), ..delivery };
    under_way(&api, shown, writes).await
}

async fn under_way(api: &Api, delivery: Delivery, writes: Vec<Write>) -> Result<Response, Problem> {
    if !api.store().commit(writes).await?.is_applied() {
        return Err(Problem::new(Kind::Conflict, "it is under way already"));
    }
    Ok((StatusCode::ACCEPTED, Json(DeliveryView::from(delivery))).into_response())
}

fn enabled(endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.is_enabled {
        Ok(())
    } else {
        Err(Problem::new(Kind::Conflict, "the endpoint is switched off: switch it on first"))
    }
}
