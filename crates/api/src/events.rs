//! Events as Server-Sent Events, resumed by `Last-Event-ID`.
//!
//! At least once: a resumed stream begins a little before the named event, so that what was committed late is not lost; ids tell what
//! is known already.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bot_store::clock;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::access::Viewer;
use crate::feed::{FeedEvent, LATEST};
use crate::input::Params;
use crate::problem::{Kind, Problem};
use crate::state::Api;

/// A stream ends after this long, so that a revoked key does not listen on; clients come back by themselves.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// A comment this often keeps proxies from closing a quiet stream.
const QUIET: Duration = Duration::from_secs(15);
/// Listeners of one replica at most.
const MOST: usize = 2_000;
/// How far back a stream can begin.
const FURTHEST_BACK: TimeDelta = TimeDelta::days(7);

static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// What to listen to.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventFilter {
    /// Of this organization alone.
    organization: Option<String>,
    /// Of this bot alone.
    bot: Option<String>,
    /// From this instant on, at most 7 days back; absent is now. `Last-Event-ID` goes before it.
    since: Option<DateTime<Utc>>,
}

/// Listen to events
///
/// Each line of every timeline, as Server-Sent Events: `id`, `event` and a JSON `data` of the shape `FeedEvent`. After a break send the last
/// `id` as `Last-Event-ID` (browsers do). At least once: drop ids that you know. A stream ends after 15 minutes at the latest.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(EventFilter, ("Last-Event-ID" = Option<String>, Header, description = "Resume after this event")),
    responses((status = 200, body = FeedEvent, content_type = "text/event-stream", description = "One event after the other")))]
pub(crate) async fn listen(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Params(filter): Params<EventFilter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let organizations = who.principal.organizations(filter.organization.as_deref())?;
    let now = clock::now();
    let last =
        headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default().to_owned()).filter(|id| !id.is_empty());
    let from = match &last {
        // Where nothing happened for a week, that listener has missed nothing: its stream goes on as far back as one begins.
        Some(id) => Some((instant_of(id)? - LATEST).max(now - FURTHEST_BACK)),
        None => filter.since,
    };
    if from.is_some_and(|from| now - from > FURTHEST_BACK) {
        return Err(Problem::new(Kind::BadParameter, "a stream begins at most 7 days back: read the timelines instead"));
    }
    let seat = Seat::take()?;
    let listener = Listener {
        live: api.feed.listen(),
        told: last.into_iter().collect(),
        past: from.map(|from| Past { from, cursor: None, is_last: false, events: Vec::new().into_iter() }),
        from: from.unwrap_or(now),
        organizations,
        bot: filter.bot,
        api: Arc::clone(&api),
        until: Instant::now() + LONGEST,
        _seat: seat,
    };
    let events = listener.events().map(|event| Ok::<_, Infallible>(as_sse(&event)));
    let opened = stream::once(async { Ok(Event::default().comment("open").retry(Duration::from_secs(2))) });
    Ok(Sse::new(opened.chain(events)).keep_alive(KeepAlive::new().interval(QUIET)).into_response())
}

/// One of the places on this replica; dropped, it is free again.
struct Seat;

impl Seat {
    fn take() -> Result<Self, Problem> {
        let seat = Self;
        if LISTENERS.fetch_add(1, Ordering::Relaxed) < MOST {
            return Ok(seat);
        }
        drop(seat);
        Err(Problem::new(Kind::Unavailable, format!("this replica has {MOST} listeners already")))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An event's id begins with its instant in milliseconds.
fn instant_of(id: &str) -> Result<DateTime<Utc>, Problem> {
    let refused = || Problem::new(Kind::BadParameter, "Last-Event-ID wants the id of an event of this feed");
    let stamp = id.split_once('Z').map(|(stamp, _)| format!("{stamp}Z")).ok_or_else(refused)?;
    DateTime::parse_from_rfc3339(&stamp).map(|at| at.with_timezone(&Utc)).map_err(|_| refused())
}

fn as_sse(event: &FeedEvent) -> Event {
    let sse = Event::default().id(&event.id).event(&event.event);
    sse.json_data(event).unwrap_or_default()
}

struct Past {
    from: DateTime<Utc>,
    cursor: Option<String>,
    is_last: bool,
    events: std::vec::IntoIter<FeedEvent>,
}

struct Listener {
    live: broadcast::Receiver<Arc<FeedEvent>>,
    /// Ids that this stream has told, while the past and the live feed can both have them.
    told: HashSet<String>,
    past: Option<Past>,
    from: DateTime<Utc>,
    organizations: Option<Vec<String>>,
    bot: Option<String>,
    api: Arc<Api>,
    until: Instant,
    _seat: Seat,
}

impl Listener {
    fn events(self) -> impl Stream<Item = Arc<FeedEvent>> {
        stream::unfold(self, |mut listener| async move { listener.next().await.map(|event| (event, listener)) })
    }

    /// The next event of this listener's; `None` ends the stream, and the client resumes.
    async fn next(&mut self) -> Option<Arc<FeedEvent>> {
        loop {
            let event = match self.next_of_past().await {
                Ok(Some(event)) => Arc::new(event),
                Ok(None) => self.next_live().await?,
                Err(()) => return None,
            };
            if self.is_wanted(&event) {
                return Some(event);
            }
        }
    }

    async fn next_of_past(&mut self) -> Result<Option<FeedEvent>, ()> {
        while let Some(past) = &mut self.past {
            if let Some(event) = past.events.next() {
                return Ok(Some(event));
            }
            if past.is_last {
                self.past = None;
                break;
            }
            let page = self.api.feed.past(past.from, self.organizations.clone(), past.cursor.as_deref()).await;
            let (events, next) =
                page.map_err(|error| tracing::warn!(error = error.message, "a feed's past could not be read"))?;
            *past = Past { from: past.from, is_last: next.is_none(), cursor: next, events: events.into_iter() };
        }
        Ok(None)
    }

    async fn next_live(&mut self) -> Option<Arc<FeedEvent>> {
        tokio::select! {
            () = self.api.stop.cancelled() => None,
            () = tokio::time::sleep_until(self.until) => None,
            // Who is too far behind is cut off too.
            event = self.live.recv() => event.ok(),
        }
    }

    fn is_wanted(&mut self, event: &FeedEvent) -> bool {
        let is_his = self.organizations.as_ref().is_none_or(|names| names.contains(&event.organization));
        let is_of_bot = self.bot.as_ref().is_none_or(|bot| *bot == event.bot_id);
        is_his && is_of_bot && event.occurred_at >= self.from && self.told.insert(event.id.clone())
    }
}
