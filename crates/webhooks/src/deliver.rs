//! What is due is claimed, tried, and written down.
//!
//! A claim moves the moment at which anybody else takes a delivery up behind the longest try, by compare-and-set. So a try that was cut
//! off is made again, at the price that a receiver may get an event twice: its `webhook-id` stays the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bot_store::listing::{ListField, Listed, Listing};
use bot_store::outbox::Event;
use bot_store::{Commit, DocumentKey, StoreError, Version, Write, clock};
use chrono::{DateTime, Utc};
use tokio::task::JoinSet;

use crate::alert::Alert;
use crate::delivery::{Attempt, Delivery, Pending, State};
use crate::endpoint::{self, Endpoint};
use crate::engine::{BLOCKED_LOOK, Receivers, Slot, Webhooks};
use crate::post::{Answer, Message, Outcome};
use crate::schedule::delta;

/// Of what is due, looked at first: whose turn it is.
const HEAD: usize = 100;
/// After a look in which all that was due was taken by others.
const OVERTAKEN: Duration = Duration::from_millis(200);

/// Who gets deliveries.
pub(crate) enum Receiver {
    /// An endpoint.
    Endpoint(Box<Endpoint>),
    /// A topic of the operator's, for alerts.
    Alert(Alert),
}

impl Receiver {
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Endpoint(endpoint) => &endpoint.id,
            Self::Alert(alert) => alert.id(),
        }
    }

    pub(crate) fn is_failing(&self) -> bool {
        matches!(self, Self::Endpoint(endpoint) if endpoint.failing_since_at.is_some())
    }

    fn is_enabled(&self) -> bool {
        match self {
            Self::Endpoint(endpoint) => endpoint.is_enabled,
            Self::Alert(_) => true,
        }
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        match self {
            Self::Endpoint(endpoint) => endpoint.wants(event),
            Self::Alert(alert) => alert.wants(event),
        }
    }

    /// The event as this receiver is told it.
    pub(crate) fn as_told(&self, event: &Event) -> Event {
        match self {
            Self::Endpoint(_) => event.clone(),
            Self::Alert(alert) => alert.as_told(event),
        }
    }
}

/// A delivery that is ours to try.
pub(crate) struct Held {
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) delivery: Delivery,
    pub(crate) delivery_version: Version,
    pub(crate) pending: Pending,
    pub(crate) pending_version: Version,
    /// Dropped with it, and the next one's turn comes.
    pub(crate) slot: Slot,
}

impl Webhooks {
    /// Begins what is due: how long the next look can wait.
    pub(crate) async fn deliver_due(self: &Arc<Self>, tries: &mut JoinSet<()>) -> Result<Duration, StoreError> {
        let now = clock::now();
        // One alone is asked for at first: every document read is billed, and mostly nothing is due.
        let head = self.store.list(&Listing::oldest(Listed::Pending), None, 1).await?;
        let Some(first) = head.records.first() else { return Ok(self.pace.poll) };
        let due_in = Listed::Pending.micros(&first.fields).unwrap_or_default() - now.timestamp_micros();
        if let Some(due_in) = u64::try_from(due_in).ok().filter(|micros| *micros > 0) {
            return Ok(Duration::from_micros(due_in).min(self.pace.poll));
        }
        let head = self.store.list(&Listing::oldest(Listed::Pending), None, HEAD).await?;
        let head: Vec<(String, Pending, Version)> = head.records.iter().filter_map(Pending::of).collect();
        let receivers = self.receivers().await?;
        let is_due = |pending: &Pending| pending.due_at <= now;
        let due: Vec<_> = head.into_iter().filter(|(_, pending, _)| is_due(pending)).collect();
        if due.is_empty() {
            // A document that cannot be read stands in nobody's way.
            return Ok(self.pace.poll);
        }
        let mut has_moved = false;
        for (id, pending, version) in &due {
            if !receivers.get(&pending.endpoint_id).is_some_and(|receiver| receiver.is_enabled()) {
                has_moved |= self.close(id, version.clone(), now).await?;
            }
        }
        let mut is_blocked = false;
        for receiver in self.whose_turn(&due, &receivers) {
            let free = self.free_slots(&receiver);
            is_blocked |= free == 0;
            has_moved |= free > 0 && self.take_up(&receiver, free, now, tries).await?;
        }
        // What freed a place has told so by itself.
        Ok(match (has_moved, is_blocked) {
            (true, _) => Duration::ZERO,
            (false, true) => BLOCKED_LOOK.min(self.pace.poll),
            (false, false) => OVERTAKEN,
        })
    }

