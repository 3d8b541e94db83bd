//! Where runs are launched, and what each of them is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bot_model::configuration::Naming;
use bot_model::debug_bundle::Policy;
use bot_model::display_name::LONGEST;
use bot_model::platform::{OTHER_PLATFORMS_WANTS, OtherPlatforms};
use bot_model::process;
use bot_model::session::{CaptureSettings, GREETING_CHARACTERS, SessionLimits};

use super::{LauncherKind, Needs, Pace, Reader, RunsConfig, absolute, is_origin};
use crate::launch::kubernetes::config::{Common, KubernetesConfig, RunLimits};
use crate::settings::SETTINGS;

impl<L: Fn(&str) -> Option<String>> Reader<'_, L> {
    pub(super) fn runs(&mut self, needs: Needs, launcher: LauncherKind) -> RunsConfig {
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

    pub(super) fn launcher(&mut self, needs: Needs, store_url: &str) -> LauncherKind {
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

    pub(super) fn kubernetes(&mut self, store_url: &str, pace: &Pace, runs: &RunsConfig) -> KubernetesConfig {
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

    pub(super) fn handed_on(&mut self, store_url: &str, recordings_url: &str) -> BTreeMap<String, String> {
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
