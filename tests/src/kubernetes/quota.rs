//! A ResourceQuota of the cluster: how many Jobs and how many pods there may be. Not recorded: from Kubernetes' own sources, whose
//! quota is checked after a Job's validation and before its name is found to be taken.

use serde_json::Value;

use super::failure::{Failure, object_details};
use super::json_path::text;
use super::resource::{Key, Resource};
use super::world::World;

/// What there may be; `None` is without a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// `count/jobs.batch`: Jobs until they are deleted.
    pub jobs: Option<usize>,
    /// `pods`: pods that have not ended.
    pub pods: Option<usize>,
}

impl World {
    /// Why there may not be another one, in the words of the admission plugin.
    pub(crate) fn over_quota(&self, key: &Key) -> Option<String> {
        let (limit, counted) = match key.resource {
            Resource::Jobs => (self.quota.jobs?, "count/jobs.batch"),
            Resource::Pods => (self.quota.pods?, "pods"),
            Resource::Events | Resource::Nodes | Resource::PodDisruptionBudgets => return None,
        };
        let counts =
            |object: &Value| key.resource == Resource::Jobs || !matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
        let used = self.store.list(key.resource, Some(&key.namespace)).filter(|(_, object)| counts(object)).count();
        (used >= limit).then(|| {
            let (kind, name) = (key.resource.qualified(), &key.name);
            format!(
                "{kind} \"{name}\" is forbidden: exceeded quota: bots, requested: {counted}=1, used: {counted}={used}, limited: {counted}={limit}"
            )
        })
    }

    /// The refusal of a request to create.
    pub(crate) fn admit(&self, key: &Key) -> Result<(), Failure> {
        match self.over_quota(key) {
            Some(message) => Err(Failure::new(403, "Forbidden", message).with_details(object_details(
                &key.name,
                key.resource.group(),
                key.resource.plural(),
            ))),
            None => Ok(()),
        }
    }
}
