//! The feed of all timelines: one look at the store for every listener of this replica, while there is one.
//!
//! An event is committed a moment after the instant that it names, by the clock of who wrote it; where many bots are launched or settled
//! in one pass, minutes after. So every look goes back over [`OVERLAP`], now and then over [`LATEST`], and leaves out what it has told
//! already: an event is told late, never lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bot_model::document::TimelineEvent;
use bot_model::lifecycle::Phase;
use bot_store::listing::{ListField, Listed, Listing};
use bot_store::{DocumentKey, Page, Record, Store, StoreError, clock};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// How late an event may be committed, clocks' differences included.
const OVERLAP: TimeDelta = TimeDelta::seconds(15);
/// The same of what a controller writes in the longest pass that it makes (300 s), with a commit that is tried again (30 s).
pub(crate) const LATEST: TimeDelta = TimeDelta::seconds(330);
/// Looks of which one goes back that far: events are read for it, and each read is billed.
const FAR_LOOKS: u64 = 20;
/// Between looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events that a slow listener may be behind; past it it is cut off, and resumes.
const BEHIND: usize = 4_096;
/// Events in one page.
const PAGE: usize = 300;

/// One event of the feed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = FeedEvent)]
pub(crate) struct FeedEvent {
    /// Sorts by time; the `id` of the server-sent event.
    pub id: String,
    /// The bot.
    pub bot_id: String,
    /// The tenant.
    pub organization: String,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// Phase after the change.
    #[schema(value_type = String)]
    pub phase: Phase,
    /// What happened.
    pub event: String,
    /// Who wrote it.
    pub actor: String,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// For a person.
    pub detail: String,
}

impl FeedEvent {
    fn of(record: Record) -> Option<Self> {
        let DocumentKey::Event(bot, id) = record.key else { return None };
        let event: TimelineEvent = serde_json::from_value(record.fields.into()).ok()?;
        let TimelineEvent { occurred_at, phase, event, actor, attempt, detail, creator_organization_id: organization } = event;
        Some(Self { id, bot_id: bot.to_string(), organization, occurred_at, phase, event, actor, attempt, detail })
    }
}

/// The feed of one replica.
pub(crate) struct Feed {
    store: Arc<dyn Store>,
    stop: CancellationToken,
    looking: Arc<Mutex<Option<broadcast::Sender<Arc<FeedEvent>>>>>,
}

impl Feed {
    pub(crate) fn new(store: Arc<dyn Store>, stop: CancellationToken) -> Self {
        Self { store, stop, looking: Arc::default() }
    }

    /// What happens from now on; starts to look where nobody listened.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<FeedEvent>> {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = looking.as_ref() {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(BEHIND);
        *looking = Some(sender.clone());
        let look = Look { store: Arc::clone(&self.store), told: HashMap::new(), looks: 0 };
        tokio::spawn(look.go_on(sender, Arc::clone(&self.looking), self.stop.clone()));
        receiver
    }

    /// What happened since an instant, of these organisations, page by page.
    pub(crate) async fn past(
        &self,
        from: DateTime<Utc>,
        organizations: Option<Vec<String>>,
        after: Option<&str>,
    ) -> Result<(Vec<FeedEvent>, Option<String>), StoreError> {
        let mut listing = Listing { from: Some(from), ..Listing::oldest(Listed::Events) };
        if let Some(organizations) = organizations {
            listing = listing.with(ListField::Organization, organizations);
        }
        let Page { records, next } = self.store.list(&listing, after, PAGE).await?;
        Ok((records.into_iter().filter_map(FeedEvent::of).collect(), next))
    }
}

struct Look {
    store: Arc<dyn Store>,
    /// Told already, with the instants after which they cannot come again.
    told: HashMap<String, DateTime<Utc>>,
    looks: u64,
}

impl Look {
    async fn go_on(
        mut self,
        sender: broadcast::Sender<Arc<FeedEvent>>,
        looking: Arc<Mutex<Option<broadcast::Sender<Arc<FeedEvent>>>>>,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            if let Err(error) = self.tell(&sender).await {
                tracing::warn!(kind = ?error.kind, error = error.message, "the feed could not look");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let mut looking = looking.lock().unwrap_or_else(PoisonError::into_inner);
            if sender.receiver_count() == 0 {
                *looking = None;
                return;
            }
        }
        // Dropping the last sender ends every stream.
        *looking.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn tell(&mut self, sender: &broadcast::Sender<Arc<FeedEvent>>) -> Result<(), StoreError> {
        let now = clock::now();
        let (far, near) = (now - LATEST, now - OVERLAP);
        let from = if self.looks.is_multiple_of(FAR_LOOKS) { far } else { near };
        // What was committed before anybody listened is in the past that whoever resumes reads by himself.
        let is_past = |event: &FeedEvent| self.looks == 0 && event.occurred_at < near;
        let listing = Listing { from: Some(from), ..Listing::oldest(Listed::Events) };
        let mut cursor = None;
        loop {
            let page = self.store.list(&listing, cursor.as_deref(), PAGE).await?;
            for event in page.records.into_iter().filter_map(FeedEvent::of) {
                let is_new = self.told.insert(format!("{}/{}", event.bot_id, event.id), event.occurred_at).is_none();
                if is_new && !is_past(&event) {
                    let _ = sender.send(Arc::new(event));
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        self.looks += 1;
        // As far back as any later look goes.
        self.told.retain(|_, at| *at >= far);
        Ok(())
    }
}
