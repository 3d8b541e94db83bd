//! `make demo`: the whole job on this machine, with nothing but this machine.
//!
//! A practice room with two talking participants, a meeting scheduled now in the embedded store, the bot in the lobby,
//! admitted, recording, the host ending the call, and the files. `--platform` says through whose client the bot joins.
//! With `--meeting-url` it records a real call instead. The portal's address comes first, so that one can watch; on a terminal it goes on
//! being served after the recording, until an interrupt. Exit status 0 only if everything was verified, 64 for an address or a
//! platform that is none, 130 after an interrupt, which calls the bot back.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::cell::{Cell, OnceCell};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bot_model::document::{BotInstance, TimelineEvent};
use bot_model::ids::MeetingPath;
use bot_model::lifecycle::Phase;
use bot_model::meeting_url::MeetingUrl;
use bot_model::object_prefix::ObjectName;
use clap::Parser;
use serde_json::json;
use tests::contact_sheet;
use tests::process::Process;
use tests::room::PracticeRoom;
use tests::stack::Stack;

/// Records one meeting end to end on this machine.
#[derive(Parser)]
struct Args {
    /// Where everything of this run goes.
    #[arg(long, default_value = "demo-output")]
    output: PathBuf,
    /// Seconds in the call before the host ends it.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Record this real call instead of the practice room's.
    #[arg(long, env = "MEETING_URL")]
    meeting_url: Option<String>,
    /// Which platform's replica to use.
    #[arg(long, env = "PLATFORM", default_value = "meet")]
    platform: String,
}

const ROOM: &str = "demo-room-one";
/// Platforms that have a practice room.
const PLATFORMS: [&str; 3] = ["meet", "teams", "zoom"];
const BOT_NAME: &str = "Recorder";

/// How long a bot that was called back may take to leave and to save what it has.
const CALL_BACK_LIMIT: Duration = Duration::from_secs(60);
const BAD_ADDRESS: u8 = 64;
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut args = Args::parse();
    args.meeting_url = args.meeting_url.filter(|url| !url.trim().is_empty());
    if let Some(Err(problem)) = args.meeting_url.as_deref().map(MeetingUrl::parse) {
        eprintln!("demo: MEETING_URL is refused: {problem}; write it like https://meet.google.com/abc-defg-hij");
        return ExitCode::from(BAD_ADDRESS);
    }
    if !PLATFORMS.contains(&args.platform.as_str()) {
        eprintln!("demo: PLATFORM={} has no practice room; there are {}", args.platform, PLATFORMS.join(", "));
        return ExitCode::from(BAD_ADDRESS);
    }
    let progress = Progress::new();
    // Kept until the bot was called back: dropped, it ends the controller, the room and the participants.
    let mut demo = std::pin::pin!(demo(&args, &progress));
    tokio::select! {
        ended = &mut demo => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("demo: {problem:#}");
                ExitCode::FAILURE
            }
        },
        () = interrupted() => {
            if progress.is_over.get() {
                return ExitCode::SUCCESS;
            }
            call_back(&progress).await;
            ExitCode::from(INTERRUPTED)
        }
    }
}

