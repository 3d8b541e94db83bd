//! Meetings: schedule, list, read, change, cancel.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bot_model::document::{Fields, Meeting};
use bot_model::lifecycle::Phase;
use bot_model::schedule::Due;
use bot_store::listing::{ListField, Listed, Listing};
use bot_store::protocol::InstanceRecord;
use bot_store::{Commit, DocumentKey, Record, Write, clock};
use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Operator, Viewer, Who};
use crate::audit::{self, Entry};
use crate::input::{Body, IfMatch, Params, cursor, limit, next_cursor, of_list, present};
use crate::problem::{Kind, Problem, ProblemDocument, invalid};
use crate::schedule::{self, NewMeeting, ScheduleResult, Scheduled};
use crate::state::{Api, organization};
use crate::view::{MeetingView, text};

/// Meetings of one batch at most.
const MOST_IN_BATCH: usize = 100;
/// Of a batch, so many at once.
const AT_ONCE: usize = 8;
/// A document that keeps changing is tried this often.
pub(crate) const TRIES: u32 = 5;

/// Schedule a meeting
///
/// Answers 201 where it is new, and 200 with `already_there` where this occurrence is scheduled or being recorded. A meeting that is due
/// has its bot queued before this answers.
#[utoipa::path(post, path = "/v1/meetings", tag = "meetings", request_body = NewMeeting, responses(
    (status = 201, body = Scheduled, description = "Scheduled", headers(("Location" = String), ("ETag" = String))),
    (status = 200, body = Scheduled, description = "Already there")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Body(new): Body<NewMeeting>,
) -> Result<Response, Problem> {
    let scheduled = schedule::schedule(&api, &who, new).await?;
    Ok(answer(scheduled))
}

pub(crate) fn answer(scheduled: Scheduled) -> Response {
    let status = match scheduled.result {
        ScheduleResult::AlreadyThere => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    let tags = scheduled.meeting.as_ref().map(|meeting| {
        [(header::LOCATION, format!("/v1/meetings/{}", encoded(&meeting.id))), (header::ETAG, meeting.etag.clone())]
    });
    match tags {
        Some(tags) => (status, tags, Json(scheduled)).into_response(),
        None => (status, Json(scheduled)).into_response(),
    }
}

/// An id as one segment of a path.
fn encoded(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    id.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Several meetings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// 1 to 100, each judged by itself.
    #[schema(value_type = Vec<NewMeeting>)]
    meetings: Vec<Value>,
}

/// What became of each meeting of a batch, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    results: Vec<BatchResult>,
}

/// What became of one meeting of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    /// The HTTP status that it would have got alone.
    status: u16,
    /// Where it succeeded.
    scheduled: Option<Scheduled>,
    /// Where it failed.
    #[schema(value_type = Option<ProblemDocument>)]
    problem: Option<Value>,
}

/// Schedule up to 100 meetings
///
/// Each is judged by itself: one that is refused holds up no other.
#[utoipa::path(post, path = "/v1/meetings:batch", tag = "meetings", request_body = Batch,
    responses((status = 200, body = BatchAnswer, description = "One result for each")))]
pub(crate) async fn batch(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Body(batch): Body<Batch>,
) -> Result<Json<BatchAnswer>, Problem> {
    if batch.meetings.is_empty() || batch.meetings.len() > MOST_IN_BATCH {
        return Err(Problem::new(Kind::Invalid, format!("a batch has 1 to {MOST_IN_BATCH} meetings")));
    }
    let results =
        stream::iter(batch.meetings.into_iter().map(|new| one_of_batch(&api, &who, new))).buffered(AT_ONCE).collect().await;
    Ok(Json(BatchAnswer { results }))
}

async fn one_of_batch(api: &Api, who: &Who, new: Value) -> BatchResult {
    let new = serde_json::from_value(new).map_err(|error| Problem::new(Kind::Invalid, error));
    let scheduled = match new {
        Ok(new) => schedule::schedule(api, who, new).await,
        Err(problem) => Err(problem),
    };
    match scheduled {
        Ok(scheduled) => {
            let status = if scheduled.result == ScheduleResult::AlreadyThere { 200 } else { 201 };
            BatchResult { status, scheduled: Some(scheduled), problem: None }
        }
        Err(problem) => {
            BatchResult { status: problem.kind.status().as_u16(), scheduled: None, problem: Some(problem.document()) }
        }
    }
}

/// Filters of a list of meetings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeetingFilter {
    /// Of this organization alone.
    organization: Option<String>,
    /// Of this status alone.
    status: Option<String>,
    /// Starting at this instant or later.
    from: Option<DateTime<Utc>>,
    /// Starting before this instant.
    before: Option<DateTime<Utc>>,
    /// 1 to 200; 50 if absent.
    limit: Option<usize>,
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// A page of meetings, the latest start first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeetingPage {
    meetings: Vec<MeetingView>,
    /// For the next page; absent after the last.
    next_cursor: Option<String>,
}

