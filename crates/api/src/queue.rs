//! The queue as it stands: who waits for what, at which place, and when a place will be free. Read from the store, kept for a moment,
//! and told only as far as a key sees.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use bot_model::capacity::estimate::{History, Holding, Waiting, starts};
use bot_model::capacity::ledger::{Asking, Ledger, Refusal};
use bot_model::capacity::queue::{Order, Tier, waiting_since};
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::document::BotInstance;
use bot_model::lifecycle::Phase;
use bot_model::schedule::Due;
use bot_store::listing::{ListField, Listed, Listing};
use bot_store::protocol::capacity::live;
use bot_store::protocol::{InstanceRecord, capacity, organizations};
use bot_store::{Store, StoreError, clock};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Viewer;
use crate::input::{Params, limit};
use crate::problem::{Kind, Problem};
use crate::state::{Api, Settings};
use crate::view::{BotView, MeetingView};

/// A picture of the queue is given out for this long.
const FRESH: Duration = Duration::from_secs(2);
/// What calls lasted is measured anew after this long.
const HISTORY_FRESH: Duration = Duration::from_secs(300);
/// Calls that are measured.
const MEASURED: usize = 100;

/// Where a bot stands in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct QueuePlace {
    /// From 1.
    pub place: usize,
    /// `low`, `normal`, `high` or `urgent`, by its priority.
    pub tier: &'static str,
    /// What it waits for: `capacity`, `organization_at_once`, `organization_per_day`, `machine` or `cluster` (nodes, or a quota); absent where it
    /// is about to be sent.
    pub waits_for: Option<&'static str>,
    /// When it will be sent, from how long calls last; absent where that can never be.
    pub estimated_start_at: Option<DateTime<Utc>>,
    /// When it began to wait.
    pub waiting_since: DateTime<Utc>,
    /// When its request gives up.
    pub times_out_at: Option<DateTime<Utc>>,
}

/// A bot that waits.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct QueueEntry {
    /// The bot.
    pub bot_id: String,
    /// Whose.
    pub organization: String,
    /// Higher first; 100 are worth `QUEUE_AGEING_SECONDS` of waiting.
    pub priority: i64,
    #[serde(flatten)]
    pub queue: QueuePlace,
}

/// Everything at one moment.
#[derive(Clone)]
pub(crate) struct Picture {
    taken: Instant,
    pub(crate) now: DateTime<Utc>,
    pub(crate) entries: Vec<QueueEntry>,
    /// All that were queued: those too that are not due yet, or asked to be cancelled, and so have no entry.
    queued: BTreeSet<String>,
    pub(crate) places: Option<u32>,
    pub(crate) live: Vec<BotInstance>,
    pub(crate) ledger: Ledger,
    pub(crate) history: Arc<History>,
    pub(crate) limits: Limits,
    order: Vec<Order>,
    waiting: Vec<Waiting>,
    holding: Vec<Holding>,
}

/// Pictures that were taken.
#[derive(Default)]
pub(crate) struct Pictures {
    picture: tokio::sync::Mutex<Option<Arc<Picture>>>,
    history: tokio::sync::Mutex<Option<(Instant, Arc<History>)>>,
}

impl Picture {
    /// When a request that came now would have its bot sent.
    pub(crate) fn start_of(&self, organization: &str, priority: i64, settings: &Settings) -> Option<DateTime<Utc>> {
        let order = Order::new(self.now, priority, settings.ageing);
        let at = self.order.partition_point(|other| *other <= order);
        let mut waiting = self.waiting.clone();
        waiting.insert(at, asking(&self.limits, &self.ledger, (organization, true), self.history.typical(), self.now));
        starts(self.now, self.places, &self.holding, &waiting).get(at).copied().flatten()
    }

    /// The same, with the limits of somebody who has no bot in it.
    fn with_limits(&self, organization: &str, own: OrganizationLimits) -> Self {
        let mut limits = self.limits.clone();
        limits.organizations.insert(organization.to_owned(), own);
        Self { limits, ..self.clone() }
    }

    pub(crate) fn place_of(&self, bot: &str) -> Option<&QueuePlace> {
        self.entries.iter().find(|entry| entry.bot_id == bot).map(|entry| &entry.queue)
    }
}

/// The places that there are: the deployment's, and those of what launches.
pub(crate) fn places(settings: &Settings) -> u32 {
    let here = u32::try_from(settings.max_live).unwrap_or(u32::MAX);
    settings.limits.active.map_or(here, |all| all.min(here))
}

