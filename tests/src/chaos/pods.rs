//! The cluster of a site whose controllers launch Jobs: the stub of the API server behind a proxy of its own, and a kubelet that runs
//! the pods' containers as processes. Its inside is what the suite sees past the proxy: every Job that was made, and what is left.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, PropagationPolicy};
use serde_json::Value;
use tokio::sync::watch;

use super::plan::Strike;
use super::proxy::Proxy;
use super::runs::LiveRun;
use crate::kubernetes::{Cluster, Disruption, PodScript, Timing};
use crate::local_kubelet::{LocalKubelet, Node};
use crate::process::binary;

/// The one namespace.
const NAMESPACE: &str = "bots";
/// What a pod that was deleted by force leaves running goes on for so long.
pub const LINGERS: Duration = Duration::from_secs(5);

/// A cluster.
#[derive(Clone)]
pub struct Pods {
    /// The cluster, past the proxy.
    pub cluster: Cluster,
    /// Before the API server.
    pub to_api: Proxy,
    kubeconfig: PathBuf,
    /// Jobs that were deleted by hand.
    deleted: Arc<Mutex<BTreeSet<String>>>,
    _kubelet: LocalKubelet,
}

/// What is known of the Jobs of a round when it is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Name and attempt of every Job that was ever made.
    pub made: Vec<(String, String)>,
    /// Names of those that were deleted by hand.
    pub deleted: BTreeSet<String>,
    /// Jobs that have not ended and pods that may run.
    pub left: Vec<String>,
}

impl Pods {
    /// Starts it below `folder`; volumes lie in `volumes`, and `manager` is the program of the manager's image.
    pub async fn start(folder: &Path, volumes: &Path, manager: PathBuf, stage: &Path) -> Result<Self> {
        let cluster = Cluster::builder().script(PodScript::External).timing(Timing::real_seconds()).start().await?;
        let url = cluster.url();
        let address: SocketAddr = url.trim_start_matches("http://").parse().context("the API server's address")?;
        let (_, to_api) = watch::channel(Some(address));
        let to_api = Proxy::start(to_api).await?;
        let kubeconfig = folder.join("kubeconfig");
        let text = cluster.kubeconfig("token", NAMESPACE).replace(&url, &format!("http://{}", to_api.address));
        std::fs::write(&kubeconfig, text)?;
        let node = Node {
            programs: HashMap::from([("manager".into(), manager), ("meeting-bot".into(), binary("scripted-bot")?)]),
            variables: vec![("SIGNAL_PACKS_DIR".into(), stage.display().to_string())],
            volumes: Some(volumes.to_owned()),
            lingers: LINGERS,
        };
        let kubelet = LocalKubelet::start_on(&cluster, &folder.join("pods"), |_| true, node);
        Ok(Self { cluster, to_api, kubeconfig, deleted: Arc::default(), _kubelet: kubelet })
    }

    /// Settings of the controllers.
    pub fn settings(&self) -> [(&'static str, String); 5] {
        [
            ("LAUNCHER", "kubernetes".to_owned()),
            ("KUBERNETES_NAMESPACE", NAMESPACE.to_owned()),
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("MANAGER_IMAGE", "local/manager:1".to_owned()),
            ("MEETING_BOT_IMAGE", "local/meeting-bot:1".to_owned()),
        ]
    }

    /// Strikes a pod, as an operator or the cluster would.
    pub async fn strike(&self, strike: Strike, run: &LiveRun, pick: usize) -> Result<()> {
        match strike {
            Strike::Evict => drop(self.cluster.disrupt(run.pod(), Disruption::Evicted)),
            Strike::Preempt => drop(self.cluster.disrupt(run.pod(), Disruption::Preempted)),
            Strike::Delete => drop(self.cluster.delete_pod(run.pod(), None)),
            Strike::DeleteByForce => drop(self.cluster.delete_pod(run.pod(), Some(0))),
            Strike::DeleteJob => self.delete_job(&run.job, pick).await?,
        }
        Ok(())
    }

    /// By hand, in one of the three ways. A Job that is gone already is as well.
    async fn delete_job(&self, job: &str, pick: usize) -> Result<()> {
        let policy = [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan];
        let params = DeleteParams { propagation_policy: policy.into_iter().nth(pick % 3), ..DeleteParams::default() };
        let jobs: Api<Job> = Api::namespaced(self.cluster.client()?, NAMESPACE);
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).insert(job.to_owned());
        match jobs.delete(job, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(drop).context("delete a Job"),
        }
    }

    /// Breaks every watch off, ends it in good order, or lets it be too old to be taken up again.
    pub fn cut_watches(&self, pick: usize) {
        match pick % 3 {
            0 => self.cluster.cut_watches(None),
            1 => self.cluster.end_watches(None),
            _ => {
                self.cluster.compact();
                self.cluster.cut_watches(None);
            }
        }
    }

    /// What is known of the Jobs now.
    pub fn jobs(&self) -> Jobs {
        let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = |object: &Value| text(object, "/metadata/name");
        let made = |job: &Value| (name(job), text(job, "/metadata/labels/meeting-bot~1attempt"));
        let lives = |pod: &Value| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let jobs = self.cluster.jobs();
        let jobs = jobs.iter().filter(|job| !has_ended(job)).map(|job| format!("Job {}", name(job)));
        let pods = self.cluster.pods();
        let pods = pods.iter().filter(|pod| lives(pod)).map(|pod| format!("pod {}", name(pod)));
        let made = self.cluster.jobs_made().iter().map(|job| made(job)).collect();
        let deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Jobs { made, deleted, left: jobs.chain(pods).collect() }
    }
}

fn has_ended(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let mut ends = conditions.filter(|condition| matches!(condition["type"].as_str(), Some("Complete" | "Failed")));
    ends.any(|condition| condition["status"] == "True")
}