/// List meetings
///
/// The latest start first. A document without a start is in no list; it is read by its id.
#[utoipa::path(get, path = "/v1/meetings", tag = "meetings", params(MeetingFilter),
    responses((status = 200, body = MeetingPage, description = "A page")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Params(filter): Params<MeetingFilter>,
) -> Result<Json<MeetingPage>, Problem> {
    let mut listing = Listing { from: filter.from, before: filter.before, ..Listing::newest(Listed::Meetings) };
    if let Some(organizations) = who.principal.organizations(filter.organization.as_deref())? {
        listing = listing.with(ListField::Organization, organizations);
    }
    if let Some(status) = filter.status {
        listing = listing.with(ListField::Status, vec![status]);
    }
    let cursor = cursor(filter.cursor.as_deref())?;
    let page = api.store().list(&listing, cursor.as_deref(), limit(filter.limit)?).await.map_err(of_list)?;
    let meetings = page.records.iter().map(|record| MeetingView::of(&api, record)).collect();
    let meetings = api.meetings_with_places(meetings).await?;
    Ok(Json(MeetingPage { meetings, next_cursor: next_cursor(page.next) }))
}

/// Read a meeting
#[utoipa::path(get, path = "/v1/meetings/{id}", tag = "meetings", params(("id" = String, Path, description = "The meeting")),
    responses((status = 200, body = MeetingView, description = "The meeting", headers(("ETag" = String)))))]
pub(crate) async fn read(State(api): State<Arc<Api>>, Viewer(who): Viewer, Path(id): Path<String>) -> Result<Response, Problem> {
    let (_, record) = api.meeting(&who.principal.scope, &id).await?;
    let view = MeetingView::of(&api, &record);
    let found = api.meetings_with_places(vec![view.clone()]).await?;
    Ok(tagged(found.into_iter().next().unwrap_or(view)))
}

fn tagged(view: MeetingView) -> Response {
    ([(header::ETAG, view.etag.clone())], Json(view)).into_response()
}

/// Changes of a meeting: an absent field stays, `null` clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeetingChange {
    /// When it starts.
    start_time: Option<DateTime<Utc>>,
    /// When it ends.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    end_time: Option<Option<DateTime<Utc>>>,
    /// The call's address.
    meeting_url: Option<String>,
    /// For people.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    title: Option<Option<String>>,
    /// Name shown in the call.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    bot_name: Option<Option<String>>,
    /// Higher first.
    priority: Option<i64>,
}

/// Change a meeting
///
/// Needs `If-Match` with the `ETag` of what was read; 412 says who was faster. The start can be moved until a bot was sent, everything
/// else until it joins.
#[utoipa::path(patch, path = "/v1/meetings/{id}", tag = "meetings", request_body = MeetingChange,
    params(("id" = String, Path, description = "The meeting"), ("If-Match" = String, Header, description = "ETag of what was read")),
    responses((status = 200, body = MeetingView, description = "As it is now", headers(("ETag" = String)))))]
pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<MeetingChange>,
) -> Result<Response, Problem> {
    let wanted = IfMatch::of(&headers)?;
    if wanted == IfMatch::Absent {
        return Err(Problem::new(Kind::NeedsVersion, "send If-Match with the ETag of the meeting that you read"));
    }
    let (_, record) = api.meeting(&who.principal.scope, &id).await?;
    if !wanted.admits(&record.version) {
        return Err(overtaken(&api, &record));
    }
    let now = clock::now();
    let fields = changed(&api, &record, change, now).await?;
    match update(&api, &who, &record, fields, "meeting.change", now).await? {
        Some(record) => Ok(tagged(MeetingView::of(&api, &record))),
        None => {
            let (_, record) = api.meeting(&who.principal.scope, &id).await?;
            Err(overtaken(&api, &record))
        }
    }
}

/// 412, with who changed it last.
fn overtaken(api: &Api, record: &Record) -> Problem {
    let view = MeetingView::of(api, record);
    let who = match (&view.updated_by, &view.updated_at) {
        (Some(by), Some(at)) => format!("the last change through this API was by key {by:?} at {at}"),
        _ => "it was changed by another program".to_owned(),
    };
    Problem::new(Kind::Changed, format!("the meeting is not what you read: {who}; read it again"))
        .with("current_etag", view.etag)
        .with("updated_by", view.updated_by)
        .with("updated_at", view.updated_at)
}

