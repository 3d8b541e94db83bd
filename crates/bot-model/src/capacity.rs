//! How many bots there may be, who comes first, and when a place will be free. Pure: the counting itself is a document
//! ([`ledger::Ledger`]) that the store keeps, and every judgement here is a function of what was read.

pub mod day;
pub mod estimate;
pub mod forecast;
pub mod ledger;
pub mod queue;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::day::TimeZone;

/// What one organization may have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OrganizationLimits {
    /// Whose midnight begins a day.
    #[serde(default)]
    pub time_zone: TimeZone,
    /// Bots at once; `None` is without a limit.
    #[serde(default)]
    pub max_active_bots: Option<u32>,
    /// Bots begun in one of its days; `None` is without a limit.
    #[serde(default)]
    pub max_bots_per_day: Option<u32>,
}

impl OrganizationLimits {
    /// True where it limits anything.
    pub fn is_limiting(&self) -> bool {
        self.max_active_bots.is_some() || self.max_bots_per_day.is_some()
    }
}

/// What the whole deployment may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// `MAX_ACTIVE_BOTS`: from claim to end, over all replicas.
    pub active: Option<u32>,
    /// Of an organization that has no document of its own.
    pub default: OrganizationLimits,
    /// Of those that have one.
    pub organizations: BTreeMap<String, OrganizationLimits>,
}

impl Limits {
    /// The limits of an organization. What belongs to none is held by the deployment's limit alone.
    pub fn of(&self, organization: &str) -> OrganizationLimits {
        match self.organizations.get(organization) {
            Some(own) => own.clone(),
            None if organization.is_empty() => {
                OrganizationLimits { max_active_bots: None, max_bots_per_day: None, ..self.default.clone() }
            }
            None => self.default.clone(),
        }
    }

    /// True where the environment alone asks for counting.
    pub fn is_limiting(&self) -> bool {
        self.active.is_some() || self.default.is_limiting()
    }
}
