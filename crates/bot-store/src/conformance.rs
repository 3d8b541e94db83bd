//! What every adapter must pass: named cases, each over a fresh store given by its `STORE_URL`.
//!
//! A case opens the store itself, often more than once, so that it also covers separate connections. A binary that runs
//! [`two_processes`](processes::two_processes_never_win_the_same_document) has an ignored test named `second_process` that
//! calls [`processes::claim_everything`]. Compiled for tests and the `conformance` feature only.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests, compiled into the library so that both adapters run them"
)]

pub mod hints;
pub mod lists;
pub mod processes;
pub mod queries;
pub mod writes;

use std::sync::Arc;

use bot_model::configuration::Naming;
use bot_model::document::Fields;
use bot_model::ids::{InstanceId, MeetingPath};
use serde_json::Value;

use crate::{Commit, DocumentKey, MeetingQuery, Record, Store, Version, Write, connect};

type Shared = Arc<dyn Store>;

/// Names the cases once, and hands each to a macro of the caller's.
macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// Calls `$test!(module, name)` for every case; `bot_store::conformance::{module}::{name}` is an `async fn(String)`
        /// of the URL of a fresh store, and panics where the adapter does not conform.
        #[macro_export]
        macro_rules! for_each_conformance_case {
            ($test:ident) => { $($test!($module, $name);)* };
        }
    };
}

cases![
    writes::a_created_document_reads_back_and_a_second_create_conflicts,
    writes::an_update_needs_the_version_that_it_read,
    writes::a_missing_document_is_neither_changed_nor_created,
    writes::sixteen_claimers_of_one_document_have_one_winner,
    writes::sixteen_creators_of_one_document_have_one_winner,
    writes::an_update_and_a_delete_of_one_version_have_one_winner,
    writes::a_commit_applies_all_of_its_writes_or_none,
    writes::a_merge_sets_and_clears_what_it_names_and_leaves_the_rest,
    writes::versions_change_with_every_change_and_never_repeat,
    writes::groups_of_writes_succeed_and_fail_independently,
    writes::an_oversized_document_is_refused_without_harm,
    writes::five_hundred_writes_fit_into_a_commit_and_one_more_is_refused,
    writes::instants_keep_their_moment_and_other_strings_their_text,
    writes::odd_field_names_are_written_and_cleared,
    queries::documents_come_in_pages_and_poison_delays_nobody,
    queries::the_last_full_page_has_no_cursor,
    queries::several_statuses_are_found_and_others_are_not,
    queries::custom_names_and_values_are_honoured,
    queries::equal_ids_under_different_parents_are_different_meetings,
    queries::a_nested_collection_holds_only_its_own_meetings,
    queries::a_start_window_includes_its_bounds_and_comes_in_pages,
    queries::events_come_in_the_order_of_their_ids_and_of_their_instance_alone,
    queries::instances_come_in_pages_by_status,
    lists::keys_audit_entries_and_replays_read_back,
    lists::a_list_comes_in_the_order_of_its_instants_in_pages,
    lists::filters_and_window_hold_together_and_are_counted,
    lists::what_has_no_instant_is_in_no_list,
    lists::a_feed_holds_the_timelines_of_every_instance,
    lists::a_cursor_that_no_list_made_is_refused,
    hints::a_hint_follows_the_commit_of_another_connection,
    hints::a_hint_follows_an_own_commit,
    processes::many_connections_open_a_fresh_store_at_once,
    processes::two_processes_never_win_the_same_document,
];

async fn open(url: &str) -> Shared {
    open_as(url, Naming::default()).await
}

async fn open_as(url: &str, naming: Naming) -> Shared {
    connect::open(url, naming).await.expect("the store opens")
}

fn fields(value: Value) -> Fields {
    value.as_object().cloned().expect("an object")
}

fn instance(id: &str) -> DocumentKey {
    DocumentKey::Instance(InstanceId::parse(id).expect("an id"))
}

fn meeting(path: &str) -> DocumentKey {
    DocumentKey::Meeting(MeetingPath::parse(path).expect("a path"))
}

async fn put(store: &Shared, key: &DocumentKey, value: Value) -> Version {
    match store.commit(vec![Write::create(key.clone(), fields(value))]).await.expect("commit") {
        Commit::Applied(versions) => versions.into_iter().next().expect("a version"),
        Commit::Conflict => panic!("{key:?} exists already"),
    }
}

async fn get(store: &Shared, key: &DocumentKey) -> Record {
    store.read(key).await.expect("read").expect("the document exists")
}

/// The paths of all pages, and how many pages there were.
async fn all_meetings(store: &Shared, query: &MeetingQuery, limit: usize) -> (Vec<String>, usize) {
    let (mut paths, mut pages, mut cursor) = (Vec::new(), 0, None::<String>);
    loop {
        let page = store.meetings(query, cursor.as_deref(), limit).await.expect("query");
        assert!(page.records.len() <= limit, "{} records in a page of {limit}", page.records.len());
        paths.extend(page.records.iter().map(|record| record.key.path()));
        pages += 1;
        match page.next {
            Some(next) => cursor = Some(next),
            None => return (paths, pages),
        }
    }
}
