//! `make test-cluster`'s own program, end to end, with a cluster put on in front of the stub: its namespace, its objects, the way through
//! the API server's service proxy, its verdicts and exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "cluster_suite/front.rs"]
mod front;

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use front::{Front, Seen};
use rustix::process::Signal;
use tests::gcs::GcsServer;
use tests::kubernetes::{Cluster, PodScript, Resource, Timing};
use tests::local_kubelet::LocalKubelet;
use tests::process::{Process, binary, until};
use tests::room::PracticeRoom;

struct Bench {
    front: Arc<Front>,
    url: String,
    parts: (Cluster, LocalKubelet, PracticeRoom, bot_store::emulator::Emulator, tempfile::TempDir),
}

impl Bench {
    async fn new() -> Option<Self> {
        let emulator = bot_store::emulator::start().await?;
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::builder().timing(Timing::real_seconds()).script(PodScript::External).start().await.unwrap();
        let kubelet = LocalKubelet::start(&cluster, &folder.path().join("pods"));
        let room = PracticeRoom::start(folder.path()).await.unwrap();
        let bucket = GcsServer::start().await.unwrap();
        let kubeconfig = folder.path().join("stub.kubeconfig");
        std::fs::write(&kubeconfig, cluster.kubeconfig("token", "default")).unwrap();
        let front = Arc::new(Front {
            stub: cluster.url(),
            kubeconfig,
            origins: [
                ("firestore", format!("http://{}", emulator.host())),
                ("bucket", bucket.host()),
                ("room", room.origin.clone()),
            ]
            .into(),
            folder: folder.path().to_owned(),
            state: Seen::default().into(),
            http: reqwest::Client::new(),
        });
        let url = front::start(Arc::clone(&front)).await;
        Some(Self { front, url, parts: (cluster, kubelet, room, emulator, folder) })
    }

    async fn suite(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "users": [{"name": "c", "user": {}}],
        });
        let file = self.front.folder.join("front.kubeconfig");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(binary("cluster-suite").unwrap());
        command.args(arguments).env("KUBECONFIG", file).env_remove("NODE_STOP").env("BOT_IMAGE_PREFIX", "registry.example/bots");
        command
    }

    /// The suite's namespace, once it and its controllers are there.
    async fn namespace(&self) -> String {
        let made = || async {
            let seen = self.front.state.lock().unwrap();
            let is_playing = seen.processes.keys().any(|name| name.starts_with("controller-"));
            let namespace = seen.made.iter().find_map(|name| name.strip_prefix("namespaces/")).map(str::to_owned);
            Ok(namespace.filter(|_| is_playing))
        };
        until("the suite's controllers", Duration::from_secs(60), made).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_sets_up_plays_says_what_it_could_not_and_clears_away() {
    let Some(bench) = Bench::new().await else { return };
    let output = bench.suite(&["--only", "success", "--only", "node_loss"]).await;
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in ["PASS     success", "NOT RUN  node_loss", "1 of 2 scenarios were NOT RUN", "PASS     at no moment"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let seen = bench.front.state.lock().unwrap();
    let namespace = seen.made.iter().find(|name| name.starts_with("namespaces/cluster-suite-")).expect("no namespace");
    for object in
        ["roles/launch-bots", "deployments/firestore", "services/bucket", "deployments/room", "deployments/controller-success"]
    {
        assert!(seen.made.iter().any(|name| name == object), "{object}: {:?}", seen.made);
    }
    assert!(seen.deleted.contains(namespace), "{:?}", seen.deleted);
    assert!(seen.processes.keys().all(|name| !name.starts_with("controller")), "a controller was left running");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_live_pods_of_one_name_fail_it_whatever_its_scenarios_say() {
    let Some(bench) = Bench::new().await else { return };
    let suite = bench.suite(&["--only", "create"]);
    let twice = async {
        let namespace = bench.namespace().await;
        for name in ["twice-1", "twice-2"] {
            bench.parts.0.script(name, PodScript::Manual);
            let metadata = serde_json::json!({
                "name": name, "uid": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"meeting-bot/job": "bot-twice"},
            });
            let pod = serde_json::json!({
                "kind": "Pod", "apiVersion": "v1", "metadata": metadata, "status": {"phase": "Running"},
                "spec": {"containers": [{"name": "main", "image": "i"}]},
            });
            bench.parts.0.add_object(Resource::Pods, pod);
        }
    };
    let (output, ()) = tokio::join!(suite, twice);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("PASS     create") && said.contains("FAIL     two live pods: bot-twice"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_removes_its_namespace() {
    let Some(bench) = Bench::new().await else { return };
    let mut suite = Process::start(bench.command(&[]), &bench.front.folder.join("suite.log")).unwrap();
    let namespace = bench.namespace().await;
    suite.signal(Signal::INT).unwrap();
    let status = suite.wait(Duration::from_secs(20)).await.unwrap();
    assert_eq!(status.code(), Some(130), "{}", suite.log_tail());
    assert!(bench.front.state.lock().unwrap().deleted.contains(&format!("namespaces/{namespace}")));
}
