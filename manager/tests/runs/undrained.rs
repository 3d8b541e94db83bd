//! A run that ends with segments still on its disk: the next attempt carries them out before the list is frozen.

use bot_model::exit_code::ExitCode;
use bot_model::ids::InstanceId;
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_model::scratch::EarlierRun;
use bot_model::session::SessionPhase;
use bot_store::protocol::cancel::cancel;
use bot_store::protocol::claim::{Relaunch, relaunch_with};
use bot_store::protocol::slot::{Holder, Slot, acquire};
use bot_store::protocol::{Advanced, Note};
use bot_store::{DocumentKey, Write};
use chrono::Utc;
use manager::leftover;
use manager::record::finalize_only;
use rustix::process::Signal;
use serde_json::json;

use crate::bench::{Bench, Capture, PART_FRAMES, claimer, decoded, epoch, never, record};
use crate::process::{Manager, until};
use crate::sidecar::Sidecar;

/// A manager that is killed while nothing of what it recorded has reached the bucket.
async fn killed_undrained(bench: &Bench) {
    bench.block_bucket();
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(3);
    until("the recording", async || bench.instance().await.instance.phase == Phase::Recording).await;
    manager.signal(Signal::KILL);
    manager.ended().await;
    bench.unblock_bucket();
    assert_eq!(bench.carried().await, 0);
    bench.relaunch().await;
}

