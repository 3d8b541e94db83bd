//! `make bench`: figures of speed and size, on this machine as it is. None of them is a test.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bot_model::capacity::Limits;
use bot_model::configuration::Naming;
use bot_model::ids::InstanceId;
use bot_model::meeting_url::MeetingUrl;
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::capacity::claim_placed;
use bot_store::protocol::claim::{Claimer, claim_all};
use bot_store::{DocumentKey, InstanceQuery, Store, Write};
use chrono::Utc;
use rustix::process::Signal;
use serde_json::json;
use tests::process::Process;
use tests::reference::{self, Reference};
use tests::room::PracticeRoom;
use tests::run::{Bench, Run};
use tests::usage::{below, usage};

const RECORDED: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    println!("machine: {} cores, load {}", std::thread::available_parallelism()?, load()?);
    claims("sqlite", &format!("sqlite:{}", tempfile::tempdir()?.keep().join("s").display())).await?;
    match std::env::var("FIRESTORE_EMULATOR_HOST") {
        Ok(_) => claims("firestore emulator", &format!("firestore:bench-{}", uuid::Uuid::new_v4().simple())).await?,
        Err(_) => println!("claims on Firestore: not measured, FIRESTORE_EMULATOR_HOST is not set"),
    }
    if std::env::var("ONLY").is_ok_and(|only| only == "claims") {
        return Ok(());
    }
    let ours = call().await? + finalize().await?;
    let reference = reference().await?;
    println!(
        "capture and conversion: {ours:.1} CPU s a recorded minute, the reference way {reference:.1}: {:.1} times as much",
        reference / ours
    );
    println!("  both count Xvfb and PulseAudio whole; the reference counts of its browser only what recording adds");
    Ok(())
}

fn load() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Claims of 400 instances by 4 claimers, whole pages at once against one at a time.
async fn claims(name: &str, url: &str) -> Result<()> {
    let mut rates = Vec::new();
    for (batch, page, limits) in [(1, 1, None), (2, 20, None), (3, 20, Some(Limits { active: Some(5_000), ..Limits::default() }))]
    {
        let store = bot_store::connect::open(url, Naming::default()).await?;
        let records = queued(store.as_ref(), batch, 400).await?;
        let begun = Instant::now();
        let tasks: Vec<_> = (0..4)
            .map(|claimer| match limits.clone() {
                None => tokio::spawn(claim_pages(Arc::clone(&store), records.clone(), claimer, page)),
                Some(limits) => tokio::spawn(claim_places(Arc::clone(&store), records.clone(), claimer, page, limits)),
            })
            .collect();
        let mut claimed = 0;
        for task in tasks {
            claimed += task.await??;
        }
        ensure!(claimed == records.len(), "{claimed} claims of {} instances", records.len());
        rates.push(claimed as f64 / begun.elapsed().as_secs_f64());
    }
    println!(
        "claims a second on {name}, 4 claimers: {:.0} one by one, {:.0} in pages of 20 (ratio {:.1}); none doubled",
        rates[0],
        rates[1],
        rates[1] / rates[0]
    );
    println!(
        "  with a limit over all replicas, in pages of 20: {:.0} ({:.2} times as many as without); no place doubled",
        rates[2],
        rates[2] / rates[1]
    );
    Ok(())
}

async fn queued(store: &dyn Store, batch: usize, count: usize) -> Result<Vec<InstanceRecord>> {
    let call = MeetingUrl::parse("https://meet.google.com/abc-defg-hij")?;
    let mut groups = Vec::new();
    for number in 0..count {
        let id = InstanceId::parse(&format!("bench-{batch}-{number}")).context("an id")?;
        let fields = bot_model::document::BotInstance::queued(id.clone(), call.clone()).encode(store.naming());
        groups.push(vec![Write::create(DocumentKey::Instance(id), fields)]);
    }
    for answer in store.commit_each(groups).await {
        answer?;
    }
    let page = store.instances(&InstanceQuery::WithStatus(vec!["queued".into()]), None, count).await?;
    page.records.iter().map(|record| Ok(InstanceRecord::from_record(record, store.naming())?)).collect()
}

/// Each claimer goes through all instances, from a different place.
async fn claim_pages(store: Arc<dyn Store>, mut records: Vec<InstanceRecord>, number: usize, page: usize) -> Result<usize> {
    let claimer = Claimer { controller_id: format!("c{number}"), ttl: Duration::from_secs(600) };
    let shift = records.len() / 4 * number;
    records.rotate_left(shift);
    let mut claimed = 0;
    for records in records.chunks(page) {
        for answer in claim_all(store.as_ref(), records.to_vec(), &claimer, Utc::now()).await {
            claimed += usize::from(answer?.is_some());
        }
    }
    Ok(claimed)
}

/// The same within a limit: each page takes its places in one commit.
async fn claim_places(
    store: Arc<dyn Store>,
    mut records: Vec<InstanceRecord>,
    number: usize,
    page: usize,
    limits: Limits,
) -> Result<usize> {
    let claimer = Claimer { controller_id: format!("c{number}"), ttl: Duration::from_secs(600) };
    let shift = records.len() / 4 * number;
    records.rotate_left(shift);
    let mut claimed = 0;
    for records in records.chunks(page) {
        // A page that another replica keeps changing is come back to, as the next pass of a controller does.
        while let Err(error) = claim_placed(store.as_ref(), records.to_vec(), page, &claimer, &limits, Utc::now())
            .await
            .map(|answer| claimed += answer.claimed.len())
        {
            ensure!(error.is_transient(), "{error}");
        }
    }
    Ok(claimed)
}

