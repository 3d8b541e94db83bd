//! Every request the stub answered, so that a test or a benchmark can count API calls.

use super::request::{RequestInfo, Verb};
use super::resource::Resource;

/// One request.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// The verb.
    pub verb: Verb,
    /// The resource, `None` when the stub does not serve it.
    pub resource: Option<Resource>,
    /// The subresource, or "".
    pub subresource: String,
    /// The namespace, "" at the cluster scope.
    pub namespace: String,
    /// The name, or "".
    pub name: String,
    /// Who asked.
    pub user: String,
    /// HTTP status; 0 when no answer was sent.
    pub status: u16,
}

impl RequestRecord {
    pub(crate) fn of(request: &RequestInfo, user: &str, status: u16) -> Self {
        Self {
            verb: request.verb,
            resource: request.resource,
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone().unwrap_or_default(),
            name: request.name.clone(),
            user: user.to_owned(),
            status,
        }
    }
}
