//! Firestore, by raw `Commit`, `BatchWrite`, `RunQuery` and `Listen`: the crate's own fluent calls would create what they
//! should update, and cannot commit several conditional writes at once.
//!
//! `FIRESTORE_EMULATOR_HOST` is honoured. Firestore does not move a document's update time where a write changes nothing:
//! every compare-and-set must change something, such as a claim id.

pub mod indexes;
mod query;
mod status;
mod values;
mod watch;
mod write;

use std::collections::BTreeSet;

use async_trait::async_trait;
use backon::BackoffBuilder as _;
use bot_model::configuration::Naming;
use bot_model::ids::InstanceId;
use chrono::{DateTime, Utc};
use firestore::errors::FirestoreError;
use firestore::gcloud_sdk::google::firestore::v1::firestore_client::FirestoreClient;
use firestore::gcloud_sdk::google::firestore::v1::run_query_request::QueryType;
use firestore::gcloud_sdk::google::firestore::v1::{
    BatchWriteRequest, CommitRequest, Document, GetDocumentRequest, RunQueryRequest, Write as StoredWrite,
};
use firestore::gcloud_sdk::tonic::{Code, Request, Status};
use firestore::gcloud_sdk::{GoogleAuthMiddleware, prost::Message as _};
use firestore::{FirestoreDb, FirestoreDbOptions};
use futures::{StreamExt as _, stream};

use self::query::Question;
use self::status::{TOTAL_DEADLINE, WriteFailure, attempt, error, of_write, retry_read};
use crate::key_path::key_of;
use crate::listing::{self, Listed, Listing};
use crate::{
    Commit, DocumentKey, HintStream, InstanceQuery, MeetingQuery, Page, Record, Store, StoreError, StoreErrorKind, Version, Write,
};

/// Firestore's own limit for one commit or batch.
const MAX_WRITES: usize = 500;
/// No document of this encoded size fits into Firestore's 1 MiB: refused here, before the transport's own limits speak.
const HOPELESS_DOCUMENT_BYTES: usize = 2 * 1_048_576;
/// Commits of [`Store::commit_each`] under way at once.
const COMMITS_AT_ONCE: usize = 16;

type Client = FirestoreClient<GoogleAuthMiddleware>;

/// A store in one Firestore database.
#[derive(Clone)]
pub struct FirestoreStore {
    db: FirestoreDb,
    naming: Naming,
}

impl FirestoreStore {
    /// Connects with the application default credentials, or to the emulator that `FIRESTORE_EMULATOR_HOST` names.
    pub async fn connect(project: &str, database: &str, naming: Naming) -> Result<Self, StoreError> {
        let options = FirestoreDbOptions::new(project.to_owned()).with_database_id(database.to_owned()).with_max_retries(0);
        match tokio::time::timeout(TOTAL_DEADLINE, FirestoreDb::with_options(options)).await {
            Ok(Ok(db)) => Ok(Self { db, naming }),
            Ok(Err(failure)) => Err(of_connect(&failure)),
            Err(_) => {
                let message = format!("no connection within {} s", TOTAL_DEADLINE.as_secs());
                Err(error(StoreErrorKind::Unavailable, "open", message))
            }
        }
    }

    fn client(&self) -> Client {
        self.db.client().get()
    }

    /// `projects/{project}/databases/{database}/documents`.
    fn documents(&self) -> &str {
        self.db.get_documents_path()
    }

    fn below(&self, parent: &str) -> String {
        if parent.is_empty() { self.documents().to_owned() } else { format!("{}/{parent}", self.documents()) }
    }

    async fn run(&self, operation: &'static str, question: Question) -> Result<Vec<Document>, StoreError> {
        let request = RunQueryRequest {
            parent: self.below(&question.parent),
            query_type: Some(QueryType::StructuredQuery(question.query)),
            ..RunQueryRequest::default()
        };
        retry_read(operation, || async {
            let mut answers = self.client().run_query(timed(request.clone())).await?.into_inner();
            let mut documents = Vec::new();
            while let Some(answer) = answers.message().await? {
                documents.extend(answer.document);
            }
            Ok(documents)
        })
        .await
    }

    /// A page of at most `limit` documents, and whether more follow.
    async fn page(
        &self,
        operation: &'static str,
        mut question: Question,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool), StoreError> {
        if let Some(cursor) = after {
            query::start_after(&mut question.query, cursor, self.documents())
                .ok_or_else(|| error(StoreErrorKind::Refused, operation, "the cursor is of another query"))?;
        }
        question.query.limit = Some(i32::try_from(limit + 1).unwrap_or(i32::MAX));
        let mut documents = self.run(operation, question).await?;
        let more = documents.len() > limit;
        documents.truncate(limit);
        Ok((documents, more))
    }

