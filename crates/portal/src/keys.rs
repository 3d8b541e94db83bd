//! The keys of the API, without their secrets: the list, another, and none any more.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::client::{NOT_REMEMBERED, Refusal, given, object, segment};
use crate::confirm::{Question, asked};
use crate::page::{Frame, SecretPage, refused_to, show as page_of};
use crate::shapes::{Key, Keys, MadeKey};
use crate::visit::{Fields, Posted, Visit, done};
use crate::words;
use crate::zone::Stamp;

struct Row {
    id: String,
    name: String,
    role: String,
    sees: String,
    created: Option<Stamp>,
    created_by: String,
    used: Option<Stamp>,
    expires: Option<Stamp>,
    state: &'static str,
    tone: &'static str,
    is_mine: bool,
    is_live: bool,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    rows: Vec<Row>,
    values: Fields,
    error: String,
}

impl KeysPage {
    fn value(&self, name: &str) -> &str {
        self.values.get(name)
    }
}

/// The page.
pub(crate) async fn show(visit: Visit) -> Response {
    page(&visit, StatusCode::OK, Fields::default(), String::new()).await
}

async fn page(visit: &Visit, status: StatusCode, values: Fields, error: String) -> Response {
    match visit.client.get::<Keys>("/v1/keys").await {
        Ok(found) => {
            let rows = found.keys.into_iter().map(|key| row(visit, key)).collect();
            page_of(visit, status, &KeysPage { frame: Frame::new(visit, "keys", "Keys"), rows, values, error })
        }
        Err(refusal) => refused_to(visit, &refusal, "/portal/"),
    }
}

/// Makes one, and shows it once.
pub(crate) async fn create(Posted { visit, fields }: Posted) -> Response {
    let names: Vec<&str> = fields.get("organizations").split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let days = match fields.get("days") {
        "" => Ok(None),
        text => text.parse::<u16>().map(Some),
    };
    let Ok(days) = days else {
        return page(&visit, StatusCode::UNPROCESSABLE_ENTITY, fields, "Give the days as a whole number.".into()).await;
    };
    let body = object(vec![
        ("name", Some(given(fields.get("name")).unwrap_or(json!("")))),
        ("role", given(fields.get("role"))),
        ("organizations", Some(json!(names))),
        ("all_organizations", Some(json!(names.is_empty()))),
        ("expires_in_days", days.map(|days| json!(days))),
    ]);
    // A remembered answer would keep the key, so the form is not named.
    match visit.client.post("/v1/keys", NOT_REMEMBERED, body).await {
        Ok(answer) => {
            let made: MadeKey = serde_json::from_value(answer.body).unwrap_or_default();
            let frame = Frame::new(&visit, "keys", "The key was made");
            let words = "This is the key. It is shown this once: nobody can read it again.";
            page_of(&visit, StatusCode::OK, &SecretPage { frame, words, secret: made.key, back: "/portal/keys".into() })
        }
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY => {
            page(&visit, refusal.status, fields, refusal.detail).await
        }
        Err(refusal) => refused_to(&visit, &refusal, "/portal/keys"),
    }
}

/// "Revoke it?"
pub(crate) async fn ask_revoke(visit: Visit, Path(id): Path<String>) -> Response {
    let keys = match visit.client.get::<Keys>("/v1/keys").await {
        Ok(keys) => keys.keys,
        Err(refusal) => return refused_to(&visit, &refusal, "/portal/"),
    };
    let Some(key) = keys.into_iter().find(|key| key.id == id) else {
        return refused_to(&visit, &Refusal::of(StatusCode::NOT_FOUND, "There is no such key", ""), "/portal/keys");
    };
    let consequence = if key.id == visit.me.id {
        "It is the key that you signed in with: you are signed out within seconds. Nothing takes it back."
    } else {
        "Whoever uses it is refused within seconds, and the sessions that signed in with it end. Nothing takes it back."
    };
    let question = Question { verb: "Revoke", text: format!("Revoke the key {}?", key.name), consequence };
    page_of(&visit, StatusCode::OK, &asked(&visit, "keys", question, "/portal/keys".into()))
}

/// Revokes it.
pub(crate) async fn revoke(Path(id): Path<String>, Posted { visit, fields }: Posted) -> Response {
    match visit.client.delete(&format!("/v1/keys/{}", segment(&id)), fields.once(), "").await {
        Ok(_) => done("/portal/keys", "revoked"),
        Err(refusal) => refused_to(&visit, &refusal, "/portal/keys"),
    }
}

fn row(visit: &Visit, key: Key) -> Row {
    let zone = &visit.zone;
    let (state, tone) = match (key.revoked_at, key.expires_at) {
        (Some(_), _) => ("Revoked", "calm"),
        (_, Some(at)) if at <= zone.now() => ("Expired", "calm"),
        _ => ("Valid", "good"),
    };
    Row {
        is_mine: key.id == visit.me.id,
        is_live: state == "Valid",
        name: key.name,
        role: words::plain(&key.role),
        sees: if key.all_organizations { "Every organization".into() } else { key.organizations.join(", ") },
        created: key.created_at.map(|at| zone.minute(at)),
        created_by: key.created_by,
        used: key.last_used_at.map(|at| zone.minute(at)),
        expires: key.expires_at.map(|at| zone.minute(at)),
        id: key.id,
        state,
        tone,
    }
}
