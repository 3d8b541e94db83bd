//! From the segments in the simulated bucket to a video and the end, in the manager's own order.

use std::time::Duration;

use bot_model::document::{Artifact, FrozenList, FrozenPart};
use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::Step;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::outcome::Outcome;
use bot_store::clock;
use bot_store::guard::Guard;
use bot_store::kill_point::KillPoint;
use bot_store::protocol::settle::settle;
use bot_store::protocol::{Advanced, Note};
use manager::keeper::{Keeper, Kept};
use manager::record::without_files;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Pod, SEGMENT, stopped};
use crate::sim::bucket::Segment;
use crate::sim::plan::between;
use crate::sim::truth::fingerprint;

pub(super) async fn finalize(pod: &Pod, keeper: &mut Keeper<'_>, outcome: Outcome, stop: &mut watch::Receiver<bool>) -> ExitCode {
    let making = Box::pin(make(pod, keeper));
    let made = tokio::select! {
        biased;
        () = stopped(stop) => None,
        made = making => Some(made),
    };
    match made {
        Some(Ok(artifacts)) => {
            KillPoint::Verified.pass(&pod.uid).await;
            settled(pod, keeper, Step::Complete, outcome, artifacts, stop).await
        }
        Some(Err(Unmade::Fenced)) => ExitCode::Fenced,
        Some(Err(Unmade::Nothing)) => {
            let (step, outcome) = without_files(keeper.facts(), outcome);
            settled(pod, keeper, step, outcome, Vec::new(), stop).await
        }
        Some(Err(Unmade::Later)) | None => {
            keeper.end_run(None).await;
            ExitCode::FinalizeNeeded
        }
    }
}

enum Unmade {
    Fenced,
    Nothing,
    Later,
}

/// In the order of the manager's own `finalize`.
async fn make(pod: &Pod, keeper: &mut Keeper<'_>) -> Result<Vec<Artifact>, Unmade> {
    let Some(path) = keeper.facts().gcs_path.clone() else { return Err(Unmade::Nothing) };
    let mut list = standing_list(pod, keeper, path.as_str()).await?;
    for _ in 0..3 {
        let segments = segments_of(&list);
        if segments.is_empty() {
            return Err(Unmade::Nothing);
        }
        let work = sleep(Duration::from_millis(between(300, 6_000)));
        keeper.keeping(work).await.map_err(|_| Unmade::Fenced)?;
        KillPoint::Converted.pass(&pod.uid).await;
        publish(pod, keeper, path.as_str(), &list, &segments).await?;
        let standing = standing_list(pod, keeper, path.as_str()).await?;
        if standing.sha256 == list.sha256 {
            return Ok(vec![artifact(&path, &segments)]);
        }
        list = standing;
    }
    Err(Unmade::Later)
}

/// What the files are to be made of. Without the frozen list it is whatever lies there.
async fn standing_list(pod: &Pod, keeper: &mut Keeper<'_>, path: &str) -> Result<FrozenList, Unmade> {
    let listed = listed(pod, path).await.ok_or(Unmade::Later)?;
    let there = frozen(&listed);
    if !Guard::FrozenList.stands() {
        return Ok(there);
    }
    let froze = match keeper.facts().frozen.clone() {
        None => keeper.freeze(&there).await,
        Some(stands) if segments_of(&stands).len() < listed.len() => keeper.freeze_again(&stands.sha256, &there).await,
        Some(stands) => return Ok(stands),
    };
    match froze {
        Kept::Done => Ok(keeper.facts().frozen.clone().unwrap_or(there)),
        Kept::Fenced(_) => Err(Unmade::Fenced),
        Kept::Refused | Kept::Unreachable(_) => Err(Unmade::Later),
    }
}

