//! A meeting-bot without a browser: it joins at once, closes a segment at each poll until the part is whole, and then the host ends the
//! call. It tells the call's log when it comes and goes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bot_model::outcome::OutcomeKind;
use bot_model::segment::{INIT_FILE, PART_INFO_FILE, part_folder, segment_file};
use bot_model::session::{LeaveRequest, SessionEnd, SessionPhase, SessionState, StartSession};
use chrono::Utc;
use tokio::signal::unix::{SignalKind, signal};

use super::{CALL_FILE, TEMPLATE_FOLDER};

/// Segments of the template.
pub const SEGMENTS: u32 = 3;

#[derive(Clone)]
struct Bot(Arc<Mutex<Script>>);

struct Script {
    folder: PathBuf,
    session: Option<StartSession>,
    closed: u32,
    state: SessionState,
}

/// Serves until SIGTERM.
pub fn run(folder: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(serve(folder)));
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn serve(folder: &Path) -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let listener = tokio::net::TcpListener::bind(variable("MEETING_BOT_LISTEN")?).await?;
    let address = listener.local_addr()?;
    let port_file = PathBuf::from(variable("MEETING_BOT_PORT_FILE")?);
    let draft = port_file.with_extension("new");
    std::fs::write(&draft, address.to_string())?;
    std::fs::rename(draft, port_file)?;
    let bot = Bot(Arc::new(Mutex::new(Script::new(folder))));
    let app = Router::new()
        .route("/v1/session", get(state).post(start))
        .route("/v1/session/leave", post(leave))
        .route("/shutdown", post(|| async { StatusCode::ACCEPTED }))
        .with_state(bot.clone());
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        _ = terminate.recv() => {}
    }
    bot.script().end(OutcomeKind::Evicted);
    Ok(())
}

impl Bot {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    fn new(folder: &Path) -> Self {
        let state = SessionState::idle(uuid::Uuid::new_v4().to_string(), Utc::now());
        Self { folder: folder.to_owned(), session: None, closed: 0, state }
    }

    fn say(&self, what: &str) {
        let id = self.state.session_id.as_deref().unwrap_or_default();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join(CALL_FILE));
        let _ = log.and_then(|mut log| log.write_all(format!("{what} {id}\n").as_bytes()));
    }

    fn begin(&mut self, session: StartSession) {
        self.state.session_id = Some(session.session_id.clone());
        self.state.phase = SessionPhase::Recording;
        self.state.admitted_at = Some(Utc::now());
        self.session = Some(session);
        self.say("joins");
    }

    /// Each poll moves it on.
    fn moves_on(&mut self) {
        if self.state.phase != SessionPhase::Recording {
            return;
        }
        if self.closed == SEGMENTS {
            return self.end(OutcomeKind::HostEnded);
        }
        if self.close_one().is_ok() {
            self.closed += 1;
        }
    }

    fn close_one(&self) -> std::io::Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        let part = session.output_dir.join(part_folder(0));
        std::fs::create_dir_all(&part)?;
        for name in [PART_INFO_FILE.to_owned(), INIT_FILE.to_owned(), segment_file(self.closed)] {
            if !part.join(&name).exists() {
                let draft = part.join(format!("{name}.tmp"));
                std::fs::copy(self.folder.join(TEMPLATE_FOLDER).join(part_folder(0)).join(&name), &draft)?;
                std::fs::rename(draft, part.join(name))?;
            }
        }
        Ok(())
    }

    fn end(&mut self, kind: OutcomeKind) {
        if self.state.phase != SessionPhase::Recording {
            return;
        }
        self.state.phase = SessionPhase::Ended;
        self.state.left_at = Some(Utc::now());
        self.state.end.get_or_insert(SessionEnd { kind, detail: String::new(), at: Utc::now() });
        self.say("leaves");
    }
}

async fn state(State(bot): State<Bot>) -> Json<SessionState> {
    let mut script = bot.script();
    script.moves_on();
    Json(script.state.clone())
}

async fn start(State(bot): State<Bot>, Json(session): Json<StartSession>) -> (StatusCode, Json<SessionState>) {
    let mut script = bot.script();
    if script.session.is_none() {
        script.begin(session);
    }
    (StatusCode::CREATED, Json(script.state.clone()))
}

async fn leave(State(bot): State<Bot>, Json(request): Json<LeaveRequest>) -> StatusCode {
    bot.script().end(request.reason);
    StatusCode::ACCEPTED
}
