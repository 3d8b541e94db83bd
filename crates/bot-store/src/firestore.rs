//! In progress.
use bot_model::configuration::Naming;

use crate::StoreError;
/// In progress.
pub struct FirestoreStore;
impl FirestoreStore {
    /// In progress.
    pub async fn connect(_: &str, _: &str, _: Naming) -> Result<crate::sqlite::SqliteStore, StoreError> {
        Err(StoreError {
            kind: crate::StoreErrorKind::Refused,
            operation: "open",
            message: "the Firestore adapter is in progress".into(),
        })
    }
}