/// The generation first, then whether the run and the list still stand, and then exactly that generation is replaced.
async fn publish(pod: &Pod, keeper: &mut Keeper<'_>, path: &str, list: &FrozenList, segments: &[Segment]) -> Result<(), Unmade> {
    let world = &pod.world;
    let over = world.bucket.head(&pod.actor, &world.storage, path).await.map_err(|_| Unmade::Later)?.generation;
    match keeper.refresh().await {
        Kept::Fenced(_) => return Err(Unmade::Fenced),
        Kept::Unreachable(_) => return Err(Unmade::Later),
        Kept::Done | Kept::Refused => {}
    }
    let standing = keeper.facts().frozen.as_ref().map(|standing| standing.sha256.clone());
    if Guard::FrozenList.stands() && standing.as_ref() != Some(&list.sha256) {
        return Err(Unmade::Later);
    }
    match world.bucket.publish(&pod.actor, &world.storage, path, over, (segments, standing)).await {
        Ok(true) => {}
        Ok(false) | Err(_) => return Err(Unmade::Later),
    }
    KillPoint::Uploaded.pass(&pod.uid).await;
    let read_back = world.bucket.head(&pod.actor, &world.storage, path).await.map_err(|_| Unmade::Later)?;
    if read_back.segments == segments { Ok(()) } else { Err(Unmade::Later) }
}

pub(super) async fn listed(pod: &Pod, path: &str) -> Option<Vec<Segment>> {
    for _ in 0..4 {
        if let Some(found) = listed_now(pod, path).await {
            return Some(found);
        }
        sleep(Duration::from_secs(2)).await;
    }
    None
}

async fn listed_now(pod: &Pod, path: &str) -> Option<Vec<Segment>> {
    let found = pod.world.bucket.list(&pod.actor, &pod.world.storage, path).await.ok()?;
    Some(found.into_iter().collect())
}

/// Runs of numbers without a gap are parts, as the manager's own lists have them.
fn frozen(segments: &[Segment]) -> FrozenList {
    let mut parts: Vec<FrozenPart> = Vec::new();
    for (attempt, run, number) in segments {
        let follows = |part: &FrozenPart| {
            part.run == *run && u64::from(part.first_seq) + part.segment_crc32c.len() as u64 / 8 == u64::from(*number)
        };
        match parts.last_mut().filter(|part| follows(part)) {
            Some(part) => part.segment_crc32c += "00000000",
            None => parts.push(FrozenPart {
                attempt: *attempt,
                run: run.clone(),
                part: 0,
                info_crc32c: 0,
                init_crc32c: 0,
                quality_crc32c: String::new(),
                first_seq: *number,
                segment_crc32c: "00000000".into(),
            }),
        }
    }
    FrozenList { sha256: fingerprint(segments), parts }
}

fn segments_of(list: &FrozenList) -> Vec<Segment> {
    let of = |part: &FrozenPart| {
        let count = u32::try_from(part.segment_crc32c.len() / 8).unwrap_or_default();
        let (attempt, run, first) = (part.attempt, part.run.clone(), part.first_seq);
        (0..count).map(move |index| (attempt, run.clone(), first + index)).collect::<Vec<_>>()
    };
    list.parts.iter().flat_map(of).collect()
}

fn artifact(path: &ObjectPrefix, segments: &[Segment]) -> Artifact {
    Artifact {
        name: ObjectName::Video,
        object: format!("sim://{path}/video.mp4"),
        bytes: segments.len() as u64,
        crc32c: fingerprint(segments),
        duration_secs: Some(segments.len() as f64 * SEGMENT.as_secs_f64()),
        codecs: Vec::new(),
    }
}

/// Commits the end, as long as it takes within five minutes.
pub(super) async fn settled(
    pod: &Pod,
    keeper: &mut Keeper<'_>,
    step: Step,
    outcome: Outcome,
    artifacts: Vec<Artifact>,
    stop: &mut watch::Receiver<bool>,
) -> ExitCode {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(300) && !*stop.borrow() {
        if keeper.is_fresh() {
            let note = Note::new("manager", "settled");
            match settle(keeper.store(), keeper.record(), step, outcome.clone(), artifacts.clone(), note, clock::now()).await {
                Ok(Advanced::Applied(_)) => {
                    KillPoint::Settled.pass(&pod.uid).await;
                    KillPoint::CleanedUp.pass(&pod.uid).await;
                    return ExitCode::Settled;
                }
                Ok(Advanced::Illegal(_)) => return ExitCode::Fenced,
                Ok(Advanced::Conflict) | Err(_) => {}
            }
        }
        if let Kept::Fenced(_) = keeper.refresh().await {
            return ExitCode::Fenced;
        }
        sleep(Duration::from_secs(1)).await;
    }
    ExitCode::FinalizeNeeded
}
