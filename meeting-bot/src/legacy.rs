//! The contract of the existing images, answered: `POST /{google|microsoft|zoom}/join`, a busy flag, and at its end the file where their
//! managers look for it (reference original-systems.md sections 1.1 to 1.4 and 1.9).
//!
//! The session is one of ours, recorded to segments as ever; the file is made of them by copy when it is over ([`file`]), and only then
//! is this process no longer busy. Such a manager polls `/isbusy`, so for a session that came this way that is the sign of life. A
//! session of `/v1` is kept alive by its own polls alone, as before.

mod file;
mod report;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bot_model::meeting_url::{MeetingUrl, Platform};
use bot_model::process as names;
use bot_model::session::{CaptureSettings, SessionLimits, StartSession};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http::App;
use crate::session::hub::{Admission, Hub};
use crate::session::{checks, run};
use report::Backend;

/// How often the session is kept from being forgotten while its file is made.
const STILL_HERE: Duration = Duration::from_secs(5);
/// Longest name in a call.
const NAME_CHARACTERS: usize = 64;
/// Longest id that becomes part of a file's name.
const ID_BYTES: usize = 64;

/// What the images read from their environment, under their names.
#[derive(Debug, Clone)]
struct Settings {
    /// Where `{userId}/{file}` lies.
    root: PathBuf,
    /// `.webm`, `.mkv` or `.mp4`.
    extension: &'static str,
    limits: SessionLimits,
    backend: Backend,
}

/// What of this contract is not the session's own state.
#[derive(Debug)]
pub struct Legacy {
    settings: Settings,
    is_driven: AtomicBool,
    working: watch::Sender<bool>,
}

impl Legacy {
    /// Reads the environment through `lookup`; what is unusable there has its default, and is reported.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let settings = Settings::read(&|name: &str| lookup(name).filter(|text| !text.is_empty()));
        Self { settings, is_driven: AtomicBool::new(false), working: watch::Sender::new(false) }
    }

    /// Busy until the file is in its place.
    pub fn is_working(&self) -> bool {
        *self.working.borrow()
    }

    /// A poll of `/isbusy`.
    pub fn polled(&self, hub: &Hub) {
        if self.is_driven.load(Ordering::Relaxed) {
            hub.polled();
        }
    }

    /// Returns once there is no file to be made.
    pub async fn settled(&self) {
        // The sender is ours, so it is there.
        let _ = self.working.subscribe().wait_for(|working| !working).await;
    }
}

impl Settings {
    fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str, unit: u64, default: u64| {
            let Some(text) = lookup(name) else { return default };
            let parsed = text.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
            parsed.unwrap_or_else(|| {
                tracing::warn!(variable = name, got = text, "not a whole number; the default is taken");
                default
            })
        };
        let extension = lookup("UPLOADER_FILE_EXTENSION").unwrap_or_else(|| ".webm".into());
        let known = [".webm", ".mkv", ".mp4"].into_iter().find(|known| *known == extension);
        if known.is_none() {
            tracing::warn!(got = extension, "UPLOADER_FILE_EXTENSION wants .webm, .mkv or .mp4; .webm is taken");
        }
        let default = SessionLimits::default();
        let limits = SessionLimits {
            max_recording_secs: number(names::MAX_RECORDING_DURATION_MINUTES, 60, default.max_recording_secs),
            silence_secs: number(names::MEETING_INACTIVITY_MINUTES, 60, default.silence_secs),
            silence_start_delay_secs: number(
                names::INACTIVITY_DETECTION_START_DELAY_MINUTES,
                60,
                default.silence_start_delay_secs,
            ),
            everyone_left_secs: number("LONE_PARTICIPANT_EXIT_DELAY_SECONDS", 1, default.everyone_left_secs),
            lobby_timeout_secs: number("JOIN_WAIT_TIME_MINUTES", 60, default.lobby_timeout_secs),
            ..default
        };
        let root = lookup(names::TEMPVIDEO_DIR).unwrap_or_else(|| names::STOCK_TEMPVIDEO_DIR.into());
        Self { root: root.into(), extension: known.unwrap_or(".webm"), limits, backend: Backend::read(lookup) }
    }
}

/// The routes that only the existing images' managers use.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/google/join", post(|State(app): State<App>, body: Bytes| join(app, Platform::Meet, body)))
        .route("/microsoft/join", post(|State(app): State<App>, body: Bytes| join(app, Platform::Teams, body)))
        .route("/zoom/join", post(|State(app): State<App>, body: Bytes| join(app, Platform::Zoom, body)))
}

