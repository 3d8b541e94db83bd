//! The scenarios of `make test-cluster`, played on the stub of the API server with real processes for containers: what can be known of
//! them without a cluster.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it saw")]

use std::process::Command;

use tests::cluster_suite::{Scenario, Site, StubSite, all, play};
use tests::process::binary;

/// Plays lists of scenarios side by side, each list in its order.
async fn plays(lists: &[&[&str]]) {
    let Some(site) = StubSite::start().await.unwrap() else { return };
    let site = Site::Stub(Box::new(site));
    let table = all();
    futures::future::join_all(lists.iter().map(|names| passes(&site, &table, names))).await;
}

async fn passes(site: &Site, table: &[Scenario], names: &[&str]) {
    let wanted: Vec<_> = table.iter().filter(|scenario| names.contains(&scenario.name)).collect();
    assert_eq!(wanted.len(), names.len(), "a scenario is not in the table");
    let mut said = Vec::new();
    let is_good = play(site, &wanted, &mut |line| {
        eprintln!("{line}");
        said.push(line.to_owned());
    })
    .await;
    let passed = said.iter().filter(|line| line.starts_with("PASS")).count();
    // Each, and that never two pods of one name were alive.
    assert!(is_good && passed == names.len() + 1, "{}", said.join("\n"));
}

/// Those that never start mostly wait, so that the one call beside them is recorded undisturbed: it is judged by its content.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_recorded_and_bots_that_never_start_end_typed() {
    plays(&[&["success"], &["second_controller", "unschedulable"], &["image_pull", "out_of_memory"]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_whose_pods_are_taken_come_back_one_at_a_time() {
    plays(&[&["create", "eviction"], &["sidecar_crash", "deadline", "delete"]]).await;
}

/// These two are about every pod of the one node.
#[tokio::test(flavor = "multi_thread")]
async fn a_drained_or_lost_node_doubles_no_bot() {
    plays(&[&["drain", "node_loss"]]).await;
}

fn suite(kubeconfig: Option<&str>, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(binary("cluster-suite").unwrap());
    command.args(arguments).env_remove("KUBECONFIG").envs(kubeconfig.map(|path| ("KUBECONFIG", path)));
    command.output().unwrap()
}

#[test]
fn without_a_cluster_it_says_so_and_ends_with_its_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join("kubeconfig");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "users": [{"name": "c", "user": {}}],
    });
    std::fs::write(&dead, config.to_string()).unwrap();
    for kubeconfig in [None, Some(""), Some("/nowhere"), dead.to_str()] {
        let output = suite(kubeconfig, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{kubeconfig:?}: {said}");
        assert!(said.starts_with("NOT RUN: ") && said.contains("docs/test-cluster.md"), "{kubeconfig:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_page_names_every_scenario_and_an_unknown_one_is_refused() {
    let list = suite(None, &["--list"]);
    assert!(list.status.success());
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/test-cluster.md");
    let page = std::fs::read_to_string(page).unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert_eq!(list.lines().count(), all().len());
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        assert!(page.contains(&format!("`{name}`")), "docs/test-cluster.md does not name {name}");
    }
    assert_eq!(suite(None, &["--only", "nothing"]).status.code(), Some(64));
}
