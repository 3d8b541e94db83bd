//! Alerts to a topic of the operator's cloud when all bots are busy: at most one of a kind in [`PERIOD_SECS`], told with the patience of
//! a webhook.

use std::time::Duration;

use bot_store::outbox::{CAPACITY_EXHAUSTED, Event};

use crate::post::Answer;

/// One alert of a kind in this time; a period begins at its multiples.
pub const PERIOD_SECS: i64 = 600;

/// Where alerts go.
#[derive(Debug, Clone)]
pub enum Alert {}

impl Alert {
    pub(crate) fn id(&self) -> &'static str {
        match *self {}
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        event.event_type == CAPACITY_EXHAUSTED
    }

    /// The event under the id of its period: a second one in it is told already.
    pub(crate) fn as_told(&self, event: &Event) -> Event {
        let period = event.occurred_at.timestamp().div_euclid(PERIOD_SECS) * PERIOD_SECS;
        event.clone().once_per(&period.to_string())
    }

    pub(crate) async fn send(&self, _body: &str, _deadline: Duration) -> Answer {
        match *self {}
    }
}
