//! Hints from one `Listen` stream with three targets: meetings that want a bot, queued instances, and the outbox.
//!
//! What the stream sends first, and again after a reset (the emulator resets on every change), is a replay of all matches:
//! a document is a reason for a hint only when its update time is new to us.

use std::collections::{BTreeSet, HashMap};

use backon::BackoffBuilder as _;
use bot_model::lifecycle::Status as InstanceStatus;
use firestore::gcloud_sdk::google::firestore::v1::ListenResponse;
use firestore::gcloud_sdk::google::firestore::v1::listen_response::ResponseType;
use firestore::gcloud_sdk::google::firestore::v1::target::query_target::QueryType;
use firestore::gcloud_sdk::google::firestore::v1::target::{QueryTarget, TargetType};
use firestore::gcloud_sdk::google::firestore::v1::target_change::TargetChangeType;
use firestore::gcloud_sdk::google::firestore::v1::{ListenRequest, Target, listen_request};
use firestore::gcloud_sdk::prost_types::Timestamp;
use firestore::gcloud_sdk::tonic::{Request, Status, Streaming};
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::query::{self, Question};
use super::status::{attempt, backoff};
use super::{FirestoreStore, key_of};
use crate::{DocumentKey, Hint, HintStream, MeetingQuery, Store as _};

const MEETINGS: i32 = 1;
const INSTANCES: i32 = 2;
const OUTBOX: i32 = 3;

/// Endless hints; the listener ends when the stream is dropped.
pub(super) fn hints(store: FirestoreStore) -> HintStream {
    let (hints, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        let gone = hints.clone();
        tokio::select! {
            () = gone.closed() => {}
            () = listen_for_ever(&store, &hints) => {}
        }
    });
    ReceiverStream::new(receiver).boxed()
}

async fn listen_for_ever(store: &FirestoreStore, hints: &mpsc::Sender<Hint>) {
    let mut delays = backoff().build();
    while !hints.is_closed() {
        let mut listener = Listener { store, hints, seen: HashMap::new(), missing: BTreeSet::new(), current: [false; 3] };
        let ended = listener.run().await;
        tracing::debug!(reason = %ended, "the listener ended and starts again");
        if listener.is_current() {
            delays = backoff().build();
        }
        // What changed until the next stream stands would be lost otherwise.
        if hints.send(Hint::Anything).await.is_err() {
            return;
        }
        tokio::time::sleep(delays.next().unwrap_or_default()).await;
    }
}

struct Listener<'a> {
    store: &'a FirestoreStore,
    hints: &'a mpsc::Sender<Hint>,
    seen: HashMap<String, Option<Timestamp>>,
    /// Known before a reset and not yet replayed: those still here when the replay is complete have left.
    missing: BTreeSet<String>,
    current: [bool; 3],
}

