//! The file's tables and their version.

use bot_model::configuration::Naming;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{fields_of, from_sqlite, refused};
use crate::StoreError;
use crate::key_path::key_of;
use crate::listing::Listed;

/// Raised with every change of the tables; a file of a higher one is refused.
const FILE_VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS store (revision INTEGER NOT NULL);
INSERT INTO store SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM store);
CREATE TABLE IF NOT EXISTS documents (
    path TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    parent TEXT NOT NULL,
    collection_id TEXT NOT NULL,
    fields TEXT NOT NULL,
    revision INTEGER NOT NULL,
    listed_at INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_kind ON documents (kind, parent, path);
";

/// What lists go by: the instant of each kind in microseconds, and the fields that are asked for most.
const LISTS: &str = "
CREATE INDEX IF NOT EXISTS listed ON documents (kind, listed_at, path) WHERE listed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS listed_by_organization
    ON documents (kind, json_extract(fields, '$.creator_organization_id'), listed_at, path) WHERE listed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS listed_by_phase
    ON documents (kind, json_extract(fields, '$.phase'), listed_at, path) WHERE kind = 'instance' AND listed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS listed_by_organization_and_phase
    ON documents (kind, json_extract(fields, '$.creator_organization_id'), json_extract(fields, '$.phase'), listed_at, path)
    WHERE kind = 'instance' AND listed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS listed_by_outcome
    ON documents (kind, json_extract(fields, '$.outcome_kind'), listed_at, path) WHERE kind = 'instance' AND listed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_by_endpoint ON documents (kind, json_extract(fields, '$.endpoint_id'), listed_at, path)
    WHERE kind = 'webhook_delivery' AND listed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_by_state ON documents (kind, json_extract(fields, '$.state'), listed_at, path)
    WHERE kind = 'webhook_delivery' AND listed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS pending_by_endpoint ON documents (kind, json_extract(fields, '$.endpoint_id'), listed_at, path)
    WHERE kind = 'webhook_pending' AND listed_at IS NOT NULL;
";

/// Makes the tables where they are missing, and brings those of an older version up to date, in one transaction.
pub(super) fn prepare(connection: &mut Connection, naming: &Naming) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| from_sqlite("open", &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if version > FILE_VERSION {
        let message = format!("the file has version {version}, this program knows {FILE_VERSION}: use the newer program");
        return Err(refused("open", message));
    }
    transaction.execute_batch(TABLES).map_err(failed)?;
    if version == 1 {
        add_instants(&transaction)?;
    }
    place_organizations(&transaction)?;
    // What the claim loop asks for at every hint: without an index it reads every bot that ever was.
    let status = &naming.instance_status_field;
    let by_status = format!(
        "CREATE INDEX IF NOT EXISTS instances_by_{status} ON documents (kind, json_extract(fields, '$.{status}'), path) WHERE kind = 'instance';"
    );
    transaction.execute_batch(&format!("{LISTS} {by_status} PRAGMA user_version = {FILE_VERSION};")).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// From version 1 to 2: every document gets its place in the lists.
fn add_instants(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| from_sqlite("open", &error);
    transaction.execute_batch("ALTER TABLE documents ADD COLUMN listed_at INTEGER;").map_err(failed)?;
    place(transaction, "TRUE")
}

/// Organizations' limits came into the lists later than their documents, and into a collection of their own after that; an older program
/// may still write one without its place.
fn place_organizations(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let moved = "UPDATE OR REPLACE documents SET path = 'organization_limits/' || substr(path, length('organizations/') + 1),
            parent = 'organization_limits', collection_id = 'organization_limits'
        WHERE kind = 'organization' AND parent = 'organizations';";
    transaction.execute_batch(moved).map_err(|error| from_sqlite("open", &error))?;
    place(transaction, "kind = 'organization' AND listed_at IS NULL")
}

/// Gives documents their places in the lists.
fn place(transaction: &Transaction<'_>, condition: &str) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| from_sqlite("open", &error);
    let mut all = transaction.prepare(&format!("SELECT path, fields FROM documents WHERE {condition}")).map_err(failed)?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>().map_err(failed)?;
    let mut update = transaction.prepare("UPDATE documents SET listed_at = ? WHERE path = ?").map_err(failed)?;
    for (path, fields) in rows {
        let kind = key_of(&path).as_ref().and_then(Listed::of);
        let micros = kind.and_then(|kind| kind.micros(&fields_of(&fields).ok()?));
        update.execute(params![micros, path]).map_err(failed)?;
    }
    Ok(())
}
