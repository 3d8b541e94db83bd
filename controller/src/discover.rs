//! Finds due meetings and cancelled ones. Level-triggered: every look judges the documents as they stand, so that nothing
//! depends on having seen a change.

use std::collections::BTreeSet;

use bot_model::configuration::Naming;
use bot_model::document::{BotInstance, Meeting};
use bot_model::ids::MeetingPath;
use bot_model::lifecycle::Phase;
use bot_store::protocol::enqueue::{Enqueued, enqueue};
use bot_store::protocol::{Advanced, InstanceRecord, Note, cancel};
use bot_store::{DocumentKey, MeetingQuery, Record, StoreError};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;

use crate::engine::{Engine, PAGE, lock};
use crate::metrics::Metrics;

/// Meetings worked on at once.
const AT_ONCE: usize = 16;
/// Meetings named one by one at most; past it everything is looked at.
const MOST_NAMED: usize = 200;
/// Looks again after a lost race, before it is left to the next pass.
const LOST_TRIES: u32 = 3;
/// Outcomes remembered as counted at most.
const MOST_COUNTED: usize = 100_000;

/// Where to look. The window around now is looked at by every look that is due, whatever hints come in between.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Look {
    /// The window around now alone.
    #[default]
    Window,
    /// These meetings, too.
    These(BTreeSet<MeetingPath>),
    /// Every meeting with a wanted status.
    Everything,
}

impl Look {
    /// Widens the look.
    pub fn add(&mut self, other: Look) {
        match (&mut *self, other) {
            (Look::Everything, _) | (_, Look::Window) => {}
            (Look::These(paths), Look::These(more)) if paths.len() + more.len() <= MOST_NAMED => paths.extend(more),
            (Look::Window, these @ Look::These(_)) => *self = these,
            _ => *self = Look::Everything,
        }
    }

    /// True where nothing but the window is to be looked at.
    pub fn is_nothing(&self) -> bool {
        *self == Look::Window
    }
}

impl Engine {
    /// Looks for due meetings and enqueues them, all of them, page by page. One document's trouble delays no other.
    pub async fn discover(&self, look: Look, now: DateTime<Utc>) -> Result<(), StoreError> {
        let statuses = self.store.naming().meeting_status_values.clone();
        let mut trouble = None;
        let query = match look {
            Look::Everything => MeetingQuery::WithStatus(statuses),
            Look::Window | Look::These(_) => {
                let window = self.pace.window;
                MeetingQuery::StartingWithin { statuses, from: now - window.max_late - self.pace.sweep, to: now + window.lead }
            }
        };
        if let Look::These(paths) = look {
            trouble = self.look_at_these(paths, now).await;
            // The documents of the whole window are billed: they are read as often as the poll says, and not with each hint.
            if self.poll_age().is_some_and(|age| age < self.pace.poll) {
                return trouble.filter(StoreError::is_transient).map_or(Ok(()), Err);
            }
        }
        let mut cursor = None;
        loop {
            let page = self.store.meetings(&query, cursor.as_deref(), PAGE).await?;
            let looks = futures::stream::iter(page.records).map(|record| self.look_at(record, now));
            let mut answers = looks.buffer_unordered(AT_ONCE);
            while let Some(answer) = answers.next().await {
                trouble = answer.err().or(trouble);
            }
            cursor = page.next;
            if cursor.is_none() || self.stop.is_cancelled() {
                break;
            }
        }
        match trouble.filter(StoreError::is_transient) {
            Some(error) => Err(error),
            None => {
                self.polled();
                Ok(())
            }
        }
    }

