//! Bots: list, read, timeline; leave, retry, priority.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bot_model::document::{Fields, Meeting, TimelineEvent};
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_model::schedule::Due;
use bot_store::listing::{ListField, Listed, Listing};
use bot_store::protocol::prioritize::{Prioritized, prioritize};
use bot_store::protocol::{Advanced, InstanceRecord, Note, cancel};
use bot_store::{Commit, DocumentKey, Write, clock};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Operator, Viewer, Who};
use crate::audit::{self, Entry};
use crate::input::{Body, IfMatch, Params, cursor, etag, limit, next_cursor, of_list};
use crate::meetings::TRIES;
use crate::problem::{Kind, Problem, invalid};
use crate::schedule::{self, Scheduled};
use crate::state::Api;
use crate::view::BotView;

/// Filters of a list of bots.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BotFilter {
    /// Of this organization alone.
    organization: Option<String>,
    /// `queued`, `processing`, `done` or `failed`, by the configured names.
    status: Option<String>,
    /// In this phase alone.
    phase: Option<String>,
    /// On this platform alone.
    platform: Option<String>,
    /// With this kind of outcome alone, such as `lobby_timeout`.
    outcome: Option<String>,
    /// Queued at this instant or later.
    from: Option<DateTime<Utc>>,
    /// Queued before this instant.
    before: Option<DateTime<Utc>>,
    /// 1 to 200; 50 if absent.
    limit: Option<usize>,
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// A page of bots, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BotPage {
    bots: Vec<BotView>,
    /// For the next page; absent after the last.
    next_cursor: Option<String>,
}

/// List bots
///
/// The newest first. A document that a backend queued itself without `created_at` comes in once it is claimed.
#[utoipa::path(get, path = "/v1/bots", tag = "bots", params(BotFilter), responses((status = 200, body = BotPage, description = "A page")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Params(filter): Params<BotFilter>,
) -> Result<Json<BotPage>, Problem> {
    let mut listing = Listing { from: filter.from, before: filter.before, ..Listing::newest(Listed::Instances) };
    if let Some(organizations) = who.principal.organizations(filter.organization.as_deref())? {
        listing = listing.with(ListField::Organization, organizations);
    }
    let known = |name: &str, value: &Option<String>, is_known: bool| match value {
        Some(_) if !is_known => Err(Problem::new(Kind::BadParameter, format!("{name} has no such value"))),
        _ => Ok(()),
    };
    known("phase", &filter.phase, filter.phase.as_deref().is_some_and(|name| Phase::from_name(name).is_some()))?;
    let is_kind = |name: &str| OutcomeKind::ALL.iter().any(|kind| kind.as_str() == name);
    known("outcome", &filter.outcome, filter.outcome.as_deref().is_some_and(is_kind))?;
    let filters = [
        (ListField::Status, filter.status),
        (ListField::Phase, filter.phase),
        (ListField::Platform, filter.platform),
        (ListField::Outcome, filter.outcome),
    ];
    for (field, value) in filters {
        listing = value.into_iter().fold(listing, |listing, value| listing.with(field, vec![value]));
    }
    let cursor = cursor(filter.cursor.as_deref())?;
    let page = api.store().list(&listing, cursor.as_deref(), limit(filter.limit)?).await.map_err(of_list)?;
    let naming = api.store().naming();
    let readable = page.records.iter().filter_map(|record| InstanceRecord::from_record(record, naming).ok());
    let bots = api.with_places(readable.map(|record| BotView::of(&api, &record)).collect()).await?;
    Ok(Json(BotPage { bots, next_cursor: next_cursor(page.next) }))
}

fn tagged(status: StatusCode, view: BotView) -> Response {
    (status, [(header::ETAG, view.etag.clone())], Json(view)).into_response()
}

/// Read a bot
#[utoipa::path(get, path = "/v1/bots/{id}", tag = "bots", params(("id" = String, Path, description = "The bot")),
    responses((status = 200, body = BotView, description = "The bot", headers(("ETag" = String)))))]
pub(crate) async fn read(State(api): State<Arc<Api>>, Viewer(who): Viewer, Path(id): Path<String>) -> Result<Response, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?;
    Ok(tagged(StatusCode::OK, api.with_place(BotView::of(&api, &bot)).await?))
}

