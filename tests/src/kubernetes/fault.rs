//! Faults on demand: refusals, delays, answers that never come or get lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::access::forbidden;
use super::failure::{Cause, Failure};
use super::request::{RequestInfo, Verb};
use super::resource::{Key, Resource};

/// What a fault does to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// Nothing is applied; the answer is this status, with `Retry-After` when given. 401, 403, 409, 410, 422, 429, 500, 503 and
    /// 504 have the reason the API server would give.
    Refuse {
        /// HTTP status.
        code: u16,
        /// Seconds, for 429 and 503.
        retry_after: Option<u32>,
    },
    /// The answer comes late; the write is applied after the delay.
    Delay(Duration),
    /// The request is taken and neither applied nor answered: a half-open connection.
    NeverAnswer,
    /// The write is applied, then the connection is cut before the answer.
    LoseAnswer,
    /// The connection is cut before anything is applied.
    LoseRequest,
}

/// A fault for the requests it matches.
#[derive(Debug, Clone)]
pub struct Fault {
    effect: Effect,
    verb: Option<Verb>,
    resource: Option<Resource>,
    name: Option<String>,
    times: Option<u32>,
    probability: f64,
    hits: Arc<AtomicU64>,
}

impl Fault {
    /// A fault for every request, until it is narrowed.
    pub fn new(effect: Effect) -> Self {
        Self { effect, verb: None, resource: None, name: None, times: None, probability: 1.0, hits: Arc::default() }
    }

    /// A refusal with a status.
    pub fn refuse(code: u16) -> Self {
        Self::new(Effect::Refuse { code, retry_after: None })
    }

    /// Only for this verb on this resource.
    #[must_use]
    pub fn on(mut self, verb: Verb, resource: Resource) -> Self {
        (self.verb, self.resource) = (Some(verb), Some(resource));
        self
    }

    /// Only for the object of this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only for so many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Only for a share of the requests, 0 to 1. The sequence is the same in every run.
    #[must_use]
    pub fn probability(mut self, share: f64) -> Self {
        self.probability = share;
        self
    }

    fn matches(&self, request: &RequestInfo) -> bool {
        self.verb.is_none_or(|verb| verb == request.verb)
            && self.resource.is_none_or(|resource| Some(resource) == request.resource)
            && self.name.as_ref().is_none_or(|name| *name == request.name)
            && self.times != Some(0)
    }
}

/// How often an injected fault struck.
#[derive(Debug, Clone)]
pub struct FaultHits(Arc<AtomicU64>);

impl FaultHits {
    /// The count up to now.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The faults in force, the oldest first.
#[derive(Default)]
pub(crate) struct Faults {
    active: Vec<Fault>,
    dice: u64,
}

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) -> FaultHits {
        let hits = FaultHits(fault.hits.clone());
        self.active.push(fault);
        hits
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// The effect on this request, counted off.
    pub(crate) fn strike(&mut self, request: &RequestInfo) -> Option<Effect> {
        for index in 0..self.active.len() {
            if !self.active[index].matches(request) || self.roll() >= self.active[index].probability {
                continue;
            }
            let fault = &mut self.active[index];
            fault.hits.fetch_add(1, Ordering::SeqCst);
            fault.times = fault.times.map(|left| left.saturating_sub(1));
            return Some(fault.effect);
        }
        None
    }

    /// The next of a fixed sequence in 0..1 (splitmix64).
    fn roll(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The refusal for an injected status.
pub(crate) fn refusal(code: u16, retry_after: Option<u32>, user: &str, request: &RequestInfo) -> Failure {
    let resource = request.resource.unwrap_or(Resource::Jobs);
    let key: Key = request.key(resource);
    let mut failure = match code {
        401 => Failure::new(401, "Unauthorized", "Unauthorized"),
        403 => forbidden(user, request),
        404 => Failure::not_found(&key),
        409 => Failure::modified(&key),
        410 => Failure::too_old("The resourceVersion for the provided list is too old."),
        422 => Failure::invalid(resource, &request.name, &[Cause::forbidden("spec", "refused on demand")]),
        429 => Failure::new(429, "TooManyRequests", "Too many requests, please try again later."),
        503 => Failure::new(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => Failure::new(504, "Timeout", "the request timed out before it was answered"),
        _ => Failure::new(code, "InternalError", "Internal error occurred: refused on demand"),
    };
    failure.retry_after = retry_after.or(if code == 429 { Some(1) } else { None });
    failure
}
