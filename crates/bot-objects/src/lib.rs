//! The bucket: `gs://` by Google's own crate, `s3://` and `file://` by object_store, behind a few verbs.
//!
//! Raw objects are written create-only: their names hold their checksums, so "exists already" means "identical". Final files
//! may be replaced until `done`. Every call has a wall-clock limit for each try (a hanging store is a failing store) and for all
//! of them, and what is worth retrying is retried here and nowhere else.

mod gcs;
mod portable;
pub mod retry;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

pub use gcs::Gcs;
pub use portable::Portable;

use crate::retry::retried;

/// The bytes of an object, or of a part of it.
pub type ByteStream = BoxStream<'static, Result<Bytes, ObjectError>>;

/// Opening a bucket may ask a metadata server for credentials.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// One segment of a few MiB.
const PUT_WITHIN: Duration = Duration::from_secs(30);

/// A failed call to the bucket.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {message}")]
pub struct ObjectError {
    /// Which call.
    pub operation: &'static str,
    /// What the bucket said; names no secret.
    pub message: String,
    /// The same call may succeed later.
    pub is_transient: bool,
}

/// How a create-only write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Written.
    Created,
    /// An object of this name was there already.
    Exists,
}

/// What the bucket knows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Size.
    pub bytes: u64,
    /// Castagnoli checksum of what lies there, by the bucket itself or by reading it back.
    pub crc32c: u32,
}

/// What lay in an object's place at some instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(Option<i64>);

/// What a final file carries along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// MIME type.
    pub content_type: &'static str,
    /// Checksum of the whole.
    pub crc32c: u32,
    /// Hash of the frozen list that it was made of.
    pub segments_sha256: String,
}

/// The bucket that recordings go to.
#[derive(Debug, Clone)]
pub enum Objects {
    /// Google Cloud Storage.
    Gcs(Box<Gcs>),
    /// S3 or a folder.
    Portable(Portable),
}

impl Objects {
    /// Opens `gs://{bucket}[/{prefix}]`, `s3://{bucket}[/{prefix}]` or `file:///{folder}`.
    ///
    /// # Errors
    /// When the address is none of these, or credentials are missing.
    pub async fn open(url: &str) -> Result<Self, ObjectError> {
        match url.split_once("://") {
            Some(("gs", place)) if !place.is_empty() => {
                let opened = tokio::time::timeout(OPEN_WITHIN, Box::pin(Gcs::open(place))).await;
                let opened = opened.unwrap_or_else(|_| Err(hung("open", OPEN_WITHIN)));
                Ok(Self::Gcs(Box::new(opened?)))
            }
            Some(("s3" | "file", _)) => Ok(Self::Portable(Portable::open(url)?)),
            _ => {
                Err(permanent("open", format!("RECORDINGS_URL is {url:?}; it wants gs://bucket, s3://bucket or file:///folder")))
            }
        }
    }

    /// The full address of an object, as it stands in documents.
    pub fn address(&self, name: &str) -> String {
        match self {
            Self::Gcs(gcs) => gcs.address(name),
            Self::Portable(portable) => portable.address(name),
        }
    }

    /// Writes an object that must not exist yet.
    ///
    /// # Errors
    /// When it is neither written nor found written.
    pub async fn put_new(&self, name: &str, bytes: Bytes, label: &Label) -> Result<Put, ObjectError> {
        self.tried("put", PUT_WITHIN, || self.put_new_bare(name, bytes.clone(), label)).await
    }

    /// One try of [`Objects::put_new`], for a caller that goes on trying by itself.
    ///
    /// # Errors
    /// When it is neither written nor found written.
    pub async fn put_new_once(&self, name: &str, bytes: Bytes, label: &Label) -> Result<Put, ObjectError> {
        once("put", PUT_WITHIN, self.put_new_bare(name, bytes, label)).await
    }

    /// One try to write an object whatever lies there: for what is replaced every few seconds, and worth no second try.
    ///
    /// # Errors
    /// When it was not written.
    pub async fn put_over_once(&self, name: &str, bytes: Bytes, label: &Label, limit: Duration) -> Result<(), ObjectError> {
        let put = async {
            match self {
                Self::Gcs(gcs) => gcs.put_over(name, bytes, label).await,
                Self::Portable(portable) => portable.put_over(name, bytes, label).await,
            }
        };
        once("put", limit, put).await
    }

    async fn put_new_bare(&self, name: &str, bytes: Bytes, label: &Label) -> Result<Put, ObjectError> {
        match self {
            Self::Gcs(gcs) => gcs.put_new(name, bytes, label).await,
            Self::Portable(portable) => portable.put_new(name, bytes, label).await,
        }
    }

    /// What lies there now, to be named by [`Objects::put_final`].
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn generation(&self, name: &str) -> Result<Generation, ObjectError> {
        self.tried("head", Duration::from_secs(60), || async {
            match self {
                Self::Gcs(gcs) => gcs.generation(name).await.map(|found| Generation(Some(found))),
                Self::Portable(_) => Ok(Generation(None)),
            }
        })
        .await
    }

