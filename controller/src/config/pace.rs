//! The loops' clocks, and the limits of all replicas together.

use std::collections::BTreeMap;
use std::time::Duration;

use bot_model::capacity::day::TimeZone;
use bot_model::capacity::ledger::MOST_PLACES;
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::lease::LeaseTimings;
use bot_model::schedule::StartWindow;

use super::{Pace, Reader};

impl<L: Fn(&str) -> Option<String>> Reader<'_, L> {
    pub(super) fn pace(&mut self) -> Pace {
        let ttl = self.seconds("RUN_LEASE_TTL_SECONDS", 3);
        let is_listening = self.parsed("LISTEN", "true or false");
        let sweep = match self.text("SWEEP_INTERVAL_SECONDS") {
            Some(_) => self.seconds("SWEEP_INTERVAL_SECONDS", 1),
            None => Duration::from_secs(if is_listening { 600 } else { 60 }),
        };
        let max_unleased = self.text("MAX_UNLEASED_SECONDS").is_some().then(|| self.seconds("MAX_UNLEASED_SECONDS", 1));
        Pace {
            poll: self.seconds("POLL_INTERVAL", 1),
            is_listening,
            reap: self.seconds("REAP_INTERVAL_SECONDS", 1),
            sweep,
            window: StartWindow { lead: self.seconds("JOIN_LEAD_SECONDS", 0), max_late: self.seconds("MAX_LATE_SECONDS", 1) },
            claim_ttl: self.seconds("CLAIM_TTL_SECONDS", 1),
            owner_silent: Duration::from_secs(bot_store::protocol::heartbeat::OWNER_SILENT_SECS),
            max_claims: usize::try_from(self.number("MAX_CLAIM_PER_POLL", 1)).unwrap_or(usize::MAX),
            lease: LeaseTimings::from_ttl(ttl),
            max_unleased,
            max_recording: Duration::from_secs(60 * self.number("MAX_RECORDING_DURATION_MINUTES", 1)),
            limits: self.limits(),
            ageing: self.seconds("QUEUE_AGEING_SECONDS", 1),
            max_pending: usize::try_from(self.number("MAX_PENDING_BOTS", 1)).unwrap_or(usize::MAX),
        }
    }

    fn limits(&mut self) -> Limits {
        let time_zone = self.text("ORGANIZATION_TIME_ZONE").unwrap_or_else(|| "UTC".into());
        let time_zone = TimeZone::parse(&time_zone).unwrap_or_else(|| {
            self.problem("ORGANIZATION_TIME_ZONE", time_zone, "a name of the IANA time zone data base, such as Europe/Zurich");
            TimeZone::default()
        });
        let default = OrganizationLimits {
            time_zone,
            max_active_bots: self.at_most("MAX_ACTIVE_BOTS_PER_ORGANIZATION", MOST_PLACES),
            max_bots_per_day: self.at_most("MAX_BOTS_PER_DAY_PER_ORGANIZATION", u32::MAX),
        };
        Limits { active: self.at_most("MAX_ACTIVE_BOTS", MOST_PLACES), default, organizations: BTreeMap::new() }
    }

    /// An optional number from 1 on.
    fn at_most(&mut self, name: &str, most: u32) -> Option<u32> {
        self.within(name, 1..=most);
        self.text(name).and_then(|text| text.parse().ok())
    }
}
