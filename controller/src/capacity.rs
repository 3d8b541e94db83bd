//! What the engine knows of places: who has to wait and why, whose place is free again, and whether a person has to be told.
//!
//! Counting is the store's ([`bot_store::protocol::capacity`]); a limit here only ever keeps a bot from being *sent*. A run that makes
//! files is never held up, and nothing that runs is ever ended for a limit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bot_model::capacity::ledger::Refusal;
use bot_model::capacity::queue::{Order, Tier, waiting_since};
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::document::{BotInstance, Fields};
use bot_model::ids::InstanceId;
use bot_model::lifecycle::Step;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::protocol::{InstanceRecord, capacity, exhaustion, organizations};
use bot_store::{DocumentKey, StoreError, Write};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
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
/// Another limit of the same kind is written on a document after this long at the earliest.
const NOTE_AGAIN: TimeDelta = TimeDelta::seconds(60);
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
        let held_by = if self.launcher.is_held_back() { Refusal::Cluster } else { Refusal::Machine };
        (self.free_slots().await, held_by)
    }

    /// Where launches are held back and something became free, whoever waits need not wait for the next poll.
    pub(crate) async fn look_for_room(&self) {
        if self.launcher.is_held_back() && self.free_slots().await > 0 {
            self.wake_claim();
        }
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
        let reason = self.why_it_waits(&record.instance);
        tracing::warn!(bot_instance_id = %record.instance.id, reason = reason.map(Refusal::as_str), "a request timed out in the queue");
        self.end(record, Step::Fail, Outcome::new(OutcomeKind::QueueTimeout), now).await
    }

    /// Which limit an instance waited for when it was looked at last, by this replica or by any.
    pub(crate) fn why_it_waits(&self, instance: &BotInstance) -> Option<Refusal> {
        let seen = lock(&self.capacity).turned_away.get(&instance.id).copied();
        seen.or(instance.facts.waits_for.as_ref().map(|known| known.limit))
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

    /// Writes on the documents of who has to wait what they wait for. Where a document was changed meanwhile, whoever changed it knows
    /// more, or the next look writes it.
    pub(crate) async fn write_down(
        &self,
        records: &[&InstanceRecord],
        turned_away: &BTreeMap<InstanceId, Refusal>,
        now: DateTime<Utc>,
    ) {
        let seen_before: BTreeSet<InstanceId> = lock(&self.capacity).turned_away.keys().cloned().collect();
        let notes = records.iter().filter_map(|record| {
            let limit = *turned_away.get(&record.instance.id)?;
            let fields = note_of(&record.instance, limit, seen_before.contains(&record.instance.id), now);
            let key = DocumentKey::Instance(record.instance.id.clone());
            (!fields.is_empty()).then(|| vec![Write::update(key, record.version.clone(), fields)])
        });
        for answer in self.store.commit_each(notes.collect()).await {
            if let Err(error) = answer {
                self.failed("waits_for", &error);
            }
        }
    }
}

/// What is to be written on the document of who waits for `limit`: nothing at most polls. A place that comes with the next look is not
/// worth a write, nor is a limit that takes another's place every few seconds.
fn note_of(instance: &BotInstance, limit: Refusal, is_seen_before: bool, now: DateTime<Utc>) -> Fields {
    let mut fields = Fields::new();
    if instance.facts.created_at.is_none() {
        // A queued document that has no time of its own is given one, so that it does not stay behind all others.
        fields.insert("created_at".into(), json!(now));
    }
    let is_news = match &instance.facts.waits_for {
        None => is_seen_before,
        Some(known) if known.limit == limit => false,
        Some(known) => known.limit.is_the_organization_s() != limit.is_the_organization_s() || now - known.since >= NOTE_AGAIN,
    };
    if is_news {
        fields.insert("waits_for".into(), json!(instance.waiting_for(limit, now)));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use bot_model::document::WaitsFor;
    use bot_model::meeting_url::MeetingUrl;
    use bot_store::clock;

    #[test]
    fn what_is_waited_for_is_written_when_it_is_news_and_not_at_every_poll() {
        let url = MeetingUrl::parse("https://zoom.us/j/123456789").unwrap();
        let (mut instance, now) = (BotInstance::queued(InstanceId::parse("b").unwrap(), url), clock::now());
        assert!(note_of(&instance, Refusal::Cluster, false, now).contains_key("created_at"));
        instance.facts.created_at = Some(now);
        assert!(note_of(&instance, Refusal::Cluster, false, now).is_empty(), "a place may come with the next look");
        assert_eq!(note_of(&instance, Refusal::Cluster, true, now)["waits_for"]["limit"], "cluster");
        instance.facts.waits_for = Some(WaitsFor { limit: Refusal::Cluster, since: now });
        for (limit, after, is_written) in [
            (Refusal::Cluster, 3_600, false),
            (Refusal::Machine, 5, false),
            (Refusal::Machine, 60, true),
            (Refusal::OrganizationAtOnce, 5, true),
        ] {
            let fields = note_of(&instance, limit, true, now + chrono::TimeDelta::seconds(after));
            assert_eq!(!fields.is_empty(), is_written, "{limit:?} after {after} s");
        }
    }
}
