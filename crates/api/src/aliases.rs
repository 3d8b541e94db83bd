//! The names that the seeds use, over the same verbs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Operator, Viewer, Who};
use crate::bots::ask_to_leave;
use crate::input::{Body, IfMatch};
use crate::meetings::cancel_meeting;
use crate::problem::Problem;
use crate::schedule::{NewMeeting, ScheduleResult, schedule};
use crate::state::Api;
use crate::view::{BotView, MeetingView, OutcomeView};

/// Details of a call. Each field goes by several names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BotCall {
    /// The call's address (also `url`, `meetingUrl`).
    #[serde(alias = "url", alias = "meetingUrl")]
    meeting_url: String,
    /// When it starts (also `time`, `startTime`); absent is now.
    #[serde(default, alias = "time", alias = "startTime")]
    start_time: Option<DateTime<Utc>>,
    /// When it ends (also `endTime`).
    #[serde(default, alias = "endTime")]
    end_time: Option<DateTime<Utc>>,
    /// Name shown in the call (also `botName`, `botDisplayName`, `name`).
    #[serde(default, alias = "botName", alias = "botDisplayName", alias = "name")]
    bot_name: Option<String>,
    /// The tenant; absent is the key's own.
    #[serde(default)]
    organization: Option<String>,
}

/// How a bot's assignment stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Assignment {
    /// `scheduled`, `queued` or `already_there`.
    result: Option<ScheduleResult>,
    /// For `/meetings/{id}/status` and `/meetings/{id}/leave`.
    meeting_id: Option<String>,
    /// The bot, once there is one.
    bot_id: Option<String>,
    /// How far it is: `scheduled` before there is a bot, else its phase.
    status: String,
    /// How it ended.
    outcome: Option<OutcomeView>,
}

impl Assignment {
    fn of(result: Option<ScheduleResult>, meeting: Option<MeetingView>, bot: Option<BotView>) -> Self {
        let told = meeting.as_ref().and_then(|meeting| meeting.bot_status.clone());
        let outcome = meeting.as_ref().and_then(|meeting| meeting.outcome.clone());
        Self {
            result,
            bot_id: bot.as_ref().map(|bot| bot.id.clone()),
            status: bot.as_ref().map(|bot| bot.phase.to_string()).or(told).unwrap_or_else(|| "scheduled".into()),
            outcome: bot.and_then(|bot| bot.outcome).or(outcome),
            meeting_id: meeting.map(|meeting| meeting.id),
        }
    }
}

/// Ask for a bot
#[utoipa::path(post, path = "/botcall", tag = "aliases", request_body = BotCall, responses(
    (status = 201, body = Assignment, description = "Scheduled"), (status = 200, body = Assignment, description = "Already there")))]
pub(crate) async fn botcall(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Body(call): Body<BotCall>,
) -> Result<Response, Problem> {
    assign(&api, &who, call).await
}

/// Join a meeting
#[utoipa::path(post, path = "/meetings/join", tag = "aliases", request_body = BotCall, responses(
    (status = 201, body = Assignment, description = "Scheduled"), (status = 200, body = Assignment, description = "Already there")))]
pub(crate) async fn join(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Body(call): Body<BotCall>,
) -> Result<Response, Problem> {
    assign(&api, &who, call).await
}

async fn assign(api: &Api, who: &Who, call: BotCall) -> Result<Response, Problem> {
    let BotCall { meeting_url, start_time, end_time, bot_name, organization } = call;
    let (title, gcs_path, user, priority) = (None, None, None, None);
    let (queue_timeout_seconds, wait) = (None, None);
    let new = NewMeeting {
        meeting_url,
        start_time,
        end_time,
        title,
        bot_name,
        gcs_path,
        organization,
        user,
        priority,
        queue_timeout_seconds,
        wait,
    };
    let scheduled = schedule(api, who, new).await?;
    let status = if scheduled.result == ScheduleResult::AlreadyThere { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Assignment::of(Some(scheduled.result), scheduled.meeting, scheduled.bot))).into_response())
}

/// Read how far a meeting's bot is
#[utoipa::path(get, path = "/meetings/{id}/status", tag = "aliases", params(("id" = String, Path, description = "The meeting")),
    responses((status = 200, body = Assignment, description = "At this moment")))]
pub(crate) async fn status(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Assignment>, Problem> {
    let (_, record) = api.meeting(&who.principal.scope, &id).await?;
    let bot = api.bot_of(&record.fields).await?.map(|bot| BotView::of(&api, &bot));
    Ok(Json(Assignment::of(None, Some(MeetingView::of(&api, &record)), bot)))
}

/// Have a meeting's bot leave
///
/// Before there is a bot, the meeting is cancelled.
#[utoipa::path(post, path = "/meetings/{id}/leave", tag = "aliases", params(("id" = String, Path, description = "The meeting")),
    responses((status = 202, body = Assignment, description = "Asked"), (status = 200, body = Assignment, description = "Over")))]
pub(crate) async fn leave(
    State(api): State<Arc<Api>>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, record) = api.meeting(&who.principal.scope, &id).await?;
    let Some(bot) = api.bot_of(&record.fields).await? else {
        let meeting = cancel_meeting(&api, &who, &id, &IfMatch::Any).await?;
        return Ok(Json(Assignment { status: "cancelled".into(), ..Assignment::of(None, Some(meeting), None) }).into_response());
    };
    let bot = ask_to_leave(&api, &who, bot.instance.id.as_str()).await?;
    let (_, record) = api.meeting(&who.principal.scope, &id).await?;
    let status = if bot.phase.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(Assignment::of(None, Some(MeetingView::of(&api, &record)), Some(bot)))).into_response())
}
