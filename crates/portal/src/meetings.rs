//! Meetings: the list, and one with what can be done about it.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use serde::Deserialize;

use crate::client::{Refusal, query, segment};
use crate::page::{Frame, refused_to, show};
use crate::shapes::{Meeting, Meetings};
use crate::visit::Visit;
use crate::words;
use crate::zone::{Stamp, Zone};

/// Meetings of one page.
const PAGE: &str = "50";

/// A meeting as a row.
pub(crate) struct Row {
    /// As a segment of an address.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) platform: String,
    pub(crate) organization: String,
    pub(crate) start: Option<Stamp>,
    pub(crate) state: String,
    pub(crate) tone: &'static str,
    pub(crate) bot_id: String,
    pub(crate) updated_by: String,
    /// Nothing was sent, and nothing was called off.
    pub(crate) is_ahead: bool,
}

impl Row {
    pub(crate) fn of(meeting: &Meeting, zone: &Zone) -> Self {
        let (state, tone) = state(meeting);
        let platform = meeting.platform.as_deref().map(words::platform).unwrap_or_default();
        Self {
            id: segment(&meeting.id),
            title: title(meeting),
            platform,
            organization: meeting.organization.clone(),
            start: meeting.start_time.map(|at| zone.minute(at)),
            state,
            tone,
            bot_id: meeting.bot_id.clone().unwrap_or_default(),
            updated_by: meeting.updated_by.clone().unwrap_or_default(),
            is_ahead: is_ahead(meeting),
        }
    }
}

/// What to call it.
pub(crate) fn title(meeting: &Meeting) -> String {
    let platform = || meeting.platform.as_deref().map_or("Meeting".into(), |name| format!("{} call", words::platform(name)));
    meeting.title.clone().filter(|title| !title.trim().is_empty()).unwrap_or_else(platform)
}

/// True where neither was a bot sent nor the meeting called off.
pub(crate) fn is_ahead(meeting: &Meeting) -> bool {
    let status = meeting.status.as_deref().unwrap_or_default();
    meeting.bot_id.is_none() && meeting.bot_status.is_none() && !status.starts_with("cancel") && meeting.problem.is_none()
}

fn state(meeting: &Meeting) -> (String, &'static str) {
    let status = meeting.status.clone().unwrap_or_default();
    match (&meeting.problem, &meeting.bot_status) {
        (Some(_), _) => ("Unusable".into(), "bad"),
        (_, Some(phase)) => (words::phase(phase).into(), words::tone(phase)),
        _ if status.starts_with("cancel") => (words::plain(&status), "calm"),
        _ => (words::plain(&status), "busy"),
    }
}

/// What to list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    when: String,
    organization: String,
    cursor: String,
}

#[derive(Template)]
#[template(path = "meetings.html")]
struct MeetingsPage {
    frame: Frame,
    rows: Vec<Row>,
    when: &'static str,
    first: String,
    next: String,
}

/// The page.
pub(crate) async fn list(visit: Visit, Query(filter): Query<Filter>) -> Response {
    match page(&visit, &filter).await {
        Ok(page) => show(&visit, StatusCode::OK, &page),
        Err(refusal) => refused_to(&visit, &refusal, "/portal/meetings"),
    }
}

async fn page(visit: &Visit, filter: &Filter) -> Result<MeetingsPage, Refusal> {
    let now = visit.zone.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let (when, from, before) = match filter.when.as_str() {
        "ahead" => ("ahead", now.as_str(), ""),
        "past" => ("past", "", now.as_str()),
        _ => ("all", "", ""),
    };
    let pairs =
        [("limit", PAGE), ("from", from), ("before", before), ("organization", &filter.organization), ("cursor", &filter.cursor)];
    let page: Meetings = visit.client.get(&format!("/v1/meetings{}", query(&pairs))).await?;
    let named = if when == "all" { "" } else { when };
    let address = |cursor: &str| {
        format!("/portal/meetings{}", query(&[("when", named), ("organization", &filter.organization), ("cursor", cursor)]))
    };
    Ok(MeetingsPage {
        frame: Frame::new(visit, "meetings", "Meetings").live("/portal/live"),
        rows: page.meetings.iter().map(|meeting| Row::of(meeting, &visit.zone)).collect(),
        when,
        first: if filter.cursor.is_empty() { String::new() } else { address("") },
        next: page.next_cursor.map(|cursor| address(&cursor)).unwrap_or_default(),
    })
}

/// The meetings that start next, the first one first.
pub(crate) async fn due_next(visit: &Visit, most: usize) -> Result<Vec<Row>, Refusal> {
    let now = visit.zone.now();
    let stamp = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let mut found = Vec::new();
    // The list has the latest first: windows that widen keep the pages short.
    for hours in [2, 24, 24 * 7] {
        let pairs = [("from", stamp(now)), ("before", stamp(now + TimeDelta::hours(hours))), ("limit", "200".to_owned())];
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page: Meetings = visit.client.get(&format!("/v1/meetings{}", query(&pairs))).await?;
        found = page.meetings.iter().rev().filter(|meeting| is_ahead(meeting)).map(|one| Row::of(one, &visit.zone)).collect();
        if found.len() >= most || page.next_cursor.is_some() {
            break;
        }
    }
    found.truncate(most);
    Ok(found)
}

#[derive(Template)]
#[template(path = "meeting.html")]
struct MeetingPage {
    frame: Frame,
    meeting: Meeting,
    row: Row,
    start: Option<Stamp>,
    end: Option<Stamp>,
    updated: Option<Stamp>,
    platform: String,
    is_over: bool,
}

/// One meeting.
pub(crate) async fn one(visit: Visit, Path(id): Path<String>) -> Response {
    let found = visit.client.get::<Meeting>(&format!("/v1/meetings/{}", segment(&id))).await;
    let meeting = match found {
        Ok(meeting) => meeting,
        Err(refusal) => return refused_to(&visit, &refusal, "/portal/meetings"),
    };
    let row = Row::of(&meeting, &visit.zone);
    let page = MeetingPage {
        frame: Frame::new(&visit, "meetings", row.title.clone()).live("/portal/live"),
        start: meeting.start_time.map(|at| visit.zone.minute(at)),
        end: meeting.end_time.map(|at| visit.zone.minute(at)),
        updated: meeting.updated_at.map(|at| visit.zone.stamp(at)),
        platform: meeting.platform.as_deref().map(words::platform).unwrap_or_default(),
        is_over: meeting.bot_status.as_deref().is_some_and(words::is_over) || row.state.starts_with("Cancel"),
        row,
        meeting,
    };
    show(&visit, StatusCode::OK, &page)
}
