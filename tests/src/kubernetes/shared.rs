//! What the server's tasks share: the locked world, who may do what, faults, the log, the connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::fault::Faults;
use super::request_log::RequestRecord;
use super::resource::Resource;
use super::world::World;

/// An order to end watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchCut {
    /// `None` for all.
    pub(crate) resource: Option<Resource>,
    /// Whether the connection breaks, instead of the body ending in order.
    pub(crate) is_abrupt: bool,
}

pub(crate) struct Shared {
    world: Mutex<World>,
    version: watch::Sender<u64>,
    due: Notify,
    cuts: broadcast::Sender<WatchCut>,
    pub(crate) access: Mutex<Access>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) log: Mutex<Vec<RequestRecord>>,
    /// Whether connections are accepted.
    pub(crate) is_open: watch::Sender<bool>,
    /// Ends all connections of the present opening.
    pub(crate) connections: Mutex<CancellationToken>,
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    pub(crate) fn new(world: World, access: Access) -> Self {
        let version = world.store.version();
        Self {
            world: Mutex::new(world),
            version: watch::Sender::new(version),
            due: Notify::new(),
            cuts: broadcast::Sender::new(16),
            access: Mutex::new(access),
            faults: Mutex::default(),
            log: Mutex::default(),
            is_open: watch::Sender::new(true),
            connections: Mutex::default(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Looks at the world.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&lock(&self.world))
    }

    /// Changes the world; watchers and controllers hear of it.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let (result, version) = {
            let mut world = lock(&self.world);
            // What is due comes first, in its order.
            let now = Instant::now();
            world.run_due(now);
            world.agenda.catch_up(now);
            let result = change(&mut world);
            (result, world.store.version())
        };
        self.announce(version);
        self.due.notify_one();
        result
    }

    fn announce(&self, version: u64) {
        self.version.send_if_modified(|known| {
            let is_newer = *known < version;
            *known = version.max(*known);
            is_newer
        });
    }

    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn watch_cuts(&self) -> broadcast::Receiver<WatchCut> {
        self.cuts.subscribe()
    }

    pub(crate) fn cut_watches(&self, cut: WatchCut) {
        // Without a watch there is nothing to cut.
        let _ = self.cuts.send(cut);
    }

    /// Runs the controllers until the cluster is dropped.
    pub(crate) async fn run_controllers(self: Arc<Self>) {
        loop {
            let (next, version) = {
                let mut world = lock(&self.world);
                (world.run_due(Instant::now()), world.store.version())
            };
            self.announce(version);
            let wake = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wake => {}
                () = self.due.notified() => {}
                () = self.shutdown.cancelled() => return,
            }
        }
    }
}

/// Locks; a panic elsewhere does not matter here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
