//! The conformance suite and the protocol's rules over Firestore, in the real emulator.
//!
//! One test, for one emulator serves all cases: it starts the emulator and runs itself again with `FIRESTORE_EMULATOR_HOST`,
//! as production code reads it. With that variable set from outside, no emulator is started. Each case has a project id
//! of its own and starts empty.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of this is a test")]

mod wire;

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;

use bot_model::configuration::Naming;
use bot_store::conformance;
use bot_store::protocol::rules;

const EMULATOR_HOST: &str = "FIRESTORE_EMULATOR_HOST";
const THIS_TEST: &str = "the_firestore_adapter_conforms_on_the_emulator";

type Case = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    macro_rules! conforms {
        ($module:ident, $name:ident) => {
            cases.push((stringify!($name), Box::pin(conformance::$module::$name(fresh_store()))));
        };
    }
    bot_store::for_each_conformance_case!(conforms);
    macro_rules! holds {
        ($name:ident) => {
            cases.push((
                stringify!($name),
                Box::pin(async {
                    rules::$name(bot_store::connect::open(&fresh_store(), Naming::default()).await.unwrap()).await;
                }),
            ));
        };
    }
    bot_store::for_each_protocol_rule!(holds);
    cases.extend(wire::cases());
    cases
}

fn fresh_store() -> String {
    format!("firestore:test-{}", uuid::Uuid::now_v7().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_firestore_adapter_conforms_on_the_emulator() {
    if std::env::var_os(EMULATOR_HOST).is_some() {
        return run_all().await;
    }
    let Some(emulator) = bot_store::emulator::start().await else { return };
    let again = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS_TEST, "--nocapture"])
        .env(EMULATOR_HOST, emulator.host())
        .kill_on_drop(true)
        .status()
        .await
        .unwrap();
    assert!(again.success(), "the cases above failed on the emulator");
}

async fn run_all() {
    let mut failed = Vec::new();
    let mut stderr = std::io::stderr();
    for (name, case) in cases() {
        let began = std::time::Instant::now();
        let passed = tokio::spawn(case).await.is_ok();
        let _ =
            writeln!(stderr, "firestore {} {name} ({} ms)", if passed { "ok  " } else { "FAIL" }, began.elapsed().as_millis());
        failed.extend((!passed).then_some(name));
    }
    assert!(failed.is_empty(), "failed on Firestore: {failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the second process of two_processes_never_win_the_same_document"]
async fn second_process() {
    conformance::processes::claim_everything().await;
}
