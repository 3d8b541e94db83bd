//! What the engine knows of places: who has to wait and why, whose place is free again, and whether a person has to be told.
//!
//! Counting is the store's ([`bot_store::protocol::capacity`]); a limit here only ever keeps a bot from being *sent*. A run that makes
//! files is never held up, and nothing that runs is ever ended for a limit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bot_model::capacity::ledger::Refusal;
use bot_model::capacity::queue::{Order, Tier, waiting_since};
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::document::BotInstance;
use bot_model::ids::InstanceId;
use bot_model::lifecycle::Step;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::protocol::{InstanceRecord, capacity, exhaustion, organizations};
use bot_store::{StoreError, clock};
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::engine::{Engine, lock};
use crate::launch::RunCommand;
use crate::metrics::Metrics;

/// An organization's limits are read anew after this long.
const LIMITS_FRESH: Duration = Duration::from_secs(30);
/// Whether anybody counts is looked at anew after this long.
const COUNTING_FRESH: Duration = Duration::from_secs(10);
/// Organizations remembered at most.
const MOST_ORGANIZATIONS: usize = 10_000;
/// A machine or a cluster that is full for a shorter time than this is not told of.
const FULL_FOR: Duration = Duration::from_secs(10);
/// Nobody has to have waited for this long before capacity counts as free again.
const FREE_FOR: Duration = Duration::from_secs(30);
/// Between looks at what other replicas told.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What the engine remembers of places, all of it rebuilt by looking again.
#[derive(Default)]
pub(crate) struct Memory {
    organizations: HashMap<String, (Instant, Option<OrganizationLimits>)>,
    is_counted: Option<(Instant, bool)>,
    /// Who had to wait in the last look, and why.
    turned_away: BTreeMap<InstanceId, Refusal>,
    /// Instances that have ended, whose places were not given back yet.
    ended: BTreeSet<InstanceId>,
    /// Runs that wait for a node or a quota.
    pub(crate) stuck: usize,
    exhausted_since: Option<Instant>,
    free_since: Option<Instant>,
    /// What was told last, and when that was looked at.
    told: Option<(Instant, bool)>,
}

