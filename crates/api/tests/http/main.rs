//! The API from outside, over real HTTP: one suite, on the embedded store and on Firestore's emulator.
//!
//! Each case starts a server on a store of its own. As in bot-store's suite, one test starts the emulator and runs itself again with
//! `FIRESTORE_EMULATOR_HOST`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod access;
mod bots;
mod capacity;
mod events;
mod issuer;
mod limits;
mod meetings;
mod rates;
mod recordings;
mod site;
mod tokens;
mod webhooks;

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;

const EMULATOR_HOST: &str = "FIRESTORE_EMULATOR_HOST";
const THIS_TEST: &str = "the_api_holds_on_the_firestore_emulator";

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
            let fresh = || format!("firestore:api-{}", uuid::Uuid::now_v7().simple());
            vec![$( (stringify!($name), Box::pin($module::$name(fresh()))) ),*]
        }
    };
}

cases![
    access::nothing_is_answered_without_a_live_key_of_the_right_role,
    access::a_key_sees_and_changes_its_own_organization_alone,
    access::a_revoked_key_works_no_longer_than_said,
    access::every_change_is_in_the_audit_log,
    meetings::a_meeting_is_scheduled_read_changed_and_cancelled,
    meetings::the_same_occurrence_is_already_there,
    meetings::now_asked_for_twice_in_a_row_is_one_bot,
    meetings::a_meeting_that_is_due_has_its_bot_at_once,
    meetings::two_operators_at_once_have_one_winner_and_the_other_is_told,
    meetings::a_batch_judges_each_meeting_by_itself,
    meetings::lists_come_in_pages_and_by_filters,
    meetings::a_repeated_request_gets_the_first_answer_again,
    meetings::sixteen_at_once_under_one_key_make_one_meeting,
    meetings::the_seeds_names_work,
    bots::bots_are_listed_read_and_counted,
    bots::statistics_are_counted_once_for_everybody_who_may_see_the_same,
    bots::a_bot_leaves_and_its_meeting_is_armed_again,
    bots::priority_changes_in_the_queue_alone,
    capacity::who_waits_is_told_place_and_time_and_who_does_not_want_to_is_refused,
    capacity::who_does_not_want_to_wait_is_sent_where_a_place_is_free,
    capacity::an_organization_s_limits_are_read_and_set_by_those_who_may,
    capacity::what_was_begun_before_a_limit_was_set_counts_and_its_limits_are_taken_back,
    capacity::known_meetings_are_forecast_against_the_places,
    capacity::the_forecast_of_one_replica_serves_the_others,
    capacity::an_organization_s_own_places_are_forecast_before_it_has_a_bot,
    capacity::a_bot_that_waits_for_ever_is_in_the_queue,
    capacity::who_waits_for_a_quota_is_told_so,
    events::a_stream_tells_what_happens_and_resumes_without_a_gap,
    events::what_is_written_minutes_late_is_told_all_the_same,
    events::a_stream_is_confined_to_its_organization,
    recordings::files_come_whole_and_in_ranges,
    recordings::a_link_opens_its_file_without_a_key_until_it_expires,
    recordings::a_path_that_is_but_a_wish_opens_nobody_s_recording,
    recordings::the_live_picture_is_there_while_the_bot_waits_or_records,
    rates::too_many_requests_are_told_when_to_come_back,
    rates::only_listed_origins_may_read_answers,
    rates::keys_are_made_shown_once_and_revoked_by_admins_of_everything,
    tokens::a_token_counts_by_its_issuer_s_signature_and_claims,
    tokens::a_new_key_of_the_issuer_is_found_and_a_storm_of_unknown_ones_asks_it_nothing,
    tokens::the_proxy_s_assertion_counts_and_no_other_page_can_use_it,
    limits::what_is_malformed_is_refused_with_a_problem,
    webhooks::an_endpoint_is_made_changed_rotated_and_deleted,
    webhooks::a_new_secret_is_shown_once_and_lies_sealed_in_the_store,
    webhooks::an_endpoint_is_seen_by_its_own_organization_s_admins_alone,
    webhooks::an_address_that_leads_inside_is_refused,
    webhooks::a_test_and_a_replay_are_delivered_once_each,
    limits::every_route_is_in_the_document_and_every_operation_of_it_answers,
];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_holds_on_the_firestore_emulator() {
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