    /// Those of whom something is due; where the head is not all that is due, it may be anybody.
    fn whose_turn(&self, due: &[(String, Pending, Version)], receivers: &Receivers) -> Vec<Arc<Receiver>> {
        let is_all = due.len() < HEAD;
        let is_due = |id: &str| due.iter().any(|(_, pending, _)| pending.endpoint_id == id);
        let turn = receivers.values().filter(|receiver| receiver.is_enabled() && (!is_all || is_due(receiver.id())));
        turn.cloned().collect()
    }

    /// Claims what is due of one receiver, as much as it has places for; true where something was claimed.
    async fn take_up(
        self: &Arc<Self>,
        receiver: &Arc<Receiver>,
        free: usize,
        now: DateTime<Utc>,
        tries: &mut JoinSet<()>,
    ) -> Result<bool, StoreError> {
        let listing = Listing { before: Some(now), ..Listing::oldest(Listed::Pending) };
        let listing = listing.with(ListField::Endpoint, vec![receiver.id().to_owned()]);
        let page = self.store.list(&listing, None, free).await?;
        let mut claims = Vec::new();
        for (id, pending, version) in page.records.iter().filter_map(Pending::of) {
            let Some(slot) = self.slot(receiver) else { break };
            let claim = clock::random_id().to_string();
            let claimed = Pending { due_at: now + delta(self.pace.claim), claim, ..pending };
            claims.push((claimed.update(&id, version), id, claimed, slot));
        }
        let commits = self.store.commit_each(claims.iter().map(|(write, ..)| vec![write.clone()]).collect()).await;
        let mut has_moved = false;
        for ((_, id, pending, slot), commit) in claims.into_iter().zip(commits) {
            let Commit::Applied(versions) = commit? else { continue };
            let Some(pending_version) = versions.into_iter().next() else { continue };
            has_moved = true;
            let found = self.store.read(&DocumentKey::Delivery(id.clone())).await?;
            match found.as_ref().and_then(Delivery::of).filter(|(delivery, _)| delivery.state == State::Pending) {
                Some((delivery, delivery_version)) => {
                    let receiver = Arc::clone(receiver);
                    let held = Held { receiver, delivery, delivery_version, pending, pending_version, slot };
                    tries.spawn(Arc::clone(self).attempt(held));
                }
                None => drop(self.store.commit(vec![Write::delete(DocumentKey::Pending(id), pending_version)]).await?),
            }
        }
        Ok(has_moved)
    }

    /// Ends what nobody wants any more: its endpoint is gone, or switched off.
    async fn close(&self, id: &str, version: Version, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let found = self.store.read(&DocumentKey::Delivery(id.to_owned())).await?;
        let mut writes = vec![Write::delete(DocumentKey::Pending(id.to_owned()), version)];
        if let Some((mut delivery, version)) = found.as_ref().and_then(Delivery::of) {
            delivery.end(Some("its endpoint was deleted or switched off"), now);
            writes.push(delivery.update(version));
        }
        Ok(self.store.commit(writes).await?.is_applied())
    }

