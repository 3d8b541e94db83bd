//! The site: real controllers, which start real managers (or have the API server's stub start them), over the Firestore emulator and
//! the local bucket, each behind a proxy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bot_model::configuration::Naming;
use bot_model::document::Fields;
use bot_model::ids::MeetingPath;
use bot_store::{DocumentKey, Store, StoreError, Write};
use chrono::{DateTime, Utc};
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::watch;

use super::clocks::Clocks;
use super::disk::Disk;
use super::plan::Launcher;
use super::pods::{Jobs, Pods};
use super::proxy::{Mode, Proxy};
use super::room::Room;
use super::runs;
use super::truth::Log;
use crate::gcs::GcsServer;
use crate::process::{Process, binary};
use crate::scripted_bot::{ROOM_SOCKET, TEMPLATE, template};

/// The bucket's name.
pub const BUCKET: &str = "recordings";

/// The folder of the runs.
const RUNS: &str = "runs";

/// Tries of the suite's own calls of the store: on a starved machine the emulator takes longer than the adapter waits.
const TRIES: u32 = 10;

/// Calls the store until it answers.
pub(super) async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..TRIES {
        match call().await {
            Err(error) if error.is_transient() => eprintln!("the suite's own call: {error}"),
            answered => return Ok(answered?),
        }
    }
    Ok(call().await?)
}

/// A running site.
pub struct Site {
    folder: PathBuf,
    /// The suite's own way to the store, past the proxy.
    pub store: Arc<dyn Store>,
    /// The bucket, past the proxy.
    pub bucket: GcsServer,
    /// Before the store.
    pub to_store: Proxy,
    /// Before the bucket.
    pub to_bucket: Proxy,
    /// The calls.
    pub room: Room,
    /// Ground truth.
    pub log: Arc<Log>,
    /// Of controllers and managers.
    pub clocks: Clocks,
    /// Of the runs.
    pub disk: Disk,
    pods: Option<Pods>,
    project: String,
    controllers: Vec<Option<Process>>,
    starts: u32,
}

