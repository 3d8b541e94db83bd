//! What a request asks for: verb, resource, namespace, name.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::{Method, Uri};

use super::resource::{Key, Resource};

/// The API's verbs, as RBAC names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object.
    Get,
    /// Many objects.
    List,
    /// A stream of changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

impl Verb {
    /// The verb in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    fn of(method: &Method, has_name: bool, is_watch: bool) -> Self {
        match (method, has_name) {
            (&Method::POST, _) => Self::Create,
            (&Method::PUT, _) => Self::Update,
            (&Method::PATCH, _) => Self::Patch,
            (&Method::DELETE, true) => Self::Delete,
            (&Method::DELETE, false) => Self::DeleteCollection,
            _ if is_watch => Self::Watch,
            (_, true) => Self::Get,
            (_, false) => Self::List,
        }
    }
}

/// A request for a resource.
#[derive(Debug, Clone)]
pub(crate) struct RequestInfo {
    pub(crate) verb: Verb,
    pub(crate) group: String,
    pub(crate) plural: String,
    pub(crate) subresource: String,
    /// `None` at the cluster scope.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) query: HashMap<String, String>,
    /// The resource, when the stub serves it.
    pub(crate) resource: Option<Resource>,
}

impl RequestInfo {
    /// Reads the path of an API request; `None` for a path that names no resource (`/version`, discovery).
    pub(crate) fn parse(method: &Method, uri: &Uri) -> Option<Self> {
        let query: HashMap<String, String> = Query::try_from_uri(uri).map(|Query(query)| query).unwrap_or_default();
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let plural = (*rest.first()?).to_owned();
        let name = rest.get(1).copied().unwrap_or_default().to_owned();
        let is_watch = query.get("watch").is_some_and(|value| value == "1" || value == "true");
        Some(Self {
            verb: Verb::of(method, !name.is_empty(), is_watch),
            resource: Resource::find(group, version, &plural),
            group: group.to_owned(),
            subresource: rest.get(2).copied().unwrap_or_default().to_owned(),
            plural,
            namespace,
            name,
            query,
        })
    }

    /// A query parameter, or "".
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether the write is only to be tried.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.parameter("dryRun") == "All"
    }

    /// The key of the object the path names.
    pub(crate) fn key(&self, resource: Resource) -> Key {
        Key::new(resource, self.namespace.as_deref().unwrap_or_default(), &self.name)
    }
}
