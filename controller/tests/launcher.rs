//! The process launcher with real processes. Manager and meeting-bot are small shell scripts that do as they are told: the
//! launcher and its supervisor are under test here, not they.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bot_model::configuration::Naming;
use bot_model::ids::InstanceId;
use bot_model::meeting_url::MeetingUrl;
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::claim::{Claimed, Claimer, claim_all, launched, relaunch};
use bot_store::{DocumentKey, Store, Write};
use chrono::Utc;
use controller::config::RunsConfig;
use controller::launch::process::ProcessLauncher;
use controller::launch::run_dir::RunDir;
use controller::launch::{LaunchSpec, Launched, Launcher, RunCommand, RunKey, RunState, Tail, conformance};

const CONTROLLER: &str = env!("CARGO_BIN_EXE_controller");
const LIMIT: Duration = Duration::from_secs(60);

/// Runs until it gets SIGTERM, or until a file tells it with which code to end.
const MANAGER: &str = r#"#!/bin/sh
env | sort > "$BOT_RUN_DIR/manager.env"
echo "$1" > "$BOT_RUN_DIR/manager.command"
trap 'exit 143' TERM
while :; do
  [ -f "$BOT_RUN_DIR/exit-now" ] && exit "$(cat "$BOT_RUN_DIR/exit-now")"
  sleep 0.02
done
"#;