    fn path_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.documents())?.strip_prefix('/')
    }

    fn record(&self, document: &Document) -> Option<Record> {
        let key = key_of(self.path_of(&document.name)?)?;
        let fields = values::from_stored_fields(&document.fields);
        Some(Record { key, fields, version: write::version(document.update_time.as_ref()) })
    }

    /// The writes as Firestore's; `Ok(None)` where a condition cannot hold.
    fn prepare(&self, writes: &[Write]) -> Result<Option<Vec<StoredWrite>>, StoreError> {
        if writes.len() > MAX_WRITES {
            let message = format!("{} writes in one commit, at most {MAX_WRITES} are possible", writes.len());
            return Err(error(StoreErrorKind::Refused, "commit", message));
        }
        let prepared: Option<Vec<_>> = writes.iter().map(|write| write::to_stored(write, self.documents())).collect();
        if prepared.iter().flatten().any(|write| write.encoded_len() > HOPELESS_DOCUMENT_BYTES) {
            return Err(error(StoreErrorKind::Refused, "commit", "the document would have more than 1 MiB"));
        }
        Ok(prepared)
    }

    /// One attempt.
    async fn commit_once(&self, writes: Vec<StoredWrite>) -> Result<Vec<Version>, WriteFailure> {
        let request = CommitRequest { database: self.db.get_database_path().clone(), writes, ..CommitRequest::default() };
        let answer = attempt(async { self.client().commit(timed(request)).await }).await;
        answer.map(|answer| write::versions(&answer.into_inner().write_results)).map_err(|status| of_write("commit", &status))
    }

    /// Single writes to different documents, in one round trip. Those that failed for a passing reason are repeated.
    async fn batch(&self, writes: Vec<Write>) -> Vec<Result<Commit, StoreError>> {
        let prepared = match self.prepare(&writes) {
            Ok(Some(prepared)) => prepared,
            // One of them is hopeless: it must not spoil the others.
            Ok(None) | Err(_) => return stream::iter(writes).then(|write| self.commit(vec![write])).collect().await,
        };
        let request =
            BatchWriteRequest { database: self.db.get_database_path().clone(), writes: prepared, ..BatchWriteRequest::default() };
        let answer = match attempt(async { self.client().batch_write(timed(request)).await }).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                // The whole request was refused, perhaps for one of its writes: each gets its own answer.
                return match of_write("commit", &status) {
                    WriteFailure::Failed(lost) if lost.kind == StoreErrorKind::Unknown => {
                        writes.iter().map(|_| Err(error(lost.kind, lost.operation, &lost.message))).collect()
                    }
                    _ => stream::iter(writes).then(|write| self.commit(vec![write])).collect().await,
                };
            }
        };
        let versions = write::versions(&answer.write_results);
        let mut answers = Vec::with_capacity(writes.len());
        for (index, write) in writes.into_iter().enumerate() {
            let code = answer.status.get(index).map_or(Code::Unknown, |status| Code::from(status.code));
            let message = answer.status.get(index).map_or("no answer for this write", |status| status.message.as_str());
            answers.push(match code {
                Code::Ok => Ok(Commit::Applied(versions.get(index).cloned().into_iter().collect())),
                _ => match of_write("commit", &Status::new(code, message)) {
                    WriteFailure::Conflict => Ok(Commit::Conflict),
                    WriteFailure::Again(_) => self.commit(vec![write]).await,
                    WriteFailure::Failed(failure) => Err(failure),
                },
            });
        }
        answers
    }
}

#[async_trait]
impl Store for FirestoreStore {
    fn naming(&self) -> &Naming {
        &self.naming
    }

    async fn read(&self, key: &DocumentKey) -> Result<Option<Record>, StoreError> {
        let request = GetDocumentRequest { name: self.below(&key.path()), ..GetDocumentRequest::default() };
        let found = retry_read("read", || async {
            match self.client().get_document(timed(request.clone())).await {
                Ok(answer) => Ok(Some(answer.into_inner())),
                Err(status) if status::is_missing_document(&status) => Ok(None),
                Err(status) => Err(status),
            }
        })
        .await?;
        Ok(found.map(|document| Record {
            key: key.clone(),
            fields: values::from_stored_fields(&document.fields),
            version: write::version(document.update_time.as_ref()),
        }))
    }

    async fn meetings(&self, query: &MeetingQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let (documents, more) = self.page("meetings", query::meetings(&self.naming, query), after, limit).await?;
        let records: Vec<Record> = documents
            .iter()
            .filter_map(|document| self.record(document))
            // A collection group may hold documents of ours under the same collection id.
            .filter(|record| matches!(record.key, DocumentKey::Meeting(_)))
            .collect();
        let last = documents.last().filter(|_| more);
        let next = last.and_then(|last| Some(query::cursor_after(query, self.path_of(&last.name)?, start_time(last))));
        Ok(Page { records, next })
    }

    async fn instances(&self, query: &InstanceQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let InstanceQuery::WithStatus(statuses) = query;
        let (documents, more) = self.page("instances", query::instances(&self.naming, statuses), after, limit).await?;
        let next = documents.last().filter(|_| more).and_then(|last| self.path_of(&last.name)).map(str::to_owned);
        Ok(Page { records: documents.iter().filter_map(|document| self.record(document)).collect(), next })
    }

