//! The production path on one machine: meetings in the real Firestore emulator, two controllers, a Job for each meeting, its pod's
//! containers as real processes with a real browser, and the files in Google Cloud Storage's protocol. The API server alone is the
//! stub that is held to recordings.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::gcs::GcsServer;
use tests::kubernetes::{Cluster, Disruption, PodScript, Resource, Timing, Verb};
use tests::local_kubelet::LocalKubelet;
use tests::process::{Process, address, binary, until};
use tests::room::PracticeRoom;

const LIMIT: Duration = Duration::from_secs(120);

struct Site {
    folder: tempfile::TempDir,
    room: PracticeRoom,
    emulator: bot_store::emulator::Emulator,
    bucket: GcsServer,
    cluster: Cluster,
    kubelet: LocalKubelet,
    controllers: Vec<Process>,
    http: reqwest::Client,
}

impl Site {
    /// `None` where the emulator is not installed, which is said loudly (with `CI=true` it is a failure).
    async fn new() -> Option<Self> {
        let emulator = bot_store::emulator::start().await?;
        let folder = tempfile::tempdir().unwrap();
        let room = PracticeRoom::start(folder.path()).await.unwrap();
        let cluster = Cluster::builder().script(PodScript::External).timing(Timing::real_seconds()).start().await.unwrap();
        let kubelet = LocalKubelet::start(&cluster, &folder.path().join("pods"));
        let kubeconfig = cluster.kubeconfig("token", "bots");
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
        let mut site = Self {
            bucket: GcsServer::start().await.unwrap(),
            http: reqwest::Client::new(),
            controllers: Vec::new(),
            folder,
            room,
            emulator,
            cluster,
            kubelet,
        };
        for name in ["one", "two"] {
            let port = site.path().join(format!("{name}.port"));
            let mut command = site.command();
            command.arg("run").env("CONTROLLER_ID", name).env("HTTP_PORT_FILE", &port);
            let mut process = Process::start(command, &site.path().join(format!("{name}.log"))).unwrap();
            let address = address(&port, &mut process).await.unwrap();
            let ready =
                || async { Ok(reqwest::get(format!("http://{address}/readyz")).await?.status().is_success().then_some(())) };
            until("readiness", LIMIT, ready).await.unwrap_or_else(|error| panic!("{error}\n{}", process.log_tail()));
            site.controllers.push(process);
        }
        Some(site)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The controller with the environment of a deployment.
    fn command(&self) -> Command {
        let mut command = Command::new(binary("controller").unwrap());
        command.envs([
            ("GCP_PROJECT_ID", "production-path"),
            ("GCS_BUCKET", "recordings"),
            ("MANAGER_IMAGE", "local/manager:1"),
            ("MEETING_BOT_IMAGE", "local/meeting-bot:1"),
            ("KUBERNETES_NAMESPACE", "bots"),
            ("HTTP_LISTEN", "127.0.0.1:0"),
            ("POLL_INTERVAL", "1"),
            ("REAP_INTERVAL_SECONDS", "2"),
            ("LOG_LEVEL", "info"),
        ]);
        command.env("KUBECONFIG", self.path().join("kubeconfig"));
        command.env("FIRESTORE_EMULATOR_HOST", self.emulator.host());
        command.env("STORAGE_EMULATOR_HOST", self.bucket.host());
        command.env("PRACTICE_ROOM_ORIGIN", &self.room.origin);
        command
    }

    fn schedule(&self, room: &str) {
        let output = self.command().args(["schedule", &format!("practice:meet/{room}"), "--at", "now"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The bot instances, as a backend reads them.
    async fn instances(&self) -> anyhow::Result<Vec<Value>> {
        let url =
            format!("http://{}/v1/projects/production-path/databases/(default)/documents/bot_instances", self.emulator.host());
        let answer: Value = self.http.get(url).bearer_auth("owner").send().await?.json().await?;
        Ok(answer["documents"].as_array().into_iter().flatten().map(|document| document["fields"].clone()).collect())
    }

    /// Waits until the only instance fits.
    async fn instance(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let found = until(what, LIMIT, || async { Ok(self.instances().await?.into_iter().find(|fields| fits(fields))) }).await;
        match found {
            Ok(instance) => instance,
            Err(error) => panic!("{error}\n{}", self.logs()),
        }
    }

    async fn phase(&self, phase: &str) -> Value {
        self.instance(phase, |fields| fields["phase"]["stringValue"] == phase).await
    }

    fn logs(&self) -> String {
        let pods = self.cluster.pods();
        let names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        let logs = names.flat_map(|pod| ["manager", "meeting-bot"].map(|container| self.kubelet.log(pod, container)));
        let controllers = self.controllers.iter().map(Process::log_tail);
        controllers.chain(logs).collect::<Vec<_>>().join("\n---\n")
    }

    fn pod(&self) -> String {
        let pods = self.cluster.pods();
        let live = pods.iter().find(|pod| pod["status"]["phase"] == "Running").unwrap_or_else(|| panic!("no pod runs"));
        live["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// The video, judged by its content.
    fn judged(&self, instance: &Value) -> practice_room::judge::Judgement {
        let prefix = instance["gcs_path"]["stringValue"].as_str().unwrap();
        for name in ["audio.m4a", "recording.json"] {
            assert!(self.bucket.object(&format!("{prefix}/{name}")).is_some(), "no {name}");
        }
        let video = self.bucket.object(&format!("{prefix}/video.mp4")).unwrap();
        assert_eq!(video.content_type, "video/mp4");
        let file = self.path().join("video.mp4");
        std::fs::write(&file, &video.bytes).unwrap();
        practice_room::judge::judge(&file).unwrap()
    }
}

async fn talking(site: &Site, room: &str) -> Process {
    site.room.open(room, json!({"lobby": true})).await.unwrap();
    let clara = site.room.participant_process(room, "Clara", "clock", 1000, site.path()).unwrap();
    site.room.wait_for(room, "clock", "in_call", LIMIT).await.unwrap();
    clara
}

async fn admit(site: &Site, room: &str) -> String {
    let waiting = site.room.wait_for(room, "guest", "waiting", LIMIT).await;
    let guest = waiting.unwrap_or_else(|error| panic!("{error}\n{}", site.logs()));
    site.room.act(room, &guest, "admit").await.unwrap();
    guest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_in_firestore_becomes_one_job_and_files_in_the_bucket() {
    let Some(site) = Site::new().await else { return };
    let _clara = talking(&site, "whole").await;
    site.schedule("whole");
    admit(&site, "whole").await;
    site.phase("recording").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    site.room.end("whole").await.unwrap();
    let done = site.phase("done").await;
    assert_eq!(done["status"]["stringValue"], "done");
    assert_eq!(done["outcome"]["mapValue"]["fields"]["kind"]["stringValue"], "host_ended", "{done}");
    let judged = site.judged(&done);
    println!("judged: {judged:?}");
    // A second is silent where a loaded machine starves the room's browser; what is judged finely is judged by the call's own suite.
    assert!(judged.duration_secs > 11.0 && judged.silent_seconds <= 1, "{judged:?}");
    site.cluster
        .wait("the Job's end", |cluster| {
            cluster
                .condition("bot-x", "Complete")
                .or_else(|| cluster.jobs().iter().any(|job| job["status"]["succeeded"] == 1).then(String::new))
        })
        .await
        .unwrap();
    assert_eq!(site.cluster.request_count(Verb::Create, Resource::Jobs), 1, "two controllers, one Job");
    assert_eq!(site.instances().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_pod_loses_nothing_and_another_joins_the_same_call() {
    let Some(site) = Site::new().await else { return };
    let _clara = talking(&site, "evicted").await;
    site.schedule("evicted");
    admit(&site, "evicted").await;
    site.phase("recording").await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let first = site.pod();
    assert!(site.cluster.disrupt(&first, Disruption::Evicted));
    let guest = admit(&site, "evicted").await;
    let second = site.pod();
    assert_ne!(first, second);
    let again = site.instance("the second attempt", |fields| {
        fields["attempt"]["integerValue"] == "2" && fields["phase"]["stringValue"] == "recording"
    });
    again.await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    site.room.end("evicted").await.unwrap();
    let done = site.phase("done").await;
    let judged = site.judged(&done);
    println!("judged: {judged:?}; guest {guest}");
    assert!(judged.duration_secs > 15.0, "{judged:?}");
    // The room's own log: at no moment were two bots in the call, though two were, one after the other.
    let log = site.room.log("evicted").await.unwrap();
    let mut inside = HashSet::new();
    for entry in log.as_array().unwrap().iter().filter(|entry| entry["role"] == "guest") {
        let who = entry["participant"].as_str().unwrap();
        match entry["state"].as_str().unwrap() {
            "in_call" => drop(inside.insert(who)),
            "waiting" => {}
            _ => drop(inside.remove(who)),
        }
        assert!(inside.len() <= 1, "{log:#}");
    }
    let joined = log.as_array().unwrap().iter().filter(|entry| entry["role"] == "guest" && entry["state"] == "in_call");
    assert_eq!(joined.count(), 2);
}
