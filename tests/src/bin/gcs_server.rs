//! A stand-in for Google Cloud Storage, in memory: for practice on a laptop (compose.yaml, k8s/overlays/local), never for keeping.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::gcs::GcsServer;
use tokio::signal::unix::{SignalKind, signal};

/// Answers as Google Cloud Storage does, for every bucket, and forgets everything when it ends.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// How clients reach it, such as http://bucket:9000, where that is not the address listened on.
    #[arg(long)]
    origin: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let server = GcsServer::start_on(args.listen, args.origin).await.with_context(|| format!("listen on {}", args.listen))?;
    eprintln!("set STORAGE_EMULATOR_HOST={}", server.host());
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}
