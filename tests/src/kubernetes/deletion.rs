//! DELETE, of one object and of collections, and the Eviction API.

use serde_json::{Value, json};

use super::decode::parse;
use super::failure::{Cause, Failure, object_details};
use super::garbage::{FOREGROUND, ORPHAN, mark_job_deleting};
use super::json_path::{finalizers, has, int, is_deleting, text};
use super::registry::{Answer, Body};
use super::request::RequestInfo;
use super::resource::{Key, Resource};
use super::selector::Selector;
use super::world::World;

/// A raw DELETE of a Job orphans its pods, and says so.
const ORPHAN_WARNING: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// The options of a delete.
#[derive(Debug, Default)]
struct Options {
    policy: String,
    grace: Option<i64>,
    uid: String,
    version: String,
    is_dry_run: bool,
}

impl Options {
    /// From the body when there is one; the query is ignored then, all of it (recorded).
    fn read(request: &RequestInfo, body: &Body<'_>) -> Result<Self, Failure> {
        if body.bytes.is_empty() {
            return Self {
                policy: request.parameter("propagationPolicy").to_owned(),
                grace: request.parameter("gracePeriodSeconds").parse().ok(),
                is_dry_run: request.is_dry_run(),
                ..Self::default()
            }
            .checked();
        }
        let options = parse("DeleteOptions", body.bytes)?;
        Self {
            policy: text(&options, "/propagationPolicy").to_owned(),
            grace: int(&options, "/gracePeriodSeconds"),
            uid: text(&options, "/preconditions/uid").to_owned(),
            version: text(&options, "/preconditions/resourceVersion").to_owned(),
            is_dry_run: has(&options, "/dryRun/0"),
        }
        .checked()
    }

    fn checked(self) -> Result<Self, Failure> {
        if matches!(self.policy.as_str(), "" | "Foreground" | "Background" | "Orphan") {
            return Ok(self);
        }
        let allowed = ["Foreground", "Background", "Orphan", "nil"];
        let cause = Cause::not_supported("propagationPolicy", &json!(self.policy), &allowed);
        Err(Failure::invalid_options("DeleteOptions", cause))
    }

    fn check_preconditions(&self, key: &Key, object: &Value) -> Result<(), Failure> {
        let uid = text(object, "/metadata/uid");
        if !self.uid.is_empty() && self.uid != uid {
            let what = format!(
                "the UID in the precondition ({}) does not match the UID in record ({uid}). The object might have been deleted and then recreated",
                self.uid
            );
            return Err(Failure::precondition(key, &what));
        }
        let version = text(object, "/metadata/resourceVersion");
        if !self.version.is_empty() && self.version != version {
            let what = format!(
                "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({version}). The object might have been modified",
                self.version
            );
            return Err(Failure::precondition(key, &what));
        }
        Ok(())
    }
}

impl World {
    /// DELETE of one object.
    pub(crate) fn api_delete(&mut self, request: &RequestInfo, resource: Resource, body: &Body<'_>) -> Result<Answer, Failure> {
        let options = Options::read(request, body)?;
        let key = request.key(resource);
        let object = self.get(&key).ok_or_else(|| Failure::not_found(&key))?;
        options.check_preconditions(&key, &object)?;
        if options.is_dry_run {
            return Ok(Answer::new(200, (*object).clone()));
        }
        match resource {
            Resource::Jobs => Ok(self.delete_job(&key, &object, &options)),
            Resource::Pods => {
                let marked = self.delete_pod(&key, options.grace).unwrap_or(object);
                Ok(Answer::new(200, (*marked).clone()))
            }
            Resource::Events | Resource::Nodes | Resource::PodDisruptionBudgets => {
                self.remove(&key);
                Ok(Answer::new(200, success(&key, &object)))
            }
        }
    }

    fn delete_job(&mut self, key: &Key, job: &Value, options: &Options) -> Answer {
        if is_deleting(job) {
            return Answer::new(200, job.clone());
        }
        let mut warnings = Vec::new();
        let finalizer = match options.policy.as_str() {
            "Foreground" => Some(FOREGROUND),
            "Background" => None,
            "Orphan" => Some(ORPHAN),
            _ => {
                warnings.push(ORPHAN_WARNING.to_owned());
                Some(ORPHAN)
            }
        };
        if finalizer.is_none() && finalizers(job).is_empty() {
            self.remove(key);
            return Answer::new(200, success(key, job));
        }
        let mut marked = job.clone();
        mark_job_deleting(&mut marked, finalizer);
        let stored = self.update(key, marked);
        let body = stored.map_or_else(|| job.clone(), |job| (*job).clone());
        Answer { code: 200, body, warnings }
    }

    /// DELETE of a collection: each object by itself.
    pub(crate) fn api_delete_collection(
        &mut self,
        request: &RequestInfo,
        resource: Resource,
        body: &Body<'_>,
    ) -> Result<Answer, Failure> {
        let options = Options::read(request, body)?;
        let selector = Selector::parse(resource, request.parameter("labelSelector"), request.parameter("fieldSelector"))?;
        let chosen: Vec<_> = self
            .store
            .list(resource, request.namespace.as_deref())
            .filter(|(_, object)| selector.matches(object))
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        for (key, object) in &chosen {
            match resource {
                Resource::Jobs => drop(self.delete_job(key, object, &options)),
                Resource::Pods => drop(self.delete_pod(key, options.grace)),
                Resource::Events | Resource::Nodes | Resource::PodDisruptionBudgets => self.remove(key),
            }
        }
        let items: Vec<_> = chosen.iter().map(|(_, object)| (**object).clone()).collect();
        let kind = format!("{}List", resource.kind());
        let metadata = json!({"resourceVersion": self.store.version().to_string()});
        let body = json!({"kind": kind, "apiVersion": resource.api_version(), "metadata": metadata, "items": items});
        Ok(Answer::new(200, body))
    }

    /// POST of an Eviction.
    pub(crate) fn api_evict(&mut self, request: &RequestInfo) -> Result<Answer, Failure> {
        let key = request.key(Resource::Pods);
        let pod = self.get(&key).ok_or_else(|| Failure::not_found(&key))?;
        if let Some(budget) = self.budget_of(&pod) {
            let why = format!("The disruption budget {budget} is still being processed by the server.");
            return Err(Failure::new(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
            )
            .with_details(json!({"causes": [{"reason": "DisruptionBudget", "message": why}]}))
            .retry_after(10));
        }
        let uid = text(&pod, "/metadata/uid").to_owned();
        self.disrupt(&uid, super::script::Disruption::Evicted);
        Ok(Answer::new(201, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})))
    }

    /// The budget that forbids an eviction: any over a Job's pods does (recorded: it never syncs, yet blocks).
    fn budget_of(&self, pod: &Value) -> Option<String> {
        if self.refuses_evictions {
            return Some("bots".to_owned());
        }
        let namespace = text(pod, "/metadata/namespace");
        let covers = |budget: &Value| {
            let wanted = budget.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
            wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
        };
        let mut budgets = self.store.list(Resource::PodDisruptionBudgets, Some(namespace));
        budgets.find(|(_, budget)| covers(budget)).map(|(key, _)| key.name.clone())
    }
}

fn success(key: &Key, object: &Value) -> Value {
    let mut details = object_details(&key.name, key.resource.group(), key.resource.plural());
    details["uid"] = object["metadata"]["uid"].clone();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
