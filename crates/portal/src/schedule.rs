//! The forms that schedule a meeting and change one. A refused form comes back with its values and each reason beside its field.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::client::{Refusal, given, object, segment};
use crate::page::{Frame, refused_to, show};
use crate::shapes::{Meeting, Scheduled};
use crate::visit::{Fields, Posted, Visit, done};
use crate::zone::{Zone, instant};

/// Fields that a reason can stand beside.
const NAMED: [&str; 8] = ["meeting_url", "start", "end", "zone", "title", "bot_name", "priority", "organization"];

#[derive(Template)]
#[template(path = "schedule.html")]
struct SchedulePage {
    frame: Frame,
    /// Of the meeting that is changed; empty for a new one.
    id: String,
    heading: String,
    etag: String,
    values: Fields,
    errors: BTreeMap<&'static str, String>,
    /// Reasons that belong to no field.
    others: Vec<String>,
    organizations: Vec<String>,
    asks_organization: bool,
    address: String,
}

impl SchedulePage {
    fn value(&self, name: &str) -> &str {
        self.values.get(name)
    }

    fn error(&self, name: &str) -> &str {
        self.errors.get(name).map(String::as_str).unwrap_or_default()
    }

    fn zones(&self) -> impl Iterator<Item = &'static str> + use<> {
        Zone::names()
    }

    fn new(visit: &Visit, meeting: Option<&Meeting>, values: Fields, etag: &str) -> Self {
        let heading =
            meeting.map_or("Schedule a meeting".to_owned(), |meeting| format!("Change {}", crate::meetings::title(meeting)));
        Self {
            frame: Frame::new(visit, if meeting.is_some() { "meetings" } else { "schedule" }, heading.clone()),
            id: meeting.map(|meeting| segment(&meeting.id)).unwrap_or_default(),
            heading,
            etag: etag.to_owned(),
            values,
            errors: BTreeMap::new(),
            others: Vec::new(),
            organizations: visit.me.organizations.clone(),
            asks_organization: meeting.is_none() && (visit.me.all_organizations || visit.me.organizations.len() > 1),
            address: meeting.and_then(|meeting| meeting.meeting_url.clone()).unwrap_or_default(),
        }
    }

    /// Puts each reason beside its field.
    fn refuse(mut self, visit: &Visit, reasons: Vec<(String, String)>) -> Response {
        for (field, reason) in reasons {
            match NAMED.iter().find(|known| **known == field) {
                Some(known) => {
                    let said = self.errors.entry(known).or_default();
                    if !said.is_empty() {
                        said.push_str("; ");
                    }
                    said.push_str(&reason);
                }
                None => self.others.push(reason),
            }
        }
        self.frame.title = format!("Error: {}", self.frame.title);
        show(visit, StatusCode::UNPROCESSABLE_ENTITY, &self)
    }
}

/// The empty form.
pub(crate) async fn ask(visit: Visit) -> Response {
    if let Err(refusal) = visit.needs_operator() {
        return refused_to(&visit, &refusal, "/portal/");
    }
    let mut values = Fields::default();
    values.set("when", "now");
    values.set("zone", visit.zone.name());
    let next_hour = visit.zone.now() + chrono::TimeDelta::hours(1);
    values.set("start", format!("{}:00", visit.zone.field(next_hour).rsplit_once(':').map_or("", |(hour, _)| hour)));
    show(&visit, StatusCode::OK, &SchedulePage::new(&visit, None, values, ""))
}

/// Start, end and priority of a form, or each reason against them.
struct Read {
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    priority: Option<i64>,
    reasons: Vec<(String, String)>,
}

