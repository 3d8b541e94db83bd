//! The Kubernetes launcher: each run is one Job whose name is derived from the instance, so that the API server itself refuses a
//! second one.
//!
//! Owns the Job's manifest, the watches and the protocol by which one Job takes another's place. Decides nothing. Never uses a
//! background or orphaning delete, a forced one, or suspension: each of them was recorded to let two pods of one name run at once.

pub mod access;
mod api;
pub mod config;
mod containers;
pub mod manifest;
mod names;
pub mod quota;
pub mod view;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use async_trait::async_trait;
use bot_model::ids::JobName;
use bot_store::kill_point::KillPoint;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::engine::lock;

use super::{LaunchError, LaunchSpec, Launched, Launcher, Observed, ProgramLog, RunCommand, RunKey, Tail, Trouble, TroubleKind};
pub use access::RIGHTS;
use api::{Cluster, Failure, STEP, pauses};
use config::KubernetesConfig;
use names::{STORE, store_label};
use quota::{Counted, is_quota};
use view::{JobView, PodView, observe};
use watch::Picture;

/// Runs as Jobs.
pub struct KubernetesLauncher {
    config: KubernetesConfig,
    client: kube::Client,
    cluster: Cluster,
    picture: Picture,
    /// Launches that are not in the picture yet, with how many calls make each.
    on_the_way: Mutex<HashMap<JobName, usize>>,
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
    /// A launcher with its watches running, by the cluster's own credentials or what `KUBECONFIG` names.
    pub async fn connect(config: KubernetesConfig) -> Result<Self, LaunchError> {
        let found = kube::Config::infer().await.map_err(|error| no_way(&error))?;
        Self::reaching(found, config)
    }

    /// The same for an API server that is known already.
    pub fn reaching(mut server: kube::Config, config: KubernetesConfig) -> Result<Self, LaunchError> {
        // Requests are repeated in one place, `api`, which looks before it creates again.
        server.default_retry = false;
        let client = kube::Client::try_from(server).map_err(|error| no_way(&error))?;
        let cluster = Cluster::new(&client, &config.namespace);
        let picture = Picture::default();
        picture.follow(&cluster, &format!("{STORE}={}", store_label(&config.store_url)));
        Ok(Self { config, client, cluster, picture, on_the_way: Mutex::default() })
    }

    /// Rights that this identity lacks, such as `delete pods`.
    pub async fn missing_rights(&self) -> Result<Vec<String>, LaunchError> {
        access::missing(&self.client, &self.config.namespace).await
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
            let mut no_room = None;
            KillPoint::CreatingJob.pass(spec.instance_id().as_str()).await;
            match self.cluster.create(&job).await {
                Ok(made) => return Ok(self.started(&made)),
                // A quota refuses before the name is found to be taken: it may be taken by this very run, or by one that is over.
                Err(Failure::Refused(error @ LaunchError::NoRoom { .. })) => no_room = Some(error),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::NotFound) => {
                    let message = format!("the namespace {} is not there", self.config.namespace);
                    return Err(LaunchError::Refused { status: 404, reason: "NotFound".into(), message });
                }
                Err(failure) => last = Some(failure),
            }
            // The name is taken, there is no room, or the answer was lost: look.
            match self.standing(spec).await? {
                Standing::Same(view) => {
                    let is_own = view.launch_id == launch_id;
                    self.picture.made(*view);
                    return Ok(if is_own { Launched::Started } else { Launched::AlreadyThere });
                }
                Standing::Alive(attempt) => return Err(LaunchError::OtherAttemptAlive { attempt }),
                Standing::Over(view) => self.cluster.delete_job(key.job.as_str(), &view.uid).await?,
                // Made, and deleted by hand before we looked: its pod may go on without it, and one more Job would be one more pod.
                Standing::Nothing if last.is_some() && self.has_pod(&key).await? => return Ok(Launched::Started),
                Standing::Leaving | Standing::Nothing => {
                    if let Some(error) = no_room {
                        self.picture.refused(Counted::Jobs);
                        return Err(error);
                    }
                }
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

    async fn has_pod(&self, key: &RunKey) -> Result<bool, LaunchError> {
        Ok(self.live_pods(&key.job).await?.iter().any(|pod| pod.key == *key))
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

    /// Jobs that are alive, or are being made.
    fn taken(&self, on_the_way: &HashMap<JobName, usize>) -> Result<HashSet<JobName>, LaunchError> {
        let alive = self.picture.runs()?.into_iter().filter(|run| !run.state.is_over()).map(|run| run.key.job);
        Ok(alive.chain(on_the_way.keys().cloned()).collect())
    }

    /// Says of runs without a pod why they have none, as far as the Job controller told.
    async fn explain(&self, runs: &mut [Observed]) {
        let is_podless = |run: &&mut Observed| run.trouble.as_ref().is_some_and(|trouble| trouble.kind == TroubleKind::NoPod);
        for run in runs.iter_mut().filter(is_podless) {
            let Some((uid, known)) = self.picture.podless(run.key.job.as_str()) else { continue };
            let told = match known {
                Some(told) => told,
                None => match self.cluster.why_no_pod(&uid).await {
                    Ok(told) => {
                        if told.as_deref().is_some_and(is_quota) {
                            self.picture.refused(Counted::Pods);
                        }
                        self.picture.explained(&uid, told.clone());
                        told
                    }
                    Err(failure) => {
                        tracing::debug!(job_name = %run.key.job, ?failure, "the events of a Job cannot be read");
                        None
                    }
                },
            };
            let kind = if told.as_deref().is_some_and(is_quota) { TroubleKind::Quota } else { TroubleKind::NoPod };
            run.trouble = told.map(|told| Trouble::new(kind, &format!("the Job has made no pod: {told}"))).or(run.trouble.take());
        }
    }

    /// Takes a slot until the answer is dropped. Counting and taking must not interleave. What makes files is never kept from starting.
    fn take_slot(&self, job: &JobName, command: RunCommand) -> Result<Slot<'_>, LaunchError> {
        let mut on_the_way = lock(&self.on_the_way);
        let taken = self.taken(&on_the_way)?;
        if command == RunCommand::Record && !taken.contains(job) && taken.len() >= self.config.max_live {
            return Err(LaunchError::Full { limit: self.config.max_live });
        }
        // What makes files is tried whatever was refused before.
        if command == RunCommand::Record && !taken.contains(job) && !self.picture.take_room() {
            return Err(LaunchError::NoRoom { message: "a quota was used up a moment ago".into() });
        }
        *on_the_way.entry(job.clone()).or_default() += 1;
        Ok(Slot { on_the_way: &self.on_the_way, job: job.clone() })
    }
}

/// A launch that is under way; when it is over, however it ended, the picture tells.
struct Slot<'a> {
    on_the_way: &'a Mutex<HashMap<JobName, usize>>,
    job: JobName,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut on_the_way = lock(self.on_the_way);
        if let Some(calls) = on_the_way.get_mut(&self.job) {
            *calls -= 1;
            if *calls == 0 {
                on_the_way.remove(&self.job);
            }
        }
    }
}