/// Listens in word only; has a child in a session of its own that knows the run by its home alone, as a browser does.
const MEETING_BOT: &str = r#"#!/bin/sh
[ -n "$PRACTICE_ROOM_ORIGIN" ] || exit 64
env | sort > "$BOT_RUN_DIR/bot.env"
echo "$$ $MEETING_BOT_LISTEN" >> "$BOT_RUN_DIR/bot.starts"
env -i HOME="$MEETING_BOT_SCRATCH/home" PATH="$PATH" setsid sleep 3600 &
echo 127.0.0.1:9 > "$MEETING_BOT_PORT_FILE.tmp" && mv "$MEETING_BOT_PORT_FILE.tmp" "$MEETING_BOT_PORT_FILE"
trap 'echo left >> "$BOT_RUN_DIR/bot.left"; exit 143' TERM
while :; do sleep 0.02; done
"#;

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    launcher: ProcessLauncher,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("manager", MANAGER), ("meeting-bot", MEETING_BOT)] {
            let program = folder.path().join(name);
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = bot_store::connect::open(&url, Naming::default()).await.unwrap();
        let launcher = launcher(folder.path(), &url);
        Self { folder, store, launcher }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn claim(&self, id: &str) -> Claimed {
        let id = InstanceId::parse(id).unwrap();
        let url = MeetingUrl::parse("https://zoom.us/j/123456789?pwd=CANARY").unwrap();
        let queued = bot_model::document::BotInstance::queued(id.clone(), url);
        let write = Write::create(DocumentKey::Instance(id.clone()), queued.encode(self.store.naming()));
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
        let record = InstanceRecord::read(self.store.as_ref(), &id).await.unwrap().unwrap();
        claim_all(self.store.as_ref(), vec![record], &claimer(), Utc::now()).await.remove(0).unwrap().unwrap()
    }

    /// The claim on the attempt after this one.
    async fn next_attempt(&self, claimed: &Claimed) -> Claimed {
        let job = LaunchSpec::new(claimed, RunCommand::Record).key().job;
        launched(self.store.as_ref(), claimed, &job, Utc::now()).await.unwrap();
        let id = &claimed.record().instance.id;
        let record = InstanceRecord::read(self.store.as_ref(), id).await.unwrap().unwrap();
        relaunch(self.store.as_ref(), &record, &claimer(), "test", Utc::now()).await.unwrap().unwrap()
    }

    fn run(&self, key: &RunKey) -> RunDir {
        RunDir::of(&self.path().join("runs"), key)
    }

    /// Launches and waits until the manager runs.
    async fn begin(&self, id: &str) -> (RunKey, RunDir) {
        let spec = LaunchSpec::new(&self.claim(id).await, RunCommand::Record);
        assert_eq!(self.launcher.launch(&spec).await.unwrap(), Launched::Started);
        let run = self.run(&spec.key());
        until("the manager's command", || run.path().join("manager.command").exists());
        (spec.key(), run)
    }

    async fn state(&self, key: &RunKey) -> RunState {
        self.launcher.list().await.unwrap().into_iter().find(|run| run.key == *key).unwrap().state
    }

    async fn over(&self, key: &RunKey) -> RunState {
        let begun = Instant::now();
        while !self.state(key).await.is_over() {
            assert!(begun.elapsed() < LIMIT, "the run did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.state(key).await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for pid in processes_naming(self.folder.path()) {
            signal(pid, rustix::process::Signal::KILL);
        }
    }
}

fn launcher(folder: &Path, store_url: &str) -> ProcessLauncher {
    let config = RunsConfig {
        folder: folder.join("runs"),
        max_live: 2,
        is_measured: false,
        manager: folder.join("manager"),
        meeting_bot: folder.join("meeting-bot"),
        recordings_url: "file:///nowhere".into(),
        handed_on: BTreeMap::from([("STORE_URL".to_owned(), store_url.to_owned())]),
        practice_origin: Some("http://127.0.0.1:1".into()),
    };
    ProcessLauncher::new(config, store_url, "c", PathBuf::from(CONTROLLER)).unwrap()
}

fn claimer() -> Claimer {
    Claimer { controller_id: "c".into(), ttl: Duration::from_secs(600) }
}

fn until(what: &str, mut probe: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !probe() {
        assert!(begun.elapsed() < LIMIT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read(run: &RunDir, name: &str) -> String {
    std::fs::read_to_string(run.path().join(name)).unwrap_or_default()
}

/// Live processes whose arguments or environment name this folder.
fn processes_naming(folder: &Path) -> Vec<i32> {
    let needle = folder.to_str().unwrap();
    let names = |pid: &i32| {
        ["cmdline", "environ"].iter().any(|file| {
            std::fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(needle))
        })
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).filter(names).collect()
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
}

/// The supervisor of a run, by its arguments.
fn supervisor(run: &RunDir) -> i32 {
    let mut found = processes_naming(run.path());
    found.retain(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("supervise"))
    });
    assert_eq!(found.len(), 1, "one supervisor");
    found[0]
}

macro_rules! conforms {
    ($($name:ident),*) => { $(
        #[tokio::test]
        async fn $name() {
            let bench = Bench::new().await;
            conformance::$name(&bench.launcher, &bench.claim("b1").await).await;
            assert_eq!(processes_naming(&bench.path().join("runs")), Vec::<i32>::new(), "left behind");
        }
    )* };
}

conforms!(
    what_was_launched_is_listed,
    a_second_launch_finds_the_first,
    launches_at_once_start_one_run,
    only_what_is_over_is_removed,
    a_finalize_run_is_a_run
);

#[tokio::test]
async fn another_attempt_waits_for_the_old_one() {
    let bench = Bench::new().await;
    let first = bench.claim("b1").await;
    let second = bench.next_attempt(&first).await;
    conformance::another_attempt_waits_for_the_old_one(&bench.launcher, &first, &second).await;
}

#[tokio::test]
async fn the_number_of_runs_is_bounded() {
    let bench = Bench::new().await;
    let claims = [bench.claim("b1").await, bench.claim("b2").await, bench.claim("b3").await];
    conformance::the_number_of_runs_is_bounded(&bench.launcher, &claims).await;
}

#[tokio::test]
async fn the_children_see_the_contract_and_nothing_of_the_document() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let manager = read(&run, "manager.env");
    for line in ["BOT_INSTANCE_ID=b1", "ATTEMPT=1", "MEETING_BOT_API_URL=http://127.0.0.1:9", "STORE_URL=sqlite:"] {
        assert!(manager.lines().any(|found| found.starts_with(line)), "{line} is missing in\n{manager}");
    }
    let run_id = manager.lines().find_map(|line| line.strip_prefix("RUN_ID=")).unwrap();
    assert!(bot_model::segment::is_run_label(run_id), "{run_id}");
    assert!(!manager.contains("PRACTICE_ROOM_ORIGIN"));
    let bot = read(&run, "bot.env");
    assert!(bot.contains("PRACTICE_ROOM_ORIGIN=http://127.0.0.1:1"), "{bot}");
    for secret in ["STORE_URL", "AWS_", "BOT_INSTANCE_ID", "GOOGLE_"] {
        assert!(!bot.contains(secret), "{secret} reached the browser's side");
    }
    assert!(!format!("{manager}{bot}{}", read(&run, "spec.json")).contains("CANARY"), "a passcode left the store");
    bench.launcher.stop(&key).await.unwrap();
    bench.over(&key).await;
}

