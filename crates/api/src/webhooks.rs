//! Webhooks: endpoints, their secrets, what was delivered to them. For admins: an address may hold a token, and a secret signs for us.
//!
//! The deliverer is the crate `webhooks`; here its documents are written, each with its line in the audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bot_store::listing::{ListField, Listed, Listing};
use bot_store::{Commit, DocumentKey, Version, Write, clock};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use webhooks::delivery::{self, Delivery, State as DeliveryState};
use webhooks::endpoint::{self, EVENT_TYPES, Endpoint, MOST_ENDPOINTS, MOST_OF_ONE_OWNER, Read};
use webhooks::target::Target;

use crate::access::{Admin, Principal, Scope, Who};
use crate::audit::{self, Entry};
use crate::input::{Body, IfMatch, Params, cursor, etag, limit, next_cursor, of_list};
use crate::meetings::TRIES;
use crate::problem::{Kind, Problem};
use crate::state::Api;

/// Characters of a description at most.
const LONGEST_DESCRIPTION: usize = 200;

/// A new endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// Where to post: https, a public address, no user name within.
    url: String,
    /// For people.
    description: Option<String>,
    /// Whose events it gets. Absent: the key's own organization, or with a key that sees everything, everybody's events and the
    /// installation's own.
    organization: Option<String>,
    /// The types that it wants, such as `bot.done`; absent or empty is all of them.
    event_types: Option<Vec<String>>,
}

/// A change of an endpoint; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookChange {
    /// Where to post.
    url: Option<String>,
    /// For people.
    description: Option<String>,
    /// The types that it wants; empty is all of them.
    event_types: Option<Vec<String>>,
    /// Whether it gets events. Switched on, it begins with a clean slate.
    is_enabled: Option<bool>,
}

/// An endpoint, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    /// Its id.
    id: String,
    /// Changes with every change; for `If-Match`.
    etag: String,
    /// Where is posted.
    url: String,
    /// For people.
    description: String,
    /// Whose events it gets; absent with `all_organizations`.
    organization: Option<String>,
    /// It gets everybody's events, and the installation's own.
    all_organizations: bool,
    /// The types that it wants; empty is all of them.
    event_types: Vec<String>,
    /// It gets events.
    is_enabled: bool,
    /// Why it was switched off, where nobody asked for it: `410 Gone`, or days of failure.
    disabled_reason: Option<String>,
    /// Since when it is off.
    disabled_at: Option<DateTime<Utc>>,
    /// Since when every try failed.
    failing_since: Option<DateTime<Utc>>,
    /// The secrets that sign, the newest first.
    secrets: Vec<SecretView>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Name of the key that made it.
    created_by: String,
}

/// A secret, without itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookSecret)]
pub(crate) struct SecretView {
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it stops signing; absent for the present one.
    expires_at: Option<DateTime<Utc>>,
}

/// Every endpoint that the key sees, and every type that one can ask for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    webhooks: Vec<WebhookView>,
    event_types: Vec<String>,
}

/// An endpoint with its new secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookWithSecret {
    webhook: WebhookView,
    /// `whsec_…`
    secret: String,
}

/// One event for one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(crate) struct DeliveryView {
    /// Its id.
    id: String,
    /// The `webhook-id`: the same at every try and every replay.
    event_id: String,
    /// Such as `bot.done`.
    event_type: String,
    /// `pending`, `delivered` or `failed`.
    state: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it was over.
    ended_at: Option<DateTime<Utc>>,
    /// When it is tried next.
    next_attempt_at: Option<DateTime<Utc>>,
    /// Why it was given up.
    reason: Option<String>,
    /// Tries so far.
    attempt_count: u32,
    /// The latest tries, oldest first.
    attempts: Vec<AttemptView>,
    /// What is posted.
    body: String,
}

/// One try.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
pub(crate) struct AttemptView {
    /// When it began.
    tried_at: DateTime<Utc>,
    /// `accepted`, `gone`, `refused`, `timed_out`, `unreachable`, `untrusted_tls` or `forbidden_address`.
    result: String,
    /// The receiver's status, where it answered.
    status: Option<u16>,
    /// How long it took.
    millis: u64,
    /// The answer's first characters, or what went wrong.
    answer: String,
}

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

impl WebhookView {
    fn of(endpoint: Endpoint, version: &Version) -> Self {
        let secret = |signing: &endpoint::Signing| SecretView { created_at: signing.created_at, expires_at: signing.expires_at };
        Self {
            etag: etag(version),
            secrets: endpoint.secrets.iter().map(secret).collect(),
            id: endpoint.id,
            url: endpoint.url,
            description: endpoint.description,
            organization: (!endpoint.all_organizations).then_some(endpoint.organization),
            all_organizations: endpoint.all_organizations,
            event_types: endpoint.event_types,
            is_enabled: endpoint.is_enabled,
            disabled_reason: endpoint.disabled_reason,
            disabled_at: endpoint.disabled_at,
            failing_since: endpoint.failing_since_at,
            created_at: endpoint.created_at,
            created_by: endpoint.created_by,
        }
    }
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let attempt = |attempt: delivery::Attempt| AttemptView {
            tried_at: attempt.tried_at,
            result: attempt.result,
            status: attempt.status,
            millis: attempt.millis,
            answer: attempt.answer,
        };
        let state = match delivery.state {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Failed => "failed",
        };
        Self {
            id: delivery.id(),
            event_id: delivery.event_id,
            event_type: delivery.event_type,
            state: state.into(),
            created_at: delivery.created_at,
            ended_at: delivery.ended_at,
            next_attempt_at: delivery.next_attempt_at,
            reason: delivery.reason,
            attempt_count: delivery.attempt_count,
            attempts: delivery.attempts.into_iter().map(attempt).collect(),
            body: delivery.body,
        }
    }
}

