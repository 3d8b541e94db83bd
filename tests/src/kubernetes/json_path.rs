//! Short readers and writers for JSON objects by pointer (`/metadata/name`).

use serde_json::{Map, Value, json};

/// The text at a pointer, or "".
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a pointer.
pub(crate) fn int(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// Whether there is `true` at a pointer.
pub(crate) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The list at a pointer, or an empty one.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether something other than null is there.
pub(crate) fn has(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).is_some_and(|found| !found.is_null())
}

/// The object under `key`, made when missing.
pub(crate) fn object<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let fields = fields(value);
    let child = fields.entry(key).or_insert_with(|| json!({}));
    self::fields(child)
}

/// The value as an object; anything else becomes an empty one.
pub(crate) fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("made an object just above"),
    }
}

/// Sets `path` (keys, outermost first), making parents.
pub(crate) fn set(value: &mut Value, path: &[&str], new: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut here = value;
    for key in parents {
        here = fields(here).entry(*key).or_insert_with(|| json!({}));
    }
    fields(here).insert((*last).to_owned(), new);
}

/// Sets `path` only where nothing is.
pub(crate) fn default(value: &mut Value, path: &[&str], new: Value) {
    let pointer = format!("/{}", path.join("/"));
    if !has(value, &pointer) {
        set(value, path, new);
    }
}

/// Removes `path`.
pub(crate) fn remove(value: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut here = value;
    for key in parents {
        match here.get_mut(*key) {
            Some(child) => here = child,
            None => return,
        }
    }
    if let Some(fields) = here.as_object_mut() {
        fields.remove(*last);
    }
}

/// The finalizers of an object.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    list(object, "/metadata/finalizers").iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Replaces the finalizers; an empty list is left out.
pub(crate) fn set_finalizers(object: &mut Value, names: &[String]) {
    if names.is_empty() {
        remove(object, &["metadata", "finalizers"]);
    } else {
        set(object, &["metadata", "finalizers"], json!(names));
    }
}

/// Whether the object is being deleted.
pub(crate) fn is_deleting(object: &Value) -> bool {
    has(object, "/metadata/deletionTimestamp")
}

/// Now, as the API server writes times: whole seconds.
pub(crate) fn timestamp() -> String {
    timestamp_in(0)
}

/// The time `seconds` from now.
pub(crate) fn timestamp_in(seconds: i64) -> String {
    let at = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
