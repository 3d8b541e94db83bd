//! The protocol's rules over the embedded store, each in a file of its own.

use std::sync::Arc;

use bot_model::configuration::Naming;
use bot_store::protocol::rules;
use bot_store::sqlite::SqliteStore;

macro_rules! on_sqlite {
    ($rule:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $rule() {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&folder.path().join("store.sqlite"), Naming::default()).await.unwrap();
            rules::$rule(Arc::new(store)).await;
        }
    };
}

bot_store::for_each_protocol_rule!(on_sqlite);
