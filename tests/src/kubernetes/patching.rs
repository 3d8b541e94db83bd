//! PATCH: merge, JSON, strategic (treated as merge), and server-side apply.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::decode::{Decoded, check, parse};
use super::failure::{Cause, Failure};
use super::json_patch::json_patch;
use super::json_path::text;
use super::registry::{Answer, Body};
use super::request::RequestInfo;
use super::resource::{Key, Resource};
use super::world::World;

impl World {
    /// PATCH.
    pub(crate) fn api_patch(&mut self, request: &RequestInfo, resource: Resource, body: &Body<'_>) -> Result<Answer, Failure> {
        let key = request.key(resource);
        let media = body.content_type.split(';').next().unwrap_or_default().trim();
        if media == "application/apply-patch+yaml" {
            return self.apply(request, &key, body);
        }
        let is_json_patch = media == "application/json-patch+json";
        if !is_json_patch && !matches!(media, "application/merge-patch+json" | "application/strategic-merge-patch+json") {
            return Err(Failure::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_details(json!({})));
        }
        let patch = parse(resource.kind(), body.bytes)?;
        let old = self.get(&key).ok_or_else(|| Failure::not_found(&key))?;
        let mut new = (*old).clone();
        if is_json_patch {
            json_patch(&mut new, &patch).map_err(|()| {
                let message = "the server rejected our request due to an error in our request";
                Failure::new(422, "Invalid", message).with_details(json!({}))
            })?;
        } else {
            merge(&mut new, &patch);
        }
        // A patch that names a resourceVersion wants that one; else the newest is meant.
        let decoded = check(resource, new, request.parameter("fieldValidation"))?;
        self.change_object(request, &key, decoded)
    }

    /// Server-side apply: leaf fields have one manager, and only `force` takes them over.
    fn apply(&mut self, request: &RequestInfo, key: &Key, body: &Body<'_>) -> Result<Answer, Failure> {
        let manager = request.parameter("fieldManager");
        if manager.is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Failure::invalid_options("PatchOptions", cause));
        }
        let applied = parse(key.resource.kind(), body.bytes)?;
        let fields = leaf_fields(&applied);
        let Some(old) = self.get(key) else {
            return self.apply_new(request, key, &applied, fields);
        };
        let owners = self.field_owners.get(key).cloned().unwrap_or_default();
        if request.parameter("force") != "true" {
            refuse_conflicts(&old, manager, &owners, &fields)?;
        }
        let mut new = (*old).clone();
        merge(&mut new, &applied);
        let decoded = check(key.resource, new, request.parameter("fieldValidation"))?;
        let answer = self.change_object(request, key, decoded)?;
        self.own_fields(key, manager, fields);
        Ok(answer)
    }

    fn apply_new(
        &mut self,
        request: &RequestInfo,
        key: &Key,
        applied: &Value,
        fields: BTreeMap<String, Value>,
    ) -> Result<Answer, Failure> {
        let uid = text(applied, "/metadata/uid");
        if !uid.is_empty() {
            return Err(Failure::uid_mismatch(key, uid));
        }
        let decoded: Decoded = check(key.resource, applied.clone(), request.parameter("fieldValidation"))?;
        let answer = self.create_object(request, key.resource, decoded)?;
        self.own_fields(key, request.parameter("fieldManager"), fields);
        Ok(answer)
    }

    fn own_fields(&mut self, key: &Key, manager: &str, fields: BTreeMap<String, Value>) {
        let owners = self.field_owners.entry(key.clone()).or_default();
        for path in fields.into_keys() {
            owners.insert(path, manager.to_owned());
        }
    }
}

fn refuse_conflicts(
    old: &Value,
    manager: &str,
    owners: &BTreeMap<String, String>,
    fields: &BTreeMap<String, Value>,
) -> Result<(), Failure> {
    let current = leaf_fields(old);
    let conflicts: Vec<_> = fields
        .iter()
        .filter_map(|(path, value)| {
            let owner = owners.get(path).filter(|owner| *owner != manager)?;
            (current.get(path) != Some(value)).then_some((path, owner))
        })
        .collect();
    let Some((path, owner)) = conflicts.first() else { return Ok(()) };
    let causes: Vec<_> = conflicts
        .iter()
        .map(|(path, owner)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with \"{owner}\""), "field": path})
        })
        .collect();
    let message = match conflicts.len() {
        1 => format!("Apply failed with 1 conflict: conflict with \"{owner}\": {path}"),
        count => format!("Apply failed with {count} conflicts: conflicts with \"{owner}\""),
    };
    Err(Failure::new(409, "Conflict", message).with_details(json!({"causes": causes})))
}

/// The fields an apply owns: labels and annotations one by one, everything else down to values and whole lists.
fn leaf_fields(object: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect_leaves(object, "", &mut found);
    for identity in [".kind", ".apiVersion", ".metadata.name", ".metadata.namespace", ".metadata.uid"] {
        found.remove(identity);
    }
    found.remove(".metadata.resourceVersion");
    found
}

fn collect_leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect_leaves(value, &format!("{path}.{key}"), found);
            }
        }
        leaf => drop(found.insert(path.to_owned(), leaf.clone())),
    }
}

/// RFC 7386: null removes, objects merge, everything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let target = super::json_path::fields(target);
    for (key, change) in changes {
        if change.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), change);
        }
    }
}
