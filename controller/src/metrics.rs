//! Every metric of the controller. Labels come from closed enums, never from ids or documents.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use bot_model::capacity::Limits;
use bot_model::capacity::queue::Tier;
use bot_model::lifecycle::Phase;
use bot_model::meeting_url::Platform;
use bot_model::outcome::{Attribution, Outcome, OutcomeKind};
use bot_store::StoreErrorKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Seconds from sub-poll to hopeless.
const LAG_BUCKETS: [f64; 12] = [0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0];
const POLL_BUCKETS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// How something went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// From code.
    pub result: &'static str,
}

/// How calls ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    outcome: &'static str,
    attribution: &'static str,
    platform: &'static str,
}

impl OutcomeLabels {
    fn new(kind: OutcomeKind, attribution: Attribution, platform: &'static str) -> Self {
        let attribution = match attribution {
            Attribution::Ours => "ours",
            Attribution::Host => "host",
            Attribution::Platform => "platform",
            Attribution::Configuration => "configuration",
            Attribution::Participant => "participant",
        };
        Self { outcome: kind.as_str(), attribution, platform }
    }
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PhaseLabel {
    phase: &'static str,
}

/// A tier of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TierLabel {
    tier: &'static str,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// From code.
    pub reason: &'static str,
}

/// What kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    kind: &'static str,
}

/// A loop's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LoopLabel {
    pass: &'static str,
}

