//! Deliveries from outside: real HTTP receivers, on the embedded store and on Firestore's emulator.
//!
//! As in the API's suite, one test starts the emulator and runs itself again with `FIRESTORE_EMULATOR_HOST`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod alerts;
mod authority;
mod delivery;
mod guard;
mod receiver;
mod replicas;
mod site;
mod tls;

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;

const EMULATOR_HOST: &str = "FIRESTORE_EMULATOR_HOST";
const THIS_TEST: &str = "webhooks_hold_on_the_firestore_emulator";

type Case = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Names the cases once: each is an `async fn(String)` of the `STORE_URL` of a fresh store.
macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        $( #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let folder = tempfile::tempdir().unwrap();
            $module::$name(format!("sqlite:{}", folder.path().join("store.sqlite").display())).await;
        } )*

        fn all() -> Vec<(&'static str, Case)> {
            let fresh = || format!("firestore:hooks-{}", uuid::Uuid::now_v7().simple());
            vec![$( (stringify!($name), Box::pin($module::$name(fresh()))) ),*]
        }
    };
}

cases![
    delivery::an_event_is_delivered_once_and_signed,
    delivery::an_endpoint_gets_its_organization_s_events_of_its_types_alone,
    delivery::what_fails_is_tried_again_with_the_same_id_and_body_and_waits_as_long_as_is_wished,
    delivery::who_answers_410_is_switched_off_and_gets_nothing_more,
    delivery::both_secrets_sign_while_one_is_replaced,
    delivery::sealed_secrets_sign_and_where_the_key_is_lost_nothing_is_sent_until_it_is_back,
    delivery::what_was_given_up_is_replayed_under_the_same_id,
    delivery::an_event_is_delivered_whatever_its_writer_s_clock_says,
    delivery::an_event_that_is_told_once_a_period_is_delivered_once,
    delivery::what_is_no_longer_kept_goes_and_the_rest_stays,
    delivery::the_way_from_event_to_receiver_is_short,
    replicas::two_replicas_lose_nothing_and_double_nothing,
    replicas::who_dies_between_delivery_and_record_is_followed_by_another_under_the_same_id,
    replicas::a_receiver_that_never_answers_delays_nobody_else,
    guard::an_endpoint_whose_address_is_forbidden_is_told_why,
    tls::a_receiver_of_a_private_authority_gets_events_once_the_authority_is_named,
    tls::a_certificate_that_does_not_hold_is_refused_and_the_log_says_why,
];

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_hold_on_the_firestore_emulator() {
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
    let (mut failed, mut stderr) = (Vec::new(), std::io::stderr());
    for (name, case) in all() {
        let began = std::time::Instant::now();
        let passed = tokio::spawn(case).await.is_ok();
        let word = if passed { "ok  " } else { "FAIL" };
        let _ = writeln!(stderr, "firestore {word} {name} ({} ms)", began.elapsed().as_millis());
        failed.extend((!passed).then_some(name));
    }
    assert!(failed.is_empty(), "failed on Firestore: {failed:?}");
}
