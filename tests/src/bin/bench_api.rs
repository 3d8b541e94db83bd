//! `bench-api`: the API of a real controller with many stored bots: requests a second and their times, webhooks, a thousand listeners, memory. On the
//! embedded store, or on Firestore's emulator where `FIRESTORE_EMULATOR_HOST` names one (its times are not Google's). Not a test.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bot_model::configuration::Naming;
use bot_model::ids::InstanceId;
use bot_store::{DocumentKey, Store, Write};
use chrono::{SecondsFormat, TimeDelta, Utc};
use clap::Parser;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tests::process::{Process, address, binary};
use tests::usage::usage;

/// Documents in one commit: the emulator takes a second for them while it is warming up.
const PAGE: usize = 100;
/// The emulator scans all that it holds for each query.
const WEBHOOK_WITHIN: Duration = Duration::from_secs(300);
/// A page is tried this often: the emulator on a busy machine does not always answer in time.
const TRIES: usize = 20;

/// Requests a second and their times over the API.
#[derive(Parser)]
struct Cli {
    /// Bots in the store.
    #[arg(long, default_value_t = 100_000)]
    bots: usize,
    /// Seconds for each kind of request.
    #[arg(long, default_value_t = 10)]
    secs: u64,
    /// Requests at once.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Listeners to the events.
    #[arg(long, default_value_t = 1_000)]
    listeners: usize,
    /// Events whose webhooks are waited for, one after the other.
    #[arg(long, default_value_t = 100)]
    webhooks: usize,
}

