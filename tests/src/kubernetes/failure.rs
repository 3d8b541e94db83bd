//! What the API server answers when it refuses: a `Status` object, worded as recorded.

use serde_json::{Value, json};

use super::resource::{Key, Resource};

/// A refusal.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    /// `metadata.continue` of the 410 of an old continue token.
    pub(crate) next: Option<String>,
    pub(crate) retry_after: Option<u32>,
}

/// One field that is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    pub(crate) fn invalid(field: &str, value: &Value, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {why}"), field: field.to_owned() }
    }

    pub(crate) fn required(field: &str, why: &str) -> Self {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", message, field: field.to_owned() }
    }

    pub(crate) fn forbidden(field: &str, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.to_owned() }
    }

    pub(crate) fn not_supported(field: &str, value: &Value, allowed: &[&str]) -> Self {
        let allowed: Vec<_> = allowed.iter().map(|name| format!("\"{name}\"")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", allowed.join(", "));
        Self { reason: "FieldValueNotSupported", message, field: field.to_owned() }
    }

    fn line(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, next: None, retry_after: None }
    }

    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    fn about(key: &Key) -> Value {
        object_details(&key.name, key.resource.group(), key.resource.plural())
    }

    pub(crate) fn not_found(key: &Key) -> Self {
        let message = format!("{} \"{}\" not found", key.resource.qualified(), key.name);
        Self::new(404, "NotFound", message).with_details(Self::about(key))
    }

    pub(crate) fn no_namespace(name: &str) -> Self {
        Self::new(404, "NotFound", format!("namespaces \"{name}\" not found")).with_details(object_details(
            name,
            "",
            "namespaces",
        ))
    }

    /// No such group, version or resource.
    pub(crate) fn no_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(json!({}))
    }

    pub(crate) fn already_exists(key: &Key, is_deleting: bool) -> Self {
        let prefix = if is_deleting { "object is being deleted: " } else { "" };
        let message = format!("{prefix}{} \"{}\" already exists", key.resource.qualified(), key.name);
        Self::new(409, "AlreadyExists", message).with_details(Self::about(key))
    }

    pub(crate) fn modified(key: &Key) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
            key.resource.qualified(),
            key.name
        );
        Self::new(409, "Conflict", message).with_details(Self::about(key))
    }

    pub(crate) fn uid_mismatch(key: &Key, uid: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": uid mismatch: the provided object specified uid {uid}, and no existing object was found",
            key.resource.qualified(),
            key.name
        );
        Self::new(409, "Conflict", message).with_details(Self::about(key))
    }

    /// A precondition of a delete does not hold. The details name the kind, not the resource.
    pub(crate) fn precondition(key: &Key, what: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{}\": {what}", key.resource.qualified_kind(), key.name);
        Self::new(409, "Conflict", message).with_details(object_details(&key.name, key.resource.group(), key.resource.kind()))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn invalid(resource: Resource, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_kind(&resource.qualified_kind(), name, resource.group(), resource.kind(), causes)
    }

    /// Options of a request are wrong: `DeleteOptions.meta.k8s.io "" is invalid`.
    pub(crate) fn invalid_options(kind: &str, cause: Cause) -> Self {
        Self::invalid_kind(&format!("{kind}.meta.k8s.io"), "", "meta.k8s.io", kind, &[cause])
    }

    fn invalid_kind(qualified: &str, name: &str, group: &str, kind: &str, causes: &[Cause]) -> Self {
        // A repeated problem is listed once in the message and each time in the causes (recorded: a patch of the uid).
        let mut lines = Vec::new();
        for line in causes.iter().map(Cause::line) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let what = if let [one] = lines.as_slice() { one.clone() } else { format!("[{}]", lines.join(", ")) };
        let causes: Vec<_> =
            causes.iter().map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field})).collect();
        let mut details = object_details(name, group, kind);
        details["causes"] = json!(causes);
        Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {what}")).with_details(details)
    }

    pub(crate) fn too_old(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The `Status` object.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        if let Some(seconds) = self.retry_after {
            body["details"]["retryAfterSeconds"] = json!(seconds);
        }
        if let Some(next) = &self.next {
            body["metadata"]["continue"] = json!(next);
        }
        body
    }
}

/// `{name, group, kind}` without what is empty.
pub(crate) fn object_details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = json!({"kind": kind});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    details
}
