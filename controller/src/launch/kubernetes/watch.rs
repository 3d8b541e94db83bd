//! What the API server says of our Jobs and pods, kept up to date by one watch each.
//!
//! The client library resumes a watch where it broke off and lists anew where it may not (410, or a watch that fell silent); this
//! module keeps small projections of what comes. The picture may lag behind: what is decided on absence is looked up anew.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::api::Cluster;
use super::quota::{Counted, Quota};
use super::view::{JobView, PodView, observe};
use crate::launch::{LaunchError, Observed};

/// A watch is opened anew this often, so that one that fell silent is noticed.
const REOPEN_SECS: u32 = 60;
/// Objects in one page of a list.
const PAGE: u32 = 200;
/// A failure older than this, and not seen again, is over.
const FAILING_FOR: Duration = Duration::from_secs(90);
/// Making a pod takes no longer, where nothing is in the way.
const NO_POD_AFTER: Duration = Duration::from_secs(1);
/// When a Job that has no pod is looked at, one pause after the other; later looks are the reaper's own.
const LOOK_FOR_POD: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(6), Duration::from_secs(6)];
/// Why a Job has no pod is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The picture, shared with the tasks that keep it.
#[derive(Clone, Default)]
pub(super) struct Picture {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// By name.
    jobs: HashMap<String, JobView>,
    /// By uid.
    pods: HashMap<String, PodView>,
    /// Lists in the making.
    new_jobs: Option<HashMap<String, JobView>>,
    new_pods: Option<HashMap<String, PodView>>,
    jobs_listed: bool,
    pods_listed: bool,
    failed: Option<(Instant, String)>,
    /// Jobs that were removed for us, and are left to their TTL for their logs' sake.
    forgotten: HashSet<String>,
    /// Jobs without a pod, by uid.
    podless: HashMap<String, Podless>,
    quota: Quota,
}

/// A Job that has no pod yet.
struct Podless {
    since: Instant,
    /// When that was asked last, and what the Job controller said.
    told: Option<(Instant, Option<String>)>,
}

impl Picture {
    /// Starts the two watches; they end with the runtime.
    pub(super) fn follow(&self, cluster: &Cluster, selector: &str) {
        let config = || watcher::Config::default().labels(selector).timeout(REOPEN_SECS).page_size(PAGE);
        let jobs = watcher(cluster.jobs.clone(), config()).default_backoff();
        let pods = watcher(cluster.pods.clone(), config()).default_backoff();
        tokio::spawn(self.clone().keep(jobs, State::on_job));
        tokio::spawn(self.clone().keep(pods, State::on_pod));
    }