/// The registry and its metrics.
pub struct Metrics {
    registry: Registry,
    /// Of webhooks; the crate's own.
    pub webhooks: webhooks::metrics::Metrics,
    outcomes: Family<OutcomeLabels, Counter>,
    active: Family<PhaseLabel, Gauge>,
    store_errors: Family<Kind, Counter>,
    poll_seconds: Family<LoopLabel, Histogram, fn() -> Histogram>,
    /// From a meeting's start (or document) to its launch.
    pub scheduled_lag: Histogram,
    /// By reason: `too_late`, `no_capacity`, `organization_limit`, `queue_timeout`.
    pub missed: Family<Reason, Counter>,
    /// `created`, `twin`, `rearmed`, `rejected`, `lost`.
    pub enqueued: Family<ResultLabel, Counter>,
    /// `won`, `error`.
    pub claims: Family<ResultLabel, Counter>,
    /// Claims lost to another controller: a value, not an error.
    pub lease_conflicts: Counter,
    /// `started`, `already_there`, `full`, `failed`.
    pub launches: Family<ResultLabel, Counter>,
    /// By the reaper's action.
    pub reaped: Family<ResultLabel, Counter>,
    /// What a person should know.
    pub alerts: Family<Reason, Counter>,
    /// Documents left alone because their status or schema is unknown.
    pub unknown_status: Counter,
    /// Unusable `bot_instances` documents that were given a reason.
    pub quarantined: Counter,
    /// Runs on this machine, alive.
    pub runs_alive: Gauge,
    /// Runs that could start now.
    pub slots_free: Gauge,
    /// Seconds since the last successful poll, at the scrape.
    pub poll_age: Gauge<f64, AtomicU64>,
    /// Seconds that the live instance which is longest past its meeting's end is past it; 0 where none is.
    pub oldest_overdue: Gauge<f64, AtomicU64>,
    /// Seconds for which the recording that has waited longest for its next segment in the bucket has waited.
    pub segment_age: Gauge<f64, AtomicU64>,
    /// Log lines that nobody took in time, since the start; set at the scrape.
    pub log_lines_dropped: Gauge,
    queued: Family<TierLabel, Gauge>,
    oldest_waiting: Gauge<f64, AtomicU64>,
    /// Places taken, where they are counted.
    pub places_held: Gauge,
    /// `MAX_ACTIVE_BOTS`; 0 is without a limit.
    pub places: Gauge,
    /// 1 while bots wait for want of capacity.
    pub exhausted: Gauge,
    /// The most by which known meetings exceed the places within the next 24 hours.
    pub forecast_shortfall: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("meetingbot"),
            webhooks: webhooks::metrics::Metrics::default(),
            outcomes: Family::default(),
            active: Family::default(),
            store_errors: Family::default(),
            poll_seconds: Family::new_with_constructor(|| Histogram::new(POLL_BUCKETS)),
            scheduled_lag: Histogram::new(LAG_BUCKETS),
            missed: Family::default(),
            enqueued: Family::default(),
            claims: Family::default(),
            lease_conflicts: Counter::default(),
            launches: Family::default(),
            reaped: Family::default(),
            alerts: Family::default(),
            unknown_status: Counter::default(),
            quarantined: Counter::default(),
            runs_alive: Gauge::default(),
            slots_free: Gauge::default(),
            poll_age: Gauge::default(),
            oldest_overdue: Gauge::default(),
            segment_age: Gauge::default(),
            log_lines_dropped: Gauge::default(),
            queued: Family::default(),
            oldest_waiting: Gauge::default(),
            places_held: Gauge::default(),
            places: Gauge::default(),
            exhausted: Gauge::default(),
            forecast_shortfall: Gauge::default(),
        };
        metrics.register();
        metrics.zero();
        metrics
    }

    /// The same, with the number of places.
    pub fn of(limits: &Limits) -> Self {
        let metrics = Self::new();
        metrics.places.set(limits.active.map_or(0, i64::from));
        metrics
    }

    /// Every series of a closed list begins at zero: a first increase from nothing is invisible to a rate.
    fn zero(&self) {
        let results: [(&Family<ResultLabel, Counter>, &[&'static str]); 4] = [
            (&self.enqueued, &["created", "twin", "rearmed", "rejected", "lost"]),
            (&self.claims, &["won", "error"]),
            (&self.launches, &["started", "already_there", "full", "failed"]),
            (&self.reaped, &["adopt", "take_over", "relaunch", "finalize", "settle", "remove_run"]),
        ];
        for (family, labels) in results {
            for result in labels {
                drop(family.get_or_create(&ResultLabel { result }));
            }
        }
        let alerts = [
            "capacity_exhausted",
            "older_run_alive",
            "pending_too_long",
            "lease_silent",
            "not_bound",
            "run_not_visible",
            "run_without_instance",
        ];
        let reasons: [(&Family<Reason, Counter>, &[&'static str]); 2] =
            [(&self.missed, &["too_late", "no_capacity", "organization_limit", "queue_timeout"]), (&self.alerts, &alerts)];
        for (family, labels) in reasons {
            for reason in labels {
                drop(family.get_or_create(&Reason { reason }));
            }
        }
        for kind in ["unavailable", "unknown", "denied", "refused"] {
            drop(self.store_errors.get_or_create(&Kind { kind }));
        }
        for pass in ["discover", "cancel", "claim", "reap", "reap_changed"] {
            drop(self.poll_seconds.get_or_create(&LoopLabel { pass }));
        }
        for kind in OutcomeKind::ALL {
            for platform in Platform::configured() {
                drop(self.outcomes.get_or_create(&OutcomeLabels::new(*kind, kind.attribution(), platform.as_str())));
            }
        }
        self.phases(|_| 0);
        self.queue(&Tier::ALL.into_iter().map(|tier| (tier, 0)).collect(), 0.0);
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("outcomes", "Calls that ended, by outcome", self.outcomes.clone());
        r.register("active", "Instances that are not terminal, by phase", self.active.clone());
        r.register("store_errors", "Failed calls to the store", self.store_errors.clone());
        r.register("poll_seconds", "Time of one pass of a loop", self.poll_seconds.clone());
        r.register("scheduled_lag_seconds", "From when a meeting was due to its launch", self.scheduled_lag.clone());
        r.register("missed", "Meetings whose time passed before a bot could be sent", self.missed.clone());
        r.register("enqueued", "Meetings looked at that changed something", self.enqueued.clone());
        r.register("claims", "Claims on instances", self.claims.clone());
        r.register("lease_conflicts", "Claims lost to another controller", self.lease_conflicts.clone());
        r.register("launches", "Launches of runs", self.launches.clone());
        r.register("reaped", "Actions of the reaper", self.reaped.clone());
        r.register("alerts", "Things that a person should know", self.alerts.clone());
        r.register("unknown_status", "Documents left alone, their status being unknown", self.unknown_status.clone());
        r.register("quarantined", "Unusable instances that were given a reason", self.quarantined.clone());
        r.register("runs_alive", "Runs alive on this machine", self.runs_alive.clone());
        r.register("slots_free", "Runs that could start now", self.slots_free.clone());
        r.register("poll_age_seconds", "Since the last successful poll", self.poll_age.clone());
        r.register("oldest_overdue_seconds", "Past its meeting's end, the longest of the live", self.oldest_overdue.clone());
        r.register(
            "segment_age_seconds",
            "Since a recording's last segment came to the bucket, the longest",
            self.segment_age.clone(),
        );
        r.register("log_lines_dropped", "Log lines that nobody took in time", self.log_lines_dropped.clone());
        r.register("queued", "Bots that are due and wait for a place, by tier", self.queued.clone());
        r.register("oldest_waiting_seconds", "Waiting for a place, the longest", self.oldest_waiting.clone());
        r.register("places_held", "Places taken, over the whole deployment", self.places_held.clone());
        r.register("places", "Places there are, over the whole deployment; 0 is without a limit", self.places.clone());
        r.register("capacity_exhausted", "1 while bots wait for want of capacity", self.exhausted.clone());
        r.register(
            "forecast_shortfall",
            "By how many bots known meetings exceed the places within the next 24 hours, at most",
            self.forecast_shortfall.clone(),
        );
        self.webhooks.register(r);
        r.register("build", "The version that runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// A call ended.
    pub fn outcome(&self, outcome: &Outcome, platform: &'static str) {
        self.outcomes.get_or_create(&OutcomeLabels::new(outcome.kind, outcome.attribution, platform)).inc();
    }

    /// How many instances are in each phase now.
    pub fn phases(&self, count: impl Fn(Phase) -> usize) {
        for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()) {
            let value = i64::try_from(count(phase)).unwrap_or(i64::MAX);
            self.active.get_or_create(&PhaseLabel { phase: phase.as_str() }).set(value);
        }
    }

    /// Who waits for a place, and for how long at most.
    pub fn queue(&self, tiers: &BTreeMap<Tier, i64>, oldest_secs: f64) {
        for (tier, count) in tiers {
            self.queued.get_or_create(&TierLabel { tier: tier.as_str() }).set(*count);
        }
        self.oldest_waiting.set(oldest_secs);
    }

    /// A call to the store failed.
    pub fn store_error(&self, kind: StoreErrorKind) {
        let kind = match kind {
            StoreErrorKind::Unavailable => "unavailable",
            StoreErrorKind::Unknown => "unknown",
            StoreErrorKind::Denied => "denied",
            StoreErrorKind::Refused => "refused",
        };
        self.store_errors.get_or_create(&Kind { kind }).inc();
    }

    /// A pass of a loop took this long.
    pub fn pass(&self, name: &'static str, seconds: f64) {
        self.poll_seconds.get_or_create(&LoopLabel { pass: name }).observe(seconds);
    }

    /// Adds one to a family by its `result`.
    pub fn count(family: &Family<ResultLabel, Counter>, result: &'static str) {
        family.get_or_create(&ResultLabel { result }).inc();
    }

    /// Adds one to a family by its `reason`.
    pub fn reason(family: &Family<Reason, Counter>, reason: &'static str) {
        family.get_or_create(&Reason { reason }).inc();
    }

    /// The text of a scrape (OpenMetrics).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_metrics_is_the_documented_one() {
        let text = Metrics::new().encode();
        let listed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let golden = [
            "meetingbot_outcomes counter",
            "meetingbot_active gauge",
            "meetingbot_store_errors counter",
            "meetingbot_poll_seconds histogram",
            "meetingbot_scheduled_lag_seconds histogram",
            "meetingbot_missed counter",
            "meetingbot_enqueued counter",
            "meetingbot_claims counter",
            "meetingbot_lease_conflicts counter",
            "meetingbot_launches counter",
            "meetingbot_reaped counter",
            "meetingbot_alerts counter",
            "meetingbot_unknown_status counter",
            "meetingbot_quarantined counter",
            "meetingbot_runs_alive gauge",
            "meetingbot_slots_free gauge",
            "meetingbot_poll_age_seconds gauge",
            "meetingbot_oldest_overdue_seconds gauge",
            "meetingbot_segment_age_seconds gauge",
            "meetingbot_log_lines_dropped gauge",
            "meetingbot_queued gauge",
            "meetingbot_oldest_waiting_seconds gauge",
            "meetingbot_places_held gauge",
            "meetingbot_places gauge",
            "meetingbot_capacity_exhausted gauge",
            "meetingbot_forecast_shortfall gauge",
            "meetingbot_webhook_attempts counter",
            "meetingbot_webhook_oldest_undelivered_seconds gauge",
            "meetingbot_webhook_given_up counter",
            "meetingbot_webhook_endpoints_disabled counter",
            "meetingbot_build info",
        ];
        assert_eq!(listed, golden);
    }

    #[test]
    fn an_outcome_carries_whose_doing_it_was() {
        let metrics = Metrics::new();
        metrics.outcome(&Outcome::new(bot_model::outcome::OutcomeKind::Denied), "meet");
        let wanted = r#"meetingbot_outcomes_total{outcome="denied",attribution="host",platform="meet"} 1"#;
        assert!(metrics.encode().contains(wanted), "{}", metrics.encode());
    }
}