async fn demo(args: &Args, progress: &Progress) -> Result<()> {
    let run = args.output.join(chrono::Local::now().format("%Y%m%d-%H%M%S").to_string());
    std::fs::create_dir_all(&run).with_context(|| format!("create {}", run.display()))?;
    let run = run.canonicalize()?;
    let recorded = match &args.meeting_url {
        Some(url) => real_call(url, &run, progress).await?,
        None => practice_call(args, &run, progress).await?,
    };
    report(&recorded, &run, args.meeting_url.is_none())?;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::env::var_os("CI").is_none() {
        println!("\nPlay it in the portal: {}/portal/bots/{}\nCtrl-C ends it.", recorded.portal, recorded.instance.id);
        progress.is_over.set(true);
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// The whole product on this machine, with its portal open to whoever sits here.
async fn stack(run: &Path, practice_origin: Option<&str>, progress: &Progress) -> Result<Rc<Stack>> {
    let stack =
        Rc::new(Stack::start(run, practice_origin, &[("API_ACCESS", "danger_open"), ("LIVE_PICTURE_SECONDS", "3")]).await?);
    progress.say(format_args!("watch it in the portal: {}/portal/", stack.http));
    Ok(stack)
}

/// Ends at the first interrupt, or when asked to terminate.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A run outlives its controller on purpose, so the bot of an interrupted demo is told to leave.
async fn call_back(progress: &Progress) {
    let Some((stack, meeting)) = progress.scheduled.get() else { return };
    progress.say("interrupted; the bot is called back, and what it recorded is saved");
    let left = async {
        stack.cancel(meeting)?;
        stack.wait_for("the bot to leave", meeting, CALL_BACK_LIMIT, |instance| instance.phase.is_terminal()).await
    };
    match left.await {
        Ok(_) => progress.say("the bot has left"),
        Err(problem) => eprintln!("demo: the bot may still be in the call: {problem:#}"),
    }
}

/// What a run left behind.
struct Recorded {
    instance: BotInstance,
    timeline: Vec<TimelineEvent>,
    folder: PathBuf,
    /// Where the portal is.
    portal: String,
}

/// Lines with the time since the start.
struct Progress {
    begun: Instant,
    /// Set once a bot may be under way.
    scheduled: OnceCell<(Rc<Stack>, MeetingPath)>,
    /// Everything is recorded and verified, and the portal is served for as long as somebody looks.
    is_over: Cell<bool>,
}

impl Progress {
    fn new() -> Self {
        Self { begun: Instant::now(), scheduled: OnceCell::new(), is_over: Cell::new(false) }
    }

    /// Schedules a meeting and keeps it in mind for an interrupt.
    fn schedule(&self, stack: &Rc<Stack>, url: &str) -> Result<MeetingPath> {
        let meeting = stack.schedule(url, BOT_NAME)?;
        let _ = self.scheduled.set((Rc::clone(stack), meeting.clone()));
        Ok(meeting)
    }

    fn say(&self, text: impl std::fmt::Display) {
        println!("[{:>6.1} s] {text}", self.begun.elapsed().as_secs_f64());
        let _ = std::io::stdout().flush();
    }
}

async fn practice_call(args: &Args, run: &Path, progress: &Progress) -> Result<Recorded> {
    let room = PracticeRoom::start(run).await?;
    let stack = stack(run, Some(&room.origin), progress).await?;
    room.open(ROOM, json!({"lobby": true})).await?;
    progress.say(format_args!("practice room open, joined as on {}; look at it: {}/rooms/{ROOM}", args.platform, room.origin));
    let _people = participants(&room, run)?;
    for role in ["clock", "person"] {
        room.wait_for(ROOM, role, "in_call", Duration::from_secs(60)).await?;
    }
    progress.say("two participants are in the call, with real WebRTC picture and sound");
    let meeting = progress.schedule(&stack, &format!("practice:{}/{ROOM}", args.platform))?;
    progress.say(format_args!("scheduled {meeting} in the embedded store"));
    let limit = Duration::from_secs(120);
    let guest = tokio::select! {
        guest = room.wait_for(ROOM, "guest", "waiting", limit) => guest?,
        ended = stack.wait_for("the bot in the lobby", &meeting, limit, |instance| instance.phase.is_terminal()) => {
            return Err(unsuccessful(&ended?, &stack));
        }
    };
    progress.say("the bot asked to join and waits in the lobby");
    follow(&stack, &meeting, progress, |instance| instance.phase >= Phase::WaitingRoom, Duration::from_secs(30)).await?;
    room.act(ROOM, &guest, "admit").await?;
    progress.say("the host admits it");
    follow(&stack, &meeting, progress, |instance| instance.phase >= Phase::Recording, Duration::from_secs(60)).await?;
    for second in 0..args.seconds {
        if second % 10 == 0 {
            progress.say(format_args!("recording, {} s to go", args.seconds - second));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    room.end(ROOM).await?;
    let ended = Instant::now();
    progress.say("the host ends the call");
    let recorded = finish(&stack, &meeting, progress).await?;
    progress.say(format_args!("verified files {:.1} s after the end of the call", ended.elapsed().as_secs_f64()));
    Ok(recorded)
}

fn participants(room: &PracticeRoom, run: &Path) -> Result<[Process; 2]> {
    Ok([
        room.participant_process(ROOM, "Clara", "clock", 1000, run)?,
        room.participant_process(ROOM, "Samir", "person", 330, run)?,
    ])
}

async fn real_call(url: &str, run: &Path, progress: &Progress) -> Result<Recorded> {
    let stack = stack(run, None, progress).await?;
    let meeting = progress.schedule(&stack, url)?;
    progress.say(format_args!("scheduled {meeting}; admit \"{BOT_NAME}\" in the call; it leaves when everybody has left"));
    finish(&stack, &meeting, progress).await
}

async fn finish(stack: &Stack, meeting: &MeetingPath, progress: &Progress) -> Result<Recorded> {
    let limit = Duration::from_secs(11 * 3600);
    let instance = follow(stack, meeting, progress, |instance| instance.phase.is_terminal(), limit).await?;
    let timeline = stack.timeline(&instance).await?;
    if instance.phase != Phase::Done {
        return Err(unsuccessful(&instance, stack));
    }
    let folder = stack.recording_folder(&instance)?;
    Ok(Recorded { instance, timeline, folder, portal: stack.http.clone() })
}

fn unsuccessful(instance: &BotInstance, stack: &Stack) -> anyhow::Error {
    let outcome = instance.facts.outcome.as_ref().map(|outcome| format!("{} ({})", outcome.kind, outcome.message));
    let outcome = outcome.unwrap_or_else(|| "no outcome".into());
    anyhow!("the recording ended {} with {outcome}; logs lie in {}", instance.phase, stack.folder().join("runs").display())
}

/// Waits for an instance that `accept`s, saying each phase on the way.
async fn follow(
    stack: &Stack,
    meeting: &MeetingPath,
    progress: &Progress,
    accept: impl Fn(&BotInstance) -> bool,
    limit: Duration,
) -> Result<BotInstance> {
    let last = std::cell::Cell::new(None);
    let seen = |instance: &BotInstance| {
        if last.replace(Some(instance.phase)) != Some(instance.phase) {
            progress.say(format_args!("  instance {} is {}", instance.id, instance.phase));
        }
        accept(instance) || instance.phase.is_terminal()
    };
    stack.wait_for("the next phase", meeting, limit, seen).await
}

fn report(recorded: &Recorded, run: &Path, is_practice: bool) -> Result<()> {
    let Recorded { instance, timeline, folder, .. } = recorded;
    println!("\nTimeline of {} (attempt {})", instance.id, instance.facts.attempt);
    for (index, event) in timeline.iter().enumerate() {
        let lasted = timeline.get(index + 1).map(|next| (next.occurred_at - event.occurred_at).as_seconds_f64());
        let lasted = lasted.map_or(String::new(), |seconds| format!("{seconds:>7.1} s"));
        println!(
            "  {}  {:<12} {:<18} {lasted:>10}  {}",
            event.occurred_at.format("%H:%M:%S%.3f"),
            event.phase,
            event.event,
            event.detail
        );
    }
    let outcome = instance.facts.outcome.as_ref().context("no outcome")?;
    println!("Outcome: {} ({})", outcome.kind, outcome.message);
    println!("\nFiles in {}", folder.display());
    for artifact in &instance.facts.artifacts {
        let name = artifact.name.file_name();
        let length = artifact.duration_secs.map_or(String::new(), |seconds| format!("{seconds:.2} s"));
        println!(
            "  {name:<16} {:>9} bytes  crc32c {}  {length}  {}",
            artifact.bytes,
            artifact.crc32c,
            artifact.codecs.join(" + ")
        );
    }
    let video = folder.join(ObjectName::Video.file_name());
    for name in [ObjectName::Video, ObjectName::Audio, ObjectName::Manifest] {
        ensure!(folder.join(name.file_name()).metadata()?.len() > 0, "{} is missing or empty", name.file_name());
    }
    println!("\nffprobe says");
    print!("{}", ffprobe(&video)?);
    let judged = practice_room::judge::judge(&video).context("judge the video")?;
    let sheet = run.join("contact-sheet.png");
    contact_sheet::write(&video, &sheet, judged.duration_secs, (4, 3))?;
    if is_practice {
        println!("\nRead back from the picture's time code and the sound's beeps\n  {judged:?}");
        ensure!(judged.decoded_frames > 0, "no time code could be read from the picture");
        ensure!(judged.beeps > 0, "no beep could be heard");
    }
    println!("\nContact sheet: {}\nVideo:         {}\nAll verified.", sheet.display(), video.display());
    Ok(())
}

fn ffprobe(video: &Path) -> Result<String> {
    let output = std::process::Command::new(std::env::var_os("FFPROBE_PATH").unwrap_or_else(|| "ffprobe".into()))
        .args(["-v", "error", "-show_entries"])
        .arg("stream=codec_name,codec_type,width,height,avg_frame_rate,sample_rate,channels:format=duration,size,bit_rate")
        .args(["-of", "compact"])
        .arg(video)
        .output()
        .context("start ffprobe")?;
    ensure!(output.status.success(), "ffprobe refuses {}: {}", video.display(), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
