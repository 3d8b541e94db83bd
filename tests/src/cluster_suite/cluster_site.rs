//! A real cluster as a site: a namespace of the suite's own with store, bucket, room and controllers in it.

use std::fmt::Debug;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service as KubeService, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::objects;
use super::reach::{Reach, Service};
use super::site::{Controllers, NodeOrder, Participant};
use crate::process::until;

/// Pulling three images may take its time.
const BRING_UP: Duration = Duration::from_secs(600);
/// The API server has to answer within this.
const REACHABLE: Duration = Duration::from_secs(15);
/// Kills the program of a container whose process 1 is a supervisor, with nothing but a shell.
const CRASH: &str = "for p in /proc/[0-9]*; do read -r c <$p/comm && [ \"$c\" = \"$0\" ] && kill -9 ${p#/proc/}; done; true";

/// Names of images.
pub(super) struct Images {
    /// Such as `meeting-recorder` or a registry's path.
    prefix: String,
    /// Their common tag.
    tag: String,
    /// With the Firestore emulator.
    firestore: String,
    /// `IfNotPresent` suits images loaded into kind and k3d.
    pull_policy: String,
}

impl Images {
    /// From `BOT_IMAGE_PREFIX`, `BOT_IMAGE_TAG`, `FIRESTORE_EMULATOR_IMAGE` and `IMAGE_PULL_POLICY`.
    fn from_environment() -> Self {
        let variable = |name: &str, default: &str| {
            std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        Self {
            prefix: variable("BOT_IMAGE_PREFIX", "meeting-recorder").trim_end_matches('/').to_owned(),
            tag: variable("BOT_IMAGE_TAG", "local"),
            firestore: variable("FIRESTORE_EMULATOR_IMAGE", objects::FIRESTORE_IMAGE),
            pull_policy: variable("IMAGE_PULL_POLICY", "IfNotPresent"),
        }
    }

    /// One of ours.
    pub(super) fn of(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.prefix, self.tag)
    }
}

/// There is no cluster to play on; the text says what is missing.
#[derive(Debug)]
pub struct NoCluster(pub String);

/// `NODE_STOP` and `NODE_START`.
pub(super) fn node_commands() -> Result<(String, String), String> {
    let given = |name: &str| std::env::var(name).ok().filter(|command| !command.is_empty());
    given("NODE_STOP")
        .zip(given("NODE_START"))
        .ok_or_else(|| "NODE_STOP and NODE_START are not set (docs/test-cluster.md)".into())
}

/// The namespace with all that is in it.
pub struct ClusterSite {
    pub(super) client: kube::Client,
    pub(super) namespace: String,
    pub(super) reach: Reach,
    pub(super) images: Images,
}

