//! From the environment to a [`Config`] of parsed types, with every problem at once.
//!
//! Reads through a lookup function, so that tests need no environment. Opens and starts nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use api::access::Access;
use api::oidc::OidcSettings;
use api::rate::RateSettings;
use bot_model::capacity::Limits;
use bot_model::configuration::{Naming, Problem};
use bot_model::lease::LeaseTimings;
use bot_model::schedule::StartWindow;
use secrecy::SecretString;

use crate::launch::kubernetes::config::KubernetesConfig;
use crate::settings::SETTINGS;

/// Everything that a controller is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// `sqlite:{absolute path}` or `firestore:{project}[/{database}]`.
    pub store_url: String,
    /// Names and values in the store.
    pub naming: Naming,
    /// Owner of claims.
    pub controller_id: String,
    /// The loops' clocks and limits.
    pub pace: Pace,
    /// Local runs, where there are no Jobs.
    pub runs: RunsConfig,
    /// Jobs: `LAUNCHER=kubernetes`.
    pub kubernetes: Option<KubernetesConfig>,
    /// Where health, readiness and metrics are answered.
    pub http_listen: SocketAddr,
    /// Where to write the address that is really listened on.
    pub http_port_file: Option<PathBuf>,
    /// The API.
    pub api: ApiConfig,
    /// What the replicas' portals seal their sessions with; absent is made anew with each start.
    pub portal_secret: Option<SecretString>,
    /// Where webhooks may go besides the public internet.
    pub webhook_allow: webhooks::Allowed,
    /// What seals the secrets of endpoints in the store.
    pub webhook_safe: webhooks::Safe,
    /// Runs are processes on this machine: the one-machine set-up.
    pub launches_here: bool,
    /// Private authorities whose certificates are believed: of issuers of tokens, services of alerts, receivers of webhooks.
    pub trust: webhooks::Trust,
    /// Those of receivers of webhooks: the same, and more.
    pub webhook_trust: webhooks::Trust,
    /// `ALERT_SNS_TOPIC_ARN`: who is told when all bots are busy.
    pub alert_sns: Option<String>,
    /// `ALERT_PUBSUB_TOPIC`: the same.
    pub alert_pubsub: Option<String>,
}

/// Who may use the API, and where it is served.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Whether keys are asked for.
    pub access: Access,
    /// Its own address; `None` is beside health and metrics.
    pub listen: Option<SocketAddr>,
    /// Tokens of an issuer.
    pub oidc: OidcSettings,
    /// How often somebody may ask.
    pub rate: RateSettings,
    /// Origins whose pages may read answers.
    pub cors_origins: Vec<String>,
    /// Signs links to files in a folder.
    pub link_secret: Option<SecretString>,
}

/// The loops' clocks and limits.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Between polls when no hint comes.
    pub poll: Duration,
    /// The store's hints are listened to.
    pub is_listening: bool,
    /// Between looks at what runs.
    pub reap: Duration,
    /// Between full sweeps.
    pub sweep: Duration,
    /// When a meeting is due.
    pub window: StartWindow,
    /// A claim unchanged for this long is taken over.
    pub claim_ttl: Duration,
    /// A controller without a new heartbeat for this long is dead, and its claims are taken over.
    pub owner_silent: Duration,
    /// Claims in one pass at most.
    pub max_claims: usize,
    /// The run lease.
    pub lease: LeaseTimings,
    /// After this long without a lease a bot has left by itself; `None` is never.
    pub max_unleased: Option<Duration>,
    /// Longest recording; bounds how long a meeting without an end counts as on.
    pub max_recording: Duration,
    /// What all replicas together hold to.
    pub limits: Limits,
    /// What 100 of priority are worth in waiting.
    pub ageing: Duration,
    /// Runs that may wait for a node before no more are launched.
    pub max_pending: usize,
}

/// What the process launcher needs.
#[derive(Debug, Clone)]
pub struct RunsConfig {
    /// Where local runs live; absolute.
    pub folder: PathBuf,
    /// Runs at once.
    pub max_live: usize,
    /// Fewer than that where this machine has no room for them.
    pub is_measured: bool,
    /// The manager's program.
    pub manager: PathBuf,
    /// The meeting-bot's program.
    pub meeting_bot: PathBuf,
    /// Where the files go.
    pub recordings_url: String,
    /// Settings that every manager gets unchanged: names of [`bot_model::process::HANDED_ON`] and of the naming.
    pub handed_on: BTreeMap<String, String>,
    /// For the meeting-bot alone.
    pub practice_origin: Option<String>,
}

/// What a subcommand needs of the configuration: a `schedule` does not ask for a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The store alone.
    Store,
    /// Everything that launches.
    Everything,
}

impl Config {
    /// Reads the process's own environment.
    pub fn from_environment(needs: Needs) -> Result<Self, Vec<Problem>> {
        Self::read(needs, |name| std::env::var(name).ok())
    }

