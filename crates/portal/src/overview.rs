//! The first page: what runs, what comes, whether there is room, and how it went.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use bot_model::outcome::{Attribution, OutcomeClass};
use futures::{StreamExt as _, stream};

use crate::bots::{Row, rows};
use crate::chart::{Chart, Hour, chart};
use crate::client::Refusal;
use crate::meetings::{self, due_next};
use crate::page::{Frame, refused_to, show as page_of};
use crate::shapes::{Bots, Forecast, Statistics};
use crate::visit::Visit;
use crate::words;

/// Phases of a bot that has a place.
const LIVE: [&str; 6] = ["recording", "waiting_room", "joining", "launched", "claimed", "finalizing"];
/// Meetings that are listed as next.
const NEXT: usize = 8;
/// Bots of the queue that are listed.
const QUEUE: &str = "/v1/bots?phase=queued&limit=10";

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
    queue: Vec<Row>,
    queued: u64,
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
    let (statistics, live, queue, next, forecast) = tokio::join!(
        visit.client.get::<Statistics>("/v1/statistics?hours=24"),
        live(visit),
        visit.client.get::<Bots>(QUEUE),
        due_next(visit, NEXT),
        visit.client.find::<Forecast>("/v1/forecast?hours=24"),
    );
    let (statistics, live, queue) = (statistics?, live?, queue?);
    let (places, used) = (statistics.slots.total, statistics.slots.used);
    let causes = causes(&statistics);
    let of_class = |class| words_of(&statistics).filter(|(kind, _)| kind.class() == class).map(|(_, count)| count).sum::<u64>();
    Ok(OverviewPage {
        frame: Frame::new(visit, "overview", "Overview").live("/portal/live"),
        live: rows(visit, &live).await,
        queue: rows(visit, &queue.bots).await,
        queued: statistics.bots_by_phase.get("queued").copied().unwrap_or_default(),
        next: next?,
        free: places.saturating_sub(used.unwrap_or_default()),
        chart: forecast.ok().flatten().map(|forecast| drawn(visit, &forecast, places)),
        ended: words_of(&statistics).map(|(_, count)| count).sum(),
        recorded: of_class(OutcomeClass::Completed),
        causes,
        places,
        used,
    })
}

async fn live(visit: &Visit) -> Result<Vec<crate::shapes::Bot>, Refusal> {
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

fn drawn(visit: &Visit, forecast: &Forecast, places: u64) -> Chart {
    let hour = |hour: &crate::shapes::ForecastHour| Hour {
        label: hour.starts_at.map(|at| visit.zone.hour(at)).unwrap_or_default(),
        bots: hour.bots,
    };
    let hours: Vec<Hour> = forecast.hours.iter().map(hour).collect();
    chart(&hours, forecast.slots.unwrap_or(places))
}
