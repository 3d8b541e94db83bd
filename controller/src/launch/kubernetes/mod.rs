//! The Kubernetes launcher: each run is one Job whose name is derived from the instance, so that the API server itself refuses a
//! second one.
//!
//! Owns the Job's manifest, the watches and the protocol by which one Job takes another's place. Decides nothing. Never uses a
//! background or orphaning delete, a forced one, or suspension: each of them was recorded to let two pods of one name run at once.

mod api;
pub mod config;
mod containers;
pub mod manifest;
mod names;
pub mod view;
mod watch;

use async_trait::async_trait;
use bot_model::ids::JobName;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{LaunchError, LaunchSpec, Launched, Launcher, Observed, RunKey};
use api::{Cluster, Failure, STEP, pauses};
use config::KubernetesConfig;
use names::{STORE, store_label};
use view::{JobView, PodView, observe};
use watch::Picture;

/// Runs as Jobs.
pub struct KubernetesLauncher {
    config: KubernetesConfig,
    cluster: Cluster,
    picture: Picture,
    /// Counting free slots and taking one must not interleave.
    slots: tokio::sync::Mutex<usize>,
}

/// What stands where a Job was to be made.
enum Standing {
    Nothing,
    /// Somebody deleted it, and it is not gone yet.
    Leaving,
    /// It is this very run.
    Same(Box<JobView>),
    /// An earlier attempt that is over.
    Over(Box<JobView>),
    /// An earlier attempt that is not.
    Alive(u32),
}

impl KubernetesLauncher {
    /// A launcher with its watches running. `client` says which API server, and as whom.
    pub fn new(client: &kube::Client, config: KubernetesConfig) -> Self {
        let cluster = Cluster::new(client, &config.namespace);
        let picture = Picture::default();
        picture.follow(&cluster, &format!("{STORE}={}", store_label(&config.store_url)));
        Self { config, cluster, picture, slots: tokio::sync::Mutex::new(0) }
    }

    /// By the cluster's own credentials, or what `KUBECONFIG` names.
    pub async fn connect(config: KubernetesConfig) -> Result<Self, LaunchError> {
        match kube::Client::try_default().await {
            Ok(client) => Ok(Self::new(&client, config)),
            Err(error) => Err(LaunchError::Unavailable { message: format!("no way to an API server: {error}") }),
        }
    }

    /// Makes the Job, whatever stands in its place, as far as that is safe.
    async fn make(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError> {
        let launch_id = Uuid::new_v4().simple().to_string();
        let job = manifest::job(&self.config, spec, &launch_id);
        let key = spec.key();
        let until = Instant::now() + STEP;
        let mut pauses = pauses();
        let mut last = None;
        while Instant::now() < until {
            // A later attempt is made only where no pod of an earlier one is left, whoever has deleted its Job.
            if key.attempt > 1 {
                self.no_other_pod(&key).await?;
            }
            match self.cluster.create(&job).await {
                Ok(made) => return Ok(self.started(&made)),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::NotFound) => {
                    let message = format!("the namespace {} is not there", self.config.namespace);
                    return Err(LaunchError::Refused { status: 404, reason: "NotFound".into(), message });
                }
                Err(failure) => last = Some(failure),
            }
            // The name is taken, or the answer was lost: look.
            match self.standing(spec).await? {
                Standing::Same(view) => {
                    let is_own = view.launch_id == launch_id;
                    self.picture.made(*view);
                    return Ok(if is_own { Launched::Started } else { Launched::AlreadyThere });
                }
                Standing::Alive(attempt) => return Err(LaunchError::OtherAttemptAlive { attempt }),
                Standing::Over(view) => self.cluster.delete_job(key.job.as_str(), &view.uid).await?,
                Standing::Leaving | Standing::Nothing => {}
            }
            let asked = match &last {
                Some(Failure::Unclear { after, .. }) => *after,
                _ => None,
            };
            sleep(asked.or_else(|| pauses.next()).unwrap_or_default().min(until.saturating_duration_since(Instant::now()))).await;
        }
        match last {
            Some(failure @ Failure::Unclear { .. }) => Err(failure.into()),
            _ => Err(LaunchError::Deadline { secs: STEP.as_secs() }),
        }
    }

    fn started(&self, made: &Job) -> Launched {
        if let Some(view) = JobView::of(made) {
            self.picture.made(view);
        }
        Launched::Started
    }