fn read(fields: &Fields) -> Read {
    let mut reasons = Vec::new();
    let zone = fields.get("zone");
    let is_zone = Zone::named(zone).is_some();
    let mut at = |name: &str| {
        let text = fields.get(name);
        if text.is_empty() {
            return None;
        }
        let found = instant(text, zone);
        found.map_err(|reason| reasons.push((if is_zone { name } else { "zone" }.to_owned(), reason))).ok()
    };
    let (start, end) = (if fields.get("when") == "now" { None } else { at("start") }, at("end"));
    let priority = match fields.get("priority") {
        "" => None,
        text => text.parse().map_err(|_| reasons.push(("priority".into(), "give a whole number, -1000 to 1000".into()))).ok(),
    };
    if fields.get("when") != "now" && fields.get("start").is_empty() {
        reasons.push(("start".into(), "give date and time".into()));
    }
    reasons.dedup();
    Read { start, end, priority, reasons }
}

/// Which field a reason of the API is about, and the reason as it reads beside it.
fn placed(reason: &str) -> (String, String) {
    let reason = reason.strip_prefix("field ").unwrap_or(reason);
    let reason = reason.replace("meeting_url is refused: ", "the meeting address: ");
    let starts = |words: &str| reason.starts_with(words);
    let field = match () {
        () if starts("the meeting address") || starts("meeting_url") => "meeting_url",
        () if starts("end_time") => "end",
        () if starts("start_time") || starts("the meeting's time") || starts("that time") => "start",
        () if starts("title") => "title",
        () if starts("bot_name") => "bot_name",
        () if starts("priority") => "priority",
        () if starts("organization") || starts("this key may not act") => "organization",
        () => "",
    };
    let text = reason.replace("the meeting address: the meeting address", "the meeting address");
    let text = text.replace("end_time", "the end").replace("start_time", "the start").replace("bot_name", "the name");
    (field.to_owned(), text)
}

fn reasons(refusal: &Refusal) -> Vec<(String, String)> {
    let each = if refusal.errors.is_empty() { std::slice::from_ref(&refusal.detail) } else { &refusal.errors };
    let mut placed: Vec<_> = each.iter().map(|reason| placed(reason)).collect();
    placed.dedup();
    placed
}

