//! A launcher over a store and a folder of its own, with scripts for manager and meeting-bot.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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
use controller::launch::{LaunchSpec, Launched, Launcher, RunCommand, RunKey, RunState};

pub(crate) const CONTROLLER: &str = env!("CARGO_BIN_EXE_controller");
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

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

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) launcher: ProcessLauncher,
}

impl Bench {
    pub(crate) async fn new() -> Self {
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

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn claim(&self, id: &str) -> Claimed {
        let id = InstanceId::parse(id).unwrap();
        let url = MeetingUrl::parse("https://zoom.us/j/123456789?pwd=CANARY").unwrap();
        let queued = bot_model::document::BotInstance::queued(id.clone(), url);
        let write = Write::create(DocumentKey::Instance(id.clone()), queued.encode(self.store.naming()));
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
        let record = InstanceRecord::read(self.store.as_ref(), &id).await.unwrap().unwrap();
        claim_all(self.store.as_ref(), vec![record], &claimer(), Utc::now()).await.remove(0).unwrap().unwrap()
    }

    /// The claim on the attempt after this one.
    pub(crate) async fn next_attempt(&self, claimed: &Claimed) -> Claimed {
        let job = LaunchSpec::new(claimed, RunCommand::Record).key().job;
        launched(self.store.as_ref(), claimed, &job, Utc::now()).await.unwrap();
        let id = &claimed.record().instance.id;
        let record = InstanceRecord::read(self.store.as_ref(), id).await.unwrap().unwrap();
        relaunch(self.store.as_ref(), &record, &claimer(), "test", Utc::now()).await.unwrap().unwrap()
    }

    pub(crate) fn run(&self, key: &RunKey) -> RunDir {
        RunDir::of(&self.path().join("runs"), key)
    }

    /// Launches and waits until the manager runs.
    pub(crate) async fn begin(&self, id: &str) -> (RunKey, RunDir) {
        let spec = LaunchSpec::new(&self.claim(id).await, RunCommand::Record);
        assert_eq!(self.launcher.launch(&spec).await.unwrap(), Launched::Started);
        let run = self.run(&spec.key());
        until("the manager's command", || run.path().join("manager.command").exists());
        (spec.key(), run)
    }

    pub(crate) async fn state(&self, key: &RunKey) -> RunState {
        self.launcher.list().await.unwrap().into_iter().find(|run| run.key == *key).unwrap().state
    }

    pub(crate) async fn over(&self, key: &RunKey) -> RunState {
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

pub(crate) fn launcher(folder: &Path, store_url: &str) -> ProcessLauncher {
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

pub(crate) fn claimer() -> Claimer {
    Claimer { controller_id: "c".into(), ttl: Duration::from_secs(600) }
}

pub(crate) fn until(what: &str, mut probe: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !probe() {
        assert!(begun.elapsed() < LIMIT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn read(run: &RunDir, name: &str) -> String {
    std::fs::read_to_string(run.path().join(name)).unwrap_or_default()
}

/// Live processes whose arguments or environment name this folder.
pub(crate) fn processes_naming(folder: &Path) -> Vec<i32> {
    let needle = folder.to_str().unwrap();
    let names = |pid: &i32| {
        ["cmdline", "environ"].iter().any(|file| {
            std::fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(needle))
        })
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).filter(names).collect()
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
}

/// The supervisor of a run, by its arguments.
pub(crate) fn supervisor(run: &RunDir) -> i32 {
    let mut found = processes_naming(run.path());
    found.retain(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("supervise"))
    });
    assert_eq!(found.len(), 1, "one supervisor");
    found[0]
}
