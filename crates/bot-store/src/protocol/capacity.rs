//! Places: how all replicas together hold to a limit. A bot that may join a call takes its place in the same commit as its claim,
//! in a ledger that changes only as it was read ([`bot_model::capacity::ledger`]; ADR 15).
//!
//! Nobody has to give a place back: whoever reads that a holder has ended, or is back in the queue, takes it off the ledger. A run
//! that makes files of what was recorded needs no place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bot_model::capacity::ledger::{Asking, Ledger, Refusal};
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::document::BotInstance;
use bot_model::ids::InstanceId;
use bot_model::lifecycle::Phase;
use chrono::{DateTime, Utc};

use super::claim::{Claimed, Claimer, claim_together, is_claimable};
use super::day::{self, Counted};
use super::{InstanceRecord, unreadable};
use crate::guard::Guard;
use crate::listing::{ListField, Listed, Listing};
use crate::{Commit, DocumentKey, Precondition, Store, StoreError, StoreErrorKind, Version, Write, WriteMode, clock};

/// Compare-and-set is tried this often against replicas that claim at the same time; one of them succeeds each time.
const TRIES: u32 = 12;
/// Longest pause before the first try that follows a lost one; it grows with each.
const PAUSE_MILLIS: f64 = 15.0;
/// Claims in one commit: it takes 500 writes, and each claim is three.
const MOST_AT_ONCE: usize = 150;
/// Instances in one page of a list.
const PAGE: usize = 300;

/// The ledger as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Places {
    /// Who holds a place.
    pub ledger: Ledger,
    version: Version,
}

fn key() -> DocumentKey {
    DocumentKey::Capacity("places".into())
}

/// The ledger; `None` where nobody counts.
pub async fn read(store: &dyn Store) -> Result<Option<Places>, StoreError> {
    let Some(record) = store.read(&key()).await? else { return Ok(None) };
    let ledger = Ledger::decode(&record.fields).ok_or_else(|| StoreError {
        kind: StoreErrorKind::Refused,
        operation: "decode",
        message: "capacity/places is damaged; delete it, and it is made anew of who lives".into(),
    })?;
    Ok(Some(Places { ledger, version: record.version }))
}

/// The ledger; where there is none it is made, with everybody who lives in it. From then on every replica counts.
pub async fn open(store: &dyn Store) -> Result<Places, StoreError> {
    for _ in 0..TRIES {
        if let Some(places) = read(store).await? {
            return Ok(places);
        }
        let mut ledger = Ledger::default();
        for instance in live(store).await? {
            ledger.holders.insert(instance.id, instance.facts.creator_organization_id);
        }
        match store.commit(vec![Write::create(key(), ledger.encode())]).await {
            Ok(_) => {}
            Err(error) if error.kind == StoreErrorKind::Unknown => {}
            Err(error) => return Err(error),
        }
    }
    Err(contended())
}

/// Has the ledger count an organization's present day, with what was begun of it already. Where replicas keep getting in the way, the
/// next claim does it ([`claim_placed`]).
pub async fn count_day(
    store: &dyn Store,
    organization: &str,
    own: &OrganizationLimits,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let limits = Limits { organizations: BTreeMap::from([(organization.to_owned(), own.clone())]), ..Limits::default() };
    let mut counted = Counted::new();
    for attempt in 0..TRIES {
        let places = open(store).await?;
        let mut ledger = places.ledger.clone();
        let changes = day::count(store, (&mut ledger, &mut counted), BTreeSet::from([organization]), &limits, now).await?;
        if !changes || store.commit(vec![ledger_write(&places, &ledger)]).await?.is_applied() {
            break;
        }
        pause(attempt).await;
    }
    Ok(())
}

/// Every instance between claim and end.
pub async fn live(store: &dyn Store) -> Result<Vec<BotInstance>, StoreError> {
    let phases = Phase::ALL.into_iter().filter(|phase| holds_a_place(*phase)).map(|phase| phase.as_str().to_owned());
    // In the order that has an index.
    every(store, &Listing::newest(Listed::Instances).with(ListField::Phase, phases.collect())).await
}

