//! The real controller and manager, built with their kill points, beside a scripted meeting-bot: one program, and what it does is the
//! name of the link that it is called by. What it needs to know lies in the folder of those links, for the environment of a run is an
//! allow-list.

pub mod bot;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bot_store::kill_point::{KillPoint, armed};

/// In the folder of the links: where to die, such as `K4`.
pub const KILL_POINT_FILE: &str = "kill-point";
/// Made by who dies: nobody dies after it.
pub const OBITUARY_FILE: &str = "obituary";
/// The bot's own log of joins and leaves: `joins RUN` and `leaves RUN`, one a line, in the order of time.
pub const CALL_FILE: &str = "call.log";
/// The part that the bot lays down.
pub const TEMPLATE_FOLDER: &str = "template";

/// Makes the links in a folder, for who is to die at `point`.
pub fn prepare(folder: &Path, point: KillPoint) -> Result<()> {
    let program = crate::process::binary("mortal")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(KILL_POINT_FILE), point.name())?;
    for name in ["controller", "manager", "meeting-bot"] {
        // No symbolic link: the controller looks for its own program, to supervise with.
        std::fs::hard_link(&program, folder.join(name)).or_else(|_| std::fs::copy(&program, folder.join(name)).map(drop))?;
    }
    Ok(())
}

/// Runs as what it is called.
pub fn run() -> ExitCode {
    let Some((name, folder)) = called() else { return ExitCode::from(64) };
    if let Some(point) = told(&folder) {
        armed::arm(point, 1, folder.join(OBITUARY_FILE));
    }
    match name.as_str() {
        "controller" => controller::cli::run(),
        "manager" => manager::cli::run(),
        _ => bot::run(&folder),
    }
}

fn called() -> Option<(String, PathBuf)> {
    let program = std::env::current_exe().ok()?;
    Some((program.file_name()?.to_str()?.to_owned(), program.parent()?.to_owned()))
}

fn told(folder: &Path) -> Option<KillPoint> {
    let text = std::fs::read_to_string(folder.join(KILL_POINT_FILE)).ok()?;
    KillPoint::ALL.into_iter().find(|point| point.name() == text.trim())
}

/// The most bots that were in the call at once, and how many joined at all.
pub fn in_the_call(folder: &Path) -> Result<(usize, usize)> {
    let log = std::fs::read_to_string(folder.join(CALL_FILE)).context("nobody ever joined")?;
    let (mut inside, mut most, mut joined) = (Vec::new(), 0, 0);
    for line in log.lines() {
        match line.split_once(' ') {
            Some(("joins", run)) => {
                inside.push(run);
                joined += 1;
            }
            Some((_, run)) => inside.retain(|other| *other != run),
            None => {}
        }
        most = most.max(inside.len());
    }
    Ok((most, joined))
}
