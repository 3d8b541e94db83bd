//! What a run left on this machine: told to the next attempt, kept for its retention, deleted once it is in the bucket.

use std::time::Duration;

use controller::launch::run_dir::RunDir;
use controller::launch::{LaunchSpec, Launcher, RunCommand, RunState};

use crate::bench::{Bench, launcher, read, until};

/// Lays `count` closed segments into a run's scratch.
fn record_segments(run: &RunDir, count: u32) {
    let part = run.scratch().join("session/p000");
    std::fs::create_dir_all(&part).unwrap();
    for seq in 0..count {
        std::fs::write(part.join(bot_model::segment::segment_file(seq)), b"segment").unwrap();
    }
}

#[tokio::test]
async fn the_next_attempt_is_told_where_an_earlier_one_left_its_segments() {
    let bench = Bench::new().await;
    let first = bench.claim("b1").await;
    let spec = LaunchSpec::new(&first, RunCommand::Record);
    bench.launcher.launch(&spec).await.unwrap();
    let run = bench.run(&spec.key());
    until("the manager's command", || run.path().join("manager.command").exists());
    assert!(!read(&run, "manager.env").contains("EARLIER_RUNS"));
    record_segments(&run, 2);
    assert_eq!(bench.launcher.unsaved().await.unwrap(), [], "it is still being carried out");
    std::fs::write(run.path().join("exit-now"), "143").unwrap();
    bench.over(&spec.key()).await;
    assert_eq!(bench.launcher.unsaved().await.unwrap(), [spec.key().job]);
    let second = LaunchSpec::new(&bench.next_attempt(&first).await, RunCommand::Finalize);
    bench.launcher.launch(&second).await.unwrap();
    let next = bench.run(&second.key());
    until("the second manager's command", || next.path().join("manager.command").exists());
    let told = read(&next, "manager.env").lines().find_map(|line| line.strip_prefix("EARLIER_RUNS=").map(str::to_owned)).unwrap();
    let earlier: Vec<bot_model::scratch::EarlierRun> = serde_json::from_str(&told).unwrap();
    assert_eq!((earlier.len(), earlier[0].attempt, &earlier[0].scratch), (1, 1, &run.scratch()));
    assert_eq!(earlier[0].run, run.spec().unwrap().run_id);
    run.kill_leftovers();
    assert_eq!(bench.state(&second.key()).await, RunState::Running, "taken for a process of the earlier run");
    bench.launcher.stop(&second.key()).await.unwrap();
    bench.over(&second.key()).await;
}

#[tokio::test]
async fn a_removed_run_whose_segments_are_not_in_the_bucket_is_kept_for_its_retention() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    record_segments(&run, 2);
    std::fs::write(run.path().join("exit-now"), "143").unwrap();
    bench.over(&key).await;
    bench.launcher.remove(&key).await.unwrap();
    let kept = bench.path().join("runs/kept/bot-b1-a1");
    assert!(!run.path().exists() && kept.join("scratch/session/p000/seg-000001.m4s").exists());
    assert_eq!(bench.launcher.list().await.unwrap(), [], "a kept run is over for good");
    let url = format!("sqlite:{}", bench.path().join("store.sqlite").display());
    drop(launcher(bench.path(), &url));
    assert!(kept.exists(), "deleted within its retention");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(73 * 3600);
    std::fs::File::open(kept.join("kept-since")).unwrap().set_modified(long_ago).unwrap();
    drop(launcher(bench.path(), &url));
    assert!(!kept.exists());
}

#[tokio::test]
async fn a_removed_run_whose_segments_are_all_in_the_bucket_is_deleted() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    record_segments(&run, 2);
    std::fs::write(run.scratch().join("saved.json"), r#"{"segments":2}"#).unwrap();
    std::fs::write(run.path().join("exit-now"), "70").unwrap();
    bench.over(&key).await;
    bench.launcher.remove(&key).await.unwrap();
    assert!(!run.path().exists() && !bench.path().join("runs/kept").exists());
}
