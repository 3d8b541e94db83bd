//! `bench-bot`: how fast a bot is in the call, by platform; its CPU and memory in calls of several sizes, pictures and rates, on this
//! machine as it is. Not a test.
//!
//! The other participants share one browser on the same machine, which is not counted; it competes for the cores, so the machine's load
//! stands beside each figure, and what the recording lost of its frames.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bot_model::session::{CaptureSettings, SessionLimits, SessionPhase, SessionState};
use clap::Parser;
use serde_json::json;
use tests::process::{Process, address, binary, until};
use tests::room::PracticeRoom;
use tests::usage::{Share, shares};

/// CPU and memory of a bot, split by its processes.
#[derive(Parser)]
struct Cli {
    /// Seconds to measure each call for.
    #[arg(long, default_value_t = 30)]
    secs: u64,
    /// Others in the call.
    #[arg(long, value_delimiter = ',', default_value = "1,7")]
    others: Vec<usize>,
    /// Pictures, as width by height.
    #[arg(long, value_delimiter = ',', default_value = "1280x720,1920x1080")]
    sizes: Vec<String>,
    /// Frames a second.
    #[arg(long, value_delimiter = ',', default_value = "15,25")]
    rates: Vec<u32>,
    /// Measure what a live picture costs, and nothing else.
    #[arg(long)]
    pictures: bool,
    /// Joins to measure on each platform.
    #[arg(long, default_value_t = 5)]
    joins: usize,
}

/// What is measured: one call.
struct Case {
    others: usize,
    capture: CaptureSettings,
}

/// A bot in a call.
struct Bot {
    process: Process,
    base: String,
    http: reqwest::Client,
    output: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let profile = if cfg!(debug_assertions) { "development" } else { "release" };
    println!("{} cores, load {} at the start, {profile} build", std::thread::available_parallelism()?, load()?);
    if cli.pictures {
        return pictures(Duration::from_secs(cli.secs)).await;
    }
    if cli.joins > 0 {
        println!(
            "From the request to join until the bot records, in seconds; no lobby, the room's pages before the call included"
        );
        println!("| platform | p50 | worst | joins | load |");
        println!("|---|---|---|---|---|");
        for platform in ["meet", "teams", "zoom"] {
            joins(platform, cli.joins).await?;
        }
    }
    println!("CPU in seconds a recorded minute; memory in MiB, shared pages split among those that share them (PSS)");
    println!("| others | picture | rate | browser | ffmpeg | Xvfb | PulseAudio | bot | whole | memory | frames lost | load |");
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for others in &cli.others {
        for size in &cli.sizes {
            let (width, height) = size.split_once('x').context("a size such as 1280x720")?;
            let (width, height) = (width.parse()?, height.parse()?);
            for frames_per_second in cli.rates.clone() {
                let capture = CaptureSettings { width, height, frames_per_second, ..CaptureSettings::default() };
                measure(&Case { others: *others, capture }, Duration::from_secs(cli.secs)).await?;
            }
        }
    }
    Ok(())
}

async fn joins(platform: &str, count: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let room = PracticeRoom::start(folder.path()).await?;
    let mut took = Vec::new();
    for number in 0..count {
        let code = format!("{platform}-{number}");
        room.open(&code, json!({ "lobby": false, "people": ["Ana Lima"] })).await?;
        let own = folder.path().join(&code);
        std::fs::create_dir(&own)?;
        let bot = Bot::start(&own, &room.origin).await?;
        let asked = Instant::now();
        bot.join(&format!("practice:{platform}/{code}"), &CaptureSettings::default()).await?;
        bot.reaches(|state| state.phase == SessionPhase::Recording).await?;
        took.push(asked.elapsed().as_secs_f64());
        bot.leave().await?;
    }
    took.sort_by(f64::total_cmp);
    let (p50, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("| {platform} | {p50:.1} | {worst:.1} | {count} | {} |", load()?);
    Ok(())
}

/// In one call, by turns: no pictures, and one a second.
async fn pictures(lasting: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let room = PracticeRoom::start(folder.path()).await?;
    room.open("bench", json!({ "lobby": false })).await?;
    let _people = room.company_process("bench", ("Clara", "clock", 1000), &["Guest1", "Guest2"], folder.path())?;
    let bot = Bot::start(folder.path(), &room.origin).await?;
    bot.join("practice:meet/bench", &CaptureSettings::default()).await?;
    bot.reaches(|state| state.phase == SessionPhase::Recording && state.others_in_call == Some(3)).await?;
    bot.stays(Duration::from_secs(8)).await?;
    println!("| pictures | CPU s of a picture | bytes | ms to take | frames lost without, with | load |");
    println!("|---|---|---|---|---|---|");
    for _ in 0..3 {
        let (idle, lost_idle) = bot.costs(lasting, async || Ok(bot.stays(lasting).await?)).await?;
        let (mut bytes, mut took, mut count) = (0, Duration::ZERO, 0_u32);
        let began = Instant::now();
        let (busy, lost_busy) = bot
            .costs(lasting, async || {
                while began.elapsed() < lasting {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    bot.state().await?;
                    let asked = Instant::now();
                    bytes += bot.http.get(format!("{}/v1/session/picture", bot.base)).send().await?.bytes().await?.len();
                    took += asked.elapsed();
                    count += 1;
                }
                Ok(())
            })
            .await?;
        let each = (busy - idle) / f64::from(count);
        let millis = took.as_millis() / u128::from(count);
        println!("| {count} | {each:.3} | {} | {millis} | {lost_idle}, {lost_busy} | {} |", bytes / count as usize, load()?);
    }
    bot.leave().await
}

fn load() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned())
}

