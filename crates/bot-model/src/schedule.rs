//! When a meeting is due: level-triggered, so that a pause of the controller loses nothing that can still be joined.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The window around a meeting's start in which a bot is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartWindow {
    /// Sent this long before the start (`JOIN_LEAD_SECONDS`).
    pub lead: Duration,
    /// Not sent any more when this much too late (`MAX_LATE_SECONDS`).
    pub max_late: Duration,
}

impl Default for StartWindow {
    fn default() -> Self {
        Self { lead: Duration::from_secs(120), max_late: Duration::from_secs(900) }
    }
}

/// What to do with a meeting now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Not yet.
    Early,
    /// Send a bot.
    Now,
    /// Too late, or its end has passed: an explicit `missed`.
    Missed,
}

impl StartWindow {
    /// Decides for a meeting with this start and end. Without a start it is due at once, for as long as it has not ended.
    pub fn due(&self, start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Due {
        let ended = end.is_some_and(|end| end <= now);
        let too_late = start.is_some_and(|start| now - start > seconds(self.max_late));
        let early = start.is_some_and(|start| start - now > seconds(self.lead));
        match (ended || too_late, early) {
            (true, _) => Due::Missed,
            (false, true) => Due::Early,
            (false, false) => Due::Now,
        }
    }
}

fn seconds(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0)
    }

    #[test]
    fn the_window_is_half_open_and_level_triggered() {
        let window = StartWindow::default();
        let now = at(0).unwrap();
        for (start, end, expected) in [
            (None, None, Due::Now),
            (None, at(-1), Due::Missed),
            (at(121), None, Due::Early),
            (at(120), None, Due::Now),
            (at(-900), None, Due::Now),
            (at(-901), None, Due::Missed),
            (at(-60), at(0), Due::Missed),
            (at(-60), at(1), Due::Now),
        ] {
            assert_eq!(window.due(start, end, now), expected, "{start:?} {end:?}");
        }
    }
}
