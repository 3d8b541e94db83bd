//! Where the scenarios play: a real cluster, or the stub of the API server whose pods' containers are processes on this machine.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams};

use super::cluster_site::ClusterSite;
use super::reach::Reach;
use super::stub_site::StubSite;
use crate::process::Process;

/// A site.
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Site {
    /// The cluster that `KUBECONFIG` names.
    Cluster(Box<ClusterSite>),
    /// The stub.
    Stub(Box<StubSite>),
}

/// Running controllers; processes end when this is dropped.
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Controllers {
    /// In the cluster.
    Deployment(Box<Api<Deployment>>, String),
    /// On this machine.
    Processes(Vec<Process>),
}

impl Controllers {
    /// Ends them.
    pub async fn stop(self) {
        if let Self::Deployment(deployments, name) = self {
            let _ = deployments.delete(&name, &DeleteParams::foreground()).await;
        }
    }
}

/// Somebody in the practice room; a process leaves when this is dropped, a pod with its namespace.
pub enum Participant {
    /// In the cluster.
    Pod,
    /// On this machine.
    Process(Process),
}

/// What befalls a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeOrder {
    /// It goes away.
    Stop,
    /// It returns.
    Start,
}

impl Site {
    /// The Kubernetes client of the suite.
    pub fn client(&self) -> &kube::Client {
        match self {
            Self::Cluster(site) => &site.client,
            Self::Stub(site) => &site.client,
        }
    }

    /// Where everything is.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Cluster(site) => &site.namespace,
            Self::Stub(_) => super::stub_site::NAMESPACE,
        }
    }

    /// The way to store, bucket and room.
    pub fn reach(&self) -> &Reach {
        match self {
            Self::Cluster(site) => &site.reach,
            Self::Stub(site) => &site.reach,
        }
    }

    /// An image of ours, by name.
    pub fn image(&self, name: &str) -> String {
        match self {
            Self::Cluster(site) => site.images.of(name),
            Self::Stub(_) => format!("local/{name}:1"),
        }
    }

    /// `MAX_LATE_SECONDS` for a bot that cannot start: long enough for Kubernetes to say why.
    pub fn late_secs(&self) -> u32 {
        match self {
            Self::Cluster(_) => 45,
            Self::Stub(_) => 5,
        }
    }

    /// Starts controllers and waits until they are ready.
    pub async fn controllers(&self, name: &str, replicas: u32, settings: &[(String, String)]) -> Result<Controllers> {
        match self {
            Self::Cluster(site) => site.controllers(name, replicas, settings).await,
            Self::Stub(site) => site.controllers(name, replicas, settings).await,
        }
    }

    /// Where the pods and controllers find store, bucket and room.
    pub fn addresses(&self) -> [(&'static str, String); 3] {
        match self {
            Self::Cluster(site) => site.addresses(),
            Self::Stub(site) => site.addresses(),
        }
    }

    /// Brings Clara and her clock into a room.
    pub async fn participant(&self, room: &str) -> Result<Participant> {
        match self {
            Self::Cluster(site) => site.participant(room).await,
            Self::Stub(site) => site.participant(room),
        }
    }

    /// Kills a container's program, as a crash would. The text says why that is not possible here.
    pub async fn crash(&self, pod: &str, container: &str) -> Result<Result<(), String>> {
        match self {
            Self::Cluster(site) => site.crash(pod, container).await,
            Self::Stub(site) => site.crash(pod, container).map(Ok),
        }
    }

    /// Why nodes cannot be stopped here, if so.
    pub fn cannot_stop_nodes(&self) -> Option<String> {
        match self {
            Self::Cluster(_) => super::cluster_site::node_commands().err(),
            Self::Stub(_) => None,
        }
    }

    /// Stops or starts a node.
    pub async fn node(&self, order: NodeOrder, node: &str) -> Result<()> {
        match self {
            Self::Cluster(site) => site.node(order, node).await,
            Self::Stub(site) => {
                site.node(order);
                Ok(())
            }
        }
    }

    /// The ends of the logs that help with a failure.
    pub async fn logs(&self) -> String {
        match self {
            Self::Cluster(site) => site.logs().await,
            Self::Stub(site) => site.logs(),
        }
    }

    /// Removes all that it put there.
    pub async fn remove(self) -> Result<()> {
        match self {
            Self::Cluster(site) => site.remove().await,
            Self::Stub(_) => Ok(()),
        }
    }
}
