//! `controller schedule`: writes a meeting document, as a backend would.

use std::process::ExitCode;

use bot_model::document::{Fields, Meeting};
use bot_model::ids::MeetingPath;
use bot_store::{DocumentKey, Write};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use uuid::Uuid;

use super::remote::{self, ApiArgs};
use super::say::say;
use super::{CliError, open_store};

/// What to schedule.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: ApiArgs,
    /// The call's address.
    pub(super) url: String,
    /// When it starts: an instant such as 2026-03-01T09:00:00Z, or `now`.
    #[arg(long, default_value = "now")]
    pub(super) at: String,
    /// When it ends.
    #[arg(long)]
    pub(super) until: Option<String>,
    /// The bot's name in the call.
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Where the files shall lie (`gcs_path`).
    #[arg(long)]
    pub(super) path: Option<String>,
    /// Organisation that the meeting belongs to.
    #[arg(long)]
    pub(super) organization: Option<String>,
    /// The document's id; made up if absent. The API derives it.
    #[arg(long, conflicts_with = "api")]
    id: Option<String>,
    /// The API's answer as JSON.
    #[arg(long, requires = "api")]
    pub(super) json: bool,
}

/// Writes the meeting and prints its path.
pub(super) async fn schedule(args: Args) -> Result<ExitCode, CliError> {
    if let Some(client) = args.api.named()? {
        return remote::schedule(&client, &args).await;
    }
    let store = open_store().await?;
    let naming = store.naming();
    let id = args.id.clone().unwrap_or_else(|| format!("cli-{}", &Uuid::new_v4().simple().to_string()[..10]));
    let path = MeetingPath::parse(&format!("{}/{id}", naming.meetings_collection))
        .filter(|path| path.document_id() == id)
        .ok_or_else(|| CliError::Usage(format!("--id {id:?} is no document id: it may not be empty or hold a slash")))?;
    let now = Utc::now();
    let mut fields = Fields::new();
    fields.insert("meeting_url".into(), json!(args.url));
    fields.insert(naming.meeting_status_field.clone(), json!(naming.meeting_status_values.first()));
    fields.insert("start_time".into(), json!(instant("--at", &args.at, now)?));
    if let Some(until) = &args.until {
        fields.insert("end_time".into(), json!(instant("--until", until, now)?));
    }
    for (key, value) in [("bot_name", args.name), ("gcs_path", args.path), ("creator_organization_id", args.organization)] {
        fields.extend(value.map(|value| (key.to_owned(), json!(value))));
    }
    if let Err(problem) = Meeting::decode(&path, &fields, naming) {
        return Err(CliError::Usage(format!("this meeting would be refused: {problem}")));
    }
    if !store.commit(vec![Write::create(DocumentKey::Meeting(path.clone()), fields)]).await?.is_applied() {
        return Err(CliError::Usage(format!("{path} exists already")));
    }
    say!("{path}");
    Ok(ExitCode::SUCCESS)
}

fn instant(flag: &str, text: &str, now: DateTime<Utc>) -> Result<String, CliError> {
    let instant = match text {
        "now" => now,
        text => DateTime::parse_from_rfc3339(text)
            .map_err(|_| CliError::Usage(format!("{flag} {text:?}: wants an instant such as 2026-03-01T09:00:00Z, or now")))?
            .with_timezone(&Utc),
    };
    Ok(instant.to_rfc3339_opts(SecondsFormat::Secs, true))
}
