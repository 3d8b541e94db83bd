//! A recording that is struck: what had been captured before each blow is in the video, by the clock in its picture.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it measured")]

use tests::durability::blow::Blow;
use tests::durability::{Dice, MOST_LOST_SECS, MOST_LOST_WITH_NOTICE_SECS, round};

/// Set to repeat a run.
const SEED: &str = "DURABILITY_SEED";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_captured_before_a_kill_or_a_sigterm_is_in_the_video() {
    let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| chrono::Utc::now().timestamp_millis().unsigned_abs());
    println!("{SEED}={seed}");
    let folder = tempfile::tempdir().unwrap();
    let costs = round(folder.path(), &mut Dice(seed), &[Blow::Terminate, Blow::Manager, Blow::Group]).await.unwrap();
    for cost in &costs {
        println!("{cost:?}");
    }
    for cost in costs {
        let most = if cost.blow.is_announced() { MOST_LOST_WITH_NOTICE_SECS } else { MOST_LOST_SECS };
        assert!(cost.lost_secs <= most && cost.ended_in_time, "{cost:?}");
    }
}