impl Site {
    /// Starts everything below `folder`. `FIRESTORE_EMULATOR_HOST` of this process names the emulator.
    pub async fn start(folder: &Path, controllers: usize, launcher: Launcher) -> Result<Self> {
        let stage = folder.join("stage");
        template::record(&stage.join(TEMPLATE))?;
        let emulator = std::env::var("FIRESTORE_EMULATOR_HOST").context("FIRESTORE_EMULATOR_HOST is not set")?;
        let (_, to_emulator) = watch::channel(Some(emulator.parse::<SocketAddr>().context("the emulator's address")?));
        let (aim, to_bucket) = watch::channel(None);
        let (to_store, to_bucket) = (Proxy::start(to_emulator).await?, Proxy::start(to_bucket).await?);
        // An upload that goes on elsewhere has to go on through the proxy, too.
        let origin = format!("http://{}", to_bucket.address);
        let bucket = GcsServer::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), Some(origin)).await?;
        aim.send_replace(Some(bucket.address));
        let project = format!("chaos-{}", uuid::Uuid::new_v4().simple());
        let url = format!("firestore:{project}");
        let store = patiently(|| bot_store::connect::open(&url, Naming::default())).await?;
        let log = Arc::new(Log::create(&folder.join("truth.jsonl"))?);
        let room = Room::open(&stage.join(ROOM_SOCKET), Arc::clone(&log))?;
        let clocks = Clocks::start(&stage, controllers)?;
        let disk = Disk::mount(&folder.join(RUNS))?;
        let pods = match launcher {
            Launcher::Kubernetes => Some(Pods::start(folder, &folder.join(RUNS), clocks.manager()?, &stage).await?),
            Launcher::Process => None,
        };
        let controllers = (0..controllers).map(|_| None).collect();
        let mut site = Self {
            folder: folder.to_owned(),
            store,
            bucket,
            to_store,
            to_bucket,
            room,
            log,
            clocks,
            disk,
            pods,
            project,
            controllers,
            starts: 0,
        };
        site.start_missing()?;
        Ok(site)
    }

    /// Where runs live.
    pub fn runs(&self) -> PathBuf {
        self.folder.join(RUNS)
    }

    /// Where everything lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The cluster of a site that has one.
    pub fn pods(&self) -> Result<Pods> {
        self.pods.clone().context("this site launches processes")
    }

    /// What is known of the Jobs, where there are any.
    pub fn jobs(&self) -> Option<Jobs> {
        self.pods.as_ref().map(Pods::jobs)
    }

    /// True where nothing runs any more, nor is to.
    pub fn is_still(&self) -> bool {
        let has_left = self.jobs().is_some_and(|jobs| !jobs.left.is_empty());
        self.room.inside() == 0 && runs::alive(&self.runs()).is_empty() && !has_left
    }

    /// Connections that the proxies before store, bucket and API server broke.
    pub fn broken(&self) -> [u64; 3] {
        [self.to_store.broken(), self.to_bucket.broken(), self.pods.as_ref().map_or(0, |pods| pods.to_api.broken())]
    }

    /// Starts every controller that is not there; answers their names.
    pub fn start_missing(&mut self) -> Result<Vec<String>> {
        let mut started = Vec::new();
        for which in 0..self.controllers.len() {
            if self.controller(which).is_none() {
                let name = format!("controller-{which}");
                self.starts += 1;
                let log = self.folder.join(format!("{name}-{:03}.log", self.starts));
                let process = Process::start(self.command(which, &name)?, &log)?;
                self.controllers[which] = Some(process);
                started.push(name);
            }
        }
        Ok(started)
    }

    /// How many controllers there shall be.
    pub fn size(&self) -> usize {
        self.controllers.len()
    }

    /// Those that run.
    pub fn running(&mut self) -> Vec<usize> {
        (0..self.controllers.len()).filter(|which| self.controller(*which).is_some()).collect()
    }

    /// Signals a controller, where it runs.
    pub fn signal(&mut self, which: usize, signal: Signal) -> Result<()> {
        self.controller(which).map_or(Ok(()), |process| process.signal(signal))
    }

    fn controller(&mut self, which: usize) -> Option<&mut Process> {
        let slot = self.controllers.get_mut(which)?;
        if slot.as_mut().is_some_and(|process| process.try_wait().ok().flatten().is_some()) {
            *slot = None;
        }
        slot.as_mut()
    }

    fn command(&self, which: usize, name: &str) -> Result<Command> {
        let mut command = Command::new(binary("controller")?);
        command.arg("run").envs([
            ("GCP_PROJECT_ID", self.project.as_str()),
            ("FIRESTORE_DATABASE", "(default)"),
            ("GCS_BUCKET", BUCKET),
            ("CONTROLLER_ID", name),
            ("HTTP_LISTEN", "127.0.0.1:0"),
            ("MAX_LIVE_BOTS", "40"),
            ("MACHINE_ADMISSION", "off"),
            ("POLL_INTERVAL", "2"),
            ("REAP_INTERVAL_SECONDS", "2"),
            ("SWEEP_INTERVAL_SECONDS", "20"),
            ("MAX_LATE_SECONDS", "3600"),
        ]);
        match &self.pods {
            Some(pods) => drop(command.envs(pods.settings())),
            None => {
                command.env("RUNS_DIR", self.runs()).env("MEETING_BOT_BIN", binary("scripted-bot")?);
                command.env("LAUNCHER", "process").env("MANAGER_BIN", self.clocks.manager()?);
            }
        }
        self.clocks.give_controller(which, &mut command);
        command.env("SIGNAL_PACKS_DIR", self.folder.join("stage"));
        command.env("FIRESTORE_EMULATOR_HOST", self.to_store.address.to_string());
        command.env("STORAGE_EMULATOR_HOST", format!("http://{}", self.to_bucket.address));
        Ok(command)
    }

    /// No more faults: the network is whole, whoever stands still goes on, whoever is missing is started.
    pub fn heal(&mut self) -> Result<Vec<String>> {
        self.to_store.set(Mode::Open);
        self.to_bucket.set(Mode::Open);
        self.pods.iter().for_each(|pods| pods.to_api.set(Mode::Open));
        self.clocks.heal(self.size())?;
        for which in self.running() {
            self.signal(which, Signal::CONT)?;
        }
        for pid in runs::alive(&self.runs()).iter().flat_map(runs::LiveRun::all) {
            runs::signal(pid, Signal::CONT);
        }
        self.start_missing()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.controllers.clear();
        // Runs outlive their controllers: they have sessions of their own.
        for pid in runs::alive(&self.runs()).iter().flat_map(runs::LiveRun::all) {
            runs::signal(pid, Signal::KILL);
        }
    }
}

/// A backend: writes meeting documents, past the proxy.
pub struct Writer {
    store: Arc<dyn Store>,
}

impl Writer {
    /// For a site.
    pub fn of(site: &Site) -> Self {
        Self { store: Arc::clone(&site.store) }
    }

    /// Writes a meeting that is due.
    pub async fn meeting(&self, id: &str, call: &str, start: Option<DateTime<Utc>>) -> Result<MeetingPath> {
        let path = MeetingPath::parse(&format!("meetings/{id}")).context("a path")?;
        let mut fields = Fields::new();
        fields.insert("meeting_url".into(), json!(format!("practice:meet/{call}")));
        fields.insert("status".into(), json!("scheduled"));
        if let Some(start) = start {
            fields.insert("start_time".into(), json!(start));
        }
        // One whose answer was lost is there already.
        let write = Write::create(DocumentKey::Meeting(path.clone()), fields);
        patiently(|| self.store.commit(vec![write.clone()])).await?;
        Ok(path)
    }

    /// Cancels one.
    pub async fn cancel(&self, path: &MeetingPath) -> Result<()> {
        let mut fields = Fields::new();
        fields.insert("status".into(), json!("cancelled"));
        let write = Write::merge_existing(DocumentKey::Meeting(path.clone()), fields);
        patiently(|| self.store.commit(vec![write.clone()])).await?;
        Ok(())
    }
}
