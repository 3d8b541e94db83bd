//! Whole runs beside one of the existing images, from bind to done: the manager finds out what it speaks, carries its file out while
//! it grows, and tells how the call ended.

use std::time::Duration;

use bot_model::document::BotInstance;
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::outcome::OutcomeKind;
use manager::record::record;
use rustix::process::Signal;

use crate::bench::{Bench, PART_FRAMES, PART_SECS, close, decoded, decoded_by_its_own_clock, loudest, never, told};
use crate::browser::media_recorder;
use crate::image::{H264, Image, VP8, VP9, mp4, webm};
use crate::process::{LIMIT, Manager, program, until};

const UPLOADED_NOTHING: &[&str] = &["processing", "joined", "failed"];

async fn phase_is(bench: &Bench, phase: Phase) {
    until("the phase", async || bench.instance().await.instance.phase == phase).await;
}

fn outcome(instance: &BotInstance) -> OutcomeKind {
    instance.facts.outcome.as_ref().unwrap().kind
}

/// One call, recorded as `video`, ended in order.
async fn recorded_call(video: &[&str], extra: &[(&'static str, String)]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    call_of(&webm(folder.path(), video), extra).await
}

/// One call with this recording, ended in order.
async fn call_of(recording: &[u8], extra: &[(&'static str, String)]) -> Bench {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let variables = [image.variables(), extra.to_vec()].concat();
    let mut manager = Manager::start(&bench, "record", "r1", &variables).await;
    let job = image.is_joined().await;
    assert_eq!((image.provider().as_str(), job["url"].as_str()), ("google", Some("https://meet.google.com/abc-defg-hij")));
    for chunk in recording.chunks(recording.len() / 5 + 1) {
        image.append(chunk);
    }
    phase_is(&bench, Phase::Recording).await;
    assert_eq!(image.report(UPLOADED_NOTHING, None).await, [200]);
    image.end();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    assert!(!manager.told().contains(job["bearerToken"].as_str().unwrap()), "the log holds the token");
    bench
}

async fn is_whole(bench: &Bench) {
    let instance = bench.instance().await.instance;
    assert_eq!((instance.phase, outcome(&instance)), (Phase::Done, OutcomeKind::Ended));
    let (video, audio) = (bench.file(ObjectName::Video), bench.file(ObjectName::Audio));
    assert_eq!(decoded(&video), (PART_FRAMES, String::new()));
    assert!(close(told(&audio, "a", "duration"), PART_SECS, 0.15), "{}", told(&audio, "a", "duration"));
    assert!(loudest(&audio, "1", "4") > -30.0, "the sound is silent");
    let codecs: Vec<_> = instance.facts.artifacts.iter().map(|file| file.codecs.join(",")).collect();
    assert_eq!(codecs[..2], ["h264,aac", "aac"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vp8_recording_of_an_existing_image_becomes_both_files() {
    is_whole(&recorded_call(VP8, &[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vp9_recording_of_an_existing_image_becomes_both_files() {
    let settings = [("ENCODE_PRESET", "ultrafast".to_owned()), ("ENCODE_CRF", "30".to_owned())];
    is_whole(&recorded_call(VP9, &settings).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_h264_recording_of_an_existing_image_is_never_encoded_again() {
    let tools = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\ncase \" $* \" in *libx264*) exit 9;; esac\nexec ffmpeg \"$@\"\n";
    let ffmpeg = program(tools.path(), "no-encoder", script);
    is_whole(&recorded_call(H264, &[("FFMPEG_PATH", ffmpeg)]).await).await;
}

/// Of a real browser: no length, its own odd time stamps, frames left out as the machine is busy.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_real_browser_s_recorder_makes_becomes_both_files() {
    for codec in ["vp8", "h264"] {
        let bench = call_of(&media_recorder(codec).await, &[]).await;
        let instance = bench.instance().await.instance;
        assert_eq!((instance.phase, outcome(&instance)), (Phase::Done, OutcomeKind::Ended), "{codec}");
        let (video, audio) = (bench.file(ObjectName::Video), bench.file(ObjectName::Audio));
        let (frames, complaints) = decoded_by_its_own_clock(&video);
        assert!(frames >= 20 && complaints.is_empty(), "{codec}: {frames} frames, {complaints}");
        let (picture, sound) = (told(&video, "v", "duration"), told(&audio, "a", "duration"));
        assert!(close(picture, PART_SECS, 1.0) && close(sound, PART_SECS, 1.0), "{codec}: {picture} s and {sound} s");
        assert!(loudest(&audio, "2", "2") > -20.0, "{codec}: the tone is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_was_denied_in_the_lobby_ends_with_that_outcome() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    let wrong = image.patch("status", "guessed", &serde_json::json!({ "status": ["processing", "joined", "finished"] })).await;
    assert_eq!(wrong, 401, "a report without the job's token was taken");
    let answers = image.report(&["processing", "failed"], Some(("WaitingAtLobby", "UserDeniedRequest"))).await;
    assert_eq!(answers, [200, 200]);
    image.end();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    let instance = bench.instance().await.instance;
    assert_eq!((instance.phase, outcome(&instance)), (Phase::Failed, OutcomeKind::Denied));
    assert!(!manager.told().contains("of somebody by name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_dies_in_the_call_costs_nothing_that_it_had_written() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut config = bench.config("r1").await;
    let variables = image.variables();
    config.sidecar_url = variables[0].1.clone();
    config.reference.recording_roots = vec![variables[2].1.clone().into()];
    config.reference.callback_port = image.callback_port();
    config.patience.silent = Duration::from_millis(300);
    let recording = webm(bench.folder.path(), VP8);
    let call = async {
        image.is_joined().await;
        // Torn in the middle of a block.
        image.append(&recording[..recording.len() / 2]);
        phase_is(&bench, Phase::Recording).await;
        image.die();
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(LIMIT, record(&config, bench.store.as_ref(), never())), call);
    assert_eq!(ended.unwrap().unwrap(), bot_model::exit_code::ExitCode::Settled);
    let instance = bench.instance().await.instance;
    assert_eq!((instance.phase, outcome(&instance)), (Phase::Done, OutcomeKind::SidecarLost));
    let frames = decoded(&bench.file(ObjectName::Video)).0;
    assert!((PART_FRAMES / 3..PART_FRAMES).contains(&frames), "{frames} frames");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pod_loses_no_more_than_the_last_chunk() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    let recording = webm(bench.folder.path(), VP8);
    image.append(&recording[..recording.len() * 2 / 3]);
    until("a chunk in the bucket", async || bench.carried().await > 0).await;
    manager.signal(Signal::KILL);
    manager.ended().await;
    // The pod's disk went with it.
    std::fs::remove_dir_all(bench.folder.path().join("r1")).unwrap();
    std::fs::remove_dir_all(bench.folder.path().join("tempvideo")).unwrap();
    bench.relaunch().await;
    let mut second = Manager::start(&bench, "finalize", "r2", &[]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    assert_eq!(bench.instance().await.instance.phase, Phase::Done);
    let frames = decoded(&bench.file(ObjectName::Video)).0;
    assert!((PART_FRAMES / 3..PART_FRAMES).contains(&frames), "{frames} frames");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_the_image_s_own_becomes_a_second_part() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    let recording = webm(bench.folder.path(), VP8);
    image.append(&recording);
    phase_is(&bench, Phase::Recording).await;
    image.report(UPLOADED_NOTHING, None).await;
    // Torn within the second header.
    image.append(&recording[..20]);
    image.is_polled().await;
    image.append(&recording[20..]);
    image.report(UPLOADED_NOTHING, None).await;
    image.end();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (2 * PART_FRAMES, String::new()));
    assert_eq!(bench.manifest().parts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_started_anew_joins_again_and_both_stays_are_kept() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    let recording = webm(bench.folder.path(), VP8);
    image.append(&recording);
    phase_is(&bench, Phase::Recording).await;
    // Longer up than two readings of its start may differ.
    tokio::time::sleep(Duration::from_secs(4)).await;
    image.restart();
    until("the second join", async || image.joins() == 2).await;
    image.append(&recording);
    image.report(UPLOADED_NOTHING, None).await;
    image.end();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (2 * PART_FRAMES, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_costs_the_reason_and_not_the_recording() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", image.callback_port())).unwrap();
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    image.append(&webm(bench.folder.path(), H264));
    phase_is(&bench, Phase::Recording).await;
    image.end();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    assert!(manager.told().contains("reports cannot be heard"), "{}", manager.told());
    is_whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_carries_out_what_an_existing_image_has_written_to_the_last_byte() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    let recording = webm(bench.folder.path(), VP8);
    image.append(&recording);
    phase_is(&bench, Phase::Recording).await;
    manager.signal(Signal::TERM);
    // It knows no request to end, and leaves only when its container is ended.
    assert_eq!(manager.ended().await, Some(71), "{}", manager.told());
    bench.relaunch().await;
    let mut second = Manager::start(&bench, "finalize", "r2", &[]).await;
    assert_eq!(second.ended().await, Some(0), "{}", second.told());
    assert_eq!(decoded(&bench.file(ObjectName::Video)).0, PART_FRAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp4_that_is_whole_only_at_the_end_is_carried_out_then() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    image.write_whole("mp4", &mp4(bench.folder.path()));
    image.is_polled().await;
    assert_eq!(bench.carried().await, 0, "half of it would be no recording");
    image.report(UPLOADED_NOTHING, None).await;
    image.end();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    is_whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_uploaded_and_deleted_its_file_has_cost_nothing() {
    let bench = Bench::new().await;
    let image = Image::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &image.variables()).await;
    image.is_joined().await;
    let recording = webm(bench.folder.path(), H264);
    image.append(&recording[..recording.len() / 2]);
    phase_is(&bench, Phase::Recording).await;
    image.append(&recording[recording.len() / 2..]);
    std::fs::remove_file(image.file()).unwrap();
    image.report(&["processing", "joined", "finished"], None).await;
    image.end();
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    is_whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_of_a_webm_that_never_arrived_costs_its_own_time_alone() {
    let bench = Bench::new().await;
    let recording = webm(bench.folder.path(), VP8);
    let part = bench.session().join("p000");
    // Its info alone is taken from a part of ours.
    crate::bench::record(&bench.folder.path().join("ours"), 0, &crate::bench::Capture::starting(crate::bench::epoch()));
    std::fs::create_dir_all(&part).unwrap();
    std::fs::copy(bench.folder.path().join("ours/p000/part.json"), part.join("part.json")).unwrap();
    let head = recording.windows(4).position(|id| id == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    std::fs::write(part.join("init.mp4"), &recording[..head]).unwrap();
    // Torn anywhere, in the middle of blocks.
    for (seq, piece) in recording[head..].chunks((recording.len() - head) / 6 + 1).enumerate() {
        std::fs::write(part.join(format!("seg-{seq:06}.m4s")), piece).unwrap();
    }
    bench.carry().await;
    let raw = bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap();
    let lost = raw.iter().find(|name| name.contains("/000002-")).unwrap();
    std::fs::remove_file(bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(lost)).unwrap();
    bench.finalized("one").await.unwrap();
    let frames = decoded(&bench.file(ObjectName::Video)).0;
    assert!((PART_FRAMES / 2..PART_FRAMES).contains(&frames), "{frames} frames");
    assert_eq!(bench.manifest().parts.len(), 2);
}