    async fn keep<K>(
        self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
        on: impl Fn(&mut State, watcher::Event<K>) -> bool + Send,
    ) {
        let mut events = pin!(events);
        loop {
            match events.try_next().await {
                Ok(Some(event)) => {
                    if on(&mut self.lock(), event) {
                        self.changed.notify_one();
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a watch failed; it is taken up again");
                    self.lock().failed = Some((Instant::now(), chain(&error)));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns after a change that somebody should look at: a run is over, or in trouble.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the picture is whole and kept up to date.
    pub(super) fn ready(&self) -> Result<(), LaunchError> {
        let state = self.lock();
        let failing = state.failed.as_ref().filter(|(at, _)| at.elapsed() < FAILING_FOR || !state.is_whole());
        match failing {
            Some((_, message)) => Err(LaunchError::Unavailable { message: message.clone() }),
            None if state.is_whole() => Ok(()),
            None => Err(LaunchError::Unavailable { message: "Jobs and pods are not listed yet".into() }),
        }
    }

    /// Every run.
    pub(super) fn runs(&self) -> Result<Vec<Observed>, LaunchError> {
        let state = self.lock();
        if !state.is_whole() {
            let message = state.failed.as_ref().map_or("Jobs and pods are not listed yet", |(_, message)| message);
            return Err(LaunchError::Unavailable { message: message.to_owned() });
        }
        Ok(state.runs())
    }

    /// Takes in a Job that was just made, before its watch tells of it; asks for a look where it gets no pod, of which nothing tells.
    pub(super) fn made(&self, job: JobView) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.podless.entry(job.uid.clone()).or_insert_with(|| Podless { since: Instant::now(), told: None });
        tokio::spawn(self.clone().expect_pod(job.key.job.to_string(), job.key.attempt));
        for jobs in state.new_jobs.iter_mut().chain([&mut state.jobs]) {
            // The watch may have been faster, and then knows more.
            if jobs.get(job.key.job.as_str()).is_none_or(|known| known.uid != job.uid) {
                jobs.insert(job.key.job.to_string(), job.clone());
            }
        }
    }

    /// Says that something changed as long as a Job that was made has no pod, a few times.
    async fn expect_pod(self, job: String, attempt: u32) {
        for pause in LOOK_FOR_POD {
            tokio::time::sleep(pause).await;
            let state = self.lock();
            if !state.jobs.contains_key(&job) || !state.pods_of(&job, attempt).is_empty() {
                return;
            }
            drop(state);
            self.changed.notify_one();
        }
    }

    /// A quota refused a launch.
    pub(super) fn refused(&self, counted: Counted) {
        self.lock().quota.refused(counted, Instant::now());
    }

    /// How many may be launched as far as quotas go; `None` where none is known to be used up.
    pub(super) fn room(&self) -> Option<usize> {
        self.lock().quota.room(Instant::now())
    }

    /// Takes the room for one launch; false where launches are held back.
    pub(super) fn take_room(&self) -> bool {
        self.lock().quota.take(Instant::now())
    }

    /// True while a quota holds launches back.
    pub(super) fn is_held_back(&self) -> bool {
        self.lock().quota.is_held()
    }

    /// The uid of a Job that has had no pod for longer than making one takes, and what is known of why; `None` inside where that is
    /// to be asked (again).
    pub(super) fn podless(&self, job: &str) -> Option<(String, Option<Option<String>>)> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let uid = state.jobs.get(job).filter(|view| view.finish.is_none() && !view.is_deleting)?.uid.clone();
        let uids: HashSet<&str> = state.jobs.values().map(|job| job.uid.as_str()).collect();
        state.podless.retain(|uid, _| uids.contains(uid.as_str()));
        let known = state.podless.entry(uid.clone()).or_insert_with(|| Podless { since: Instant::now(), told: None });
        if known.since.elapsed() < NO_POD_AFTER {
            return None;
        }
        let told = known.told.as_ref().filter(|(at, _)| at.elapsed() < ASK_AGAIN).map(|(_, told)| told.clone());
        Some((uid, told))
    }

    /// Remembers why a Job has no pod.
    pub(super) fn explained(&self, uid: &str, told: Option<String>) {
        if let Some(known) = self.lock().podless.get_mut(uid) {
            known.told = Some((Instant::now(), told));
        }
    }

    /// Hides a Job that is over.
    pub(super) fn forget(&self, job: &str, attempt: u32) -> Result<(), LaunchError> {
        let mut state = self.lock();
        let Some(view) = state.jobs.get(job).filter(|view| view.key.attempt == attempt) else { return Ok(()) };
        let uid = view.uid.clone();
        match observe(Some(view), &state.pods_of(job, attempt)) {
            Some(seen) if !seen.state.is_over() => Err(LaunchError::Alive),
            _ => {
                state.forgotten.insert(uid);
                Ok(())
            }
        }
    }
}

impl State {
    fn is_whole(&self) -> bool {
        self.jobs_listed && self.pods_listed
    }

    fn pods_of(&self, job: &str, attempt: u32) -> Vec<&PodView> {
        self.pods.values().filter(|pod| pod.key.job.as_str() == job && pod.key.attempt == attempt).collect()
    }

    fn runs(&self) -> Vec<Observed> {
        let mut by_run: HashMap<(&str, u32), Vec<&PodView>> = HashMap::new();
        for pod in self.pods.values() {
            by_run.entry((pod.key.job.as_str(), pod.key.attempt)).or_default().push(pod);
        }
        let mut seen: Vec<Observed> = Vec::with_capacity(self.jobs.len());
        for job in self.jobs.values() {
            let pods = by_run.remove(&(job.key.job.as_str(), job.key.attempt)).unwrap_or_default();
            let is_hidden = self.forgotten.contains(&job.uid) || (job.is_deleting && job.finish.is_some());
            seen.extend(observe(Some(job), &pods).filter(|run| !(is_hidden && run.state.is_over())));
        }
        // Pods whose Job is gone.
        seen.extend(by_run.values().filter_map(|pods| observe(None, pods)));
        seen
    }

    /// Takes an event in; answers whether somebody should look.
    fn on_job(&mut self, event: watcher::Event<Job>) -> bool {
        match event {
            watcher::Event::Init => self.new_jobs = Some(HashMap::new()),
            watcher::Event::InitApply(job) => {
                if let (Some(new), Some(view)) = (&mut self.new_jobs, JobView::of(&job)) {
                    new.insert(view.key.job.to_string(), view);
                }
            }
            watcher::Event::InitDone => {
                self.jobs = self.new_jobs.take().unwrap_or_default();
                (self.jobs_listed, self.failed) = (true, None);
                self.drop_orphans();
                return true;
            }
            watcher::Event::Apply(job) => {
                let Some(view) = JobView::of(&job) else { return false };
                let is_over = view.finish.is_some();
                let before = self.jobs.insert(view.key.job.to_string(), view);
                return is_over && before.is_none_or(|before| before.finish.is_none());
            }
            watcher::Event::Delete(job) => {
                if let Some(view) = JobView::of(&job)
                    && self.jobs.get(view.key.job.as_str()).is_some_and(|known| known.uid == view.uid)
                {
                    self.jobs.remove(view.key.job.as_str());
                    self.drop_orphans();
                    // One that was over was looked at then; but a quota may have counted it.
                    return self.quota.freed(Counted::Jobs) || view.finish.is_none();
                }
            }
        }
        false
    }

    /// The same for a pod.
    fn on_pod(&mut self, event: watcher::Event<Pod>) -> bool {
        match event {
            watcher::Event::Init => self.new_pods = Some(HashMap::new()),
            watcher::Event::InitApply(pod) => {
                if let (Some(new), Some(view)) = (&mut self.new_pods, PodView::of(&pod)) {
                    new.insert(view.uid.clone(), view);
                }
            }
            watcher::Event::InitDone => {
                let before = std::mem::replace(&mut self.pods, self.new_pods.take().unwrap_or_default());
                (self.pods_listed, self.failed) = (true, None);
                for (uid, pod) in before {
                    self.pods.entry(uid).or_insert(PodView { is_gone: true, ..pod });
                }
                self.drop_orphans();
                return true;
            }
            watcher::Event::Apply(pod) => {
                let Some(view) = PodView::of(&pod) else { return false };
                let (trouble, is_live) = (view.trouble.as_ref().map(|trouble| trouble.kind), view.is_live());
                let before = self.pods.insert(view.uid.clone(), view);
                if before.is_none() {
                    self.quota.admitted();
                }
                let ends = !is_live && before.as_ref().is_some_and(PodView::is_live);
                let is_freed = ends && self.quota.freed(Counted::Pods);
                let is_new = before.and_then(|before| before.trouble).map(|trouble| trouble.kind) != trouble;
                return is_freed || (trouble.is_some() && is_new);
            }
            watcher::Event::Delete(pod) => {
                if let Some(view) = PodView::of(&pod) {
                    let before = self.pods.insert(view.uid.clone(), PodView { is_gone: true, ..view });
                    self.drop_orphans();
                    return before.as_ref().is_some_and(PodView::is_live) && self.quota.freed(Counted::Pods);
                }
            }
        }
        false
    }

    /// Pods that are gone are remembered for as long as their Job is there.
    fn drop_orphans(&mut self) {
        if !self.jobs_listed {
            return;
        }
        let jobs = &self.jobs;
        self.pods.retain(|_, pod| {
            !pod.is_gone || jobs.get(pod.key.job.as_str()).is_some_and(|job| job.key.attempt == pod.key.attempt)
        });
        let uids: HashSet<&str> = self.jobs.values().map(|job| job.uid.as_str()).collect();
        self.forgotten.retain(|uid| uids.contains(uid.as_str()));
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if !text.contains(&inner.to_string()) {
            text = format!("{text}: {inner}");
        }
        source = inner.source();
    }
    text.chars().take(300).collect()
}
