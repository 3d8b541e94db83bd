//! From the outbox to a delivery for each endpoint that wants the event, in the commit that takes it out of the outbox.
//!
//! Replicas race for each event, and one wins: no event is handed on twice, or not at all. Who wins begins the tries at once, as far as
//! the receivers have places; the claim on them is in the same commit.

use std::sync::Arc;

use bot_store::listing::{Listed, Listing};
use bot_store::outbox::{self, Event};
use bot_store::{Commit, DocumentKey, Record, StoreError, Version, Write, clock};
use chrono::{DateTime, Utc};
use tokio::task::JoinSet;

use crate::deliver::{Held, Receiver};
use crate::delivery::{self, Delivery, Pending};
use crate::engine::{Receivers, Slot, Webhooks};
use crate::schedule::delta;

/// Events in one look.
const PAGE: usize = 50;
/// A second conflict on one event is looked at by the next look.
const TRIES: u32 = 2;

struct Planned {
    receiver: Arc<Receiver>,
    delivery: Delivery,
    pending: Pending,
    slot: Option<Slot>,
}

struct Plan {
    outbox: Record,
    planned: Vec<Planned>,
}

impl Plan {
    fn writes(&self) -> Vec<Write> {
        let take_out = Write::delete(self.outbox.key.clone(), self.outbox.version.clone());
        let hand_on = |planned: &Planned| [planned.delivery.create(), planned.pending.create(&planned.delivery.id())];
        std::iter::once(take_out).chain(self.planned.iter().flat_map(hand_on)).collect()
    }
}

impl Webhooks {
    /// Hands a page of events on; true where more may be there.
    pub(crate) async fn fan_out(self: &Arc<Self>, tries: &mut JoinSet<()>) -> Result<bool, StoreError> {
        let page = self.store.list(&Listing::oldest(Listed::Outbox), None, PAGE).await?;
        if page.records.is_empty() {
            return Ok(false);
        }
        // Read after the events: whoever was there when an event happened is among them.
        let receivers = self.receivers().await?;
        let now = clock::now();
        let plans: Vec<Plan> = page.records.into_iter().map(|record| self.plan(record, &receivers, now)).collect();
        let commits = self.store.commit_each(plans.iter().map(Plan::writes).collect()).await;
        for (plan, commit) in plans.into_iter().zip(commits) {
            match commit? {
                Commit::Applied(versions) => self.begin(plan, versions, tries),
                Commit::Conflict => self.again(&plan.outbox.key, &receivers, tries).await?,
            }
        }
        Ok(page.next.is_some())
    }

    fn plan(&self, record: Record, receivers: &Receivers, now: DateTime<Utc>) -> Plan {
        let Some(event) = Event::of(&record) else {
            tracing::error!(document = record.key.path(), "an event of the outbox cannot be read and is dropped");
            return Plan { outbox: record, planned: Vec::new() };
        };
        let wanting = receivers.values().filter(|receiver| receiver.wants(&event));
        let planned = wanting.map(|receiver| {
            let slot = self.slot(receiver);
            let due_at = if slot.is_some() { now + delta(self.pace.claim) } else { now };
            let delivery = Delivery::new(receiver.id(), &receiver.as_told(&event), now);
            Planned { pending: Pending::new(receiver.id(), due_at, now), delivery, receiver: Arc::clone(receiver), slot }
        });
        Plan { planned: planned.collect(), outbox: record }
    }

    /// A conflict: another replica was faster, or a receiver was told already of an event that is told once.
    async fn again(
        self: &Arc<Self>,
        key: &DocumentKey,
        receivers: &Receivers,
        tries: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Some(record) = self.store.read(key).await? else { return Ok(()) };
            let mut plan = self.plan(record, receivers, clock::now());
            let mut fresh = Vec::new();
            for planned in plan.planned {
                if self.store.read(&DocumentKey::Delivery(planned.delivery.id())).await?.is_none() {
                    fresh.push(planned);
                }
            }
            plan.planned = fresh;
            if let Commit::Applied(versions) = self.store.commit(plan.writes()).await? {
                self.begin(plan, versions, tries);
                return Ok(());
            }
        }
        Ok(())
    }

    fn begin(self: &Arc<Self>, plan: Plan, versions: Vec<Version>, tries: &mut JoinSet<()>) {
        let mut versions = versions.into_iter().skip(1);
        for Planned { receiver, delivery, pending, slot } in plan.planned {
            let (Some(delivery_version), Some(pending_version)) = (versions.next(), versions.next()) else { return };
            if let Some(slot) = slot {
                let held = Held { receiver, delivery, delivery_version, pending, pending_version, slot };
                tries.spawn(Arc::clone(self).attempt(held));
            }
        }
    }
}

/// The test button: a delivery of its own, past the outbox, whatever types the endpoint asks for.
pub fn test_of(endpoint: &crate::endpoint::Endpoint, now: DateTime<Utc>) -> (Delivery, Vec<Write>) {
    let data = serde_json::json!({ "endpoint_id": endpoint.id, "message": "This is a test." });
    let event = outbox::Event::new(crate::endpoint::TEST, &endpoint.organization, now, data);
    let delivery = Delivery::new(&endpoint.id, &event, now);
    let pending = Pending::new(&endpoint.id, now, now);
    let writes = vec![delivery.create(), pending.create(&delivery::id(&endpoint.id, &event.id))];
    (delivery, writes)
}
