//! A store that is not sure whether it wrote: what the protocol makes of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bot_model::configuration::Naming;
use bot_model::document::BotInstance;
use bot_model::ids::InstanceId;
use bot_model::meeting_url::MeetingUrl;
use bot_model::object_prefix::ObjectPrefix;
use bot_store::listing::Listing;
use bot_store::protocol::paths;
use bot_store::sqlite::SqliteStore;
use bot_store::{
    Commit, DocumentKey, HintStream, InstanceQuery, MeetingQuery, Page, Record, Store, StoreError, StoreErrorKind, Write,
};

/// SQLite behind a network that swallows the first commits: their senders hear nothing, and nothing was written.
struct Swallows {
    store: SqliteStore,
    commits: AtomicU32,
}

#[async_trait]
impl Store for Swallows {
    fn naming(&self) -> &Naming {
        self.store.naming()
    }

    async fn read(&self, key: &DocumentKey) -> Result<Option<Record>, StoreError> {
        self.store.read(key).await
    }

    async fn meetings(&self, query: &MeetingQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.store.meetings(query, after, limit).await
    }

    async fn instances(&self, query: &InstanceQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.store.instances(query, after, limit).await
    }

    async fn events(&self, id: &InstanceId) -> Result<Vec<Record>, StoreError> {
        self.store.events(id).await
    }

    async fn list(&self, listing: &Listing, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.store.list(listing, after, limit).await
    }

    async fn count(&self, listing: &Listing) -> Result<u64, StoreError> {
        self.store.count(listing).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, StoreError> {
        if self.commits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let message = "no answer".to_owned();
            return Err(StoreError { kind: StoreErrorKind::Unknown, operation: "commit", message });
        }
        self.store.commit(writes).await
    }

    async fn commit_each(&self, groups: Vec<Vec<Write>>) -> Vec<Result<Commit, StoreError>> {
        self.store.commit_each(groups).await
    }

    async fn watch(&self) -> Result<HintStream, StoreError> {
        self.store.watch().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

/// Found by the simulation (seed 106333 of its day): each attempt recorded into a place of its own, and the video held the last alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_may_or_may_not_be_reserved_is_asked_for_again_and_not_taken_for_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.sqlite"), Naming::default()).await.unwrap();
    let store = Swallows { store, commits: AtomicU32::new(2) };
    let call = MeetingUrl::parse("https://meet.google.com/abc-defg-hij").unwrap();
    let instance = BotInstance::queued(InstanceId::parse("one").unwrap(), call);
    let wanted = ObjectPrefix::parse("org/weekly").unwrap();
    for _ in 0..2 {
        assert!(paths::reserve(&store, &instance, &wanted).await.unwrap_err().is_transient());
    }
    for _ in 0..2 {
        assert_eq!(paths::reserve(&store, &instance, &wanted).await.unwrap(), wanted);
    }
}
