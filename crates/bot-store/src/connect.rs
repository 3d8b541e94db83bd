//! From `STORE_URL` to a store.

use std::path::Path;
use std::sync::Arc;

use bot_model::configuration::Naming;

use crate::firestore::FirestoreStore;
use crate::sqlite::SqliteStore;
use crate::{Store, StoreError, StoreErrorKind};

/// Opens `sqlite:{path}` or `firestore:{project}[/{database}]`; the database defaults to `(default)`.
pub async fn open(url: &str, naming: Naming) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Arc::new(SqliteStore::open(Path::new(path), naming).await?)),
        Some(("firestore", place)) if !place.is_empty() => {
            let (project, database) = place.split_once('/').unwrap_or((place, "(default)"));
            Ok(Arc::new(FirestoreStore::connect(project, database, naming).await?))
        }
        _ => Err(StoreError {
            kind: StoreErrorKind::Refused,
            operation: "open",
            message: format!("STORE_URL is {url:?}; it wants sqlite:/path/of/a/file or firestore:project[/database]"),
        }),
    }
}
