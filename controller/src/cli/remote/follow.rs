//! `controller watch`: the API's events as they come, resumed after a break.

use std::collections::BTreeSet;
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
/// Ids that are remembered: the events of minutes at a large site.
const REMEMBERED: usize = 20_000;
/// Tries in a row without an event or an answer.
const TRIES: u32 = 15;

pub(super) async fn watch(client: &Client, id: Option<&str>, as_json: bool) -> Result<ExitCode, CliError> {
    let mut watch = Watch { client, id, as_json, seen: None, said: BTreeSet::new(), has_begun: false };
    let mut failures = 0;
    loop {
        match watch.round().await {
            Ok(Some(code)) => return Ok(code),
            // The server ends each stream after a while: this is no failure.
            Ok(None) => failures = 0,
            Err(error @ (CliError::Denied(_) | CliError::Usage(_) | CliError::NotFound(_))) => return Err(error),
            Err(error) => {
                failures += 1;
                if failures >= TRIES || !watch.has_begun {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One command's watching.
struct Watch<'a> {
    client: &'a Client,
    id: Option<&'a str>,
    as_json: bool,
    /// The latest event that was said: the stream goes on from there.
    seen: Option<String>,
    /// The ids that were said lately. A resumed stream begins a little before, and an event may be told after later ones.
    said: BTreeSet<String>,
    /// Something was answered: from then on a break is waited out.
    has_begun: bool,
}

impl Watch<'_> {
    /// What was missed, and one stream to its end; the exit code where the bot has ended.
    async fn round(&mut self) -> Result<Option<ExitCode>, CliError> {
        if let Some(id) = self.id
            && let Some(code) = self.catch_up(id).await?
        {
            return Ok(Some(code));
        }
        self.stream().await
    }

    /// Says what of a bot's timeline was not said yet. Its state is read first: what had ended by then has its end in the timeline, and what
    /// ends in between is known by its line; so nobody misses that line, and nobody waits for it again.
    async fn catch_up(&mut self, id: &str) -> Result<Option<ExitCode>, CliError> {
        let bot = self.client.get(&["v1", "bots", id], &[]).await?;
        let timeline = self.client.get(&["v1", "bots", id, "timeline"], &[]).await?;
        self.has_begun = true;
        let mut code = ended(&bot);
        for told in timeline["events"].as_array().into_iter().flatten() {
            self.say_if_new(told);
            code = code.or(ended(told));
        }
        Ok(code)
    }

    /// One stream to its end, or to the bot's.
    async fn stream(&mut self) -> Result<Option<ExitCode>, CliError> {
        let query: Vec<_> = self.id.map(|id| ("bot", id.to_owned())).into_iter().collect();
        let headers: Vec<_> = self.seen.clone().map(|id| ("last-event-id", id)).into_iter().collect();
        let mut stream = self.client.open(&["v1", "events"], &query, &headers).await?.bytes_stream();
        self.has_begun = true;
        let mut buffer = String::new();
        while let Some(chunk) = stream.next().await {
            buffer.push_str(&String::from_utf8_lossy(&chunk.map_err(|error| unreachable(&error))?));
            while let Some(end) = buffer.find("\n\n") {
                let message: String = buffer.drain(..end + 2).collect();
                let Some(told) = data(&message) else { continue };
                let code = self.id.and_then(|_| ended(&told));
                if self.say_if_new(&told) && code.is_some() {
                    return Ok(code);
                }
            }
        }
        Ok(None)
    }

    fn say_if_new(&mut self, told: &Value) -> bool {
        let Some(id) = told["id"].as_str() else { return false };
        // Ids sort by time: before the oldest that is remembered everything was said.
        let is_old = self.said.len() >= REMEMBERED && self.said.first().is_some_and(|oldest| id < oldest.as_str());
        let is_new = !is_old && self.said.insert(id.to_owned());
        if is_new {
            say(told, self.as_json, self.id.is_none());
            self.seen = self.seen.take().max(Some(id.to_owned()));
        }
        while self.said.len() > REMEMBERED {
            self.said.pop_first();
        }
        is_new
    }
}

/// The exit code for what is in this phase, a bot or a line of its timeline; `None` where it goes on.
fn ended(phased: &Value) -> Option<ExitCode> {
    match text(phased, "phase").as_str() {
        "done" => Some(ExitCode::SUCCESS),
        "failed" | "cancelled" | "missed" => Some(ExitCode::from(NOT_DONE)),
        _ => None,
    }
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
