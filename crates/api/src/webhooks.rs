//! Webhooks: endpoints and their secrets. For admins: an address may hold a token, and a secret signs for us. What was delivered is
//! [`crate::deliveries`].
//!
//! The deliverer is the crate `webhooks`; here its documents are written, each with its line in the audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bot_store::{Commit, Write, clock};
use sealing::SealError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use webhooks::endpoint::{self, EVENT_TYPES, Endpoint, MOST_ENDPOINTS, MOST_OF_ONE_OWNER, Read};
use webhooks::signature::Secret;
use webhooks::target::Target;

use crate::access::{Admin, Principal, Scope, Who};
use crate::audit::{self, Entry};
use crate::input::{Body, IfMatch};
use crate::meetings::TRIES;
use crate::problem::{Kind, Problem};
use crate::state::Api;
use crate::webhook_views::WebhookView;

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
    let now = clock::now();
    let mut endpoint = Endpoint::new(url, owner, &who.principal.name, now).ok_or_else(no_randomness)?;
    endpoint.description = description(new.description.unwrap_or_default())?;
    endpoint.event_types = event_types(new.event_types.unwrap_or_default())?;
    let safe = &api.settings.webhook_safe;
    endpoint.seal(safe).map_err(unsealed)?;
    let secret = endpoint.signing(safe, now).unwrap_or_default().first().map(Secret::reveal).unwrap_or_default();
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
    let (safe, now) = (&api.settings.webhook_safe, clock::now());
    let edit = |endpoint: &mut Endpoint| {
        if endpoint.is_sealed(now) && !safe.seals() {
            let detail =
                "its secret is sealed, and this controller has no WEBHOOK_SECRETS_KEY: try again once every replica has one";
            return Err(Problem::new(Kind::Unavailable, detail));
        }
        endpoint.rotate(safe, now).map_err(unsealed)
    };
    let (secret, webhook) = edited(&api, &who, &id, (&headers, "webhook.rotate"), edit).await?;
    Ok(Json(WebhookWithSecret { webhook, secret: secret.reveal() }))
}

fn tagged(view: WebhookView) -> Response {
    ([(header::ETAG, view.etag.clone())], Json(view)).into_response()
}

fn no_randomness() -> Problem {
    Problem::new(Kind::Internal, "this machine gave no random bytes")
}

fn unsealed(error: SealError) -> Problem {
    Problem::new(Kind::Internal, format!("its secret could not be sealed: {error}"))
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

pub(crate) async fn find(api: &Api, principal: &Principal, id: &str) -> Result<Read, Problem> {
    let is_id = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !id.starts_with("__");
    let missing = || Problem::not_found("webhook");
    let found = if is_id { endpoint::read(api.store(), id).await? } else { None };
    found.filter(|read| admits(principal, &read.endpoint)).ok_or_else(missing)
}

pub(crate) fn noted(who: &Who, action: &'static str, endpoint: &Endpoint) -> Write {
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
