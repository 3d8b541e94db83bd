//! A controller of the one-machine set-up as a process, and commands with its settings.

use std::process::Output;

use serde_json::Value;

use crate::{CONTROLLER, json_of};

/// It, until it is dropped.
pub(crate) struct Machine {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) settings: Vec<(&'static str, String)>,
    running: Option<tokio::process::Child>,
}

/// Of the test's own environment nothing that could name an API, a key or a store.
pub(crate) fn bare(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(CONTROLLER);
    command.args(arguments).kill_on_drop(true);
    for name in ["API_URL", "API_KEY", "API_LISTEN", "HTTP_LISTEN", "HTTP_PORT_FILE", "STORE_URL", "LAUNCHER", "GCP_PROJECT_ID"] {
        command.env_remove(name);
    }
    command
}

impl Machine {
    pub(crate) async fn start(more: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut settings = vec![
            ("STORE_URL", format!("sqlite:{}", at("store.sqlite"))),
            ("RECORDINGS_URL", format!("file://{}", at("bucket"))),
            ("RUNS_DIR", at("runs")),
            ("MANAGER_BIN", "/bin/true".into()),
            ("MEETING_BOT_BIN", "/bin/true".into()),
            ("HTTP_LISTEN", "127.0.0.1:0".into()),
            ("HTTP_PORT_FILE", at("port")),
            ("XDG_STATE_HOME", at("state")),
        ];
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut machine = Self { folder, settings, running: None };
        machine.begin().await;
        machine
    }

    /// Starts the controller (again), and waits until it is ready.
    pub(crate) async fn begin(&mut self) {
        let _ = std::fs::remove_file(self.folder.path().join("port"));
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = bare(&["run"]);
        command.envs(self.settings.clone()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(command.spawn().unwrap());
        self.until_ready().await;
    }

    /// As a machine that loses its power.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().await.unwrap();
        }
    }

    /// Where it listens; empty until it does.
    pub(crate) fn address(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("port")).unwrap_or_default()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The first line of its log with all of these in it. It writes its log beside what it answers, so that a line may come after an answer.
    pub(crate) async fn logged(&self, parts: &[&str]) -> String {
        let give_up = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.to_owned();
            }
            assert!(tokio::time::Instant::now() < give_up, "no line with {parts:?}: {log}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn until_ready(&self) {
        let give_up = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let address = std::fs::read_to_string(self.folder.path().join("port")).unwrap_or_default();
            let ready =
                reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{address}/readyz")).send().await;
            if ready.is_ok_and(|ready| ready.status().is_success()) {
                return;
            }
            assert!(tokio::time::Instant::now() < give_up, "it is not ready: {}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[]).await
    }

    pub(crate) async fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let mut command = bare(arguments);
        command.envs(self.settings.clone()).envs(more.iter().copied());
        tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await.unwrap().unwrap()
    }

    pub(crate) async fn keys(&self) -> Vec<Value> {
        json_of(&self.run(&["keys", "list", "--json"]).await).as_array().unwrap().clone()
    }

    pub(crate) fn key_file(&self) -> std::path::PathBuf {
        let folder = self.folder.path().join("state/meeting-recorder");
        std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    pub(crate) async fn end(mut self) {
        self.stop().await;
    }
}
