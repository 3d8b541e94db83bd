//! Hints: this process's own commits at once, those of others by asking SQLite for its data version.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use rusqlite::Connection;
use tokio::sync::broadcast;

use super::{blocking, connect, from_sqlite};
use crate::{Hint, HintStream, StoreError};

/// How soon another process's commit is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Endless hints. The connection is its own: `data_version` tells of the commits of all others.
pub(super) async fn hints(path: &Path, own: broadcast::Receiver<()>) -> Result<HintStream, StoreError> {
    let path = path.to_owned();
    let connection = blocking("watch", move || connect(&path)).await?;
    let seen = data_version(&connection)?;
    let state = Watcher { connection: Some(connection), seen, own };
    Ok(stream::unfold(state, |mut watcher| async move {
        watcher.changed().await;
        Some((Hint::Anything, watcher))
    })
    .boxed())
}

struct Watcher {
    /// `None` only while a blocking thread has it.
    connection: Option<Connection>,
    seen: i64,
    own: broadcast::Receiver<()>,
}

impl Watcher {
    async fn changed(&mut self) {
        loop {
            let told = tokio::time::timeout(LOOK_EVERY, self.own.recv()).await;
            if self.looks_changed().await || matches!(told, Ok(Ok(()) | Err(broadcast::error::RecvError::Lagged(_)))) {
                return;
            }
            if matches!(told, Ok(Err(broadcast::error::RecvError::Closed))) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn looks_changed(&mut self) -> bool {
        let Some(connection) = self.connection.take() else { return true };
        let looked = tokio::task::spawn_blocking(move || {
            let version = data_version(&connection);
            (connection, version)
        })
        .await;
        let Ok((connection, version)) = looked else { return true };
        self.connection = Some(connection);
        // Unreadable counts as changed: a hint too many costs one look.
        let changed = version.as_ref().map_or(true, |version| *version != self.seen);
        self.seen = version.unwrap_or(self.seen);
        changed
    }
}

fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(|error| from_sqlite("watch", &error))
}
