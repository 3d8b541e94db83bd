//! A stream that says when a page has something new to fetch. It says nothing of what: the page is asked for with the same session.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::Query;
use axum::http::Method;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::client::query;
use crate::visit::Visit;

/// A page fetches itself this often though nothing happened: lengths grow, meetings come nearer.
const TICK: Duration = Duration::from_secs(10);

/// What to listen to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    bot: String,
}

/// The stream: `changed` with each event of the API's feed, `tick` now and then.
pub(crate) async fn listen(visit: Visit, Query(wanted): Query<Wanted>) -> Response {
    let feed = visit.client.raw(Method::GET, &format!("/v1/events{}", query(&[("bot", &wanted.bot)]))).await;
    if !feed.status().is_success() {
        return feed;
    }
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // An event without data is none to a browser.
    let hello = stream::once(async { Ok(Event::default().event("hello").data("1").retry(Duration::from_secs(2))) });
    let news =
        news(feed.into_body().into_data_stream(), ticks).map(|name| Ok::<_, Infallible>(Event::default().event(name).data("1")));
    Sse::new(hello.chain(news)).keep_alive(KeepAlive::default()).into_response()
}

fn news(feed: BodyDataStream, ticks: Interval) -> impl Stream<Item = &'static str> {
    stream::unfold((feed, ticks), |(mut feed, mut ticks)| async {
        loop {
            tokio::select! {
                _ = ticks.tick() => return Some(("tick", (feed, ticks))),
                chunk = feed.next() => match chunk {
                    // The feed ends after some minutes, or with the controller: the browser comes back by itself.
                    None | Some(Err(_)) => return None,
                    Some(Ok(bytes)) if bytes.windows(5).any(|window| window == b"data:") => return Some(("changed", (feed, ticks))),
                    Some(Ok(_)) => {}
                },
            }
        }
    })
}
