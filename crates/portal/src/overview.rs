//! The first page: what runs, what comes, whether there is room, and how it went.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use bot_model::outcome::{Attribution, OutcomeClass};
use futures::{StreamExt as _, stream};

use crate::bots::{Row, rows};
use crate::chart::{Chart, chart};
use crate::client::{Refusal, segment};
use crate::meetings::{self, due_next};
use crate::page::{Frame, refused_to, show as page_of};
use crate::shapes::{Bot, Bots, Capacity, Forecast, Queue, QueueEntry, Statistics};
use crate::visit::Visit;
use crate::words;
use crate::zone::Stamp;

/// Phases of a bot that has a place.
const LIVE: [&str; 6] = ["recording", "waiting_room", "joining", "launched", "claimed", "finalizing"];
/// Meetings that are listed as next.
const NEXT: usize = 8;
/// Bots of the queue that are listed.
const QUEUE: &str = "/v1/queue?limit=8";

struct Ending {
    name: String,
    kind: &'static str,
    tone: &'static str,
    count: u64,
    /// Of the longest bar, in hundredths.
    share: u64,
}

struct Cause {
    name: &'static str,
    count: u64,
    endings: Vec<Ending>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    live: Vec<Row>,
    queue: Vec<Waiting>,
    queued: u64,
    /// What holds bots back, in words, and since when.
    held_back: Option<(&'static str, Option<Stamp>)>,
    next: Vec<meetings::Row>,
    places: u64,
    used: Option<u64>,
    free: u64,
    chart: Option<Chart>,
    ended: u64,
    recorded: u64,
    causes: Vec<Cause>,
}

/// The page.
pub(crate) async fn show(visit: Visit) -> Response {
    match page(&visit).await {
        Ok(page) => page_of(&visit, StatusCode::OK, &page),
        Err(refusal) => refused_to(&visit, &refusal, "/portal/"),
    }
}

async fn page(visit: &Visit) -> Result<OverviewPage, Refusal> {
    let (statistics, live, queue, next, forecast, capacity) = tokio::join!(
        visit.client.get::<Statistics>("/v1/statistics?hours=24"),
        live(visit),
        queue(visit),
        due_next(visit, NEXT),
        visit.client.find::<Forecast>("/v1/forecast?hours=24"),
        visit.client.find::<Capacity>("/v1/capacity"),
    );
    let (statistics, live, (queued, queue), capacity) = (statistics?, live?, queue?, capacity?);
    let slots = &statistics.slots;
    let (places, used) = capacity.as_ref().map_or((slots.total, slots.used), |capacity| (capacity.places, capacity.held));
    let exhausted = capacity.filter(|capacity| capacity.is_exhausted);
    let held_back = exhausted.map(|capacity| {
        (words::holds_back(capacity.reason.as_deref().unwrap_or_default()), capacity.changed_at.map(|at| visit.zone.minute(at)))
    });
    let causes = causes(&statistics);
    let of_class = |class| words_of(&statistics).filter(|(kind, _)| kind.class() == class).map(|(_, count)| count).sum::<u64>();
    Ok(OverviewPage {
        frame: Frame::new(visit, "overview", "Overview").live("/portal/live"),
        live: rows(visit, &live).await,
        queue,
        queued,
        held_back,
        next: next?,
        free: places.saturating_sub(used.unwrap_or_default()),
        chart: forecast.ok().flatten().map(|forecast| chart(&forecast, &visit.zone)),
        ended: words_of(&statistics).map(|(_, count)| count).sum(),
        recorded: of_class(OutcomeClass::Completed),
        causes,
        places,
        used,
    })
}

/// A bot in the queue.
struct Waiting {
    id: String,
    title: String,
    place: u64,
    tier: String,
    waits_for: &'static str,
    start: Option<Stamp>,
}

async fn queue(visit: &Visit) -> Result<(u64, Vec<Waiting>), Refusal> {
    let found = visit.client.find::<Queue>(QUEUE).await?.unwrap_or_default();
    let asked = found.entries.iter().map(|entry| {
        let path = format!("/v1/bots/{}", segment(&entry.bot_id));
        async move { visit.client.find::<Bot>(&path).await.ok().flatten().unwrap_or_default() }
    });
    let bots: Vec<Bot> = stream::iter(asked.collect::<Vec<_>>()).buffered(LIVE.len()).collect().await;
    let titles = visit.portal.titles.of(&visit.client, &bots).await;
    let row = |(entry, title): (&QueueEntry, String)| Waiting {
        id: segment(&entry.bot_id),
        title,
        place: entry.place,
        tier: if entry.tier == "normal" { String::new() } else { words::plain(&entry.tier) },
        waits_for: entry.waits_for.as_deref().map(words::holds_back).unwrap_or_default(),
        start: entry.estimated_start_at.map(|at| visit.zone.minute(at)),
    };
    Ok((found.length, found.entries.iter().zip(titles).map(row).collect()))
}

async fn live(visit: &Visit) -> Result<Vec<Bot>, Refusal> {
    let asked = LIVE.map(|phase| async move { visit.client.get::<Bots>(&format!("/v1/bots?phase={phase}&limit=100")).await });
    let pages: Vec<Result<Bots, Refusal>> = stream::iter(asked).buffered(LIVE.len()).collect().await;
    let mut live = Vec::new();
    for page in pages {
        live.extend(page?.bots);
    }
    Ok(live)
}

fn words_of(statistics: &Statistics) -> impl Iterator<Item = (bot_model::outcome::OutcomeKind, u64)> {
    statistics.outcomes.iter().filter_map(|(name, count)| words::outcome(name).map(|kind| (kind, *count)))
}

/// How calls ended, by whose doing it was; the recorder's own first, for that is what an operator can mend.
fn causes(statistics: &Statistics) -> Vec<Cause> {
    let most = words_of(statistics).map(|(_, count)| count).max().unwrap_or(1).max(1);
    let order =
        [Attribution::Ours, Attribution::Configuration, Attribution::Platform, Attribution::Host, Attribution::Participant];
    let cause = |attribution: Attribution| {
        let mut endings: Vec<Ending> = words_of(statistics)
            .filter(|(kind, _)| kind.attribution() == attribution)
            .map(|(kind, count)| Ending {
                name: words::plain(kind.as_str()),
                kind: kind.as_str(),
                tone: words::class_tone(kind.class()),
                share: (count * 100 / most).max(2),
                count,
            })
            .collect();
        endings.sort_by_key(|ending| std::cmp::Reverse(ending.count));
        Cause { name: words::whose_short(attribution), count: endings.iter().map(|ending| ending.count).sum(), endings }
    };
    order.into_iter().map(cause).filter(|cause| cause.count > 0).collect()
}
