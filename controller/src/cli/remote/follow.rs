//! `controller watch`: the API's events as they come, resumed after a break.

use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;

use super::client::{Client, unreachable};
use super::show::{event, text};
use crate::cli::CliError;
use crate::cli::say::say;

/// A bot that ended without its files.
const NOT_DONE: u8 = 3;
/// Between two tries to come back.
const PAUSE: Duration = Duration::from_secs(2);
/// Tries in a row without an event or an answer.
const TRIES: u32 = 15;

pub(super) async fn watch(client: &Client, id: Option<&str>, as_json: bool) -> Result<ExitCode, CliError> {
    let mut last = None;
    if let Some(id) = id {
        let timeline = client.get(&["v1", "bots", id, "timeline"], &[]).await?;
        for told in timeline["events"].as_array().into_iter().flatten() {
            say(told, as_json, false);
            last = told["id"].as_str().map(str::to_owned);
        }
        if let Some(code) = ended(client, id).await? {
            return Ok(code);
        }
    }
    let (mut seen, mut failures) = (last.clone(), 0);
    loop {
        match once(client, id, &mut seen, as_json).await {
            // The server ends each stream after a while: this is no failure.
            Ok(()) => failures = 0,
            Err(error @ (CliError::Denied(_) | CliError::Usage(_) | CliError::NotFound(_))) => return Err(error),
            Err(error) => {
                failures += 1;
                if failures >= TRIES {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        if let Some(id) = id
            && let Some(code) = ended(client, id).await?
        {
            return Ok(code);
        }
    }
}

async fn ended(client: &Client, id: &str) -> Result<Option<ExitCode>, CliError> {
    let bot = client.get(&["v1", "bots", id], &[]).await?;
    Ok(match text(&bot, "phase").as_str() {
        "done" => Some(ExitCode::SUCCESS),
        "failed" | "cancelled" | "missed" => Some(ExitCode::from(NOT_DONE)),
        _ => None,
    })
}

/// One stream to its end, or to the bot's.
async fn once(client: &Client, id: Option<&str>, seen: &mut Option<String>, as_json: bool) -> Result<(), CliError> {
    let query: Vec<_> = id.map(|id| ("bot", id.to_owned())).into_iter().collect();
    let headers: Vec<_> = seen.clone().map(|id| ("last-event-id", id)).into_iter().collect();
    let mut stream = client.open(&["v1", "events"], &query, &headers).await?.bytes_stream();
    let mut buffer = String::new();
    while let Some(chunk) = stream.next().await {
        buffer.push_str(&String::from_utf8_lossy(&chunk.map_err(|error| unreachable(&error))?));
        while let Some(end) = buffer.find("\n\n") {
            let message: String = buffer.drain(..end + 2).collect();
            let Some(told) = data(&message) else { continue };
            // A resumed stream begins a little before: ids sort by time.
            let is_new = seen.as_deref().is_none_or(|seen| told["id"].as_str().is_some_and(|id| id > seen));
            if !is_new {
                continue;
            }
            say(&told, as_json, id.is_none());
            *seen = told["id"].as_str().map(str::to_owned);
            if id.is_some() && ["done", "failed", "cancelled", "missed"].contains(&text(&told, "phase").as_str()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn say(told: &Value, as_json: bool, names_the_bot: bool) {
    match (as_json, names_the_bot) {
        (true, _) => say!("{told}"),
        (false, true) => say!("{}{}", text(told, "bot_id"), event(told)),
        (false, false) => say!("{}", event(told)),
    }
}

/// The data of a message of the stream; `None` for a comment.
fn data(message: &str) -> Option<Value> {
    let lines: Vec<&str> = message.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    serde_json::from_str(&lines.join("\n")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_taken_out_of_a_message() {
        assert_eq!(data("id: x\nevent: y\ndata: {\"a\":\ndata: 1}\n\n").unwrap()["a"], 1);
        assert_eq!(data(": open\nretry: 2000\n\n"), None);
    }
}
