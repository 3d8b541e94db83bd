//! The process launcher with real processes. Manager and meeting-bot are small shell scripts that do as they are told: the
//! launcher and its supervisor are under test here, not they.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod bench;
mod program;
mod runs;
mod segments;

use bench::{Bench, processes_naming};
use controller::launch::conformance;

macro_rules! conforms {
    ($($name:ident),*) => { $(
        #[tokio::test]
        async fn $name() {
            let bench = Bench::new().await;
            conformance::$name(&bench.launcher, &bench.claim("b1").await).await;
            assert_eq!(processes_naming(&bench.path().join("runs")), Vec::<i32>::new(), "left behind");
        }
    )* };
}

conforms!(
    what_was_launched_is_listed,
    a_second_launch_finds_the_first,
    launches_at_once_start_one_run,
    only_what_is_over_is_removed,
    a_finalize_run_is_a_run
);

#[tokio::test]
async fn another_attempt_waits_for_the_old_one() {
    let bench = Bench::new().await;
    let first = bench.claim("b1").await;
    let second = bench.next_attempt(&first).await;
    conformance::another_attempt_waits_for_the_old_one(&bench.launcher, &first, &second).await;
}

#[tokio::test]
async fn the_number_of_runs_is_bounded() {
    let bench = Bench::new().await;
    let claims = [bench.claim("b1").await, bench.claim("b2").await, bench.claim("b3").await];
    conformance::the_number_of_runs_is_bounded(&bench.launcher, &claims).await;
}
