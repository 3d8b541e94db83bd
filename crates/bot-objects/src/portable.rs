//! S3 and local folders, by object_store.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::signer::Signer as _;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
};
use tokio::io::AsyncWriteExt as _;

use super::{ByteStream, Head, Label, ObjectError, Put, permanent};

/// A bucket of S3, or a folder.
#[derive(Debug, Clone)]
pub struct Portable {
    store: Arc<dyn ObjectStore>,
    signer: Option<Arc<AmazonS3>>,
    /// Such as `s3://bucket/prefix`, without a trailing slash.
    base: String,
    prefix: String,
    /// A folder keeps no attributes.
    keeps_attributes: bool,
}

impl Portable {
    /// Opens `s3://{bucket}[/{prefix}]` with the credentials of the environment, or `file:///{folder}`.
    pub(super) fn open(url: &str) -> Result<Self, ObjectError> {
        let base = url.trim_end_matches('/').to_owned();
        if let Some(folder) = base.strip_prefix("file://") {
            std::fs::create_dir_all(folder)
                .map_err(|error| permanent("open", format!("cannot create the folder {folder}: {error}")))?;
            let store = LocalFileSystem::new_with_prefix(folder)
                .map_err(|error| from_store("open", &error))?
                .with_automatic_cleanup(false);
            return Ok(Self { store: Arc::new(store), signer: None, base, prefix: String::new(), keeps_attributes: false });
        }
        let place = base.trim_start_matches("s3://");
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        // SHA-256 makes the server check what arrives.
        let store = AmazonS3Builder::from_env().with_bucket_name(bucket).with_checksum_algorithm(Checksum::SHA256);
        let store = Arc::new(store.build().map_err(|error| from_store("open", &error))?);
        Ok(Self { signer: Some(Arc::clone(&store)), store, base, prefix, keeps_attributes: true })
    }

    pub(super) fn address(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    pub(super) async fn put_new(&self, name: &str, bytes: Bytes, label: &Label) -> Result<Put, ObjectError> {
        let options = PutOptions { mode: PutMode::Create, attributes: self.attributes(label), ..PutOptions::default() };
        match self.store.put_opts(&self.path(name), bytes.into(), options).await {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(Put::Exists),
            Err(error) => Err(from_store("put", &error)),
        }
    }

    pub(super) async fn put_over(&self, name: &str, bytes: Bytes, label: &Label) -> Result<(), ObjectError> {
        let options = PutOptions { mode: PutMode::Overwrite, attributes: self.attributes(label), ..PutOptions::default() };
        self.store.put_opts(&self.path(name), bytes.into(), options).await.map(drop).map_err(|error| from_store("put", &error))
    }

    pub(super) async fn put_final(&self, name: &str, file: &Path, label: &Label) -> Result<(), ObjectError> {
        let unreadable = |error: std::io::Error| ObjectError { operation: "put", message: error.to_string(), is_transient: true };
        let mut from = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let mut to = BufWriter::new(Arc::clone(&self.store), self.path(name)).with_attributes(self.attributes(label));
        if let Err(error) = tokio::io::copy(&mut from, &mut to).await {
            let _ = to.abort().await;
            return Err(unreadable(error));
        }
        to.shutdown().await.map_err(unreadable)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        match self.store.get(&self.path(name)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|error| from_store("get", &error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(from_store("get", &error)),
        }
    }

    pub(super) async fn read(&self, name: &str, range: Range<u64>) -> Result<Option<ByteStream>, ObjectError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.store.get_opts(&self.path(name), options).await {
            Ok(found) => Ok(Some(found.into_stream().map_err(|error| from_store("get", &error)).boxed())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(from_store("get", &error)),
        }
    }

    /// S3 presigns; a folder has no addresses.
    pub(super) async fn signed_url(&self, name: &str, lasts: Duration) -> Result<Option<String>, ObjectError> {
        let Some(s3) = &self.signer else { return Ok(None) };
        let signed = s3.signed_url(Method::GET, &self.path(name), lasts).await;
        signed.map(|url| Some(url.to_string())).map_err(|error| from_store("sign", &error))
    }

    /// Neither S3 (without its newer checksums) nor a folder tells a crc32c, so the object is read back.
    pub(super) async fn head(&self, name: &str) -> Result<Option<Head>, ObjectError> {
        let found = match self.store.get(&self.path(name)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(from_store("head", &error)),
        };
        let mut head = Head { bytes: 0, crc32c: 0 };
        let mut stream = found.into_stream();
        while let Some(chunk) = stream.try_next().await.map_err(|error| from_store("head", &error))? {
            head.bytes += chunk.len() as u64;
            head.crc32c = crc32c::crc32c_append(head.crc32c, &chunk);
        }
        Ok(Some(head))
    }

    pub(super) async fn exists(&self, name: &str) -> Result<bool, ObjectError> {
        match self.store.head(&self.path(name)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(from_store("head", &error)),
        }
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_store("delete", &error)),
        }
    }

    pub(super) async fn list(&self, folder: &str, after: &str) -> Result<Vec<(String, DateTime<Utc>)>, ObjectError> {
        let within = format!("{}{folder}", self.prefix);
        let path = ObjectPath::from(within.as_str());
        let found = if after.is_empty() {
            self.store.list(Some(&path))
        } else {
            self.store.list_with_offset(Some(&path), &ObjectPath::from(format!("{within}{after}")))
        };
        let found: Vec<_> = found.try_collect().await.map_err(|error| from_store("list", &error))?;
        let named =
            |object: &ObjectMeta| Some((object.location.as_ref().strip_prefix(&within)?.to_owned(), object.last_modified));
        Ok(found.iter().filter_map(named).collect())
    }

    fn path(&self, name: &str) -> ObjectPath {
        ObjectPath::from(format!("{}{name}", self.prefix))
    }

    fn attributes(&self, label: &Label) -> Attributes {
        let mut attributes = Attributes::new();
        if self.keeps_attributes {
            attributes.insert(Attribute::ContentType, label.content_type.into());
            attributes.insert(Attribute::Metadata("crc32c".into()), format!("{:08x}", label.crc32c).into());
            attributes.insert(Attribute::Metadata("segments-sha256".into()), label.segments_sha256.clone().into());
        }
        attributes
    }
}

fn from_store(operation: &'static str, error: &object_store::Error) -> ObjectError {
    use object_store::Error as E;
    let is_transient = matches!(error, E::Generic { .. } | E::JoinError { .. });
    ObjectError { operation, message: error.to_string(), is_transient }
}
