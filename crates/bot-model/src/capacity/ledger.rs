//! The ledger: one document that says who holds a place, changed in the same commit as the claim that takes one and only as it was
//! read. Two replicas cannot overshoot a limit together, for one of them finds the ledger changed.
//!
//! An entry is only a hint that its instance lives: it counts until somebody has read that the instance has ended, or is back in the
//! queue. So nothing that dies anywhere can leak a place.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{Limits, OrganizationLimits};
use crate::document::Fields;
use crate::ids::InstanceId;

/// Entries that fit well into one document of either store.
pub const MOST_PLACES: u32 = 5_000;

/// Who holds a place, and what was begun today.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Instances with their organizations.
    pub holders: BTreeMap<InstanceId, String>,
    /// Bots begun by each organization in its present day.
    pub days: BTreeMap<String, Day>,
    /// Counts changes, so that each one makes a new version.
    pub changes: u64,
}

/// What an organization has begun in one of its days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Its own date.
    pub date: NaiveDate,
    /// Bots.
    pub begun: u32,
}

/// Who asks for a place.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The instance.
    pub id: &'a InstanceId,
    /// Whose.
    pub organization: &'a str,
    /// It was never claimed before: it counts for the day.
    pub is_new: bool,
}

/// Which limit keeps somebody waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Every place is taken: `MAX_ACTIVE_BOTS`.
    Capacity,
    /// The organization has as many bots at once as it may.
    OrganizationAtOnce,
    /// The organization has begun as many today as it may.
    OrganizationPerDay,
    /// The machine, or this launcher, can hold no more.
    Machine,
    /// Pods wait for nodes, or a quota is used up.
    Cluster,
}

impl Refusal {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Capacity, Self::OrganizationAtOnce, Self::OrganizationPerDay, Self::Machine, Self::Cluster];

    /// As in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::OrganizationAtOnce => "organization_at_once",
            Self::OrganizationPerDay => "organization_per_day",
            Self::Machine => "machine",
            Self::Cluster => "cluster",
        }
    }

    /// Its limit is the organization's own: nobody else waits for it.
    pub fn is_the_organization_s(self) -> bool {
        matches!(self, Self::OrganizationAtOnce | Self::OrganizationPerDay)
    }
}

impl Ledger {
    /// Takes a place, or says which limit forbids it. Who holds one keeps it.
    pub fn take(&mut self, asking: Asking<'_>, limits: &Limits, now: DateTime<Utc>) -> Result<(), Refusal> {
        if self.holders.contains_key(asking.id) {
            return Ok(());
        }
        let own = limits.of(asking.organization);
        if limits.active.is_some_and(|most| self.holders.len() as u64 >= u64::from(most)) {
            return Err(Refusal::Capacity);
        }
        if own.max_active_bots.is_some_and(|most| self.active_of(asking.organization) >= most) {
            return Err(Refusal::OrganizationAtOnce);
        }
        let today = self.today(asking.organization, &own, now);
        if asking.is_new && own.max_bots_per_day.is_some_and(|most| today.begun >= most) {
            return Err(Refusal::OrganizationPerDay);
        }
        // Once it counts for a day it does to the day's end: a limit that is taken away at noon may be back an hour later.
        if asking.is_new && (own.max_bots_per_day.is_some() || self.counts_day(asking.organization, &own, now)) {
            self.days.insert(asking.organization.to_owned(), Day { begun: today.begun + 1, ..today });
        } else if asking.is_new {
            // Of a day whose count lacks this bot nothing is known any more: by another time zone it may go on.
            self.days.remove(asking.organization);
        }
        self.holders.insert(asking.id.clone(), asking.organization.to_owned());
        Ok(())
    }

    /// Bots of an organization that hold a place.
    pub fn active_of(&self, organization: &str) -> u32 {
        let mine = self.holders.values().filter(|owner| *owner == organization).count();
        u32::try_from(mine).unwrap_or(u32::MAX)
    }

    /// The organization's day at `now`. A clock that is behind does not begin an earlier one again.
    pub fn today(&self, organization: &str, own: &OrganizationLimits, now: DateTime<Utc>) -> Day {
        let date = own.time_zone.date(now);
        match self.days.get(organization) {
            Some(known) if known.date >= date => *known,
            _ => Day { date, begun: 0 },
        }
    }

    /// True where what the ledger says of the organization's day at `now` is all of it.
    pub fn counts_day(&self, organization: &str, own: &OrganizationLimits, now: DateTime<Utc>) -> bool {
        self.days.get(organization).is_some_and(|known| known.date >= own.time_zone.date(now))
    }

    /// Begins to count for the organization's day at `now`, in which `begun` bots were begun already.
    pub fn count_day(&mut self, organization: &str, own: &OrganizationLimits, begun: u32, now: DateTime<Utc>) {
        self.days.insert(organization.to_owned(), Day { date: own.time_zone.date(now), begun });
    }

    /// As it is stored: two texts, as a map would get an index entry for each of its keys.
    pub fn encode(&self) -> Fields {
        let text = |value: serde_json::Result<String>| serde_json::Value::from(value.unwrap_or_default());
        let mut fields = Fields::new();
        fields.insert("holders".into(), text(serde_json::to_string(&self.holders)));
        fields.insert("days".into(), text(serde_json::to_string(&self.days)));
        fields.insert("held".into(), self.holders.len().into());
        fields.insert("changes".into(), (self.changes + 1).into());
        fields
    }

