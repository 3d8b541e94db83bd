//! Leave, retry, priority, cancel: each is asked for once more on a page that says what will happen.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::client::{Refusal, segment};
use crate::meetings::title;
use crate::page::{Frame, refused_to, show};
use crate::shapes::{Bot, Meeting, Scheduled};
use crate::visit::{Posted, Visit, done};
use crate::words;

#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct ConfirmPage {
    frame: Frame,
    question: String,
    consequence: &'static str,
    /// The word on the button.
    verb: &'static str,
    pub(crate) is_grave: bool,
    back: String,
    etag: String,
    /// The present value of what is changed.
    priority: Option<String>,
    error: String,
}

impl ConfirmPage {
    /// Of what was read under this tag.
    pub(crate) fn on(self, etag: String) -> Self {
        Self { etag, ..self }
    }
}

fn bot_path(id: &str) -> String {
    format!("/v1/bots/{}", segment(id))
}

fn bot_page(id: &str) -> String {
    format!("/portal/bots/{}", segment(id))
}

async fn bot_and_title(visit: &Visit, id: &str) -> Result<(Bot, String), Refusal> {
    visit.needs_operator()?;
    let bot: Bot = visit.client.get(&bot_path(id)).await?;
    let titles = visit.portal.titles.of(&visit.client, std::slice::from_ref(&bot)).await;
    Ok((bot, titles.into_iter().next().unwrap_or_default()))
}

/// What is asked, what happens then, and the word on the button.
pub(crate) struct Question {
    pub(crate) verb: &'static str,
    pub(crate) text: String,
    pub(crate) consequence: &'static str,
}

/// The page of a question.
pub(crate) fn asked(visit: &Visit, section: &'static str, question: Question, back: String) -> ConfirmPage {
    let Question { verb, text, consequence } = question;
    let frame = Frame::new(visit, section, text.clone());
    let (etag, error) = (String::new(), String::new());
    ConfirmPage { frame, question: text, consequence, verb, is_grave: true, back, etag, priority: None, error }
}

/// "Leave the call?"
pub(crate) async fn ask_leave(visit: Visit, Path(id): Path<String>) -> Response {
    let (bot, title) = match bot_and_title(&visit, &id).await {
        Ok(found) => found,
        Err(refusal) => return refused_to(&visit, &refusal, &bot_page(&id)),
    };
    let consequence = match bot.phase.as_str() {
        "recording" => {
            "The bot leaves the call within seconds. What it has recorded becomes files. It does not come back by itself."
        }
        "finalizing" => "The bot is out of the call already, and the files are being made.",
        phase if words::is_over(phase) => "It has ended already; nothing will happen.",
        _ => "The bot does not join, or gives up waiting. Nothing will be recorded.",
    };
    let page = asked(
        &visit,
        "bots",
        Question { verb: "Leave", text: format!("Have the bot leave {title}?"), consequence },
        bot_page(&id),
    );
    show(&visit, StatusCode::OK, &page)
}

/// Has it leave.
pub(crate) async fn leave(Path(id): Path<String>, Posted { visit, fields }: Posted) -> Response {
    match visit.client.post(&format!("{}/leave", bot_path(&id)), fields.once(), json!({})).await {
        Ok(_) => done(&bot_page(&id), "left"),
        Err(refusal) => refused_to(&visit, &refusal, &bot_page(&id)),
    }
}

/// "Send another bot?"
pub(crate) async fn ask_retry(visit: Visit, Path(id): Path<String>) -> Response {
    let title = match bot_and_title(&visit, &id).await {
        Ok((_, title)) => title,
        Err(refusal) => return refused_to(&visit, &refusal, &bot_page(&id)),
    };
    let consequence = "A new bot goes to the same call now. What the earlier one recorded stays as it is.";
    let page = asked(
        &visit,
        "bots",
        Question { verb: "Send another bot", text: format!("Send another bot to {title}?"), consequence },
        bot_page(&id),
    );
    show(&visit, StatusCode::OK, &ConfirmPage { is_grave: false, ..page })
}

