//! A recorded scenario: its requests, and how recorded and replayed answers are made comparable.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Value, json};

/// One recorded request.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) index: usize,
    pub(crate) line: Value,
}

/// Where the recordings are.
pub(crate) fn folder(scenario: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings/kubernetes").join(scenario)
}

/// The lines of a JSON-lines file.
pub(crate) fn json_lines(scenario: &str, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder(scenario).join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The requests of a scenario in the order they were sent.
pub(crate) fn requests(scenario: &str) -> Vec<Recorded> {
    let lines = json_lines(scenario, "requests.jsonl");
    let mut requests: Vec<_> = lines.into_iter().enumerate().map(|(index, line)| Recorded { index, line }).collect();
    requests.sort_by(|a, b| a.text("t").cmp(b.text("t")));
    requests
}

impl Recorded {
    pub(crate) fn text(&self, field: &str) -> &str {
        self.line[field].as_str().unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u64 {
        self.line["status"].as_u64().unwrap()
    }

    /// Whether it is a watch whose events were recorded.
    pub(crate) fn is_watch(&self) -> bool {
        self.line["query"]["watch"] == "1"
    }

    /// The body that was sent, written out in full.
    pub(crate) fn body(&self, first: &Value) -> Option<String> {
        if let Some(raw) = self.line["requestRaw"].as_str() {
            return Some(raw.to_owned());
        }
        let body = self.line.get("requestBody").filter(|body| !body.is_null())?;
        Some(expand(body, first).to_string())
    }
}

/// Writes out a body that was recorded as its difference from the first of its file.
pub(crate) fn expand(body: &Value, first: &Value) -> Value {
    if let Some(difference) = body.get("differsFromFirstRequestOfThisFile") {
        let mut full = first.clone();
        differ(&mut full, difference);
        drop_replaced_values(&mut full);
        return full;
    }
    let Some(except) = body.get("sameAsFirstExcept") else { return body.clone() };
    let mut full = first.clone();
    full["metadata"] = body["metadata"].clone();
    full["spec"]["template"]["metadata"]["labels"] = body["metadata"]["labels"].clone();
    let spec = &mut full["spec"]["template"]["spec"];
    spec["tolerations"] = except["tolerations"].clone();
    spec["containers"][0]["command"] = except["mainCommand"].clone();
    spec["containers"][0]["env"][0]["value"] = body["metadata"]["name"].clone();
    full["spec"]["activeDeadlineSeconds"] = except["activeDeadlineSeconds"].clone();
    if except["podFailurePolicy"] == false {
        full["spec"].as_object_mut().unwrap().remove("podFailurePolicy");
    }
    full
}

/// A variable that came to have a source has no value any more; the recorded difference does not say so.
fn drop_replaced_values(job: &mut Value) {
    let variables = job.pointer_mut("/spec/template/spec/containers/0/env").and_then(Value::as_array_mut);
    for variable in variables.into_iter().flatten().filter_map(Value::as_object_mut) {
        if variable.contains_key("valueFrom") {
            variable.remove("value");
        }
    }
}

fn differ(target: &mut Value, difference: &Value) {
    match difference {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in fields {
                if value == "(absent)" {
                    target.as_object_mut().unwrap().remove(key);
                } else {
                    differ(&mut target[key], value);
                }
            }
        }
        Value::Array(items) if items.iter().all(Value::is_object) && target.is_array() => {
            let list = target.as_array_mut().unwrap();
            list.resize(items.len(), Value::Null);
            for (target, item) in list.iter_mut().zip(items) {
                differ(target, item);
            }
        }
        other => *target = other.clone(),
    }
}

/// What recorded identifiers are in the replay: uids, resourceVersions, continue tokens, pod names.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, String>);

impl Names {
    pub(crate) fn learn(&mut self, recorded: &Value, replayed: &Value) {
        for pointer in ["/metadata/uid", "/metadata/resourceVersion", "/metadata/continue", "/metadata/name", "/details/uid"] {
            if let (Some(recorded), Some(replayed)) =
                (recorded.pointer(pointer).and_then(Value::as_str), replayed.pointer(pointer).and_then(Value::as_str))
            {
                self.0.insert(recorded.to_owned(), replayed.to_owned());
            }
        }
        let (items, theirs) = (&recorded["items"], &replayed["items"]);
        for (recorded, replayed) in items.as_array().into_iter().flatten().zip(theirs.as_array().into_iter().flatten()) {
            self.learn(recorded, replayed);
        }
    }

    pub(crate) fn set(&mut self, recorded: &str, replayed: &str) {
        self.0.insert(recorded.to_owned(), replayed.to_owned());
    }

    pub(crate) fn get<'a>(&'a self, recorded: &'a str) -> &'a str {
        self.0.get(recorded).map_or(recorded, String::as_str)
    }

    /// Replaces the longer identifiers (uids, pod names) in a text, and quoted resourceVersions.
    pub(crate) fn translate(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, replayed) in &self.0 {
            if recorded.len() >= 36 {
                text = text.replace(recorded, replayed);
            } else if recorded.bytes().all(|byte| byte.is_ascii_digit()) {
                text = text.replace(&format!("\"{recorded}\""), &format!("\"{replayed}\""));
            }
        }
        text
    }
}