/// The body of a join. Whatever is no text counts as missing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JoinBody {
    bearer_token: Value,
    url: Value,
    name: Value,
    team_id: Value,
    timezone: Value,
    user_id: Value,
    bot_id: Value,
    event_id: Value,
}

/// A join that can be tried.
#[derive(Debug, Clone)]
struct Job {
    provider: &'static str,
    token: String,
    user_id: String,
    team_id: String,
    bot_id: Option<String>,
    event_id: Option<String>,
    meeting: MeetingUrl,
    name: String,
}

async fn join(app: App, platform: Platform, body: Bytes) -> Response {
    let body: JoinBody = serde_json::from_slice(&body).unwrap_or_default();
    let job = match Job::read(&body, platform) {
        Ok(job) => job,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, problem, None),
    };
    let (legacy, stem) = (app.legacy.clone(), job.stem());
    let folder = legacy.settings.root.join(&job.user_id);
    let parts = folder.join(format!("{stem}.parts"));
    if app.hub.state().session_id.is_some() {
        return busy(&job);
    }
    if let Err(error) = tokio::fs::create_dir_all(&parts).await {
        tracing::error!(%error, "the recording's folder cannot be made; TEMPVIDEO_DIR must name one that can be written to");
        let words = "the recording's folder cannot be made";
        return refused(StatusCode::INTERNAL_SERVER_ERROR, words, Some(job.ids()));
    }
    let session = job.session(&legacy.settings, stem.clone(), parts.clone());
    let problems = checks::problems(&session, app.config.practice_origin.as_deref());
    if let Some(problem) = problems.first() {
        let _ = tokio::fs::remove_dir(&parts).await;
        return refused(StatusCode::BAD_REQUEST, problem, Some(job.ids()));
    }
    if app.hub.admit(&session) != Admission::Fresh {
        return busy(&job);
    }
    legacy.is_driven.store(true, Ordering::Relaxed);
    legacy.working.send_replace(true);
    let answer = accepted(&job);
    let file = folder.join(format!("{stem}{}", legacy.settings.extension));
    tokio::spawn(async move {
        run::run(app.hub.clone(), app.config.clone(), session).await;
        tokio::select! {
            () = conclude(&app, &job, &parts, &file) => {}
            () = stay(&app.hub) => {}
        }
        app.legacy.working.send_replace(false);
    });
    answer
}

/// The session is over: its file, then the report.
async fn conclude(app: &App, job: &Job, parts: &Path, file: &Path) {
    let is_made = match file::make(parts, file).await {
        Ok(is_made) => is_made,
        Err(error) => {
            tracing::error!(%error, "the file could not be made; the segments are kept beside it");
            false
        }
    };
    app.legacy.settings.backend.report(job, &app.hub.state(), is_made).await;
}

async fn stay(hub: &Hub) {
    loop {
        hub.polled();
        tokio::time::sleep(STILL_HERE).await;
    }
}

impl Job {
    fn read(body: &JoinBody, platform: Platform) -> Result<Self, &'static str> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let wanted = [&body.bearer_token, &body.url, &body.name, &body.team_id, &body.timezone, &body.user_id];
        let [Some(token), Some(url), Some(name), Some(team_id), Some(_), Some(user_id)] = wanted.map(text) else {
            return Err("Missing required fields: bearerToken, url, name, teamId, timezone, userId");
        };
        let (bot_id, event_id) = (text(&body.bot_id), text(&body.event_id));
        if bot_id.is_none() && event_id.is_none() {
            return Err("Missing required fields: botId or eventId");
        }
        // Unlike in the images: these become part of a path.
        let ids = [Some(&user_id), bot_id.as_ref(), event_id.as_ref()];
        if !ids.into_iter().flatten().all(|id| is_plain(id)) {
            return Err("userId, botId and eventId must be 1 to 64 bytes without / and not begin with a dot");
        }
        let meeting = MeetingUrl::parse(&url).map_err(|_| "url is the address of no call on a supported platform")?;
        if meeting.platform() != platform {
            return Err("url is of another platform than this route");
        }
        let provider = match platform {
            Platform::Meet => "google",
            Platform::Teams => "microsoft",
            Platform::Zoom => "zoom",
            Platform::Other(_) => return Err("the reference contract knows Google, Microsoft and Zoom alone"),
        };
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(NAME_CHARACTERS).collect();
        Ok(Self { provider, token, user_id, team_id, bot_id, event_id, meeting, name })
    }

    /// The file's name without its extension; the 0 is a try that is always the first.
    fn stem(&self) -> String {
        let id = self.bot_id.as_ref().or(self.event_id.as_ref()).map_or("", String::as_str);
        BASE64URL_NOPAD.encode(format!("{}{id}0", self.user_id).as_bytes())
    }

    fn session(&self, settings: &Settings, stem: String, output_dir: PathBuf) -> StartSession {
        StartSession {
            session_id: stem.chars().take(128).collect(),
            meeting: self.meeting.clone(),
            display_name: self.name.clone(),
            output_dir,
            limits: settings.limits.clone(),
            capture: CaptureSettings::default(),
            greeting: None,
        }
    }

    /// As the images repeat them; absent ids stay absent.
    fn ids(&self) -> Value {
        let mut ids = json!({ "userId": self.user_id, "teamId": self.team_id });
        for (name, id) in [("eventId", &self.event_id), ("botId", &self.bot_id)] {
            if let Some(id) = id {
                ids[name] = json!(id);
            }
        }
        ids
    }
}

