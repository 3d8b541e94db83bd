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
use bot_model::capacity::day::TimeZone;
use bot_model::capacity::ledger::MOST_PLACES;
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::configuration::{Naming, Problem};
use bot_model::debug_bundle::Policy;
use bot_model::display_name::LONGEST;
use bot_model::lease::LeaseTimings;
use bot_model::platform::{OTHER_PLATFORMS_WANTS, OtherPlatforms};
use bot_model::process;
use bot_model::schedule::StartWindow;
use bot_model::session::{CaptureSettings, GREETING_CHARACTERS, SessionLimits};
use secrecy::SecretString;

use crate::launch::kubernetes::config::{Common, KubernetesConfig, RunLimits};
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
    /// Runs are processes on this machine: the one-machine set-up.
    pub launches_here: bool,
    /// Private authorities whose certificates receivers may show.
    pub webhook_authorities: webhooks::Authorities,
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
    /// Settings that every manager gets unchanged: names of [`process::HANDED_ON`] and of the naming.
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
        let config = Self {
            naming: reader.naming(),
            controller_id: reader.controller_id(),
            pace,
            api: reader.api(http_listen),
            portal_secret: reader.portal_secret(),
            webhook_allow: reader.webhook_allow(),
            launches_here: launcher == LauncherKind::Process,
            webhook_authorities: reader.webhook_authorities(),
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

    fn api(&mut self, http_listen: SocketAddr) -> ApiConfig {
        let listen = self.text("API_LISTEN").is_some().then(|| self.parsed("API_LISTEN", "an address such as 0.0.0.0:8090"));
        let access: String = self.parsed("API_ACCESS", Access::WANTS);
        let is_reachable = !listen.unwrap_or(http_listen).ip().is_loopback();
        let access = match Access::parse(&access) {
            Some(Access::DangerOpen) if is_reachable => {
                let wants = "keys, as others than this machine can reach the API (API_LISTEN, or else HTTP_LISTEN, is no loopback address)";
                self.problem("API_ACCESS", access, wants);
                Access::Keys
            }
            Some(access) => access,
            None => {
                self.problem("API_ACCESS", access, Access::WANTS);
                Access::Keys
            }
        };
        let link_secret = self.text("API_LINK_SECRET");
        if link_secret.as_ref().is_some_and(|secret| secret.len() < 32) {
            self.problem(
                "API_LINK_SECRET",
                "(a secret)",
                "at least 32 characters at random, such as openssl rand -hex 32 prints",
            );
        }
        let (oidc, rate, cors_origins) = (self.oidc(), self.rate(), self.origins());
        ApiConfig { access, listen, oidc, rate, cors_origins, link_secret: link_secret.map(SecretString::from) }
    }

    fn portal_secret(&mut self) -> Option<SecretString> {
        let secret = self.text("PORTAL_SECRET")?;
        if secret.len() < portal::seal::SHORTEST_SECRET {
            self.problem(
                "PORTAL_SECRET",
                "(a short text)",
                "at least 32 characters that nobody can guess, the same on every replica",
            );
            return None;
        }
        Some(SecretString::from(secret))
    }

    fn webhook_allow(&mut self) -> webhooks::Allowed {
        let text = self.text("WEBHOOK_ALLOW").unwrap_or_default();
        webhooks::Allowed::parse(&text).unwrap_or_else(|entry| {
            self.problem("WEBHOOK_ALLOW", entry, webhooks::Allowed::WANTS);
            webhooks::Allowed::default()
        })
    }

    fn webhook_authorities(&mut self) -> webhooks::Authorities {
        let Some(file) = self.text("WEBHOOK_CA_FILE") else { return webhooks::Authorities::default() };
        let read = std::fs::read(&file).map_err(|error| error.to_string());
        let found = read.and_then(|pem| webhooks::Authorities::parse(&pem).map_err(|error| error.to_string()));
        found.unwrap_or_else(|error| {
            self.problem("WEBHOOK_CA_FILE", format!("{file} ({error})"), webhooks::Authorities::WANTS);
            webhooks::Authorities::default()
        })
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

    fn pace(&mut self) -> Pace {
        let ttl = self.seconds("RUN_LEASE_TTL_SECONDS", 3);
        let is_listening = self.parsed("LISTEN", "true or false");
        let sweep = match self.text("SWEEP_INTERVAL_SECONDS") {
            Some(_) => self.seconds("SWEEP_INTERVAL_SECONDS", 1),
            None => Duration::from_secs(if is_listening { 600 } else { 60 }),
        };
        let max_unleased = self.text("MAX_UNLEASED_SECONDS").is_some().then(|| self.seconds("MAX_UNLEASED_SECONDS", 1));
        Pace {
            poll: self.seconds("POLL_INTERVAL", 1),
            is_listening,
            reap: self.seconds("REAP_INTERVAL_SECONDS", 1),
            sweep,
            window: StartWindow { lead: self.seconds("JOIN_LEAD_SECONDS", 0), max_late: self.seconds("MAX_LATE_SECONDS", 1) },
            claim_ttl: self.seconds("CLAIM_TTL_SECONDS", 1),
            owner_silent: Duration::from_secs(bot_store::protocol::heartbeat::OWNER_SILENT_SECS),
            max_claims: usize::try_from(self.number("MAX_CLAIM_PER_POLL", 1)).unwrap_or(usize::MAX),
            lease: LeaseTimings::from_ttl(ttl),
            max_unleased,
            max_recording: Duration::from_secs(60 * self.number("MAX_RECORDING_DURATION_MINUTES", 1)),
            limits: self.limits(),
            ageing: self.seconds("QUEUE_AGEING_SECONDS", 1),
            max_pending: usize::try_from(self.number("MAX_PENDING_BOTS", 1)).unwrap_or(usize::MAX),
        }
    }

    fn limits(&mut self) -> Limits {
        let time_zone = self.text("ORGANIZATION_TIME_ZONE").unwrap_or_else(|| "UTC".into());
        let time_zone = TimeZone::parse(&time_zone).unwrap_or_else(|| {
            self.problem("ORGANIZATION_TIME_ZONE", time_zone, "a name of the IANA time zone data base, such as Europe/Zurich");
            TimeZone::default()
        });
        let default = OrganizationLimits {
            time_zone,
            max_active_bots: self.at_most("MAX_ACTIVE_BOTS_PER_ORGANIZATION", MOST_PLACES),
            max_bots_per_day: self.at_most("MAX_BOTS_PER_DAY_PER_ORGANIZATION", u32::MAX),
        };
        Limits { active: self.at_most("MAX_ACTIVE_BOTS", MOST_PLACES), default, organizations: BTreeMap::new() }
    }

    /// An optional number from 1 on.
    fn at_most(&mut self, name: &str, most: u32) -> Option<u32> {
        self.within(name, 1..=most);
        self.text(name).and_then(|text| text.parse().ok())
    }

    fn runs(&mut self, needs: Needs, launcher: LauncherKind) -> RunsConfig {
        let needs_programs = needs == Needs::Everything && launcher == LauncherKind::Process;
        let recordings_url = self.recordings_url(needs);
        let folder = self.text("RUNS_DIR").map_or_else(|| std::env::temp_dir().join("meeting-bot-runs"), PathBuf::from);
        let practice_origin = self.text("PRACTICE_ROOM_ORIGIN");
        if let Some(origin) = practice_origin.clone().filter(|origin| !is_origin(origin)) {
            self.problem("PRACTICE_ROOM_ORIGIN", origin, "an origin such as http://127.0.0.1:8400");
        }
        RunsConfig {
            folder: absolute(&folder),
            max_live: self.max_live(launcher),
            is_measured: self.is_measured(),
            manager: self.program(needs_programs, "MANAGER_BIN", "manager"),
            meeting_bot: self.program(needs_programs, "MEETING_BOT_BIN", "meeting-bot"),
            recordings_url,
            handed_on: BTreeMap::new(),
            practice_origin,
        }
    }

    fn max_live(&mut self, launcher: LauncherKind) -> usize {
        if self.text("MAX_LIVE_BOTS").is_some() {
            return usize::try_from(self.number("MAX_LIVE_BOTS", 1)).unwrap_or(usize::MAX);
        }
        match launcher {
            LauncherKind::Process => 4,
            LauncherKind::Kubernetes => 500,
        }
    }

    fn is_measured(&mut self) -> bool {
        let admission: String = self.parsed("MACHINE_ADMISSION", "measured or off");
        if !matches!(admission.as_str(), "measured" | "off") {
            self.problem("MACHINE_ADMISSION", admission.clone(), "measured or off");
        }
        admission != "off"
    }

    fn launcher(&mut self, needs: Needs, store_url: &str) -> LauncherKind {
        let default = if store_url.starts_with("sqlite:") { "process" } else { "kubernetes" };
        let launcher = self.text("LAUNCHER").unwrap_or_else(|| default.into());
        match launcher.as_str() {
            "process" => LauncherKind::Process,
            "kubernetes" => {
                if needs == Needs::Everything && store_url.starts_with("sqlite:") {
                    self.problem("LAUNCHER", launcher, "process, as STORE_URL is sqlite: a file that no pod can reach");
                }
                LauncherKind::Kubernetes
            }
            _ => {
                self.problem("LAUNCHER", launcher, "process or kubernetes");
                LauncherKind::Process
            }
        }
    }

    fn kubernetes(&mut self, store_url: &str, pace: &Pace, runs: &RunsConfig) -> KubernetesConfig {
        let bot = SessionLimits::default();
        let lobby = self.text("LOBBY_TIMEOUT_MINUTES").and_then(|text| text.parse::<u64>().ok()).map(|minutes| minutes * 60);
        let joining = bot.join_timeout_secs + lobby.unwrap_or(bot.lobby_timeout_secs);
        let common = Common {
            store_url: store_url.to_owned(),
            limits: RunLimits {
                pending: pace.window.lead + pace.window.max_late,
                joining: Duration::from_secs(joining),
                recording: pace.max_recording,
                encoding: Duration::ZERO,
            },
            max_live: runs.max_live,
            handed_on: runs.handed_on.clone(),
            practice_origin: runs.practice_origin.clone(),
        };
        let lookup = self.lookup;
        // A derived default stands in parentheses, and is left to who derives it.
        let default = |name: &str| SETTINGS.iter().find(|setting| setting.name == name).map(|setting| setting.default);
        let known = |name: &str| default(name).filter(|text| !text.is_empty() && !text.starts_with('(')).map(str::to_owned);
        let given = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        KubernetesConfig::read(|name| given(name).or_else(|| known(name)), common, &mut self.problems)
    }

    fn recordings_url(&mut self, needs: Needs) -> String {
        let wants = "gs://bucket, s3://bucket or file:///folder";
        match (self.text("RECORDINGS_URL"), self.text("GCS_BUCKET")) {
            (Some(url), _) => {
                let known =
                    ["gs://", "s3://", "file:///"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
                if !known {
                    self.problem("RECORDINGS_URL", url.clone(), wants);
                }
                url
            }
            (None, Some(bucket)) => format!("gs://{bucket}"),
            (None, None) if needs == Needs::Store => String::new(),
            (None, None) => {
                self.problem(
                    "GCS_BUCKET",
                    "",
                    "a bucket name, as RECORDINGS_URL is not set (locally: RECORDINGS_URL=file:///folder)",
                );
                String::new()
            }
        }
    }

    fn program(&mut self, is_needed: bool, name: &str, default: &str) -> PathBuf {
        let given = self.text(name).map(PathBuf::from);
        let path = given.unwrap_or_else(|| {
            std::env::current_exe().ok().and_then(|own| own.parent().map(|folder| folder.join(default))).unwrap_or_default()
        });
        if is_needed && !path.is_file() {
            self.problem(name, path.display().to_string(), format!("the path of the {default} program"));
        }
        absolute(&path)
    }

    /// What the bots show, write and take an identity from.
    fn lines(&mut self) {
        for (name, most) in [(process::DEFAULT_BOT_NAME, LONGEST), (process::GREETING, GREETING_CHARACTERS)] {
            let fits = |text: &String| text.chars().count() <= most && !text.chars().any(char::is_control);
            if let Some(text) = self.text(name).filter(|text| !fits(text)) {
                self.problem(name, text, format!("at most {most} printable characters"));
            }
        }
        if let Some(text) = self.text(process::DEBUG_BUNDLE).filter(|text| Policy::parse(text).is_none()) {
            self.problem(process::DEBUG_BUNDLE, text, "off, failures or always");
        }
        if let Some(text) = self.text(process::READ_CHAT).filter(|text| !matches!(text.as_str(), "true" | "false")) {
            self.problem(process::READ_CHAT, text, "true or false");
        }
        for name in [process::BROWSER_PROFILE_DIR, process::BROWSER_STORAGE_STATE] {
            if let Some(path) = self.text(name).filter(|path| !Path::new(path).is_absolute() || !Path::new(path).exists()) {
                self.problem(name, path, "an absolute path that exists on this machine");
            }
        }
    }

    fn handed_on(&mut self, store_url: &str, recordings_url: &str) -> BTreeMap<String, String> {
        for name in ["MEETING_INACTIVITY_MINUTES", "INACTIVITY_DETECTION_START_DELAY_MINUTES", "RAW_RETENTION_HOURS"] {
            self.number(name, 0);
        }
        let optional = [
            "LOBBY_TIMEOUT_MINUTES",
            "EVERYONE_LEFT_SECONDS",
            "NO_ONE_JOINED_SECONDS",
            process::HOST_TIMEOUT_MINUTES,
            process::JOIN_TIMEOUT_SECONDS,
            process::RECONNECT_TIMEOUT_SECONDS,
            process::SIDECAR_CALLBACK_PORT,
            process::ENCODE_CRF,
            process::ENCODE_AUDIO_KBPS,
        ];
        for name in optional {
            if self.text(name).is_some() {
                self.number(name, 0);
            }
        }
        self.lines();
        self.within(process::CAPTURE_FRAMES_PER_SECOND, CaptureSettings::RATES);
        self.within(process::CAPTURE_CRF, CaptureSettings::CRFS);
        if let Some(size) = self.text(process::CAPTURE_SIZE).filter(|size| CaptureSettings::parse_size(size).is_none()) {
            self.problem(process::CAPTURE_SIZE, size, CaptureSettings::SIZE_WANTS);
        }
        let names = self.text(process::OTHER_BOT_NAMES);
        if let Some(names) = names.filter(|names| bot_model::other_bots::parse_patterns(names).is_none()) {
            let wants = "names separated by commas, * for anything, none of them * alone";
            self.problem(process::OTHER_BOT_NAMES, names, wants.to_owned());
        }
        let platforms = self.text(process::OTHER_PLATFORMS);
        if let Some(platforms) = platforms.filter(|platforms| OtherPlatforms::parse(platforms).is_none()) {
            self.problem(process::OTHER_PLATFORMS, platforms, OTHER_PLATFORMS_WANTS);
        }
        let mut variables = BTreeMap::new();
        for name in process::HANDED_ON {
            if let Some(value) = self.text(name) {
                variables.insert(name.to_owned(), value);
            }
        }
        let naming = Naming::read(self.lookup).unwrap_or_default();
        variables.extend(naming.variables().into_iter().map(|(name, value)| (name.to_owned(), value)));
        variables.insert(process::STORE_URL.into(), store_url.into());
        variables.insert(process::RECORDINGS_URL.into(), recordings_url.into());
        variables
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
#[cfg(test)]
mod tests;
