//! What organizations may have and what they have of it; and changing that, in two steps: a form, and what it will mean; and the way
//! back to what everybody may have.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Refusal, query, segment};
use crate::confirm::{Question, asked};
use crate::page::{Frame, refused_to, show as page_of};
use crate::shapes::{Capacity, Limits, Organizations, Use};
use crate::visit::{Fields, Posted, Visit, done};
use crate::zone::{Stamp, Zone};

const LIST: &str = "/portal/limits";
/// Fields that a reason can stand beside.
const NAMED: [&str; 3] = ["time_zone", "max_active_bots", "max_bots_per_day"];

struct Row {
    name: String,
    address: String,
    zone: String,
    at_once: String,
    a_day: String,
    waiting: u64,
    next_day: Option<Stamp>,
    set: Option<Stamp>,
    set_by: String,
    is_own: bool,
}

#[derive(Template)]
#[template(path = "limits.html")]
struct LimitsPage {
    frame: Frame,
    rows: Vec<Row>,
    /// Of an organization without limits of its own.
    usual: String,
    places: u64,
    can_change: bool,
    first: String,
    next: String,
}

/// Where the list goes on, or whose limits are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Place {
    cursor: String,
    organization: String,
}

/// The list; with an organization's name, its form.
pub(crate) async fn list(visit: Visit, Query(place): Query<Place>) -> Response {
    let wanted = place.organization.trim();
    if !wanted.is_empty() {
        return Redirect::to(&address(wanted)).into_response();
    }
    let asked = format!("/v1/organizations{}", query(&[("cursor", &place.cursor)]));
    let found = tokio::try_join!(visit.client.get::<Organizations>(&asked), visit.client.get::<Capacity>("/v1/capacity"));
    let (own, capacity) = match found {
        Ok(found) => found,
        Err(refusal) => return refused_to(&visit, &refusal, "/portal/"),
    };
    let page = LimitsPage {
        frame: Frame::new(&visit, "limits", "Limits").live("/portal/live"),
        usual: words(&capacity.limits.organization),
        places: capacity.places,
        can_change: visit.is_admin(),
        first: if place.cursor.is_empty() { String::new() } else { LIST.to_owned() },
        next: own.next_cursor.as_ref().map(|cursor| format!("{LIST}{}", query(&[("cursor", cursor)]))).unwrap_or_default(),
        rows: rows(&visit, own.organizations, capacity.organizations, place.cursor.is_empty()),
    };
    page_of(&visit, StatusCode::OK, &page)
}

fn address(organization: &str) -> String {
    format!("{LIST}/{}", segment(organization))
}

fn default_of(organization: &str) -> String {
    format!("{}/default", address(organization))
}