    /// What [`Ledger::encode`] made; `None` where it is damaged.
    pub fn decode(fields: &Fields) -> Option<Self> {
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
        Some(Self {
            holders: serde_json::from_str(text("holders")?).ok()?,
            days: serde_json::from_str(text("days")?).ok()?,
            changes: fields.get("changes").and_then(serde_json::Value::as_u64)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::day::TimeZone;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn take(ledger: &mut Ledger, id: &str, organization: &str, limits: &Limits, now: &str) -> Result<(), Refusal> {
        let id = InstanceId::parse(id).unwrap();
        ledger.take(Asking { id: &id, organization, is_new: true }, limits, at(now))
    }

    #[test]
    fn each_limit_is_told_by_its_name_and_who_holds_a_place_keeps_it() {
        let own =
            |active, per_day| OrganizationLimits { max_active_bots: active, max_bots_per_day: per_day, ..Default::default() };
        let limits = Limits {
            active: Some(3),
            default: own(Some(1), None),
            organizations: BTreeMap::from([("big".into(), own(None, Some(1)))]),
        };
        let (mut ledger, now) = (Ledger::default(), "2026-11-21T12:00:00Z");
        assert_eq!(take(&mut ledger, "a1", "a", &limits, now), Ok(()));
        assert_eq!(take(&mut ledger, "a2", "a", &limits, now), Err(Refusal::OrganizationAtOnce));
        assert_eq!(take(&mut ledger, "b1", "big", &limits, now), Ok(()));
        assert_eq!(take(&mut ledger, "b2", "big", &limits, now), Err(Refusal::OrganizationPerDay));
        assert_eq!(take(&mut ledger, "n1", "", &limits, now), Ok(()), "of nobody: the deployment's limit alone");
        assert_eq!(take(&mut ledger, "n2", "", &limits, now), Err(Refusal::Capacity));
        assert_eq!(take(&mut ledger, "a1", "a", &limits, now), Ok(()));
        assert_eq!(Ledger::decode(&ledger.encode()), Some(Ledger { changes: 1, ..ledger }));
    }

    #[test]
    fn a_day_is_the_organization_s_own_and_a_clock_that_is_behind_begins_none_again() {
        let zone = TimeZone::parse("America/Los_Angeles").unwrap();
        let default = OrganizationLimits { time_zone: zone, max_bots_per_day: Some(1), ..Default::default() };
        let limits = Limits { default, ..Limits::default() };
        let mut ledger = Ledger::default();
        assert_eq!(take(&mut ledger, "1", "o", &limits, "2026-11-21T07:59:00Z"), Ok(()), "a minute before midnight there");
        assert_eq!(take(&mut ledger, "2", "o", &limits, "2026-11-21T07:59:30Z"), Err(Refusal::OrganizationPerDay));
        assert_eq!(take(&mut ledger, "2", "o", &limits, "2026-11-21T08:00:00Z"), Ok(()));
        assert_eq!(take(&mut ledger, "3", "o", &limits, "2026-11-21T07:59:59Z"), Err(Refusal::OrganizationPerDay));
    }

    #[test]
    fn a_day_that_was_begun_to_be_counted_is_counted_to_its_end_whatever_becomes_of_the_limit() {
        let own = |most| OrganizationLimits { max_bots_per_day: most, ..OrganizationLimits::default() };
        let limits = |most| Limits { default: own(most), ..Limits::default() };
        let (mut ledger, now) = (Ledger::default(), "2026-11-21T12:00:00Z");
        assert_eq!(take(&mut ledger, "1", "o", &limits(None), now), Ok(()));
        assert!(!ledger.counts_day("o", &own(Some(3)), at(now)), "nobody asked for it");
        ledger.count_day("o", &own(Some(3)), 1, at(now));
        assert_eq!(take(&mut ledger, "2", "o", &limits(Some(3)), now), Ok(()));
        assert_eq!(take(&mut ledger, "3", "o", &limits(None), now), Ok(()));
        assert_eq!(take(&mut ledger, "4", "o", &limits(Some(3)), now), Err(Refusal::OrganizationPerDay));
        assert_eq!(take(&mut ledger, "4", "o", &limits(None), "2026-11-22T00:00:00Z"), Ok(()));
        assert!(!ledger.counts_day("o", &own(Some(3)), at("2026-11-22T00:00:00Z")));
    }

    #[test]
    fn a_day_of_another_time_zone_in_which_something_was_not_counted_is_counted_anew() {
        let zone = TimeZone::parse("America/Los_Angeles").unwrap();
        let there = OrganizationLimits { max_bots_per_day: Some(3), time_zone: zone, ..OrganizationLimits::default() };
        let limited = Limits { default: there.clone(), ..Limits::default() };
        // The 21st by the default's clocks, and the 20th there.
        let (mut ledger, now) = (Ledger::default(), "2026-11-21T01:00:00Z");
        ledger.count_day("o", &there, 1, at(now));
        assert_eq!(take(&mut ledger, "1", "o", &limited, now), Ok(()));
        assert!(ledger.counts_day("o", &there, at(now)));
        assert_eq!(take(&mut ledger, "2", "o", &Limits::default(), now), Ok(()));
        assert!(!ledger.counts_day("o", &there, at(now)), "one is missing");
    }

    proptest! {
        #[test]
        fn no_order_of_requests_passes_a_limit(
            asked in prop::collection::vec((0_u32..40, 0_usize..3), 0..60), active in 0_u32..10, most in 0_u32..5,
        ) {
            let default = OrganizationLimits { max_active_bots: Some(most), ..Default::default() };
            let limits = Limits { active: Some(active), default, ..Limits::default() };
            let mut ledger = Ledger::default();
            for (id, organization) in asked {
                let organization = ["a", "b", "c"][organization];
                let _ = take(&mut ledger, &format!("{organization}{id}"), organization, &limits, "2026-11-21T12:00:00Z");
                prop_assert!(ledger.holders.len() <= active as usize && ledger.active_of(organization) <= most);
            }
        }
    }
}