/// Make an endpoint
///
/// It gets every event from now on, signed after the Standard Webhooks specification. The secret is shown this once.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", request_body = NewWebhook,
    responses((status = 201, body = WebhookWithSecret, description = "Made")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Body(new): Body<NewWebhook>,
) -> Result<Response, Problem> {
    let owner = match (&new.organization, &who.principal.scope) {
        (None, Scope::All) => None,
        (asked, _) => Some(who.principal.owner(asked.as_deref())?).filter(|name| !name.is_empty()),
    };
    if owner.is_none() && who.principal.scope != Scope::All {
        return Err(Problem::new(Kind::Invalid, "organization is needed"));
    }
    let known = endpoint::all(api.store()).await?;
    let is_same_owner = |read: &&Read| read.endpoint.organization == owner.clone().unwrap_or_default();
    if known.len() >= MOST_ENDPOINTS || known.iter().filter(is_same_owner).count() >= MOST_OF_ONE_OWNER {
        let detail = format!("at most {MOST_OF_ONE_OWNER} endpoints of one owner and {MOST_ENDPOINTS} in all");
        return Err(Problem::new(Kind::Conflict, detail));
    }
    let url = address(&api, &new.url)?;
    let no_randomness = || Problem::new(Kind::Internal, "this machine gave no random bytes");
    let mut endpoint = Endpoint::new(url, owner, &who.principal.name, clock::now()).ok_or_else(no_randomness)?;
    endpoint.description = description(new.description.unwrap_or_default())?;
    endpoint.event_types = event_types(new.event_types.unwrap_or_default())?;
    let secret = endpoint.secrets.first().map(|signing| signing.secret.reveal()).unwrap_or_default();
    let audit = noted(&who, "webhook.create", &endpoint);
    let applied = api.store().commit(vec![endpoint.create(), audit]).await?;
    let Commit::Applied(versions) = applied else { return Err(contended()) };
    let webhook = WebhookView::of(endpoint, versions.first().ok_or_else(contended)?);
    let headers = [(header::LOCATION, format!("/v1/webhooks/{}", webhook.id)), (header::ETAG, webhook.etag.clone())];
    Ok((StatusCode::CREATED, headers, Json(WebhookWithSecret { webhook, secret })).into_response())
}

/// List the endpoints
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", responses((status = 200, body = WebhookList, description = "Every endpoint, oldest first")))]
pub(crate) async fn list(State(api): State<Arc<Api>>, Admin(who): Admin) -> Result<Json<WebhookList>, Problem> {
    let all = endpoint::all(api.store()).await?.into_iter();
    let visible = all.filter(|read| admits(&who.principal, &read.endpoint));
    let webhooks = visible.map(|read| WebhookView::of(read.endpoint, &read.version)).collect();
    Ok(Json(WebhookList { webhooks, event_types: EVENT_TYPES.map(str::to_owned).to_vec() }))
}

/// Read an endpoint
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path, description = "The endpoint")),
    responses((status = 200, body = WebhookView, description = "The endpoint", headers(("ETag" = String)))))]
pub(crate) async fn read(State(api): State<Arc<Api>>, Admin(who): Admin, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = find(&api, &who.principal, &id).await?;
    Ok(tagged(WebhookView::of(found.endpoint, &found.version)))
}

/// Change an endpoint
///
/// With `If-Match` only the version that was read is changed.
#[utoipa::path(patch, path = "/v1/webhooks/{id}", tag = "webhooks", request_body = WebhookChange,
    params(("id" = String, Path, description = "The endpoint"), ("If-Match" = Option<String>, Header, description = "ETag of the version that was read")),
    responses((status = 200, body = WebhookView, description = "Changed", headers(("ETag" = String)))))]
pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<WebhookChange>,
) -> Result<Response, Problem> {
    let url = change.url.map(|url| address(&api, &url)).transpose()?;
    let description = change.description.map(description).transpose()?;
    let event_types = change.event_types.map(event_types).transpose()?;
    let edit = |endpoint: &mut Endpoint| {
        if let Some(url) = &url {
            endpoint.url.clone_from(url);
            endpoint.failing_since_at = None;
        }
        description.iter().for_each(|text| endpoint.description.clone_from(text));
        event_types.iter().for_each(|types| endpoint.event_types.clone_from(types));
        match change.is_enabled {
            Some(true) if !endpoint.is_enabled => endpoint.enable(),
            Some(false) if endpoint.is_enabled => endpoint.disable(None, clock::now()),
            _ => {}
        }
        Ok(())
    };
    let ((), changed) = edited(&api, &who, &id, (&headers, "webhook.change"), edit).await?;
    Ok(tagged(changed))
}

