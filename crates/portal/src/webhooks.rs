//! Webhooks: which there are, what was tried, and trying again.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{NOT_REMEMBERED, Refusal, given, object, query, segment};
use crate::confirm::{Question, asked};
use crate::page::{Frame, SecretPage, refused_to, show};
use crate::shapes::{Attempt, Deliveries, Delivery, Webhook, Webhooks, WithSecret};
use crate::visit::{Fields, Posted, Visit, done};
use crate::words;
use crate::zone::{Stamp, Zone};

const LIST: &str = "/portal/webhooks";

struct Row {
    id: String,
    url: String,
    description: String,
    organization: String,
    events: String,
    state: &'static str,
    tone: &'static str,
    reason: String,
    created: Option<Stamp>,
}

impl Row {
    fn of(webhook: &Webhook, zone: &Zone) -> Self {
        let events = webhook.event_types.iter().map(|event| words::plain(event)).collect::<Vec<_>>().join(", ");
        let (state, tone) = match (webhook.is_enabled, webhook.failing_since) {
            (false, _) => ("Disabled", "bad"),
            (true, Some(_)) => ("Failing", "wait"),
            (true, None) => ("Active", "good"),
        };
        let organization = webhook.organization.clone().filter(|_| !webhook.all_organizations);
        Self {
            id: segment(&webhook.id),
            url: webhook.url.clone(),
            description: webhook.description.clone(),
            organization: organization.unwrap_or_else(|| "every organization".into()),
            events: if events.is_empty() { "Every event".into() } else { events },
            state,
            tone,
            reason: webhook.disabled_reason.clone().unwrap_or_default(),
            created: webhook.created_at.map(|at| zone.minute(at)),
        }
    }
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    /// `None` where the API has no webhooks.
    rows: Option<Vec<Row>>,
    /// What one can ask for: name and word.
    types: Vec<(String, String)>,
    values: Fields,
    error: String,
    can_change: bool,
    asks_organization: bool,
}

impl WebhooksPage {
    fn value(&self, name: &str) -> &str {
        self.values.get(name)
    }
}

async fn page(visit: &Visit, values: Fields, error: String) -> Result<WebhooksPage, Refusal> {
    let found = visit.client.find::<Webhooks>("/v1/webhooks").await?;
    let types = found.as_ref().map(|found| found.event_types.clone()).unwrap_or_default();
    Ok(WebhooksPage {
        types: types.into_iter().map(|name| (name.clone(), words::plain(&name))).collect(),
        frame: Frame::new(visit, "webhooks", "Webhooks"),
        rows: found.map(|found| found.webhooks.iter().map(|one| Row::of(one, &visit.zone)).collect()),
        can_change: visit.is_admin(),
        asks_organization: visit.me.all_organizations || visit.me.organizations.len() > 1,
        values,
        error,
    })
}

/// The list, and the form for another.
pub(crate) async fn list(visit: Visit) -> Response {
    match page(&visit, Fields::default(), String::new()).await {
        Ok(page) => show(&visit, StatusCode::OK, &page),
        Err(refusal) => refused_to(&visit, &refusal, "/portal/"),
    }
}

fn secret(visit: &Visit, body: Value) -> Response {
    let WithSecret { webhook, secret } = serde_json::from_value(body).unwrap_or_default();
    let frame = Frame::new(visit, "webhooks", "The webhook's secret");
    let words = "This is its secret. It is shown this once: keep it where the receiver verifies signatures.";
    show(visit, StatusCode::OK, &SecretPage { frame, words, secret, back: format!("{LIST}/{}", segment(&webhook.id)) })
}

/// Makes one, and shows its secret once.
pub(crate) async fn create(Posted { visit, fields }: Posted) -> Response {
    let events: Vec<&str> = fields.begin_with("type:").collect();
    let body = object(vec![
        ("url", Some(json!(fields.get("url")))),
        ("description", given(fields.get("description"))),
        ("organization", given(fields.get("organization"))),
        ("event_types", (!events.is_empty()).then(|| json!(events))),
    ]);
    match visit.client.post("/v1/webhooks", NOT_REMEMBERED, body).await {
        Ok(answer) => secret(&visit, answer.body),
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY => match page(&visit, fields, refusal.detail).await {
            Ok(page) => show(&visit, StatusCode::UNPROCESSABLE_ENTITY, &page),
            Err(refusal) => refused_to(&visit, &refusal, LIST),
        },
        Err(refusal) => refused_to(&visit, &refusal, LIST),
    }
}

struct TryRow {
    at: Option<Stamp>,
    result: String,
    /// Of one that was not taken.
    answer: String,
    tone: &'static str,
    took: String,
}

struct DeliveryRow {
    id: String,
    /// Names the form that sends it again.
    once: String,
    event: String,
    at: Option<Stamp>,
    state: String,
    tone: &'static str,
    reason: String,
    next: Option<Stamp>,
    tries: Vec<TryRow>,
}

fn tried(attempt: &Attempt, zone: &Zone) -> TryRow {
    let is_taken = attempt.status.is_some_and(|status| (200..300).contains(&status));
    let status = attempt.status.map(|status| format!("HTTP {status}"));
    let result = words::plain(&attempt.result);
    TryRow {
        at: attempt.tried_at.map(|at| zone.stamp(at)),
        result: status.unwrap_or(result),
        answer: if is_taken { String::new() } else { attempt.answer.clone() },
        tone: if is_taken { "good" } else { "bad" },
        took: format!("{} ms", attempt.millis),
    }
}

