//! A stateful stand-in for the Kubernetes API server, held to recordings of a real one (v1.36).
//!
//! It speaks the API over HTTP on a port of 127.0.0.1, so the real client is what is tested: `batch/v1` Jobs, pods, events, nodes,
//! watches, patches, deletions, RBAC. Behind it a Job controller, a garbage collector, a scheduler and a kubelet are
//! simulated on a clock that a busy machine delays and never reorders. What a Job's pods do is the test's choice
//! ([`PodScript`]); what goes wrong on the way is too ([`Fault`]). `tests/tests/it_kubernetes_stub.rs` replays the recordings
//! and lists what is not reproduced.
//!
//! It must not be taken for an oracle of anything the recordings do not show.
//!
//! ```
//! use k8s_openapi::api::batch::v1::Job;
//! use kube::api::{Api, PostParams};
//! use tests::kubernetes::{Cluster, PodScript};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let cluster = Cluster::start().await?;
//! cluster.script("bot-1", PodScript::Succeed(std::time::Duration::ZERO));
//! let jobs: Api<Job> = Api::namespaced(cluster.client()?, "bots");
//! let job = serde_json::from_value(serde_json::json!({
//!     "metadata": {"name": "bot-1"},
//!     "spec": {"backoffLimit": 0, "template": {"spec": {
//!         "restartPolicy": "Never", "containers": [{"name": "main", "image": "bot:1"}],
//!     }}},
//! }))?;
//! jobs.create(&PostParams::default(), &job).await?;
//! cluster.wait("the Job's end", |cluster| cluster.condition("bot-1", "Complete")).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod agenda;
mod cluster;
mod connection;
mod control;
mod decode;
mod defaults;
mod deletion;
mod discovery;
mod disruption;
mod failure;
mod failure_policy;
mod fault;
mod garbage;
mod job_controller;
mod job_status;
mod json_patch;
mod json_path;
mod kubelet;
mod listing;
mod node;
mod patching;
mod pod_end;
mod pod_event;
mod pod_run;
mod pod_status;
mod pod_template;
mod quota;
mod registry;
mod request;
mod request_log;
mod resource;
mod script;
mod selector;
mod server;
mod shared;
mod store;
mod timing;
mod validation;
mod watching;
mod world;

pub use access::{Access, Rule};
pub use cluster::{Builder, Cluster};
pub use fault::{Effect, Fault, FaultHits};
pub use pod_event::PodEvent;
pub use quota::Quota;
pub use request::Verb;
pub use request_log::RequestRecord;
pub use resource::{Key, Resource};
pub use script::{Disruption, Exit, OnTerm, Plan, PodScript, Start};
pub use timing::Timing;
