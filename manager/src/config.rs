//! The environment of a run, parsed and checked as a whole: every problem is reported at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bot_model::configuration::{Naming, Problem};
use bot_model::display_name::LONGEST;
use bot_model::ids::InstanceId;
use bot_model::lease::LeaseTimings;
use bot_model::other_bots::parse_patterns;
use bot_model::picture;
use bot_model::platform::{OTHER_PLATFORMS_WANTS, OtherPlatforms};
use bot_model::process as names;
use bot_model::scratch::EarlierRun;
use bot_model::segment::is_run_label;
use bot_model::session::{CaptureSettings, DEAD_MAN_SWITCH, GREETING_CHARACTERS, LEAVE_BUDGET, OVERSTAY, SessionLimits};

use crate::media::Encoding;
use crate::sidecar::{Contract, ReferenceSettings};

/// Everything that a run needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The instance.
    pub instance: InstanceId,
    /// The attempt that this run belongs to.
    pub attempt: u32,
    /// Identifies this run.
    pub run_id: String,
    /// Names in the store.
    pub naming: Naming,
    /// Where the store is.
    pub store_url: String,
    /// Where the files go.
    pub recordings_url: String,
    /// Where the meeting-bot answers.
    pub sidecar_url: String,
    /// What it speaks.
    pub sidecar_contract: Contract,
    /// For one of the existing images.
    pub reference: ReferenceSettings,
    /// How what cannot be copied is encoded.
    pub encoding: Encoding,
    /// The picture that the meeting-bot records (`CAPTURE_SIZE`, `CAPTURE_FRAMES_PER_SECOND`, `CAPTURE_CRF`).
    pub capture: CaptureSettings,
    /// Folder of the run.
    pub scratch: PathBuf,
    /// Earlier runs of this instance whose scratch lies on this machine.
    pub earlier_runs: Vec<EarlierRun>,
    /// The run lease's clocks.
    pub timings: LeaseTimings,
    /// How long an unleased manager stays in the call; `None` is without limit.
    pub max_unleased: Option<Duration>,
    /// The bot's limits.
    pub limits: SessionLimits,
    /// Name shown where the document names none.
    pub default_bot_name: String,
    /// Posted to the call's chat once.
    pub greeting: Option<String>,
    /// Between two live pictures; `None` takes none.
    pub picture_every: Option<Duration>,
    /// How long to wait for what does not happen.
    pub patience: Patience,
}

/// How long a run waits for what does not happen. No settings: they follow from the contract with the meeting-bot, and tests alone
/// shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A meeting-bot that does not answer is gone; a restarted one joins again.
    pub silent: Duration,
    /// A meeting-bot that refuses our session, being busy with another: longer than that one can outlive its own manager.
    pub refused: Duration,
    /// From asking the bot to leave to going on without its word.
    pub leaving: Duration,
    /// After a SIGTERM, to carry out what lies on the disk.
    pub drain_on_stop: Duration,
    /// Beyond the longest stay that the limits allow: a bot that keeps none of them is made to leave.
    pub overstay: Duration,
    /// For a terminal commit while the store is away: the files are safe, only the word is missing.
    pub settle: Duration,
}

impl Patience {
    /// The same for a run whose disk goes with it, so long after SIGTERM: it carries out for as long as leaving and the last word allow.
    #[must_use]
    fn with_grace(self, grace: Duration) -> Self {
        let drain_on_stop = (grace.saturating_sub(self.leaving) * 2 / 3).max(Duration::from_secs(10));
        Self { drain_on_stop, ..self }
    }
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            silent: seconds(60),
            refused: DEAD_MAN_SWITCH + LEAVE_BUDGET + seconds(35),
            leaving: LEAVE_BUDGET + seconds(20),
            drain_on_stop: seconds(60),
            overstay: OVERSTAY,
            settle: seconds(300),
        }
    }
}

/// Where the bucket is, and nothing else.
pub(crate) fn bucket_alone(lookup: impl Fn(&str) -> Option<String>) -> Result<String, Vec<Problem>> {
    let mut reader = Reader::new(lookup);
    let url = reader.recordings_url();
    url.ok_or(reader.problems)
}

/// Reads variables and gathers problems.
pub(crate) struct Reader<F> {
    lookup: F,
    pub(crate) problems: Vec<Problem>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(crate) fn new(lookup: F) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// Where the store is.
    pub(crate) fn store_url(&mut self) -> Option<String> {
        self.required(names::STORE_URL, "sqlite:/path or firestore:project", |text| text.contains(':').then(|| text.to_owned()))
    }

