//! The disk of the runs: a small file system of its own, which can be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Ample for what runs of the scripted meeting-bot leave.
const MEBIBYTES: u32 = 768;
const BALLAST: &str = "ballast";

/// The mounted file system; dropped, it is unmounted, and what lay on it lies in a folder beside (`.kept`).
pub struct Disk(PathBuf);

/// A full disk.
pub struct Full(PathBuf);

impl Disk {
    /// Mounts it at `folder`.
    pub fn mount(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={MEBIBYTES}m,mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output()?;
        let said = String::from_utf8_lossy(&mounted.stderr);
        ensure!(mounted.status.success(), "chaos mounts a tmpfs, so it must run as root with CAP_SYS_ADMIN: {said}");
        Ok(Self(folder.to_owned()))
    }

    /// Fills it, as another program would.
    pub fn fill(&self) -> Result<Full> {
        let full = Full(self.0.join(BALLAST));
        let file = std::fs::File::create(&full.0).context("the ballast")?;
        let facts = statvfs(&self.0)?;
        let mut step = facts.f_bavail * facts.f_frsize;
        let mut length = 0;
        // Others write, too: what cannot be had at once is had in smaller pieces.
        while step >= facts.f_frsize {
            if fallocate(&file, FallocateFlags::empty(), length, step).is_ok() {
                length += step;
            } else {
                step /= 2;
            }
        }
        Ok(full)
    }
}

impl Full {
    /// Frees what the ballast took.
    pub fn empty(self) -> Result<()> {
        std::fs::remove_file(self.0).context("the ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever wants to know what happened looks into the runs' logs.
        let _ = Command::new("cp").arg("-a").arg(&self.0).arg(self.0.with_extension("kept")).status();
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
