//! Wires the practice room to the command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use practice_room::judge;
use practice_room::participant::{SyntheticParticipant, Who};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A meeting platform in a box.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves practice rooms on loopback.
    Serve {
        /// Address to listen on; port 0 takes a free one.
        #[arg(long, env = "PRACTICE_ROOM_LISTEN", default_value = "127.0.0.1:8400")]
        listen: SocketAddr,
        /// Listens elsewhere than on loopback: who reaches the address, rules every room. For a cluster that is there for tests.
        #[arg(long)]
        danger_any_address: bool,
        /// File that receives the address.
        #[arg(long)]
        port_file: Option<PathBuf>,
    },
    /// Brings a synthetic participant into a room.
    Participant {
        /// Such as http://127.0.0.1:8400.
        #[arg(long)]
        origin: String,
        /// The room's code.
        #[arg(long)]
        room: String,
        /// Name shown in the call.
        #[arg(long, default_value = "Clara")]
        name: String,
        /// clock or person.
        #[arg(long, default_value = "clock")]
        role: String,
        /// Frequency of its sound in Hz.
        #[arg(long, default_value_t = 0)]
        tone: u32,
        /// A person who comes with it, in the same browser; may be given often.
        #[arg(long)]
        with: Vec<String>,
        /// Speaks only when the control API says so.
        #[arg(long)]
        speaks_on_demand: bool,
        /// Seconds after which it leaves.
        #[arg(long, default_value_t = 3600)]
        duration: u64,
    },
    /// Reads a recording back and prints what it holds, as JSON.
    Judge {
        /// The video.
        file: PathBuf,
        /// Frequency of the clock's beeps in Hz.
        #[arg(long, default_value_t = 1_000.0)]
        tone: f64,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Serve { listen, danger_any_address, port_file } => {
            ensure!(
                danger_any_address || listen.ip().is_loopback(),
                "--listen {listen}: a practice room has no access control and serves on loopback only"
            );
            serve(listen, port_file.as_deref()).await
        }
        Command::Participant { origin, room, name, role, tone, with, speaks_on_demand, duration } => {
            let who = Who { name, role, tone_hz: tone, company: with, speaks_on_demand };
            take_part(&origin, &room, &who, Duration::from_secs(duration)).await
        }
        Command::Judge { file, tone } => print_judgement(&file, tone),
    }
}

async fn serve(listen: SocketAddr, port_file: Option<&Path>) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    let address = listener.local_addr()?;
    if let Some(file) = port_file {
        let draft = file.with_extension("draft");
        std::fs::write(&draft, address.to_string()).with_context(|| format!("write {}", draft.display()))?;
        std::fs::rename(&draft, file)?;
    }
    tracing::info!(%address, "practice rooms are open");
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        // Open sockets would keep a graceful shutdown waiting for ever; a room has nothing to save.
        std::process::exit(0);
    };
    practice_room::serve(listener, stop).await.context("serve")
}

async fn take_part(origin: &str, room: &str, who: &Who, duration: Duration) -> Result<()> {
    let mut participant = SyntheticParticipant::start(origin, room, who)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let over = tokio::time::sleep(duration);
    tokio::pin!(over);
    let mut look = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = look.tick() => if participant.has_ended()? { bail!("the participant's browser ended by itself") },
            () = &mut over => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn print_judgement(file: &Path, tone: f64) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&judge::judge_tone(file, tone)?)?);
    Ok(())
}
