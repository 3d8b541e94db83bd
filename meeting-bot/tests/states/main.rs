//! The built-in packs against pages in a real browser: each state is recognised, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a test fails by panicking

mod browser;
mod frames;
mod jitsi;
mod meet;
mod people;
mod press;
mod teams;
mod words;
mod zoom;

use std::collections::BTreeSet;

use bot_model::meeting_url::Platform;
use browser::{Case, Looker};
use meeting_bot::platform::pack::{Meaning, Pack};

/// Each page of the table means exactly what stands beside it, and every state of the platform's pack is in the table.
async fn check(platform: Platform, cases: &[Case]) {
    check_all_of(Pack::load(platform, None).unwrap(), cases).await;
}

async fn check_all_of(pack: Pack, cases: &[Case]) {
    let platform = pack.platform.clone();
    let (pack, reached) = check_states_of(pack, cases).await;
    let unreached: Vec<_> = pack.state.iter().map(|state| state.means).filter(|means| !reached.contains(means)).collect();
    assert_eq!(unreached, [], "{platform}: states without a page in the table");
}

async fn check_states_alone(platform: Platform, cases: &[Case]) -> (Pack, BTreeSet<Meaning>) {
    check_states_of(Pack::load(platform, None).unwrap(), cases).await
}

async fn check_states_of(pack: Pack, cases: &[Case]) -> (Pack, BTreeSet<Meaning>) {
    let platform = pack.platform.clone();
    let looker = Looker::with_pack(pack, cases).await;
    let mut reached = BTreeSet::new();
    for (name, _, meanings) in cases {
        let seen = looker.look(name).await;
        let expected: BTreeSet<Meaning> = meanings.iter().copied().collect();
        assert_eq!(seen.meanings, expected, "{platform}: {name}");
        assert!(!seen.host_differs && seen.problems.is_empty(), "{platform}: {name}: {seen:?}");
        reached.extend(seen.meanings);
    }
    let pack = looker.pack.clone();
    looker.stop().await;
    (pack, reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_meet_is_recognised_and_no_other() {
    check(Platform::Meet, meet::CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_teams_is_recognised_and_no_other() {
    check(Platform::Teams, teams::CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_zoom_is_recognised_and_no_other() {
    check(Platform::Zoom, zoom::CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_is_another_place() {
    let looker = Looker::start(Platform::Meet, meet::CASES).await;
    let elsewhere = looker.elsewhere();
    assert!(looker.look_with(&elsewhere, "left").await.host_differs);
    looker.stop().await;
}
