//! A real recording of a practice room that is struck at random moments, and what its video shows of what had been captured.
//!
//! The whole product runs: controller, supervisor, manager, meeting-bot, browser, capture. A struck run's disk is lost with it, so
//! that the next run has the bucket alone, as in a cluster. The participant's picture carries the machine's clock; so does the moment
//! of each blow.

pub mod blow;
pub mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bot_model::ids::MeetingPath;
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::segment::{PART_INFO_FILE, PartInfo};
use chrono::Utc;
use serde_json::json;

use crate::process::{Process, until};
use crate::room::PracticeRoom;
use crate::stack::Stack;
use blow::{Blow, LiveRun};
use report::{Cost, Struck, cost, instants};

/// Longest wait for anything, above the controller's longest pause between attempts here (80 s).
const LIMIT: Duration = Duration::from_secs(180);
/// A blow falls so many milliseconds after the capture has begun, at random.
const MOMENTS_MS: std::ops::Range<u64> = 5_000..13_000;
/// What is recorded after the last blow.
const AFTERWARDS: Duration = Duration::from_secs(6);

/// Numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number of the range.
    pub fn roll(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }
}

/// A call that is being recorded.
struct Recording<'a> {
    folder: &'a Path,
    code: String,
    begun_ms: i64,
    room: PracticeRoom,
    stack: Stack,
    meeting: MeetingPath,
    _clock: Process,
}

/// One call in `folder`, struck by each blow at a moment that `dice` chooses, recorded to its end and judged.
///
/// # Errors
/// Where something of it did not come about; what was lost is in the answer.
pub async fn round(folder: &Path, dice: &mut Dice, blows: &[Blow]) -> Result<Vec<Cost>> {
    let recording = Recording::begin(folder, format!("struck-{}", dice.roll(0..1_000_000))).await?;
    let mut struck: Vec<Struck> = Vec::new();
    let mut captured_from_ms = recording.captured_after(recording.begun_ms).await?;
    for blow in blows {
        // A random moment is not one that could be waited for.
        tokio::time::sleep(Duration::from_millis(dice.roll(MOMENTS_MS))).await;
        let one = recording.strike(*blow, captured_from_ms).await.with_context(|| format!("{blow:?}"))?;
        captured_from_ms = one.captured_again_ms;
        struck.push(one);
    }
    tokio::time::sleep(AFTERWARDS).await;
    let shown = recording.shown_at_the_end().await?;
    Ok(struck.iter().map(|one| cost(one, &shown)).collect())
}

impl<'a> Recording<'a> {
    async fn begin(folder: &'a Path, code: String) -> Result<Self> {
        let begun_ms = Utc::now().timestamp_millis();
        let room = PracticeRoom::start(folder).await?;
        room.open(&code, json!({"lobby": false})).await?;
        let clock = room.participant_process(&code, "Clara", "clock", 1_000, folder)?;
        room.wait_for(&code, "clock", "in_call", LIMIT).await?;
        let stack = Stack::start(folder, Some(&room.origin), &[]).await?;
        let meeting = stack.schedule(&format!("practice:meet/{code}"), "Recorder")?;
        Ok(Self { folder, code, begun_ms, room, stack, meeting, _clock: clock })
    }

    async fn strike(&self, blow: Blow, captured_from_ms: i64) -> Result<Struck> {
        let run = LiveRun::latest(&self.runs())?;
        let at_ms = Utc::now().timestamp_millis();
        let ended_in_time = run.strike(blow).await?;
        let captured_again_ms = self.captured_after(at_ms).await?;
        let in_call_ms = if blow == Blow::Ffmpeg { at_ms } else { self.guest_after("in_call", at_ms).await? };
        let left_ms = if blow.is_announced() { Some(self.guest_after("left", at_ms).await?) } else { None };
        Ok(Struck { blow, captured_from_ms, at_ms, left_ms, in_call_ms, captured_again_ms, ended_in_time })
    }

    fn runs(&self) -> PathBuf {
        self.folder.join("runs")
    }

    /// When a part began after an instant, once one has.
    async fn captured_after(&self, after_ms: i64) -> Result<i64> {
        let began = || async {
            let starts = parts(&self.runs()).into_iter().map(|part| part.started_at.timestamp_millis());
            Ok(starts.filter(|at| *at > after_ms).min())
        };
        until("a capture", LIMIT, began).await.with_context(|| self.words())
    }

    /// When a guest entered a state after an instant, by the room's log.
    async fn guest_after(&self, state: &str, after_ms: i64) -> Result<i64> {
        let entered = || async {
            let log = self.room.log(&self.code).await?;
            let guests = log.as_array().into_iter().flatten().filter(|entry| entry["role"] == "guest" && entry["state"] == state);
            Ok(guests.filter_map(|entry| entry["at_ms"].as_i64()).filter(|at| *at > after_ms).min())
        };
        until(&format!("a guest that is {state}"), LIMIT, entered).await.with_context(|| self.words())
    }

    /// The host ends the call; the instants that the video shows.
    async fn shown_at_the_end(&self) -> Result<Vec<i64>> {
        self.room.end(&self.code).await?;
        let ended = self.stack.wait_for("the end", &self.meeting, LIMIT, |instance| instance.phase.is_terminal()).await?;
        ensure!(ended.phase == Phase::Done, "it ended as {:?}: {:?}", ended.phase, ended.facts.outcome);
        let took = Utc::now().timestamp_millis() - self.begun_ms;
        ensure!(took < 600_000, "the time code repeats, and this took {took} ms");
        let video = self.stack.recording_folder(&ended)?.join(ObjectName::Video.file_name());
        Ok(instants(&practice_room::judge::time_codes(&video)?, self.begun_ms))
    }

    /// What the processes said last.
    fn words(&self) -> String {
        std::fs::read_to_string(self.folder.join("controller.log")).unwrap_or_default()
    }
}

/// What lies of parts below every run.
fn parts(runs: &Path) -> Vec<PartInfo> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let sessions =
        entries(runs.to_owned()).flat_map(entries).map(|run| run.join("scratch").join(bot_model::scratch::SESSION_FOLDER));
    let infos = sessions.flat_map(entries).filter_map(|part| std::fs::read(part.join(PART_INFO_FILE)).ok());
    infos.filter_map(|bytes| serde_json::from_slice(&bytes).ok()).collect()
}
