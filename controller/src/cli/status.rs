//! `controller status`: meetings and their bots, for a person or as JSON. Secrets of addresses are hidden.

use std::process::ExitCode;
use std::time::Duration;

use bot_model::document::{BotInstance, Meeting, TimelineEvent};
use bot_model::ids::InstanceId;
use bot_model::lifecycle::Status;
use bot_store::protocol::InstanceRecord;
use bot_store::{DocumentKey, InstanceQuery, MeetingQuery, Record, Store};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::cancel::{meeting, nothing};
use super::remote::{self, ApiArgs};
use super::say::say;
use super::{CliError, open_store};

/// Documents of each kind listed at most.
const MOST: usize = 500;
/// Between looks with `--follow`.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What to show.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: ApiArgs,
    /// A meeting's path or id, or a bot instance's id; everything if absent.
    id: Option<String>,
    /// One JSON value.
    #[arg(long)]
    json: bool,
    /// Go on until it has ended.
    #[arg(long, requires = "id")]
    follow: bool,
}

/// Shows what is asked for.
pub(super) async fn status(args: Args) -> Result<ExitCode, CliError> {
    if let Some(client) = args.api.named()? {
        return if args.follow {
            remote::follow(&client, args.id.as_deref().unwrap_or_default(), args.json).await
        } else {
            remote::status(&client, args.id.as_deref(), args.json).await
        };
    }
    let store = open_store().await?;
    let Some(id) = &args.id else { return overview(store.as_ref(), args.json).await };
    let mut shown = 0;
    loop {
        let instance = instance_of(store.as_ref(), id).await?;
        let Some(instance) = instance else {
            if !args.follow {
                say!(
                    "{}",
                    if args.json {
                        "null".to_owned()
                    } else {
                        format!("{id}: no bot yet; it is not due, or was refused (see bot_outcome)")
                    }
                );
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        let events = timeline(store.as_ref(), &instance.id).await?;
        let is_last = !args.follow || instance.phase.is_terminal();
        match (args.json, is_last) {
            (true, true) => say!("{:#}", detail_json(&instance, &events)),
            (true, false) => {}
            (false, _) => shown = show(&instance, &events, shown, is_last),
        }
        if is_last {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn instance_of(store: &dyn Store, id: &str) -> Result<Option<BotInstance>, CliError> {
    let found = match meeting(store, id).await? {
        Some(path) => {
            let record = store.read(&DocumentKey::Meeting(path)).await?;
            record.and_then(|record| Meeting::link(&record.fields, store.naming()))
        }
        None => {
            let id = InstanceId::parse(id.trim_start_matches("bot_instances/")).ok_or_else(|| nothing(id))?;
            return match InstanceRecord::read(store, &id).await? {
                Some(record) => Ok(Some(record.instance)),
                None => Err(nothing(id.as_str())),
            };
        }
    };
    match found {
        Some(id) => Ok(InstanceRecord::read(store, &id).await?.map(|record| record.instance)),
        None => Ok(None),
    }
}

async fn timeline(store: &dyn Store, id: &InstanceId) -> Result<Vec<TimelineEvent>, CliError> {
    let events = store.events(id).await?;
    Ok(events.into_iter().filter_map(|event| serde_json::from_value(event.fields.into()).ok()).collect())
}

/// Prints the timeline from line `shown` on, and at the end the result; answers with how many lines there are now.
fn show(instance: &BotInstance, events: &[TimelineEvent], shown: usize, is_last: bool) -> usize {
    if shown == 0 {
        say!("{}  {}  attempt {}", instance.id, instance.facts.meeting_url, instance.facts.attempt);
    }
    for (index, event) in events.iter().enumerate().skip(shown) {
        let before =
            index.checked_sub(1).and_then(|before| events.get(before)).map(|before| event.occurred_at - before.occurred_at);
        let after = before.map_or_else(String::new, |after| format!("+{}", human(after)));
        let detail = if event.detail.is_empty() { String::new() } else { format!("  {}", event.detail) };
        say!(
            "  {}  {after:>9}  {:<12} {} ({}){detail}",
            event.occurred_at.format("%H:%M:%S"),
            event.phase,
            event.event,
            event.actor
        );
    }
    if is_last {
        say!("phase {}", instance.phase);
        if let Some(recording) = &instance.facts.recording {
            say!("recorded {} segments, {} bytes, in {} parts", recording.segments, recording.bytes, recording.parts);
        }
        if let Some(outcome) = &instance.facts.outcome {
            say!("outcome {} ({:?}): {}", outcome.kind, outcome.attribution, outcome.message);
        }
        for file in &instance.facts.artifacts {
            let length = file.duration_secs.map_or_else(String::new, |secs| format!(", {secs:.1} s"));
            say!("file {} ({} bytes{length}, crc32c {})", file.object, file.bytes, file.crc32c);
        }
    }
    events.len()
}

fn human(duration: chrono::Duration) -> String {
    let secs = duration.as_seconds_f64();
    if secs < 60.0 { format!("{secs:.1}s") } else { format!("{}m{:02}s", duration.num_minutes(), duration.num_seconds() % 60) }
}

fn detail_json(instance: &BotInstance, events: &[TimelineEvent]) -> Value {
    let mut facts = serde_json::to_value(&instance.facts).unwrap_or_default();
    // The stored address holds the passcode; its Display does not.
    facts["meeting_url"] = json!(instance.facts.meeting_url.to_string());
    json!({"id": instance.id, "phase": instance.phase, "facts": facts, "events": events})
}

async fn overview(store: &dyn Store, as_json: bool) -> Result<ExitCode, CliError> {
    let naming = store.naming();
    let mut statuses = naming.meeting_status_values.clone();
    statuses.extend(naming.meeting_cancel_values.clone());
    statuses.truncate(30);
    let meetings = store.meetings(&MeetingQuery::WithStatus(statuses), None, MOST).await?.records;
    let all =
        [Status::Queued, Status::Processing, Status::Done, Status::Failed].map(|status| naming.status_value(status).to_owned());
    let instances = store.instances(&InstanceQuery::WithStatus(all.to_vec()), None, MOST).await?.records;
    let meetings: Vec<Value> = meetings.iter().map(|record| meeting_line(record, store)).collect();
    let instances: Vec<Value> = instances.iter().map(|record| instance_line(record, store)).collect();
    if as_json {
        say!("{:#}", json!({"meetings": meetings, "bot_instances": instances}));
        return Ok(ExitCode::SUCCESS);
    }
    table("MEETING", &meetings, &["path", "status", "start_time", "bot_status", "bot_instance_id"]);
    table("BOT", &instances, &["id", "phase", "attempt", "outcome", "changed_at"]);
    Ok(ExitCode::SUCCESS)
}

fn meeting_line(record: &Record, store: &dyn Store) -> Value {
    let field = |name: &str| record.fields.get(name).cloned().unwrap_or_default();
    json!({
        "path": record.key.path(),
        "status": Meeting::status(&record.fields, store.naming()),
        "start_time": field("start_time"),
        "bot_status": field("bot_status"),
        "bot_instance_id": Meeting::link(&record.fields, store.naming()),
        "outcome": field("bot_outcome"),
    })
}

fn instance_line(record: &Record, store: &dyn Store) -> Value {
    match InstanceRecord::from_record(record, store.naming()) {
        Ok(found) => {
            let facts = &found.instance.facts;
            let renewed = facts.run.as_ref().map(|run| run.renewed_at);
            let changed: Option<DateTime<Utc>> = facts.processed_at.or(renewed).or(facts.claim.claimed_at).or(facts.created_at);
            json!({"id": found.instance.id, "phase": found.instance.phase, "attempt": facts.attempt,
                "outcome": facts.outcome.as_ref().map(|outcome| outcome.kind), "changed_at": changed})
        }
        Err(error) => json!({"id": record.key.path(), "phase": "unreadable", "outcome": error.to_string()}),
    }
}

fn table(title: &str, rows: &[Value], columns: &[&str]) {
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let width = |column: &&str| rows.iter().map(|row| cell(row, column).chars().count()).chain([column.len()]).max().unwrap_or(0);
    let widths: Vec<usize> = columns.iter().map(width).collect();
    say!("{title}S ({})", rows.len());
    let line = |cells: Vec<String>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        say!("  {}", padded.join("  ").trim_end());
    };
    line(columns.iter().map(|column| (*column).to_owned()).collect());
    for row in rows {
        line(columns.iter().map(|column| cell(row, column)).collect());
    }
}
