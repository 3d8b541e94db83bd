//! The list of bots, and how a bot stands in any list.

use askama::Template;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use chrono::TimeDelta;
use serde::Deserialize;

use crate::client::{Refusal, query};
use crate::page::{Frame, refused_to, show};
use crate::shapes::{Bot, Bots};
use crate::visit::Visit;
use crate::words;
use crate::zone::{Stamp, Zone, length, size};

/// Bots of one page.
const PAGE: &str = "50";

/// A bot as a row.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) platform: String,
    pub(crate) organization: String,
    pub(crate) phase: String,
    pub(crate) tone: &'static str,
    pub(crate) is_leaving: bool,
    /// When it was queued, or is to start.
    pub(crate) at: Option<Stamp>,
    /// How it ended, if it did.
    pub(crate) outcome: String,
    /// Since when the recording runs, in the attribute's form.
    pub(crate) since: String,
    /// Length of the recording.
    pub(crate) length: String,
    pub(crate) size: String,
    pub(crate) place: String,
    pub(crate) estimate: Option<Stamp>,
}

impl Row {
    pub(crate) fn of(bot: &Bot, title: String, zone: &Zone) -> Self {
        let recording = bot.recording.as_ref();
        let recorded = recording.and_then(|recording| recording.started_at.zip(recording.ended_at));
        let is_recording = bot.phase == "recording";
        let since = recording.filter(|_| is_recording).and_then(|recording| recording.started_at);
        let until = since.map(|from| (from, zone.now())).or(recorded);
        let place = bot.queue.as_ref();
        Self {
            id: bot.id.clone(),
            title,
            platform: words::platform(&bot.platform),
            organization: bot.organization.clone(),
            phase: words::phase(&bot.phase).to_owned(),
            tone: words::tone(&bot.phase),
            is_leaving: bot.cancel_requested_at.is_some() && !words::is_over(&bot.phase),
            at: bot.start_time.or(bot.created_at).map(|at| zone.minute(at)),
            outcome: bot.outcome.as_ref().map(|outcome| words::plain(&outcome.kind)).unwrap_or_default(),
            since: since.map(|at| at.to_rfc3339()).unwrap_or_default(),
            length: until.map(|(from, to)| length((to - from).as_seconds_f64())).unwrap_or_default(),
            size: recording.filter(|recording| recording.bytes > 0).map(|recording| size(recording.bytes)).unwrap_or_default(),
            place: place.and_then(|place| place.place).map(|place| place.to_string()).unwrap_or_default(),
            estimate: place.and_then(|place| place.estimated_start_at).map(|at| zone.minute(at)),
        }
    }
}

/// Rows of bots, with their titles.
pub(crate) async fn rows(visit: &Visit, bots: &[Bot]) -> Vec<Row> {
    let titles = visit.portal.titles.of(&visit.client, bots).await;
    bots.iter().zip(titles).map(|(bot, title)| Row::of(bot, title, &visit.zone)).collect()
}

/// What to list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    phase: String,
    outcome: String,
    platform: String,
    organization: String,
    days: String,
    cursor: String,
}

struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

fn choices(chosen: &str, values: impl IntoIterator<Item = (String, String)>) -> Vec<Choice> {
    let of = |(value, label): (String, String)| Choice { is_chosen: value == chosen, value, label };
    values.into_iter().map(of).collect()
}

#[derive(Template)]
#[template(path = "bots.html")]
struct BotsPage {
    frame: Frame,
    rows: Vec<Row>,
    phases: Vec<Choice>,
    outcomes: Vec<Choice>,
    platforms: Vec<Choice>,
    days: Vec<Choice>,
    organization: String,
    is_filtered: bool,
    first: String,
    next: String,
}

/// The page.
pub(crate) async fn list(visit: Visit, Query(filter): Query<Filter>) -> Response {
    match page(&visit, &filter).await {
        Ok(page) => show(&visit, StatusCode::OK, &page),
        Err(refusal) => refused_to(&visit, &refusal, "/portal/bots"),
    }
}

async fn page(visit: &Visit, filter: &Filter) -> Result<BotsPage, Refusal> {
    let days = filter.days.parse::<i64>().ok().filter(|days| (1..=3_650).contains(days));
    let from = days.map(|days| (visit.zone.now() - TimeDelta::days(days)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    let asked = query(&[
        ("limit", PAGE),
        ("phase", &filter.phase),
        ("outcome", &filter.outcome),
        ("platform", &filter.platform),
        ("organization", &filter.organization),
        ("from", &from.unwrap_or_default()),
        ("cursor", &filter.cursor),
    ]);
    let page: Bots = visit.client.get(&format!("/v1/bots{asked}")).await?;
    let address = |cursor: &str| {
        let pairs = [
            ("phase", filter.phase.as_str()),
            ("outcome", &filter.outcome),
            ("platform", &filter.platform),
            ("organization", &filter.organization),
            ("days", &filter.days),
            ("cursor", cursor),
        ];
        format!("/portal/bots{}", query(&pairs))
    };
    let phases = Phase::ALL.iter().map(|one| (one.as_str().to_owned(), words::phase(one.as_str()).to_owned()));
    let outcomes = OutcomeKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), words::plain(kind.as_str())));
    let platforms = ["meet", "teams", "zoom"].map(|name| (name.to_owned(), words::platform(name)));
    let spans = [("1", "Last 24 hours"), ("7", "Last 7 days"), ("30", "Last 30 days")];
    Ok(BotsPage {
        frame: Frame::new(visit, "bots", "Bots").live("/portal/live"),
        rows: rows(visit, &page.bots).await,
        phases: choices(&filter.phase, phases),
        outcomes: choices(&filter.outcome, outcomes),
        platforms: choices(&filter.platform, platforms),
        days: choices(&filter.days, spans.map(|(value, label)| (value.to_owned(), label.to_owned()))),
        organization: filter.organization.clone(),
        is_filtered: address("") != "/portal/bots",
        first: if filter.cursor.is_empty() { String::new() } else { address("") },
        next: page.next_cursor.map(|cursor| address(&cursor)).unwrap_or_default(),
    })
}
