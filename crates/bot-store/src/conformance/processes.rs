//! Several connections and several processes on one store.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::{fields, instance, open, put};
use crate::{InstanceQuery, Write};

const URL: &str = "BOT_STORE_CONFORMANCE_URL";
const NAME: &str = "BOT_STORE_CONFORMANCE_NAME";
const DOCUMENTS: usize = 60;
const DEADLINE: Duration = Duration::from_secs(60);

/// See its name.
pub async fn many_connections_open_a_fresh_store_at_once(url: String) {
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let url = url.clone();
            tokio::spawn(async move { put(&open(&url).await, &instance(&format!("i{n}")), json!({"n": n})).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("a connection failed");
    }
}

/// Runs the current executable twice more, as `{exe} --exact second_process --ignored`, on the same store.
pub async fn two_processes_never_win_the_same_document(url: String) {
    let store = open(&url).await;
    for n in 0..DOCUMENTS {
        put(&store, &instance(&format!("i{n:03}")), json!({"status": "queued"})).await;
    }
    let run = |name: &str| {
        tokio::process::Command::new(std::env::current_exe().expect("this executable"))
            .args(["--exact", "second_process", "--ignored", "--nocapture"])
            .env(URL, &url)
            .env(NAME, name)
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .expect("a second process")
            .wait_with_output()
    };
    let (one, two) = tokio::time::timeout(DEADLINE, futures::future::join(run("one"), run("two"))).await.expect("in time");
    let mut won = BTreeSet::new();
    for (name, output) in [("one", one), ("two", two)] {
        let output = output.expect("its output");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name} failed: {text}");
        for path in text.lines().filter_map(|line| line.strip_prefix("won ")) {
            assert!(won.insert(path.to_owned()), "{path} was won twice");
            let record = store.read(&instance(path.trim_start_matches("bot_instances/"))).await.expect("read").expect("there");
            assert_eq!(record.fields["claimed_by"], name, "{path}");
        }
    }
    assert_eq!(won.len(), DOCUMENTS);
}

/// What the second process does: wins what it can of the store that its environment names, and prints it.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub async fn claim_everything() {
    let store = open(&std::env::var(URL).expect("run by two_processes_never_win_the_same_document only")).await;
    let name = std::env::var(NAME).expect("a name");
    loop {
        let page = store.instances(&InstanceQuery::WithStatus(vec!["queued".into()]), None, 20).await.expect("query");
        if page.records.is_empty() {
            return;
        }
        for record in page.records {
            let changes = fields(json!({"status": "processing", "claimed_by": name}));
            let write = Write::update(record.key.clone(), record.version, changes);
            if store.commit(vec![write]).await.expect("commit").is_applied() {
                // The first line after the test's own name, which libtest ends with no line break.
                println!("\nwon {}", record.key.path());
            }
        }
    }
}
