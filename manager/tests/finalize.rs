//! The end part alone: from raw segments, made by a real ffmpeg, to files judged by their frames.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use bot_model::configuration::Naming;
use bot_model::document::{Artifact, Fields};
use bot_model::exit_code::ExitCode;
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::lease::LeaseTimings;
use bot_model::lifecycle::Phase;
use bot_model::manifest::RecordingManifest;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::schedule::StartWindow;
use bot_model::segment::{PART_INFO_FILE, PartInfo, part_folder, segment_file};
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::claim::{Claimer, claim_all, relaunch};
use bot_store::protocol::enqueue::{Enqueued, enqueue};
use bot_store::protocol::run::{Bind, Purpose, Renewal, bind, set_path};
use bot_store::{DocumentKey, Store, Write};
use chrono::{DateTime, Duration, Utc};
use manager::config::Config;
use manager::finalize::{FinalizeError, Workplace, finalize};
use manager::keeper::Keeper;
use manager::objects::Objects;
use manager::record::finalize_only;
use manager::spool::{Route, Spool};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

/// Seconds and frames of each part below: three segments of two seconds at 15 frames a second.
const PART_SECS: f64 = 6.0;
const PART_FRAMES: u64 = 90;

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    id: InstanceId,
    prefix: ObjectPrefix,
    record: InstanceRecord,
}

fn claimer() -> Claimer {
    Claimer { controller_id: "bench".into(), ttl: StdDuration::from_secs(600) }
}

impl Bench {
    /// An instance that run `r1` of attempt 1 has bound and reserved a path for.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = bot_store::connect::open(&url, Naming::default()).await.unwrap();
        let meeting = DocumentKey::Meeting(MeetingPath::parse("meetings/m").unwrap());
        let fields = json!({"meeting_url": "https://meet.google.com/abc-defg-hij", "status": "scheduled"});
        let fields: Fields = fields.as_object().unwrap().clone();
        store.commit(vec![Write::create(meeting.clone(), fields)]).await.unwrap();
        let meeting = store.read(&meeting).await.unwrap().unwrap();
        let enqueued = enqueue(store.as_ref(), &meeting, &StartWindow::default(), Utc::now()).await.unwrap();
        let Enqueued::Created(id) = enqueued else { panic!("{enqueued:?}") };
        let record = InstanceRecord::read(store.as_ref(), &id).await.unwrap().unwrap();
        claim_all(store.as_ref(), vec![record], &claimer(), Utc::now()).await.remove(0).unwrap().unwrap();
        let record = bound(store.as_ref(), &id, 1, "r1", Purpose::Record).await;
        let prefix = ObjectPrefix::parse("recordings/m").unwrap();
        let set = set_path(store.as_ref(), &record, &prefix).await.unwrap();
        let Renewal::Renewed(record) = set else { panic!("{set:?}") };
        Self { folder, store, id, prefix, record }
    }

    fn bucket_url(&self) -> String {
        format!("file://{}", self.folder.path().join("bucket").display())
    }

    async fn objects(&self) -> Objects {
        Objects::open(&self.bucket_url()).await.unwrap()
    }

    fn session(&self) -> PathBuf {
        self.folder.path().join("session")
    }

    /// Carries what lies in the session's folder into the bucket.
    async fn carry(&self) {
        let route = Route { prefix: self.prefix.clone(), attempt: 1, run: "r1".into(), folder: self.session() };
        let (_finish, finished) = watch::channel(true);
        Spool::new(self.objects().await, route).0.run(finished).await;
    }

    fn keeper(&self, record: InstanceRecord) -> Keeper<'_> {
        Keeper::new(self.store.as_ref(), record, LeaseTimings::default(), Instant::now())
    }

    /// The next attempt's finalize run, bound.
    async fn another_run(&self, run_id: &str) -> InstanceRecord {
        let attempt = self.relaunch().await;
        bound(self.store.as_ref(), &self.id, attempt, run_id, Purpose::Finalize).await
    }

    async fn relaunch(&self) -> u32 {
        let record = self.instance().await;
        relaunch(self.store.as_ref(), &record, &claimer(), "the run ended", Utc::now()).await.unwrap().unwrap();
        record.instance.facts.attempt + 1
    }

    async fn instance(&self) -> InstanceRecord {
        InstanceRecord::read(self.store.as_ref(), &self.id).await.unwrap().unwrap()
    }

    async fn finalized(&self, place: &str) -> Result<Vec<Artifact>, FinalizeError> {
        let record = self.instance().await;
        let place = Workplace { folder: self.folder.path().join(place), own: None };
        finalize(&mut self.keeper(record), &self.objects().await, &place, None).await
    }

    fn file(&self, name: ObjectName) -> PathBuf {
        self.folder.path().join("bucket").join(self.prefix.object(name))
    }

    fn manifest(&self) -> RecordingManifest {
        serde_json::from_slice(&std::fs::read(self.file(ObjectName::Manifest)).unwrap()).unwrap()
    }
}