/// What the process launcher says of attempt 1.
pub(crate) fn earlier(bench: &Bench) -> (&'static str, String) {
    ("EARLIER_RUNS", json!([{"attempt": 1, "run": "r1", "scratch": bench.folder.path().join("r1")}]).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalize_run_carries_out_what_a_killed_run_left_on_the_disk() {
    let bench = Bench::new().await;
    killed_undrained(&bench).await;
    let mut second = Manager::start(&bench, "finalize", "r2", &[earlier(&bench)]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    assert_eq!(bench.instance().await.instance.phase, Phase::Done);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
    let raw = bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap();
    assert!(raw.iter().all(|name| name.starts_with("a1-r1/")), "under another run's name: {raw:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_run_carries_out_what_a_killed_run_left_on_the_disk() {
    let bench = Bench::new().await;
    killed_undrained(&bench).await;
    let other = bench.folder.path().join("second");
    std::fs::create_dir_all(&other).unwrap();
    let sidecar = Sidecar::start(&other).await;
    let mut second = Manager::start(&bench, "record", "r2", &[sidecar.variable(), earlier(&bench)]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(1);
    until("the recording", async || bench.instance().await.instance.phase == Phase::Recording).await;
    sidecar.end(OutcomeKind::HostEnded);
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    assert_eq!(decoded(&bench.file(ObjectName::Video)).0, 2 * PART_FRAMES);
    let recording = bench.instance().await.instance.facts.recording.unwrap();
    assert_eq!((recording.parts, recording.segments), (2, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_meets_a_cancelled_meeting_still_makes_files_of_what_a_killed_run_left() {
    let bench = Bench::new().await;
    killed_undrained(&bench).await;
    bench.cancel_meeting().await;
    let sidecar = Sidecar::start(&bench.folder.path().join("r1")).await;
    let mut second = Manager::start(&bench, "record", "r2", &[sidecar.variable(), earlier(&bench)]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    assert_eq!(sidecar.starts(), 0);
    assert_eq!(bench.instance().await.instance.phase, Phase::Done);
    assert_eq!(decoded(&bench.file(ObjectName::Video)).0, PART_FRAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_the_call_over_makes_files_of_what_lies_in_the_bucket_unbeknown_to_the_document() {
    let bench = Bench::new().await;
    killed_unheard(&bench).await;

    let other = bench.folder.path().join("second");
    std::fs::create_dir_all(&other).unwrap();
    let sidecar = Sidecar::start(&other).await;
    let mut second = Manager::start(&bench, "record", "r2", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.end(OutcomeKind::EndedBeforeAdmission);
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    let done = bench.instance().await.instance;
    assert_eq!((done.phase, done.facts.outcome.unwrap().kind), (Phase::Done, OutcomeKind::HostEnded));
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
}

/// The store was away while it recorded, and the manager was killed before it could say what it had carried out.
async fn killed_unheard(bench: &Bench) -> Sidecar {
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut first = Manager::start(bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(3);
    until("the segments in the bucket", async || bench.carried().await >= 3).await;
    first.signal(Signal::KILL);
    first.ended().await;
    forget_the_recording(bench).await;
    bench.relaunch().await;
    sidecar
}

/// The document as it stood before anything was recorded, but for the join.
async fn forget_the_recording(bench: &Bench) {
    let record = bench.instance().await;
    let mut unknowing = record.instance.clone();
    unknowing.facts.recording = None;
    unknowing.phase = Phase::Joining;
    let fields = unknowing.encode(bench.store.naming());
    let write = Write::update(DocumentKey::Instance(unknowing.id), record.version, fields);
    assert!(bench.store.commit(vec![write]).await.unwrap().is_applied());
    let instance = bench.instance().await.instance;
    assert!(!instance.is_recorded() && instance.may_be_recorded(), "the join was noted before it was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_meeting_is_not_settled_before_a_look_at_what_a_killed_run_carried_out() {
    let bench = Bench::new().await;
    let sidecar = killed_unheard(&bench).await;
    bench.cancel_meeting().await;
    let mut second = Manager::start(&bench, "record", "r2", &[sidecar.variable()]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    assert_eq!(sidecar.starts(), 1, "nothing is joined again");
    assert_eq!(bench.instance().await.instance.phase, Phase::Done);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_look_finds_nothing_the_instance_ends_with_what_ended_its_run() {
    for (kind, is_cancelled, phase, told) in [
        (OutcomeKind::Evicted, false, Phase::Failed, OutcomeKind::Evicted),
        (OutcomeKind::AskedToLeave, true, Phase::Cancelled, OutcomeKind::Cancelled),
    ] {
        let bench = Bench::new().await;
        if is_cancelled {
            let note = Note::new("controller", "cancel_requested");
            let asked = cancel(bench.store.as_ref(), &bench.instance().await, note, Utc::now()).await.unwrap();
            assert!(matches!(asked, Advanced::Applied(_)));
        }
        let more = Relaunch { outcome: Some(Outcome::new(kind)), others: Vec::new() };
        let record = bench.instance().await;
        relaunch_with(bench.store.as_ref(), &record, &claimer(), "evicted", more, Utc::now()).await.unwrap().unwrap();
        let config = bench.config("r2").await;
        assert_eq!(finalize_only(&config, bench.store.as_ref(), never()).await.unwrap(), ExitCode::Settled);
        let ended = bench.instance().await.instance;
        assert_eq!((ended.phase, ended.facts.outcome.unwrap().kind), (phase, told));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scratch_counts_as_saved_only_as_far_as_its_segments_reached_the_bucket() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    let scratch = bench.folder.path();
    let run = EarlierRun { attempt: 1, run: "r1".into(), scratch: scratch.to_owned() };
    assert!(!leftover::is_saved(scratch));
    let carry = async || leftover::carry(bench.objects().await, bench.prefix.clone(), vec![run.clone()]).await;
    assert_eq!(carry().await.segments, 3);
    assert!(leftover::is_saved(scratch) && leftover::unsaved(std::slice::from_ref(&run)).is_empty());
    assert_eq!(carry().await.segments, 0, "what is there is not counted again");
    // A paused bot closes another segment; a folder cannot be read as one.
    std::fs::create_dir(bench.session().join("p000/seg-000003.m4s")).unwrap();
    carry().await;
    assert!(!leftover::is_saved(scratch), "it would be deleted");
}

/// A run of ours whose disk is lost with it while the bucket is away; in the call when it `is_there`, and else after the call's end.
async fn lost_with_its_disk(bench: &Bench, is_there: bool) {
    bench.block_bucket();
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(3);
    until("the recording", async || bench.instance().await.instance.phase == Phase::Recording).await;
    if !is_there {
        sidecar.end(OutcomeKind::Removed);
        until("how the call ended", async || bench.instance().await.instance.facts.outcome.is_some()).await;
        let key = bench.instance().await.instance.facts.call_key.unwrap();
        let other = Holder { instance: InstanceId::parse("b2").unwrap(), attempt: 1, start_time: None };
        let store = bench.store.as_ref();
        until("the call", async || acquire(store, &key, &other, Utc::now()).await.unwrap() == Slot::Held).await;
    }
    manager.signal(Signal::KILL);
    manager.ended().await;
    bench.unblock_bucket();
    assert_eq!(bench.instance().await.instance.phase, Phase::Recording);
    bench.relaunch().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_call_ended_is_known_and_the_call_free_though_the_bucket_is_away() {
    let bench = Bench::new().await;
    lost_with_its_disk(&bench, false).await;
    assert_eq!(bench.instance().await.instance.facts.outcome.unwrap().kind, OutcomeKind::Removed);
    let mut second = Manager::start(&bench, "finalize", "r2", &[]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    let ended = bench.instance().await.instance;
    assert_eq!((ended.phase, ended.facts.outcome.unwrap().kind), (Phase::Failed, OutcomeKind::NoRecording));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_was_lost_with_its_disk_is_not_told_as_a_call_that_nobody_was_let_into() {
    let bench = Bench::new().await;
    lost_with_its_disk(&bench, true).await;
    let other = bench.folder.path().join("second");
    std::fs::create_dir_all(&other).unwrap();
    let sidecar = Sidecar::start(&other).await;
    let mut second = Manager::start(&bench, "record", "r2", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.end(OutcomeKind::EndedBeforeAdmission);
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    let ended = bench.instance().await.instance;
    assert_eq!((ended.phase, ended.facts.outcome.unwrap().kind), (Phase::Failed, OutcomeKind::NoRecording));
}