impl Api {
    /// A picture that is not old, shared by everybody who asks meanwhile.
    pub(crate) async fn picture(&self) -> Result<Arc<Picture>, StoreError> {
        self.picture_since(FRESH).await
    }

    async fn picture_since(&self, age: Duration) -> Result<Arc<Picture>, StoreError> {
        let mut kept = self.pictures.picture.lock().await;
        if let Some(picture) = kept.as_ref().filter(|picture| picture.taken.elapsed() < age) {
            return Ok(Arc::clone(picture));
        }
        let picture = Arc::new(take(self).await?);
        *kept = Some(Arc::clone(&picture));
        Ok(picture)
    }

    /// One that was begun after an instant.
    async fn picture_after(&self, instant: Instant) -> Result<Arc<Picture>, StoreError> {
        let mut kept = self.pictures.picture.lock().await;
        if let Some(picture) = kept.as_ref().filter(|picture| picture.taken >= instant) {
            return Ok(Arc::clone(picture));
        }
        let picture = Arc::new(take(self).await?);
        *kept = Some(Arc::clone(&picture));
        Ok(picture)
    }

    /// How long bots held their places lately.
    pub(crate) async fn history(&self) -> Result<Arc<History>, StoreError> {
        let mut kept = self.pictures.history.lock().await;
        if let Some((_, history)) = kept.as_ref().filter(|(at, _)| at.elapsed() < HISTORY_FRESH) {
            return Ok(Arc::clone(history));
        }
        let listing = Listing::newest(Listed::Instances).with(ListField::Phase, vec![Phase::Done.as_str().to_owned()]);
        let page = self.store.list(&listing, None, MEASURED).await?;
        let held = page.records.iter().filter_map(|record| {
            let facts = InstanceRecord::from_record(record, self.store.naming()).ok()?.instance.facts;
            (facts.processed_at? - facts.claim.claimed_at?).to_std().ok()
        });
        let history = Arc::new(History::new(held));
        *kept = Some((Instant::now(), Arc::clone(&history)));
        Ok(history)
    }

    /// Says of bots where they stand in the queue.
    pub(crate) async fn with_places(&self, mut bots: Vec<BotView>) -> Result<Vec<BotView>, Problem> {
        let queued: BTreeSet<String> = bots.iter().filter(|bot| bot.phase == Phase::Queued).map(|bot| bot.id.clone()).collect();
        if let Some(picture) = self.picture_of(&queued).await? {
            for bot in &mut bots {
                bot.queue = picture.place_of(&bot.id).filter(|_| bot.phase == Phase::Queued).cloned();
            }
        }
        Ok(bots)
    }

    /// The same of one bot.
    pub(crate) async fn with_place(&self, bot: BotView) -> Result<BotView, Problem> {
        let found = self.with_places(vec![bot.clone()]).await?;
        Ok(found.into_iter().next().unwrap_or(bot))
    }

    /// Says of meetings where their bots stand in the queue.
    pub(crate) async fn meetings_with_places(&self, mut meetings: Vec<MeetingView>) -> Result<Vec<MeetingView>, Problem> {
        let is_queued = |meeting: &&MeetingView| meeting.bot_status.as_deref() == Some(Phase::Queued.as_str());
        let queued = meetings.iter().filter(is_queued).filter_map(|meeting| meeting.bot_id.clone()).collect();
        if let Some(picture) = self.picture_of(&queued).await? {
            for meeting in meetings.iter_mut().filter(|meeting| is_queued(&&**meeting)) {
                meeting.queue = meeting.bot_id.as_deref().and_then(|bot| picture.place_of(bot)).cloned();
            }
        }
        Ok(meetings)
    }

    /// The limits of an organization, whether it has a bot in the picture or not.
    pub(crate) async fn limits_of(&self, picture: &Picture, organization: &str) -> Result<OrganizationLimits, StoreError> {
        if let Some(own) = picture.limits.organizations.get(organization) {
            return Ok(own.clone());
        }
        let own = organizations::read(self.store(), organization).await?;
        Ok(own.map_or_else(|| picture.limits.of(organization), |(own, _)| own))
    }

