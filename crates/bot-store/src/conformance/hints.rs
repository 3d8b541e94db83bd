//! Hints arrive, soon, and from whichever connection the change came.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;

use super::{meeting, open, put};
use crate::HintStream;

/// How late a hint may be on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);
/// A stream that said nothing for so long has told all it had.
const QUIET: Duration = Duration::from_secs(1);

/// See its name.
pub async fn a_hint_follows_the_commit_of_another_connection(url: String) {
    let (watcher, writer) = (open(&url).await, open(&url).await);
    let mut hints = quiet(watcher.watch().await.expect("watch")).await;
    for n in 0..3 {
        put(&writer, &meeting(&format!("meetings/m{n}")), json!({"status": "scheduled"})).await;
        tokio::time::timeout(DEADLINE, hints.next()).await.expect("no hint in time").expect("the stream is endless");
        hints = quiet(hints).await;
    }
}

/// See its name.
pub async fn a_hint_follows_an_own_commit(url: String) {
    let store = open(&url).await;
    let mut hints = quiet(store.watch().await.expect("watch")).await;
    put(&store, &super::instance("i"), json!({"status": "queued"})).await;
    tokio::time::timeout(DEADLINE, hints.next()).await.expect("no hint in time").expect("the stream is endless");
}

async fn quiet(mut hints: HintStream) -> HintStream {
    while tokio::time::timeout(QUIET, hints.next()).await.is_ok() {}
    hints
}