struct Call {
    room: PracticeRoom,
    bench: Bench,
    _people: [Process; 2],
}

async fn admitted(folder: &Path, code: &str) -> Result<(Call, Run)> {
    let room = PracticeRoom::start(folder).await?;
    room.open(code, json!({"lobby": true})).await?;
    let people = [
        room.participant_process(code, "Clara", "clock", 1000, folder)?,
        room.participant_process(code, "Samir", "person", 330, folder)?,
    ];
    let bench = Bench::new(folder, &room.origin, &format!("practice:meet/{code}"), None).await?;
    let run = bench.start("r1").await?;
    let guest = room.wait_for(code, "guest", "waiting", Duration::from_secs(60)).await?;
    room.act(code, &guest, "admit").await?;
    Ok((Call { room, bench, _people: people }, run))
}

/// A minute in a call of three: CPU and memory of each process, and the time from the end to the files.
async fn call() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (call, mut run) = admitted(folder.path(), "bench").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let bot = run.bot.as_ref().context("a bot")?.id();
    let (before, manager_before) = (below(bot), usage(run.manager.id()).context("the manager")?);
    tokio::time::sleep(RECORDED).await;
    let (after, manager) = (below(bot), usage(run.manager.id()).context("the manager")?);
    println!("load while recording: {}", load()?);
    let mut capture = 0.0;
    let mut names: Vec<_> = after.keys().cloned().collect();
    names.sort();
    for name in names {
        let (cpu, resident) = after[&name];
        let cpu = cpu - before.get(&name).map_or(0.0, |before| before.0);
        println!("  {name:<16} {cpu:>6.2} CPU s a recorded minute  {resident:>7.1} MiB resident");
        if ["ffmpeg", "Xvfb", "pulseaudio"].contains(&name.as_str()) {
            capture += cpu;
        }
    }
    println!(
        "  {:<16} {:>6.2} CPU s a recorded minute  {:>7.1} MiB resident",
        "manager",
        manager.cpu_secs - manager_before.cpu_secs,
        manager.resident_mib
    );
    println!("capture (ffmpeg, Xvfb, pulseaudio): {capture:.2} CPU s a recorded minute");
    call.room.end("bench").await?;
    let ended = Instant::now();
    let status = run.manager.wait(Duration::from_secs(120)).await?;
    ensure!(status.success(), "the manager ended with {status}:\n{}", run.manager.log_tail());
    println!("end of a call of {} s to verified local files: {:.2} s", RECORDED.as_secs() + 5, ended.elapsed().as_secs_f64());
    Ok(capture)
}

/// CPU of finalizing alone.
async fn finalize() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (call, mut run) = admitted(folder.path(), "bench-finalize").await?;
    tokio::time::sleep(RECORDED).await;
    run.manager.signal(Signal::TERM)?;
    run.manager.wait(Duration::from_secs(120)).await?;
    drop(run);
    call.bench.relaunch().await?;
    let own = i32::try_from(std::process::id())?;
    let before = usage(own).context("own usage")?.children_secs;
    let begun = Instant::now();
    let mut finalize = call.bench.start_finalize("r2").await?;
    let status = finalize.manager.wait(Duration::from_secs(120)).await?;
    ensure!(status.success(), "finalize ended with {status}:\n{}", finalize.manager.log_tail());
    let cpu = usage(own).context("own usage")?.children_secs - before;
    println!(
        "finalize of {} s, another process, all from the bucket: {cpu:.2} CPU s, {:.2} s",
        RECORDED.as_secs(),
        begun.elapsed().as_secs_f64()
    );
    Ok(cpu)
}

/// CPU seconds that recording a minute in the page and encoding it afterwards cost, in the same kind of call.
async fn reference() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let room = PracticeRoom::start(folder.path()).await?;
    room.open("reference", json!({"lobby": true, "device_prompt": false})).await?;
    let _people = [
        room.participant_process("reference", "Clara", "clock", 1000, folder.path())?,
        room.participant_process("reference", "Samir", "person", 330, folder.path())?,
    ];
    let guest = Reference::join(folder.path(), &room.origin, "reference").await?;
    let id = room.wait_for("reference", "guest", "waiting", Duration::from_secs(60)).await?;
    room.act("reference", &id, "admit").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = guest.browser_cpu();
    tokio::time::sleep(RECORDED).await;
    let idle = guest.browser_cpu() - begun;
    guest.record().await?;
    let (begun, around_begun) = (guest.browser_cpu(), guest.around_cpu());
    tokio::time::sleep(RECORDED).await;
    let (recording, around) = (guest.browser_cpu() - begun, guest.around_cpu() - around_begun);
    let file = guest.stop().await?;
    room.end("reference").await?;
    guest.end().await;
    let own = i32::try_from(std::process::id())?;
    let before = usage(own).context("own usage")?.children_secs;
    let begun = Instant::now();
    reference::convert(&file).await?;
    let conversion = usage(own).context("own usage")?.children_secs - before;
    println!("the reference way, a recorded minute: browser {idle:.2} CPU s without and {recording:.2} with recording");
    println!("  Xvfb and PulseAudio {around:.2} CPU s");
    println!("  conversion {conversion:.2} CPU s, {:.1} s from the end of the call to files", begun.elapsed().as_secs_f64());
    Ok(recording - idle + around + conversion)
}
