//! Carries a plan out: breaks, waits, mends. What it did goes to the ground truth, at the moment that it did it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Behind, Blow, Clock, Fault, Part, Planned, Strike, Trouble};
use super::pods::LINGERS;
use super::proxy::Mode;
use super::room::is_alive;
use super::runs::{self, LiveRun};
use super::site::Site;
use super::truth::Event;

/// How long a fault waits for a run that it could hit.
const TARGET_WITHIN: Duration = Duration::from_secs(5);
/// Of a line that is slow.
const LATE: Duration = Duration::from_millis(700);
/// Of a thin line.
const BYTES_A_SECOND: u64 = 10_000;
/// Seconds that a clock is wrong at most.
const MOST_AHEAD: i64 = 300;
/// Of an answer that is cut.
const CUT_AFTER: u64 = 300;

/// One that breaks things.
pub struct Monkey {
    site: Arc<Mutex<Site>>,
    /// Hits by job.
    hits: Mutex<BTreeMap<String, u32>>,
    most_hits: u32,
}

pub(super) fn lock(site: &Mutex<Site>) -> MutexGuard<'_, Site> {
    site.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Monkey {
    /// One that hits each job so often at most.
    pub fn new(site: Arc<Mutex<Site>>, most_hits: u32) -> Arc<Self> {
        Arc::new(Self { site, hits: Mutex::default(), most_hits })
    }

    /// Breaks everything that is planned, and answers when the last of it is over.
    pub async fn run(self: Arc<Self>, faults: Vec<Planned>, begun: Instant) -> Result<()> {
        let mut under_way = JoinSet::new();
        for planned in faults {
            sleep_until(begun + planned.at).await;
            let own = Arc::clone(&self);
            under_way.spawn(async move { own.inject(planned).await });
        }
        while let Some(ended) = under_way.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn inject(&self, planned: Planned) -> Result<()> {
        match planned.fault {
            Fault::Controller(blow) => self.controller(blow, &planned).await,
            Fault::Run(blow, part) => self.hit(blow, part, &planned).await,
            Fault::Network(behind, trouble) => self.network(behind, trouble, &planned).await,
            Fault::Clock(whose) => self.clock(whose, &planned).await,
            Fault::DiskFull => self.disk(&planned).await,
            Fault::Pod(strike) => self.strike(strike, &planned).await,
            Fault::Watches => self.watches(&planned),
            Fault::Node => self.node(&planned).await,
        }
    }

    async fn controller(&self, blow: Blow, planned: &Planned) -> Result<()> {
        let hit = {
            let mut site = lock(&self.site);
            let running = site.running();
            let Some(which) = running.get(planned.pick % running.len().max(1)).copied() else { return Ok(()) };
            self.log(&site, planned, None)?;
            site.signal(which, signal_of(blow))?;
            which
        };
        sleep(planned.lasts).await;
        let mut site = lock(&self.site);
        if blow == Blow::Pause {
            return site.signal(hit, Signal::CONT);
        }
        for who in site.start_missing()? {
            site.log.write(Event::Restarted { who })?;
        }
        Ok(())
    }

    async fn hit(&self, blow: Blow, part: Part, planned: &Planned) -> Result<()> {
        let Some(run) = self.target(part, planned.pick).await else { return Ok(()) };
        let victims = victims(&run, part);
        self.log(&lock(&self.site), planned, Some(&run.run))?;
        if part == Part::Machine {
            return lose_machine(&run, &victims).await;
        }
        victims.iter().for_each(|pid| runs::signal(*pid, signal_of(blow)));
        if blow == Blow::Pause {
            sleep(planned.lasts).await;
            victims.iter().filter(|pid| is_alive(**pid)).for_each(|pid| runs::signal(*pid, Signal::CONT));
        }
        Ok(())
    }

    /// A run that has what is to be hit, and was not hit too often.
    async fn target(&self, part: Part, pick: usize) -> Option<LiveRun> {
        let folder = lock(&self.site).runs();
        let until = Instant::now() + TARGET_WITHIN;
        while Instant::now() < until {
            if let Some(run) = self.chosen(&folder, part, pick) {
                return Some(run);
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    fn chosen(&self, folder: &Path, part: Part, pick: usize) -> Option<LiveRun> {
        let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fit: Vec<LiveRun> = runs::alive(folder);
        fit.retain(|run| run.is_whole() && !victims(run, part).is_empty());
        fit.retain(|run| hits.get(&run.job).is_none_or(|hits| *hits < self.most_hits));
        let pick = pick.checked_rem(fit.len())?;
        let run = fit.swap_remove(pick);
        *hits.entry(run.job.clone()).or_default() += 1;
        Some(run)
    }

    async fn network(&self, behind: Behind, trouble: Trouble, planned: &Planned) -> Result<()> {
        let proxy = {
            let site = lock(&self.site);
            self.log(&site, planned, None)?;
            match behind {
                Behind::Store => site.to_store.clone(),
                Behind::Bucket => site.to_bucket.clone(),
                Behind::Api => site.pods()?.to_api,
            }
        };
        proxy.set(match trouble {
            Trouble::Latency => Mode::Latency(LATE),
            Trouble::Reset => Mode::Reset,
            Trouble::HalfOpen => Mode::HalfOpen,
            Trouble::Bandwidth => Mode::Bandwidth(BYTES_A_SECOND),
            Trouble::Cut => Mode::CutAfter(CUT_AFTER),
            Trouble::Refused | Trouble::Outage => Mode::Refused,
        });
        sleep(planned.lasts).await;
        proxy.set(Mode::Open);
        Ok(())
    }

    async fn clock(&self, whose: Clock, planned: &Planned) -> Result<()> {
        let ahead = i64::try_from(planned.pick)? % (2 * MOST_AHEAD + 1) - MOST_AHEAD;
        let clock = {
            let site = lock(&self.site);
            self.log(&site, planned, None)?;
            let clocks = &site.clocks;
            if whose == Clock::Managers { clocks.managers() } else { clocks.controller(planned.pick % site.size()) }
        };
        clock.set(ahead)?;
        sleep(planned.lasts).await;
        clock.set(0)
    }

    async fn disk(&self, planned: &Planned) -> Result<()> {
        let full = {
            let site = lock(&self.site);
            self.log(&site, planned, None)?;
            site.disk.fill()?
        };
        sleep(planned.lasts).await;
        full.empty()
    }

    async fn strike(&self, strike: Strike, planned: &Planned) -> Result<()> {
        let Some(run) = self.target(Part::Manager, planned.pick).await else { return Ok(()) };
        let pods = {
            let site = lock(&self.site);
            self.log(&site, planned, Some(&run.run))?;
            site.pods()?
        };
        pods.strike(strike, &run, planned.pick).await
    }

    fn watches(&self, planned: &Planned) -> Result<()> {
        let site = lock(&self.site);
        self.log(&site, planned, None)?;
        site.pods()?.cut_watches(planned.pick);
        Ok(())
    }

    async fn node(&self, planned: &Planned) -> Result<()> {
        let pods = {
            let site = lock(&self.site);
            self.log(&site, planned, None)?;
            site.pods()?
        };
        pods.cluster.lose_node();
        sleep(planned.lasts).await;
        pods.cluster.restore_node();
        Ok(())
    }

    fn log(&self, site: &Site, planned: &Planned, run: Option<&str>) -> Result<()> {
        let lasts = match planned.fault {
            Fault::Run(Blow::Kill | Blow::Stop, _) | Fault::Watches => Duration::ZERO,
            // Until its processes are gone, too.
            Fault::Pod(Strike::DeleteByForce) => LINGERS,
            Fault::Pod(_) => Duration::ZERO,
            _ => planned.lasts,
        };
        let (fault, run) = (planned.fault.name(), run.map(str::to_owned));
        site.log.write(Event::Injected { fault, run, secs: lasts.as_secs_f64() })
    }
}

fn signal_of(blow: Blow) -> Signal {
    match blow {
        Blow::Kill => Signal::KILL,
        Blow::Stop => Signal::TERM,
        Blow::Pause => Signal::STOP,
    }
}

fn victims(run: &LiveRun, part: Part) -> Vec<i32> {
    match part {
        Part::Supervisor => run.supervisor.into_iter().collect(),
        Part::Manager => run.manager.into_iter().collect(),
        Part::Bot => run.bot.into_iter().collect(),
        Part::Whole | Part::Machine => run.all(),
    }
}

/// Everything stands still first, so that nothing is written between the loss of the disk and the end of its processes.
async fn lose_machine(run: &LiveRun, victims: &[i32]) -> Result<()> {
    victims.iter().for_each(|pid| runs::signal(*pid, Signal::STOP));
    let scratch = run.folder.join("scratch");
    let lost = run.folder.join("lost-disk");
    let moved = std::fs::rename(&scratch, lost);
    victims.iter().for_each(|pid| runs::signal(*pid, Signal::KILL));
    match moved {
        // It had ended in order, and its folder is gone.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        moved => moved.context("lose a disk"),
    }
}
