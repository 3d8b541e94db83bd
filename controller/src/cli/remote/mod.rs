//! Commands that speak the API of a running controller: what `--api` or `API_URL` names, or else the one that runs here by the same
//! settings.

mod client;
mod download;
mod follow;
mod here;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::say::say;
use super::{CliError, schedule};
pub(super) use client::{ApiArgs, Client};
pub(super) use here::{DEFAULT_LISTEN, reachable};
use show::{bots, meetings, scheduled};

/// What to list.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Meetings instead of bots.
    #[arg(long)]
    meetings: bool,
    /// Bots in this phase alone, such as recording.
    #[arg(long, conflicts_with = "meetings")]
    phase: Option<String>,
    /// With this status alone.
    #[arg(long)]
    status: Option<String>,
    /// Of this organization alone.
    #[arg(long)]
    organization: Option<String>,
    /// As many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// One JSON array.
    #[arg(long)]
    json: bool,
}

/// One bot or meeting.
#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
    /// The bot's id.
    pub(super) id: String,
    /// The answer as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What to watch.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// A bot's id: ends with the bot, with exit code 0 where it is done and 3 where it ended otherwise. Everything, without end, if absent.
    id: Option<String>,
    /// One JSON value a line.
    #[arg(long)]
    json: bool,
}

/// What to download.
#[derive(Debug, clap::Args)]
pub(super) struct DownloadArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The bot's id.
    id: String,
    /// Which files, such as video.mp4; every one if absent.
    names: Vec<String>,
    /// The folder to put them into, made if need be.
    #[arg(long, default_value = ".")]
    to: PathBuf,
    /// One JSON array of what was downloaded.
    #[arg(long)]
    json: bool,
}

/// What of a log to show.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The bot's id.
    id: String,
    /// The last lines of each program.
    #[arg(long, default_value_t = 200)]
    tail: u32,
}

/// A link to make.
#[derive(Debug, clap::Args)]
pub(super) struct LinkArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The bot's id.
    id: String,
    /// The file, such as video.mp4.
    name: String,
    /// Seconds that it works.
    #[arg(long, default_value_t = 900)]
    expires_in: u32,
}

pub(super) async fn list(args: ListArgs) -> Result<ExitCode, CliError> {
    let client = args.api.client().await?;
    let (path, key) = if args.meetings { ("/v1/meetings", "meetings") } else { ("/v1/bots", "bots") };
    let filters = [("phase", &args.phase), ("status", &args.status), ("organization", &args.organization)];
    let filters: Vec<(&str, String)> = filters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let found = client.pages(path, key, &filters, args.limit as usize).await?;
    if args.json {
        say!("{:#}", json!(found));
    } else if args.meetings {
        say!("{}", meetings(&found));
    } else {
        say!("{}", bots(&found));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn watch(args: WatchArgs) -> Result<ExitCode, CliError> {
    follow::watch(&args.api.client().await?, args.id.as_deref(), args.json).await
}

/// `controller status ID --follow` with an API.
pub(super) async fn follow(client: &Client, id: &str, as_json: bool) -> Result<ExitCode, CliError> {
    follow::watch(client, Some(id), as_json).await
}

pub(super) async fn leave(args: OneArgs) -> Result<ExitCode, CliError> {
    let bot = args.api.client().await?.post(&["v1", "bots", &args.id, "leave"], &json!({})).await?;
    told(args.json, &bot, || {
        let phase = show::text(&bot, "phase");
        let is_over = ["done", "failed", "cancelled", "missed"].contains(&phase.as_str());
        if is_over {
            format!("it has ended: {phase}")
        } else {
            "it was asked to leave; what it recorded becomes files".to_owned()
        }
    })
}

pub(super) async fn download(args: DownloadArgs) -> Result<ExitCode, CliError> {
    let client = args.api.client().await?;
    download::download(&client, &args.id, &args.names, &args.to, args.json).await
}

pub(super) async fn log(args: LogArgs) -> Result<ExitCode, CliError> {
    let query = [("tail_lines", args.tail.to_string())];
    let text = args.api.client().await?.text(&["v1", "bots", &args.id, "log"], &query).await?;
    say!("{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn link(args: LinkArgs) -> Result<ExitCode, CliError> {
    let client = args.api.client().await?;
    let body = json!({"expires_in_seconds": args.expires_in});
    let link = client.post(&["v1", "bots", &args.id, "artifacts", &args.name, "link"], &body).await?;
    say!("{}", client.absolute(&show::text(&link, "url")));
    Ok(ExitCode::SUCCESS)
}

/// `controller schedule` with an API.
pub(super) async fn schedule(client: &Client, args: &schedule::Args) -> Result<ExitCode, CliError> {
    let mut wish = json!({"meeting_url": args.url});
    let given = [
        ("start_time", (args.at != "now").then(|| args.at.clone())),
        ("end_time", args.until.clone()),
        ("bot_name", args.name.clone()),
        ("gcs_path", args.path.clone()),
        ("organization", args.organization.clone()),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            wish[name] = json!(value);
        }
    }
    let answer = client.post(&["v1", "meetings"], &wish).await?;
    told(args.json, &answer, || scheduled(&answer))
}

/// `controller cancel` with an API: a meeting, or else a bot.
pub(super) async fn cancel(client: &Client, id: &str) -> Result<ExitCode, CliError> {
    match client.post(&["v1", "meetings", id, "cancel"], &json!({})).await {
        Ok(_) => say!("{id} is cancelled; a bot that is under way ends by itself"),
        Err(error) if error.is_not_found() => {
            client.post(&["v1", "bots", id, "leave"], &json!({})).await?;
            say!("{id} was asked to end");
        }
        Err(error) => return Err(error),
    }
    Ok(ExitCode::SUCCESS)
}

/// `controller status` with an API.
pub(super) async fn status(client: &Client, id: Option<&str>, as_json: bool) -> Result<ExitCode, CliError> {
    let Some(id) = id else {
        let found = client.pages("/v1/bots", "bots", &[], 500).await?;
        return told(as_json, &json!(found), || bots(&found));
    };
    let bot = match client.get(&["v1", "bots", id], &[]).await {
        Err(error) if error.is_not_found() => {
            let meeting = client.get(&["v1", "meetings", id], &[]).await?;
            match meeting["bot_id"].as_str() {
                Some(bot) => client.get(&["v1", "bots", bot], &[]).await?,
                None => return told(as_json, &meeting, || format!("{id}: no bot yet; it is not due, or was refused")),
            }
        }
        found => found?,
    };
    let timeline = client.get(&["v1", "bots", &show::text(&bot, "id"), "timeline"], &[]).await?;
    told(as_json, &json!({"bot": bot, "timeline": timeline["events"]}), || show::detail(&bot, &timeline["events"]))
}

fn told(as_json: bool, value: &serde_json::Value, text: impl FnOnce() -> String) -> Result<ExitCode, CliError> {
    if as_json {
        say!("{value:#}")
    } else {
        say!("{}", text())
    }
    Ok(ExitCode::SUCCESS)
}
