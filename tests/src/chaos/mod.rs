//! Chaos: the real controllers and managers over the real Firestore emulator and the local bucket, both behind proxies, with scripted
//! bots in calls that keep coming, while processes are killed and the network breaks. Runs are processes of the controllers, or Jobs
//! of a stub of the API server ([`pods`]) behind a proxy of its own. Then nothing breaks any more, it grows quiet, and a checker judges the whole history against a ground truth that nothing of the product writes.
//!
//! A seed is a plan ([`plan`]); what the machine makes of it differs from run to run.

pub mod checker;
mod clocks;
mod disk;
pub mod history;
pub mod monkey;
pub mod plan;
pub mod pods;
pub mod proxy;
pub mod report;
pub mod room;
pub mod runs;
pub mod site;
pub mod truth;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bot_model::document::BotInstance;
use bot_store::protocol::InstanceRecord;
use bot_store::{InstanceQuery, Store};
use chrono::Utc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use history::{Asked, History, Sightings};
use monkey::{Monkey, lock};
use plan::{Documents, Plan, PlannedCall, Size};
use site::{Site, patiently};
use truth::Event;

/// Between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A round that is over.
#[derive(Debug)]
pub struct Round {
    /// What is known of it.
    pub history: History,
    /// From the last fault's end until everything was quiet; nothing where it never was.
    pub quiet_after: Option<Duration>,
    /// Connections that the proxies before store, bucket and API server broke.
    pub broken: [u64; 3],
}

/// One round below `folder`: breaks things as `seed` says, and waits up to `quiet_within` until everything has ended.
pub async fn round(folder: &Path, seed: u64, size: &Size, quiet_within: Duration) -> Result<Round> {
    let plan = Plan::of(seed, size);
    let site = Site::start(folder, size.controllers, size.launcher).await?;
    let store = Arc::clone(&site.store);
    let sightings: Arc<Mutex<Sightings>> = Arc::default();
    let watcher = tokio::spawn(watch(Arc::clone(&store), Arc::clone(&sightings)));
    let site = Arc::new(Mutex::new(site));
    let begun = Instant::now();
    let monkey = Monkey::new(Arc::clone(&site), size.hits);
    let (broken, asked) = tokio::join!(monkey.run(plan.faults, begun), people(&site, plan.calls, begun));
    let (asked, ()) = (asked?, broken?);
    let healed = {
        let mut site = lock(&site);
        for who in site.heal()? {
            site.log.write(Event::Restarted { who })?;
        }
        Instant::now()
    };
    let quiet_after = until_quiet(&site, &store, &asked, healed + quiet_within).await?.then(|| healed.elapsed());
    watcher.abort();
    let sightings = std::mem::take(&mut *sightings.lock().unwrap_or_else(PoisonError::into_inner));
    let site = Arc::into_inner(site).context("somebody still breaks things")?;
    let site = site.into_inner().unwrap_or_else(PoisonError::into_inner);
    let broken = site.broken();
    Ok(Round { history: history::gather(&site, asked, sightings).await?, quiet_after, broken })
}

/// Holds the calls, and writes their documents.
async fn people(site: &Arc<Mutex<Site>>, calls: Vec<PlannedCall>, begun: Instant) -> Result<Vec<Asked>> {
    let mut under_way = JoinSet::new();
    for (index, call) in calls.into_iter().enumerate() {
        let site = Arc::clone(site);
        under_way.spawn(async move {
            sleep_until(begun + call.at).await;
            hold(&site, index, call).await
        });
    }
    let mut asked = Vec::new();
    while let Some(held) = under_way.join_next().await {
        asked.extend(held??);
    }
    Ok(asked)
}

/// The documents are written past the proxy: a backend's own troubles are none of ours.
async fn hold(site: &Mutex<Site>, index: usize, call: PlannedCall) -> Result<Vec<Asked>> {
    let code = format!("call-{index:03}");
    let native = format!("practice/{code}");
    let (room, log, writer) = {
        let site = lock(site);
        (site.room.clone(), Arc::clone(&site.log), site::Writer::of(&site))
    };
    room.hold(&native, call.segments);
    let start = (call.documents == Documents::SameStart).then(Utc::now);
    let count = if matches!(call.documents, Documents::SameStart | Documents::NoStart) { 2 } else { 1 };
    let is_cancelled = call.documents == Documents::Cancelled;
    let mut asked = Vec::new();
    for document in 0..count {
        let path = writer.meeting(&format!("{code}-{document}"), &code, start).await?;
        asked.push(Asked { path, call: native.clone(), is_cancelled, instance: None });
    }
    if is_cancelled {
        sleep(call.cancelled_after).await;
        for meeting in &asked {
            log.write(Event::Cancelled { call: native.clone() })?;
            writer.cancel(&meeting.path).await?;
        }
    }
    Ok(asked)
}

/// Sees every instance change, as far as one can who only looks.
async fn watch(store: Arc<dyn Store>, sightings: Arc<Mutex<Sightings>>) {
    loop {
        if let Ok(instances) = instances(store.as_ref()).await {
            let mut sightings = sightings.lock().unwrap_or_else(PoisonError::into_inner);
            for instance in instances {
                let seen = sightings.entry(instance.id.clone()).or_default();
                if seen.last() != Some(&instance) {
                    seen.push(instance);
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Every instance in the store.
async fn instances(store: &dyn Store) -> Result<Vec<BotInstance>> {
    let naming = store.naming();
    let statuses = [bot_model::lifecycle::Status::Queued, bot_model::lifecycle::Status::Processing];
    let ended = [bot_model::lifecycle::Status::Done, bot_model::lifecycle::Status::Failed];
    let all = statuses.into_iter().chain(ended).map(|status| naming.status_value(status).to_owned()).collect();
    let (query, mut cursor, mut found) = (InstanceQuery::WithStatus(all), None::<String>, Vec::new());
    loop {
        let page = patiently(|| store.instances(&query, cursor.as_deref(), 200)).await?;
        for record in page.records {
            found.push(InstanceRecord::from_record(&record, naming)?.instance);
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// True once every document has its instance, every instance has ended, and nobody is in a call or at work.
async fn until_quiet(site: &Mutex<Site>, store: &Arc<dyn Store>, asked: &[Asked], until: Instant) -> Result<bool> {
    while Instant::now() < until {
        let instances = instances(store.as_ref()).await?;
        let mut linked: BTreeMap<&str, usize> = BTreeMap::new();
        for meeting in instances.iter().flat_map(|instance| &instance.facts.linked_meetings) {
            *linked.entry(meeting.path.as_str()).or_default() += 1;
        }
        let is_served = |meeting: &Asked| meeting.is_cancelled || linked.contains_key(meeting.path.as_str());
        let has_ended = asked.iter().all(is_served) && instances.iter().all(|instance| instance.phase.is_terminal());
        if has_ended && lock(site).is_still() {
            return Ok(true);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(false)
}
