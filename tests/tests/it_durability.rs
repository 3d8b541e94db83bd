//! A recording that is struck: what had been captured before each blow is in the video, by the clock in its picture.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it measured")]

use tests::durability::blow::Blow;
use tests::durability::report::Cost;
use tests::durability::{Dice, round};

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
    assert!(costs.iter().all(Cost::is_as_promised), "{costs:?}");
}
