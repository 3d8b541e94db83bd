//! The bot's own sound: a PulseAudio in a private runtime folder with one null sink, on a unix socket only.
//!
//! Never touches the user's PulseAudio or PipeWire. Since every bot has a server of its own, no other bot's sound can
//! reach this sink; [`Sink::streams`] lets the watchdog see that it is so.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::children::{ChildGroup, SpawnError};
use crate::scratch::Scratch;

const START_DEADLINE: Duration = Duration::from_secs(20);
const QUERY_DEADLINE: Duration = Duration::from_secs(5);
/// The name of the null sink; its monitor is what is recorded.
pub const SINK_NAME: &str = "bot";
const SINK_RATE: &str = "rate=48000";
/// With rewinds allowed, an idle null sink renders 2 s of silence ahead, and the first stream is played after it: up to
/// 720 ms late for the first seconds of a call (measured). Without them it renders at most 50 ms ahead.
const SINK_REWINDS: &str = "norewinds=1";

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// PulseAudio could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A file could not be made or a query could not run.
    #[error("cannot prepare or ask the sound server: {0}")]
    Io(#[from] std::io::Error),
    /// It ended, or did not answer in time.
    #[error("PulseAudio did not answer within {} s", START_DEADLINE.as_secs())]
    Silent,
    /// An answer could not be understood.
    #[error("pactl answered something unknown: {0}")]
    Answer(String),
}

/// One stream that plays on this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// As the server counts.
    pub index: i64,
    /// Plays to the bot's sink.
    pub on_own_sink: bool,
    /// The process that plays it, as it says itself.
    pub process: Option<i32>,
}

/// What had to be made good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mended {
    /// Nothing.
    Nothing,
    /// Streams were moved to the sink, or the sink itself was gone and is there again.
    Moved,
    /// The server did not answer; another has taken its place, to which nothing plays yet.
    Anew,
}

/// A running sound server.
#[derive(Debug)]
pub struct Sink {
    server: ChildGroup,
    socket: PathBuf,
    asker: Asker,
}

/// More is a wrong answer: Chromium asks for some 25 ms.
const LONGEST_LATENCY: Duration = Duration::from_millis(250);

/// Asks a sound server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Asker {
    socket: PathBuf,
    home: PathBuf,
}

impl Sink {
    /// Starts the server and waits until it answers.
    pub async fn start(scratch: &Scratch) -> Result<Self, SinkError> {
        let socket = scratch.runtime().join("native");
        let server = Self::spawn(scratch, &socket)?;
        let asker = Asker { socket: socket.clone(), home: scratch.file("home") };
        let mut sink = Self { server, socket, asker };
        sink.wait_until_ready().await?;
        Ok(sink)
    }

    /// Makes good what is wrong with server, sink and the streams of certain processes. Other streams are not touched.
    pub async fn mend(&mut self, scratch: &Scratch, is_ours: impl Fn(i32) -> bool) -> Result<Mended, SinkError> {
        let answer = if self.server.has_ended().is_some() { Err(SinkError::Silent) } else { self.asker.sink_index().await };
        let made = match answer {
            Ok(Some(_)) => false,
            Ok(None) => {
                self.asker.make_sink().await?;
                true
            }
            Err(_) => {
                self.server.end(Duration::from_secs(1)).await;
                let _ = std::fs::remove_file(&self.socket);
                self.server = Self::spawn(scratch, &self.socket)?;
                self.wait_until_ready().await?;
                return Ok(Mended::Anew);
            }
        };
        let moved = self.asker.move_home(is_ours).await?;
        Ok(if made || moved > 0 { Mended::Moved } else { Mended::Nothing })
    }

    fn spawn(scratch: &Scratch, socket: &Path) -> Result<ChildGroup, SinkError> {
        let mut command = scratch.command(Path::new("pulseaudio"));
        command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--system=false", "--use-pid-file=no"]);
        command.arg("-L").arg(format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()));
        command.arg("-L").arg(format!("module-null-sink sink_name={SINK_NAME} {SINK_RATE} {SINK_REWINDS}"));
        command.args(["-L", "module-always-sink"]);
        let log = scratch.log("pulseaudio.log")?;
        command.stdout(Stdio::null()).stderr(log);
        Ok(ChildGroup::spawn("pulseaudio", &mut command)?)
    }

    async fn wait_until_ready(&mut self) -> Result<(), SinkError> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if self.server.has_ended().is_some() || Instant::now() > deadline {
                return Err(SinkError::Silent);
            }
            if self.socket.exists() && matches!(self.asker.sink_index().await, Ok(Some(_))) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets a child play to or record from this server.
    pub fn lend(&self, command: &mut Command) {
        command.env("PULSE_SERVER", format!("unix:{}", self.socket.display()));
    }

    /// A handle for the watchdog.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop(Duration::from_secs(2)).await;
    }
}