/// A form within a part of the page that renews itself is named by what it shows: by chance alone, each look would be news. Once what
/// it shows has changed, it is another form.
fn once(delivery: &Delivery, etag: &str) -> String {
    let shown = format!("{etag} {} {:?}", delivery.attempt_count, delivery.ended_at);
    HEXLOWER.encode(&Sha256::digest(shown.as_bytes())[..16])
}

fn delivery(delivery: Delivery, etag: &str, zone: &Zone) -> DeliveryRow {
    DeliveryRow {
        once: once(&delivery, etag),
        tone: match delivery.state.as_str() {
            "delivered" => "good",
            "pending" => "busy",
            _ => "bad",
        },
        id: segment(&delivery.id),
        event: words::plain(&delivery.event_type),
        at: delivery.created_at.map(|at| zone.stamp(at)),
        state: words::plain(&delivery.state),
        reason: delivery.reason.clone().unwrap_or_default(),
        next: delivery.next_attempt_at.map(|at| zone.stamp(at)),
        tries: delivery.attempts.iter().map(|one| tried(one, zone)).collect(),
    }
}

/// Where the list of attempts goes on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Place {
    cursor: String,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    frame: Frame,
    row: Row,
    deliveries: Vec<DeliveryRow>,
    can_change: bool,
    first: String,
    next: String,
}

/// One, with its attempts.
pub(crate) async fn one(visit: Visit, Path(id): Path<String>, Query(place): Query<Place>) -> Response {
    let path = format!("/v1/webhooks/{}", segment(&id));
    let asked = query(&[("cursor", &place.cursor)]);
    let found = tokio::try_join!(visit.client.get::<Webhook>(&path), async {
        visit.client.find::<Deliveries>(&format!("{path}/deliveries{asked}")).await
    });
    let (webhook, deliveries) = match found {
        Ok(found) => found,
        Err(refusal) => return refused_to(&visit, &refusal, LIST),
    };
    let (deliveries, next) = deliveries.map(|page| (page.deliveries, page.next_cursor)).unwrap_or_default();
    let address = |cursor: &str| format!("{LIST}/{}{}", segment(&id), query(&[("cursor", cursor)]));
    let page = WebhookPage {
        frame: Frame::new(&visit, "webhooks", "Webhook").live("/portal/live"),
        row: Row::of(&webhook, &visit.zone),
        deliveries: deliveries.into_iter().map(|one| delivery(one, &webhook.etag, &visit.zone)).collect(),
        can_change: visit.is_admin(),
        first: if place.cursor.is_empty() { String::new() } else { address("") },
        next: next.map(|cursor| address(&cursor)).unwrap_or_default(),
    };
    show(&visit, StatusCode::OK, &page)
}

/// What can be done with a webhook, asked for once more.
fn question(verb: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match verb {
        "rotate" => (
            "Rotate",
            "Rotate the secret?",
            "A new secret signs from now on; the old one stays valid for a while, beside it. The new one is shown once.",
        ),
        "delete" => ("Delete", "Delete this webhook?", "Nothing is sent to it any more, and its attempts are forgotten."),
        "enable" => ("Enable", "Enable this webhook?", "Events are sent to it again from now on."),
        _ => return None,
    })
}

/// The question.
pub(crate) async fn ask(visit: Visit, Path((id, verb)): Path<(String, String)>) -> Response {
    let Some((verb, question, consequence)) = question(&verb) else {
        let refusal =
            Refusal::of(StatusCode::NOT_FOUND, "There is no such page", "A webhook can be tested, rotated, enabled and deleted.");
        return refused_to(&visit, &refusal, LIST);
    };
    let back = format!("{LIST}/{}", segment(&id));
    let etag = match visit.client.get::<Webhook>(&format!("/v1/webhooks/{}", segment(&id))).await {
        Ok(webhook) => webhook.etag,
        Err(refusal) => return refused_to(&visit, &refusal, LIST),
    };
    let mut page = asked(&visit, "webhooks", Question { verb, text: question.into(), consequence }, back).on(etag);
    page.is_grave = verb == "Delete";
    show(&visit, StatusCode::OK, &page)
}

/// Does it.
pub(crate) async fn act(Path((id, verb)): Path<(String, String)>, Posted { visit, fields }: Posted) -> Response {
    let (path, back) = (format!("/v1/webhooks/{}", segment(&id)), format!("{LIST}/{}", segment(&id)));
    let client = &visit.client;
    let answered = match verb.as_str() {
        "test" => client.post(&format!("{path}/test"), fields.once(), json!({})).await.map(|_| done(&back, "tested")),
        "rotate" => {
            client.post(&format!("{path}/rotate"), NOT_REMEMBERED, json!({})).await.map(|answer| secret(&visit, answer.body))
        }
        "enable" => {
            let body = json!({"is_enabled": true});
            client.patch(&path, fields.once(), fields.get("etag"), body).await.map(|_| done(&back, "saved"))
        }
        "delete" => client.delete(&path, fields.once(), "").await.map(|_| done(LIST, "deleted")),
        _ => Err(Refusal::of(
            StatusCode::NOT_FOUND,
            "There is no such page",
            "A webhook can be tested, rotated, enabled and deleted.",
        )),
    };
    answered.unwrap_or_else(|refusal| refused_to(&visit, &refusal, &back))
}

/// Sends an event once more.
pub(crate) async fn replay(Path((id, delivery)): Path<(String, String)>, Posted { visit, fields }: Posted) -> Response {
    let path = format!("/v1/webhooks/{}/deliveries/{}/replay", segment(&id), segment(&delivery));
    let back = format!("{LIST}/{}", segment(&id));
    match visit.client.post(&path, fields.once(), json!({})).await {
        Ok(_) => done(&back, "replayed"),
        Err(refusal) => refused_to(&visit, &refusal, &back),
    }
}
