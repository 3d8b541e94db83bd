//! The API's reads and writes of single objects, on the locked world.

use serde_json::{Value, json};

use super::decode::{Decoded, decode};
use super::defaults::{default_job, default_pod_spec};
use super::failure::Failure;
use super::json_path::{self, flag, has, is_deleting, text, timestamp};
use super::pod_template::{admit_pod, generated_name};
use super::request::RequestInfo;
use super::resource::{Key, Resource};
use super::validation::{job_change_problems, job_problems, metadata_change_problems};
use super::world::World;

/// An answer with an object.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    /// Texts of `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) fn new(code: u16, body: Value) -> Self {
        Self { code, body, warnings: Vec::new() }
    }
}

/// The body of a write.
pub(crate) struct Body<'a> {
    pub(crate) content_type: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl World {
    /// GET of one object.
    pub(crate) fn api_get(&self, request: &RequestInfo, resource: Resource) -> Result<Answer, Failure> {
        let key = request.key(resource);
        let object = self.get(&key).ok_or_else(|| Failure::not_found(&key))?;
        Ok(Answer::new(200, (*object).clone()))
    }

    /// GET of a pod's `log`: what a test says its container wrote. One that has not started is refused.
    pub(crate) fn api_log(&self, request: &RequestInfo) -> Result<String, Failure> {
        let key = request.key(Resource::Pods);
        let pod = self.get(&key).ok_or_else(|| Failure::not_found(&key))?;
        let container = request.parameter("container");
        let list = |path: &str| pod.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
        let statuses = [list("/status/initContainerStatuses"), list("/status/containerStatuses")].concat();
        if !statuses.iter().any(|status| status["name"] == container && status["state"].get("waiting").is_none()) {
            let waits = format!("container \"{container}\" in pod \"{}\" is waiting to start: ContainerCreating", request.name);
            return Err(Failure::bad_request(waits));
        }
        let lines = self.logs.get(&(request.name.clone(), container.to_owned())).map(Vec::as_slice).unwrap_or_default();
        let number = |name: &str| request.parameter(name).parse().unwrap_or(usize::MAX);
        let last = lines.iter().skip(lines.len().saturating_sub(number("tailLines")));
        Ok(last.flat_map(|line| [line, "\n"]).collect::<String>().chars().take(number("limitBytes")).collect())
    }

    /// POST.
    pub(crate) fn api_create(&mut self, request: &RequestInfo, resource: Resource, body: &Body<'_>) -> Result<Answer, Failure> {
        let decoded = decode(resource, body.content_type, body.bytes, request.parameter("fieldValidation"))?;
        self.create_object(request, resource, decoded)
    }

    /// Creates a decoded object.
    pub(crate) fn create_object(
        &mut self,
        request: &RequestInfo,
        resource: Resource,
        decoded: Decoded,
    ) -> Result<Answer, Failure> {
        let Decoded { mut object, mut warnings } = decoded;
        self.place(request, &mut object)?;
        let base = text(&object, "/metadata/generateName").to_owned();
        if text(&object, "/metadata/name").is_empty() && !base.is_empty() {
            json_path::set(&mut object, &["metadata", "name"], json!(generated_name(&base)));
        }
        fresh_metadata(resource, &mut object);
        prepare(resource, &mut object);
        let name = text(&object, "/metadata/name").to_owned();
        if resource == Resource::Jobs {
            let problems = job_problems(&object);
            if !problems.is_empty() {
                return Err(Failure::invalid(resource, &name, &problems));
            }
            warnings.extend(self.pod_security_warning(&object));
        }
        let key = Key::new(resource, text(&object, "/metadata/namespace"), &name);
        self.admit(&key)?;
        if let Some(existing) = self.get(&key) {
            return Err(Failure::already_exists(&key, is_deleting(&existing)));
        }
        let stored = if request.is_dry_run() { object } else { (*self.create(key, object)).clone() };
        Ok(Answer { code: 201, body: stored, warnings })
    }

    /// The namespace of the path holds; it must exist.
    fn place(&self, request: &RequestInfo, object: &mut Value) -> Result<(), Failure> {
        let Some(namespace) = &request.namespace else { return Ok(()) };
        let given = text(object, "/metadata/namespace");
        if !given.is_empty() && given != namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if self.namespaces.as_ref().is_some_and(|known| !known.contains(namespace)) {
            return Err(Failure::no_namespace(namespace));
        }
        json_path::set(object, &["metadata", "namespace"], json!(namespace));
        Ok(())
    }

    /// Of Pod Security's rules only host namespaces are known here.
    fn pod_security_warning(&self, job: &Value) -> Option<String> {
        let violates = self.enforces_pod_security && flag(job, "/spec/template/spec/hostNetwork");
        violates.then(|| "would violate PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true)".to_owned())
    }

    /// PUT.
    pub(crate) fn api_update(&mut self, request: &RequestInfo, resource: Resource, body: &Body<'_>) -> Result<Answer, Failure> {
        let decoded = decode(resource, body.content_type, body.bytes, request.parameter("fieldValidation"))?;
        let key = request.key(resource);
        self.change_object(request, &key, decoded)
    }

    /// Replaces an object by a decoded one, as PUT and every patch do.
    pub(crate) fn change_object(&mut self, request: &RequestInfo, key: &Key, decoded: Decoded) -> Result<Answer, Failure> {
        let Decoded { object: mut new, warnings } = decoded;
        let old = self.get(key).ok_or_else(|| Failure::not_found(key))?;
        check_identity(key, &old, &new)?;
        if request.subresource == "status" {
            let status = new["status"].clone();
            new = (*old).clone();
            new["status"] = status;
        } else {
            keep_fixed_fields(&old, &mut new);
            prepare(key.resource, &mut new);
            check_change(key, &old, &new)?;
            if old["spec"] != new["spec"] {
                let generation = json_path::int(&old, "/metadata/generation").unwrap_or(1) + 1;
                json_path::set(&mut new, &["metadata", "generation"], json!(generation));
            }
        }
        let stored = if request.is_dry_run() {
            new
        } else {
            let stored = self.update(key, new).ok_or_else(|| Failure::not_found(key))?;
            (*stored).clone()
        };
        Ok(Answer { code: 200, body: stored, warnings })
    }
}