    async fn look_at_these(&self, paths: BTreeSet<MeetingPath>, now: DateTime<Utc>) -> Option<StoreError> {
        let looks = futures::stream::iter(paths).map(|path| async move {
            match self.store.read(&DocumentKey::Meeting(path)).await? {
                Some(record) => self.look_at(record, now).await,
                None => Ok(()),
            }
        });
        let mut trouble = None;
        let mut answers = looks.buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            trouble = answer.err().or(trouble);
        }
        trouble
    }

    async fn look_at(&self, record: Record, now: DateTime<Utc>) -> Result<(), StoreError> {
        if self.stop.is_cancelled() || Meeting::link(&record.fields, self.store.naming()).is_some() {
            return Ok(());
        }
        let meeting = record.key.path();
        let answer = self.enqueue(&record, now).await.inspect_err(|error| {
            self.failed("enqueue", error);
            tracing::warn!(meeting_id = meeting, "a meeting could not be looked at");
        })?;
        // What was said on the document before is not counted again.
        let is_news = |status: &str| record.fields.get("bot_status").and_then(|value| value.as_str()) != Some(status);
        let counted = match &answer {
            Enqueued::Early | Enqueued::AlreadyLinked(_) => None,
            Enqueued::Created(id) => Some(("created", id.to_string())),
            Enqueued::Twin(id) => Some(("twin", id.to_string())),
            Enqueued::Rearmed(id) => Some(("rearmed", id.to_string())),
            Enqueued::Lost => Some(("lost", String::new())),
            Enqueued::Missed => {
                if is_news("missed") {
                    Metrics::reason(&self.metrics.missed, "too_late");
                    tracing::warn!(meeting_id = meeting, "missed");
                }
                None
            }
            Enqueued::Rejected(problem) => {
                if is_news("failed") {
                    tracing::warn!(meeting_id = meeting, reason = %problem, "a meeting is unusable");
                    Metrics::count(&self.metrics.enqueued, "rejected");
                }
                None
            }
        };
        if let Some((result, id)) = counted {
            Metrics::count(&self.metrics.enqueued, result);
            tracing::info!(meeting_id = meeting, bot_instance_id = id, result, "enqueued");
            self.wake_claim();
        }
        Ok(())
    }

    /// A lost race is looked at again at once: the winner is mostly a twin, to be linked to.
    async fn enqueue(&self, record: &Record, now: DateTime<Utc>) -> Result<Enqueued, StoreError> {
        let mut answer = enqueue(self.store.as_ref(), record, &self.pace.window, now).await?;
        for _ in 0..LOST_TRIES {
            if answer != Enqueued::Lost {
                break;
            }
            let Some(again) = self.store.read(&record.key).await? else { break };
            answer = enqueue(self.store.as_ref(), &again, &self.pace.window, now).await?;
        }
        Ok(answer)
    }

    /// Cancels the live instances all of whose meetings are cancelled or deleted. Merely leaving `scheduled` cancels nothing.
    pub async fn cancel(&self, look: Look, now: DateTime<Utc>) -> Result<(), StoreError> {
        let concerned = |paths: &[MeetingPath]| match &look {
            Look::Window => false,
            Look::These(these) => paths.iter().any(|path| these.contains(path)),
            Look::Everything => !paths.is_empty(),
        };
        let served: Vec<_> = lock(&self.served).iter().filter(|(_, paths)| concerned(paths)).map(|(id, _)| id.clone()).collect();
        for id in served {
            if self.stop.is_cancelled() {
                break;
            }
            let record = InstanceRecord::read(self.store.as_ref(), &id).await?;
            let Some(record) = record.filter(|record| !record.instance.phase.is_terminal()) else {
                lock(&self.served).remove(&id);
                continue;
            };
            let instance = &record.instance;
            let asked = instance.facts.cancel_requested_at.is_some();
            // Asked while a launch was under way that then came to nothing: it is queued, and nobody is there to obey.
            let is_left = asked && instance.phase == Phase::Queued && !instance.may_be_recorded();
            if is_left || (!asked && self.is_unwanted(instance).await?) {
                let note = Note::new("controller", "cancel_requested");
                match cancel::cancel(self.store.as_ref(), &record, note, now).await? {
                    Advanced::Applied(after) => {
                        tracing::info!(bot_instance_id = %id, phase = %after.instance.phase, "cancelled by its document");
                        self.settled(&after.instance);
                    }
                    Advanced::Conflict => self.look_again(meetings_of(&record.instance)),
                    Advanced::Illegal(_) => {}
                }
            }
        }
        Ok(())
    }

    async fn is_unwanted(&self, instance: &BotInstance) -> Result<bool, StoreError> {
        let paths = meetings_of(instance);
        for path in &paths {
            let record = self.store.read(&DocumentKey::Meeting(path.clone())).await?;
            if record.is_some_and(|record| !is_cancelled(&record, self.store.naming())) {
                return Ok(false);
            }
        }
        Ok(!paths.is_empty())
    }

    /// Counts the outcome of an instance that has ended, once.
    pub(crate) fn settled(&self, instance: &BotInstance) {
        if instance.phase.is_terminal() {
            self.has_ended(&instance.id);
        }
        if let (true, Some(outcome)) = (instance.phase.is_terminal(), &instance.facts.outcome) {
            let mut memory = lock(&self.memory);
            if memory.counted.len() > MOST_COUNTED {
                memory.counted.clear();
            }
            if !memory.counted.insert(instance.id.clone()) {
                return;
            }
            self.metrics.outcome(outcome, instance.facts.meeting_url.platform().as_str());
        }
    }
}

fn is_cancelled(record: &Record, naming: &Naming) -> bool {
    Meeting::status(&record.fields, naming).is_some_and(|status| naming.meeting_cancel_values.iter().any(|value| value == status))
}

/// Every meeting document that an instance serves.
pub(crate) fn meetings_of(instance: &BotInstance) -> Vec<MeetingPath> {
    let linked = instance.facts.linked_meetings.iter().map(|linked| linked.path.clone());
    let mut paths: Vec<MeetingPath> = linked.chain(instance.facts.meeting_path.clone()).collect();
    paths.sort();
    paths.dedup();
    paths
}