/// Sends another.
pub(crate) async fn retry(Path(id): Path<String>, Posted { visit, fields }: Posted) -> Response {
    match visit.client.post(&format!("{}/retry", bot_path(&id)), fields.once(), json!({})).await {
        Ok(answer) => {
            let scheduled: Scheduled = serde_json::from_value(answer.body).unwrap_or_default();
            let page = scheduled.bot.map_or_else(|| bot_page(&id), |bot| bot_page(&bot.id));
            done(&page, "retried")
        }
        Err(refusal) => refused_to(&visit, &refusal, &bot_page(&id)),
    }
}

fn priority_page(visit: &Visit, bot: &Bot, title: &str, value: String, error: String) -> ConfirmPage {
    let consequence = "A higher number goes first, from -1000 to 1000. It counts while the bot waits in the queue.";
    let page = asked(
        visit,
        "bots",
        Question { verb: "Set priority", text: format!("Priority of {title}"), consequence },
        bot_page(&bot.id),
    );
    ConfirmPage { is_grave: false, priority: Some(value), etag: bot.etag.clone(), error, ..page }
}

/// "Which priority?"
pub(crate) async fn ask_priority(visit: Visit, Path(id): Path<String>) -> Response {
    match bot_and_title(&visit, &id).await {
        Ok((bot, title)) => {
            show(&visit, StatusCode::OK, &priority_page(&visit, &bot, &title, bot.priority.to_string(), String::new()))
        }
        Err(refusal) => refused_to(&visit, &refusal, &bot_page(&id)),
    }
}

/// Sets it, on the version that was shown.
pub(crate) async fn priority(Path(id): Path<String>, Posted { visit, fields }: Posted) -> Response {
    let wanted = fields.get("priority");
    let changed = match wanted.parse::<i64>() {
        Ok(number) => {
            visit.client.patch(&bot_path(&id), fields.once(), fields.get("etag"), json!({"priority": number})).await.map(drop)
        }
        Err(_) => Err(Refusal::of(StatusCode::UNPROCESSABLE_ENTITY, "", "Give a whole number, -1000 to 1000.")),
    };
    match changed {
        Ok(()) => done(&bot_page(&id), "priority"),
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY => match bot_and_title(&visit, &id).await {
            Ok((bot, title)) => show(&visit, refusal.status, &priority_page(&visit, &bot, &title, wanted.into(), refusal.detail)),
            Err(refusal) => refused_to(&visit, &refusal, &bot_page(&id)),
        },
        Err(refusal) => refused_to(&visit, &refusal, &bot_page(&id)),
    }
}

fn meeting_page(id: &str) -> String {
    format!("/portal/meetings/{}", segment(id))
}

/// "Cancel the meeting?"
pub(crate) async fn ask_cancel(visit: Visit, Path(id): Path<String>) -> Response {
    let found = match visit.needs_operator() {
        Ok(()) => visit.client.get::<Meeting>(&format!("/v1/meetings/{}", segment(&id))).await,
        Err(refusal) => Err(refusal),
    };
    let meeting = match found {
        Ok(meeting) => meeting,
        Err(refusal) => return refused_to(&visit, &refusal, &meeting_page(&id)),
    };
    let consequence = "Its bot does not join, or leaves; what was recorded until then is kept.";
    let page = asked(
        &visit,
        "meetings",
        Question { verb: "Cancel the meeting", text: format!("Cancel {}?", title(&meeting)), consequence },
        meeting_page(&id),
    );
    show(&visit, StatusCode::OK, &ConfirmPage { etag: meeting.etag, ..page })
}

/// Cancels it, if it is still what was shown.
pub(crate) async fn cancel(Path(id): Path<String>, Posted { visit, fields }: Posted) -> Response {
    let path = format!("/v1/meetings/{}/cancel", segment(&id));
    match visit.client.post_on(&path, fields.once(), fields.get("etag")).await {
        Ok(_) => done(&meeting_page(&id), "cancelled"),
        Err(refusal) => refused_to(&visit, &refusal, &meeting_page(&id)),
    }
}
