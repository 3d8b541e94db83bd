//! `make bench`, the part of the cluster: how soon a document is a Job, and what a thousand live Jobs cost. Real controller, real
//! Firestore emulator; the API server is the stub, so its own times are not in these figures.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use serde_json::{Value, json};
use tests::kubernetes::{Cluster, PodScript, Verb};
use tests::process::{Process, address, binary, until};
use tests::usage::usage;

/// Documents written one after the other.
const SINGLE: usize = 40;
/// Documents due in the same minute.
const BURST: usize = 1_000;
/// Documents in one commit of the burst.
const PAGE: usize = 100;
const LIMIT: Duration = Duration::from_secs(180);

struct Site {
    folder: tempfile::TempDir,
    emulator: bot_store::emulator::Emulator,
    cluster: Cluster,
    http: reqwest::Client,
    project: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!("machine: {} cores, load {}", std::thread::available_parallelism()?, load.trim());
    for (name, variables) in [
        ("listening", [("LISTEN", "true"), ("POLL_INTERVAL", "10")]),
        ("polling each second", [("LISTEN", "false"), ("POLL_INTERVAL", "1")]),
    ] {
        let Some(site) = Site::new().await? else { return Ok(()) };
        let controller = site.controller(&variables).await?;
        one_by_one(&site, name).await?;
        // The emulator sends a listener everything again at each change, which production does not: it would be what is measured.
        if name != "listening" {
            burst(&site, &controller).await?;
        }
    }
    Ok(())
}

/// Document written to Job created.
async fn one_by_one(site: &Site, name: &str) -> Result<()> {
    let mut times = Vec::new();
    for number in 0..SINGLE {
        let begun = Instant::now();
        site.write(&[format!("single-{number}")]).await?;
        until("the Job", LIMIT, || async { Ok((site.cluster.jobs().len() > number).then_some(())) }).await?;
        times.push(begun.elapsed());
        // Not in step with the poll.
        tokio::time::sleep(Duration::from_millis(137)).await;
    }
    println!("document written to Job created, {name}, {SINGLE} documents: {}", quantiles(&mut times));
    Ok(())
}

/// A thousand at once: the times, the memory, the requests.
async fn burst(site: &Site, controller: &Process) -> Result<()> {
    let before = site.cluster.jobs().len();
    let idle = memory(controller)?;
    site.cluster.clear_requests();
    let begun = Instant::now();
    for page in 0..BURST / PAGE {
        let names: Vec<String> = (0..PAGE).map(|number| format!("burst-{page}-{number}")).collect();
        site.write(&names).await?;
    }
    let written = begun.elapsed();
    let mut times = Vec::new();
    while times.len() < BURST {
        ensure!(begun.elapsed() < LIMIT, "{} Jobs of {BURST} after {LIMIT:?}", times.len());
        times.resize((site.cluster.jobs().len() - before).max(times.len()), begun.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(site.cluster.jobs().len() - before == BURST, "more Jobs than meetings");
    println!(
        "{BURST} meetings due at once (written within {:.1} s): Job created, from the first write: {}",
        written.as_secs_f64(),
        quantiles(&mut times)
    );
    let requests = site.cluster.requests();
    let made = requests.iter().filter(|request| !matches!(request.verb, Verb::Watch)).count();
    println!("API requests a launched meeting, watches aside: {:.2}", made as f64 / BURST as f64);
    tokio::time::sleep(Duration::from_secs(15)).await;
    println!(
        "controller, resident: {idle:.0} MiB with {before} live Jobs, {:.0} MiB with {}",
        memory(controller)?,
        site.cluster.jobs().len()
    );
    Ok(())
}

impl Site {
    /// `None` where there is no emulator.
    async fn new() -> Result<Option<Self>> {
        let Some(emulator) = bot_store::emulator::start().await else { return Ok(None) };
        let cluster = Cluster::builder().script(PodScript::RunUntilTerminated(143)).start().await?;
        let project = format!("bench-{}", uuid::Uuid::new_v4().simple());
        Ok(Some(Self { folder: tempfile::tempdir()?, emulator, cluster, http: reqwest::Client::new(), project }))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn controller(&self, extra: &[(&str, &str)]) -> Result<Process> {
        std::fs::write(self.path().join("kubeconfig"), self.cluster.kubeconfig("token", "bots"))?;
        let port = self.path().join("port");
        let mut command = Command::new(binary("controller")?);
        command.arg("run").env("KUBECONFIG", self.path().join("kubeconfig")).env("FIRESTORE_EMULATOR_HOST", self.emulator.host());
        command.env("HTTP_PORT_FILE", &port).env("GCP_PROJECT_ID", &self.project);
        command.envs([
            ("GCS_BUCKET", "b"),
            ("MANAGER_IMAGE", "r/manager:1"),
            ("MEETING_BOT_IMAGE", "r/meeting-bot:1"),
            ("KUBERNETES_NAMESPACE", "bots"),
            ("HTTP_LISTEN", "127.0.0.1:0"),
            ("LOG_LEVEL", "warn"),
            ("MAX_LIVE_BOTS", "2000"),
        ]);
        command.envs(extra.iter().copied());
        let mut process = Process::start(command, &self.path().join("controller.log"))?;
        let address = address(&port, &mut process).await?;
        let ready = || async { Ok(reqwest::get(format!("http://{address}/readyz")).await?.status().is_success().then_some(())) };
        until("readiness", LIMIT, ready).await?;
        Ok(process)
    }

    /// Writes meetings as a backend does, in one commit.
    async fn write(&self, names: &[String]) -> Result<()> {
        let root = format!("projects/{}/databases/(default)/documents", self.project);
        let document = |name: &String| {
            json!({"update": {"name": format!("{root}/meetings/{name}"), "fields": {
                "meeting_url": {"stringValue": "https://meet.google.com/abc-defg-hij"},
                "status": {"stringValue": "scheduled"},
                "start_time": {"timestampValue": Utc::now().to_rfc3339()},
                "creator_organization_id": {"stringValue": name},
            }}})
        };
        let body = json!({ "writes": names.iter().map(document).collect::<Vec<Value>>() });
        let url = format!("http://{}/v1/{root}:commit", self.emulator.host());
        self.http.post(url).bearer_auth("owner").json(&body).send().await?.error_for_status()?;
        Ok(())
    }
}

fn memory(process: &Process) -> Result<f64> {
    Ok(usage(process.id()).context("the controller is gone")?.resident_mib)
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() as f64 - 1.0) * share).round() as usize].as_secs_f64();
    format!("p50 {:.2} s, p99 {:.2} s, longest {:.2} s", at(0.5), at(0.99), at(1.0))
}