/// One line of a bot's timeline.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEvent)]
pub(crate) struct EventView {
    /// Sorts by time.
    id: String,
    /// When.
    occurred_at: DateTime<Utc>,
    /// Phase after the change.
    #[schema(value_type = String)]
    phase: Phase,
    /// What happened.
    event: String,
    /// `controller`, `manager`, `cli` or `api`.
    actor: String,
    /// The attempt that it belongs to.
    attempt: u32,
    /// For a person.
    detail: String,
}

/// The timeline of a bot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineAnswer {
    bot_id: String,
    events: Vec<EventView>,
}

/// Read a bot's timeline
#[utoipa::path(get, path = "/v1/bots/{id}/timeline", tag = "bots", params(("id" = String, Path, description = "The bot")),
    responses((status = 200, body = TimelineAnswer, description = "In order of time")))]
pub(crate) async fn timeline(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<TimelineAnswer>, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?;
    let records = api.store().events(&bot.instance.id).await?;
    let events = records.into_iter().filter_map(|record| {
        let DocumentKey::Event(_, id) = record.key else { return None };
        let event: TimelineEvent = serde_json::from_value(record.fields.into()).ok()?;
        let TimelineEvent { occurred_at, phase, event, actor, attempt, detail, .. } = event;
        Some(EventView { id, occurred_at, phase, event, actor, attempt, detail })
    });
    Ok(Json(TimelineAnswer { bot_id: bot.instance.id.to_string(), events: events.collect() }))
}

/// Ask a bot to leave
///
/// 202: it was asked, and leaves by itself within seconds; what it recorded becomes files. 200: it has ended already, or had not started.
#[utoipa::path(post, path = "/v1/bots/{id}/leave", tag = "bots", params(("id" = String, Path, description = "The bot")),
    responses((status = 202, body = BotView, description = "Asked"), (status = 200, body = BotView, description = "Ended")))]
pub(crate) async fn leave(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let view = ask_to_leave(&api, &who, &id).await?;
    Ok(tagged(if view.phase.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED }, view))
}

pub(crate) async fn ask_to_leave(api: &Api, who: &Who, id: &str) -> Result<BotView, Problem> {
    let mut bot = api.bot(&who.principal.scope, id).await?;
    if bot.instance.phase.is_terminal() {
        return Ok(BotView::of(api, &bot));
    }
    noted(api, who, "bot.leave", &bot).await?;
    for _ in 0..TRIES {
        let note = Note::new("api", "leave_requested").detail(format!("by key {}", who.principal.id));
        match cancel::cancel(api.store(), &bot, note, clock::now()).await? {
            Advanced::Applied(after) => return Ok(BotView::of(api, &after)),
            Advanced::Conflict => bot = api.bot(&who.principal.scope, id).await?,
            Advanced::Illegal(illegal) => return Err(Problem::new(Kind::Conflict, illegal)),
        }
    }
    Err(Problem::new(Kind::Unavailable, "the bot kept changing; try again"))
}

async fn noted(api: &Api, who: &Who, action: &'static str, bot: &InstanceRecord) -> Result<(), Problem> {
    let organization = &bot.instance.facts.creator_organization_id;
    let entry = Entry { action, target: bot.instance.id.as_str(), organization, request_id: &who.request_id };
    Ok(audit::note(api.store(), &who.principal, &entry).await?)
}

/// Send another bot
///
/// For a bot that has ended: its meetings are armed again, with now as their start where it has passed. 409 while it lives, and where the
/// meeting's end has passed.
#[utoipa::path(post, path = "/v1/bots/{id}/retry", tag = "bots", params(("id" = String, Path, description = "The bot")),
    responses((status = 201, body = Scheduled, description = "The meeting, with its next bot")))]