/// Every readable instance of a list.
pub async fn every(store: &dyn Store, listing: &Listing) -> Result<Vec<BotInstance>, StoreError> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(listing, cursor.as_deref(), PAGE).await?;
        let readable = page.records.iter().filter_map(|record| InstanceRecord::from_record(record, store.naming()).ok());
        found.extend(readable.map(|record| record.instance));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// True for phases in which a bot may be in a call, or on its way.
pub fn holds_a_place(phase: Phase) -> bool {
    !phase.is_terminal() && phase != Phase::Queued
}

/// What became of requests for places.
#[derive(Debug, Default)]
pub struct Admitted {
    /// Claimed, each with its place.
    pub claimed: Vec<Claimed>,
    /// Nothing was free for these.
    pub turned_away: Vec<(InstanceId, Refusal)>,
    /// Not come to, as `most` were claimed before.
    pub left: Vec<InstanceRecord>,
    /// Tries that met another replica, or a changed document.
    pub conflicts: u32,
}

/// Claims as many of these as there are places for, in their order and at most `most`, all in one commit with the ledger.
pub async fn claim_placed(
    store: &dyn Store,
    records: Vec<InstanceRecord>,
    most: usize,
    claimer: &Claimer,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<Admitted, StoreError> {
    let (mut records, mut counted) = (records, Counted::new());
    let most = most.min(MOST_AT_ONCE);
    for attempt in 0..TRIES {
        let places = open(store).await?;
        let mut ledger = places.ledger.clone();
        // Together, whose turn it surely is; the others where their turn comes: at midnight everybody's day begins.
        let first = records.iter().take(most).map(|record| record.instance.facts.creator_organization_id.as_str()).collect();
        let mut begins_a_day = day::count(store, (&mut ledger, &mut counted), first, limits, now).await?;
        let (mut fits, mut answer) = (Vec::new(), Admitted { conflicts: attempt, ..Admitted::default() });
        for record in &records {
            if fits.len() >= most {
                answer.left.push(record.clone());
                continue;
            }
            let its = BTreeSet::from([record.instance.facts.creator_organization_id.as_str()]);
            begins_a_day |= day::count(store, (&mut ledger, &mut counted), its, limits, now).await?;
            match ledger.take(asking(&record.instance), limits, now) {
                Ok(()) => fits.push(record.clone()),
                Err(refusal) => answer.turned_away.push((record.instance.id.clone(), refusal)),
            }
        }
        if fits.is_empty() {
            if begins_a_day {
                // Kept, or the next look would count again; a lost race is counted again by whoever is next.
                store.commit(vec![ledger_write(&places, &ledger)]).await?;
            }
            return Ok(answer);
        }
        let write = ledger_write(&places, &ledger);
        if let Some(claimed) = claim_together(store, &fits, vec![write], claimer, now).await? {
            return Ok(Admitted { claimed, ..answer });
        }
        pause(attempt).await;
        // Mostly the ledger changed. Where it did not, one of the instances did.
        if read(store).await?.is_some_and(|now| now.version == places.version) {
            records = unchanged(store, records).await?;
        }
    }
    Err(contended())
}

/// What has to be committed together with another launch of an instance that may join a call: nothing where it holds its place, or
/// nobody counts. `None` where no place is free for it.
pub async fn place_for(
    store: &dyn Store,
    instance: &BotInstance,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Write>>, StoreError> {
    let places = match read(store).await? {
        Some(places) => places,
        None if limits.is_limiting() => open(store).await?,
        None => return Ok(Some(Vec::new())),
    };
    // Nobody can have taken a living one off the ledger since its document was read: see `settle_up`.
    if places.ledger.holders.contains_key(&instance.id) {
        return Ok(Some(Vec::new()));
    }
    let mut ledger = places.ledger.clone();
    Ok(ledger.take(asking(instance), limits, now).ok().map(|()| vec![ledger_write(&places, &ledger)]))
}

fn asking(instance: &BotInstance) -> Asking<'_> {
    Asking {
        id: &instance.id,
        organization: &instance.facts.creator_organization_id,
        is_new: instance.facts.attempt == 0 && !instance.is_recorded(),
    }
}

/// Brings the ledger in line with what lives: takes off who has ended or is queued again, and puts on who runs without a place, as
/// none of `live` was there when counting began. Answers how many places became free.
///
/// `live` are those that may be in a call, as they were seen a moment ago; everybody else on the ledger is looked at once more.
pub async fn settle_up(store: &dyn Store, live: &BTreeMap<InstanceId, String>) -> Result<usize, StoreError> {
    let Some(places) = read(store).await? else { return Ok(0) };
    let mut ledger = places.ledger.clone();
    for id in places.ledger.holders.keys().filter(|id| !live.contains_key(id)) {
        if !lives(store, id).await? {
            ledger.holders.remove(id);
        }
    }
    let freed = places.ledger.holders.len() - ledger.holders.len();
    for (id, organization) in live.iter().filter(|(id, _)| !places.ledger.holders.contains_key(id)) {
        if lives(store, id).await? {
            ledger.holders.insert(id.clone(), organization.clone());
        }
    }
    if ledger == places.ledger {
        return Ok(0);
    }
    let committed = store.commit(vec![ledger_write(&places, &ledger)]).await;
    Ok(if matches!(committed, Ok(Commit::Applied(_))) { freed } else { 0 })
}

/// Takes those off the ledger that are known to have ended: a terminal phase never changes. Answers how many places became free;
/// where replicas get in each other's way, the next look at everything does it.
pub async fn ended(store: &dyn Store, ids: &[InstanceId]) -> Result<usize, StoreError> {
    for attempt in 0..TRIES {
        let Some(places) = read(store).await? else { return Ok(0) };
        let mut ledger = places.ledger.clone();
        ledger.holders.retain(|id, _| !ids.contains(id));
        let freed = places.ledger.holders.len() - ledger.holders.len();
        if freed == 0 || store.commit(vec![ledger_write(&places, &ledger)]).await?.is_applied() {
            return Ok(freed);
        }
        pause(attempt).await;
    }
    Ok(0)
}

/// A document that cannot be read, or is of a newer version, may live.
async fn lives(store: &dyn Store, id: &InstanceId) -> Result<bool, StoreError> {
    let Some(record) = store.read(&DocumentKey::Instance(id.clone())).await? else { return Ok(false) };
    Ok(BotInstance::stored_phase(&record.fields, store.naming()).map_or(true, holds_a_place))
}

async fn unchanged(store: &dyn Store, records: Vec<InstanceRecord>) -> Result<Vec<InstanceRecord>, StoreError> {
    let mut left = Vec::new();
    for record in records {
        let Some(found) = store.read(&DocumentKey::Instance(record.instance.id.clone())).await? else { continue };
        let found = InstanceRecord::from_record(&found, store.naming()).map_err(|error| unreadable(&error))?;
        if found.version == record.version || is_claimable(&found, false) {
            left.push(found);
        }
    }
    Ok(left)
}

fn ledger_write(places: &Places, ledger: &Ledger) -> Write {
    if Guard::Places.stands() {
        return Write::update(key(), places.version.clone(), ledger.encode());
    }
    Write { key: key(), precondition: Precondition::Exists, mode: WriteMode::Merge(ledger.encode()) }
}

async fn pause(attempt: u32) {
    let millis = PAUSE_MILLIS * f64::from(attempt + 1) * clock::chance();
    tokio::time::sleep(Duration::from_secs_f64(millis / 1_000.0)).await;
}

fn contended() -> StoreError {
    let message = format!("the ledger of places kept changing over {TRIES} tries");
    StoreError { kind: StoreErrorKind::Unavailable, operation: "places", message }
}
