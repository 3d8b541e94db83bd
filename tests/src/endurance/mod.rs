//! A recording of hours in minutes: a real manager carries out what a synthetic producer closes, is asked to end, and another makes
//! the files from the bucket alone. Nothing here is timed; what grows is.

pub mod flat;
pub mod producer;
pub mod sidecar;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::scratch::SESSION_FOLDER;
use rustix::process::Signal;

use crate::process::{Process, until};
use crate::run::Bench;
use crate::usage;
use flat::Sample;
use producer::{Producer, SEGMENT_SECS};
use sidecar::Sidecar;

/// Seconds that are closed at once.
const STEP_SECS: u32 = 300;
const LIMIT: Duration = Duration::from_secs(120);
/// For the files of ten hours on a busy machine.
const FINALIZE_WITHIN: Duration = Duration::from_secs(900);
const RECORDED_BY: &str = "r1";

/// What a recording took.
#[derive(Debug, Clone)]
pub struct Endured {
    /// While it was carried out.
    pub samples: Vec<Sample>,
    /// Segments.
    pub segments: u32,
    /// Bytes of them.
    pub bytes: u64,
    /// Wall time from the first segment closed to the last in the bucket.
    pub carried_in: Duration,
    /// Making the files.
    pub finalized: Finalized,
    /// Length of the video that came of it.
    pub video_secs: f64,
}

/// What making the files took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finalized {
    /// Wall time.
    pub took: Duration,
    /// Most memory of the manager.
    pub manager_mib: f64,
    /// Most memory of the programs that it started.
    pub programs_mib: f64,
    /// Most that lay on the run's disk.
    pub disk_bytes: u64,
}

/// Records `secs` in `folder`, carries them out, and makes the files.
///
/// # Errors
/// Where something of it did not come about.
pub async fn endure(folder: &Path, secs: u32) -> Result<Endured> {
    let sidecar = Sidecar::start().await?;
    let bench = Bench::new(folder, "http://127.0.0.1:9", "https://meet.google.com/abc-defg-hij", None).await?;
    let scratch = folder.join(RECORDED_BY);
    let session = scratch.join(SESSION_FOLDER);
    let mut producer = Producer::new(&folder.join("produced"), &session, secs)?;
    let mut manager = bench.start_beside(RECORDED_BY, &sidecar.url).await?;
    let begun = Instant::now();
    let samples = carried_out(&bench, &mut producer, &manager, &scratch).await?;
    let carried_in = begun.elapsed();
    let recorded = bench.instance().await?.instance;
    let prefix = recorded.facts.gcs_path.clone().context("no path")?;
    let raw = folder.join("recordings").join(prefix.as_str()).join("raw");
    let bytes = size_of(&raw, "m4s");
    manager.signal(Signal::TERM)?;
    let code = manager.wait(LIMIT).await?.code();
    ensure!(code == Some(71), "the recording run ended with {code:?}:\n{}", manager.log_tail());
    bench.relaunch().await?;
    let finalized = finalized(&bench, folder).await?;
    let video = folder.join("recordings").join(prefix.as_str()).join(ObjectName::Video.file_name());
    let video_secs = manager::media::probe(&video).await?.duration_secs;
    Ok(Endured { samples, segments: producer.count(), bytes, carried_in, finalized, video_secs })
}

async fn carried_out(bench: &Bench, producer: &mut Producer, manager: &Process, scratch: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let raw = || async {
        let path = bench.instance().await?.instance.facts.gcs_path;
        anyhow::Ok(path.map(|path| bench.folder.join("recordings").join(path.as_str()).join("raw")))
    };
    let raw = until("a path in the bucket", LIMIT, raw).await?;
    let own = raw.join(format!("a1-{RECORDED_BY}")).join("p0");
    let mut closed = 0;
    while closed < producer.count() {
        closed = producer.close(STEP_SECS / SEGMENT_SECS)?;
        // Segments go out in order, so the last one's presence is that of all.
        let last = format!("{:06}-", closed - 1);
        let is_there = || async { Ok(has_file(&own, &last).then_some(())) };
        until("the segments in the bucket", LIMIT, is_there).await.with_context(|| manager.log_tail())?;
        let session = scratch.join(SESSION_FOLDER);
        samples.push(Sample {
            recorded_secs: closed * SEGMENT_SECS,
            resident_mib: usage::usage(manager.id()).context("the manager is gone")?.resident_mib,
            descriptors: std::fs::read_dir(format!("/proc/{}/fd", manager.id()))?.count(),
            overhead_bytes: size_of(scratch, "") - size_of(&session, ""),
        });
    }
    Ok(samples)
}

/// The files, made by another run that has the bucket alone.
async fn finalized(bench: &Bench, folder: &Path) -> Result<Finalized> {
    let begun = Instant::now();
    let mut run = bench.start_finalize("r2").await?;
    let mut most = Finalized::default();
    let ended = loop {
        let processes = usage::descendants(run.manager.id());
        let (own, others): (Vec<_>, Vec<_>) = processes.iter().partition(|(pid, _)| **pid == run.manager.id());
        let sum = |of: &[(&i32, &usage::Usage)]| of.iter().map(|(_, process)| process.resident_mib).sum::<f64>();
        most.manager_mib = most.manager_mib.max(sum(&own));
        most.programs_mib = most.programs_mib.max(sum(&others));
        most.disk_bytes = most.disk_bytes.max(size_of(&folder.join("r2"), ""));
        if let Some(status) = run.manager.try_wait()? {
            break status;
        }
        ensure!(begun.elapsed() < FINALIZE_WITHIN, "the files were not made:\n{}", run.manager.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    ensure!(ended.success(), "the files could not be made ({ended}):\n{}", run.manager.log_tail());
    let phase = bench.instance().await?.instance.phase;
    ensure!(phase == Phase::Done, "it is {phase:?}");
    Ok(Finalized { took: begun.elapsed(), ..most })
}

fn has_file(folder: &Path, beginning: &str) -> bool {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
}

/// Bytes of the files below a folder whose names end so.
fn size_of(folder: &Path, ending: &str) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(of) if of.is_dir() => size_of(&entry.path(), ending),
        Ok(of) if entry.file_name().to_string_lossy().ends_with(ending) => of.len(),
        _ => 0,
    };
    entries.map(size).sum()
}