/// Those with limits of their own, and on the first page those that have bots without any.
fn rows(visit: &Visit, own: Vec<Limits>, uses: Vec<Use>, is_first: bool) -> Vec<Row> {
    let mut used: BTreeMap<String, Use> = uses.into_iter().map(|one| (one.organization.clone(), one)).collect();
    let mut rows: Vec<Row> = own.into_iter().map(|limits| row(visit, used.remove(&limits.organization), limits)).collect();
    if is_first {
        rows.extend(used.into_values().filter(|one| !one.organization.is_empty()).map(|one| {
            let limits = Limits { organization: one.organization.clone(), ..one.limits.clone() };
            row(visit, Some(one), limits)
        }));
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

fn row(visit: &Visit, used: Option<Use>, limits: Limits) -> Row {
    let used = used.unwrap_or_default();
    let of = |count: u64, most: Option<u64>| most.map_or_else(|| count.to_string(), |most| format!("{count} of {most}"));
    Row {
        address: address(&limits.organization),
        at_once: of(used.active, limits.max_active_bots),
        // Counted where there is a limit alone.
        a_day: limits.max_bots_per_day.map_or_else(|| "no limit".to_owned(), |most| of(used.begun_today, Some(most))),
        waiting: used.waiting,
        next_day: used.next_day_at.map(|at| visit.zone.minute(at)),
        set: limits.updated_at.map(|at| visit.zone.minute(at)),
        set_by: limits.updated_by.unwrap_or_default(),
        zone: limits.time_zone,
        is_own: limits.is_own,
        name: limits.organization,
    }
}

/// Limits in words.
fn words(limits: &Limits) -> String {
    let most = |number: Option<u64>| number.map_or_else(|| "any number".to_owned(), |number| number.to_string());
    let zone = if limits.time_zone.is_empty() { "UTC" } else { &limits.time_zone };
    format!("{} at once, {} a day ({zone})", most(limits.max_active_bots), most(limits.max_bots_per_day))
}

#[derive(Template)]
#[template(path = "limit.html")]
struct LimitPage {
    frame: Frame,
    organization: String,
    values: Fields,
    errors: BTreeMap<&'static str, String>,
    others: Vec<String>,
    /// As they are, in words.
    present: String,
    /// As they would be; empty while they are being chosen.
    wanted: String,
    consequence: &'static str,
    /// Where its own limits are taken back; empty where it has none.
    way_back: String,
}

impl LimitPage {
    fn value(&self, name: &str) -> &str {
        self.values.get(name)
    }

    fn error(&self, name: &str) -> &str {
        self.errors.get(name).map(String::as_str).unwrap_or_default()
    }

    fn zones(&self) -> impl Iterator<Item = &'static str> + use<> {
        Zone::names()
    }

    fn new(visit: &Visit, present: &Limits, values: Fields) -> Self {
        let organization = present.organization.clone();
        Self {
            frame: Frame::new(visit, "limits", format!("Limits of {organization}")),
            organization,
            values,
            errors: BTreeMap::new(),
            others: Vec::new(),
            present: words(present),
            wanted: String::new(),
            consequence: "",
            way_back: if present.is_own { default_of(&present.organization) } else { String::new() },
        }
    }

    /// Puts each reason beside its field.
    fn refuse(mut self, visit: &Visit, reasons: Vec<String>) -> Response {
        for reason in reasons {
            match NAMED.iter().find(|name| reason.starts_with(**name)) {
                Some(name) => drop(self.errors.insert(name, reason[name.len()..].trim().to_owned())),
                None => self.others.push(reason),
            }
        }
        self.frame.title = format!("Error: {}", self.frame.title);
        page_of(visit, StatusCode::UNPROCESSABLE_ENTITY, &self)
    }
}

async fn present(visit: &Visit, organization: &str) -> Result<Limits, Refusal> {
    if !visit.is_admin() {
        let detail = format!("It needs the role admin, and this key is a {}.", visit.me.role);
        return Err(Refusal::of(StatusCode::FORBIDDEN, "This key may not do that", &detail));
    }
    visit.client.get(&path(organization)).await
}

fn path(organization: &str) -> String {
    format!("/v1/organizations/{}/limits", segment(organization))
}

/// The form, with the limits as they are.
pub(crate) async fn ask(visit: Visit, Path(organization): Path<String>) -> Response {
    let limits = match present(&visit, &organization).await {
        Ok(limits) => limits,
        Err(refusal) => return refused_to(&visit, &refusal, LIST),
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut values = Fields::default();
    values.set("time_zone", limits.time_zone.clone());
    values.set("max_active_bots", number(limits.max_active_bots));
    values.set("max_bots_per_day", number(limits.max_bots_per_day));
    values.set("etag", limits.etag.clone());
    page_of(&visit, StatusCode::OK, &LimitPage::new(&visit, &limits, values))
}

/// What a form asks for, or each reason against it.
fn read(fields: &Fields) -> Result<Limits, Vec<String>> {
    let mut reasons = Vec::new();
    let mut number = |name: &str| match fields.get(name) {
        "" => None,
        text => {
            text.parse::<u32>().map_err(|_| reasons.push(format!("{name} wants a whole number, or nothing for no limit"))).ok()
        }
    };
    let (at_once, a_day) = (number("max_active_bots"), number("max_bots_per_day"));
    let zone = fields.get("time_zone");
    if !zone.is_empty() && Zone::named(zone).is_none() {
        reasons.push("time_zone wants a name of the list, such as Europe/Zurich".into());
    }
    let limits = Limits {
        time_zone: zone.to_owned(),
        max_active_bots: at_once.map(u64::from),
        max_bots_per_day: a_day.map(u64::from),
        ..Limits::default()
    };
    if reasons.is_empty() { Ok(limits) } else { Err(reasons) }
}

fn body(limits: &Limits) -> Value {
    let zone = Some(&limits.time_zone).filter(|zone| !zone.is_empty());
    json!({"time_zone": zone, "max_active_bots": limits.max_active_bots, "max_bots_per_day": limits.max_bots_per_day})
}

fn consequence(limits: &Limits) -> &'static str {
    if limits.max_active_bots == Some(0) || limits.max_bots_per_day == Some(0) {
        "No bot is sent for this organization any more: its meetings wait, and are missed. Bots that run go on to their ends."
    } else {
        "It holds for bots that are not sent yet, within half a minute. Bots that run go on to their ends, even above it."
    }
}

/// Asks once more, and then sets them, on the version that the form was drawn from.
pub(crate) async fn change(Path(organization): Path<String>, Posted { visit, fields }: Posted) -> Response {
    let now = match present(&visit, &organization).await {
        Ok(limits) => limits,
        Err(refusal) => return refused_to(&visit, &refusal, LIST),
    };
    let wanted = match read(&fields) {
        Ok(wanted) => wanted,
        Err(reasons) => return LimitPage::new(&visit, &now, fields).refuse(&visit, reasons),
    };
    if fields.get("sure") != "yes" {
        let (words, consequence) = (words(&wanted), consequence(&wanted));
        let page = LimitPage { wanted: words, consequence, ..LimitPage::new(&visit, &now, fields) };
        return page_of(&visit, StatusCode::OK, &page);
    }
    match visit.client.put(&path(&organization), fields.once(), fields.get("etag"), body(&wanted)).await {
        Ok(_) => done(LIST, "limits"),
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY => {
            let reasons = if refusal.errors.is_empty() { vec![refusal.detail] } else { refusal.errors };
            LimitPage::new(&visit, &now, fields).refuse(&visit, reasons)
        }
        Err(refusal) => refused_to(&visit, &refusal, &address(&organization)),
    }
}

/// "Back to the default?"
pub(crate) async fn ask_default(visit: Visit, Path(organization): Path<String>) -> Response {
    let found = async { Ok((present(&visit, &organization).await?, visit.client.get::<Capacity>("/v1/capacity").await?)) };
    let (own, capacity) = match found.await {
        Ok(found) => found,
        Err(refusal) => return refused_to(&visit, &refusal, LIST),
    };
    let usual = words(&capacity.limits.organization);
    let text = format!("Take {} from {organization}, and go back to the default: {usual}?", words(&own));
    let consequence = if own.is_own {
        "It holds for bots that are not sent yet, within half a minute. Bots that run go on to their ends, even above it."
    } else {
        "It has no limits of its own; nothing will happen."
    };
    let question = Question { verb: "Back to the default", text, consequence };
    let page = asked(&visit, "limits", question, address(&organization));
    page_of(&visit, StatusCode::OK, &page.on(own.etag))
}

/// Goes back, if the limits are still those that were shown.
pub(crate) async fn to_default(Path(organization): Path<String>, Posted { visit, fields }: Posted) -> Response {
    match visit.client.delete(&path(&organization), fields.once(), fields.get("etag")).await {
        Ok(_) => done(LIST, "defaults"),
        Err(refusal) => refused_to(&visit, &refusal, &address(&organization)),
    }
}
