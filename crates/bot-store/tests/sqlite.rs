//! The conformance suite over the embedded store.

use std::sync::Arc;

use bot_model::configuration::Naming;
use bot_store::conformance;
use bot_store::sqlite::SqliteStore;
use bot_store::{Store, StoreErrorKind};

macro_rules! on_sqlite {
    ($module:ident, $name:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let folder = tempfile::tempdir().unwrap();
            conformance::$module::$name(format!("sqlite:{}", folder.path().join("new/store.sqlite").display())).await;
        }
    };
}

bot_store::for_each_conformance_case!(on_sqlite);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the second process of two_processes_never_win_the_same_document"]
async fn second_process() {
    conformance::processes::claim_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_newer_version_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = SqliteStore::open(&path, Naming::default()).await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Refused);
    assert!(error.message.contains("use the newer program"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_store_is_refused_unharmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "no database ".repeat(1000);
    std::fs::write(&path, &text).unwrap();
    assert!(SqliteStore::open(&path, Naming::default()).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let key = bot_store::DocumentKey::Controller("c".into());
    {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, Naming::default()).await.unwrap());
        store.commit(vec![bot_store::Write::create(key.clone(), Default::default())]).await.unwrap();
    }
    let store = SqliteStore::open(&path, Naming::default()).await.unwrap();
    assert!(store.read(&key).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_s_limits_that_were_written_elsewhere_before_there_was_a_list_of_them_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    drop(SqliteStore::open(&path, Naming::default()).await.unwrap());
    let earlier = "INSERT INTO documents VALUES ('organizations/acme', 'organization', 'organizations', 'organizations',
        '{\"organization\":\"acme\",\"updated_at\":\"2027-01-15T08:00:00Z\"}', 3, NULL)";
    rusqlite::Connection::open(&path).unwrap().execute_batch(earlier).unwrap();
    let store = SqliteStore::open(&path, Naming::default()).await.unwrap();
    let listing = bot_store::listing::Listing::newest(bot_store::listing::Listed::Organizations);
    let records = store.list(&listing, None, 5).await.unwrap().records;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key, bot_store::DocumentKey::Organization("acme".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_1_keeps_its_documents_and_lists_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let old = "CREATE TABLE store (revision INTEGER NOT NULL); INSERT INTO store VALUES (7);
        CREATE TABLE documents (path TEXT PRIMARY KEY, kind TEXT NOT NULL, parent TEXT NOT NULL, collection_id TEXT NOT NULL,
            fields TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO documents VALUES ('bot_instances/a', 'instance', 'bot_instances', 'bot_instances',
            '{\"created_at\":\"2027-01-15T08:00:00Z\"}', 3);
        INSERT INTO documents VALUES ('controllers/c', 'controller', 'controllers', 'controllers', '{\"beats\":1}', 7);
        PRAGMA user_version = 1;";
    rusqlite::Connection::open(&path).unwrap().execute_batch(old).unwrap();
    for _ in 0..2 {
        let store = SqliteStore::open(&path, Naming::default()).await.unwrap();
        let listing = bot_store::listing::Listing::newest(bot_store::listing::Listed::Instances);
        assert_eq!(store.list(&listing, None, 5).await.unwrap().records.len(), 1);
        let key = bot_store::DocumentKey::Controller("c".into());
        assert_eq!(store.read(&key).await.unwrap().unwrap().version.as_str(), "7");
    }
}
