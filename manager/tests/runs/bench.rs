//! An instance with its store and its bucket in a temporary folder, parts made by a real ffmpeg, and what tells of files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use bot_model::configuration::Naming;
use bot_model::document::{Artifact, BotInstance, Fields};
use bot_model::ids::{CallKey, InstanceId, MeetingPath};
use bot_model::lease::LeaseTimings;
use bot_model::lifecycle::Phase;
use bot_model::manifest::RecordingManifest;
use bot_model::meeting_url::MeetingUrl;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::schedule::StartWindow;
use bot_model::segment::{PART_INFO_FILE, PartInfo, part_folder, segment_file};
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::claim::{Claimer, claim_all, relaunch};
use bot_store::protocol::enqueue::{Enqueued, enqueue};
use bot_store::protocol::run::{Bind, Purpose, Renewal, bind, set_path};
use bot_store::protocol::slot::{Holder, Slot, acquire};
use bot_store::{DocumentKey, Store, Write};
use chrono::{DateTime, TimeDelta, Utc};
use manager::config::Config;
use manager::finalize::{FinalizeError, Workplace, finalize};
use manager::keeper::Keeper;
use manager::media::Encoding;
use manager::objects::Objects;
use manager::spool::{Route, Spool};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

/// Seconds and frames of each part below: three segments of two seconds at 15 frames a second.
pub(crate) const PART_SECS: f64 = 6.0;
pub(crate) const PART_FRAMES: u64 = 90;

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) id: InstanceId,
    pub(crate) prefix: ObjectPrefix,
    pub(crate) record: InstanceRecord,
}

/// A SIGTERM that never comes.
pub(crate) fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

pub(crate) fn claimer() -> Claimer {
    Claimer { controller_id: "bench".into(), ttl: StdDuration::from_secs(600) }
}

impl Bench {
    /// An instance that run `r1` of attempt 1 has bound and reserved a path for.
    pub(crate) async fn new() -> Self {
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

    pub(crate) fn bucket_url(&self) -> String {
        format!("file://{}", self.folder.path().join("bucket").display())
    }

    pub(crate) async fn objects(&self) -> Objects {
        Objects::open(&self.bucket_url()).await.unwrap()
    }

    pub(crate) fn session(&self) -> PathBuf {
        self.folder.path().join("session")
    }

    /// Carries what lies in the session's folder into the bucket.
    pub(crate) async fn carry(&self) {
        let route = Route { prefix: self.prefix.clone(), attempt: 1, run: "r1".into(), folder: self.session() };
        let (_finish, finished) = watch::channel(true);
        Spool::new(self.objects().await, route).0.run(finished).await;
    }

    pub(crate) fn keeper(&self, record: InstanceRecord) -> Keeper<'_> {
        Keeper::new(self.store.as_ref(), record, LeaseTimings::default(), Instant::now())
    }

    /// The next attempt's finalize run, bound.
    pub(crate) async fn another_run(&self, run_id: &str) -> InstanceRecord {
        let attempt = self.relaunch().await;
        bound(self.store.as_ref(), &self.id, attempt, run_id, Purpose::Finalize).await
    }

    pub(crate) async fn relaunch(&self) -> u32 {
        let record = self.instance().await;
        relaunch(self.store.as_ref(), &record, &claimer(), "the run ended", Utc::now()).await.unwrap().unwrap();
        record.instance.facts.attempt + 1
    }

    pub(crate) async fn instance(&self) -> InstanceRecord {
        InstanceRecord::read(self.store.as_ref(), &self.id).await.unwrap().unwrap()
    }

    pub(crate) async fn cancel_meeting(&self) {
        let mut fields = Fields::new();
        fields.insert("status".into(), json!("cancelled"));
        let meeting = DocumentKey::Meeting(MeetingPath::parse("meetings/m").unwrap());
        self.store.commit(vec![Write::merge_existing(meeting, fields)]).await.unwrap();
    }

    /// Another bot is in the call, for an occurrence an hour earlier.
    pub(crate) async fn held_slot(&self) -> (InstanceId, CallKey) {
        let (id, start) = (InstanceId::parse("b2").unwrap(), Utc::now());
        let url = MeetingUrl::parse("https://meet.google.com/abc-defg-hij").unwrap();
        let mut other = BotInstance::queued(id.clone(), url.clone());
        other.phase = Phase::Recording;
        let mut meeting = Fields::new();
        meeting.insert("start_time".into(), json!(start));
        let own = DocumentKey::Meeting(MeetingPath::parse("meetings/m").unwrap());
        let other = Write::create(DocumentKey::Instance(id.clone()), other.encode(self.store.naming()));
        assert!(self.store.commit(vec![other, Write::merge_existing(own, meeting)]).await.unwrap().is_applied());
        let key = CallKey::derive("", &url);
        let earlier = Some(start - TimeDelta::hours(1));
        let holder = Holder { instance: id.clone(), attempt: 1, start_time: earlier };
        assert_eq!(acquire(self.store.as_ref(), &key, &holder, start).await.unwrap(), Slot::Held);
        (id, key)
    }