/// Makes an answer comparable: identifiers, times and numbers that differ from run to run become placeholders.
pub(crate) fn comparable(value: &Value, recorded: &Value) -> Value {
    let mut value = value.clone();
    strip(&mut value, recorded);
    blur(&mut value, "");
    value
}

/// Leaves out what the recording left out.
fn strip(value: &mut Value, recorded: &Value) {
    let left_out = |name: &str| recorded.get(name).is_some();
    if let Some(fields) = value.as_object_mut()
        && (left_out("specUnchanged") || left_out("specOmitted"))
    {
        for field in ["spec", "specUnchanged", "specOmitted"] {
            fields.remove(field);
        }
    }
    if let (Some(items), Some(theirs)) = (value.get_mut("items").and_then(Value::as_array_mut), recorded["items"].as_array()) {
        for (item, theirs) in items.iter_mut().zip(theirs) {
            strip(item, theirs);
        }
    }
}

/// Fields of a pod's and a container's status that the stub has no counterpart for, or that are a run's own.
pub(crate) const POD_STATUS_FIELDS: [&str; 8] =
    ["allocatedResources", "resources", "volumeMounts", "imageID", "podIP", "podIPs", "hostIP", "hostIPs"];

fn blur(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove("managedFields");
            fields.remove("containerID");
            if fields.contains_key("hostIP") || fields.contains_key("restartCount") {
                for field in POD_STATUS_FIELDS {
                    fields.remove(field);
                }
            }
            for (key, value) in fields.iter_mut() {
                blur(value, key);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blur(item, key)),
        Value::String(text) => *text = blurred(text, key),
        _ => {}
    }
}

fn blurred(text: &str, key: &str) -> String {
    if matches!(key, "resourceVersion" | "continue" | "storageVersionHash") {
        return format!("<{key}>");
    }
    let mut text = text.to_owned();
    if key == "message" && text.len() > 1_000 {
        // The internal form of a whole pod spec, which the server prints when it is changed.
        if let (Some(from), Some(to)) = (text.find('{'), text.rfind('}')) {
            text.replace_range(from..=to, "<object>");
        }
    }
    let text = blur_suffixes(&blur_uids(&text));
    if is_time(&text) {
        return "<time>".to_owned();
    }
    if key == "message" { blur_numbers(&text) } else { text }
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 20 && bytes[10] == b'T' && bytes[19] == b'Z' && bytes[4] == b'-'
}

fn blur_uids(text: &str) -> String {
    let is_uid = |part: &str| {
        part.len() == 36
            && part.char_indices().all(|(at, letter)| match at {
                8 | 13 | 18 | 23 => letter == '-',
                _ => letter.is_ascii_hexdigit(),
            })
    };
    let (mut result, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        if rest.get(..36).is_some_and(is_uid) {
            result.push_str("<uid>");
            rest = &rest[36..];
        } else {
            let letter = rest.chars().next().unwrap();
            result.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    result
}

/// The five letters at the end of a generated name.
fn blur_suffixes(text: &str) -> String {
    let words = text.split_inclusive([' ', '/', '_', '"']);
    let blurred = words.map(|word| {
        let name = word.trim_end_matches([' ', '/', '_', '"']);
        match name.rsplit_once('-') {
            Some((base, end)) if end.len() == 5 && end.chars().all(|letter| "bcdfghjklmnpqrstvwxz2456789".contains(letter)) => {
                format!("{base}-<suffix>{}", &word[name.len()..])
            }
            _ => word.to_owned(),
        }
    });
    blurred.collect()
}

/// Runs of three digits or more are resourceVersions.
fn blur_numbers(text: &str) -> String {
    let (mut result, mut digits) = (String::new(), String::new());
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let number = std::mem::take(&mut digits);
        result.push_str(if number.len() >= 3 { "<number>" } else { &number });
        if letter != '\0' {
            result.push(letter);
        }
    }
    result
}

/// The differences between two values, as paths.
pub(crate) fn differences(recorded: &Value, replayed: &Value, path: &str, found: &mut Vec<String>) {
    match (recorded, replayed) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                differences(&recorded[key], &replayed[key], &format!("{path}/{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{path}/{index}"), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: recorded {a}, replayed {b}")),
    }
}
