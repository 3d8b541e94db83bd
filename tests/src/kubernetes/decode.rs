//! Request bodies: media types, JSON, known fields, types. The refusals are worded as recorded.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;
use super::resource::Resource;

/// A body that decoded: the object as the API's types know it, and the warnings about what they do not.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

/// The integers of a Job spec, for the decoder's own words about a wrong type.
const JOB_INTEGERS: [(&str, &str); 5] = [
    ("parallelism", "int32"),
    ("completions", "int32"),
    ("backoffLimit", "int32"),
    ("ttlSecondsAfterFinished", "int32"),
    ("activeDeadlineSeconds", "int64"),
];

/// Decodes the body of a POST or PUT.
pub(crate) fn decode(resource: Resource, content_type: &str, body: &[u8], mode: &str) -> Result<Decoded, Failure> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !matches!(media, "" | "application/json") {
        return Err(Failure::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ));
    }
    let object = parse(resource.kind(), body)?;
    check(resource, object, mode)
}

/// Parses JSON.
pub(crate) fn parse(kind: &str, body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let (what, shown) = match body {
            [] => ("unexpected end of JSON input".to_owned(), "<empty>".to_owned()),
            _ => (json_error(body, &error), String::from_utf8_lossy(body).into_owned()),
        };
        Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {what} ({shown})"
        ))
    })
}

fn json_error(body: &[u8], error: &serde_json::Error) -> String {
    let letter = body.get(error.column().saturating_sub(1)).map_or(' ', |byte| char::from(*byte));
    let wanted = if error.to_string().starts_with("key must be a string") { "object key string" } else { "value" };
    format!("invalid character '{letter}' looking for beginning of {wanted}")
}

/// Puts an object through the API's types: unknown fields go, with a warning or (Strict) a refusal.
pub(crate) fn check(resource: Resource, mut object: Value, mode: &str) -> Result<Decoded, Failure> {
    super::json_path::set(&mut object, &["kind"], resource.kind().into());
    super::json_path::set(&mut object, &["apiVersion"], resource.api_version().into());
    let typed = match resource {
        Resource::Jobs => typed::<Job>(resource, &object)?,
        Resource::Pods => typed::<Pod>(resource, &object)?,
        Resource::Events | Resource::Nodes | Resource::PodDisruptionBudgets => object.clone(),
    };
    let mut unknown = Vec::new();
    unknown_fields(&object, &typed, "", &mut unknown);
    let problems: Vec<_> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if mode == "Strict" && !problems.is_empty() {
        let kind = resource.kind();
        return Err(Failure::bad_request(format!(
            "{kind} in version \"v1\" cannot be handled as a {kind}: strict decoding error: {}",
            problems.join(", ")
        )));
    }
    let warnings = if mode == "Ignore" { Vec::new() } else { problems };
    Ok(Decoded { object: typed, warnings })
}

fn typed<T: Serialize + DeserializeOwned>(resource: Resource, object: &Value) -> Result<Value, Failure> {
    let decoded = T::deserialize(object).and_then(serde_json::to_value);
    decoded.map_err(|error| {
        let kind = resource.kind();
        let what = wrong_integer(object).unwrap_or_else(|| error.to_string());
        Failure::bad_request(format!("{kind} in version \"v1\" cannot be handled as a {kind}: {what}"))
    })
}

fn wrong_integer(object: &Value) -> Option<String> {
    JOB_INTEGERS.iter().find_map(|(field, kind)| {
        let found = match object.pointer(&format!("/spec/{field}"))? {
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Null | Value::Number(_) => return None,
        };
        Some(format!("json: cannot unmarshal {found} into Go struct field JobSpec.spec.{field} of type {kind}"))
    })
}

fn unknown_fields(given: &Value, known: &Value, path: &str, found: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(known) => unknown_fields(value, known, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                unknown_fields(given, known, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}