fn no_way(error: &dyn std::fmt::Display) -> LaunchError {
    LaunchError::Unavailable { message: format!("no way to an API server: {error}") }
}

#[async_trait]
impl Launcher for KubernetesLauncher {
    async fn launch(&self, spec: &LaunchSpec) -> Result<Launched, LaunchError> {
        let _slot = self.take_slot(&spec.key().job, spec.command())?;
        self.make(spec).await
    }

    async fn list(&self) -> Result<Vec<Observed>, LaunchError> {
        let mut runs = self.picture.runs()?;
        self.explain(&mut runs).await;
        Ok(runs)
    }

    async fn is_absent(&self, run: &RunKey) -> Result<bool, LaunchError> {
        // The Job first: one that is deleted between the looks leaves its pods to be seen.
        let is_absent = match self.cluster.job(run.job.as_str()).await? {
            None => true,
            // Of another attempt, and over: whoever launches the next one replaces it.
            Some(job) => JobView::of(&job).is_some_and(|view| view.key.attempt != run.attempt && view.finish.is_some()),
        };
        Ok(is_absent && self.live_pods(&run.job).await?.is_empty())
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
        let taken = self.taken(&lock(&self.on_the_way))?;
        let free = self.config.max_live.saturating_sub(taken.len());
        Ok(self.picture.room().map_or(free, |room| room.min(free)))
    }

    fn is_held_back(&self) -> bool {
        self.picture.is_held_back()
    }

    fn sees_runs_of(&self, _controller_id: &str) -> bool {
        // Every replica sees every Job of the store.
        true
    }

    async fn logs(&self, run: &RunKey, tail: Tail) -> Result<Option<Vec<ProgramLog>>, LaunchError> {
        let mut pods = self.cluster.pods_of(run.job.as_str()).await?;
        pods.retain(|pod| PodView::of(pod).is_some_and(|view| view.key == *run));
        pods.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|at| at.0));
        let Some(pod) = pods.last() else { return Ok(None) };
        let (name, spec) = (pod.metadata.name.clone().unwrap_or_default(), pod.spec.as_ref());
        let containers = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
        let programs: Vec<String> = containers.map(|container| container.name.clone()).collect();
        let mut logs = Vec::new();
        for program in programs {
            let text = match self.cluster.log(&name, &program, tail).await {
                Ok(text) => tail.of(text.as_bytes(), false),
                Err(Failure::NotFound) => return Ok(None),
                // Not started yet, or its log is gone with its node.
                Err(Failure::Refused(LaunchError::Refused { status: 400, message, .. })) => format!("({message})\n"),
                Err(failure) => return Err(failure.into()),
            };
            logs.push(ProgramLog { program, text });
        }
        Ok(Some(logs))
    }

    async fn changed(&self) {
        self.picture.changed().await;
    }

    async fn ready(&self) -> Result<(), LaunchError> {
        self.picture.ready()
    }
}