    /// Reads through `lookup`; an empty value counts as absent.
    pub fn read(needs: Needs, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader { lookup: &lookup, problems: Vec::new() };
        let store_url = reader.store_url();
        let launcher = reader.launcher(needs, &store_url);
        let runs = reader.runs(needs, launcher);
        let pace = reader.pace();
        let runs = RunsConfig { handed_on: reader.handed_on(&store_url, &runs.recordings_url), ..runs };
        let kubernetes = (needs == Needs::Everything && launcher == LauncherKind::Kubernetes)
            .then(|| reader.kubernetes(&store_url, &pace, &runs));
        let http_listen = reader.parsed("HTTP_LISTEN", "an address such as 0.0.0.0:8080");
        let (trust, webhook_trust) = (reader.trust(needs, "TRUSTED_CA_FILE"), reader.trust(needs, "WEBHOOK_CA_FILE"));
        let config = Self {
            naming: reader.naming(),
            controller_id: reader.controller_id(),
            pace,
            api: reader.api(http_listen),
            portal_secret: reader.portal_secret(),
            webhook_allow: reader.webhook_allow(),
            webhook_safe: reader.webhook_safe(),
            launches_here: launcher == LauncherKind::Process,
            webhook_trust: webhook_trust.and(&trust),
            trust,
            alert_sns: reader.text("ALERT_SNS_TOPIC_ARN"),
            alert_pubsub: reader.text("ALERT_PUBSUB_TOPIC"),
            http_listen,
            http_port_file: reader.text("HTTP_PORT_FILE").map(PathBuf::from),
            runs,
            kubernetes,
            store_url,
        };
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }
}

/// `LAUNCHER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LauncherKind {
    Process,
    Kubernetes,
}

struct Reader<'a, L> {
    lookup: &'a L,
    problems: Vec<Problem>,
}

impl<L: Fn(&str) -> Option<String>> Reader<'_, L> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn problem(&mut self, variable: &str, got: impl Into<String>, wants: impl Into<String>) {
        self.problems.push(Problem { variable: variable.into(), got: got.into(), wants: wants.into() });
    }

    /// The value, or the default of the reference, parsed.
    fn parsed<T: FromStr + Fallback>(&mut self, name: &str, wants: &str) -> T {
        let default = SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
        let value = self.text(name).unwrap_or_else(|| default.to_owned());
        value.parse().unwrap_or_else(|_| {
            self.problem(name, value, wants);
            T::fallback()
        })
    }

    fn number(&mut self, name: &str, least: u64) -> u64 {
        let wants = format!("a whole number of at least {least}");
        let value: u64 = self.parsed(name, &wants);
        if value < least && self.problems.last().is_none_or(|problem| problem.variable != name) {
            self.problem(name, value.to_string(), wants);
        }
        value
    }

    /// An optional number that no run may be started with where it does not fit.
    fn within(&mut self, name: &str, range: RangeInclusive<u32>) {
        let fits = |text: &String| text.parse().is_ok_and(|number| range.contains(&number));
        if let Some(text) = self.text(name).filter(|text| !fits(text)) {
            self.problem(name, text, format!("{} to {}", range.start(), range.end()));
        }
    }

    fn seconds(&mut self, name: &str, least: u64) -> Duration {
        Duration::from_secs(self.number(name, least))
    }

    fn store_url(&mut self) -> String {
        let wants = "sqlite:/path/of/a/file or firestore:project[/database]";
        let Some(url) = self.text("STORE_URL") else {
            let database = self.text("FIRESTORE_DATABASE").unwrap_or_else(|| "(default)".into());
            return match self.text("GCP_PROJECT_ID") {
                Some(project) => format!("firestore:{project}/{database}"),
                None => {
                    self.problem(
                        "GCP_PROJECT_ID",
                        "",
                        "a Google Cloud project id, as STORE_URL is not set (locally: STORE_URL=sqlite:/path/of/a/file)",
                    );
                    String::new()
                }
            };
        };
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => format!("sqlite:{}", absolute(Path::new(path)).display()),
            Some(("firestore", place)) if !place.is_empty() => url,
            _ => {
                self.problem("STORE_URL", url, wants);
                String::new()
            }
        }
    }

    fn naming(&mut self) -> Naming {
        Naming::read(self.lookup).unwrap_or_else(|problems| {
            self.problems.extend(problems);
            Naming::default()
        })
    }

    fn controller_id(&mut self) -> String {
        let id = self.text("CONTROLLER_ID").or_else(|| self.text("HOSTNAME")).unwrap_or_else(|| "controller".into());
        if id.contains('/') || id.len() > 128 || id.starts_with("__") || id == "." || id == ".." {
            self.problem("CONTROLLER_ID", id.clone(), "at most 128 bytes without a slash");
        }
        id
    }
}

/// What stands in for a value that was reported as a problem.
trait Fallback {
    fn fallback() -> Self;
}

impl Fallback for u64 {
    fn fallback() -> Self {
        1
    }
}

impl Fallback for String {
    fn fallback() -> Self {
        Self::new()
    }
}

impl Fallback for bool {
    fn fallback() -> Self {
        true
    }
}

impl Fallback for SocketAddr {
    fn fallback() -> Self {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Scheme, host and port alone; the meeting-bot checks it in full.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.map(|rest| rest.trim_end_matches('/')).is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '@', '?', '#']))
}

mod access;
mod outgoing;
mod pace;
mod runs;
#[cfg(test)]
mod tests;
