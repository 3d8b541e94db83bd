//! What the programs of a bot's run wrote. Where that lies is the launcher's to know: the API has a port, and nothing behind it of its own.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bot_model::ids::InstanceId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Viewer;
use crate::input::Params;
use crate::problem::{Kind, Problem};
use crate::state::Api;

/// Lines of each program where nothing is said, and at most.
const LINES: (usize, usize) = (500, 5_000);
/// Bytes of each program at most.
const MOST_BYTES: u64 = 512 * 1024;

/// Which log, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOf {
    /// The bot.
    pub bot: InstanceId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Lines of each program at most.
    pub lines: usize,
    /// Bytes of each program at most.
    pub bytes: u64,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LogError {
    /// For the log of this process.
    pub message: String,
    /// The same call may succeed later.
    pub is_transient: bool,
}

/// Where the logs of runs are.
#[async_trait]
pub trait RunLogs: Send + Sync + 'static {
    /// The end of what each program of a run wrote, under its name; `None` where nothing of the run is left, or is within reach.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn tail(&self, of: &LogOf) -> Result<Option<String>, LogError>;
}

/// Which part of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogFilter {
    /// The last lines of each program, 1 to 5000; 500 if absent.
    #[param(minimum = 1, maximum = 5000)]
    tail_lines: Option<usize>,
    /// Of this attempt; the latest if absent.
    #[param(minimum = 1)]
    attempt: Option<u32>,
}

/// Read a bot's log
///
/// The last lines of what each program of its run wrote, the meeting-bot and its manager first of all, at most 512 KiB each. 404 once the run is
/// removed, or where it ran on another machine.
#[utoipa::path(get, path = "/v1/bots/{id}/log", tag = "bots", params(("id" = String, Path, description = "The bot"), LogFilter),
    responses((status = 200, body = String, content_type = "text/plain", description = "==> program <== and its lines, for each")))]
pub(crate) async fn log(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Params(filter): Params<LogFilter>,
) -> Result<Response, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?.instance;
    let lines = match filter.tail_lines.unwrap_or(LINES.0) {
        lines if (1..=LINES.1).contains(&lines) => lines,
        _ => return Err(Problem::new(Kind::BadParameter, format!("tail_lines wants 1 to {}", LINES.1))),
    };
    let missing = |why: &str| Problem::new(Kind::NotFound, why);
    let attempt = filter.attempt.unwrap_or(bot.facts.attempt);
    if attempt == 0 {
        return Err(missing("it was not launched yet, so nothing was written"));
    }
    let logs = api.logs.as_ref().ok_or_else(|| missing("this server has no way to the logs of runs"))?;
    let of = LogOf { bot: bot.id, attempt, lines, bytes: MOST_BYTES };
    let text = logs.tail(&of).await.map_err(|error| {
        tracing::warn!(%error, "a run's log could not be read");
        if error.is_transient {
            Problem::new(Kind::Unavailable, "the log could not be read in time; try again")
        } else {
            Problem::new(Kind::Conflict, "where it runs refuses its log: the controller needs the right to read pods/log")
        }
    })?;
    let text = text.ok_or_else(|| missing("nothing is left of this run here: it was removed, or ran on another machine"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], plain(&text)).into_response())
}

/// Without colours and whatever else a terminal would obey: what a page made the browser say is in there too.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        // A control sequence ends with its first letter.
        plain.push_str(
            piece.trim_start_matches(|at: char| at.is_ascii_digit() || ";:?<=>".contains(at)).get(1..).unwrap_or_default(),
        );
    }
    plain.retain(|at| !at.is_control() || at == '\n' || at == '\t');
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_log_commands_no_terminal() {
        assert_eq!(plain("\u{1b}[2m12:00\u{1b}[0m \u{1b}[38;5;1mred\u{1b}[0m\tx\n"), "12:00 red\tx\n");
        assert_eq!(plain("\u{1b}]0;title\u{7}\r\u{9b}31m\u{1b}["), "]0;title31m");
        assert_eq!(plain("\u{1b}[\u{e4}b"), "");
    }
}
