//! The resources the stub serves, and how the API names them.

/// A resource of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `batch/v1` jobs.
    Jobs,
    /// `v1` pods.
    Pods,
    /// `v1` events (create, get, list, watch).
    Events,
    /// `v1` nodes.
    Nodes,
    /// `policy/v1` poddisruptionbudgets (create, get, list, delete); an eviction obeys them.
    PodDisruptionBudgets,
}

impl Resource {
    const ALL: [Self; 5] = [Self::Jobs, Self::Pods, Self::Events, Self::Nodes, Self::PodDisruptionBudgets];

    /// The resource at a group, version and plural name.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|resource| resource.plural() == plural)?;
        (found.group() == group && version == "v1").then_some(found)
    }

    /// The API group, "" for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Jobs => "batch",
            Self::Pods | Self::Events | Self::Nodes => "",
            Self::PodDisruptionBudgets => "policy",
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Jobs => "batch/v1",
            Self::Pods | Self::Events | Self::Nodes => "v1",
            Self::PodDisruptionBudgets => "policy/v1",
        }
    }

    /// `kind` of its objects.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Jobs => "Job",
            Self::Pods => "Pod",
            Self::Events => "Event",
            Self::Nodes => "Node",
            Self::PodDisruptionBudgets => "PodDisruptionBudget",
        }
    }

    /// The name in paths, lower case and plural.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Pods => "pods",
            Self::Events => "events",
            Self::Nodes => "nodes",
            Self::PodDisruptionBudgets => "poddisruptionbudgets",
        }
    }

    /// Whether its objects live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self != Self::Nodes
    }

    /// `jobs.batch`: how messages name it.
    pub(crate) fn qualified(self) -> String {
        qualified(self.plural(), self.group())
    }

    /// `Job.batch`: how messages about one object's content name it.
    pub(crate) fn qualified_kind(self) -> String {
        qualified(self.kind(), self.group())
    }
}

/// `name.group`, or the name alone in the core group.
pub(crate) fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its resource.
    pub resource: Resource,
    /// Its namespace, "" for what lives in none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        Self { resource, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}