#[tokio::test]
async fn the_manager_s_exit_code_is_the_run_s() {
    let bench = Bench::new().await;
    for (id, code) in [("b1", 0), ("b2", 71)] {
        let (key, run) = bench.begin(id).await;
        std::fs::write(run.path().join("exit-now"), code.to_string()).unwrap();
        assert_eq!(bench.over(&key).await, RunState::Ended { code: Some(code) });
        assert!(read(&run, "bot.left").contains("left"), "the meeting-bot was asked to leave before it was killed");
    }
}

#[tokio::test]
async fn a_killed_manager_ends_the_run_with_everything_it_started() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let manager = processes_naming(run.path())
        .into_iter()
        .find(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains("/manager\0record"))
        })
        .unwrap();
    signal(manager, rustix::process::Signal::KILL);
    assert_eq!(bench.over(&key).await, RunState::Ended { code: None });
    assert_eq!(run.exit().unwrap().signal, Some(9));
    assert_eq!(processes_naming(run.path()), Vec::<i32>::new(), "a child in a session of its own was left behind");
}

#[tokio::test]
async fn a_crashed_meeting_bot_is_started_again_at_the_same_address() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let first = read(&run, "bot.starts");
    signal(first.split(' ').next().unwrap().parse().unwrap(), rustix::process::Signal::KILL);
    until("the second start", || read(&run, "bot.starts").lines().count() == 2);
    assert!(read(&run, "bot.starts").lines().nth(1).unwrap().ends_with(" 127.0.0.1:9"));
    assert_eq!(bench.state(&key).await, RunState::Running);
    bench.launcher.stop(&key).await.unwrap();
    assert_eq!(bench.over(&key).await, RunState::Ended { code: Some(143) });
}

#[tokio::test]
async fn a_new_launcher_finds_what_an_older_one_started() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let url = format!("sqlite:{}", bench.path().join("store.sqlite").display());
    let second = launcher(bench.path(), &url);
    let seen = second.list().await.unwrap();
    assert_eq!((seen.len(), seen[0].key.clone(), seen[0].state), (1, key.clone(), RunState::Running));
    assert!(second.sees_runs_of("c") && !second.sees_runs_of("elsewhere"));
    let stranger = launcher(bench.path(), "sqlite:/another");
    assert_eq!(stranger.list().await.unwrap(), [], "the runs of another store are not ours");
    std::fs::write(run.path().join("exit-now"), "0").unwrap();
    assert_eq!(bench.over(&key).await, RunState::Ended { code: Some(0) });
}

#[tokio::test]
async fn a_killed_supervisor_s_orphans_are_ended_before_the_run_counts_as_lost() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    signal(supervisor(&run), rustix::process::Signal::KILL);
    until("the lock to be free", || !run.is_locked().unwrap());
    assert_eq!(bench.state(&key).await, RunState::Running, "its manager may still be recording");
    assert_eq!(bench.over(&key).await, RunState::Lost);
    assert_eq!(processes_naming(run.path()), Vec::<i32>::new());
    bench.launcher.remove(&key).await.unwrap();
    assert!(!run.path().exists());
    assert!(bench.path().join("runs/logs/bot-b1-a1/manager.log").exists(), "the logs are kept");
}

#[tokio::test]
async fn a_run_that_is_killed_whole_is_reported_as_over_without_being_looked_for() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let children = processes_naming(run.path());
    signal(supervisor(&run), rustix::process::Signal::KILL);
    // The children end after the supervisor was missed.
    tokio::time::timeout(LIMIT, bench.launcher.changed()).await.expect("the supervisor's end was not told");
    assert_eq!(bench.state(&key).await, RunState::Running);
    children.into_iter().for_each(|child| signal(child, rustix::process::Signal::KILL));
    tokio::time::timeout(LIMIT, bench.launcher.changed()).await.expect("the end of the run was not told");
    assert_eq!(bench.state(&key).await, RunState::Lost);
}

#[tokio::test]
async fn the_end_of_a_run_s_logs_is_given_out_as_long_as_its_folder_is_there() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    for (name, lines) in [("manager.log", "one\ntwo\nthree\n"), ("meeting-bot.log", "hello\n")] {
        std::fs::write(run.path().join(name), lines).unwrap();
    }
    let tail = Tail { lines: 2, bytes: 1_000 };
    let logs = bench.launcher.logs(&key, tail).await.unwrap().unwrap();
    let text = |program: &str| logs.iter().find(|log| log.program == program).map(|log| log.text.clone());
    assert_eq!((text("manager"), text("meeting-bot")), (Some("two\nthree\n".into()), Some("hello\n".into())));
    let other = launcher(bench.path(), "sqlite:/another");
    assert_eq!(other.logs(&key, tail).await.unwrap(), None, "another store's run is not ours to show");
    bench.launcher.stop(&key).await.unwrap();
    bench.over(&key).await;
    bench.launcher.remove(&key).await.unwrap();
    assert_eq!(bench.launcher.logs(&key, tail).await.unwrap(), None);
}

