//! A meeting-bot that does what the test tells it: a real HTTP server that speaks `/v1/session` and lays real segments down.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bot_model::outcome::OutcomeKind;
use bot_model::segment::{INIT_FILE, PART_INFO_FILE, part_folder, segment_file};
use bot_model::session::{LeaveRequest, SessionEnd, SessionPhase, SessionState, StartSession};
use chrono::Utc;

use crate::bench::{Capture, epoch, record};
use crate::process::until;

/// The scripted meeting-bot.
#[derive(Clone)]
pub(crate) struct Sidecar {
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
}

struct Script {
    state: SessionState,
    session: Option<StartSession>,
    template: PathBuf,
    polls: u32,
    polls_since_end: u32,
    starts: u32,
    /// Another session holds it: 409.
    is_busy: bool,
    /// It answers nothing but errors.
    is_broken: bool,
    /// It does not leave.
    stays: bool,
    /// It takes the session, and the connection breaks before its answer.
    loses_answers: bool,
    /// What it answers to a request for a picture; `None` is nothing, ever.
    picture: Option<Vec<u8>>,
}

impl Sidecar {
    /// Starts it with one part of three segments to lay down, recorded below `folder`.
    pub(crate) async fn start(folder: &Path) -> Self {
        record(&folder.join("template"), 0, &Capture::starting(epoch()));
        let state = SessionState::idle("boot-1".into(), Utc::now());
        let template = folder.join("template").join(part_folder(0));
        let script = Script {
            state,
            session: None,
            template,
            polls: 0,
            polls_since_end: 0,
            starts: 0,
            is_busy: false,
            is_broken: false,
            stays: false,
            loses_answers: false,
            picture: Some(vec![0xff, 0xd8, 0xff, 0xd9]),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sidecar = Self { url: format!("http://{}", listener.local_addr().unwrap()), script: Arc::new(Mutex::new(script)) };
        let app = Router::new()
            .route("/v1/session", get(state_of).post(start))
            .route("/v1/session/leave", post(leave))
            .route("/v1/session/picture", get(picture))
            .route("/shutdown", post(|| async { StatusCode::ACCEPTED }))
            .with_state(sidecar.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        sidecar
    }

    pub(crate) fn variable(&self) -> (&'static str, String) {
        ("MEETING_BOT_API_URL", self.url.clone())
    }

    pub(crate) fn is_busy(&self, is_busy: bool) {
        self.lock().is_busy = is_busy;
    }

    pub(crate) fn is_broken(&self) {
        self.lock().is_broken = true;
    }

    /// Hears a request to leave, and does nothing.
    pub(crate) fn stays(&self) {
        self.lock().stays = true;
    }

    /// Takes each session from now on, and its answer is cut off.
    pub(crate) fn loses_answers(&self) {
        self.lock().loses_answers = true;
    }

    /// Shows another picture, or answers no request for one any more.
    pub(crate) fn shows(&self, picture: Option<Vec<u8>>) {
        self.lock().picture = picture;
    }

    /// Comes back as a fresh process that knows of no session.
    pub(crate) fn restarts(&self) {
        let mut script = self.lock();
        script.session = None;
        script.state = SessionState::idle("boot-2".into(), Utc::now());
    }

    /// The session that was asked for last.
    pub(crate) fn session(&self) -> StartSession {
        self.lock().session.clone().unwrap()
    }

    /// The greeting was posted.
    pub(crate) fn has_greeted(&self) {
        self.lock().state.has_greeted = true;
    }

    pub(crate) fn starts(&self) -> u32 {
        self.lock().starts
    }

    pub(crate) fn enter(&self, phase: SessionPhase) {
        let mut script = self.lock();
        script.state.phase = phase;
        if phase == SessionPhase::Recording {
            script.state.admitted_at = Some(Utc::now());
        }
    }

    /// Closes the first `count` segments of the part, as far as they are not closed yet.
    pub(crate) fn close_segments(&self, count: u32) {
        self.lock().close_segments(count);
    }

    /// The host ends the call.
    pub(crate) fn end(&self, kind: OutcomeKind) {
        self.lock().end(kind);
    }

    pub(crate) async fn is_started(&self) {
        until("a session", async || self.lock().starts > 0).await;
    }

    pub(crate) async fn is_polled(&self) {
        until("a poll", async || self.lock().polls > 0).await;
    }

    /// Is asked for its state so many times more.
    pub(crate) async fn is_looked_at_times(&self, times: u32) {
        let before = self.lock().polls;
        until("looks at it", async || self.lock().polls >= before + times).await;
    }

    pub(crate) async fn end_was_seen(&self) {
        until("the end to be seen", async || self.lock().polls_since_end > 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    fn close_segments(&self, count: u32) {
        let Some(session) = &self.session else { return };
        let part = session.output_dir.join(part_folder(0));
        std::fs::create_dir_all(&part).unwrap();
        let names = [PART_INFO_FILE.to_owned(), INIT_FILE.to_owned()].into_iter().chain((0..count).map(segment_file));
        for name in names.filter(|name| !part.join(name).exists()) {
            let draft = part.join(format!("{name}.tmp"));
            std::fs::copy(self.template.join(&name), &draft).unwrap();
            std::fs::rename(draft, part.join(name)).unwrap();
        }
    }

    fn end(&mut self, kind: OutcomeKind) {
        if self.state.phase == SessionPhase::Recording {
            self.close_segments(3);
            self.state.left_at = Some(Utc::now());
        }
        self.state.phase = SessionPhase::Ended;
        self.state.end.get_or_insert(SessionEnd { kind, detail: String::new(), at: Utc::now() });
    }
}

async fn state_of(State(sidecar): State<Sidecar>) -> Response {
    let mut script = sidecar.lock();
    script.polls += 1;
    if script.is_broken {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    script.polls_since_end += u32::from(script.state.phase == SessionPhase::Ended);
    Json(script.state.clone()).into_response()
}

async fn start(State(sidecar): State<Sidecar>, Json(session): Json<StartSession>) -> Response {
    let mut script = sidecar.lock();
    if script.is_busy {
        return StatusCode::CONFLICT.into_response();
    }
    if script.is_broken {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    script.starts += 1;
    script.state.session_id = Some(session.session_id.clone());
    script.state.phase = SessionPhase::Joining;
    script.session = Some(session);
    if script.loses_answers {
        let cut = futures::stream::once(async { Err::<&str, _>(std::io::Error::other("cut")) });
        return (StatusCode::CREATED, axum::body::Body::from_stream(cut)).into_response();
    }
    (StatusCode::CREATED, Json(script.state.clone())).into_response()
}

async fn picture(State(sidecar): State<Sidecar>) -> Response {
    let picture = sidecar.lock().picture.clone();
    match picture {
        Some(bytes) => bytes.into_response(),
        None => std::future::pending().await,
    }
}

async fn leave(State(sidecar): State<Sidecar>, Json(request): Json<LeaveRequest>) -> Response {
    let mut script = sidecar.lock();
    if script.session.is_some() && !script.stays {
        script.end(request.reason);
    }
    StatusCode::ACCEPTED.into_response()
}
