//! SIGTERM at every point of a run: nothing recorded is lost, and the exit code says what is left to do.

use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionPhase;
use bot_store::DocumentKey;
use rustix::process::Signal;

use crate::bench::{Bench, Capture, PART_FRAMES, decoded, epoch, record};
use crate::process::{HeldFfmpeg, Manager, until};
use crate::sidecar::Sidecar;

/// A run of attempt 1 whose bot records, with `segments` in the bucket.
async fn recording(bench: &Bench, sidecar: &Sidecar, segments: u32, extra: &[(&str, String)]) -> Manager {
    let mut variables = vec![sidecar.variable()];
    variables.extend(extra.iter().cloned());
    let manager = Manager::start(bench, "record", "r1", &variables).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(segments);
    manager
}

/// The next attempt's finalize run makes files with every frame.
async fn another_run_makes_the_files(bench: &Bench) {
    bench.relaunch().await;
    let mut second = Manager::start(bench, "finalize", "r2", &[]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    assert_eq!(bench.instance().await.instance.phase, Phase::Done);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_before_the_join_joins_nothing() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    sidecar.is_broken();
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_polled().await;
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(143), "{}", manager.told());
    assert_eq!(sidecar.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_at_the_start_is_waited_for_until_sigterm() {
    let bench = Bench::new().await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = [("STORE_URL", "firestore:away".to_owned()), ("FIRESTORE_EMULATOR_HOST", address.to_string())];
    let mut manager = Manager::start(&bench, "record", "r1", &away).await;
    until("a refusal", async || manager.told().contains("the store is not open yet")).await;
    // It knocks again: somebody who listens now is found.
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _knocked = tokio::time::timeout(crate::process::LIMIT, listener.accept()).await.expect("it gave up").unwrap();
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(143), "{}", manager.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_waiting_for_the_call_s_slot_joins_nothing() {
    let bench = Bench::new().await;
    let (other, key) = bench.held_slot().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    let slot = async || bench.store.read(&DocumentKey::Slot(key.clone())).await.unwrap().unwrap().fields;
    until("the manager to wait for the slot", async || slot().await.get("waiting").is_some_and(|id| id == bench.id.as_str()))
        .await;
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(143), "{}", manager.told());
    assert_eq!((sidecar.starts(), slot().await["bot_instance_id"].as_str()), (0, Some(other.as_str())));
    assert!(!bench.instance().await.instance.phase.is_terminal());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_joining_leaves_and_is_no_end_of_the_instance() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(143), "{}", manager.told());
    let instance = bench.instance().await.instance;
    assert!(!instance.phase.is_terminal() && instance.facts.run.unwrap().ended_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_lobby_leaves_and_is_no_end_of_the_instance() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::WaitingRoom);
    until("the waiting room", async || bench.instance().await.instance.phase == Phase::WaitingRoom).await;
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(143), "{}", manager.told());
    let instance = bench.instance().await.instance;
    assert!(!instance.phase.is_terminal() && instance.facts.run.unwrap().ended_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_recording_saves_the_last_segment_too() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = recording(&bench, &sidecar, 2, &[]).await;
    until("two segments in the bucket", async || bench.carried().await == 2).await;
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(71), "{}", manager.told());
    assert_eq!(bench.carried().await, 3);
    another_run_makes_the_files(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_draining_forgets_neither_a_segment_nor_how_the_call_ended() {
    let bench = Bench::new().await;
    bench.block_bucket();
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = recording(&bench, &sidecar, 2, &[]).await;
    until("the recording", async || bench.instance().await.instance.phase == Phase::Recording).await;
    sidecar.end(OutcomeKind::HostEnded);
    sidecar.end_was_seen().await;
    manager.signal(Signal::TERM);
    bench.unblock_bucket();
    assert_eq!(manager.ended().await, Some(71), "{}", manager.told());
    assert_eq!(bench.carried().await, 3);
    let instance = bench.instance().await.instance;
    assert_eq!(instance.facts.outcome.unwrap().kind, OutcomeKind::HostEnded, "the bot would join an ended call again");
    another_run_makes_the_files(&bench).await;
    assert_eq!(bench.instance().await.instance.facts.outcome.unwrap().kind, OutcomeKind::HostEnded);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_recording_run_finalizes_hands_over_to_a_finalize_run() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let ffmpeg = HeldFfmpeg::new(bench.folder.path());
    let mut manager = recording(&bench, &sidecar, 2, &[ffmpeg.variable()]).await;
    until("the recording", async || bench.instance().await.instance.phase == Phase::Recording).await;
    sidecar.end(OutcomeKind::HostEnded);
    ffmpeg.is_started().await;
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(71), "{}", manager.told());
    assert_eq!(bench.instance().await.instance.phase, Phase::Finalizing);
    another_run_makes_the_files(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_a_finalize_run_works_hands_over_to_another() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    bench.relaunch().await;
    let ffmpeg = HeldFfmpeg::new(bench.folder.path());
    let mut manager = Manager::start(&bench, "finalize", "r9", &[ffmpeg.variable()]).await;
    ffmpeg.is_started().await;
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().await, Some(71), "{}", manager.told());
    another_run_makes_the_files(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_lease_is_renewed_while_the_files_are_made() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    bench.relaunch().await;
    let ffmpeg = HeldFfmpeg::new(bench.folder.path());
    let variables = [ffmpeg.variable(), ("RUN_LEASE_TTL_SECONDS", "3".into())];
    let mut manager = Manager::start(&bench, "finalize", "r2", &variables).await;
    ffmpeg.is_started().await;
    let renewals = async || bench.instance().await.instance.facts.run.map_or(0, |run| run.renewals);
    let before = renewals().await;
    until("three renewals", async || renewals().await >= before + 3).await;
    ffmpeg.let_go();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
}