#[tokio::test]
async fn the_supervisor_lives_in_a_session_of_its_own() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    let pid = supervisor(&run);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(session, pid);
    bench.launcher.stop(&key).await.unwrap();
    bench.over(&key).await;
}

#[tokio::test]
async fn a_meeting_bot_that_cannot_start_ends_the_run_with_its_reason() {
    let bench = Bench::new().await;
    std::fs::write(bench.path().join("meeting-bot"), "#!/bin/sh\nexit 69\n").unwrap();
    let spec = LaunchSpec::new(&bench.claim("b1").await, RunCommand::Record);
    bench.launcher.launch(&spec).await.unwrap();
    assert_eq!(bench.over(&spec.key()).await, RunState::Ended { code: Some(69) });
    let run = bench.run(&spec.key());
    assert!(!run.path().join("manager.command").exists(), "no manager without its meeting-bot");
}

/// Lays `count` closed segments into a run's scratch.
fn record_segments(run: &RunDir, count: u32) {
    let part = run.scratch().join("session/p000");
    std::fs::create_dir_all(&part).unwrap();
    for seq in 0..count {
        std::fs::write(part.join(bot_model::segment::segment_file(seq)), b"segment").unwrap();
    }
}

#[tokio::test]
async fn the_next_attempt_is_told_where_an_earlier_one_left_its_segments() {
    let bench = Bench::new().await;
    let first = bench.claim("b1").await;
    let spec = LaunchSpec::new(&first, RunCommand::Record);
    bench.launcher.launch(&spec).await.unwrap();
    let run = bench.run(&spec.key());
    until("the manager's command", || run.path().join("manager.command").exists());
    assert!(!read(&run, "manager.env").contains("EARLIER_RUNS"));
    record_segments(&run, 2);
    assert_eq!(bench.launcher.unsaved().await.unwrap(), [], "it is still being carried out");
    std::fs::write(run.path().join("exit-now"), "143").unwrap();
    bench.over(&spec.key()).await;
    assert_eq!(bench.launcher.unsaved().await.unwrap(), [spec.key().job]);
    let second = LaunchSpec::new(&bench.next_attempt(&first).await, RunCommand::Finalize);
    bench.launcher.launch(&second).await.unwrap();
    let next = bench.run(&second.key());
    until("the second manager's command", || next.path().join("manager.command").exists());
    let told = read(&next, "manager.env").lines().find_map(|line| line.strip_prefix("EARLIER_RUNS=").map(str::to_owned)).unwrap();
    let earlier: Vec<bot_model::scratch::EarlierRun> = serde_json::from_str(&told).unwrap();
    assert_eq!((earlier.len(), earlier[0].attempt, &earlier[0].scratch), (1, 1, &run.scratch()));
    assert_eq!(earlier[0].run, run.spec().unwrap().run_id);
    run.kill_leftovers();
    assert_eq!(bench.state(&second.key()).await, RunState::Running, "taken for a process of the earlier run");
    bench.launcher.stop(&second.key()).await.unwrap();
    bench.over(&second.key()).await;
}

#[tokio::test]
async fn a_removed_run_whose_segments_are_not_in_the_bucket_is_kept_for_its_retention() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    record_segments(&run, 2);
    std::fs::write(run.path().join("exit-now"), "143").unwrap();
    bench.over(&key).await;
    bench.launcher.remove(&key).await.unwrap();
    let kept = bench.path().join("runs/kept/bot-b1-a1");
    assert!(!run.path().exists() && kept.join("scratch/session/p000/seg-000001.m4s").exists());
    assert_eq!(bench.launcher.list().await.unwrap(), [], "a kept run is over for good");
    let url = format!("sqlite:{}", bench.path().join("store.sqlite").display());
    drop(launcher(bench.path(), &url));
    assert!(kept.exists(), "deleted within its retention");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(73 * 3600);
    std::fs::File::open(kept.join("kept-since")).unwrap().set_modified(long_ago).unwrap();
    drop(launcher(bench.path(), &url));
    assert!(!kept.exists());
}

