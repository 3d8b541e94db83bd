//! Days of an organization: from one midnight of its own time zone to the next, whatever the clocks there do meanwhile.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// Local times are looked for in steps of this: every offset ever used since 1972 is a multiple of it.
const STEP: TimeDelta = TimeDelta::minutes(15);
/// Longest stretch that any zone ever left out: a whole day, at the date line.
const LONGEST_GAP: i32 = 4 * 26;

/// A zone of the IANA data base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(Tz);

impl Default for TimeZone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl TimeZone {
    /// By its name, such as `Europe/Zurich`.
    pub fn parse(name: &str) -> Option<Self> {
        name.trim().parse().ok().map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The date there.
    pub fn date(self, instant: DateTime<Utc>) -> NaiveDate {
        instant.with_timezone(&self.0).date_naive()
    }

    /// RFC 3339 with the offset there.
    pub fn stamp(self, instant: DateTime<Utc>) -> String {
        instant.with_timezone(&self.0).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    /// The first instant that has the date of `now` there. Where midnight is left out, it is the first time that exists.
    pub fn day_began(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let midnight = self.date(now).and_time(NaiveTime::MIN);
        let mut times = (0..=LONGEST_GAP).map(|step| midnight + STEP * step);
        let first = times.find_map(|local| self.0.from_local_datetime(&local).earliest());
        first.map_or(now, |at| at.with_timezone(&Utc).min(now))
    }

    /// The first instant after `now` that has a later date there. Where midnight is left out, it is the first time that exists.
    pub fn next_day(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let midnight = self.date(now).checked_add_days(Days::new(1)).map(|date| date.and_time(NaiveTime::MIN));
        let times = midnight.into_iter().flat_map(|midnight| (0..=LONGEST_GAP).map(move |step| midnight + STEP * step));
        let mut instants = times.flat_map(|local| {
            let found = self.0.from_local_datetime(&local);
            [found.earliest(), found.latest()].into_iter().flatten().map(|at| at.with_timezone(&Utc))
        });
        instants.find(|at| *at > now).unwrap_or(now + TimeDelta::days(1))
    }
}

impl TryFrom<String> for TimeZone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name).ok_or_else(|| "a name of the IANA time zone data base, such as Europe/Zurich".to_owned())
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_is_as_long_as_its_clocks_make_it() {
        for (zone, now, next) in [
            ("UTC", "2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"),
            // 23 hours and 25 hours.
            ("Europe/Zurich", "2027-03-28T00:00:00Z", "2027-03-28T22:00:00Z"),
            ("Europe/Zurich", "2027-10-30T22:00:00Z", "2027-10-31T23:00:00Z"),
            // Midnight itself is left out.
            ("Africa/Cairo", "2027-04-29T12:00:00Z", "2027-04-29T22:00:00Z"),
            // Half an hour.
            ("Australia/Lord_Howe", "2027-04-03T13:00:00Z", "2027-04-04T13:30:00Z"),
            // A whole day is left out at the date line.
            ("Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z"),
            // A minute after midnight the clocks went back into the day before.
            ("America/St_Johns", "2010-11-07T02:00:00Z", "2010-11-07T02:30:00Z"),
            ("America/St_Johns", "2010-11-07T02:40:00Z", "2010-11-07T03:30:00Z"),
        ] {
            assert_eq!(TimeZone::parse(zone).unwrap().next_day(at(now)), at(next), "{zone} {now}");
        }
    }

    #[test]
    fn a_day_begins_where_its_first_time_is() {
        for (zone, now, began) in [
            ("UTC", "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z"),
            ("America/Los_Angeles", "2026-11-21T07:59:59Z", "2026-11-20T08:00:00Z"),
            ("Europe/Zurich", "2027-03-28T12:00:00Z", "2027-03-27T23:00:00Z"),
            // Midnight itself is left out.
            ("Africa/Cairo", "2027-04-30T12:00:00Z", "2027-04-29T22:00:00Z"),
            // A minute after midnight the clocks went back into the day before: the date begins twice.
            ("America/St_Johns", "2010-11-07T12:00:00Z", "2010-11-07T02:30:00Z"),
        ] {
            assert_eq!(TimeZone::parse(zone).unwrap().day_began(at(now)), at(began), "{zone} {now}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for name in ["", "Mars/Olympus", "+02:00", "Europe/Zürich"] {
            assert_eq!(TimeZone::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_next_day_is_the_first_instant_with_a_later_date(
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()), seconds in 315_532_800_i64..2_524_608_000,
        ) {
            let (zone, now) = (TimeZone(zone), DateTime::from_timestamp(seconds, 0).unwrap());
            let (today, next) = (zone.date(now), zone.next_day(now));
            prop_assert!(next > now && next - now <= TimeDelta::hours(50), "{} {now} {next}", zone.name());
            prop_assert!(zone.date(next) > today, "{} {now} {next}", zone.name());
            let mut before = now;
            while before < next {
                prop_assert!(zone.date(before) <= today, "{} {before} is later than {today}, before {next}", zone.name());
                before += TimeDelta::minutes(5);
            }
            prop_assert!(zone.date(next - TimeDelta::seconds(1)) <= today);
        }

        #[test]
        fn no_instant_of_a_day_is_before_its_beginning(
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()), seconds in 315_532_800_i64..2_524_608_000,
        ) {
            let (zone, now) = (TimeZone(zone), DateTime::from_timestamp(seconds, 0).unwrap());
            let (today, began) = (zone.date(now), zone.day_began(now));
            prop_assert!(began <= now && now - began <= TimeDelta::hours(26), "{} {now} {began}", zone.name());
            prop_assert_eq!(zone.date(began), today, "{} {}", zone.name(), now);
            prop_assert!(zone.date(began - TimeDelta::seconds(1)) < today, "{} {now} {began}", zone.name());
        }

        #[test]
        fn a_stamp_reads_back_as_the_same_instant(
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()), seconds in 315_532_800_i64..2_524_608_000,
        ) {
            let instant = DateTime::from_timestamp(seconds - seconds.rem_euclid(60), 0).unwrap();
            let read: DateTime<chrono::FixedOffset> = TimeZone(zone).stamp(instant).parse().unwrap();
            // RFC 3339 has no seconds in an offset; zones that had some are rounded.
            prop_assert!((read.with_timezone(&Utc) - instant).abs() < TimeDelta::seconds(60));
        }
    }
}
