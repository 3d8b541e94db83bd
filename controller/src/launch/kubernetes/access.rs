//! The rights that the launcher uses, and whether it has them. `k8s/base/bots/role.yaml` grants these and no others.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::api::classify;
use crate::launch::LaunchError;

/// Group, resource, verbs. Pods are deleted, never created; nothing is updated or patched.
pub const RIGHTS: [(&str, &str, &[&str]); 4] = [
    ("batch", "jobs", &["create", "get", "list", "watch", "delete"]),
    ("", "pods", &["list", "watch", "delete"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list"]),
];

/// What this identity may not do in the namespace, such as `delete pods`.
pub(super) async fn missing(client: &kube::Client, namespace: &str) -> Result<Vec<String>, LaunchError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut missing = Vec::new();
    for (group, resource, verbs) in RIGHTS {
        for verb in verbs {
            let review = review(namespace, group, resource, verb);
            let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| classify(&error))?;
            if !answer.status.is_some_and(|status| status.allowed) {
                missing.push(format!("{verb} {resource}"));
            }
        }
    }
    Ok(missing)
}

fn review(namespace: &str, group: &str, resource: &str, verb: &str) -> SelfSubjectAccessReview {
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(of, part)| (of, Some(part.to_owned())));
    let attributes = ResourceAttributes {
        namespace: Some(namespace.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource,
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() },
        ..SelfSubjectAccessReview::default()
    }
}