    /// Tries once and writes down what came of it. Where that cannot be written, it is tried again after the claim.
    pub(crate) async fn attempt(self: Arc<Self>, held: Held) {
        let (tried_at, begun) = (clock::now(), Instant::now());
        let answer = match held.receiver.as_ref() {
            Receiver::Endpoint(endpoint) => {
                let Delivery { event_id, body, .. } = &held.delivery;
                match endpoint.signing(&self.safe, tried_at) {
                    Some(secrets) => {
                        let message = Message { url: &endpoint.url, id: event_id, body, secrets: &secrets };
                        self.poster.post(message, tried_at).await
                    }
                    None => Answer::unsigned(),
                }
            }
            Receiver::Alert(alert) => alert.send(&held.delivery.body, self.pace.deadline).await,
        };
        self.metrics.tried(answer.outcome);
        let attempt = Attempt {
            tried_at,
            result: answer.outcome.as_str().to_owned(),
            status: answer.status,
            millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            answer: answer.excerpt.clone(),
        };
        tracing::debug!(
            receiver = held.receiver.id(),
            result = attempt.result,
            status = attempt.status,
            millis = attempt.millis,
            "a webhook was tried"
        );
        let receiver = Arc::clone(&held.receiver);
        let written = self.write_down(held, attempt, &answer).await;
        let known = match written {
            Ok(()) => self.note_health(&receiver, &answer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = known {
            tracing::warn!(kind = ?error.kind, operation = error.operation, error = error.message, "what came of a webhook could not be written down");
        }
    }

    async fn write_down(&self, held: Held, attempt: Attempt, answer: &Answer) -> Result<(), StoreError> {
        let Held { mut delivery, delivery_version, mut pending, pending_version, slot, .. } = held;
        let (id, now) = (delivery.id(), clock::now());
        delivery.note(attempt);
        let take_out = Write::delete(DocumentKey::Pending(id.clone()), pending_version.clone());
        let second = match answer.outcome {
            Outcome::Accepted => {
                delivery.end(None, now);
                take_out
            }
            Outcome::Gone => {
                delivery.end(Some("the receiver answered 410 Gone"), now);
                take_out
            }
            _ => {
                pending.failures += 1;
                let schedule = &self.pace.schedule;
                match schedule.next(pending.failures, pending.began_at, now, answer.retry_after, clock::chance()) {
                    Some(due_at) => {
                        delivery.next_attempt_at = Some(due_at);
                        pending.due_at = due_at;
                        pending.claim = clock::random_id().to_string();
                        pending.update(&id, pending_version)
                    }
                    None => {
                        delivery.end(Some("nothing was accepted for as long as it is tried"), now);
                        take_out
                    }
                }
            }
        };
        if delivery.state == State::Failed {
            self.metrics.given_up.inc();
        }
        // A conflict: the claim ran out meanwhile, and another's try is the one that is written down.
        self.store.commit(vec![delivery.update(delivery_version), second]).await?;
        drop(slot);
        Ok(())
    }

    /// Writes on the endpoint where its health has changed: it failed for the first time, works again, or is switched off.
    async fn note_health(&self, receiver: &Receiver, answer: &Answer) -> Result<(), StoreError> {
        let Receiver::Endpoint(known) = receiver else { return Ok(()) };
        let now = clock::now();
        if healed(known, answer, now, self.pace.disabled_after).is_none() {
            return Ok(());
        }
        let Some(found) = endpoint::read(self.store.as_ref(), &known.id).await? else { return Ok(()) };
        let Some(changed) = healed(&found.endpoint, answer, now, self.pace.disabled_after) else { return Ok(()) };
        let is_disabled = found.endpoint.is_enabled && !changed.is_enabled;
        // A conflict: somebody edits it, and the next try notes it.
        if self.store.commit(vec![changed.update(found.version)]).await?.is_applied() && is_disabled {
            self.metrics.disabled.inc();
            tracing::warn!(endpoint_id = changed.id, reason = changed.disabled_reason, "a webhook endpoint was switched off");
        }
        Ok(())
    }
}

/// The endpoint as an answer changes it; `None` where it does not.
fn healed(endpoint: &Endpoint, answer: &Answer, now: DateTime<Utc>, disabled_after: Duration) -> Option<Endpoint> {
    let mut changed = endpoint.clone();
    match answer.outcome {
        Outcome::Accepted => changed.failing_since_at = None,
        // Not the receiver's fault: for as long as nothing can be sent nothing is known of it.
        Outcome::Unsigned => changed.failing_since_at = None,
        Outcome::Gone if endpoint.is_enabled => changed.disable(Some("it answered 410 Gone"), now),
        _ => {
            let since = *changed.failing_since_at.get_or_insert(now);
            if endpoint.is_enabled && now - since >= delta(disabled_after) {
                let days = disabled_after.as_secs() / 86_400;
                changed.disable(Some(&format!("it accepted nothing for {days} days")), now);
            }
        }
    }
    (changed != *endpoint).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn an_endpoint_is_switched_off_for_410_and_for_days_of_failure_alone() {
        let endpoint = Endpoint::new("https://x.example/".into(), None, "t", at(0)).unwrap();
        let after = |endpoint: &Endpoint, outcome, seconds| {
            let answer = Answer { outcome, status: None, excerpt: String::new(), retry_after: None };
            healed(endpoint, &answer, at(seconds), Duration::from_secs(5 * 86_400))
        };
        assert_eq!(after(&endpoint, Outcome::Accepted, 0), None);
        let failing = after(&endpoint, Outcome::Refused, 10).unwrap();
        assert_eq!((failing.is_enabled, failing.failing_since_at), (true, Some(at(10))));
        assert_eq!(after(&failing, Outcome::TimedOut, 20), None, "one write for all failures");
        assert_eq!(after(&failing, Outcome::Accepted, 30).unwrap().failing_since_at, None);
        let off = after(&failing, Outcome::Unreachable, 10 + 5 * 86_400).unwrap();
        assert_eq!((off.is_enabled, off.disabled_reason.as_deref()), (false, Some("it accepted nothing for 5 days")));
        assert_eq!(after(&endpoint, Outcome::Unsigned, 10), None, "our fault is not its");
        assert_eq!(after(&failing, Outcome::Unsigned, 10 + 5 * 86_400).unwrap().failing_since_at, None);
        let gone = after(&endpoint, Outcome::Gone, 5).unwrap();
        assert_eq!((gone.is_enabled, gone.disabled_at), (false, Some(at(5))));
    }
}