fn is_plain(id: &str) -> bool {
    (1..=ID_BYTES).contains(&id.len()) && !id.starts_with('.') && !id.contains(['/', '\0'])
}

fn accepted(job: &Job) -> Response {
    let provider = match job.provider {
        "google" => "Google Meet",
        "microsoft" => "Microsoft Teams",
        _ => "Zoom",
    };
    let mut data = job.ids();
    data["status"] = json!("processing");
    let message = format!("{provider} join request accepted and processing started");
    (StatusCode::ACCEPTED, Json(json!({ "success": true, "message": message, "data": data }))).into_response()
}

fn busy(job: &Job) -> Response {
    let error = "Another meeting is currently being processed. Please try again later.";
    refused(StatusCode::CONFLICT, error, Some(job.ids()))
}

fn refused(status: StatusCode, error: &str, ids: Option<Value>) -> Response {
    let mut body = json!({ "success": false, "error": error });
    if let Some(ids) = ids {
        body["data"] = ids;
    }
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Value {
        json!({
            "bearerToken": "t", "url": "https://meet.google.com/abc-defg-hij", "name": "Bot", "teamId": "team", "timezone": "UTC",
            "userId": "user", "botId": "bot", "unknown": 1,
        })
    }

    fn read(body: &Value) -> Result<Job, &'static str> {
        Job::read(&serde_json::from_value(body.clone()).unwrap(), Platform::Meet)
    }

    #[test]
    fn each_required_field_is_missed_when_it_is_absent_empty_or_no_text() {
        assert!(read(&body()).is_ok());
        for field in ["bearerToken", "url", "name", "teamId", "timezone", "userId", "botId"] {
            for value in [Value::Null, json!(""), json!(7)] {
                let mut body = body();
                body[field] = value;
                assert!(read(&body).unwrap_err().starts_with("Missing required fields"), "{field}");
            }
        }
    }

    #[tokio::test]
    async fn a_poll_of_the_busy_flag_keeps_no_session_of_ours_alive() {
        let (legacy, hub) = (Legacy::read(|_| None), Hub::new());
        tokio::time::sleep(Duration::from_millis(5)).await;
        let before = hub.unpolled_for();
        legacy.polled(&hub);
        assert!(hub.unpolled_for() >= before);
        legacy.is_driven.store(true, Ordering::Relaxed);
        legacy.polled(&hub);
        assert!(hub.unpolled_for() < before);
    }

    #[test]
    fn an_event_s_id_does_where_a_bot_s_is_missing() {
        let mut other = body();
        (other["botId"], other["eventId"]) = (Value::Null, json!("bot"));
        assert_eq!(read(&other).unwrap().stem(), read(&body()).unwrap().stem());
        assert_eq!(read(&body()).unwrap().stem(), "dXNlcmJvdDA");
    }

    #[test]
    fn what_would_lead_out_of_the_folder_or_to_another_platform_is_refused() {
        for (field, value) in [("userId", "../x"), ("userId", ".."), ("botId", "a/b"), ("url", "https://zoom.us/j/123456789")] {
            let mut body = body();
            body[field] = json!(value);
            assert!(read(&body).is_err(), "{field}");
        }
    }
}
