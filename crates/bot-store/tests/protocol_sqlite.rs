//! The protocol's rules over the embedded store, each in a store of its own.

use std::sync::Arc;

use bot_model::configuration::Naming;
use bot_store::protocol::rules;
use bot_store::sqlite::SqliteStore;

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_protocol_holds_on_sqlite() {
    for name in rules::NAMES {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.sqlite"), Naming::default()).await.unwrap();
        println!("rule {name}");
        rules::run_rule(name, Arc::new(store)).await;
    }
}
