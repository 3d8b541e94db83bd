//! What is counted. The controller registers it with its own.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::post::Outcome;

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    attempts: Family<ResultLabel, Counter>,
    /// Seconds since the event that has waited longest for being delivered; 0 where none waits.
    pub(crate) oldest: Gauge<f64, AtomicU64>,
    /// Deliveries that were given up.
    pub(crate) given_up: Counter,
    /// Endpoints that were switched off because of what they answer.
    pub(crate) disabled: Counter,
}

impl Metrics {
    /// Puts them into a registry, every series at zero.
    pub fn register(&self, registry: &mut Registry) {
        for outcome in Outcome::ALL {
            drop(self.attempts.get_or_create(&ResultLabel { result: outcome.as_str() }));
        }
        registry.register("webhook_attempts", "Tries to deliver a webhook, by how they ended", self.attempts.clone());
        registry.register(
            "webhook_oldest_undelivered_seconds",
            "Since the event that has waited longest for its delivery",
            self.oldest.clone(),
        );
        registry.register("webhook_given_up", "Deliveries that were given up", self.given_up.clone());
        registry.register("webhook_endpoints_disabled", "Endpoints switched off for what they answer", self.disabled.clone());
    }

    pub(crate) fn tried(&self, outcome: Outcome) {
        self.attempts.get_or_create(&ResultLabel { result: outcome.as_str() }).inc();
    }
}