impl Listener<'_> {
    /// Runs until the stream ends, and says why it did. HTTP/2 keep-alives, not a deadline here, find a dead connection:
    /// silence is normal.
    async fn run(&mut self) -> Status {
        let mut changes = match self.open().await {
            Ok(changes) => changes,
            Err(status) => return status,
        };
        loop {
            match changes.message().await {
                Ok(Some(response)) => {
                    if let Err(status) = self.take(response.response_type).await {
                        return status;
                    }
                }
                Ok(None) => return Status::unavailable("the stream ended"),
                Err(status) => return status,
            }
        }
    }

    async fn open(&self) -> Result<Streaming<ListenResponse>, Status> {
        let naming = self.store.naming();
        let wanted = MeetingQuery::WithStatus(naming.meeting_status_values.clone());
        let queued = vec![naming.status_value(InstanceStatus::Queued).to_owned()];
        let requests = [
            self.add_target(MEETINGS, query::meetings(naming, &wanted)),
            self.add_target(INSTANCES, query::instances(naming, &queued)),
            self.add_target(OUTBOX, query::whole_collection(String::new(), "webhook_outbox")),
        ];
        // The requests' side stays open, or the server would end the stream.
        let requests = stream::iter(requests).chain(stream::pending());
        attempt(async { self.store.client().listen(Request::new(requests)).await }).await.map(|answer| answer.into_inner())
    }

    fn add_target(&self, target_id: i32, question: Question) -> ListenRequest {
        let query = QueryTarget {
            parent: self.store.below(&question.parent),
            query_type: Some(QueryType::StructuredQuery(question.query)),
        };
        let target = Target { target_id, target_type: Some(TargetType::Query(query)), ..Target::default() };
        ListenRequest {
            database: self.store.db.get_database_path().clone(),
            target_change: Some(listen_request::TargetChange::AddTarget(target)),
            ..ListenRequest::default()
        }
    }

    async fn take(&mut self, response: Option<ResponseType>) -> Result<(), Status> {
        match response {
            Some(ResponseType::TargetChange(change)) => match change.target_change_type() {
                TargetChangeType::Reset => {
                    let known: Vec<_> = self.seen.keys().filter(|name| self.is_of(name, &change.target_ids)).cloned().collect();
                    self.missing.extend(known);
                    Ok(())
                }
                TargetChangeType::Current => self.became_current(&change.target_ids).await,
                TargetChangeType::Remove => {
                    let cause = change.cause.map_or_else(String::new, |cause| cause.message);
                    Err(Status::unavailable(format!("the server removed a target: {cause}")))
                }
                _ => Ok(()),
            },
            Some(ResponseType::DocumentChange(change)) => match change.document {
                Some(document) if change.removed_target_ids.is_empty() => {
                    self.missing.remove(&document.name);
                    let known = self.seen.insert(document.name.clone(), document.update_time);
                    if known == Some(document.update_time) { Ok(()) } else { self.tell(&document.name).await }
                }
                Some(document) => self.left(&document.name).await,
                None => Ok(()),
            },
            Some(ResponseType::DocumentDelete(change)) => self.left(&change.document).await,
            Some(ResponseType::DocumentRemove(change)) => self.left(&change.document).await,
            Some(ResponseType::Filter(_)) | None => Ok(()),
        }
    }

    /// The first time that all is known is a reason to look: something may have changed since the caller looked last.
    async fn became_current(&mut self, targets: &[i32]) -> Result<(), Status> {
        let (gone, missing) = std::mem::take(&mut self.missing).into_iter().partition(|name| self.is_of(name, targets));
        self.missing = missing;
        let gone: BTreeSet<String> = gone;
        for name in gone {
            self.left(&name).await?;
        }
        let before = self.is_current();
        for (flag, target) in self.current.iter_mut().zip([MEETINGS, INSTANCES, OUTBOX]) {
            *flag |= targets.is_empty() || targets.contains(&target);
        }
        if self.is_current() && !before { self.send(Hint::Anything).await } else { Ok(()) }
    }

    /// A meeting that left may have been cancelled. What left the outbox was handed on.
    async fn left(&mut self, name: &str) -> Result<(), Status> {
        self.seen.remove(name);
        if matches!(self.store.path_of(name).and_then(key_of), Some(DocumentKey::Outbox(_))) {
            return Ok(());
        }
        self.tell(name).await
    }

    async fn tell(&self, name: &str) -> Result<(), Status> {
        if !self.is_current() {
            return Ok(());
        }
        match self.store.path_of(name).and_then(key_of) {
            Some(DocumentKey::Meeting(path)) => self.send(Hint::Meeting(path)).await,
            Some(DocumentKey::Instance(_)) => self.send(Hint::Instances).await,
            Some(DocumentKey::Outbox(_)) => self.send(Hint::Outbox).await,
            _ => Ok(()),
        }
    }

    /// True for a document of one of these targets; none stands for all.
    fn is_of(&self, name: &str, targets: &[i32]) -> bool {
        let target = match self.store.path_of(name).and_then(key_of) {
            Some(DocumentKey::Instance(_)) => INSTANCES,
            Some(DocumentKey::Outbox(_)) => OUTBOX,
            _ => MEETINGS,
        };
        targets.is_empty() || targets.contains(&target)
    }

    async fn send(&self, hint: Hint) -> Result<(), Status> {
        self.hints.send(hint).await.map_err(|_| Status::cancelled("nobody listens"))
    }

    fn is_current(&self) -> bool {
        self.current == [true; 3]
    }
}
