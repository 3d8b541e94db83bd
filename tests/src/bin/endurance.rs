//! `make endurance`: a recording of HOURS, carried out and made into files, with what it took. Fails where something grows.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use anyhow::{Result, ensure};
use clap::Parser;
use tests::endurance::endure;
use tests::endurance::flat::growth;

/// Records hours in minutes.
#[derive(Parser)]
struct Args {
    /// How long the recording is.
    #[arg(long, default_value_t = 10)]
    hours: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let hours = Args::parse().hours;
    let folder = tempfile::tempdir()?;
    let endured = endure(folder.path(), hours * 3_600).await?;
    println!("{:>9} {:>12} {:>12} {:>16}", "recorded", "manager", "descriptors", "beside segments");
    for sample in endured.samples.iter().step_by((endured.samples.len() / 20).max(1)) {
        let minutes = sample.recorded_secs / 60;
        println!("{minutes:>5} min {:>8.1} MiB {:>12} {:>14} B", sample.resident_mib, sample.descriptors, sample.overhead_bytes);
    }
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    println!(
        "{} segments, {:.0} MiB, in the bucket after {:.1} s",
        endured.segments,
        mib(endured.bytes),
        endured.carried_in.as_secs_f64()
    );
    let made = endured.finalized;
    println!(
        "files after {:.1} s: manager {:.1} MiB, ffmpeg {:.1} MiB, {:.0} MiB on the disk; video of {:.1} s",
        made.took.as_secs_f64(),
        made.manager_mib,
        made.programs_mib,
        mib(made.disk_bytes),
        endured.video_secs
    );
    let grew = growth(&endured.samples);
    ensure!(grew.is_empty(), "it grew: {grew:?}");
    ensure!((endured.video_secs - f64::from(hours * 3_600)).abs() < 1.0, "the video is {} s long", endured.video_secs);
    Ok(())
}
