//! Lists: selectors, pages, resourceVersion semantics.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, Encoding};
use serde_json::{Value, json};

use super::failure::Failure;
use super::registry::Answer;
use super::request::RequestInfo;
use super::resource::{Key, Resource};
use super::selector::Selector;
use super::world::World;

/// The remainder of a list whose first page is forgotten (recorded).
const INCONSISTENT: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// A place in a list: a resourceVersion (-1 for now) and the key to start behind.
#[derive(Debug)]
struct Place {
    version: i64,
    start: String,
}

impl Place {
    fn parse(token: &str) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = lenient_base64()
            .and_then(|base64| base64.decode(token.as_bytes()).ok())
            .ok_or_else(|| wrong("illegal base64 data".to_owned()))?;
        let parsed: Value = serde_json::from_slice(&bytes).map_err(|_| {
            let first = bytes.first().copied().unwrap_or_default();
            let shown = if first.is_ascii_graphic() { char::from(first).to_string() } else { format!("\\x{first:02x}") };
            wrong(format!("invalid character '{shown}' looking for beginning of value"))
        })?;
        let start = parsed["start"].as_str().unwrap_or_default();
        Ok(Self {
            version: parsed["rv"].as_i64().unwrap_or(-1),
            start: start.trim_start_matches('/').trim_end_matches('\0').to_owned(),
        })
    }

    fn token(version: i64, start: &str) -> String {
        let body = format!("{{\"v\":\"meta.k8s.io/v1\",\"rv\":{version},\"start\":\"{start}\\u0000\"}}");
        BASE64URL_NOPAD.encode(body.as_bytes())
    }
}

/// Base64 as the server reads it: left-over bits are nobody's business.
fn lenient_base64() -> Option<Encoding> {
    let mut specification = BASE64URL_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification.encoding().ok()
}

/// Reads a resourceVersion; anything but a number is the server's own error (recorded: 500).
pub(crate) fn parse_version(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        Failure::new(
            500,
            "",
            format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"),
        )
    })
}

/// The version they are of, the objects, and the place to start behind.
type Picture = (u64, BTreeMap<Key, Arc<Value>>, String);

impl World {
    /// GET of a collection.
    pub(crate) fn api_list(&self, request: &RequestInfo, resource: Resource) -> Result<Answer, Failure> {
        let selector = Selector::parse(resource, request.parameter("labelSelector"), request.parameter("fieldSelector"))?;
        let namespace = request.namespace.as_deref();
        let (version, objects, start) = self.list_source(request, resource, namespace)?;
        let limit = request.parameter("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let place = |key: &Key| {
            if namespace.is_some() { key.name.clone() } else { format!("{}/{}", key.namespace, key.name) }
        };
        let mut left = objects.iter().filter(|(key, object)| place(key).as_str() > start.as_str() && selector.matches(object));
        let mut items = Vec::new();
        let mut last = String::new();
        for (key, object) in left.by_ref().take(limit) {
            items.push(list_item(object));
            last = place(key);
        }
        let remaining = left.count();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if remaining > 0 {
            let version = i64::try_from(version).unwrap_or(-1);
            metadata["continue"] = json!(Place::token(version, &format!("/{last}")));
            if selector.is_empty() {
                metadata["remainingItemCount"] = json!(remaining);
            }
        }
        let kind = format!("{}List", resource.kind());
        let body = json!({"kind": kind, "apiVersion": resource.api_version(), "metadata": metadata, "items": items});
        Ok(Answer::new(200, body))
    }

    /// The objects to list, the version they are of, and the place to start behind.
    fn list_source(&self, request: &RequestInfo, resource: Resource, namespace: Option<&str>) -> Result<Picture, Failure> {
        let current = self.store.version();
        let token = request.parameter("continue");
        if !token.is_empty() {
            let place = Place::parse(token)?;
            let version = u64::try_from(place.version).unwrap_or(current);
            if version < self.store.compacted() {
                let mut failure = Failure::too_old(INCONSISTENT);
                failure.next = Some(Place::token(-1, &place.start));
                return Err(failure);
            }
            return Ok((version, self.store.at(version, resource, namespace), place.start));
        }
        let asked = request.parameter("resourceVersion");
        let version = if asked.is_empty() { 0 } else { parse_version(asked)? };
        if version > current {
            return Err(too_large(version, current));
        }
        if request.parameter("resourceVersionMatch") == "Exact" {
            if version < self.store.compacted() {
                return Err(Failure::too_old("The resourceVersion for the provided list is too old."));
            }
            return Ok((version, self.store.at(version, resource, namespace), String::new()));
        }
        let objects = self.store.list(resource, namespace).map(|(key, object)| (key.clone(), object.clone())).collect();
        Ok((current, objects, String::new()))
    }
}

/// Items of a list carry neither kind nor apiVersion (recorded).
fn list_item(object: &Value) -> Value {
    let mut item = object.clone();
    let fields = super::json_path::fields(&mut item);
    fields.remove("kind");
    fields.remove("apiVersion");
    item
}

/// A resourceVersion that is yet to come; the server answers after 3 s.
fn too_large(version: u64, current: u64) -> Failure {
    let message = format!("Timeout: Too large resource version: {version}, current: {current}");
    Failure::new(504, "Timeout", message)
        .with_details(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        }))
        .retry_after(1)
}