    /// Where the files go.
    pub(crate) fn recordings_url(&mut self) -> Option<String> {
        let wants = "gs://bucket, s3://bucket or file:///folder";
        self.required(names::RECORDINGS_URL, wants, |text| text.contains("://").then(|| text.to_owned()))
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn required<T>(&mut self, name: &str, wants: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let got = self.text(name).unwrap_or_default();
        let parsed = parse(got.trim());
        if parsed.is_none() {
            self.problems.push(Problem { variable: name.into(), got, wants: wants.into() });
        }
        parsed
    }

    fn optional<T>(&mut self, name: &str, wants: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.text(name).is_some().then(|| self.required(name, wants, parse))?
    }

    /// A line of text of so many characters at most.
    fn line(&mut self, name: &str, most: usize) -> Option<String> {
        let fits = |text: &str| text.chars().count() <= most && !text.chars().any(char::is_control);
        self.optional(name, &format!("at most {most} printable characters"), |text| fits(text).then(|| text.to_owned()))
    }

    /// A whole number of `unit` seconds.
    pub(crate) fn seconds(&mut self, name: &str, unit: u64, default: u64) -> u64 {
        let parsed = self.optional(name, "a whole number", |text| text.parse::<u64>().ok()?.checked_mul(unit));
        parsed.unwrap_or(default)
    }
}

impl Config {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    /// Every unusable variable.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let naming = Naming::read(&lookup);
        let mut reader = Reader::new(lookup);
        let instance = reader.required(names::BOT_INSTANCE_ID, "the id of a bot_instances document", InstanceId::parse);
        let attempt =
            reader.required(names::ATTEMPT, "a whole number from 1", |text| text.parse().ok().filter(|attempt| *attempt >= 1));
        let run_id = reader.required(names::RUN_ID, "1 to 32 characters of a-z and 0-9, or a uid", run_label);
        let (store_url, recordings_url) = (reader.store_url(), reader.recordings_url());
        let scratch = reader.required(names::SCRATCH_DIR, "a folder", |text| (!text.is_empty()).then(|| PathBuf::from(text)));
        let sidecar_url = reader.text(names::MEETING_BOT_API_URL).unwrap_or_else(|| "http://127.0.0.1:3000".into());
        let contract = reader.optional(names::SIDECAR_CONTRACT, "auto, v1 or reference", Contract::parse).unwrap_or_default();
        let reference = reference(&mut reader, scratch.as_deref());
        let encoding = encoding(&mut reader);
        let capture = capture(&mut reader);
        let timings = match reader.seconds(names::RUN_LEASE_TTL_SECONDS, 1, 60) {
            60 => LeaseTimings::default(),
            ttl => LeaseTimings::from_ttl(Duration::from_secs(ttl.max(3))),
        };
        let max_unleased = reader.optional(names::MAX_UNLEASED_SECONDS, "a whole number of seconds", |text| {
            text.parse().ok().map(Duration::from_secs)
        });
        let earlier_runs =
            reader.optional(names::EARLIER_RUNS, "a JSON array of earlier runs", parse_earlier).unwrap_or_default();
        reader.optional(names::OTHER_PLATFORMS, OTHER_PLATFORMS_WANTS, OtherPlatforms::parse);
        let grace = reader.optional(names::TERMINATION_GRACE_SECONDS, "a whole number of seconds", |text| {
            text.parse().ok().map(Duration::from_secs)
        });
        let limits = limits(&mut reader);
        let default_bot_name = reader.line(names::DEFAULT_BOT_NAME, LONGEST);
        let default_bot_name = default_bot_name.unwrap_or_else(|| "Meeting Bot".into());
        let greeting = reader.line(names::GREETING, GREETING_CHARACTERS);
        let picture_every = reader.seconds(names::LIVE_PICTURE_SECONDS, 1, picture::DEFAULT_EVERY_SECS);
        let mut problems = reader.problems;
        let naming = naming.map_err(|found| problems.extend(found)).ok();
        match (instance, attempt, run_id, store_url, recordings_url, scratch, naming) {
            (Some(instance), Some(attempt), Some(run_id), Some(store_url), Some(recordings_url), Some(scratch), Some(naming))
                if problems.is_empty() =>
            {
                Ok(Self {
                    instance,
                    attempt,
                    run_id,
                    naming,
                    store_url,
                    recordings_url,
                    sidecar_url,
                    sidecar_contract: contract,
                    reference,
                    encoding,
                    capture,
                    scratch,
                    earlier_runs,
                    timings,
                    max_unleased,
                    limits,
                    default_bot_name,
                    greeting,
                    picture_every: (picture_every > 0).then(|| Duration::from_secs(picture_every)),
                    patience: grace.map_or_else(Patience::default, |grace| Patience::default().with_grace(grace)),
                })
            }
            _ => Err(problems),
        }
    }
}

