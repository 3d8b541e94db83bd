//! The running stub: how it is started, reached, watched and disturbed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use super::access::{Access, Rule};
use super::fault::{Fault, FaultHits};
use super::request::Verb;
use super::request_log::RequestRecord;
use super::resource::Resource;
use super::script::PodScript;
use super::server::serve;
use super::shared::{Shared, WatchCut, lock};
use super::timing::Timing;
use super::world::World;

/// How long [`Cluster::wait`] waits.
const WAIT: Duration = Duration::from_secs(20);

/// A running cluster. It ends when the last clone is dropped.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
    _until_dropped: Arc<DropGuard>,
}

/// What a cluster is to be. By default everybody may do everything, any namespace exists and it is fast.
#[derive(Default)]
pub struct Builder {
    world: World,
    access: Access,
    address: Option<SocketAddr>,
}

impl Builder {
    /// How fast it is.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.world.timing = timing;
        self
    }

    /// Only these namespaces exist.
    #[must_use]
    pub fn namespaces(mut self, names: &[&str]) -> Self {
        self.world.namespaces = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// A user with a token. Once there is one, unknown tokens get 401 and requests without one are anonymous.
    #[must_use]
    pub fn user(mut self, token: &str, name: &str, rules: Vec<Rule>) -> Self {
        self.access.add_user(token, name, rules);
        self
    }

    /// What pods do unless a script for their Job says otherwise.
    #[must_use]
    pub fn script(mut self, script: PodScript) -> Self {
        self.world.chooser = Box::new(move |_| script.clone());
        self
    }

    /// Pod Security "restricted" is enforced: a Job with `hostNetwork` is taken with a warning.
    #[must_use]
    pub fn pod_security(mut self) -> Self {
        self.world.enforces_pod_security = true;
        self
    }

    /// Listens there instead of on a free port of 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the port is not to be had.
    pub async fn start(mut self) -> std::io::Result<Cluster> {
        let wanted = self.address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = TcpListener::bind(wanted).await?;
        let address = listener.local_addr()?;
        self.world.add_node();
        let shared = Arc::new(Shared::new(self.world, self.access));
        tokio::spawn(serve(shared.clone(), listener, address));
        tokio::spawn(shared.clone().run_controllers());
        let guard = Arc::new(shared.shutdown.clone().drop_guard());
        Ok(Cluster { shared, address, _until_dropped: guard })
    }
}

impl Cluster {
    /// Starts a cluster that allows everything.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start() -> std::io::Result<Self> {
        Builder::default().start().await
    }

    /// A cluster to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client without a token.
    ///
    /// # Errors
    /// Never, as long as the address is one.
    pub fn client(&self) -> anyhow::Result<kube::Client> {
        Ok(kube::Client::try_from(self.config()?)?)
    }

    /// A client with a token.
    ///
    /// # Errors
    /// Never, as long as the address is one.
    pub fn client_as(&self, token: &str) -> anyhow::Result<kube::Client> {
        let mut config = self.config()?;
        config.auth_info.token = Some(token.to_owned().into());
        Ok(kube::Client::try_from(config)?)
    }

    /// The configuration of such a client. Its `default_retry` makes the client repeat 429, 503 and 504 by itself.
    ///
    /// # Errors
    /// Never, as long as the address is one.
    pub fn config(&self) -> anyhow::Result<kube::Config> {
        // The client's TLS wants a process-wide provider, even for plain HTTP; whoever installed one first wins.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(kube::Config::new(self.url().parse()?))
    }

    /// A kubeconfig, as JSON (which is YAML).
    pub fn kubeconfig(&self, token: &str, namespace: &str) -> String {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stub",
            "clusters": [{"name": "stub", "cluster": {"server": self.url()}}],
            "users": [{"name": "stub", "user": {"token": token}}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub", "namespace": namespace}}],
        })
        .to_string()
    }

    /// What the pods of the Job of this name do, from now on and for later Jobs of the name.
    pub fn script(&self, job: &str, script: PodScript) {
        self.shared.write(|world| world.scripts.insert(job.to_owned(), script));
    }

    /// Chooses the script of every Job that has none by name.
    pub fn choose_scripts(&self, choose: impl Fn(&Value) -> PodScript + Send + 'static) {
        self.shared.write(|world| world.chooser = Box::new(choose));
    }

    /// Changes how fast it is.
    pub fn set_timing(&self, timing: Timing) {
        self.shared.write(|world| world.timing = timing);
    }

    /// Puts a fault in force.
    pub fn inject(&self, fault: Fault) -> FaultHits {
        lock(&self.shared.faults).inject(fault)
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Adds a user while it runs.
    pub fn add_user(&self, token: &str, name: &str, rules: Vec<Rule>) {
        lock(&self.shared.access).add_user(token, name, rules);
    }

    /// Ends the watches of a resource (`None`: of all) in good order, as a timeout would.
    pub fn end_watches(&self, resource: Option<Resource>) {
        self.shared.cut_watches(WatchCut { resource, is_abrupt: false });
    }

    /// Breaks the watches of a resource (`None`: of all) in the middle of their bodies.
    pub fn cut_watches(&self, resource: Option<Resource>) {
        self.shared.cut_watches(WatchCut { resource, is_abrupt: true });
    }

    /// Forgets the history: the next watch from an older resourceVersion gets 410.
    pub fn compact(&self) {
        self.shared.write(|world| world.store.compact());
    }

    /// Breaks all connections and refuses new ones.
    pub fn refuse_connections(&self) {
        self.shared.is_open.send_replace(false);
        let mut connections = lock(&self.shared.connections);
        connections.cancel();
        *connections = tokio_util::sync::CancellationToken::new();
    }

    /// Breaks all connections and refuses new ones for so long.
    pub fn refuse_connections_for(&self, length: Duration) {
        self.refuse_connections();
        let shared = self.shared.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            shared.is_open.send_replace(true);
        });
    }

    /// Accepts connections again.
    pub fn accept_connections(&self) {
        self.shared.is_open.send_replace(true);
    }

    /// The requests up to now.
    pub fn requests(&self) -> Vec<RequestRecord> {
        lock(&self.shared.log).clone()
    }

    /// How many requests there were of a verb on a resource.
    pub fn request_count(&self, verb: Verb, resource: Resource) -> usize {
        let log = lock(&self.shared.log);
        log.iter().filter(|record| record.verb == verb && record.resource == Some(resource)).count()
    }

    /// Forgets the requests up to now.
    pub fn clear_requests(&self) {
        lock(&self.shared.log).clear();
    }

    /// Waits until `look` finds something; it looks again at every change of the cluster.
    ///
    /// # Errors
    /// When it finds nothing within 20 s.
    pub async fn wait<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> anyhow::Result<T> {
        let mut versions = self.shared.versions();
        let found = async {
            loop {
                versions.borrow_and_update();
                if let Some(found) = look(self) {
                    return Some(found);
                }
                versions.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(WAIT, found).await;
        found.ok().flatten().ok_or_else(|| anyhow::anyhow!("waited in vain for {what}"))
    }
}