/// Delete an endpoint
///
/// What was not delivered to it yet is given up.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks",
    params(("id" = String, Path, description = "The endpoint"), ("If-Match" = Option<String>, Header, description = "ETag of the version that was read")),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let wanted = IfMatch::of(&headers)?;
    for _ in 0..TRIES {
        let found = find(&api, &who.principal, &id).await?;
        if !wanted.admits(&found.version) {
            return Err(Problem::new(Kind::Changed, "somebody changed it: read it again"));
        }
        let audit = noted(&who, "webhook.delete", &found.endpoint);
        if api.store().commit(vec![Write::delete(found.endpoint.key(), found.version), audit]).await?.is_applied() {
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(contended())
}

/// Replace an endpoint's secret
///
/// The new one is shown this once. For 24 hours the old one signs beside it.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", params(("id" = String, Path, description = "The endpoint")),
    responses((status = 200, body = WebhookWithSecret, description = "Replaced")))]
pub(crate) async fn rotate(
    State(api): State<Arc<Api>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<WebhookWithSecret>, Problem> {
    let edit = |endpoint: &mut Endpoint| {
        endpoint.rotate(clock::now()).ok_or_else(|| Problem::new(Kind::Internal, "this machine gave no random bytes"))
    };
    let (secret, webhook) = edited(&api, &who, &id, (&headers, "webhook.rotate"), edit).await?;
    Ok(Json(WebhookWithSecret { webhook, secret: secret.reveal() }))
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

fn tagged(view: WebhookView) -> Response {
    ([(header::ETAG, view.etag.clone())], Json(view)).into_response()
}

fn enabled(endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.is_enabled {
        Ok(())
    } else {
        Err(Problem::new(Kind::Conflict, "the endpoint is switched off: switch it on first"))
    }
}

fn contended() -> Problem {
    Problem::new(Kind::Conflict, "it keeps changing: try again")
}

/// A global endpoint is for who sees everything.
fn admits(principal: &Principal, endpoint: &Endpoint) -> bool {
    match endpoint.all_organizations {
        true => principal.scope == Scope::All,
        false => principal.scope.admits(&endpoint.organization),
    }
}

async fn find(api: &Api, principal: &Principal, id: &str) -> Result<Read, Problem> {
    let is_id = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !id.starts_with("__");
    let missing = || Problem::not_found("webhook");
    let found = if is_id { endpoint::read(api.store(), id).await? } else { None };
    found.filter(|read| admits(principal, &read.endpoint)).ok_or_else(missing)
}

fn noted(who: &Who, action: &'static str, endpoint: &Endpoint) -> Write {
    let entry = Entry { action, target: &endpoint.id, organization: &endpoint.organization, request_id: &who.request_id };
    audit::write(&who.principal, &entry, clock::now())
}

/// Reads, edits and writes, as often as others are faster, unless `If-Match` wants one version alone.
async fn edited<T>(
    api: &Api,
    who: &Who,
    id: &str,
    (headers, action): (&HeaderMap, &'static str),
    edit: impl Fn(&mut Endpoint) -> Result<T, Problem>,
) -> Result<(T, WebhookView), Problem> {
    let wanted = IfMatch::of(headers)?;
    for _ in 0..TRIES {
        let Read { mut endpoint, version } = find(api, &who.principal, id).await?;
        if !wanted.admits(&version) {
            return Err(Problem::new(Kind::Changed, "somebody changed it: read it again"));
        }
        let made = edit(&mut endpoint)?;
        let writes = vec![endpoint.update(version), noted(who, action, &endpoint)];
        if let Commit::Applied(versions) = api.store().commit(writes).await? {
            return Ok((made, WebhookView::of(endpoint, versions.first().ok_or_else(contended)?)));
        }
    }
    Err(contended())
}

fn address(api: &Api, url: &str) -> Result<String, Problem> {
    let target = Target::parse(url, &api.settings.webhook_allow).map_err(|error| Problem::new(Kind::Invalid, error))?;
    Ok(target.url().to_string())
}

fn description(text: String) -> Result<String, Problem> {
    let is_fine = text.chars().count() <= LONGEST_DESCRIPTION && !text.chars().any(char::is_control);
    let detail = format!("description wants at most {LONGEST_DESCRIPTION} characters, none of them a control character");
    if is_fine { Ok(text) } else { Err(Problem::new(Kind::Invalid, detail)) }
}

fn event_types(mut types: Vec<String>) -> Result<Vec<String>, Problem> {
    types.sort_unstable();
    types.dedup();
    match types.iter().all(|wanted| EVENT_TYPES.contains(&wanted.as_str())) {
        true => Ok(types),
        false => Err(Problem::new(Kind::Invalid, format!("event_types wants some of {}", EVENT_TYPES.join(", ")))),
    }
}