async fn changed(api: &Api, record: &Record, change: MeetingChange, now: DateTime<Utc>) -> Result<Fields, Problem> {
    let naming = api.store().naming();
    let DocumentKey::Meeting(path) = &record.key else { return Err(Problem::not_found("meeting")) };
    let bot = api.bot_of(&record.fields).await?;
    refuse_late_change(bot.as_ref(), change.start_time.is_some() || change.meeting_url.is_some())?;
    let instant = |at: DateTime<Utc>| json!(at.trunc_subsecs(6).to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let mut fields = Fields::new();
    fields.extend(change.start_time.map(|at| ("start_time".to_owned(), instant(at))));
    fields.extend(change.end_time.map(|at| ("end_time".to_owned(), at.map_or(Value::Null, instant))));
    fields.extend(change.meeting_url.map(|url| ("meeting_url".to_owned(), json!(url.trim()))));
    fields.extend(change.title.as_ref().map(|title| ("title".to_owned(), json!(title))));
    fields.extend(change.bot_name.as_ref().map(|name| ("bot_name".to_owned(), json!(name))));
    fields.extend(change.priority.map(|priority| ("priority".to_owned(), json!(priority))));
    let mut reasons = schedule::reason_of_texts(&[("title", change.title.flatten().as_deref())]);
    reasons.extend(schedule::reason_of_name(change.bot_name.flatten().as_deref()));
    reasons.extend(schedule::reason_of_priority(change.priority));
    let mut after = record.fields.clone();
    after.extend(fields.clone());
    match Meeting::decode(path, &after, naming) {
        Err(problem) => reasons.extend(problem.reasons),
        Ok(after) => {
            if after.end_time.zip(after.start_time).is_some_and(|(end, start)| end <= start) {
                reasons.push("end_time must be after start_time".into());
            } else if bot.is_none() && api.settings.window.due(after.start_time, after.end_time, now) == Due::Missed {
                reasons.push("that time has passed".into());
            }
        }
    }
    if fields.is_empty() {
        reasons.push("the change names no field".into());
    }
    if reasons.is_empty() { Ok(fields) } else { Err(invalid(reasons)) }
}

fn refuse_late_change(bot: Option<&InstanceRecord>, is_move: bool) -> Result<(), Problem> {
    let Some(phase) = bot.map(|bot| bot.instance.phase) else { return Ok(()) };
    let refused = |detail: String| Err(Problem::new(Kind::Conflict, detail));
    match phase {
        Phase::Queued | Phase::Claimed | Phase::Launched if !is_move => Ok(()),
        Phase::Queued | Phase::Claimed | Phase::Launched => {
            refused("its bot was sent already: cancel this meeting and schedule it anew".into())
        }
        phase => refused(format!("its bot is {phase}: nothing can be changed any more")),
    }
}

/// Commits fields and their audit entry on the version that was read; `None` where somebody was faster.
async fn update(
    api: &Api,
    who: &Who,
    record: &Record,
    mut fields: Fields,
    action: &'static str,
    now: DateTime<Utc>,
) -> Result<Option<Record>, Problem> {
    let DocumentKey::Meeting(path) = &record.key else { return Ok(None) };
    fields.insert("updated_at".into(), json!(now));
    fields.insert("updated_by".into(), json!(who.principal.name));
    let (id, organization) = (api.meeting_id(path), organization(&record.fields));
    let entry = Entry { action, target: &id, organization: &organization, request_id: &who.request_id };
    let writes =
        vec![Write::update(record.key.clone(), record.version.clone(), fields), audit::write(&who.principal, &entry, now)];
    match api.store().commit(writes).await? {
        Commit::Applied(_) => Ok(api.store().read(&record.key).await?),
        Commit::Conflict => Ok(None),
    }
}

/// Cancel a meeting
///
/// Its bot does not join, or leaves; what was recorded until then is kept. Cancelling twice is cancelling once.
#[utoipa::path(post, path = "/v1/meetings/{id}/cancel", tag = "meetings", params(("id" = String, Path, description = "The meeting")),
    responses((status = 200, body = MeetingView, description = "As it is now", headers(("ETag" = String)))))]
pub(crate) async fn cancel(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = IfMatch::of(&headers)?;
    cancel_meeting(&api, &who, &id, &wanted).await.map(tagged)
}

pub(crate) async fn cancel_meeting(api: &Api, who: &Who, id: &str, wanted: &IfMatch) -> Result<MeetingView, Problem> {
    let naming = api.store().naming();
    for _ in 0..TRIES {
        let (_, record) = api.meeting(&who.principal.scope, id).await?;
        if !wanted.admits(&record.version) {
            return Err(overtaken(api, &record));
        }
        let status = text(&record.fields, &naming.meeting_status_field).unwrap_or_default();
        if naming.meeting_cancel_values.contains(&status) {
            return Ok(MeetingView::of(api, &record));
        }
        if let Some(bot) = api.bot_of(&record.fields).await?.filter(|bot| bot.instance.phase.is_terminal()) {
            return Err(Problem::new(Kind::Conflict, format!("its bot has ended: {}", bot.instance.phase)));
        }
        let mut fields = Fields::new();
        fields.insert(naming.meeting_status_field.clone(), json!(naming.meeting_cancel_values.first()));
        if let Some(record) = update(api, who, &record, fields, "meeting.cancel", clock::now()).await? {
            return Ok(MeetingView::of(api, &record));
        }
    }
    Err(Problem::new(Kind::Unavailable, "the meeting kept changing; try again"))
}
