//! The bot's own X display: an Xvfb that chose a free number by itself.
//!
//! Reached by a cookie only, never over TCP. Must not touch any other display.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

use crate::children::{ChildGroup, SpawnError};
use crate::scratch::Scratch;

/// Xvfb answers within a second on an idle machine; a loaded one gets this long.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// The descriptor on which Xvfb reports its number.
const REPORT_FD: i32 = 3;

/// Why there is no display.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// Xvfb could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A file or pipe could not be made.
    #[error("cannot prepare the display: {0}")]
    Io(#[from] std::io::Error),
    /// It ended, or said nothing in time.
    #[error("Xvfb reported no display within {} s", START_DEADLINE.as_secs())]
    Silent,
}

/// A running X display.
#[derive(Debug)]
pub struct Display {
    server: ChildGroup,
    name: String,
    authority: PathBuf,
}

impl Display {
    /// Starts an Xvfb of the given size in pixels on a free number.
    pub async fn start(scratch: &Scratch, width: u32, height: u32) -> Result<Self, DisplayError> {
        let authority = scratch.file("xauthority");
        write_authority(&authority, uuid::Uuid::new_v4().as_bytes())?;
        let (reader, writer) = std::io::pipe()?;
        let mut command = scratch.command(Path::new("Xvfb"));
        command.args(["-displayfd", &REPORT_FD.to_string(), "-nolisten", "tcp", "-noreset", "-auth"]).arg(&authority);
        command.args(["-screen", "0", &format!("{width}x{height}x24")]);
        command.stdout(Stdio::null()).stderr(scratch.log("xvfb.log")?);
        command
            .fd_mappings(vec![FdMapping { parent_fd: writer.into(), child_fd: REPORT_FD }])
            .map_err(|_| std::io::Error::other("descriptor collision"))?;
        let server = ChildGroup::spawn("Xvfb", &mut command)?;
        drop(command); // holds the pipe's writing end: without this, an Xvfb that dies would not end the read below
        let mut number = String::new();
        let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(reader.into())?);
        let read = timeout(START_DEADLINE, lines.read_line(&mut number)).await.map_err(|_| DisplayError::Silent)??;
        if read == 0 {
            return Err(DisplayError::Silent);
        }
        Ok(Self { server, name: format!(":{}", number.trim()), authority })
    }

    /// Such as `:7`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets a child draw on or grab this display.
    pub fn lend(&self, command: &mut Command) {
        command.env("DISPLAY", &self.name).env("XAUTHORITY", &self.authority);
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop(Duration::from_secs(2)).await;
    }
}

/// One MIT-MAGIC-COOKIE-1 entry for every display and host (family 0xFFFF), in the Xauthority file format.
fn write_authority(path: &Path, cookie: &[u8; 16]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut bytes = vec![0xFF, 0xFF];
    for field in [b"".as_slice(), b"", b"MIT-MAGIC-COOKIE-1", cookie] {
        let length = u16::try_from(field.len()).map_err(std::io::Error::other)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&bytes)
}