#[tokio::test]
async fn a_removed_run_whose_segments_are_all_in_the_bucket_is_deleted() {
    let bench = Bench::new().await;
    let (key, run) = bench.begin("b1").await;
    record_segments(&run, 2);
    std::fs::write(run.scratch().join("saved.json"), r#"{"segments":2}"#).unwrap();
    std::fs::write(run.path().join("exit-now"), "70").unwrap();
    bench.over(&key).await;
    bench.launcher.remove(&key).await.unwrap();
    assert!(!run.path().exists() && !bench.path().join("runs/kept").exists());
}

/// The whole program: killed, started again, and told to end.
#[tokio::test]
async fn a_killed_controller_is_replaced_without_a_second_launch_and_sigterm_leaves_the_bots_alone() {
    let bench = Bench::new().await;
    let scheduled = command(&bench).args(["schedule", "https://zoom.us/j/123456789?pwd=CANARY"]).output().unwrap();
    assert!(scheduled.status.success(), "{}", String::from_utf8_lossy(&scheduled.stderr));
    let mut first = start(&bench, "first.log");
    let job = || {
        std::fs::read_dir(bench.path().join("runs"))
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("bot-"))
    };
    until("the run", || job().is_some_and(|job| job.join("a1/manager.command").exists()));
    first.kill().unwrap();
    first.wait().unwrap();
    let run = RunDir::at(job().unwrap().join("a1"));
    let supervised_by = supervisor(&run);

    let mut second = start(&bench, "second.log");
    until("a ready controller", || http(&bench, "/readyz").is_some_and(|answer| answer.contains("200 OK")));
    let metrics = http(&bench, "/metrics").unwrap();
    assert!(metrics.contains("meetingbot_runs_alive"), "{metrics}");
    let begun = Instant::now();
    signal(i32::try_from(second.id()).unwrap(), rustix::process::Signal::TERM);
    let status = second.wait().unwrap();
    assert!(status.success() && begun.elapsed() < Duration::from_secs(5), "{status} after {:?}", begun.elapsed());
    assert_eq!(supervisor(&run), supervised_by, "the bot goes on");
    assert_eq!(std::fs::read_dir(job().unwrap()).unwrap().count(), 1, "one attempt");
    for log in ["first.log", "second.log"] {
        let log = std::fs::read_to_string(bench.path().join(log)).unwrap();
        assert!(!log.contains("CANARY") && log.contains("running"), "{log}");
    }
    run.ask_to_stop().unwrap();
    until("the end of the run", || !run.is_locked().unwrap());
}

fn command(bench: &Bench) -> Command {
    let path = |name: &str| bench.path().join(name).display().to_string();
    let mut command = Command::new(CONTROLLER);
    command.env("STORE_URL", format!("sqlite:{}", path("store.sqlite"))).env("RECORDINGS_URL", format!("file://{}", path("r")));
    command
        .env("MACHINE_ADMISSION", "off")
        .env("RUNS_DIR", path("runs"))
        .env("MANAGER_BIN", path("manager"))
        .env("MEETING_BOT_BIN", path("meeting-bot"));
    command.env("HTTP_LISTEN", "127.0.0.1:0").env("HTTP_PORT_FILE", path("port")).env("POLL_INTERVAL", "1");
    command.env("REAP_INTERVAL_SECONDS", "1").env("PRACTICE_ROOM_ORIGIN", "http://127.0.0.1:1").env("LOG_LEVEL", "debug");
    command.stdin(Stdio::null());
    command
}

fn start(bench: &Bench, log: &str) -> Child {
    let _ = std::fs::remove_file(bench.path().join("port"));
    let log = std::fs::File::create(bench.path().join(log)).unwrap();
    command(bench).arg("run").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn http(bench: &Bench, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let address = std::fs::read_to_string(bench.path().join("port")).ok()?;
    let mut stream = std::net::TcpStream::connect(address.trim()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_wrong_environment_is_told_whole_and_ends_with_64() {
    let output = Command::new(CONTROLLER)
        .arg("run")
        .env_clear()
        .env("STORE_URL", "mysql:x")
        .env("POLL_INTERVAL", "soon")
        .env("MEETING_STATUS_FIELD", "sta tus")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64));
    for name in ["STORE_URL", "POLL_INTERVAL", "MEETING_STATUS_FIELD", "GCS_BUCKET", "LAUNCHER"] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
}
