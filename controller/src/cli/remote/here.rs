//! Where the API is and with which key, for who names neither: both as `controller run` has them by the same settings.
//!
//! A key is made here only for the one-machine set-up: who writes its store may make keys anyway. It lies in a file that its user alone
//! may read, and is used again until it ends. Nothing of the kind is done for an address that somebody names.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use api::access::{Access, Role, Scope};
use api::keys::{self, NewKey};
use bot_store::Store;
use chrono::{TimeDelta, Utc};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use crate::cli::{CliError, open};
use crate::config::{Config, Needs};

/// A key that was made by itself works for so long.
const KEY_DAYS: i64 = 90;
/// Where a controller listens that is told nothing.
pub(in crate::cli) const DEFAULT_LISTEN: &str = "0.0.0.0:8080";

/// An API and what is known of it.
#[derive(Debug)]
pub(super) struct Here {
    /// Such as `http://127.0.0.1:8080`.
    pub(super) base: String,
    pub(super) key: Option<SecretString>,
    /// What was looked at for the address, for whom nobody answers.
    pub(super) address_tried: String,
    /// What was looked at for the key, for whom none is let in.
    pub(super) key_tried: String,
}

/// Looks for both.
pub(super) async fn find() -> Result<Here, CliError> {
    let lookup = |name: &str| std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let (address, address_tried) = address(&lookup, &|path| std::fs::read_to_string(path).ok())?;
    let (key, key_tried) = match lookup("API_KEY") {
        Some(key) => (Some(key), "API_KEY is set".to_owned()),
        None => own_key(&lookup).await?,
    };
    Ok(Here { base: format!("http://{address}"), key: key.map(SecretString::from), address_tried, key_tried })
}

/// The address that a controller with these settings listens on, as this machine reaches it, and what was looked at.
fn address(
    lookup: &impl Fn(&str) -> Option<String>,
    read: &impl Fn(&Path) -> Option<String>,
) -> Result<(SocketAddr, String), CliError> {
    let mut tried = vec!["--api (not given)".to_owned(), "API_URL (not set)".to_owned()];
    let (name, listen) = match lookup("API_LISTEN") {
        Some(listen) => ("API_LISTEN", listen),
        None => {
            tried.push("API_LISTEN (not set)".to_owned());
            match lookup("HTTP_PORT_FILE").and_then(|file| read(Path::new(&file)).map(|text| text.trim().to_owned())) {
                Some(written) => ("HTTP_PORT_FILE", written),
                None => ("HTTP_LISTEN", lookup("HTTP_LISTEN").unwrap_or_else(|| DEFAULT_LISTEN.to_owned())),
            }
        }
    };
    tried.push(format!("{name} ({listen})"));
    let tried = tried.join(", ");
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok((reachable(address), tried)),
        Ok(_) => Err(CliError::Usage(format!(
            "which port the API has is not known: tried {tried}. Name the API with --api or API_URL, or a file with HTTP_PORT_FILE"
        ))),
        Err(_) => Err(CliError::Usage(format!("{name} {listen:?} is no address such as {DEFAULT_LISTEN}; tried {tried}"))),
    }
}

