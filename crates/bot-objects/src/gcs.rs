//! Google Cloud Storage, by Google's own crate: resumable, crc32c checked end to end.
//!
//! The crate lists objects over gRPC only; listing and deleting go over the JSON API here, with the
//! crate's credentials. `STORAGE_EMULATOR_HOST` names a local server without credentials, for tests.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use google_cloud_auth::credentials::{CacheableResource, Credentials, anonymous};
use google_cloud_storage::Error as GoogleError;
use google_cloud_storage::builder::storage::SignedUrlBuilder;
use google_cloud_storage::client::Storage;
use google_cloud_storage::model_ext::ReadRange;
use serde::Deserialize;

use super::{ByteStream, Head, Label, ObjectError, Put, permanent};

/// A bucket, and what it takes to reach it.
#[derive(Debug, Clone)]
pub struct Gcs {
    storage: Storage,
    credentials: Credentials,
    http: reqwest::Client,
    endpoint: String,
    bucket: String,
    prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    items: Vec<Item>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    /// Some stand-ins of Google's server do not tell.
    #[serde(default)]
    time_created: DateTime<Utc>,
}

impl Gcs {
    /// Opens `{bucket}[/{prefix}]` with Application Default Credentials.
    pub(super) async fn open(place: &str) -> Result<Self, ObjectError> {
        let (bucket, prefix) = place.trim_end_matches('/').split_once('/').unwrap_or((place.trim_end_matches('/'), ""));
        let emulator = std::env::var("STORAGE_EMULATOR_HOST").ok().filter(|host| !host.is_empty());
        let (endpoint, credentials) = match emulator {
            Some(host) if host.contains("://") => (host, anonymous::Builder::new().build()),
            Some(host) => (format!("http://{host}"), anonymous::Builder::new().build()),
            None => {
                let found = google_cloud_auth::credentials::Builder::default().build();
                let missing = |error| {
                    permanent(
                        "open",
                        format!(
                            "no Google credentials: {error} (on GKE: Workload Identity; else gcloud auth application-default login)"
                        ),
                    )
                };
                ("https://storage.googleapis.com".to_owned(), found.map_err(missing)?)
            }
        };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let storage = Storage::builder().with_endpoint(endpoint.clone()).with_credentials(credentials.clone()).build().await;
        Ok(Self {
            storage: storage.map_err(|error| permanent("open", error.to_string()))?,
            credentials,
            http: reqwest::Client::new(),
            endpoint,
            bucket: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        })
    }

    pub(super) fn address(&self, name: &str) -> String {
        format!("gs://{}/{}{name}", self.bucket, self.prefix)
    }

    pub(super) async fn put_new(&self, name: &str, bytes: Bytes, label: &Label) -> Result<Put, ObjectError> {
        let written = self
            .storage
            .write_object(self.resource(), self.name(name), bytes)
            .set_if_generation_match(0)
            .set_content_type(label.content_type)
            .with_known_crc32c(label.crc32c)
            .send_unbuffered()
            .await;
        match written {
            Ok(_) => Ok(Put::Created),
            // The name holds the checksum: what is there is what was to be written.
            Err(error) if error.http_status_code() == Some(412) || may_not_replace(&error) => Ok(Put::Exists),
            Err(error) => Err(from_google("put", &error)),
        }
    }

    pub(super) async fn put_over(&self, name: &str, bytes: Bytes, label: &Label) -> Result<(), ObjectError> {
        let request = self.storage.write_object(self.resource(), self.name(name), bytes).set_content_type(label.content_type);
        let request = request.set_cache_control("no-store").with_known_crc32c(label.crc32c);
        request.send_unbuffered().await.map(drop).map_err(|error| from_google("put", &error))
    }

    /// The generation that is there; 0 is none.
    pub(super) async fn generation(&self, name: &str) -> Result<i64, ObjectError> {
        Ok(self.find(name).await?.map_or(0, |(generation, _)| generation))
    }