impl ClusterSite {
    /// The cluster that `KUBECONFIG` names; nothing is put there yet.
    pub async fn connect() -> Result<Self, NoCluster> {
        if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
            return Err(NoCluster("KUBECONFIG is not set".into()));
        }
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let unusable = |error: &dyn std::fmt::Display| NoCluster(format!("KUBECONFIG cannot be used: {error}"));
        let file = Kubeconfig::read().map_err(|error| unusable(&error))?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(&error))?;
        let server = config.cluster_url.to_string();
        let client = kube::Client::try_from(config).map_err(|error| unusable(&error))?;
        match tokio::time::timeout(REACHABLE, client.apiserver_version()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(NoCluster(format!("the API server at {server} cannot be used: {error}"))),
            Err(_) => return Err(NoCluster(format!("the API server at {server} does not answer"))),
        }
        let namespace = format!("cluster-suite-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let reach = Reach::Proxy(client.clone(), namespace.clone());
        Ok(Self { client, namespace, reach, images: Images::from_environment() })
    }

    /// Its namespace.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// Makes the namespace, and all that the bots need in it.
    pub async fn set_up(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(objects::namespace(&self.namespace))?).await?;
        let [account, role, binding] = objects::access();
        self.make::<ServiceAccount>(account).await?;
        self.make::<Role>(role).await?;
        self.make::<RoleBinding>(binding).await?;
        let own = self.images.of("all-in-one");
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let bucket = format!("--origin={}", self.origin(Service::Bucket));
        for (service, image, command) in [
            (
                Service::Firestore,
                &self.images.firestore,
                text(&["gcloud", "emulators", "firestore", "start", "--host-port=0.0.0.0:8787"]),
            ),
            (Service::Bucket, &own, text(&["/usr/local/bin/gcs-server", "--listen=0.0.0.0:9000", &bucket])),
            (
                Service::Room,
                &own,
                text(&["/usr/local/bin/practice-room", "serve", "--listen=0.0.0.0:8400", "--danger-any-address"]),
            ),
        ] {
            let (proxied, deployment) = objects::service(service, image, &self.images.pull_policy, &command);
            self.make::<KubeService>(proxied).await?;
            self.make::<Deployment>(deployment).await?;
        }
        for service in [Service::Firestore, Service::Bucket, Service::Room] {
            self.available(service.address().0, 1).await?;
        }
        Ok(())
    }

    async fn make<K>(&self, object: Value) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let objects: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = format!("make {} {}", K::kind(&()), object["metadata"]["name"]);
        objects.create(&PostParams::default(), &serde_json::from_value(object)?).await.context(what).map(drop)
    }

    async fn available(&self, name: &str, replicas: i32) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = format!("{name} to be available");
        let up = until(&what, BRING_UP, || async {
            let status = deployments.get(name).await?.status;
            Ok((status.and_then(|status| status.available_replicas) >= Some(replicas)).then_some(()))
        });
        match up.await {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.logs().await),
        }
    }

    fn origin(&self, service: Service) -> String {
        format!("http://{}", self.host(service))
    }

    fn host(&self, service: Service) -> String {
        let (name, port) = service.address();
        format!("{name}.{}.svc:{port}", self.namespace)
    }

    pub(super) fn addresses(&self) -> [(&'static str, String); 3] {
        [
            ("FIRESTORE_EMULATOR_HOST", self.host(Service::Firestore)),
            ("STORAGE_EMULATOR_HOST", self.origin(Service::Bucket)),
            ("PRACTICE_ROOM_ORIGIN", self.origin(Service::Room)),
        ]
    }

    pub(super) async fn controllers(&self, name: &str, replicas: u32, settings: &[(String, String)]) -> Result<Controllers> {
        let name = format!("controller-{name}");
        let image = self.images.of("controller");
        let deployment = objects::controllers(&name, replicas, &image, &self.images.pull_policy, settings);
        self.make::<Deployment>(deployment).await?;
        self.available(&name, i32::try_from(replicas)?).await?;
        Ok(Controllers::Deployment(Box::new(Api::namespaced(self.client.clone(), &self.namespace)), name))
    }

    pub(super) async fn participant(&self, room: &str) -> Result<Participant> {
        let image = self.images.of("all-in-one");
        self.make::<Pod>(objects::participant(room, &self.origin(Service::Room), &image, &self.images.pull_policy)).await?;
        Ok(Participant::Pod)
    }

    /// Through kubectl: `exec` needs a protocol that our client is built without.
    pub(super) async fn crash(&self, pod: &str, container: &str) -> Result<Result<(), String>> {
        let mut command = Command::new("kubectl");
        command.args(["exec", "--namespace", &self.namespace, pod, "--container", container, "--", "sh", "-c", CRASH, container]);
        let output = match tokio::task::spawn_blocking(move || command.output()).await? {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Err("kubectl is not installed".into())),
            output => output?,
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // The shell may be killed with its container before it can answer: then kubectl says 137.
        match output.status.code() {
            Some(0 | 137) => Ok(Ok(())),
            _ => bail!("kubectl exec: {said}"),
        }
    }

    /// A command of the user's, run with `NODE` set to the node's name.
    pub(super) async fn node(&self, order: NodeOrder, node: &str) -> Result<()> {
        let (stop, start) = node_commands().map_err(anyhow::Error::msg)?;
        let mut command = Command::new("sh");
        command.args(["-c", if order == NodeOrder::Stop { &stop } else { &start }]).env("NODE", node);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        if !output.status.success() {
            bail!("{order:?} of {node}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    pub(super) async fn logs(&self) -> String {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut text = String::new();
        let listed = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        for pod in listed {
            let (Some(name), Some(spec)) = (&pod.metadata.name, &pod.spec) else { continue };
            for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
                let last = LogParams { container: Some(container.name.clone()), tail_lines: Some(15), ..LogParams::default() };
                let log = pods.logs(name, &last).await.unwrap_or_else(|error| error.to_string());
                text.push_str(&format!("--- {name} {}\n{log}\n", container.name));
            }
        }
        text
    }

    /// Deletes the namespace with all that is in it.
    pub(super) async fn remove(self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match namespaces.delete(&self.namespace, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).with_context(|| format!("remove it by hand: kubectl delete namespace {}", self.namespace)),
        }
    }
}
