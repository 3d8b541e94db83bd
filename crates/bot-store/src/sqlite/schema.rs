//! The file's tables and their version.

use rusqlite::Connection;

use super::{from_sqlite, refused};
use crate::StoreError;

/// Raised with every change of the tables; a file of a higher one is refused.
const FILE_VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS store (revision INTEGER NOT NULL);
INSERT INTO store SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM store);
CREATE TABLE IF NOT EXISTS documents (
    path TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    parent TEXT NOT NULL,
    collection_id TEXT NOT NULL,
    fields TEXT NOT NULL,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_kind ON documents (kind, parent, path);
";

/// Makes the tables where they are missing.
pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| from_sqlite("open", &error);
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if version > FILE_VERSION {
        let message = format!("the file has version {version}, this program knows {FILE_VERSION}: use the newer program");
        return Err(refused("open", message));
    }
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FILE_VERSION}; COMMIT;")).map_err(failed)
}