pub(crate) async fn retry(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?;
    if !bot.instance.phase.is_terminal() {
        let detail = format!("it is {}: ask it to leave first", bot.instance.phase);
        return Err(Problem::new(Kind::Conflict, detail));
    }
    noted(&api, &who, "bot.retry", &bot).await?;
    let now = clock::now();
    let mut armed = None;
    for linked in &bot.instance.facts.linked_meetings {
        // Every meeting that still waits for this bot; the engine links the later ones to the first one's bot.
        let Some(record) = api.store().read(&DocumentKey::Meeting(linked.path.clone())).await? else { continue };
        if Meeting::link(&record.fields, api.store().naming()).is_some_and(|id| id != bot.instance.id) {
            continue;
        }
        let fields = armed_again(&api, &record, now)?;
        let written = api.store().commit(vec![Write::update(record.key.clone(), record.version.clone(), fields)]).await?;
        if written == Commit::Conflict {
            return Err(Problem::new(Kind::Conflict, "its meeting changed in this moment; try again"));
        }
        armed = armed.or(Some(record.key));
    }
    let Some(key) = armed else {
        return Err(Problem::new(Kind::Conflict, "no meeting waits for this bot: it was deleted, or has another bot already"));
    };
    let record = api.store().read(&key).await?.ok_or_else(|| Problem::not_found("meeting"))?;
    let scheduled = schedule::with_bot(&api, record, now).await?;
    Ok((StatusCode::CREATED, Json(scheduled)).into_response())
}

/// The fields that ask for another bot.
fn armed_again(api: &Api, record: &bot_store::Record, now: DateTime<Utc>) -> Result<Fields, Problem> {
    let naming = api.store().naming();
    let DocumentKey::Meeting(path) = &record.key else { return Err(Problem::not_found("meeting")) };
    let meeting = Meeting::decode(path, &record.fields, naming)
        .map_err(|problem| Problem::new(Kind::Conflict, format!("its meeting is unusable: {problem}")))?;
    if meeting.end_time.is_some_and(|end| end <= now) {
        return Err(Problem::new(Kind::Conflict, "the meeting's end has passed: schedule a new one"));
    }
    let mut fields = Fields::new();
    fields.insert(naming.meeting_bot_instance_field.clone(), Value::Null);
    for name in ["bot_status", "bot_outcome", "recording_files"] {
        fields.insert(name.into(), Value::Null);
    }
    if !naming.meeting_status_values.contains(&meeting.status) {
        fields.insert(naming.meeting_status_field.clone(), json!(naming.meeting_status_values.first()));
    }
    if api.settings.window.due(meeting.start_time, meeting.end_time, now) == Due::Missed {
        fields.insert("start_time".into(), json!(now.to_rfc3339_opts(SecondsFormat::Secs, true)));
    }
    Ok(fields)
}

/// A change of a bot.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BotChange {
    /// Higher first, -1000 to 1000.
    priority: i64,
}

/// Change a queued bot's priority
///
/// 409 once it is past the queue. `If-Match` is honoured where it is sent.
#[utoipa::path(patch, path = "/v1/bots/{id}", tag = "bots", request_body = BotChange, params(("id" = String, Path, description = "The bot")),
    responses((status = 200, body = BotView, description = "As it is now", headers(("ETag" = String)))))]
pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<BotChange>,
) -> Result<Response, Problem> {
    let wanted = IfMatch::of(&headers)?;
    if let Some(reason) = schedule::reason_of_priority(Some(change.priority)) {
        return Err(invalid(vec![reason]));
    }
    let mut bot = api.bot(&who.principal.scope, &id).await?;
    let too_late = |phase: Phase| Problem::new(Kind::Conflict, format!("it is {phase}, past the queue"));
    if bot.instance.phase != Phase::Queued {
        return Err(too_late(bot.instance.phase));
    }
    noted(&api, &who, "bot.prioritize", &bot).await?;
    for _ in 0..TRIES {
        if !wanted.admits(&bot.version) {
            let detail = "the bot is not what you read, its timeline says what happened; read it again";
            return Err(Problem::new(Kind::Changed, detail).with("current_etag", etag(&bot.version)));
        }
        let note = Note::new("api", "priority_changed").detail(format!("to {} by key {}", change.priority, who.principal.id));
        match prioritize(api.store(), &bot, change.priority, note, clock::now()).await? {
            Prioritized::Applied(after) => return Ok(tagged(StatusCode::OK, BotView::of(&api, &after))),
            Prioritized::Conflict => bot = api.bot(&who.principal.scope, &id).await?,
            Prioritized::TooLate(phase) => return Err(too_late(phase)),
        }
    }
    Err(Problem::new(Kind::Unavailable, "the bot kept changing; try again"))
}
