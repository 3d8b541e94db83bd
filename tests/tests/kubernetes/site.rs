//! A store in a temporary file, a stub cluster, and launchers over both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bot_model::configuration::Naming;
use bot_model::document::BotInstance;
use bot_model::ids::InstanceId;
use bot_model::meeting_url::MeetingUrl;
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::claim::{Claimed, Claimer, claim_all, launched, relaunch};
use bot_store::{DocumentKey, Store, Write};
use chrono::Utc;
use controller::config::{Config, Needs, Pace};
use controller::engine::Engine;
use controller::launch::kubernetes::KubernetesLauncher;
use controller::launch::kubernetes::config::KubernetesConfig;
use controller::launch::{LaunchSpec, Launcher, Observed, RunCommand, RunKey};
use tests::kubernetes::{Cluster, PodScript};

/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Of a meeting's address; must be seen nowhere in the cluster.
pub(crate) const CANARY: &str = "PASSCODECANARY";

pub(crate) struct Site {
    _folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cluster: Cluster,
}

/// The configuration that these variables and the defaults make.
pub(crate) fn config(extra: &[(&str, &str)]) -> Config {
    let base = [
        ("GCP_PROJECT_ID", "p"),
        ("GCS_BUCKET", "b"),
        ("MANAGER_IMAGE", "registry/manager:1"),
        ("MEETING_BOT_IMAGE", "registry/meeting-bot:1"),
        ("KUBERNETES_NAMESPACE", "bots"),
        ("POLL_INTERVAL", "1"),
        ("REAP_INTERVAL_SECONDS", "1"),
    ];
    let pairs: Vec<(&str, &str)> = extra.iter().chain(&base).copied().collect();
    Config::read(Needs::Everything, |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        .unwrap()
}

pub(crate) fn jobs_config(extra: &[(&str, &str)]) -> KubernetesConfig {
    config(extra).kubernetes.unwrap()
}

pub(crate) fn pace() -> Pace {
    config(&[]).pace
}

impl Site {
    /// Pods run until they are told to end.
    pub(crate) async fn new() -> Self {
        Self::with(Cluster::builder().script(PodScript::RunUntilTerminated(143)).start().await.unwrap()).await
    }

    pub(crate) async fn with(cluster: Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = bot_store::connect::open(&url, Naming::default()).await.unwrap();
        Self { _folder: folder, store, cluster }
    }

    /// A launcher whose picture is whole.
    pub(crate) async fn launcher(&self, extra: &[(&str, &str)]) -> Arc<KubernetesLauncher> {
        let launcher = Arc::new(KubernetesLauncher::reaching(self.cluster.config().unwrap(), jobs_config(extra)).unwrap());
        until("the launcher's readiness", || async { launcher.ready().await.ok() }).await;
        launcher
    }

    pub(crate) async fn controller(&self, id: &str, pace: Pace) -> (Arc<Engine>, Arc<KubernetesLauncher>) {
        let launcher = self.launcher(&[]).await;
        (Engine::new(Arc::clone(&self.store), Arc::clone(&launcher) as _, id, pace), launcher)
    }

    pub(crate) async fn queue(&self, id: &str) -> InstanceId {
        let id = InstanceId::parse(id).unwrap();
        let url = MeetingUrl::parse(&format!("https://zoom.us/j/123456789?pwd={CANARY}")).unwrap();
        let mut queued = BotInstance::queued(id.clone(), url);
        queued.facts.created_at = Some(Utc::now());
        let write = Write::create(DocumentKey::Instance(id.clone()), queued.encode(self.store.naming()));
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
        id
    }

    pub(crate) async fn record(&self, id: &InstanceId) -> InstanceRecord {
        InstanceRecord::read(self.store.as_ref(), id).await.unwrap().unwrap()
    }

    pub(crate) async fn claim(&self, id: &str) -> Claimed {
        let id = self.queue(id).await;
        let record = self.record(&id).await;
        claim_all(self.store.as_ref(), vec![record], &claimer(), Utc::now()).await.remove(0).unwrap().unwrap()
    }

    pub(crate) async fn spec(&self, id: &str) -> LaunchSpec {
        LaunchSpec::new(&self.claim(id).await, RunCommand::Record)
    }

    /// The claim on the attempt after this one.
    pub(crate) async fn next_attempt(&self, claimed: &Claimed) -> Claimed {
        let job = LaunchSpec::new(claimed, RunCommand::Record).key().job;
        launched(self.store.as_ref(), claimed, &job, Utc::now()).await.unwrap();
        let record = self.record(&claimed.record().instance.id).await;
        relaunch(self.store.as_ref(), &record, &claimer(), "test", Utc::now()).await.unwrap().unwrap()
    }
}

fn claimer() -> Claimer {
    Claimer { controller_id: "c".into(), ttl: LIMIT }
}

pub(crate) async fn find(launcher: &dyn Launcher, key: &RunKey) -> Option<Observed> {
    launcher.list().await.unwrap().into_iter().find(|run| run.key == *key)
}

/// Waits until `probe` answers.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
