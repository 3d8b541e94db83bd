//! Times as a person reads them: in the time zone of the browser, which a cookie names, and in UTC where none is named.

use axum::http::HeaderMap;
use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::session::cookie;

/// Names the zone: set by the script to the browser's own, or by the form on the page of settings.
pub(crate) const COOKIE: &str = "portal-zone";

/// A time zone and the instant of this page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone {
    tz: Tz,
    now: DateTime<Utc>,
    /// True where a cookie names it.
    pub(crate) is_chosen: bool,
}

/// An instant in every form that a page shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stamp {
    /// For the attribute.
    pub(crate) iso: String,
    /// Such as `Sat 21 Nov`; empty today.
    pub(crate) day: String,
    /// Such as `17:42:08`.
    pub(crate) clock: String,
    /// Such as `in 12 min` or `3 h ago`.
    pub(crate) relative: String,
}

impl Zone {
    pub(crate) fn of(headers: &HeaderMap, now: DateTime<Utc>) -> Self {
        let named = cookie(headers, COOKIE).and_then(|name| Self::named(&name));
        Self { tz: named.unwrap_or(Tz::UTC), now, is_chosen: named.is_some() }
    }

    /// A zone by its name in the IANA list.
    pub(crate) fn named(name: &str) -> Option<Tz> {
        name.replace("%2F", "/").parse().ok()
    }

    /// Every name.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name())
    }

    pub(crate) fn name(&self) -> &'static str {
        self.tz.name()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// To the second.
    pub(crate) fn stamp(&self, at: DateTime<Utc>) -> Stamp {
        self.stamped(at, "%H:%M:%S")
    }

    /// To the minute.
    pub(crate) fn minute(&self, at: DateTime<Utc>) -> Stamp {
        self.stamped(at, "%H:%M")
    }

    fn stamped(&self, at: DateTime<Utc>, clock: &str) -> Stamp {
        let local = at.with_timezone(&self.tz);
        let today = self.now.with_timezone(&self.tz).date_naive();
        let far = (local.date_naive() - today).num_days().abs() > 300;
        let day = if local.date_naive() == today {
            String::new()
        } else {
            local.format(if far { "%-d %b %Y" } else { "%a %-d %b" }).to_string()
        };
        let iso = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Stamp { iso, day, clock: local.format(clock).to_string(), relative: relative(at - self.now) }
    }

    /// As a field for date and time wants it.
    pub(crate) fn field(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.tz).format("%Y-%m-%dT%H:%M").to_string()
    }
}

/// The instant of a field's local time in a zone; an error says what is wrong with it.
pub(crate) fn instant(local: &str, zone: &str) -> Result<DateTime<Utc>, String> {
    let tz = Zone::named(zone.trim()).ok_or("choose a time zone of the list, such as Europe/Berlin")?;
    let text = local.trim().replace(' ', "T");
    let parsed =
        ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"].into_iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok());
    let local = parsed.ok_or("give date and time, such as 2027-01-15 09:00")?;
    match tz.from_local_datetime(&local) {
        LocalResult::Single(at) => Ok(at.with_timezone(&Utc)),
        LocalResult::None => Err(format!("the clocks of {} jump over this time; choose another", tz.name())),
        LocalResult::Ambiguous(first, second) => Err(format!(
            "this time comes twice, as the clocks of {} go back: {} or {} UTC; choose UTC as the zone",
            tz.name(),
            first.with_timezone(&Utc).format("%H:%M"),
            second.with_timezone(&Utc).format("%H:%M")
        )),
    }
}

fn relative(away: TimeDelta) -> String {
    let seconds = away.num_seconds().unsigned_abs();
    let span = match seconds {
        0..45 => return if away.num_seconds() > 10 { "in moments".into() } else { "just now".into() },
        45..5_400 => format!("{} min", (seconds + 30) / 60),
        5_400..129_600 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    };
    if away > TimeDelta::zero() { format!("in {span}") } else { format!("{span} ago") }
}

/// A length such as `1:02:07` or `0:42`.
pub(crate) fn length(seconds: f64) -> String {
    let whole = seconds.max(0.0).round();
    // Lengths of calls are far below this.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above and below")]
    let whole = whole.min(1e9) as u64;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A size such as `12.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let bytes_f = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} kB", bytes_f / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes_f / 1e6),
        _ => format!("{:.2} GB", bytes_f / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_become_instants_and_those_that_are_none_or_two_are_refused() {
        let at = |local, zone| instant(local, zone).map(|at| at.format("%H:%M").to_string());
        assert_eq!(at("2027-01-15T09:00", "Europe/Berlin"), Ok("08:00".into()));
        assert_eq!(at("2027-07-15 09:00", "Europe/Berlin"), Ok("07:00".into()));
        assert_eq!(at("2027-07-15T09:00", "America/New_York"), Ok("13:00".into()));
        assert!(at("2027-03-28T02:30", "Europe/Berlin").unwrap_err().contains("jump"));
        assert!(at("2027-10-31T02:30", "Europe/Berlin").unwrap_err().contains("twice"));
        assert!(at("soon", "UTC").is_err() && at("2027-01-15T09:00", "Mars/Olympus").is_err());
        assert!(Zone::names().count() > 400);
    }

    #[test]
    fn spans_read_as_people_say_them() {
        let said = |seconds| relative(TimeDelta::seconds(seconds));
        assert_eq!(
            ["just now", "in moments", "5 min ago", "in 2 h", "3 d ago"],
            [said(0), said(30), said(-300), said(7_200), said(-260_000)].each_ref().map(String::as_str)
        );
        assert_eq!((length(62.4), length(3_727.0), size(1_234_567)), ("1:02".into(), "1:02:07".into(), "1.2 MB".into()));
    }
}
