//! A disk that fills up while recording: a small file system of its own, mounted for the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::{SessionLimits, SessionPhase};

use crate::bot::Bot;
use crate::replica::Replica;
use crate::{BRING_UP, SOON, assert_whole, media};

/// A file system in memory of so many MiB, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output().unwrap();
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "this test mounts a tmpfs, so it must run as root with CAP_SYS_ADMIN: {said}");
        Self(at.to_owned())
    }

    /// Leaves so many bytes free, as another program would that fills the disk.
    fn leave_free(&self, bytes: u64) {
        let facts = rustix::fs::statvfs(&self.0).unwrap();
        let free = facts.f_bavail * facts.f_frsize;
        let ballast = vec![0; usize::try_from(free - bytes).unwrap()];
        let written = std::fs::write(self.0.join("ballast"), ballast);
        // The bot writes, too: the last bytes may be its.
        assert!(written.is_ok() || bytes == 0, "{written:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

async fn recording_onto(replica: &Replica, code: &str, mebibytes: u32) -> (Bot, SmallDisk) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("small");
    let disk = SmallDisk::mount(&output, mebibytes);
    replica.open(code, 1_000);
    replica.set(code, "call", 1);
    let bot = Bot::start_into(&replica.origin, folder, output, &[]).await;
    assert_eq!(bot.join(code, SessionLimits::default()).await.status(), 201);
    bot.reaches(SessionPhase::Recording, BRING_UP).await;
    bot.satisfies("two segments", SOON, |state| state.media.segments >= 2).await;
    (bot, disk)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_nearly_full_ends_the_recording_in_order() {
    let replica = Replica::start().await;
    let (bot, disk) = recording_onto(&replica, "nearly-full", 300).await;
    bot.satisfies("a warning", SOON, |state| state.media.free_bytes.is_some_and(|free| free < 512 << 20)).await;
    disk.leave_free(40 << 20);
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::DiskFull, "{}", bot.log());
    assert_eq!(replica.log("nearly-full"), ["joined", "left"]);
    assert_whole(&bot);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_once_is_told_as_such_and_what_was_closed_is_kept() {
    let replica = Replica::start().await;
    let (bot, disk) = recording_onto(&replica, "full", 200).await;
    let closed = bot.state().await.media.segments;
    disk.leave_free(0);
    let state = bot.reaches(SessionPhase::Ended, Duration::from_secs(40)).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::DiskFull, "{}", bot.log());
    assert!(state.media.segments >= closed);
    // Room to put the segments together.
    std::fs::remove_file(bot.output.join("ballast")).unwrap();
    let frames = media::pictures(&media::joined(&bot.part(0))).brightness.len() as u64;
    assert!(frames >= closed * 2 * 15, "{frames} frames of {closed} segments of two seconds");
}