    async fn events(&self, id: &InstanceId) -> Result<Vec<Record>, StoreError> {
        let question = query::whole_collection(DocumentKey::Instance(id.clone()).path(), "events");
        let documents = self.run("events", question).await?;
        Ok(documents.iter().filter_map(|document| self.record(document)).collect())
    }

    async fn list(&self, listing: &Listing, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let mut question = query::listing(&self.naming, listing);
        if let Some(cursor) = after {
            query::list_after(&mut question.query, cursor, self.documents())
                .ok_or_else(|| error(StoreErrorKind::Refused, "list", "the cursor is of another query"))?;
        }
        let (documents, more) = self.page("list", question, None, limit).await?;
        let field = listing.kind.instant_field();
        let after = |last: &Document| {
            let instant = values::instant_field(&last.fields, field)?;
            Some(listing::cursor_after(instant.timestamp_micros(), self.path_of(&last.name)?))
        };
        let next = documents.last().filter(|_| more).and_then(after);
        let records = documents.iter().filter_map(|document| self.record(document));
        // A collection group may hold documents of another kind under the same collection id.
        Ok(Page { records: records.filter(|record| Listed::of(&record.key) == Some(listing.kind)).collect(), next })
    }

    async fn count(&self, listing: &Listing) -> Result<u64, StoreError> {
        let question = query::listing(&self.naming, listing);
        let request = query::counted(self.below(&question.parent), question.query);
        let counted = retry_read("count", || async {
            let mut answers = self.client().run_aggregation_query(timed(request.clone())).await?.into_inner();
            let mut counted = None;
            while let Some(answer) = answers.message().await? {
                counted = answer.result.and_then(|result| query::count_of(&result)).or(counted);
            }
            Ok(counted)
        })
        .await?;
        counted.ok_or_else(|| error(StoreErrorKind::Unavailable, "count", "the answer holds no count"))
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, StoreError> {
        let Some(prepared) = self.prepare(&writes)? else { return Ok(Commit::Conflict) };
        let give_up_at = tokio::time::Instant::now() + TOTAL_DEADLINE;
        let mut delays = status::backoff().build();
        loop {
            match self.commit_once(prepared.clone()).await {
                Ok(versions) => return Ok(Commit::Applied(versions)),
                Err(WriteFailure::Conflict) => return Ok(Commit::Conflict),
                Err(WriteFailure::Failed(failure)) => return Err(failure),
                Err(WriteFailure::Again(failure)) => {
                    let next = delays.next().map(|delay| tokio::time::Instant::now() + delay);
                    match next.filter(|at| *at < give_up_at) {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => return Err(failure),
                    }
                }
            }
        }
    }

    async fn commit_each(&self, groups: Vec<Vec<Write>>) -> Vec<Result<Commit, StoreError>> {
        let mut seen = BTreeSet::new();
        let mut units = Vec::new();
        let mut singles = Vec::new();
        for (index, mut group) in groups.into_iter().enumerate() {
            // A batch takes each document once, so the second write to one goes by itself.
            let alone = group.len() != 1 || group.iter().any(|write| !seen.insert(write.key.clone()));
            match group.pop() {
                Some(write) if !alone => singles.push((index, write)),
                Some(write) => {
                    group.push(write);
                    units.push(Unit::Group(index, group));
                }
                None => units.push(Unit::Group(index, group)),
            }
        }
        units.extend(singles.chunks(MAX_WRITES).map(|chunk| Unit::Batch(chunk.to_vec())));
        let mut answers: Vec<_> =
            stream::iter(units).map(|unit| self.commit_unit(unit)).buffer_unordered(COMMITS_AT_ONCE).concat().await;
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn watch(&self) -> Result<HintStream, StoreError> {
        Ok(watch::hints(self.clone()))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(&DocumentKey::Controller("-ping-".into())).await.map(|_| ())
    }
}

/// What [`Store::commit_each`] sends in one request, with the places of the groups.
enum Unit {
    Group(usize, Vec<Write>),
    Batch(Vec<(usize, Write)>),
}

impl FirestoreStore {
    async fn commit_unit(&self, unit: Unit) -> Vec<(usize, Result<Commit, StoreError>)> {
        match unit {
            Unit::Group(index, writes) => vec![(index, self.commit(writes).await)],
            Unit::Batch(singles) => {
                let (places, writes): (Vec<_>, Vec<_>) = singles.into_iter().unzip();
                places.into_iter().zip(self.batch(writes).await).collect()
            }
        }
    }
}

/// The server, too, gives up when we do.
fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(status::CALL_DEADLINE);
    request
}

fn start_time(document: &Document) -> Option<DateTime<Utc>> {
    values::instant_field(&document.fields, "start_time")
}

fn of_connect(failure: &FirestoreError) -> StoreError {
    let kind = match failure {
        // The crate tells a refused connection from missing credentials only by this code.
        FirestoreError::SystemError(system) if system.public.code.starts_with("Credentials") => StoreErrorKind::Denied,
        FirestoreError::SystemError(_) | FirestoreError::NetworkError(_) | FirestoreError::DatabaseError(_) => {
            StoreErrorKind::Unavailable
        }
        _ => StoreErrorKind::Refused,
    };
    error(kind, "open", failure)
}