    async fn no_other_pod(&self, key: &RunKey) -> Result<(), LaunchError> {
        let pods = self.live_pods(&key.job).await?;
        match pods.iter().find(|pod| pod.key.attempt != key.attempt) {
            Some(other) => Err(LaunchError::OtherAttemptAlive { attempt: other.key.attempt }),
            None => Ok(()),
        }
    }

    async fn live_pods(&self, job: &JobName) -> Result<Vec<PodView>, LaunchError> {
        let pods = self.cluster.pods_of(job.as_str()).await?;
        Ok(pods.iter().filter_map(PodView::of).filter(PodView::is_live).collect())
    }

    async fn standing(&self, spec: &LaunchSpec) -> Result<Standing, LaunchError> {
        let key = spec.key();
        let name = key.job.to_string();
        let Some(job) = self.cluster.job(&name).await? else { return Ok(Standing::Nothing) };
        let ours = store_label(&self.config.store_url);
        let is_ours = job.metadata.labels.as_ref().and_then(|labels| labels.get(STORE)) == Some(&ours);
        let Some(view) = JobView::of(&job).filter(|view| is_ours && view.instance == *spec.instance_id()) else {
            return Err(LaunchError::Foreign { name });
        };
        if view.is_deleting {
            return Ok(Standing::Leaving);
        }
        if view.key == key {
            return Ok(Standing::Same(Box::new(view)));
        }
        let pods: Vec<Pod> = self.cluster.pods_of(&name).await?;
        let pods: Vec<PodView> = pods.iter().filter_map(PodView::of).collect();
        let seen = observe(Some(&view), &pods.iter().collect::<Vec<_>>());
        Ok(match seen {
            Some(seen) if !seen.state.is_over() => Standing::Alive(view.key.attempt),
            _ => Standing::Over(Box::new(view)),
        })
    }

    fn alive(&self) -> Result<usize, LaunchError> {
        Ok(self.picture.runs()?.iter().filter(|run| !run.state.is_over()).count())
    }
}

#[async_trait]
impl Launcher for KubernetesLauncher {
    async fn launch(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError> {
        // Those on their way are not in the picture yet.
        {
            let mut on_the_way = self.slots.lock().await;
            let runs = self.picture.runs()?;
            let is_there = runs.iter().any(|run| run.key.job == spec.key().job && !run.state.is_over());
            let alive = runs.iter().filter(|run| !run.state.is_over()).count();
            if !is_there && alive + *on_the_way >= self.config.max_live {
                return Err(LaunchError::Full { limit: self.config.max_live });
            }
            *on_the_way += 1;
        }
        let made = self.make(spec).await;
        *self.slots.lock().await -= 1;
        made
    }

    async fn list(&self) -> Result<Vec<Observed>, LaunchError> {
        self.picture.runs()
    }

    async fn is_absent(&self, job: &JobName) -> Result<bool, LaunchError> {
        // The Job first: one that is deleted between the looks leaves its pods to be seen.
        let there = self.cluster.job(job.as_str()).await?.is_some();
        Ok(!there && self.live_pods(job).await?.is_empty())
    }

    async fn stop(&self, run: &RunKey) -> Result<(), LaunchError> {
        let name = run.job.as_str();
        let pods: Vec<PodView> = self.live_pods(&run.job).await?.into_iter().filter(|pod| pod.key == *run).collect();
        for pod in &pods {
            self.cluster.delete_pod(&pod.name, &pod.uid).await?;
        }
        if !pods.is_empty() {
            return Ok(());
        }
        // Without a pod there is nobody to ask: a Job that has made none must not make one later.
        let job = self.cluster.job(name).await?.as_ref().and_then(JobView::of);
        match job.filter(|job| job.key == *run && job.finish.is_none()) {
            Some(job) => Ok(self.cluster.delete_job(name, &job.uid).await?),
            None => Ok(()),
        }
    }

    async fn remove(&self, run: &RunKey) -> Result<(), LaunchError> {
        self.picture.forget(run.job.as_str(), run.attempt)
    }

    async fn free_slots(&self) -> Result<usize, LaunchError> {
        let on_the_way = *self.slots.lock().await;
        Ok(self.config.max_live.saturating_sub(self.alive()? + on_the_way))
    }

    fn sees_runs_of(&self, _controller_id: &str) -> bool {
        // Every replica sees every Job of the store.
        true
    }

    async fn changed(&self) {
        self.picture.changed().await;
    }

    async fn ready(&self) -> Result<(), LaunchError> {
        self.picture.ready()
    }
}
