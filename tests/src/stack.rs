//! The whole product on one machine: controller, embedded store, local folder, with a practice room beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bot_model::configuration::Naming;
use bot_model::document::{BotInstance, Meeting, TimelineEvent};
use bot_model::ids::MeetingPath;
use bot_store::protocol::InstanceRecord;
use bot_store::{DocumentKey, Store};

use crate::process::{Process, address, binary, until};

/// A controller with its store and folders.
pub struct Stack {
    folder: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
    /// The controller's HTTP address, such as `http://127.0.0.1:41235`.
    pub http: String,
    controller: Option<Process>,
    store: Arc<dyn Store>,
}

impl Stack {
    /// Starts a controller over a new store in `folder`. `extra` adds to, or overrides, its environment.
    pub async fn start(folder: &Path, practice_origin: Option<&str>, extra: &[(&str, &str)]) -> Result<Self> {
        Self::start_as(binary("controller")?, folder, practice_origin, extra).await
    }

    /// The same with another program for the controller.
    pub async fn start_as(
        program: PathBuf,
        folder: &Path,
        practice_origin: Option<&str>,
        extra: &[(&str, &str)],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder.join("recordings"))?;
        let store_url = format!("sqlite:{}", folder.join("store.sqlite").display());
        let mut environment = vec![
            ("STORE_URL".to_owned(), store_url.clone()),
            ("RECORDINGS_URL".into(), format!("file://{}", folder.join("recordings").display())),
            ("LAUNCHER".into(), "process".into()),
            // The suites' own load is none of a bot's.
            ("MACHINE_ADMISSION".into(), "off".into()),
            ("RUNS_DIR".into(), folder.join("runs").display().to_string()),
            ("HTTP_LISTEN".into(), "127.0.0.1:0".into()),
            ("HTTP_PORT_FILE".into(), folder.join("controller.port").display().to_string()),
            ("POLL_INTERVAL".into(), "1".into()),
            ("CONTROLLER_ID".into(), "stack".into()),
        ];
        environment.extend(practice_origin.map(|origin| ("PRACTICE_ROOM_ORIGIN".to_owned(), origin.to_owned())));
        environment.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let store = bot_store::connect::open(&store_url, Naming::default()).await?;
        let mut stack = Self { folder: folder.to_owned(), program, environment, http: String::new(), controller: None, store };
        stack.start_controller().await?;
        Ok(stack)
    }

    /// Starts the controller (again).
    pub async fn start_controller(&mut self) -> Result<()> {
        let port_file = self.folder.join("controller.port");
        let _ = std::fs::remove_file(&port_file);
        let mut command = self.command()?;
        command.arg("run");
        let mut controller = Process::start(command, &self.folder.join("controller.log"))?;
        self.http = format!("http://{}", address(&port_file, &mut controller).await?);
        self.controller = Some(controller);
        Ok(())
    }

    /// The running controller.
    pub fn controller(&mut self) -> Result<&mut Process> {
        self.controller.as_mut().context("the controller is not running")
    }

    /// The controller's binary with this stack's environment.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Schedules a meeting now, as a user would, and answers with the document's path.
    pub fn schedule(&self, meeting_url: &str, bot_name: &str) -> Result<MeetingPath> {
        let output = self.command()?.args(["schedule", meeting_url, "--at", "now", "--name", bot_name]).output()?;
        anyhow::ensure!(output.status.success(), "schedule failed: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let path =
            text.split_whitespace().find_map(|word| MeetingPath::parse(word).filter(|path| path.collection_id() == "meetings"));
        path.with_context(|| format!("schedule printed no meeting path: {text}"))
    }

    /// Cancels a meeting, as a user would.
    pub fn cancel(&self, meeting: &MeetingPath) -> Result<()> {
        let output = self.command()?.args(["cancel", meeting.as_str()]).output()?;
        anyhow::ensure!(output.status.success(), "cancel failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Where store, logs and recordings lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The store, for looking at what the processes wrote.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Where the files of a recording lie.
    pub fn recording_folder(&self, instance: &BotInstance) -> Result<PathBuf> {
        let path = instance.facts.gcs_path.as_ref().context("the instance has no path")?;
        Ok(self.folder.join("recordings").join(path.as_str()))
    }

    /// The instance that serves a meeting, once there is one.
    pub async fn instance_of(&self, meeting: &MeetingPath) -> Result<Option<BotInstance>> {
        let Some(record) = self.store.read(&DocumentKey::Meeting(meeting.clone())).await? else { return Ok(None) };
        let Some(id) = Meeting::link(&record.fields, self.store.naming()) else { return Ok(None) };
        Ok(InstanceRecord::read(self.store(), &id).await?.map(|record| record.instance))
    }

    /// Waits for an instance that `accept`s.
    pub async fn wait_for(
        &self,
        what: &str,
        meeting: &MeetingPath,
        limit: Duration,
        accept: impl Fn(&BotInstance) -> bool,
    ) -> Result<BotInstance> {
        let found =
            until(what, limit, || async { Ok(self.instance_of(meeting).await?.filter(|instance| accept(instance))) }).await;
        found.with_context(|| format!("in {}", self.folder.display()))
    }

    /// The timeline of an instance.
    pub async fn timeline(&self, instance: &BotInstance) -> Result<Vec<TimelineEvent>> {
        let events = self.store.events(&instance.id).await?;
        events.into_iter().map(|event| Ok(serde_json::from_value(event.fields.into())?)).collect()
    }
}