/// A pod's uid is known by its characters alone.
fn run_label(text: &str) -> Option<String> {
    let plain = text.replace('-', "");
    is_run_label(&plain).then_some(plain)
}

fn parse_earlier(text: &str) -> Option<Vec<EarlierRun>> {
    let runs: Vec<EarlierRun> = serde_json::from_str(text).ok()?;
    runs.iter().all(|run| is_run_label(&run.run) && run.attempt >= 1).then_some(runs)
}

/// The images write to `TEMPVIDEO_DIR` where they know it, else to a folder of their own, at which a pod mounts the scratch volume.
fn reference<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>, scratch: Option<&Path>) -> ReferenceSettings {
    let port = reader.optional(names::SIDECAR_CALLBACK_PORT, "a port", |text| text.parse().ok());
    let told = reader.text(names::TEMPVIDEO_DIR).map(PathBuf::from);
    let scratch = scratch.map(|scratch| [scratch.join("tempvideo"), scratch.to_owned()]);
    let stock = PathBuf::from(names::STOCK_TEMPVIDEO_DIR);
    ReferenceSettings {
        callback_port: port.unwrap_or(names::DEFAULT_SIDECAR_CALLBACK_PORT),
        recording_roots: told.into_iter().chain(scratch.into_iter().flatten()).chain([stock]).collect(),
    }
}

fn encoding<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Encoding {
    let default = Encoding::default();
    let preset = reader.optional(names::ENCODE_PRESET, "an x264 preset", Encoding::preset);
    let number = |text: &str, range: std::ops::RangeInclusive<u32>| text.parse().ok().filter(|number| range.contains(number));
    let crf = reader.optional(names::ENCODE_CRF, "0 to 51", |text| number(text, 0..=51));
    let audio_kbps = reader.optional(names::ENCODE_AUDIO_KBPS, "32 to 512", |text| number(text, 32..=512));
    Encoding {
        preset: preset.unwrap_or(default.preset),
        crf: crf.unwrap_or(default.crf),
        audio_kbps: audio_kbps.unwrap_or(default.audio_kbps),
    }
}

fn capture<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> CaptureSettings {
    let default = CaptureSettings::default();
    let number = |text: &str, range: std::ops::RangeInclusive<u32>| text.parse().ok().filter(|number| range.contains(number));
    let size = reader.optional(names::CAPTURE_SIZE, CaptureSettings::SIZE_WANTS, CaptureSettings::parse_size);
    let rate = reader.optional(names::CAPTURE_FRAMES_PER_SECOND, "1 to 60", |text| number(text, CaptureSettings::RATES));
    let crf = reader.optional(names::CAPTURE_CRF, "0 to 51", |text| number(text, CaptureSettings::CRFS));
    let (width, height) = size.unwrap_or((default.width, default.height));
    CaptureSettings {
        width,
        height,
        frames_per_second: rate.unwrap_or(default.frames_per_second),
        crf: crf.unwrap_or(default.crf),
        ..default
    }
}