#[derive(Deserialize)]
struct SinkRow {
    index: i64,
    name: String,
}

#[derive(Deserialize)]
struct InputRow {
    #[serde(default)]
    index: i64,
    sink: i64,
    #[serde(default)]
    properties: std::collections::BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    buffer_latency_usec: f64,
    #[serde(default)]
    sink_latency_usec: f64,
}

impl Asker {
    /// Everything that plays on this server now; `None` where the bot's sink is gone.
    pub async fn streams(&self) -> Result<Option<Vec<Stream>>, SinkError> {
        let Some(own) = self.sink_index().await? else { return Ok(None) };
        let rows: Vec<InputRow> = self.list("sink-inputs").await?;
        Ok(Some(rows.into_iter().map(|row| to_stream(&row, own)).collect()))
    }

    /// Moves the streams of certain processes that play elsewhere to the bot's sink; answers how many.
    async fn move_home(&self, is_ours: impl Fn(i32) -> bool) -> Result<usize, SinkError> {
        let astray: Vec<Stream> = self.streams().await?.unwrap_or_default();
        let astray = astray.into_iter().filter(|stream| !stream.on_own_sink && stream.process.is_some_and(&is_ours));
        let mut moved = 0;
        for stream in astray {
            self.tell(&["move-sink-input", &stream.index.to_string(), SINK_NAME]).await?;
            moved += 1;
        }
        Ok(moved)
    }

    /// Makes the sink where it is gone, and lets whatever comes play to it.
    async fn make_sink(&self) -> Result<(), SinkError> {
        let name = format!("sink_name={SINK_NAME}");
        self.tell(&["load-module", "module-null-sink", &name, SINK_RATE, SINK_REWINDS]).await?;
        self.tell(&["set-default-sink", SINK_NAME]).await
    }

    /// How long a stream's sound takes from the browser's hands to the sink: the longest of those that play now.
    ///
    /// Chromium sends a call's sound on when its picture is shown, without regard to this way (measured in the practice room:
    /// sound and picture leave its jitter buffers within 5 ms of each other, and are 60 ms apart in the recording).
    pub async fn latency(&self) -> Result<Duration, SinkError> {
        let rows: Vec<InputRow> = self.list("sink-inputs").await?;
        let latencies = rows.iter().map(|row| row.buffer_latency_usec + row.sink_latency_usec);
        let longest = latencies.fold(0.0, f64::max).clamp(0.0, LONGEST_LATENCY.as_micros() as f64);
        Ok(Duration::from_micros(longest as u64))
    }

    async fn sink_index(&self) -> Result<Option<i64>, SinkError> {
        let rows: Vec<SinkRow> = self.list("sinks").await?;
        Ok(rows.into_iter().find(|row| row.name == SINK_NAME).map(|row| row.index))
    }

    async fn list<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<Vec<T>, SinkError> {
        let answer = self.ask(&["-f", "json", "list", what]).await?;
        serde_json::from_slice(&answer).map_err(|error| SinkError::Answer(error.to_string()))
    }

    async fn tell(&self, arguments: &[&str]) -> Result<(), SinkError> {
        self.ask(arguments).await.map(drop)
    }

    async fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>, SinkError> {
        let mut command = Command::new("pactl");
        command.env("PULSE_SERVER", format!("unix:{}", self.socket.display())).env("HOME", &self.home).env("LC_ALL", "C.UTF-8");
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = timeout(QUERY_DEADLINE, command.output()).await.map_err(|_| SinkError::Silent)??;
        if output.status.success() { Ok(output.stdout) } else { Err(SinkError::Silent) }
    }
}

fn to_stream(row: &InputRow, own: i64) -> Stream {
    let process = row.properties.get("application.process.id").and_then(|value| value.as_str()?.parse().ok());
    Stream { index: row.index, on_own_sink: own == row.sink, process }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_on_another_sink_is_seen_as_such() {
        let row: InputRow = serde_json::from_str(r#"{"index":9,"sink":3,"properties":{"application.process.id":"77"}}"#).unwrap();
        assert_eq!(to_stream(&row, 3), Stream { index: 9, on_own_sink: true, process: Some(77) });
        assert_eq!(to_stream(&row, 4), Stream { index: 9, on_own_sink: false, process: Some(77) });
    }
}
