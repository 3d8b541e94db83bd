//! The keys of the API, without their secrets. They are made on the command line, never over the network.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::page::{Frame, refused_to, show as page_of};
use crate::shapes::{Key, Keys};
use crate::visit::Visit;
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
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    rows: Vec<Row>,
}

/// The page.
pub(crate) async fn show(visit: Visit) -> Response {
    match visit.client.get::<Keys>("/v1/keys").await {
        Ok(found) => {
            let rows = found.keys.into_iter().map(|key| row(&visit, key)).collect();
            page_of(&visit, StatusCode::OK, &KeysPage { frame: Frame::new(&visit, "keys", "Keys"), rows })
        }
        Err(refusal) => refused_to(&visit, &refusal, "/portal/"),
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
