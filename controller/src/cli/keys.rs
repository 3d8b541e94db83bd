//! `controller keys`: who may use the API. A key's secret is printed once, to standard output alone.

use std::process::ExitCode;

use api::access::{Principal, Role, Scope};
use api::keys::{self, KeyError, KeyInfo, NewKey};
use chrono::{TimeDelta, Utc};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::say::say;
use super::{CliError, open_store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and print it; it is shown this once.
    Create {
        /// For people.
        #[arg(long)]
        name: String,
        /// What it may do; each includes the ones before it.
        #[arg(long, value_enum, default_value = "viewer")]
        role: RoleName,
        /// An organization that it sees; may be given up to ten times.
        #[arg(long, required_unless_present = "all_organizations", conflicts_with = "all_organizations")]
        organization: Vec<String>,
        /// It sees everything, and what belongs to no organization.
        #[arg(long)]
        all_organizations: bool,
        /// It stops working after so many days.
        #[arg(long)]
        expires_in_days: Option<u32>,
    },
    /// Show every key, without its secret.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a key useless for good.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RoleName {
    /// Read.
    Viewer,
    /// Read and change.
    Operator,
    /// And see who did what.
    Admin,
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            Self::Viewer => Role::Viewer,
            Self::Operator => Role::Operator,
            Self::Admin => Role::Admin,
        }
    }
}

pub(super) async fn keys(command: Command) -> Result<ExitCode, CliError> {
    let store = open_store().await?;
    let now = Utc::now();
    match command {
        Command::Create { name, role, organization, all_organizations, expires_in_days } => {
            let scope = if all_organizations { Scope::All } else { Scope::These(organization) };
            let expires_at = expires_in_days.map(|days| now + TimeDelta::days(i64::from(days)));
            let new = NewKey { name, role: role.role(), scope, expires_at, created_by: "cli".into() };
            let (_, key) = keys::create(store.as_ref(), &new, now).await.map_err(|error| match error {
                KeyError::Usage(text) => CliError::Usage(text),
                error => CliError::Failed(error.to_string()),
            })?;
            say!("{key}");
        }
        Command::List { json } => {
            let all = keys::list(store.as_ref()).await?;
            if json {
                say!("{:#}", json!(all));
            } else {
                say!("{:<16}  {:<8}  {:<20}  {:<20}  NAME", "ID", "ROLE", "STATE", "SEES");
                all.iter().for_each(|key| say!("{}", line(key, now)));
            }
        }
        Command::Revoke { id } => {
            let cli = Principal { id: "cli".into(), name: "cli".into(), ..Principal::local() };
            if !keys::revoke(store.as_ref(), &id, &cli, now).await? {
                return Err(CliError::Usage(format!("there is no key of id {id:?}; controller keys list shows them")));
            }
            say!("{id} is revoked; every replica refuses it within {} s", api::state::KEY_FRESH.as_secs());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(key: &KeyInfo, now: chrono::DateTime<Utc>) -> String {
    let day = |at: chrono::DateTime<Utc>| at.format("%Y-%m-%d").to_string();
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", day(at)),
        (None, Some(at)) if at <= now => format!("expired {}", day(at)),
        (None, Some(at)) => format!("until {}", day(at)),
        (None, None) => "live".to_owned(),
    };
    let sees = if key.all_organizations { "everything".to_owned() } else { key.organizations.join(",") };
    let used = key.last_used_at.map_or_else(String::new, |at| format!("  (last used {})", at.format("%Y-%m-%d %H:%M")));
    format!("{:<16}  {:<8}  {state:<20}  {sees:<20}  {}{used}", key.id, key.role.as_str(), key.name)
}
