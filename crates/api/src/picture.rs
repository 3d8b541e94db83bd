//! The live picture of a bot: the object that its manager replaces every few seconds, while the bot waits or records.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bot_model::lifecycle::Phase;
use bot_model::picture::taken_at;

use crate::access::Viewer;
use crate::problem::{Kind, Problem};
use crate::state::Api;

/// See what the bot sees
///
/// What its page showed at `Last-Modified`, taken every 10 s (`LIVE_PICTURE_SECONDS`) while it waits or records. 404 says why there is none.
#[utoipa::path(get, path = "/v1/bots/{id}/picture", tag = "bots", params(("id" = String, Path, description = "The bot")),
    responses((status = 200, content_type = "image/jpeg", description = "The picture", headers(("Last-Modified" = String)))))]
pub(crate) async fn picture(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?.instance;
    let missing = |why: String| Problem::new(Kind::NotFound, why);
    if !matches!(bot.phase, Phase::WaitingRoom | Phase::Recording) {
        return Err(missing(format!("there is a picture while the bot waits or records; it is {}", bot.phase)));
    }
    let none = || missing("no picture was taken yet, or LIVE_PICTURE_SECONDS is 0, or the meeting-bot takes none".to_owned());
    let name = bot.facts.gcs_path.as_ref().map(|prefix| prefix.picture()).ok_or_else(none)?;
    let bytes = Box::pin(api.objects().await?.get(&name)).await?.ok_or_else(none)?;
    let taken = taken_at(&bytes).ok_or_else(none)?;
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
        (header::LAST_MODIFIED, taken.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
    ];
    Ok((headers, bytes).into_response())
}
