//! From `STORE_URL` to a store.

use std::path::Path;
use std::sync::Arc;

use bot_model::configuration::Naming;

use crate::firestore::FirestoreStore;
use crate::sqlite::SqliteStore;
use crate::{Store, StoreError, StoreErrorKind};

const WANTS: &str = "sqlite:/path/of/a/file or firestore:project[/database]";
/// Firestore's name for the database that a project has without saying more.
const DEFAULT_DATABASE: &str = "(default)";

/// Opens `sqlite:{path}` or `firestore:{project}[/{database}]`; the database defaults to `(default)`.
pub async fn open(url: &str, naming: Naming) -> Result<Arc<dyn Store>, StoreError> {
    match Place::parse(url) {
        Ok(Place::Sqlite(path)) => Ok(Arc::new(SqliteStore::open(Path::new(path), naming).await?)),
        Ok(Place::Firestore { project, database }) => Ok(Arc::new(FirestoreStore::connect(project, database, naming).await?)),
        Err(message) => Err(StoreError { kind: StoreErrorKind::Refused, operation: "open", message }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Sqlite(&'a str),
    Firestore { project: &'a str, database: &'a str },
}

impl<'a> Place<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        let wrong = |reason: &str| Err(format!("STORE_URL is {url:?}, {reason}; it wants {WANTS}"));
        match url.split_once(':') {
            Some(("sqlite", "")) => wrong("which names no file"),
            // `sqlite://data/store` would silently be a file at the root.
            Some(("sqlite", path)) if path.starts_with("//") => wrong("whose path begins with //"),
            Some(("sqlite", path)) => Ok(Self::Sqlite(path)),
            Some(("firestore", place)) => {
                let (project, database) = place.split_once('/').unwrap_or((place, DEFAULT_DATABASE));
                let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c == '/' || c.is_whitespace());
                if !plain(project) {
                    wrong("which names no project")
                } else if !plain(database) {
                    wrong("which names no database after the slash")
                } else {
                    Ok(Self::Firestore { project, database })
                }
            }
            _ => wrong("which names no kind of store"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_accepted() {
        assert_eq!(Place::parse("sqlite:/var/lib/x.sqlite"), Ok(Place::Sqlite("/var/lib/x.sqlite")));
        assert_eq!(Place::parse("sqlite:x.sqlite"), Ok(Place::Sqlite("x.sqlite")));
        assert_eq!(Place::parse("firestore:p"), Ok(Place::Firestore { project: "p", database: "(default)" }));
        assert_eq!(Place::parse("firestore:p/d"), Ok(Place::Firestore { project: "p", database: "d" }));
    }

    #[test]
    fn anything_else_is_told_what_is_accepted() {
        let wrong = [
            "",
            "x",
            "sqlite:",
            "sqlite://data/x",
            "firestore:",
            "firestore:/d",
            "firestore:p/",
            "firestore:p/d/e",
            "postgres:x",
        ];
        for url in wrong {
            let message = Place::parse(url).unwrap_err();
            assert!(message.contains(WANTS) && message.contains(&format!("{url:?}")), "{message}");
        }
    }
}