struct Site {
    controller: Process,
    base: String,
    key: String,
    admin: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let site = Arc::new(Site::new(&cli).await?);
    println!("controller, idle: {:.0} MiB", site.memory()?);
    println!("| request | a second | p50 ms | p99 ms | worst ms |");
    println!("|---|---|---|---|---|");
    let bots = cli.bots as u64;
    site.measure(&cli, "read a bot", move |site, number| {
        site.get(&format!("/v1/bots/bench-{}", number.wrapping_mul(2_654_435_761) % bots))
    })
    .await?;
    site.measure(&cli, "list 50 bots", |site, _| site.get("/v1/bots?limit=50")).await?;
    site.measure(&cli, "list 50 of an organization and phase", |site, _| {
        site.get("/v1/bots?limit=50&organization=o7&phase=done")
    })
    .await?;
    site.measure(&cli, "create a meeting", |site, number| {
        let start = (Utc::now() + TimeDelta::days(2)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let body = json!({"meeting_url": format!("https://zoom.us/j/{}", 100_000_000_u64 + number), "start_time": start});
        site.http.post(format!("{}/v1/meetings", site.base)).bearer_auth(&site.key).json(&body)
    })
    .await?;
    println!("controller, after them: {:.0} MiB", site.memory()?);
    webhooks(&site, &cli).await?;
    listen(&site, &cli).await
}

/// From an event, by its own time, to its webhook at a receiver on this machine.
async fn webhooks(site: &Arc<Site>, cli: &Cli) -> Result<()> {
    let (came, mut received) = tokio::sync::mpsc::unbounded_channel();
    let take = move |body: axum::body::Bytes| {
        let came = came.clone();
        async move { drop(came.send((Utc::now(), body))) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(take)).await });
    let wanted = json!({"url": url, "event_types": ["bot.queued"]});
    let made = site.http.post(format!("{}/v1/webhooks", site.base)).bearer_auth(&site.admin).json(&wanted).send().await?;
    ensure!(made.status().is_success(), "{}", made.text().await?);
    let mut times = Vec::new();
    for number in 0..cli.webhooks {
        let body = json!({"meeting_url": format!("https://zoom.us/j/{}", 888_000_000 + number)});
        let answer = site.http.post(format!("{}/v1/meetings", site.base)).bearer_auth(&site.key).json(&body).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        let (at, body) = tokio::time::timeout(WEBHOOK_WITHIN, received.recv())
            .await
            .context("no webhook came")?
            .context("the receiver ended")?;
        let event: Value = serde_json::from_slice(&body)?;
        let told = event["timestamp"].as_str().context("an event without its time")?.parse::<chrono::DateTime<Utc>>()?;
        times.push((at - told).to_std().unwrap_or_default());
    }
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).map_or(0, Duration::as_millis);
    println!(
        "from an event to its webhook at p50, p99 and the last of {}: {}, {}, {} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

/// A thousand listeners hear of one event.
async fn listen(site: &Arc<Site>, cli: &Cli) -> Result<()> {
    let opened = stream::iter(0..cli.listeners).map(|_| async { site.get("/v1/events").send().await?.error_for_status() });
    let streams: Vec<_> = opened.buffer_unordered(50).collect::<Vec<_>>().await.into_iter().collect::<Result<_, _>>()?;
    println!("{} listeners: {:.0} MiB", streams.len(), site.memory()?);
    let body = json!({"meeting_url": "https://zoom.us/j/999999999", "start_time": null});
    let heard = streams.into_iter().map(|answer| {
        tokio::spawn(async move {
            let mut bytes = answer.bytes_stream();
            while let Some(chunk) = bytes.next().await {
                if String::from_utf8_lossy(&chunk?).contains("\"event\"") {
                    return Ok::<_, reqwest::Error>(Instant::now());
                }
            }
            Ok(Instant::now())
        })
    });
    let heard: Vec<_> = heard.collect();
    let asked = Instant::now();
    let answer = site.http.post(format!("{}/v1/meetings", site.base)).bearer_auth(&site.key).json(&body).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    let mut times = Vec::new();
    for task in heard {
        times.push((tokio::time::timeout(Duration::from_secs(30), task).await???).duration_since(asked));
    }
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).map_or(0, Duration::as_millis);
    println!(
        "from the request to the event at p50, p99 and the last of {} listeners: {}, {}, {} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!("controller: {:.0} MiB", site.memory()?);
    Ok(())
}

impl Site {
    async fn new(cli: &Cli) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let is_firestore = std::env::var_os("FIRESTORE_EMULATOR_HOST").is_some();
        let url = if is_firestore {
            format!("firestore:bench-{}", uuid::Uuid::now_v7().simple())
        } else {
            format!("sqlite:{}", folder.path().join("store.sqlite").display())
        };
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let profile = if cfg!(debug_assertions) { "development" } else { "release" };
        println!(
            "{} cores, load {}, {profile} build, {}",
            std::thread::available_parallelism()?,
            load.trim(),
            if is_firestore { "Firestore's emulator" } else { "SQLite" }
        );
        let store = bot_store::connect::open(&url, Naming::default()).await?;
        let begun = Instant::now();
        fill(store.as_ref(), cli.bots).await?;
        println!("{} bots written in {:.0} s", cli.bots, begun.elapsed().as_secs_f64());
        let variables = |command: &mut Command| {
            command.env("STORE_URL", &url).env("RECORDINGS_URL", format!("file://{}", folder.path().join("bucket").display()));
            command
                .env("LAUNCHER", "process")
                .env("MANAGER_BIN", "/bin/true")
                .env("MEETING_BOT_BIN", "/bin/true")
                .env("LOG_LEVEL", "warn");
            command
                .env("RUNS_DIR", folder.path().join("runs"))
                .env("HTTP_LISTEN", "127.0.0.1:0")
                .env("HTTP_PORT_FILE", folder.path().join("port"));
            command.env("API_RATE_PER_KEY", "0").env("API_RATE_PER_ADDRESS", "0").env("MAX_LIVE_BOTS", "1");
            command.env("WEBHOOK_ALLOW", "127.0.0.0/8");
        };
        let key = |role: &str| -> Result<String> {
            let mut keys = Command::new(binary("controller")?);
            variables(&mut keys);
            let made = keys.args(["keys", "create", "--name", "bench", "--role", role, "--all-organizations"]).output()?;
            let key = String::from_utf8(made.stdout)?.trim().to_owned();
            ensure!(key.starts_with("mbk_"), "{}", String::from_utf8_lossy(&made.stderr));
            Ok(key)
        };
        let (admin, key) = (key("admin")?, key("operator")?);
        let mut command = Command::new(binary("controller")?);
        variables(&mut command);
        command.arg("run");
        let mut controller = Process::start(command, &folder.path().join("controller.log"))?;
        let base = format!("http://{}", address(&folder.path().join("port"), &mut controller).await?);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let site = Self { controller, base, key, admin, http, _folder: folder };
        tests::process::until("the API", Duration::from_secs(60), || async {
            Ok(site.get("/v1/bots?limit=1").send().await.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
        .await?;
        Ok(site)
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    fn memory(&self) -> Result<f64> {
        Ok(usage(self.controller.id()).context("the controller is gone")?.resident_mib)
    }

    async fn measure(
        self: &Arc<Self>,
        cli: &Cli,
        what: &str,
        request: impl Fn(&Self, u64) -> reqwest::RequestBuilder + Clone + Send + 'static,
    ) -> Result<()> {
        let (begun, lasting) = (Instant::now(), Duration::from_secs(cli.secs));
        let workers = (0..cli.at_once as u64).map(|worker| {
            let (site, request) = (Arc::clone(self), request.clone());
            tokio::spawn(async move {
                let (mut times, mut number) = (Vec::new(), worker * 1_000_000);
                while begun.elapsed() < lasting {
                    let asked = Instant::now();
                    let answer = request(&site, number).send().await?.error_for_status()?;
                    answer.bytes().await?;
                    times.push(asked.elapsed());
                    number += 1;
                }
                Ok::<_, reqwest::Error>(times)
            })
        });
        let workers: Vec<_> = workers.collect();
        let mut times = Vec::new();
        for worker in workers {
            times.extend(worker.await??);
        }
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |share: f64| {
            times.get(((times.len().saturating_sub(1)) as f64 * share) as usize).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
        };
        println!("| {what} | {rate:.0} | {:.1} | {:.1} | {:.0} |", at(0.5), at(0.99), at(1.0));
        Ok(())
    }
}

async fn fill(store: &dyn Store, count: usize) -> Result<()> {
    let first = Utc::now() - TimeDelta::days(30);
    for page in (0..count).collect::<Vec<_>>().chunks(PAGE) {
        let writes = page.iter().map(|number| {
            let created = (first + TimeDelta::seconds(*number as i64 * 20)).to_rfc3339_opts(SecondsFormat::Secs, true);
            let value = json!({"meeting_url": "https://zoom.us/j/123456789", "status": "done", "phase": "done", "platform": "zoom",
                "creator_organization_id": format!("o{}", number % 50), "created_at": created, "processed_at": created, "attempt": 1});
            let Value::Object(fields) = value else { return Err(anyhow::anyhow!("no object")) };
            let id = InstanceId::parse(&format!("bench-{number}")).context("an id")?;
            Ok(Write::create(DocumentKey::Instance(id), fields))
        });
        write(store, writes.collect::<Result<_>>()?).await?;
    }
    Ok(())
}

/// Writes a page. Where an answer was lost, "exists already" of the next try is the answer.
async fn write(store: &dyn Store, writes: Vec<Write>) -> Result<()> {
    let mut lost = None;
    for _ in 0..TRIES {
        match store.commit(writes.clone()).await {
            Ok(commit) => {
                ensure!(commit.is_applied() || lost.is_some(), "a page was not written");
                return Ok(());
            }
            Err(error) => lost = Some(error),
        }
    }
    lost.map_or(Ok(()), |error| Err(error.into()))
}