impl Engine {
    /// The limits that hold for these instances.
    pub(crate) async fn limits(&self, records: &[InstanceRecord]) -> Result<Limits, StoreError> {
        let names: BTreeSet<&str> = records.iter().map(|record| record.instance.facts.creator_organization_id.as_str()).collect();
        let mut limits = self.pace.limits.clone();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            let known = lock(&self.capacity).organizations.get(name).filter(|(at, _)| at.elapsed() < LIMITS_FRESH).cloned();
            let own = match known {
                Some((_, own)) => own,
                None => {
                    let own = organizations::read(self.store.as_ref(), name).await?.map(|(own, _)| own);
                    let mut memory = lock(&self.capacity);
                    if memory.organizations.len() >= MOST_ORGANIZATIONS {
                        memory.organizations.clear();
                    }
                    memory.organizations.insert(name.to_owned(), (Instant::now(), own.clone()));
                    own
                }
            };
            limits.organizations.extend(own.map(|own| (name.to_owned(), own)));
        }
        Ok(limits)
    }

    /// True where places are counted: the environment limits something, or somebody set an organization's limits.
    pub(crate) async fn is_counted(&self) -> Result<bool, StoreError> {
        if self.pace.limits.is_limiting() {
            return Ok(true);
        }
        if let Some((_, is_counted)) = lock(&self.capacity).is_counted.filter(|(at, _)| at.elapsed() < COUNTING_FRESH) {
            return Ok(is_counted);
        }
        let is_counted = capacity::read(self.store.as_ref()).await?.is_some();
        lock(&self.capacity).is_counted = Some((Instant::now(), is_counted));
        Ok(is_counted)
    }

    /// Bots that may be sent now as far as machine or cluster go, and what holds the others back.
    pub(crate) async fn room(&self) -> (usize, Refusal) {
        if lock(&self.capacity).stuck >= self.pace.max_pending {
            return (0, Refusal::Cluster);
        }
        (self.free_slots().await, Refusal::Machine)
    }

    /// Its place is free, once [`Engine::give_back`] says so.
    pub(crate) fn has_ended(&self, id: &InstanceId) {
        lock(&self.capacity).ended.insert(id.clone());
    }

    /// Gives the places back of those who are known to have ended. Best effort: [`Engine::account`] finds who is left.
    pub(crate) async fn give_back(&self) {
        let ended: Vec<InstanceId> = std::mem::take(&mut lock(&self.capacity).ended).into_iter().collect();
        if ended.is_empty() || !self.is_counted().await.unwrap_or(true) {
            return;
        }
        match capacity::ended(self.store.as_ref(), &ended).await {
            Ok(0) => {}
            Ok(_) => self.wake_claim(),
            Err(error) => self.failed("places", &error),
        }
    }

    /// Compares the ledger with what lives.
    pub(crate) async fn account(&self, records: &[InstanceRecord], now: DateTime<Utc>) -> Result<(), StoreError> {
        if !self.is_counted().await? {
            return Ok(());
        }
        let joins = |instance: &&BotInstance| {
            capacity::holds_a_place(instance.phase) && self.command_for(instance, now) == RunCommand::Record
        };
        let live = records.iter().map(|record| &record.instance).filter(joins);
        let live = live.map(|instance| (instance.id.clone(), instance.facts.creator_organization_id.clone())).collect();
        if capacity::settle_up(self.store.as_ref(), &live).await? > 0 {
            self.wake_claim();
        }
        if let Some(places) = capacity::read(self.store.as_ref()).await? {
            self.metrics.places_held.set(i64::try_from(places.ledger.holders.len()).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// The place of an instance in the queue.
    pub(crate) fn order(&self, instance: &BotInstance, now: DateTime<Utc>) -> Order {
        Order::of(instance, self.pace.window.lead, self.pace.ageing, now)
    }

    /// Ends a request that waited for longer than it allows.
    pub(crate) async fn time_out(&self, record: &InstanceRecord, now: DateTime<Utc>) -> Result<(), StoreError> {
        Metrics::reason(&self.metrics.missed, "queue_timeout");
        let reason = self.why_it_waits(&record.instance.id);
        tracing::warn!(bot_instance_id = %record.instance.id, reason = reason.map(Refusal::as_str), "a request timed out in the queue");
        self.end(record, Step::Fail, Outcome::new(OutcomeKind::QueueTimeout), now).await
    }

    /// Which limit an instance waited for when it was looked at last.
    pub(crate) fn why_it_waits(&self, id: &InstanceId) -> Option<Refusal> {
        lock(&self.capacity).turned_away.get(id).copied()
    }

    /// Remembers who waits and why, measures it, and tells a change.
    pub(crate) async fn waiting(
        &self,
        records: &[&InstanceRecord],
        turned_away: BTreeMap<InstanceId, Refusal>,
        now: DateTime<Utc>,
    ) {
        let mut tiers: BTreeMap<Tier, i64> = Tier::ALL.into_iter().map(|tier| (tier, 0)).collect();
        let mut oldest: f64 = 0.0;
        for record in records.iter().filter(|record| turned_away.contains_key(&record.instance.id)) {
            *tiers.entry(Tier::of(record.instance.facts.priority)).or_default() += 1;
            oldest = oldest.max((now - waiting_since(&record.instance, self.pace.window.lead, now)).as_seconds_f64());
        }
        self.metrics.queue(&tiers, oldest);
        let common = turned_away.values().copied().filter(|refusal| !refusal.is_the_organization_s());
        let (reason, count) = (common.clone().min(), common.count());
        lock(&self.capacity).turned_away = turned_away;
        if let Err(error) = self.tell_of_capacity(reason, count, now).await {
            self.failed("capacity", &error);
        }
    }

    /// Tells the deployment's state where it changed for longer than a moment.
    async fn tell_of_capacity(&self, reason: Option<Refusal>, waiting: usize, now: DateTime<Utc>) -> Result<(), StoreError> {
        let is_news = {
            let mut memory = lock(&self.capacity);
            let since = match reason {
                Some(_) => {
                    memory.free_since = None;
                    *memory.exhausted_since.get_or_insert_with(Instant::now)
                }
                None => {
                    memory.exhausted_since = None;
                    *memory.free_since.get_or_insert_with(Instant::now)
                }
            };
            let is_lasting = match reason {
                Some(Refusal::Capacity) => true,
                Some(_) => since.elapsed() >= FULL_FOR,
                None => since.elapsed() >= FREE_FOR,
            };
            let is_known = memory.told.is_some_and(|(at, told)| told == reason.is_some() && at.elapsed() < LOOK_EVERY);
            is_lasting && !is_known
        };
        if !is_news {
            return Ok(());
        }
        if exhaustion::tell(self.store.as_ref(), reason, waiting, now).await? {
            match reason {
                Some(reason) => {
                    Metrics::reason(&self.metrics.alerts, "capacity_exhausted");
                    tracing::warn!(reason = reason.as_str(), waiting, "capacity is exhausted: bots wait");
                }
                None => tracing::info!("no bot waits for capacity any more"),
            }
        }
        lock(&self.capacity).told = Some((Instant::now(), reason.is_some()));
        self.metrics.exhausted.set(i64::from(reason.is_some()));
        Ok(())
    }

    /// When a queued document that has no time of its own is to be given one, so that it does not stay behind all others.
    pub(crate) async fn stamp(&self, record: &InstanceRecord) {
        if record.instance.facts.created_at.is_some() {
            return;
        }
        let mut fields = bot_model::document::Fields::new();
        fields.insert("created_at".into(), serde_json::json!(clock::now()));
        let key = bot_store::DocumentKey::Instance(record.instance.id.clone());
        let write = bot_store::Write::update(key, record.version.clone(), fields);
        if let Err(error) = self.store.commit(vec![write]).await {
            self.failed("stamp", &error);
        }
    }
}
