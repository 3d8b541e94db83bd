//! The embedded store: one SQLite file in WAL mode, shared by every process of one machine.
//!
//! One table of documents with a store-wide growing revision, so that no version ever repeats. All conditions of a commit are
//! checked and all writes made in one IMMEDIATE transaction. It is a single-machine store: a file on a network
//! file system is not supported by SQLite's locking.

mod list;
mod schema;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bot_model::configuration::{Naming, QueryMode};
use bot_model::document::Fields;
use bot_model::ids::InstanceId;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter};
use tokio::sync::broadcast;

use crate::key_path::key_of;
use crate::listing::{Listed, Listing};
use crate::{
    Commit, DocumentKey, HintStream, InstanceQuery, MeetingQuery, Page, Precondition, Record, Store, StoreError, StoreErrorKind,
    Version, Write, WriteMode,
};

/// Firestore's limit, kept here too, so that nothing works on a laptop that fails in production.
const MAX_DOCUMENT_BYTES: usize = 1_048_576;
/// The same for the number of writes.
const MAX_WRITES: usize = 500;
/// How long a commit waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A store in one file.
pub struct SqliteStore {
    path: PathBuf,
    naming: Naming,
    connection: Arc<Mutex<Connection>>,
    changed: broadcast::Sender<()>,
}

