//! Chaos, small: two real controllers, their real managers, the real emulator and the local bucket, every kind of fault once in half a
//! minute, and the judgement over the whole history. `make chaos` runs it for as long as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::time::Duration;

use tests::process::binary;

/// From the first fault to the judgement, the emulator's start included, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread")]
async fn half_a_minute_of_every_fault_breaks_no_promise() {
    let mut command = tokio::process::Command::new(binary("chaos").unwrap());
    command.args(["--small", "--rounds", "1", "--seed", "1", "--quiet", "90"]).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("it did not end").unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complained}");
}
