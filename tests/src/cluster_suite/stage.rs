//! What one scenario plays with: its controllers, documents and room, and how they are cleared away.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use tokio::sync::Mutex;

use super::LIMIT;
use super::documents::{Documents, Instance};
use super::history::{History, JobSeen, PodSeen};
use super::reach::Service;
use super::room::Room;
use super::site::{Controllers, Participant, Site};
use crate::process::until;

/// The stage of one scenario.
pub struct Stage<'a> {
    /// Where it plays.
    pub site: &'a Site,
    /// What the cluster did.
    pub history: &'a History,
    /// Its documents.
    pub documents: Documents<'a>,
    /// Its room.
    pub room: Room<'a>,
    name: String,
    project: String,
    props: Mutex<(Vec<Controllers>, Vec<Participant>)>,
}

impl<'a> Stage<'a> {
    /// For a scenario.
    pub fn new(site: &'a Site, history: &'a History, scenario: &str) -> Self {
        let name = scenario.replace('_', "-");
        let project = format!("suite-{name}");
        Self {
            site,
            history,
            documents: Documents::new(site.reach(), &project),
            room: Room::new(site.reach(), &name),
            name,
            project,
            props: Mutex::default(),
        }
    }

    /// Starts controllers; `extra` goes over the suite's own settings.
    pub async fn controllers(&self, replicas: u32, extra: &[(&str, &str)]) -> Result<()> {
        let own = [
            ("GCP_PROJECT_ID", self.project.clone()),
            ("GCS_BUCKET", "recordings".into()),
            ("KUBERNETES_NAMESPACE", self.site.namespace().into()),
            ("MANAGER_IMAGE", self.site.image("manager")),
            ("MEETING_BOT_IMAGE", self.site.image("meeting-bot")),
            ("JOB_SERVICE_ACCOUNT", "default".into()),
            ("POLL_INTERVAL", "1".into()),
            ("REAP_INTERVAL_SECONDS", "2".into()),
            ("TERMINATION_GRACE_SECONDS", "60".into()),
            ("SCRATCH_STORAGE_SIZE", "2Gi".into()),
            ("MANAGER_CPU", "100m".into()),
            ("MANAGER_MEMORY", "256Mi".into()),
            ("MEETING_BOT_CPU", "500m".into()),
            ("MEETING_BOT_MEMORY", "2Gi".into()),
        ];
        let extra = extra.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let all: std::collections::BTreeMap<_, _> = own.into_iter().chain(self.site.addresses()).chain(extra).collect();
        let settings: Vec<_> = all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let controllers = self.site.controllers(&self.name, replicas, &settings).await?;
        self.props.lock().await.0.push(controllers);
        Ok(())
    }

    /// Schedules the scenario's meeting for now, and opens its room.
    pub async fn meet(&self, lasts: Duration) -> Result<()> {
        self.room.open().await?;
        self.documents.schedule(&format!("{}-meeting", self.name), &self.name, lasts).await
    }

    /// Clara talks in the room before anybody else comes.
    pub async fn talk(&self) -> Result<()> {
        self.room.open().await?;
        let clara = self.site.participant(&self.name).await?;
        self.props.lock().await.1.push(clara);
        self.room.wait_for("clock", "in_call", LIMIT).await.map(drop)
    }

    /// Lets the bot in.
    pub async fn admit(&self) -> Result<()> {
        let guest = self.room.wait_for("guest", "waiting", LIMIT).await?;
        self.room.admit(&guest).await
    }

    /// Waits for the instance to fit.
    pub async fn instance(&self, what: &str, fits: impl Fn(&Instance) -> bool) -> Result<Instance> {
        let last = std::sync::Mutex::new("no instance yet".to_owned());
        let found = until(what, LIMIT, || async {
            let all = self.documents.instances().await?;
            if let (Some(first), Ok(mut last)) = (all.first(), last.lock()) {
                *last = first.summary();
            }
            Ok(all.into_iter().find(|instance| fits(instance)))
        })
        .await;
        let last = last.into_inner().unwrap_or_default();
        found.with_context(|| format!("the instance stands at: {last}"))
    }

    /// Waits for a phase of an attempt, and for that attempt's live pod.
    pub async fn reaches(&self, phase: &str, attempt: u32) -> Result<(Instance, PodSeen)> {
        let what = format!("phase {phase} in attempt {attempt}");
        let instance = self.instance(&what, |one| one.phase() == phase && one.attempt() == attempt).await?;
        let job = instance.job()?;
        let pod = until("its live pod", LIMIT, || async { Ok(self.history.live(&job)) }).await?;
        Ok((instance, pod))
    }

    /// Waits until something holds of the pods of a Job's name.
    pub async fn pods(&self, what: &str, job: &str, holds: impl Fn(&[PodSeen]) -> bool) -> Result<Vec<PodSeen>> {
        let seen = until(what, LIMIT, || async { Ok(Some(self.history.pods(job)).filter(|pods| holds(pods))) }).await;
        seen.with_context(|| format!("the pods: {:#?}", self.history.pods(job)))
    }

    /// Waits until something holds of the Jobs of a name.
    pub async fn jobs(&self, what: &str, name: &str, holds: impl Fn(&[JobSeen]) -> bool) -> Result<Vec<JobSeen>> {
        let seen = until(what, LIMIT, || async { Ok(Some(self.history.jobs(name)).filter(|jobs| holds(jobs))) }).await;
        seen.with_context(|| format!("the Jobs: {:#?}", self.history.jobs(name)))
    }

    /// The video of a recording, judged by its content.
    pub async fn judged(&self, instance: &Instance) -> Result<practice_room::judge::Judgement> {
        let prefix = instance.prefix();
        ensure!(!prefix.is_empty(), "the instance has no path");
        let file = |name: &str| format!("/recordings/{prefix}/{name}");
        for name in ["audio.m4a", "recording.json"] {
            self.site.reach().ask(Service::Bucket, Method::GET, &file(name), None).await.with_context(|| format!("no {name}"))?;
        }
        let video = self.site.reach().ask(Service::Bucket, Method::GET, &file("video.mp4"), None).await?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("video.mp4");
        std::fs::write(&path, &video)?;
        Ok(practice_room::judge::judge(&path)?)
    }

    /// All pods of the namespace.
    pub fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.site.client().clone(), self.site.namespace())
    }

    /// All Jobs of the namespace.
    pub fn job_api(&self) -> Api<Job> {
        Api::namespaced(self.site.client().clone(), self.site.namespace())
    }

    /// Clears away: the controllers first, so that they do not start anything anew, then Jobs with their pods.
    pub async fn strike(&self) {
        let (controllers, participants) = std::mem::take(&mut *self.props.lock().await);
        for controller in controllers {
            controller.stop().await;
        }
        drop(participants);
        let instances = self.documents.instances().await.unwrap_or_default();
        for job in instances.iter().filter_map(|instance| instance.job().ok()) {
            let _ = self.job_api().delete(&job, &DeleteParams::foreground()).await;
            let gone = || async { Ok(self.history.live(&job).is_none().then_some(())) };
            let _ = until("the end of its pods", LIMIT, gone).await;
        }
    }
}