impl SqliteStore {
    /// Opens the file, creating it and its folder where they are missing. A file of a newer version is refused.
    pub async fn open(path: &Path, naming: Naming) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let (opened, names) = (path.clone(), naming.clone());
        let connection = blocking("open", move || {
            if let Some(folder) = opened.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .map_err(|error| refused("open", format!("cannot create the folder {}: {error}", folder.display())))?;
            }
            let mut connection = connect(&opened)?;
            schema::prepare(&mut connection, &names)?;
            Ok(connection)
        })
        .await?;
        Ok(Self { path, naming, connection: Arc::new(Mutex::new(connection)), changed: broadcast::channel(16).0 })
    }

    async fn with<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        // A poisoned lock is harmless: a panic in between rolled its transaction back.
        blocking(operation, move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    async fn page(
        &self,
        operation: &'static str,
        condition: String,
        values: Vec<SqlValue>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.with(operation, move |connection| {
            let sql = format!("SELECT path, fields, revision FROM documents WHERE {condition} ORDER BY path LIMIT {}", limit + 1);
            let mut statement = connection.prepare_cached(&sql).map_err(|error| from_sqlite(operation, &error))?;
            let rows = statement
                .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .map_err(|error| from_sqlite(operation, &error))?;
            let mut records = Vec::new();
            for row in rows {
                let row: (String, String, i64) = row.map_err(|error| from_sqlite(operation, &error))?;
                records.extend(record(row)?);
            }
            let more = records.len() > limit;
            records.truncate(limit);
            let next = records.last().filter(|_| more).map(|last| last.key.path());
            Ok(Page { records, next })
        })
        .await
    }

    /// The condition that selects the meetings of this naming, and its values.
    fn meetings_condition(&self) -> (String, SqlValue) {
        let column = match self.naming.query_mode {
            QueryMode::Collection => "parent",
            QueryMode::CollectionGroup => "collection_id",
        };
        (format!("kind = 'meeting' AND {column} = ?"), SqlValue::from(self.naming.meetings_collection.clone()))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn naming(&self) -> &Naming {
        &self.naming
    }

    async fn read(&self, key: &DocumentKey) -> Result<Option<Record>, StoreError> {
        let path = key.path();
        self.with("read", move |connection| {
            let row = connection
                .prepare_cached("SELECT path, fields, revision FROM documents WHERE path = ?")
                .and_then(|mut statement| {
                    statement.query_row([path], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
                })
                .map_err(|error| from_sqlite("read", &error))?;
            row.map_or(Ok(None), record)
        })
        .await
    }

    async fn meetings(&self, query: &MeetingQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let (mut condition, collection) = self.meetings_condition();
        let mut values = vec![collection];
        let statuses = match query {
            MeetingQuery::WithStatus(statuses) => statuses,
            MeetingQuery::StartingWithin { statuses, from, to } => {
                // julianday understands offsets; the margin covers its rounding, for a poll may see a little more.
                condition += " AND julianday(json_extract(fields, '$.start_time')) BETWEEN julianday(?) - 0.00001 AND julianday(?) + 0.00001";
                values.extend([from.to_rfc3339().into(), to.to_rfc3339().into()]);
                statuses
            }
        };
        status_condition(&mut condition, &mut values, &self.naming.meeting_status_field, statuses);
        after_condition(&mut condition, &mut values, after);
        self.page("meetings", condition, values, limit).await
    }

    async fn instances(&self, query: &InstanceQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let InstanceQuery::WithStatus(statuses) = query;
        let (mut condition, mut values) = ("kind = 'instance'".to_owned(), Vec::new());
        status_condition(&mut condition, &mut values, &self.naming.instance_status_field, statuses);
        after_condition(&mut condition, &mut values, after);
        self.page("instances", condition, values, limit).await
    }

    async fn events(&self, id: &InstanceId) -> Result<Vec<Record>, StoreError> {
        let parent = format!("bot_instances/{id}/events");
        let page = self.page("events", "kind = 'event' AND parent = ?".into(), vec![parent.into()], 100_000).await?;
        Ok(page.records)
    }

    async fn list(&self, listing: &Listing, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let question = list::question(&self.naming, listing, after)?;
        self.with("list", move |connection| list::page(connection, &question, limit)).await
    }

    async fn count(&self, listing: &Listing) -> Result<u64, StoreError> {
        let question = list::question(&self.naming, listing, None)?;
        self.with("count", move |connection| list::count(connection, &question)).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, StoreError> {
        let answer = self.with("commit", move |connection| commit_in(connection, writes)).await;
        if matches!(answer, Ok(Commit::Applied(_))) {
            let _ = self.changed.send(());
        }
        answer
    }

    async fn commit_each(&self, groups: Vec<Vec<Write>>) -> Vec<Result<Commit, StoreError>> {
        let mut answers = Vec::with_capacity(groups.len());
        for group in groups {
            answers.push(self.commit(group).await);
        }
        answers
    }

    async fn watch(&self) -> Result<HintStream, StoreError> {
        watch::hints(&self.path, self.changed.subscribe()).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.with("ping", |connection| {
            connection.query_row("SELECT 1", [], |_| Ok(())).map_err(|error| from_sqlite("ping", &error))
        })
        .await
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(|error| from_sqlite("open", &error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| from_sqlite("open", &error))?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(|error| from_sqlite("open", &error))?;
    Ok(connection)
}

fn commit_in(connection: &mut Connection, writes: Vec<Write>) -> Result<Commit, StoreError> {
    if writes.len() > MAX_WRITES {
        return Err(refused("commit", format!("{} writes in one commit, at most {MAX_WRITES} are possible", writes.len())));
    }
    let failed = |error: rusqlite::Error| from_sqlite("commit", &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let revision: i64 = transaction.query_row("SELECT revision + 1 FROM store", [], |row| row.get(0)).map_err(failed)?;
    let mut versions = Vec::with_capacity(writes.len());
    for write in writes {
        if !apply(&transaction, &write, revision)? {
            return Ok(Commit::Conflict);
        }
        versions.push(Version::from_adapter(revision.to_string()));
    }
    transaction.execute("UPDATE store SET revision = ?", [revision]).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(Commit::Applied(versions))
}

/// Applies one write; false where its condition does not hold.
fn apply(transaction: &Transaction<'_>, write: &Write, revision: i64) -> Result<bool, StoreError> {
    let failed = |error: rusqlite::Error| from_sqlite("commit", &error);
    let path = write.key.path();
    let found: Option<(String, i64)> = transaction
        .query_row("SELECT fields, revision FROM documents WHERE path = ?", [&path], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(failed)?;
    let holds = match (&write.precondition, &found) {
        (Precondition::Absent, found) => found.is_none(),
        (Precondition::Exists, found) => found.is_some(),
        (Precondition::Unchanged(version), Some((_, revision))) => version.as_str() == revision.to_string(),
        (Precondition::Unchanged(_), None) => false,
    };
    if !holds {
        return Ok(false);
    }
    match &write.mode {
        WriteMode::Delete => transaction.execute("DELETE FROM documents WHERE path = ?", [&path]).map_err(failed)?,
        WriteMode::Merge(changes) => {
            let text = merged(found.map(|(fields, _)| fields), changes)?;
            let (kind, parent, collection_id) = place(&write.key, &path);
            let listed_at = Listed::of(&write.key).map(|kind| Ok(kind.micros(&fields_of(&text)?))).transpose()?.flatten();
            transaction
                .prepare_cached(
                    "INSERT INTO documents (path, kind, parent, collection_id, fields, revision, listed_at) VALUES (?, ?, ?, ?, ?, ?, ?)
                     ON CONFLICT (path) DO UPDATE SET fields = excluded.fields, revision = excluded.revision, listed_at = excluded.listed_at",
                )
                .and_then(|mut statement| statement.execute(params![path, kind, parent, collection_id, text, revision, listed_at]))
                .map_err(failed)?
        }
    };
    Ok(true)
}

fn merged(found: Option<String>, changes: &Fields) -> Result<String, StoreError> {
    let mut fields = found.map_or(Ok(Fields::new()), |text| fields_of(&text))?;
    for (key, value) in changes {
        if value.is_null() {
            fields.remove(key);
        } else {
            fields.insert(key.clone(), value.clone());
        }
    }
    let text = serde_json::to_string(&fields).map_err(|error| refused("commit", error.to_string()))?;
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(refused("commit", format!("the document would have {} bytes, more than {MAX_DOCUMENT_BYTES}", text.len())));
    }
    Ok(text)
}

/// Kind, parent path and collection id of a document.
fn place<'a>(key: &DocumentKey, path: &'a str) -> (&'static str, &'a str, &'a str) {
    let kind = match key {
        DocumentKey::Meeting(_) => "meeting",
        DocumentKey::Instance(_) => "instance",
        DocumentKey::Event(..) => "event",
        DocumentKey::Slot(_) => "slot",
        DocumentKey::PathOwner(_) => "path_owner",
        DocumentKey::Controller(_) => "controller",
        DocumentKey::ApiKey(_) => "api_key",
        DocumentKey::Audit(_) => "audit",
        DocumentKey::Replay(_) => "replay",
        DocumentKey::Capacity(_) => "capacity",
        DocumentKey::Organization(_) => "organization",
        DocumentKey::Outbox(_) => "webhook_outbox",
        DocumentKey::Endpoint(_) => "webhook_endpoint",
        DocumentKey::Delivery(_) => "webhook_delivery",
        DocumentKey::Pending(_) => "webhook_pending",
    };
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    (kind, parent, parent.rsplit('/').next().unwrap_or_default())
}

/// The record of a row; `None` for a path that no key has.
fn record((path, fields, revision): (String, String, i64)) -> Result<Option<Record>, StoreError> {
    let fields = fields_of(&fields)?;
    Ok(key_of(&path).map(|key| Record { key, fields, version: Version::from_adapter(revision.to_string()) }))
}

fn fields_of(text: &str) -> Result<Fields, StoreError> {
    serde_json::from_str(text).map_err(|error| refused("read", format!("the store holds a damaged document: {error}")))
}

fn status_condition(condition: &mut String, values: &mut Vec<SqlValue>, field: &str, statuses: &[String]) {
    let marks = vec!["?"; statuses.len()].join(", ");
    // The field's name was checked to be letters, digits and _ where the configuration was read.
    *condition += &format!(" AND json_extract(fields, '$.{field}') IN ({marks})");
    values.extend(statuses.iter().cloned().map(SqlValue::from));
}

fn after_condition(condition: &mut String, values: &mut Vec<SqlValue>, after: Option<&str>) {
    if let Some(after) = after {
        condition.push_str(" AND path > ?");
        values.push(SqlValue::from(after.to_owned()));
    }
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(StoreError { kind: StoreErrorKind::Unknown, operation, message: format!("the store's thread failed: {error}") })
    })
}

fn refused(operation: &'static str, message: String) -> StoreError {
    StoreError { kind: StoreErrorKind::Refused, operation, message }
}

fn from_sqlite(operation: &'static str, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure};
    let kind = match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure) => StoreErrorKind::Unavailable,
        Some(PermissionDenied | ReadOnly | CannotOpen) => StoreErrorKind::Denied,
        _ => StoreErrorKind::Refused,
    };
    StoreError { kind, operation, message: error.to_string() }
}