async fn measure(case: &Case, lasting: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let room = PracticeRoom::start(folder.path()).await?;
    room.open("bench", json!({ "lobby": false })).await?;
    let names: Vec<String> = (1..case.others).map(|number| format!("Guest{number}")).collect();
    let company: Vec<&str> = names.iter().map(String::as_str).collect();
    let _people = room.company_process("bench", ("Clara", "clock", 1000), &company, folder.path())?;
    let bot = Bot::start(folder.path(), &room.origin).await?;
    bot.join("practice:meet/bench", &case.capture).await?;
    bot.reaches(|state| state.phase == SessionPhase::Recording && state.others_in_call == Some(case.others as u32)).await?;
    // Jitter buffers and encoders settle.
    bot.stays(Duration::from_secs(8)).await?;
    let (before, lost) = (shares(bot.process.id()), bot.state().await?.media);
    let began = Instant::now();
    bot.stays(lasting).await?;
    let (after, media) = (shares(bot.process.id()), bot.state().await?.media);
    ensure!(media.segments > 0, "nothing was recorded: {}", bot.process.log_tail());
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let cpu = |share: Share| (after.cpu_secs(share) - before.cpu_secs(share)) / minutes;
    let all: f64 = Share::ALL.into_iter().map(cpu).sum();
    let frames = media.frames.saturating_sub(lost.frames).max(1) as f64;
    let gone = (media.frames_duplicated + media.frames_dropped).saturating_sub(lost.frames_duplicated + lost.frames_dropped);
    println!(
        "| {} | {}x{} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} | {:.1} % | {} |",
        case.others,
        case.capture.width,
        case.capture.height,
        case.capture.frames_per_second,
        cpu(Share::Browser),
        cpu(Share::Ffmpeg),
        cpu(Share::Display),
        cpu(Share::Sound),
        cpu(Share::Bot),
        all,
        after.memory_mib(),
        gone as f64 * 100.0 / frames,
        load()?
    );
    bot.leave().await
}

impl Bot {
    async fn start(folder: &Path, origin: &str) -> Result<Self> {
        let (port_file, output) = (folder.join("bot.port"), folder.join("out"));
        std::fs::create_dir(&output)?;
        let mut command = Command::new(binary("meeting-bot")?);
        command.env("MEETING_BOT_LISTEN", "127.0.0.1:0").env("MEETING_BOT_PORT_FILE", &port_file);
        command.env("MEETING_BOT_SCRATCH", folder.join("scratch")).env("PRACTICE_ROOM_ORIGIN", origin);
        let mut process = Process::start(command, &folder.join("bot.log"))?;
        let base = format!("http://{}", address(&port_file, &mut process).await?);
        Ok(Self { process, base, http: reqwest::Client::new(), output })
    }

    async fn join(&self, meeting: &str, capture: &CaptureSettings) -> Result<()> {
        let session = json!({
            "session_id": "bench", "meeting": meeting, "display_name": "Recorder", "output_dir": self.output,
            "limits": SessionLimits::default(), "capture": capture,
        });
        let answer = self.http.post(format!("{}/v1/session", self.base)).json(&session).send().await?;
        ensure!(answer.status().is_success(), "the bot refuses: {}", answer.text().await?);
        Ok(())
    }

    async fn state(&self) -> Result<SessionState> {
        Ok(self.http.get(format!("{}/v1/session", self.base)).send().await?.json().await?)
    }

    async fn reaches(&self, there: impl Fn(&SessionState) -> bool) -> Result<()> {
        until("the whole call", Duration::from_secs(120), async || Ok(there(&self.state().await?).then_some(()))).await
    }

    /// CPU seconds of the bot meanwhile, scaled to the time that was meant, and frames lost.
    async fn costs(&self, meant: Duration, what: impl AsyncFnOnce() -> Result<()>) -> Result<(f64, u64)> {
        let sum = |shares: &tests::usage::Shares| Share::ALL.into_iter().map(|share| shares.cpu_secs(share)).sum::<f64>();
        let (before, lost, began) = (sum(&shares(self.process.id())), self.state().await?.media, Instant::now());
        what().await?;
        let scale = meant.as_secs_f64() / began.elapsed().as_secs_f64();
        let (after, media) = (sum(&shares(self.process.id())), self.state().await?.media);
        let gone = (media.frames_duplicated + media.frames_dropped).saturating_sub(lost.frames_duplicated + lost.frames_dropped);
        Ok(((after - before) * scale, gone))
    }

    /// Polls, as a manager does, and nothing else.
    async fn stays(&self, lasting: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < lasting {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.state().await?;
        }
        Ok(())
    }

    async fn leave(mut self) -> Result<()> {
        self.process.signal(rustix::process::Signal::TERM)?;
        self.process.wait(Duration::from_secs(15)).await.map(drop)
    }
}