fn rfc3339(at: DateTime<Utc>) -> Value {
    json!(at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// Schedules.
pub(crate) async fn send(Posted { visit, fields }: Posted) -> Response {
    let read = read(&fields);
    let again = |reasons| SchedulePage::new(&visit, None, fields.clone(), "").refuse(&visit, reasons);
    let mut missing = read.reasons;
    if fields.get("meeting_url").is_empty() {
        missing.push(("meeting_url".into(), "give the address of the call".into()));
    }
    if !missing.is_empty() {
        return again(missing);
    }
    let body = object(vec![
        ("meeting_url", given(fields.get("meeting_url"))),
        ("start_time", read.start.map(rfc3339)),
        ("end_time", read.end.map(rfc3339)),
        ("title", given(fields.get("title"))),
        ("bot_name", given(fields.get("bot_name"))),
        ("organization", given(fields.get("organization"))),
        ("priority", read.priority.map(|priority| json!(priority))),
    ]);
    match visit.client.post("/v1/meetings", fields.once(), body).await {
        Ok(answer) => {
            let scheduled: Scheduled = serde_json::from_value(answer.body).unwrap_or_default();
            let did = if scheduled.result == "already_there" { "already" } else { &scheduled.result };
            match (scheduled.bot, scheduled.meeting) {
                (Some(bot), _) => done(&format!("/portal/bots/{}", segment(&bot.id)), did),
                (None, Some(meeting)) => done(&format!("/portal/meetings/{}", segment(&meeting.id)), did),
                (None, None) => done("/portal/meetings", did),
            }
        }
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY || &*refusal.slug == "conflict" => {
            again(reasons(&refusal))
        }
        Err(refusal) => refused_to(&visit, &refusal, "/portal/schedule"),
    }
}

/// The form of a meeting that is there.
pub(crate) async fn ask_change(visit: Visit, Path(id): Path<String>) -> Response {
    if let Err(refusal) = visit.needs_operator() {
        return refused_to(&visit, &refusal, "/portal/meetings");
    }
    let meeting = match visit.client.get::<Meeting>(&format!("/v1/meetings/{}", segment(&id))).await {
        Ok(meeting) => meeting,
        Err(refusal) => return refused_to(&visit, &refusal, "/portal/meetings"),
    };
    let mut values = Fields::default();
    values.set("when", "then");
    values.set("zone", visit.zone.name());
    let times = [("start", meeting.start_time), ("end", meeting.end_time)];
    times.iter().for_each(|(name, at)| values.set(name, at.map(|at| visit.zone.field(at)).unwrap_or_default()));
    values.set("title", meeting.title.clone().unwrap_or_default());
    values.set("bot_name", meeting.bot_name.clone().unwrap_or_default());
    values.set("priority", meeting.priority.to_string());
    // What a field could not be read as must not look like a change.
    let before: Vec<String> =
        ["start", "end", "title", "bot_name", "priority", "zone"].map(|name| values.get(name).to_owned()).into();
    values.set("before", serde_json::to_string(&before).unwrap_or_default());
    show(&visit, StatusCode::OK, &SchedulePage::new(&visit, Some(&meeting), values, &meeting.etag))
}

/// Changes what the form changed, on the version that it showed.
pub(crate) async fn change(Path(id): Path<String>, Posted { visit, fields }: Posted) -> Response {
    let path = format!("/v1/meetings/{}", segment(&id));
    let back = format!("/portal/meetings/{}", segment(&id));
    let read = read(&fields);
    let before: Vec<String> = serde_json::from_str(fields.get("before")).unwrap_or_default();
    let is_new = |at: usize, name: &str| before.get(at).is_none_or(|before| before != fields.get(name));
    let is_moved = |at: usize, name: &str| is_new(at, name) || (is_new(5, "zone") && !fields.get(name).is_empty());
    let text = |name: &str| given(fields.get(name)).unwrap_or(Value::Null);
    let refusal = if read.reasons.is_empty() {
        let body = object(vec![
            ("start_time", read.start.filter(|_| is_moved(0, "start")).map(rfc3339)),
            ("end_time", is_moved(1, "end").then(|| read.end.map_or(Value::Null, rfc3339))),
            ("title", is_new(2, "title").then(|| text("title"))),
            ("bot_name", is_new(3, "bot_name").then(|| text("bot_name"))),
            ("priority", read.priority.filter(|_| is_new(4, "priority")).map(|priority| json!(priority))),
            ("meeting_url", given(fields.get("meeting_url"))),
        ]);
        match visit.client.patch(&path, fields.once(), fields.get("etag"), body).await {
            Ok(answer) => {
                let meeting: Meeting = serde_json::from_value(answer.body).unwrap_or_default();
                visit.portal.titles.forget(meeting.bot_id.as_deref().unwrap_or_default());
                return done(&back, "changed");
            }
            Err(refusal) => Some(refusal),
        }
    } else {
        None
    };
    match refusal {
        Some(refusal) if refusal.status != StatusCode::UNPROCESSABLE_ENTITY => refused_to(&visit, &refusal, &back),
        refusal => match visit.client.get::<Meeting>(&path).await {
            Ok(meeting) => {
                let reasons = refusal.as_ref().map_or(read.reasons, reasons);
                SchedulePage::new(&visit, Some(&meeting), fields.clone(), fields.get("etag")).refuse(&visit, reasons)
            }
            Err(refusal) => refused_to(&visit, &refusal, "/portal/meetings"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_beside_its_field() {
        for (reason, field) in [
            ("the meeting address names no call on its platform", "meeting_url"),
            ("field meeting_url is refused: the meeting address must start with https://", "meeting_url"),
            ("end_time must be after start_time", "end"),
            ("start_time is more than two years ahead", "start"),
            ("the meeting's time has passed", "start"),
            ("title wants at most 500 printable characters", "title"),
            ("bot_name wants 1 to 64 printable characters", "bot_name"),
            ("priority wants -1000 to 1000", "priority"),
            ("organization is needed, as this key has several", "organization"),
            ("something else", ""),
        ] {
            assert_eq!(placed(reason).0, field, "{reason}");
            assert!(!placed(reason).1.contains('_'), "{reason}");
        }
    }
}
