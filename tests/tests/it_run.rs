//! One run without a controller, to its end. What a run keeps that is killed or asked to end: `it_durability.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::time::Duration;

use bot_model::document::BotInstance;
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use practice_room::judge::{Judgement, judge};
use serde_json::json;
use tests::process::Process;
use tests::room::PracticeRoom;
use tests::run::{Bench, Run};

const MINUTE: Duration = Duration::from_secs(60);

struct Call {
    room: PracticeRoom,
    code: &'static str,
    bench: Bench,
    _clock: Process,
    folder: tempfile::TempDir,
}

impl Call {
    async fn open(code: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let room = PracticeRoom::start(folder.path()).await.unwrap();
        room.open(code, json!({"lobby": true})).await.unwrap();
        let clock = room.participant_process(code, "Clara", "clock", 1000, folder.path()).unwrap();
        room.wait_for(code, "clock", "in_call", MINUTE).await.unwrap();
        let bench = Bench::new(folder.path(), &room.origin, &format!("practice:meet/{code}"), None).await.unwrap();
        Self { room, code, bench, _clock: clock, folder }
    }

    /// Lets the bot in and waits until `segments` segments are in the bucket.
    async fn record(&self, segments: u64) {
        let guest = self.room.wait_for(self.code, "guest", "waiting", MINUTE * 2).await.unwrap();
        self.room.act(self.code, &guest, "admit").await.unwrap();
        self.bench.wait_for("segments in the bucket", MINUTE, |record| self.carried(&record.instance) >= segments).await.unwrap();
    }

    /// Segments that lie in the bucket.
    fn carried(&self, instance: &BotInstance) -> u64 {
        let Some(path) = &instance.facts.gcs_path else { return 0 };
        let raw = self.folder.path().join("recordings").join(path.as_str()).join("raw");
        let parts = std::fs::read_dir(raw)
            .into_iter()
            .flatten()
            .flatten()
            .flat_map(|run| std::fs::read_dir(run.path()).unwrap().flatten());
        let files = parts.flat_map(|part| std::fs::read_dir(part.path()).unwrap().flatten());
        files.filter(|file| file.file_name().to_string_lossy().ends_with(".m4s")).count() as u64
    }

    fn judged(&self, instance: &BotInstance) -> Judgement {
        let path = instance.facts.gcs_path.as_ref().unwrap();
        let video = self.folder.path().join("recordings").join(path.as_str()).join(ObjectName::Video.file_name());
        judge(&video).unwrap()
    }
}

async fn ended(run: &mut Run) -> Option<i32> {
    run.manager.wait(MINUTE * 2).await.unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_host_ends_is_done_with_verified_files() {
    let call = Call::open("run-ends").await;
    let mut run = call.bench.start("r1").await.unwrap();
    call.record(3).await;
    call.room.end(call.code).await.unwrap();
    assert_eq!(ended(&mut run).await, Some(0), "{}", run.manager.log_tail());
    let record = call.bench.instance().await.unwrap();
    assert_eq!(record.instance.phase, Phase::Done);
    let judged = call.judged(&record.instance);
    println!("{judged:?}");
    assert!(judged.decoded_frames * 100 >= judged.frames * 90, "{judged:?}");
    assert!(!call.bench.folder.join("r1").exists(), "scratch was left");
}
