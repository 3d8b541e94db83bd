//! Requests to the API server: each with a deadline, each failure with a kind. The one place that retries.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use tokio::time::{Instant, sleep, timeout};

use super::names::JOB;
use super::quota::is_quota;
use crate::launch::{LaunchError, Tail};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest time that one step (a launch, a look, a removal) may take with all its retries.
pub(super) const STEP: Duration = Duration::from_secs(30);
const LONGEST_MESSAGE: usize = 300;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was answered: 404.
    NotFound,
    /// It was answered: 409.
    Conflict,
    /// It was answered, and asking again would change nothing.
    Refused(LaunchError),
    /// It may have been carried out or not; asking again may help, after the time that the server named.
    Unclear { message: String, after: Option<Duration> },
}

impl From<Failure> for LaunchError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::NotFound => Self::Unavailable { message: "the object is not there".into() },
            Failure::Conflict => Self::Unavailable { message: "the object was changed meanwhile".into() },
            Failure::Unclear { message, .. } => Self::Unavailable { message },
        }
    }
}

/// The Jobs and pods of one namespace.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) jobs: Api<Job>,
    pub(super) pods: Api<Pod>,
    events: Api<Event>,
}

impl Cluster {
    pub(super) fn new(client: &kube::Client, namespace: &str) -> Self {
        Self {
            jobs: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
        }
    }

    /// One try: an answer that is lost must not be asked for twice without a look.
    pub(super) async fn create(&self, job: &Job) -> Result<Job, Failure> {
        ask(self.jobs.create(&PostParams::default(), job)).await
    }

    pub(super) async fn job(&self, name: &str) -> Result<Option<Job>, Failure> {
        again(|| async { found(ask(self.jobs.get(name)).await) }).await
    }

    /// The pods of a run, in every state, straight from the server.
    pub(super) async fn pods_of(&self, job: &str) -> Result<Vec<Pod>, Failure> {
        let params = ListParams::default().labels(&format!("{JOB}={job}"));
        again(|| async { ask(self.pods.list(&params)).await.map(|list| list.items) }).await
    }

    /// What the Job controller said last when it could not make the pod of a Job; `None` where it said nothing. One try.
    pub(super) async fn why_no_pod(&self, uid: &str) -> Result<Option<String>, Failure> {
        let params = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=FailedCreate"));
        let mut events = ask(self.events.list(&params)).await?.items;
        // No time of Kubernetes is finer than a second; of those within one, any is as good.
        events.sort_by_key(|event| event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref()).map(|at| at.0));
        Ok(events.pop().and_then(|event| event.message))
    }

    /// The end of what a container wrote. The server bounds the lines first and then cuts the bytes off at their end, so that bound is the
    /// looser one here.
    pub(super) async fn log(&self, pod: &str, container: &str, tail: Tail) -> Result<String, Failure> {
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: i64::try_from(tail.lines).ok(),
            limit_bytes: i64::try_from(tail.bytes.saturating_mul(4)).ok(),
            ..LogParams::default()
        };
        ask(self.pods.logs(pod, &params)).await
    }

    /// Foreground: the Job stays until its pods are gone. Everything is in the body, since a query beside one is ignored.
    pub(super) async fn delete_job(&self, name: &str, uid: &str) -> Result<(), Failure> {
        let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..only(uid) };
        again(|| async { gone(ask(self.jobs.delete(name, &params)).await) }).await
    }

    /// With its own grace period: never a forced one, which leaves the container running unseen.
    pub(super) async fn delete_pod(&self, name: &str, uid: &str) -> Result<(), Failure> {
        again(|| async { gone(ask(self.pods.delete(name, &only(uid))).await) }).await
    }
}

fn only(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

async fn ask<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match timeout(ANSWER, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(Failure::Unclear { message: format!("no answer within {} s", ANSWER.as_secs()), after: None }),
    }
}

fn found<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(Failure::NotFound) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A delete whose object is gone, or is another one by now, has nothing left to do.
fn gone<T>(answer: Result<T, Failure>) -> Result<(), Failure> {
    match answer {
        Ok(_) | Err(Failure::NotFound | Failure::Conflict) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Repeats a request that may be repeated, until it is answered or the step's time is over.
pub(super) async fn again<T, F: Future<Output = Result<T, Failure>>>(request: impl Fn() -> F) -> Result<T, Failure> {
    let until = Instant::now() + STEP;
    let mut pauses = pauses();
    loop {
        match request().await {
            Err(Failure::Unclear { message, after }) => {
                let pause = after.or_else(|| pauses.next()).unwrap_or(ANSWER);
                if Instant::now() + pause >= until {
                    return Err(Failure::Unclear { message, after });
                }
                sleep(pause).await;
            }
            answer => return answer,
        }
    }
}

/// Between tries: exponential with full jitter.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}

pub(super) fn classify(error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        return Failure::Unclear { message: shortened(&chain(error)), after: None };
    };
    let status: &Status = status;
    match status.code {
        404 if is_of_the_object(status) => Failure::NotFound,
        409 => Failure::Conflict,
        403 if is_quota(&status.message) => Failure::Refused(LaunchError::NoRoom { message: shortened(&status.message) }),
        408 | 429 | 500..=599 | 0 => Failure::Unclear {
            message: shortened(&format!("{} {}: {}", status.code, status.reason, status.message)),
            after: status
                .details
                .as_ref()
                .map(|details| Duration::from_secs(details.retry_after_seconds.into()))
                .filter(|after| !after.is_zero()),
        },
        _ => Failure::Refused(LaunchError::Refused {
            status: status.code,
            reason: status.reason.clone(),
            message: shortened(&status.message),
        }),
    }
}

/// A namespace that is missing is no answer about a Job.
fn is_of_the_object(status: &Status) -> bool {
    status.details.as_ref().is_none_or(|details| details.kind != "namespaces")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_MESSAGE).collect()
}