    /// Makes the bucket refuse every raw object until [`Bench::unblock_bucket`].
    pub(crate) fn block_bucket(&self) {
        let raw = self.folder.path().join("bucket").join(self.prefix.raw_folder());
        std::fs::create_dir_all(raw.parent().unwrap()).unwrap();
        std::fs::write(raw.to_str().unwrap().trim_end_matches('/'), "a file where a folder should be").unwrap();
    }

    pub(crate) fn unblock_bucket(&self) {
        let raw = self.folder.path().join("bucket").join(self.prefix.raw_folder());
        std::fs::remove_file(raw.to_str().unwrap().trim_end_matches('/')).unwrap();
    }

    /// Segments in the bucket.
    pub(crate) async fn carried(&self) -> usize {
        let names = self.objects().await.list(&self.prefix.raw_folder()).await.unwrap_or_default();
        names.iter().filter(|name| name.ends_with(".m4s")).count()
    }

    /// The environment of a run whose scratch is the folder `run_id`.
    pub(crate) async fn environment(&self, run_id: &str) -> Vec<(String, String)> {
        let attempt = self.instance().await.instance.facts.attempt;
        let text = |path: PathBuf| path.display().to_string();
        let pairs = [
            ("BOT_INSTANCE_ID", self.id.as_str().to_owned()),
            ("ATTEMPT", attempt.to_string()),
            ("RUN_ID", run_id.to_owned()),
            ("STORE_URL", format!("sqlite:{}", text(self.folder.path().join("store.sqlite")))),
            ("RECORDINGS_URL", self.bucket_url()),
            ("SCRATCH_DIR", text(self.folder.path().join(run_id))),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    pub(crate) async fn config(&self, run_id: &str) -> Config {
        let pairs = self.environment(run_id).await;
        Config::read(|name| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())).unwrap()
    }

    pub(crate) async fn finalized(&self, place: &str) -> Result<Vec<Artifact>, FinalizeError> {
        let record = self.instance().await;
        let place = Workplace { folder: self.folder.path().join(place), own: None, encoding: Encoding::default() };
        finalize(&mut self.keeper(record), &self.objects().await, &place, None).await
    }

    pub(crate) fn file(&self, name: ObjectName) -> PathBuf {
        self.folder.path().join("bucket").join(self.prefix.object(name))
    }

    pub(crate) fn manifest(&self) -> RecordingManifest {
        serde_json::from_slice(&std::fs::read(self.file(ObjectName::Manifest)).unwrap()).unwrap()
    }
}

pub(crate) async fn bound(store: &dyn Store, id: &InstanceId, attempt: u32, run_id: &str, purpose: Purpose) -> InstanceRecord {
    match bind(store, id, (attempt, run_id), purpose, Utc::now()).await.unwrap() {
        Bind::Bound(record) => record,
        other => panic!("{other:?}"),
    }
}

/// How a part is recorded.
pub(crate) struct Capture {
    pub(crate) size: &'static str,
    pub(crate) has_sound: bool,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) audio_lag_ms: i64,
}

impl Capture {
    pub(crate) fn starting(started_at: DateTime<Utc>) -> Self {
        Self { size: "320x180", has_sound: true, started_at, audio_lag_ms: 0 }
    }
}

pub(crate) fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// Writes part `number` as the meeting-bot does.
pub(crate) fn record(session: &Path, number: u32, capture: &Capture) {
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
pub(crate) fn decoded(file: &Path) -> (u64, String) {
    decoded_in(file, &[])
}

/// The same of a file whose frames come as its browser had them: two may lie within what would be one tick at its mean rate, which ffmpeg
/// takes for the clock of what it decodes to.
pub(crate) fn decoded_by_its_own_clock(file: &Path) -> (u64, String) {
    decoded_in(file, &["-enc_time_base", "1/90000"])
}

fn decoded_in(file: &Path, clock: &[&str]) -> (u64, String) {
    let text = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(file).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let count =
        ["-v", "quiet", "-select_streams", "v", "-count_frames", "-of", "csv=p=0", "-show_entries", "stream=nb_read_frames"];
    let frames = text("ffprobe", &count).trim().trim_end_matches(',').parse().unwrap_or(0);
    let mut decode = Command::new("ffmpeg");
    decode.args(["-nostdin", "-v", "warning", "-i"]).arg(file).args(clock).args(["-f", "null", "-"]);
    let output = decode.output().unwrap();
    (frames, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// One value that ffprobe tells of the first stream of a type.
pub(crate) fn told(file: &Path, stream: &str, entry: &str) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-show_entries", &format!("stream={entry}"), "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().unwrap_or(f64::NAN)
}

/// Loudest sample in dB between two instants.
pub(crate) fn loudest(file: &Path, from: &str, secs: &str) -> f64 {
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

pub(crate) fn close(a: f64, b: f64, within: f64) -> bool {
    (a - b).abs() <= within
}
