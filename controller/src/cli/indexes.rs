//! `controller indexes`: the Firestore indexes that the configured names need, and which query needs each.

use std::process::ExitCode;

use bot_store::firestore::indexes;
use clap::ValueEnum;

use super::CliError;
use super::say::say;
use crate::config::{Config, Needs};

/// How to print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Commands, each under the query that needs it.
    Gcloud,
    /// A `firestore.indexes.json`.
    Json,
}

pub(super) fn indexes(format: Format) -> Result<ExitCode, CliError> {
    let config = Config::from_environment(Needs::Store).map_err(CliError::Configuration)?;
    let place = config.store_url.strip_prefix("firestore:").unwrap_or_default();
    let database = place.split_once('/').map_or("(default)", |(_, database)| database);
    let all = indexes::indexes(&config.naming);
    match format {
        Format::Gcloud => all.iter().for_each(|index| say!("# {}\n{}", index.why, index.command(database))),
        Format::Json => say!("{:#}", indexes::as_json(&all)),
    }
    Ok(ExitCode::SUCCESS)
}
