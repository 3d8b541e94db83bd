//! Chaos, small: two real controllers, their real managers, the real emulator and the local bucket, every kind of fault once in half a
//! minute, and the judgement over the whole history; and the same over Jobs, whose API server is broken, too. `make chaos` runs it for
//! as long as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::chaos::proxy::{Mode, Proxy};
use tests::process::{Process, address, binary, until};

/// From the first fault to the judgement, the emulator's start included, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn half_a_minute_of_every_fault_breaks_no_promise() {
    keeps_every_promise("process", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_before_the_api_server_and_to_pods_and_jobs_break_no_promise() {
    keeps_every_promise("kubernetes", "2").await;
}

async fn keeps_every_promise(launcher: &str, seed: &str) {
    let mut command = tokio::process::Command::new(binary("chaos").unwrap());
    let small = ["--small", "--rounds", "1", "--seed", seed, "--quiet", "90", "--launcher", launcher];
    command.args(small).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("it did not end").unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_starts_while_the_store_is_away_waits_for_it() {
    let Some(emulator) = bot_store::emulator::start().await else { return };
    let (_aim, upstream) = tokio::sync::watch::channel(Some(emulator.host().parse().unwrap()));
    let proxy = Proxy::start(upstream).await.unwrap();
    proxy.set(Mode::Refused);
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port");
    let mut command = Command::new(binary("controller").unwrap());
    command.arg("run").env("FIRESTORE_EMULATOR_HOST", proxy.address.to_string()).env("HTTP_PORT_FILE", &port);
    command.envs([
        ("GCP_PROJECT_ID", "away"),
        ("GCS_BUCKET", "recordings"),
        ("LAUNCHER", "process"),
        ("HTTP_LISTEN", "127.0.0.1:0"),
    ]);
    command
        .env("MACHINE_ADMISSION", "off")
        .env("RUNS_DIR", folder.path().join("runs"))
        .env("MEETING_BOT_BIN", binary("scripted-bot").unwrap());
    let mut controller = Process::start(command, &folder.path().join("log")).unwrap();
    let http = format!("http://{}", address(&port, &mut controller).await.unwrap());
    let limit = Duration::from_secs(60);
    let waits = until("a word of why it is not ready", limit, || async {
        let answer = reqwest::get(format!("{http}/readyz")).await?;
        let (status, said): (_, Value) = (answer.status(), answer.json().await?);
        let problem = said["checks"]["store"]["problem"].as_str().unwrap_or_default().to_owned();
        Ok((status == 503 && problem.contains("Unavailable")).then_some(()))
    });
    waits.await.unwrap_or_else(|error| panic!("{error}\n{}", controller.log_tail()));
    assert!(reqwest::get(format!("{http}/healthz")).await.unwrap().status().is_success(), "alive: nobody is to restart it");
    proxy.set(Mode::Open);
    let ready = until("readiness", limit, || async {
        Ok(reqwest::get(format!("{http}/readyz")).await?.status().is_success().then_some(()))
    });
    ready.await.unwrap_or_else(|error| panic!("{error}\n{}", controller.log_tail()));
    controller.signal(Signal::TERM).unwrap();
    assert!(controller.wait(Duration::from_secs(10)).await.unwrap().success());
}