    /// A picture with these in it, if there are any; of one that is too new to be in it, another is taken.
    async fn picture_of(&self, bots: &BTreeSet<String>) -> Result<Option<Arc<Picture>>, Problem> {
        if bots.is_empty() {
            return Ok(None);
        }
        let asked_at = Instant::now();
        let picture = self.picture().await?;
        let has_all = bots.iter().all(|bot| picture.queued.contains(bot));
        // Whoever asks meanwhile shares the one that is taken now.
        Ok(Some(if has_all { picture } else { self.picture_after(asked_at).await? }))
    }
}

async fn take(api: &Api) -> Result<Picture, StoreError> {
    let (store, settings, now, taken) = (api.store(), &api.settings, clock::now(), Instant::now());
    let mut queued = queued(store).await?;
    let all = queued.iter().map(|bot| bot.id.to_string()).collect();
    queued.retain(|bot| {
        let is_due = settings.window.due(bot.facts.start_time, bot.facts.end_time, now) != Due::Early;
        is_due && bot.facts.cancel_requested_at.is_none()
    });
    queued.sort_by_cached_key(|bot| (Order::of(bot, settings.window.lead, settings.ageing, now), bot.id.clone()));
    let live = live(store).await?;
    let limits = limits(store, settings, queued.iter().chain(&live)).await?;
    let counted = capacity::read(store).await?.map(|places| places.ledger);
    let mut ledger = Ledger { days: counted.map(|ledger| ledger.days).unwrap_or_default(), ..Ledger::default() };
    ledger.holders = live.iter().map(|bot| (bot.id.clone(), bot.facts.creator_organization_id.clone())).collect();
    let history = api.history().await?;
    let until = |bot: &BotInstance| {
        let since = bot.facts.claim.claimed_at.unwrap_or(now);
        history.expected_end(since, bot.facts.end_time, now)
    };
    let owner = |bot: &BotInstance| bot.facts.creator_organization_id.clone();
    let holding: Vec<Holding> = live.iter().map(|bot| Holding { organization: owner(bot), until: until(bot) }).collect();
    let waiting: Vec<Waiting> = queued
        .iter()
        .map(|bot| {
            let lasts = bot.facts.end_time.map_or(history.typical(), |end| (end - now).max(TimeDelta::seconds(60)));
            asking(&limits, &ledger, (&bot.facts.creator_organization_id, bot.facts.attempt == 0), lasts, now)
        })
        .collect();
    let places = Some(places(settings));
    let estimates = starts(now, places, &holding, &waiting);
    let order = queued.iter().map(|bot| Order::of(bot, settings.window.lead, settings.ageing, now)).collect();
    let entries = entries(&queued, &estimates, (&ledger, &Limits { active: places, ..limits.clone() }), (settings, now));
    Ok(Picture { taken, now, entries, queued: all, places, live, ledger, history, limits, order, waiting, holding })
}

fn entries(
    queued: &[BotInstance],
    estimates: &[Option<DateTime<Utc>>],
    (ledger, limits): (&Ledger, &Limits),
    (settings, now): (&Settings, DateTime<Utc>),
) -> Vec<QueueEntry> {
    let mut ledger = ledger.clone();
    let entry = |(index, bot): (usize, &BotInstance)| {
        let facts = &bot.facts;
        let organization = facts.creator_organization_id.clone();
        let asking = Asking { id: &bot.id, organization: &organization, is_new: facts.attempt == 0 };
        // Where a place is free, machine or cluster may have no room: only who launches knows that, and has written it down.
        let seen = facts.waits_for.as_ref().map(|known| known.limit);
        let seen = seen.filter(|limit| matches!(limit, Refusal::Machine | Refusal::Cluster));
        let waits_for = ledger.take(asking, limits, now).err().or(seen);
        let since = waiting_since(bot, settings.window.lead, now);
        let limit = facts.queue_timeout_secs.and_then(|secs| TimeDelta::try_seconds(i64::try_from(secs).ok()?));
        let queue = QueuePlace {
            place: index + 1,
            tier: Tier::of(facts.priority).as_str(),
            waits_for: waits_for.map(Refusal::as_str),
            estimated_start_at: estimates.get(index).copied().flatten(),
            waiting_since: since,
            // A backend may have written any number: past the end of time it never does.
            times_out_at: limit.and_then(|limit| since.checked_add_signed(limit)),
        };
        QueueEntry { bot_id: bot.id.to_string(), organization: organization.clone(), priority: facts.priority, queue }
    };
    queued.iter().enumerate().map(entry).collect()
}

