//! The stub as a site: Firestore's emulator, the bucket stand-in, a practice room, and pods that are processes on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::reach::Reach;
use super::site::{Controllers, NodeOrder, Participant};
use crate::gcs::GcsServer;
use crate::kubernetes::{Cluster, PodScript, Timing};
use crate::local_kubelet::LocalKubelet;
use crate::process::{Process, address, binary, until};
use crate::room::PracticeRoom;

/// The one namespace.
pub(super) const NAMESPACE: &str = "suite";

/// Everything on this machine.
pub struct StubSite {
    pub(super) client: kube::Client,
    pub(super) reach: Reach,
    cluster: Cluster,
    kubelet: LocalKubelet,
    room: PracticeRoom,
    bucket: GcsServer,
    emulator: bot_store::emulator::Emulator,
    folder: tempfile::TempDir,
}

impl StubSite {
    /// Starts it; `None`, said loudly, where the emulator is not installed (with `CI=true` that is a failure).
    pub async fn start() -> Result<Option<Self>> {
        let Some(emulator) = bot_store::emulator::start().await else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let cluster = Cluster::builder().timing(Timing::real_seconds()).start().await?;
        cluster.choose_scripts(|job| script(&job["spec"]["template"]));
        let kubelet = LocalKubelet::start_for(&cluster, &folder.path().join("pods"), |pod| script(pod) == PodScript::External);
        std::fs::write(folder.path().join("kubeconfig"), cluster.kubeconfig("token", NAMESPACE))?;
        let room = PracticeRoom::start(folder.path()).await?;
        let bucket = GcsServer::start().await?;
        let origins = [format!("http://{}", emulator.host()), bucket.host(), room.origin.clone()];
        Ok(Some(Self {
            client: cluster.client()?,
            reach: Reach::Direct(reqwest::Client::new(), origins),
            cluster,
            kubelet,
            room,
            bucket,
            emulator,
            folder,
        }))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn addresses(&self) -> [(&'static str, String); 3] {
        [
            ("FIRESTORE_EMULATOR_HOST", self.emulator.host().to_owned()),
            ("STORAGE_EMULATOR_HOST", self.bucket.host()),
            ("PRACTICE_ROOM_ORIGIN", self.room.origin.clone()),
        ]
    }

    pub(super) async fn controllers(&self, name: &str, replicas: u32, settings: &[(String, String)]) -> Result<Controllers> {
        let mut running = Vec::new();
        for number in 0..replicas {
            let id = format!("{name}-{number}");
            let port = self.path().join(format!("{id}.port"));
            let mut command = Command::new(binary("controller")?);
            command.arg("run").envs(settings.iter().map(|(name, value)| (name, value)));
            command.env("KUBECONFIG", self.path().join("kubeconfig")).env("CONTROLLER_ID", &id);
            command.env("HTTP_LISTEN", "127.0.0.1:0").env("HTTP_PORT_FILE", &port);
            let mut process = Process::start(command, &self.path().join(format!("{id}.log")))?;
            let url = format!("http://{}/readyz", address(&port, &mut process).await?);
            let ready = || async { Ok(reqwest::get(&url).await?.status().is_success().then_some(())) };
            let answered = until("a controller's readiness", super::LIMIT, ready).await;
            answered.with_context(|| process.log_tail())?;
            running.push(process);
        }
        Ok(Controllers::Processes(running))
    }

    pub(super) fn participant(&self, room: &str) -> Result<Participant> {
        self.room.participant_process(room, "Clara", "clock", 1000, self.path()).map(Participant::Process)
    }

    pub(super) fn crash(&self, pod: &str, container: &str) -> Result<()> {
        self.kubelet.kill(pod, container)
    }

    pub(super) fn node(&self, order: NodeOrder) {
        match order {
            NodeOrder::Stop => self.cluster.lose_node(),
            NodeOrder::Start => self.cluster.restore_node(),
        }
    }

    pub(super) fn logs(&self) -> String {
        let pods = self.cluster.pods();
        let names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        };
        let logs = names.flat_map(|pod| ["manager", "meeting-bot"].map(|container| tail(self.kubelet.log(pod, container))));
        logs.filter(|log| !log.is_empty()).collect::<Vec<_>>().join("\n---\n")
    }
}

/// What a real cluster would do with a pod that asks for this: there is no scheduler, registry or memory limit in the stub.
fn script(pod: &Value) -> PodScript {
    let bot = &pod["spec"]["initContainers"][0];
    let image = bot["image"].as_str().unwrap_or_default();
    if bot["resources"]["requests"]["cpu"] == super::TOO_MUCH_CPU || bot["resources"]["requests"]["cpu"] == "1k" {
        PodScript::NeverSchedule
    } else if image.ends_with(super::NO_SUCH_TAG) {
        PodScript::ImagePullBackOff
    } else if bot["resources"]["limits"]["memory"] == super::TOO_LITTLE_MEMORY {
        PodScript::OomKilled(std::time::Duration::from_millis(500))
    } else {
        PodScript::External
    }
}
