//! `controller cancel`: a meeting by its status, or an instance by asking it to end.

use std::process::ExitCode;

use bot_model::document::Fields;
use bot_model::ids::{InstanceId, MeetingPath};
use bot_store::protocol::{Advanced, InstanceRecord, Note, cancel as protocol};
use bot_store::{Commit, DocumentKey, Store, Write};
use chrono::Utc;
use serde_json::json;

use super::say::say;
use super::{CliError, open_store};

/// A document that keeps changing is tried this often.
const TRIES: u32 = 5;

/// Cancels what `id` names.
pub(super) async fn cancel(id: &str) -> Result<ExitCode, CliError> {
    let store = open_store().await?;
    if let Some(path) = meeting(store.as_ref(), id).await? {
        return cancel_meeting(store.as_ref(), &path).await;
    }
    match InstanceId::parse(id) {
        Some(id) => cancel_instance(store.as_ref(), &id).await,
        None => Err(nothing(id)),
    }
}

async fn cancel_meeting(store: &dyn Store, path: &MeetingPath) -> Result<ExitCode, CliError> {
    let naming = store.naming();
    let mut fields = Fields::new();
    fields.insert(naming.meeting_status_field.clone(), json!(naming.meeting_cancel_values.first()));
    match store.commit(vec![Write::merge_existing(DocumentKey::Meeting(path.clone()), fields)]).await? {
        Commit::Applied(_) => {
            say!("{path} is cancelled; a bot that is under way ends by itself");
            Ok(ExitCode::SUCCESS)
        }
        Commit::Conflict => Err(nothing(path.as_str())),
    }
}

async fn cancel_instance(store: &dyn Store, id: &InstanceId) -> Result<ExitCode, CliError> {
    for _ in 0..TRIES {
        let record = InstanceRecord::read(store, id).await?.ok_or_else(|| nothing(id.as_str()))?;
        if record.instance.phase.is_terminal() {
            say!("{id} has ended already: {}", record.instance.phase);
            return Ok(ExitCode::SUCCESS);
        }
        match protocol::cancel(store, &record, Note::new("cli", "cancel_requested"), Utc::now()).await? {
            Advanced::Applied(after) if after.instance.phase.is_terminal() => {
                say!("{id} is cancelled");
                return Ok(ExitCode::SUCCESS);
            }
            Advanced::Applied(_) => {
                say!("{id} was asked to end");
                return Ok(ExitCode::SUCCESS);
            }
            Advanced::Conflict => {}
            Advanced::Illegal(illegal) => return Err(CliError::Usage(illegal.to_string())),
        }
    }
    Err(CliError::Failed(format!("{id} kept changing; try again")))
}

/// The meeting that a path or an id names, if there is one.
pub(super) async fn meeting(store: &dyn Store, id: &str) -> Result<Option<MeetingPath>, CliError> {
    for text in [id.to_owned(), format!("{}/{id}", store.naming().meetings_collection)] {
        let path = MeetingPath::parse(&text).filter(|path| !path.as_str().starts_with("bot_instances/"));
        if let Some(path) = path
            && store.read(&DocumentKey::Meeting(path.clone())).await?.is_some()
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

pub(super) fn nothing(id: &str) -> CliError {
    CliError::Usage(format!("there is no meeting and no bot instance {id:?}; `controller status` lists them"))
}