    /// Creates the object, or replaces exactly this generation.
    pub(super) async fn put_final(&self, name: &str, file: &Path, label: &Label, generation: i64) -> Result<(), ObjectError> {
        let source = tokio::fs::File::open(file).await.map_err(|error| permanent("put", error.to_string()))?;
        let written = self
            .storage
            .write_object(self.resource(), self.name(name), source)
            .set_if_generation_match(generation)
            .set_content_type(label.content_type)
            .set_metadata([("segments-sha256", label.segments_sha256.as_str())])
            .with_known_crc32c(label.crc32c)
            .send_unbuffered()
            .await;
        match written {
            Ok(_) => Ok(()),
            // Another finalizer, or our own try whose answer was lost: the same file is fine.
            Err(error) if error.http_status_code() == Some(412) => match self.find(name).await? {
                Some((_, head)) if head.crc32c == label.crc32c => Ok(()),
                _ => Err(permanent("put", "another writer replaced the object".into())),
            },
            Err(error) => Err(from_google("put", &error)),
        }
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        let mut found = match self.storage.read_object(self.resource(), self.name(name)).send().await {
            Ok(found) => found,
            Err(error) if error.http_status_code() == Some(404) => return Ok(None),
            Err(error) => return Err(from_google("get", &error)),
        };
        let mut bytes = BytesMut::new();
        while let Some(chunk) = found.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| from_google("get", &error))?);
        }
        Ok(Some(bytes.freeze()))
    }

    pub(super) async fn read(&self, name: &str, range: Range<u64>) -> Result<Option<ByteStream>, ObjectError> {
        let part = ReadRange::segment(range.start, range.end.saturating_sub(range.start));
        let found = match self.storage.read_object(self.resource(), self.name(name)).set_read_range(part).send().await {
            Ok(found) => found,
            Err(error) if error.http_status_code() == Some(404) => return Ok(None),
            Err(error) => return Err(from_google("get", &error)),
        };
        let chunks = stream::unfold(found, |mut found| async move {
            let chunk = found.next().await?;
            Some((chunk.map_err(|error| from_google("get", &error)), found))
        });
        Ok(Some(chunks.boxed()))
    }

    /// By the key of the credentials where they hold one, else by IAM's signBlob (the account needs the right to sign as itself).
    pub(super) async fn signed_url(&self, name: &str, lasts: Duration) -> Result<String, ObjectError> {
        let none = |error: &dyn std::fmt::Display| permanent("sign", format!("these credentials cannot sign: {error}"));
        let signer = google_cloud_auth::credentials::Builder::default().build_signer().map_err(|error| none(&error))?;
        let url = SignedUrlBuilder::for_object(self.resource(), self.name(name)).with_expiration(lasts);
        url.with_endpoint(&self.endpoint).sign_with(&signer).await.map_err(|error| none(&error))
    }

    pub(super) async fn head(&self, name: &str) -> Result<Option<Head>, ObjectError> {
        Ok(self.find(name).await?.map(|(_, head)| head))
    }

    pub(super) async fn list(&self, folder: &str, after: &str) -> Result<Vec<(String, DateTime<Utc>)>, ObjectError> {
        let within = self.name(folder);
        let offset = format!("{within}{after}");
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut request = self.http.get(format!("{}/storage/v1/b/{}/o", self.endpoint, self.bucket));
            request = request.query(&[("prefix", within.as_str()), ("fields", "items(name,timeCreated),nextPageToken")]);
            if !after.is_empty() {
                request = request.query(&[("startOffset", offset.as_str())]);
            }
            if let Some(token) = &token {
                request = request.query(&[("pageToken", token)]);
            }
            let page: Listing = self.asked(request).await?;
            names.extend(
                page.items.iter().filter_map(|item| Some((item.name.strip_prefix(&within)?.to_owned(), item.time_created))),
            );
            token = page.next_page_token;
            if token.is_none() {
                return Ok(names);
            }
        }
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let mut url = url::Url::parse(&self.endpoint).map_err(|error| permanent("delete", error.to_string()))?;
        // Pushed as one segment, so that its slashes are encoded.
        url.path_segments_mut().map_err(|()| permanent("delete", "the endpoint has no path".into()))?.pop_if_empty().extend([
            "storage",
            "v1",
            "b",
            &self.bucket,
            "o",
            &self.name(name),
        ]);
        let answer = self.sent("delete", self.http.delete(url)).await?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(());
        }
        answer.error_for_status().map(drop).map_err(|error| from_http("delete", error))
    }

    /// Generation and head of an object, by opening it.
    async fn find(&self, name: &str) -> Result<Option<(i64, Head)>, ObjectError> {
        match self.storage.read_object(self.resource(), self.name(name)).send().await {
            Ok(found) => {
                let object = found.object();
                let crc32c = object.checksums.and_then(|checksums| checksums.crc32c).unwrap_or_default();
                Ok(Some((object.generation, Head { bytes: u64::try_from(object.size).unwrap_or_default(), crc32c })))
            }
            Err(error) if error.http_status_code() == Some(404) => Ok(None),
            Err(error) => Err(from_google("head", &error)),
        }
    }

    async fn asked<T: serde::de::DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ObjectError> {
        let answer = self.sent("list", request).await?.error_for_status().map_err(|error| from_http("list", error))?;
        answer.json().await.map_err(|error| from_http("list", error))
    }

    /// One request of the JSON API, with credentials.
    async fn sent(&self, operation: &'static str, request: reqwest::RequestBuilder) -> Result<reqwest::Response, ObjectError> {
        let denied = |error: google_cloud_auth::errors::CredentialsError| permanent(operation, error.to_string());
        let headers = match self.credentials.headers(http::Extensions::new()).await.map_err(denied)? {
            CacheableResource::New { data, .. } => data,
            CacheableResource::NotModified => http::HeaderMap::new(),
        };
        request.headers(headers).send().await.map_err(|error| from_http(operation, error))
    }

    fn resource(&self) -> String {
        format!("projects/_/buckets/{}", self.bucket)
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn from_http(operation: &'static str, error: reqwest::Error) -> ObjectError {
    let is_transient = error.status().is_none_or(|status| status.is_server_error() || status.as_u16() == 429);
    ObjectError { operation, message: error.without_url().to_string(), is_transient }
}

/// The right to create alone is refused an existing object before its precondition is looked at: replacing one needs the right to
/// delete, which the refusal names.
fn may_not_replace(error: &GoogleError) -> bool {
    error.http_status_code() == Some(403) && error.to_string().contains("storage.objects.delete")
}

fn from_google(operation: &'static str, error: &GoogleError) -> ObjectError {
    let is_transient = match error.http_status_code() {
        Some(code) => code >= 500 || code == 429 || code == 408,
        None => error.is_io() || error.is_timeout() || error.is_connect() || error.is_transport() || error.is_exhausted(),
    };
    ObjectError { operation, message: error.to_string(), is_transient }
}
