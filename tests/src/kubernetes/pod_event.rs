//! What befalls pods, for a harness that runs something real in their place.

use std::sync::Arc;

use serde_json::Value;

/// An order of the simulated kubelet.
#[derive(Debug, Clone)]
pub enum PodEvent {
    /// A pod's start begins: it is bound to a node.
    PodStarted {
        /// The pod.
        pod: Arc<Value>,
    },
    /// A container is to run now: sidecars in their order, then main. Report a sidecar's readiness with
    /// [`super::Cluster::ready`] and every end with [`super::Cluster::exit`].
    ContainerStarted {
        /// The pod.
        pod: Arc<Value>,
        /// The container's name.
        container: String,
    },
    /// A pod is to end.
    PodTerminating {
        /// The pod's name.
        name: String,
        /// Its uid.
        uid: String,
        /// Seconds until it is killed.
        grace: i64,
    },
    /// A container gets SIGTERM: main at once, sidecars when main is gone.
    ContainerTerminating {
        /// The pod's name.
        name: String,
        /// Its uid.
        uid: String,
        /// The container's name.
        container: String,
    },
    /// A container's time is over: SIGKILL.
    ContainerKilled {
        /// The pod's name.
        name: String,
        /// Its uid.
        uid: String,
        /// The container's name.
        container: String,
    },
    /// A pod's object is gone. What still runs of it is to be killed.
    PodGone {
        /// The pod's name.
        name: String,
        /// Its uid.
        uid: String,
    },
}
