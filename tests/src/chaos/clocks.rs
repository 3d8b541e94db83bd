//! The wall clocks of the site's processes, which libfaketime reads from files; the monotonic clock stays true.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use std::os::unix::fs::PermissionsExt as _;

use crate::process::binary;

/// Where Debian and Ubuntu put the library, below the folder of the machine's architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// One clock for each controller, and one for all managers.
pub struct Clocks {
    folder: PathBuf,
    library: PathBuf,
}

/// A clock, right at first.
pub struct Wall(PathBuf);

impl Wall {
    /// Sets it so many seconds ahead of the true time, or behind.
    pub fn set(&self, ahead: i64) -> Result<()> {
        let draft = self.0.with_extension("tmp");
        std::fs::write(&draft, format!("{ahead:+}\n"))?;
        std::fs::rename(&draft, &self.0).context("set a clock")
    }
}

impl Clocks {
    /// Puts right clocks for so many controllers into `folder`, which exists.
    pub fn start(folder: &Path, controllers: usize) -> Result<Self> {
        let library = library().context("libfaketime is missing: install the package libfaketime")?;
        let clocks = Self { folder: folder.to_owned(), library };
        for which in 0..controllers {
            clocks.controller(which).set(0)?;
        }
        clocks.managers().set(0)?;
        Ok(clocks)
    }

    /// Of one controller.
    pub fn controller(&self, which: usize) -> Wall {
        Wall(self.folder.join(format!("clock-{which}")))
    }

    /// Of all managers.
    pub fn managers(&self) -> Wall {
        Wall(self.folder.join("clock-managers"))
    }

    /// Every clock is right again.
    pub fn heal(&self, controllers: usize) -> Result<()> {
        (0..controllers).try_for_each(|which| self.controller(which).set(0))?;
        self.managers().set(0)
    }

    /// Lets a controller live by its clock.
    pub fn give_controller(&self, which: usize, command: &mut Command) {
        command.envs(self.variables(&self.controller(which)));
    }

    /// A program that is the manager by the managers' clock: a run's environment lets no variable of ours through.
    pub fn manager(&self) -> Result<PathBuf> {
        let program = self.folder.join("manager-by-its-clock");
        let variables: Vec<String> =
            self.variables(&self.managers()).iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        let manager = binary("manager")?;
        let script = format!("#!/bin/sh\n{} exec '{}' \"$@\"\n", variables.join(" "), manager.display());
        std::fs::write(&program, script)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(program)
    }

    fn variables(&self, wall: &Wall) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", wall.0.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // Seconds until it looks into its file again.
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ]
    }
}

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    folders.flatten().map(|folder| folder.path().join(LIBRARY)).find(|path| path.exists())
}