async fn bound(store: &dyn Store, id: &InstanceId, attempt: u32, run_id: &str, purpose: Purpose) -> InstanceRecord {
    match bind(store, id, (attempt, run_id), purpose, Utc::now()).await.unwrap() {
        Bind::Bound(record) => record,
        other => panic!("{other:?}"),
    }
}

/// How a part is recorded.
struct Capture {
    size: &'static str,
    has_sound: bool,
    started_at: DateTime<Utc>,
    audio_lag_ms: i64,
}

impl Capture {
    fn starting(started_at: DateTime<Utc>) -> Self {
        Self { size: "320x180", has_sound: true, started_at, audio_lag_ms: 0 }
    }
}

fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// Writes part `number` as the meeting-bot does.
fn record(session: &Path, number: u32, capture: &Capture) {
    let folder = session.join(part_folder(number));
    std::fs::create_dir_all(&folder).unwrap();
    let info = PartInfo {
        part: number,
        started_at: capture.started_at,
        audio_lag_ms: capture.audio_lag_ms,
        width: 320,
        height: 180,
        frames_per_second: 15,
    };
    std::fs::write(folder.join(PART_INFO_FILE), serde_json::to_vec(&info).unwrap()).unwrap();
    let mut command = Command::new("ffmpeg");
    command.current_dir(&folder).args(["-nostdin", "-loglevel", "error"]);
    command.args(["-f", "lavfi", "-i", &format!("testsrc=size={}:rate=15", capture.size)]);
    if capture.has_sound {
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    }
    command.args(["-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "30"]);
    command.args(["-keyint_min", "30", "-sc_threshold", "0", "-c:a", "aac", "-ac", "2", "-f", "hls", "-hls_time", "2"]);
    command.args(["-hls_segment_type", "fmp4", "-hls_list_size", "0", "-hls_flags", "independent_segments+temp_file"]);
    command.args(["-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", "seg-%06d.m4s", "index.m3u8"]);
    assert!(command.status().expect("ffmpeg is missing: install the package ffmpeg").success());
    assert!(folder.join(segment_file(2)).is_file());
}

/// Frames that decode, and everything that the decoder complained about.
fn decoded(file: &Path) -> (u64, String) {
    let text = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(file).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let count =
        ["-v", "quiet", "-select_streams", "v", "-count_frames", "-of", "csv=p=0", "-show_entries", "stream=nb_read_frames"];
    let frames = text("ffprobe", &count).trim().trim_end_matches(',').parse().unwrap_or(0);
    let output =
        Command::new("ffmpeg").args(["-nostdin", "-v", "warning", "-i"]).arg(file).args(["-f", "null", "-"]).output().unwrap();
    (frames, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// One value that ffprobe tells of the first stream of a type.
fn told(file: &Path, stream: &str, entry: &str) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-show_entries", &format!("stream={entry}"), "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().unwrap_or(f64::NAN)
}

/// Loudest sample in dB between two instants.
fn loudest(file: &Path, from: &str, secs: &str) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-ss", from, "-t", secs, "-i"])
        .arg(file)
        .args(["-vn", "-af", "volumedetect", "-f", "null", "-"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = words.split("max_volume: ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    value.and_then(|value| value.parse().ok()).unwrap_or(f64::NEG_INFINITY)
}

fn close(a: f64, b: f64, within: f64) -> bool {
    (a - b).abs() <= within
}

#[tokio::test(flavor = "multi_thread")]
async fn finalize_alone_makes_the_files_of_an_unfinished_part_and_settles() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    // As a SIGKILL leaves it: no part-end.json, and a segment half written.
    std::fs::write(bench.session().join("p000/seg-000003.m4s.tmp"), b"half").unwrap();
    bench.carry().await;
    let attempt = bench.relaunch().await;
    let pairs = [
        ("BOT_INSTANCE_ID", bench.id.as_str().to_owned()),
        ("ATTEMPT", attempt.to_string()),
        ("RUN_ID", "r2".into()),
        ("STORE_URL", "sqlite:unused".into()),
        ("RECORDINGS_URL", bench.bucket_url()),
        ("SCRATCH_DIR", bench.folder.path().join("scratch").display().to_string()),
    ];
    let config = Config::read(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())).unwrap();
    assert_eq!(finalize_only(&config, bench.store.as_ref()).await.unwrap(), ExitCode::Settled);
    let instance = bench.instance().await.instance;
    assert_eq!(instance.phase, Phase::Done);
    assert_eq!(instance.facts.artifacts.len(), 3);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
    assert!(close(told(&bench.file(ObjectName::Audio), "a", "duration"), PART_SECS, 0.1));
    assert!(!config.scratch.exists());
    // Asked again, it leaves a settled instance alone.
    assert_eq!(finalize_only(&config, bench.store.as_ref()).await.unwrap(), ExitCode::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_come_after_the_freeze_do_not_change_the_files() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let first = bench.finalized("one").await.unwrap();
    record(&bench.session(), 1, &Capture::starting(epoch() + Duration::seconds(30)));
    bench.carry().await;
    assert_eq!(bench.finalized("two").await.unwrap(), first);
    assert_eq!(decoded(&bench.file(ObjectName::Video)).0, PART_FRAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_finalizers_at_once_make_the_same_files() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    // The first has frozen the list and is slow; the second is sent after it, and the timeline grows meanwhile.
    let mut slow = bench.keeper(bench.record.clone());
    let objects = bench.objects().await;
    let place = |name: &str| Workplace { folder: bench.folder.path().join(name), own: None };
    let one = finalize(&mut slow, &objects, &place("one"), None).await.unwrap();
    let mut quick = bench.keeper(bench.another_run("r2").await);
    let (one_place, two_place) = (place("one"), place("two"));
    let again = finalize(&mut slow, &objects, &one_place, None);
    let two = finalize(&mut quick, &objects, &two_place, None);
    let (again, two) = tokio::join!(again, two);
    assert_eq!(two.unwrap(), one);
    assert_eq!(again.unwrap(), one);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parts_are_joined_and_the_time_between_them_is_stated() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    record(&bench.session(), 1, &Capture::starting(epoch() + Duration::seconds(20)));
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (2 * PART_FRAMES, String::new()));
    let manifest = bench.manifest();
    assert!(close(manifest.duration_secs, 2.0 * PART_SECS, 0.2), "{}", manifest.duration_secs);
    assert!(close(manifest.parts[1].offset_secs, PART_SECS, 0.1), "{:?}", manifest.parts);
    assert!(manifest.gaps.len() == 1 && close(manifest.gaps[0].duration_secs, 14.0, 0.1), "{:?}", manifest.gaps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_never_arrived_is_a_gap_and_not_an_end() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let raw = bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap();
    let middle = raw.iter().find(|name| name.contains("/000001-")).unwrap();
    std::fs::remove_file(bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(middle)).unwrap();
    bench.finalized("one").await.unwrap();
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES - 30, String::new()));
    let gaps = bench.manifest().gaps;
    assert!(gaps.len() == 1 && close(gaps[0].duration_secs, 2.0, 0.15), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_without_sound_still_gives_a_video() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture { has_sound: false, ..Capture::starting(epoch()) });
    bench.carry().await;
    let artifacts = bench.finalized("one").await.unwrap();
    assert_eq!(artifacts.iter().map(|file| file.name).collect::<Vec<_>>(), [ObjectName::Video, ObjectName::Manifest]);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_first_part_does_not_cost_the_sound_of_the_second() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture { has_sound: false, ..Capture::starting(epoch()) });
    record(&bench.session(), 1, &Capture::starting(epoch() + Duration::seconds(6)));
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    let video = bench.file(ObjectName::Video);
    assert_eq!(decoded(&video).0, 2 * PART_FRAMES);
    assert!(loudest(&video, "7", "4") > -30.0, "the second part is silent");
    assert!(loudest(&video, "1", "4") < -60.0, "the first part is not silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_different_sizes_still_give_one_playable_video() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    record(&bench.session(), 1, &Capture { size: "640x360", ..Capture::starting(epoch() + Duration::seconds(6)) });
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    let video = bench.file(ObjectName::Video);
    assert_eq!(decoded(&video), (2 * PART_FRAMES, String::new()));
    assert!(loudest(&video, "7", "4") > -30.0, "the second part is silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sound_s_measured_lag_is_taken_back() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture { audio_lag_ms: 200, ..Capture::starting(epoch()) });
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    let video = bench.file(ObjectName::Video);
    let ahead = told(&video, "v", "start_time") - told(&video, "a", "start_time");
    assert!(close(ahead, 0.2, 0.03), "{ahead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_raw_object_is_named_and_never_played() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    let raw = bench.objects().await.list(&bench.prefix.raw_folder()).await.unwrap();
    let last = raw.iter().find(|name| name.contains("/000002-")).unwrap();
    std::fs::write(bench.folder.path().join("bucket").join(bench.prefix.raw_folder()).join(last), b"noise").unwrap();
    let error = bench.finalized("one").await.unwrap_err();
    assert!(matches!(&error, FinalizeError::RawLost(name) if name == last), "{error}");
    assert!(!bench.file(ObjectName::Video).exists());
}