fn asking(
    limits: &Limits,
    ledger: &Ledger,
    (organization, is_new): (&str, bool),
    lasts: TimeDelta,
    now: DateTime<Utc>,
) -> Waiting {
    let own = limits.of(organization);
    let is_used_up = own.max_bots_per_day.is_some_and(|most| ledger.today(organization, &own, now).begun >= most);
    Waiting {
        organization: organization.to_owned(),
        at_once: own.max_active_bots,
        not_before: if is_new && is_used_up { own.time_zone.next_day(now) } else { now },
        lasts,
    }
}

async fn queued(store: &dyn Store) -> Result<Vec<BotInstance>, StoreError> {
    // In the order that has an index; who comes first is said elsewhere.
    let listing = Listing::newest(Listed::Instances).with(ListField::Phase, vec![Phase::Queued.as_str().to_owned()]);
    capacity::every(store, &listing).await
}

/// The limits of everybody who has a bot or waits for one.
pub(crate) async fn limits<'a>(
    store: &dyn Store,
    settings: &Settings,
    bots: impl Iterator<Item = &'a BotInstance>,
) -> Result<Limits, StoreError> {
    let names: BTreeSet<&str> = bots.map(|bot| bot.facts.creator_organization_id.as_str()).collect();
    let mut limits = settings.limits.clone();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        if let Some((own, _)) = organizations::read(store, name).await? {
            limits.organizations.insert(name.to_owned(), own);
        }
    }
    Ok(limits)
}

/// Refuses a request that does not want to wait, where it would have to.
pub(crate) async fn refuse_to_queue(api: &Api, organization: &str, priority: i64) -> Result<(), Problem> {
    let mut picture = api.picture_after(Instant::now()).await?;
    if !picture.limits.organizations.contains_key(organization)
        && let Some((own, _)) = organizations::read(api.store(), organization).await?
    {
        picture = Arc::new(picture.with_limits(organization, own));
    }
    let start = picture.start_of(organization, priority, &api.settings);
    match start {
        Some(start) if start <= picture.now => Ok(()),
        start => Err(exhausted(start, picture.now)),
    }
}

fn exhausted(start: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Problem {
    let detail = match start {
        Some(start) => format!(
            "no bot is free before {}; leave out wait to be queued",
            start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        ),
        None => "no bot can be sent for this organization: its limit is 0".to_owned(),
    };
    let secs = start.map_or(3_600, |start| (start - now).num_seconds().max(1));
    Problem::new(Kind::CapacityExhausted, detail)
        .with("earliest_start_at", start.map(|start| start.to_rfc3339()))
        .with("retry_after_seconds", secs)
}

/// Which part of the queue.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueFilter {
    /// Of this organization alone.
    organization: Option<String>,
    /// 1 to 200; 50 if absent.
    limit: Option<usize>,
}

/// Who waits, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueAnswer {
    /// The first of those that this key sees; `place` counts everybody.
    entries: Vec<QueueEntry>,
    /// How many of those that this key sees wait.
    length: usize,
    /// Since when the first of them waits.
    oldest_waiting_since: Option<DateTime<Utc>>,
    /// How long a bot holds its place, in the middle of those that were measured.
    typical_seconds: i64,
    /// How many were measured.
    measured: usize,
}

/// Read the queue
///
/// Bots that are due and not sent yet, the next one first. The order is that of waiting, where 100 of priority are worth
/// `QUEUE_AGEING_SECONDS`: nobody is overtaken for ever.
#[utoipa::path(get, path = "/v1/queue", tag = "capacity", params(QueueFilter), responses((status = 200, body = QueueAnswer, description = "At this moment")))]
pub(crate) async fn queue(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Params(filter): Params<QueueFilter>,
) -> Result<Json<QueueAnswer>, Problem> {
    let limit = limit(filter.limit)?;
    let organizations = who.principal.organizations(filter.organization.as_deref())?;
    let picture = api.picture().await?;
    let is_visible = |entry: &&QueueEntry| organizations.as_ref().is_none_or(|names| names.contains(&entry.organization));
    let visible: Vec<&QueueEntry> = picture.entries.iter().filter(is_visible).collect();
    Ok(Json(QueueAnswer {
        length: visible.len(),
        oldest_waiting_since: visible.iter().map(|entry| entry.queue.waiting_since).min(),
        entries: visible.into_iter().take(limit).cloned().collect(),
        typical_seconds: picture.history.typical().num_seconds(),
        measured: picture.history.count(),
    }))
}