fn limits<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> SessionLimits {
    let default = SessionLimits::default();
    SessionLimits {
        max_recording_secs: reader.seconds(names::MAX_RECORDING_DURATION_MINUTES, 60, default.max_recording_secs),
        silence_secs: reader.seconds(names::MEETING_INACTIVITY_MINUTES, 60, default.silence_secs),
        silence_start_delay_secs: reader.seconds(
            names::INACTIVITY_DETECTION_START_DELAY_MINUTES,
            60,
            default.silence_start_delay_secs,
        ),
        lobby_timeout_secs: reader.seconds(names::LOBBY_TIMEOUT_MINUTES, 60, default.lobby_timeout_secs),
        everyone_left_secs: reader.seconds(names::EVERYONE_LEFT_SECONDS, 1, default.everyone_left_secs),
        no_one_joined_secs: reader.seconds(names::NO_ONE_JOINED_SECONDS, 1, default.no_one_joined_secs),
        host_timeout_secs: reader.seconds(names::HOST_TIMEOUT_MINUTES, 60, default.host_timeout_secs),
        join_timeout_secs: reader.seconds(names::JOIN_TIMEOUT_SECONDS, 1, default.join_timeout_secs),
        reconnect_secs: reader.seconds(names::RECONNECT_TIMEOUT_SECONDS, 1, default.reconnect_secs),
        other_bot_names: reader
            .optional(names::OTHER_BOT_NAMES, "names separated by commas, * for anything, none of them * alone", parse_patterns)
            .unwrap_or(default.other_bot_names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        let mut pairs = vec![
            ("BOT_INSTANCE_ID", "b1"),
            ("ATTEMPT", "1"),
            ("RUN_ID", "r1"),
            ("STORE_URL", "sqlite:/s"),
            ("RECORDINGS_URL", "file:///r"),
            ("SCRATCH_DIR", "/s"),
        ];
        pairs.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        pairs.extend(extra);
        Config::read(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_picture_is_a_setting_and_what_no_bot_takes_is_refused() {
        let asked = [("CAPTURE_SIZE", "1920x1080"), ("CAPTURE_FRAMES_PER_SECOND", "25"), ("CAPTURE_CRF", "23")];
        let capture = read(&asked).unwrap().capture;
        assert_eq!((capture.width, capture.height, capture.frames_per_second, capture.crf), (1920, 1080, 25, 23));
        assert_eq!(read(&[("CAPTURE_SIZE", "")]).unwrap().capture, CaptureSettings::default());
        let wrong = [("CAPTURE_SIZE", "1281x720"), ("CAPTURE_FRAMES_PER_SECOND", "0"), ("CAPTURE_CRF", "good")];
        assert_eq!(read(&wrong).unwrap_err().len(), 3);
    }

    #[test]
    fn the_seed_s_minutes_become_the_bot_s_limits() {
        let config = read(&[("MAX_RECORDING_DURATION_MINUTES", "2"), ("MEETING_INACTIVITY_MINUTES", "")]).unwrap();
        assert_eq!((config.limits.max_recording_secs, config.limits.silence_secs), (120, 900));
    }

    #[test]
    fn a_pod_s_uid_is_a_run_id() {
        let config = read(&[("RUN_ID", "0f8e2a4c-9d31-4c55-8a0b-7c2d3e4f5a6b")]).unwrap();
        assert_eq!(config.run_id, "0f8e2a4c9d314c558a0b7c2d3e4f5a6b");
    }

    #[test]
    fn name_and_greeting_are_what_the_bot_can_show() {
        let config = read(&[("DEFAULT_BOT_NAME", " Note taker "), ("GREETING", "")]).unwrap();
        assert_eq!((config.default_bot_name.as_str(), config.greeting), ("Note taker", None));
        let problems = read(&[("DEFAULT_BOT_NAME", &"x".repeat(65)), ("GREETING", "two\nlines")]).unwrap_err();
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems =
            read(&[("ATTEMPT", "0"), ("RUN_ID", "A B"), ("MEETING_INACTIVITY_MINUTES", "soon"), ("MEETINGS_QUERY_MODE", "x")]);
        assert_eq!(problems.unwrap_err().len(), 4);
    }

    #[test]
    fn a_run_whose_disk_goes_with_it_carries_out_for_as_long_as_it_may_live_after_sigterm() {
        let drain = |grace: &str| read(&[("TERMINATION_GRACE_SECONDS", grace)]).unwrap().patience;
        assert_eq!(drain("").drain_on_stop, Duration::from_secs(60));
        let given = drain("300");
        assert_eq!(given.drain_on_stop, Duration::from_secs(180));
        // Leaving, carrying out, and saying how the call ended.
        assert!(given.leaving + given.drain_on_stop + given.drain_on_stop / 3 < Duration::from_secs(300));
        assert_eq!(drain("30").drain_on_stop, Duration::from_secs(10));
        assert_eq!(read(&[("TERMINATION_GRACE_SECONDS", "soon")]).unwrap_err().len(), 1);
    }

    #[test]
    fn earlier_runs_that_could_lead_elsewhere_in_the_bucket_are_refused() {
        let run = |label: &str| format!(r#"[{{"attempt":1,"run":"{label}","scratch":"/runs/a1/scratch"}}]"#);
        assert_eq!(read(&[("EARLIER_RUNS", &run("r1"))]).unwrap().earlier_runs[0].attempt, 1);
        for value in [run("../../x"), run(""), "/runs/a1".to_owned()] {
            assert_eq!(read(&[("EARLIER_RUNS", &value)]).unwrap_err()[0].variable, "EARLIER_RUNS");
        }
    }
}
