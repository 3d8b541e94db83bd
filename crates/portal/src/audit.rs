//! Who did what.

use askama::Template;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::client::{query, segment};
use crate::page::{Frame, refused_to, show as page_of};
use crate::shapes::{Audit, Entry};
use crate::visit::Visit;
use crate::words;
use crate::zone::{Stamp, Zone};

/// Entries of one page.
const PAGE: &str = "100";

struct Row {
    at: Option<Stamp>,
    who: String,
    key: String,
    action: String,
    target: String,
    /// The page of what was changed, where it has one.
    link: String,
    organization: String,
    request: String,
}

/// What to list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    organization: String,
    cursor: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    rows: Vec<Row>,
    organization: String,
    first: String,
    next: String,
}

/// The page.
pub(crate) async fn show(visit: Visit, Query(filter): Query<Filter>) -> Response {
    let pairs = [("limit", PAGE), ("organization", filter.organization.as_str()), ("cursor", &filter.cursor)];
    let page = match visit.client.get::<Audit>(&format!("/v1/audit{}", query(&pairs))).await {
        Ok(page) => page,
        Err(refusal) => return refused_to(&visit, &refusal, "/portal/"),
    };
    let address = |cursor: &str| format!("/portal/audit{}", query(&[("organization", &filter.organization), ("cursor", cursor)]));
    let page = AuditPage {
        frame: Frame::new(&visit, "audit", "Audit log"),
        rows: page.entries.into_iter().map(|entry| row(entry, &visit.zone)).collect(),
        first: if filter.cursor.is_empty() { String::new() } else { address("") },
        next: page.next_cursor.map(|cursor| address(&cursor)).unwrap_or_default(),
        organization: filter.organization,
    };
    page_of(&visit, StatusCode::OK, &page)
}

fn row(entry: Entry, zone: &Zone) -> Row {
    let (action, target) = (entry.action.unwrap_or_default(), entry.target.unwrap_or_default());
    let link = match action.split('.').next() {
        Some("bot") => format!("/portal/bots/{}", segment(&target)),
        Some("meeting") => format!("/portal/meetings/{}", segment(&target)),
        Some("webhook") => format!("/portal/webhooks/{}", segment(&target)),
        _ => String::new(),
    };
    Row {
        at: entry.occurred_at.map(|at| zone.stamp(at)),
        who: entry.actor_name.unwrap_or_default(),
        key: entry.actor.unwrap_or_default(),
        action: words::plain(&action),
        organization: entry.organization.unwrap_or_default(),
        request: entry.request_id.unwrap_or_default(),
        target,
        link,
    }
}
