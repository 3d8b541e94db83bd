//! Links to files that work without a key until they expire: signed by the bucket's own means where it has them (GCS, S3), and by this API
//! for a folder.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bot_store::clock;
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Scope, Viewer};
use crate::audit::{self, Entry};
use crate::input::{Body, Params};
use crate::problem::{Kind, Problem, invalid};
use crate::recordings::{file_of, given};
use crate::state::Api;

/// Seconds that a link works where nothing is said, and at most: what Google and Amazon allow.
const LASTS: (u32, u32) = (900, 7 * 24 * 3600);

/// What signs the links to files in a folder; without one (there was no randomness) none is made, and none opened.
#[derive(Debug)]
pub(crate) struct LinkKey(Option<hmac::Key>);

impl LinkKey {
    /// From `API_LINK_SECRET`, or at random: then a link ends with this process.
    pub(crate) fn new(secret: Option<&str>) -> Self {
        let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let at_random = || {
            let mut random = [0_u8; 32];
            getrandom::fill(&mut random).ok().map(|()| key(&random))
        };
        Self(secret.map(|secret| key(secret.as_bytes())).or_else(at_random))
    }

    fn signature(&self, text: &str) -> Option<String> {
        Some(BASE64URL_NOPAD.encode(hmac::sign(self.0.as_ref()?, text.as_bytes()).as_ref()))
    }

    fn is_of(&self, text: &str, signature: &str) -> bool {
        let (Some(key), Ok(signature)) = (&self.0, BASE64URL_NOPAD.decode(signature.as_bytes())) else { return false };
        hmac::verify(key, text.as_bytes(), &signature).is_ok()
    }
}

/// How long a link shall work.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    /// Seconds, 1 to 604800; 900 if absent.
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in_seconds: Option<u32>,
}

/// A link to a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Link {
    /// Opens the file for whoever has it, in ranges too.
    url: String,
    /// From then on it opens nothing.
    expires_at: DateTime<Utc>,
    /// Size of the file.
    bytes: u64,
    /// Castagnoli checksum of the file, eight hex digits.
    crc32c: String,
}

/// Make a link to a file
///
/// It needs no key, and cannot be taken back: whoever has it has the file until it expires. In a bucket of Google's or Amazon's it leads there. For a
/// folder it leads to this API, and `url` is relative to its address.
#[utoipa::path(post, path = "/v1/bots/{id}/artifacts/{name}/link", tag = "recordings", request_body = NewLink,
    params(("id" = String, Path, description = "The bot"), ("name" = String, Path, description = "As the list of files has it")),
    responses((status = 201, body = Link, description = "The link")))]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path((id, name)): Path<(String, String)>,
    Body(new): Body<NewLink>,
) -> Result<Response, Problem> {
    let lasts = new.expires_in_seconds.unwrap_or(LASTS.0);
    if !(1..=LASTS.1).contains(&lasts) {
        return Err(invalid(vec![format!("expires_in_seconds wants 1 to {}", LASTS.1)]));
    }
    let (bot, file) = file_of(&api, &who.principal.scope, &id, |file| file.file_name() == name).await?;
    let organization = &bot.facts.creator_organization_id;
    let entry = Entry { action: "artifact.link", target: bot.id.as_str(), organization, request_id: &who.request_id };
    audit::note(api.store(), &who.principal, &entry).await?;
    let expires_at = clock::now() + TimeDelta::seconds(lasts.into());
    let objects = api.objects().await?;
    let object = objects.name_of(&file.object).ok_or_else(|| {
        Problem::new(Kind::NotFound, "the file does not lie in the bucket that this controller is configured for")
    })?;
    let url = match Box::pin(objects.signed_url(object, Duration::from_secs(lasts.into()))).await? {
        Some(url) => url,
        None => own_link(&api.link_key, bot.id.as_str(), file.name.file_name(), expires_at)
            .ok_or_else(|| Problem::new(Kind::Internal, "this machine gives no randomness: set API_LINK_SECRET"))?,
    };
    Ok((StatusCode::CREATED, Json(Link { url, expires_at, bytes: file.bytes, crc32c: file.crc32c })).into_response())
}

fn own_link(key: &LinkKey, bot: &str, name: &str, expires_at: DateTime<Utc>) -> Option<String> {
    let expires = expires_at.timestamp();
    let signature = key.signature(&signed_text(bot, name, expires))?;
    let bot = url_segment(bot);
    Some(format!("/v1/links/{bot}/{name}?expires={expires}&signature={signature}"))
}

fn signed_text(bot: &str, name: &str, expires: i64) -> String {
    // The lengths keep two pairs from having one text.
    format!("{}:{bot}/{}:{name}/{expires}", bot.len(), name.len())
}

/// An id may hold what has a meaning in an address.
fn url_segment(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What a link carries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    /// Seconds since 1970.
    expires: i64,
    /// Of this API.
    signature: String,
}

/// Open a link
///
/// Of this API's own making, for files in a folder: no key is needed. Ranges as in a download.
#[utoipa::path(get, path = "/v1/links/{id}/{name}", tag = "recordings",
    params(("id" = String, Path, description = "The bot"), ("name" = String, Path, description = "The file"), Signed),
    responses((status = 200, description = "The whole file", content_type = "application/octet-stream"),
        (status = 206, description = "The range", content_type = "application/octet-stream"),
        (status = 304, description = "It is what If-None-Match names")))]
pub(crate) async fn open(
    State(api): State<Arc<Api>>,
    Path((id, name)): Path<(String, String)>,
    Params(signed): Params<Signed>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_ours = api.link_key.is_of(&signed_text(&id, &name, signed.expires), &signed.signature);
    if !is_ours || clock::now().timestamp() >= signed.expires {
        return Err(Problem::new(Kind::Forbidden, "the link has expired, or is not one of ours"));
    }
    let (_, file) = file_of(&api, &Scope::All, &id, |file| file.file_name() == name).await?;
    given(&api, &file, &method, &headers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_of_its_own_file_and_time_alone() {
        let key = LinkKey::new(Some("secret"));
        let signature = key.signature(&signed_text("b", "video.mp4", 7)).unwrap();
        assert!(key.is_of(&signed_text("b", "video.mp4", 7), &signature));
        for (bot, name, expires) in
            [("c", "video.mp4", 7), ("b", "audio.m4a", 7), ("b", "video.mp4", 8), ("b/9:video.mp4", "", 7)]
        {
            assert!(!key.is_of(&signed_text(bot, name, expires), &signature));
        }
        assert!(!LinkKey::new(Some("other")).is_of(&signed_text("b", "video.mp4", 7), &signature));
        assert!(!LinkKey::new(None).is_of(&signed_text("b", "video.mp4", 7), &LinkKey::new(None).signature("x").unwrap()));
        assert_eq!(url_segment("a/ä b"), "a%2F%C3%A4%20b");
    }
}