    /// Writes a final file, replacing what an interrupted try left there, if that is still of the given generation. (Only
    /// Google Cloud Storage has generations; elsewhere it is replaced as it is.)
    ///
    /// # Errors
    /// When it could not be written, or another writer was faster.
    pub async fn put_final(&self, name: &str, file: &Path, label: &Label, over: Generation) -> Result<(), ObjectError> {
        let limit = upload_limit(file);
        self.tried("put", limit, || async {
            match self {
                Self::Gcs(gcs) => gcs.put_final(name, file, label, over.0.unwrap_or_default()).await,
                Self::Portable(portable) => portable.put_final(name, file, label).await,
            }
        })
        .await
    }

    /// Reads an object, or `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        self.tried("get", Duration::from_secs(60), || async {
            match self {
                Self::Gcs(gcs) => gcs.get(name).await,
                Self::Portable(portable) => portable.get(name).await,
            }
        })
        .await
    }

    /// A part of an object as it arrives, or `None` where there is none. Opening is tried again; what breaks off underway is an error of
    /// the stream, and the caller asks for the rest.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn read(&self, name: &str, range: Range<u64>) -> Result<Option<ByteStream>, ObjectError> {
        self.tried("get", Duration::from_secs(10), || async {
            match self {
                Self::Gcs(gcs) => gcs.read(name, range.clone()).await,
                Self::Portable(portable) => portable.read(name, range.clone()).await,
            }
        })
        .await
    }

    /// An address that gives the object to whoever has it, for as long; `None` where the bucket has no such thing (a folder).
    ///
    /// # Errors
    /// When the credentials cannot sign, or Google's signing service does not answer.
    pub async fn signed_url(&self, name: &str, lasts: Duration) -> Result<Option<String>, ObjectError> {
        self.tried("sign", Duration::from_secs(10), || async {
            match self {
                Self::Gcs(gcs) => gcs.signed_url(name, lasts).await.map(Some),
                Self::Portable(portable) => portable.signed_url(name, lasts).await,
            }
        })
        .await
    }

    /// The name of an object of this bucket from its full address; `None` for one that lies elsewhere.
    pub fn name_of<'a>(&self, address: &'a str) -> Option<&'a str> {
        address.strip_prefix(self.address("").as_str()).filter(|name| !name.is_empty())
    }

    /// Size and checksum of an object, or `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn head(&self, name: &str) -> Result<Option<Head>, ObjectError> {
        self.tried("head", Duration::from_secs(600), || async {
            match self {
                Self::Gcs(gcs) => gcs.head(name).await,
                Self::Portable(portable) => portable.head(name).await,
            }
        })
        .await
    }

    /// True where there is an object of this name.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn exists(&self, name: &str) -> Result<bool, ObjectError> {
        self.tried("head", Duration::from_secs(30), || async {
            match self {
                Self::Gcs(gcs) => Ok(gcs.generation(name).await? != 0),
                Self::Portable(portable) => portable.exists(name).await,
            }
        })
        .await
    }

    /// Removes an object; one that is not there is fine.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        self.tried("delete", Duration::from_secs(30), || async {
            match self {
                Self::Gcs(gcs) => gcs.delete(name).await,
                Self::Portable(portable) => portable.delete(name).await,
            }
        })
        .await
    }

    /// Names below a folder (with its slash), relative to it, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        self.list_after(folder, "").await
    }

    /// The same, only what sorts after `after` (relative to the folder as well): a look at what has come costs one page.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list_after(&self, folder: &str, after: &str) -> Result<Vec<String>, ObjectError> {
        Ok(self.list_dated(folder, after).await?.into_iter().map(|(name, _)| name).collect())
    }

    /// The same with when each was written, by the bucket's own clock: to the second on S3, finer elsewhere.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list_dated(&self, folder: &str, after: &str) -> Result<Vec<(String, DateTime<Utc>)>, ObjectError> {
        let mut names = self
            .tried("list", Duration::from_secs(60), || async {
                match self {
                    Self::Gcs(gcs) => gcs.list(folder, after).await,
                    Self::Portable(portable) => portable.list(folder, after).await,
                }
            })
            .await?;
        names.retain(|(name, _)| name.as_str() > after);
        names.sort();
        Ok(names)
    }

    async fn tried<T, F>(&self, operation: &'static str, limit: Duration, call: impl Fn() -> F) -> Result<T, ObjectError>
    where
        F: Future<Output = Result<T, ObjectError>>,
    {
        let late = || hung(operation, 2 * limit);
        let tries = retried(2 * limit, |error: &ObjectError| error.is_transient, late, || once(operation, limit, call()));
        Box::pin(tries).await
    }
}

/// One try, under its limit.
async fn once<T>(
    operation: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, ObjectError>>,
) -> Result<T, ObjectError> {
    // Boxed: the clients' futures nest too deep to be laid out within every caller's.
    tokio::time::timeout(limit, Box::pin(call)).await.unwrap_or_else(|_| Err(hung(operation, limit)))
}

fn hung(operation: &'static str, limit: Duration) -> ObjectError {
    ObjectError { operation, message: format!("no answer within {limit:?}"), is_transient: true }
}

/// At least two minutes, and time for 1 MiB a second.
fn upload_limit(file: &Path) -> Duration {
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    Duration::from_secs(120 + bytes / 1_048_576)
}

fn permanent(operation: &'static str, message: String) -> ObjectError {
    ObjectError { operation, message, is_transient: false }
}
