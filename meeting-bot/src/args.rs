//! The command line and the environment, turned into a [`Config`]; every subcommand's entry.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bot_model::exit_code::ExitCode as Code;
use bot_model::platform::OtherPlatforms;
use clap::{Parser, Subcommand};

use crate::config::{self, Settings};
use crate::platform::pack::Pack;
use crate::rehearsal::{self, RehearsalError, Room};
use crate::{doctor, probe, serve};

/// Joins one call in a real browser and records it to segments.
#[derive(Debug, Parser)]
#[command(name = "meeting-bot", version)]
struct Args {
    /// Where to listen; loopback only, since the interface has no authentication.
    #[arg(long, env = "MEETING_BOT_LISTEN", default_value = "127.0.0.1:3000", global = true)]
    listen: String,
    /// The browser; found on PATH if absent. A snap cannot be used.
    #[arg(long, env = "CHROME_PATH", global = true)]
    chrome_path: Option<PathBuf>,
    /// Where practice rooms live, such as http://127.0.0.1:8400.
    #[arg(long, env = "PRACTICE_ROOM_ORIGIN", global = true)]
    practice_room_origin: Option<String>,
    /// A folder of signal packs that go before the built-in ones.
    #[arg(long, env = "SIGNAL_PACKS_DIR", global = true)]
    signal_packs_dir: Option<PathBuf>,
    /// Chromium's own sandbox: on, off, or auto (on, unless this process is root, which Chromium refuses to sandbox).
    #[arg(long, env = "CHROMIUM_SANDBOX", default_value = "auto", global = true)]
    chromium_sandbox: String,
    /// A Chromium profile folder whose signed-in identity is taken; copied for each session, never written to.
    #[arg(long, env = "BROWSER_PROFILE_DIR", global = true)]
    browser_profile_dir: Option<PathBuf>,
    /// A storage state file (cookies, local storage) whose signed-in identity is taken.
    #[arg(long, env = "BROWSER_STORAGE_STATE", global = true)]
    browser_storage_state: Option<PathBuf>,
    /// Opens the chat's pane, so that messages are noted; it is in the picture then: true or false.
    #[arg(long, env = "READ_CHAT", default_value = "false", global = true)]
    read_chat: String,
    /// When a session leaves a debug bundle: off, failures or always.
    #[arg(long, env = "DEBUG_BUNDLE", default_value = "failures", global = true)]
    debug_bundle: String,
    /// Where the session's private folders are made.
    #[arg(long, env = "MEETING_BOT_SCRATCH", global = true)]
    scratch: Option<PathBuf>,
    /// Write the address that is really listened on to this file, once it is.
    #[arg(long, env = "MEETING_BOT_PORT_FILE", global = true)]
    port_file: Option<PathBuf>,
    /// Platforms that are not built in, as name=host pairs separated by commas, such as jitsi=meet.jit.si.
    #[arg(long, env = "OTHER_PLATFORMS", global = true)]
    other_platforms: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer the HTTP interface (the default).
    Serve,
    /// Exit 0 when the local server answers.
    Probe,
    /// Say what is missing on this machine.
    Doctor,
    /// Check a signal pack.
    CheckPack {
        /// The pack.
        file: PathBuf,
        /// Play it against a practice room as well: its origin and a code, such as http://127.0.0.1:8400/check.
        #[arg(long)]
        room: Option<String>,
        /// Only these calls of the practice room, by the names that the report has; all without it.
        #[arg(long, value_delimiter = ',', requires = "room")]
        only: Vec<String>,
    },
}

/// Reads the command line and runs what it names.
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Code::BadConfiguration.into() } else { ExitCode::SUCCESS };
        }
    };
    let _logs = bot_logs::start("info");
    OtherPlatforms::install_from(|_| args.other_platforms.clone());
    match &args.command {
        Some(Command::Probe) => match config::loopback(&args.listen) {
            Ok(address) if probe::is_healthy(address) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Some(Command::Doctor) => doctor(args.chrome_path.as_deref()),
        Some(Command::CheckPack { file, room, only }) => check_pack(&args, file, room.as_deref(), only),
        Some(Command::Serve) | None => serve(args),
    }
}

fn doctor(chrome_path: Option<&Path>) -> ExitCode {
    let findings = doctor::examine(chrome_path);
    tell(&doctor::report(&findings));
    if findings.iter().all(doctor::Finding::is_good) { ExitCode::SUCCESS } else { Code::MissingDependency.into() }
}

fn check_pack(args: &Args, file: &Path, room: Option<&str>, only: &[String]) -> ExitCode {
    let pack = match Pack::read(file) {
        Ok(pack) => pack,
        Err(error) => {
            tell(&format!("{error}\n"));
            return Code::BadConfiguration.into();
        }
    };
    let Pack { platform, version, state, step, count, .. } = &pack;
    let (states, steps, counts) = (state.len(), step.len(), count.len());
    tell(&format!("{platform}: pack {version} is valid: {states} states, {steps} steps, {counts} counts\n"));
    let Some(room) = room else { return ExitCode::SUCCESS };
    match play_pack(args, &pack, room, only) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell(&format!("{error:#}\n"));
            let is_asked_wrongly = matches!(error.downcast_ref(), Some(RehearsalError::Room(_) | RehearsalError::Unknown(..)));
            if is_asked_wrongly { Code::BadConfiguration.into() } else { Code::MissingDependency.into() }
        }
    }
}

/// True where every call in the practice room ended as it should.
fn play_pack(args: &Args, pack: &Pack, room: &str, only: &[String]) -> anyhow::Result<bool> {
    let room = Room::parse(room)?;
    let browser = doctor::find_browser(args.chrome_path.as_deref()).map_err(anyhow::Error::msg)?;
    let is_sandboxed = config::is_sandboxed(&args.chromium_sandbox).unwrap_or(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let played = runtime.block_on(rehearsal::rehearse(pack, &room, only, browser, is_sandboxed))?;
    tell(&rehearsal::report(pack, &played));
    Ok(played.iter().all(rehearsal::Played::is_right))
}

fn serve(args: Args) -> ExitCode {
    let settings = Settings {
        listen: args.listen,
        practice_origin: args.practice_room_origin,
        packs: args.signal_packs_dir,
        other_platforms: args.other_platforms,
        sandbox: args.chromium_sandbox,
        profile: args.browser_profile_dir,
        storage_state: args.browser_storage_state,
        reads_chat: given(args.read_chat, "false"),
        debug_bundle: given(args.debug_bundle, "failures"),
        scratch: args.scratch,
        port_file: args.port_file,
    };
    let browser = doctor::find_browser(args.chrome_path.as_deref());
    let config = match (settings.check(), browser) {
        (Err(problems), _) => {
            tell(&format!("bad configuration:\n  - {}\n", problems.join("\n  - ")));
            return Code::BadConfiguration.into();
        }
        (Ok(_), Err(problem)) => {
            tell(&format!("{problem}\nRun `meeting-bot doctor` for everything that is missing.\n"));
            return Code::MissingDependency.into();
        }
        (Ok(config), Ok(browser)) => config(browser),
    };
    match serve::serve(config) {
        Ok(code) => code,
        Err(error) => {
            tell(&format!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// An empty variable is an absent one, as for every setting of the controller.
fn given(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

/// Writes to standard error, where a person and a pod's log look alike.
fn tell(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}