fn fresh_metadata(resource: Resource, object: &mut Value) {
    for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        json_path::remove(object, &["metadata", field]);
    }
    let uid = uuid::Uuid::new_v4().to_string();
    json_path::set(object, &["metadata", "uid"], json!(uid));
    json_path::set(object, &["metadata", "creationTimestamp"], json!(timestamp()));
    if !matches!(resource, Resource::Events | Resource::Nodes) {
        json_path::set(object, &["metadata", "generation"], json!(1));
    }
    match resource {
        Resource::Jobs => object["status"] = json!({}),
        Resource::Pods => object["status"] = json!({"phase": "Pending"}),
        Resource::PodDisruptionBudgets => {
            object["status"] = json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        }
        Resource::Events | Resource::Nodes => {}
    }
}

fn prepare(resource: Resource, object: &mut Value) {
    match resource {
        Resource::Jobs => default_job(object),
        Resource::Pods => {
            default_pod_spec(&mut object["spec"]);
            admit_pod(object);
        }
        Resource::Events | Resource::Nodes | Resource::PodDisruptionBudgets => {}
    }
}

fn check_identity(key: &Key, old: &Value, new: &Value) -> Result<(), Failure> {
    let name = text(new, "/metadata/name");
    if !name.is_empty() && name != key.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let version = text(new, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(old, "/metadata/resourceVersion") {
        return Err(Failure::modified(key));
    }
    Ok(())
}

/// What a client cannot change is taken from the old object.
fn keep_fixed_fields(old: &Value, new: &mut Value) {
    for field in ["name", "namespace", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        match old["metadata"].get(field) {
            Some(value) => json_path::set(new, &["metadata", field], value.clone()),
            None => json_path::remove(new, &["metadata", field]),
        }
    }
    if !has(new, "/metadata/uid") {
        json_path::set(new, &["metadata", "uid"], old["metadata"]["uid"].clone());
    }
    if let Some(status) = old.get("status") {
        new["status"] = status.clone();
    }
}

fn check_change(key: &Key, old: &Value, new: &Value) -> Result<(), Failure> {
    let mut problems = metadata_change_problems(old, new);
    if key.resource == Resource::Jobs {
        problems.extend(job_problems(new));
        problems.extend(job_change_problems(old, new));
        // Checked twice, and listed twice among the causes (recorded).
        problems.extend(metadata_change_problems(old, new));
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::invalid(key.resource, &key.name, &problems)) }
}