/// Where a server that listens on every address answers on this machine.
pub(in crate::cli) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A key of the one-machine set-up, and what was looked at.
async fn own_key(lookup: &impl Fn(&str) -> Option<String>) -> Result<(Option<String>, String), CliError> {
    let unset = "API_KEY (not set)";
    let config = match Config::from_environment(Needs::Store) {
        Ok(config) => config,
        Err(problems) => {
            let names: Vec<&str> = problems.iter().map(|problem| problem.variable.as_str()).collect();
            return Ok((None, format!("{unset}, the store of the settings ({} cannot be used)", names.join(", "))));
        }
    };
    if config.api.access == Access::DangerOpen {
        return Ok((None, format!("{unset}, API_ACCESS (danger_open: none is asked for)")));
    }
    if !config.launches_here {
        return Ok((None, format!("{unset}; one is made by itself on the one-machine set-up alone (LAUNCHER=process)")));
    }
    let file = key_file(lookup, &config.store_url)?;
    let store = open(&config).await?;
    if let Some(key) = std::fs::read_to_string(&file).ok().map(|text| text.trim().to_owned())
        && keys::is_live(store.as_ref(), &key, Utc::now()).await?
    {
        return Ok((Some(key), format!("{unset}, the key in {}", file.display())));
    }
    let key = make(store.as_ref()).await?;
    keep(&file, &key)
        .map_err(|error| CliError::Failed(format!("no key can be kept in {}: {error}; set API_KEY", file.display())))?;
    Ok((Some(key), format!("{unset}, a key made just now and kept in {}", file.display())))
}

/// One file for each store, in this user's folder for what programs keep.
fn key_file(lookup: &impl Fn(&str) -> Option<String>, store_url: &str) -> Result<PathBuf, CliError> {
    let state = lookup("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| lookup("HOME").map(|home| Path::new(&home).join(".local/state")));
    let state =
        state.ok_or_else(|| CliError::Usage("there is no HOME to keep a key in: set API_KEY, or XDG_STATE_HOME".into()))?;
    let digest = Sha256::digest(store_url.as_bytes());
    let code: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(state.join("meeting-recorder").join(format!("api-key-{code}")))
}

async fn make(store: &dyn Store) -> Result<String, CliError> {
    let now = Utc::now();
    let new = NewKey {
        name: "command line".into(),
        role: Role::Operator,
        scope: Scope::All,
        expires_at: Some(now + TimeDelta::days(KEY_DAYS)),
        created_by: "cli".into(),
    };
    let (_, key) = keys::create(store, &new, now).await.map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(key)
}

/// Never readable by others, not even for a moment; of two commands at once the last one's stays, and both keys work.
fn keep(file: &Path, key: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let mut written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(written, "{key}")?;
    std::fs::rename(draft, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pairs: &[(&str, &str)], file: Option<&str>) -> Result<(String, String), String> {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let found = address(&lookup, &|_| file.map(str::to_owned));
        found.map(|(address, tried)| (address.to_string(), tried)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_address_is_the_one_that_is_listened_on_in_a_stated_order() {
        let at = |pairs: &[(&str, &str)], file| found(pairs, file).unwrap().0;
        assert_eq!(at(&[], None), "127.0.0.1:8080");
        assert_eq!(at(&[("HTTP_LISTEN", "[::]:80")], None), "[::1]:80");
        assert_eq!(at(&[("HTTP_LISTEN", "10.0.0.1:80"), ("API_LISTEN", "0.0.0.0:90")], None), "127.0.0.1:90");
        let ported = [("HTTP_LISTEN", "127.0.0.1:0"), ("HTTP_PORT_FILE", "/x")];
        assert_eq!(at(&ported, Some("127.0.0.1:4711\n")), "127.0.0.1:4711");
        let (_, tried) = found(&[("HTTP_LISTEN", "10.0.0.1:80")], None).unwrap();
        assert_eq!(tried, "--api (not given), API_URL (not set), API_LISTEN (not set), HTTP_LISTEN (10.0.0.1:80)");
    }

    #[test]
    fn an_address_that_cannot_be_known_is_a_mistake_that_says_what_was_tried() {
        for (pairs, file) in [
            (&[("HTTP_LISTEN", "127.0.0.1:0")][..], None),
            (&[("API_LISTEN", "127.0.0.1:0"), ("HTTP_PORT_FILE", "/x")], Some("127.0.0.1:4711")),
            (&[("HTTP_LISTEN", "everywhere")], None),
        ] {
            let error = found(pairs, file).unwrap_err();
            assert!(error.contains("tried --api (not given)"), "{error}");
        }
    }

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        for (listen, asked) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
