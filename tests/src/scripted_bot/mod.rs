//! A meeting-bot that needs no browser: the real contract with its manager, real segments on the real disk, a call that the suite
//! holds. Environment and command line are the real one's, so that launcher and manager cannot tell.
//!
//! It honours a request to leave, SIGTERM and the dead-man switch. What stands in for the platform is a folder, the *stage*, that
//! `SIGNAL_PACKS_DIR` names: [`TEMPLATE`] holds a recorded part, and on [`ROOM_SOCKET`] the room ([`crate::chaos::room`]) listens, which
//! alone writes down who was in which call. It must not write ground truth by itself: a killed bot could not say that it is gone.

mod capture;
mod http;
mod session;
pub mod template;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use session::Session;

/// Folder of the recorded part, below the stage.
pub const TEMPLATE: &str = "template";
/// The room's socket, below the stage.
pub const ROOM_SOCKET: &str = "room.sock";
/// Length of a segment.
pub const SEGMENT: Duration = Duration::from_secs(2);

/// Runs until SIGTERM, `/shutdown`, or the dead-man switch.
pub fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(serve()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scripted-bot: {error:#}");
            ExitCode::from(64)
        }
    }
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).map_err(|_| anyhow::anyhow!("{name} is not set"))
}

async fn serve() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let stage = PathBuf::from(variable("SIGNAL_PACKS_DIR")?);
    let session = Arc::new(Session::new(stage, variable("RUN_ID")?));
    let listener = TcpListener::bind(variable("MEETING_BOT_LISTEN")?).await?;
    let port_file = PathBuf::from(variable("MEETING_BOT_PORT_FILE")?);
    let draft = port_file.with_extension("new");
    std::fs::write(&draft, listener.local_addr()?.to_string())?;
    std::fs::rename(draft, port_file)?;
    let app = http::routes(Arc::clone(&session));
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served?,
        _ = terminate.recv() => eprintln!("SIGTERM"),
        () = session.asked_to_end() => eprintln!("asked to end"),
        () = session.abandoned() => eprintln!("no manager has polled"),
    }
    session.leave(bot_model::outcome::OutcomeKind::Evicted);
    // The budget of the contract: out of the call by then, one way or the other.
    let _ = tokio::time::timeout(bot_model::session::LEAVE_BUDGET, session.ended()).await;
    Ok(())
}
