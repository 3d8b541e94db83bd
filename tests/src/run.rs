//! One run without a controller: the suite itself claims the instance and starts meeting-bot and manager, so that each can be
//! signalled and killed alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bot_model::configuration::Naming;
use bot_model::document::Fields;
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::schedule::StartWindow;
use bot_store::protocol::claim::{Claimer, claim_all, relaunch};
use bot_store::protocol::enqueue::{Enqueued, enqueue};
use bot_store::protocol::{InstanceRecord, claim};
use bot_store::{DocumentKey, Store, Write};
use chrono::Utc;
use serde_json::json;

use crate::process::{Process, address, binary, until};

/// A store, a bucket and an instance, with the processes of its present run.
pub struct Bench {
    /// Everything of the bench lies here.
    pub folder: PathBuf,
    /// The instance.
    pub id: InstanceId,
    store: Arc<dyn Store>,
    recordings_url: String,
    practice_origin: String,
}

/// The two processes of a run.
pub struct Run {
    /// The manager.
    pub manager: Process,
    /// The meeting-bot; `None` for a finalize run.
    pub bot: Option<Process>,
}

fn claimer() -> Claimer {
    Claimer { controller_id: "bench".into(), ttl: Duration::from_secs(600) }
}

impl Bench {
    /// A store in `folder` with one meeting, claimed and ready to be run.
    pub async fn new(folder: &Path, practice_origin: &str, meeting_url: &str, recordings_url: Option<&str>) -> Result<Self> {
        let store =
            bot_store::connect::open(&format!("sqlite:{}", folder.join("store.sqlite").display()), Naming::default()).await?;
        let meeting = DocumentKey::Meeting(MeetingPath::parse("meetings/bench").context("a path")?);
        let mut fields = Fields::new();
        fields.insert("meeting_url".into(), json!(meeting_url));
        fields.insert("status".into(), json!("scheduled"));
        fields.insert("bot_name".into(), json!("Recorder"));
        store.commit(vec![Write::create(meeting.clone(), fields)]).await?;
        let record = store.read(&meeting).await?.context("the meeting")?;
        let Enqueued::Created(id) = enqueue(store.as_ref(), &record, &StartWindow::default(), Utc::now()).await? else {
            bail!("the meeting was not enqueued")
        };
        let record = InstanceRecord::read(store.as_ref(), &id).await?.context("the instance")?;
        let claimed = claim_all(store.as_ref(), vec![record], &claimer(), Utc::now()).await.remove(0)?;
        claimed.context("the instance was not claimed")?;
        let recordings_url =
            recordings_url.map_or_else(|| format!("file://{}", folder.join("recordings").display()), str::to_owned);
        Ok(Self { folder: folder.to_owned(), id, store, recordings_url, practice_origin: practice_origin.to_owned() })
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The instance as it stands.
    pub async fn instance(&self) -> Result<InstanceRecord> {
        InstanceRecord::read(self.store(), &self.id).await?.context("the instance is gone")
    }

    /// Waits for an instance that `accept`s.
    pub async fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        accept: impl Fn(&InstanceRecord) -> bool,
    ) -> Result<InstanceRecord> {
        until(what, limit, || async { Ok(Some(self.instance().await?).filter(|record| accept(record))) }).await
    }

    /// Decides on another attempt, as a controller does that has evidence of the old run's end.
    pub async fn relaunch(&self) -> Result<()> {
        let record = self.instance().await?;
        let claimed: Option<claim::Claimed> = relaunch(self.store(), &record, &claimer(), "the run ended", Utc::now()).await?;
        claimed.map(|_| ()).context("not relaunched")
    }

    /// Starts a run that records.
    pub async fn start(&self, run_id: &str) -> Result<Run> {
        let scratch = self.folder.join(run_id);
        std::fs::create_dir_all(&scratch)?;
        let port_file = self.folder.join(format!("{run_id}.port"));
        let mut command = Command::new(binary("meeting-bot")?);
        command.arg("serve").env("MEETING_BOT_LISTEN", "127.0.0.1:0").env("MEETING_BOT_PORT_FILE", &port_file);
        command.env("PRACTICE_ROOM_ORIGIN", &self.practice_origin);
        let mut bot = Process::start(command, &self.folder.join(format!("{run_id}-bot.log")))?;
        let bot_url = format!("http://{}", address(&port_file, &mut bot).await?);
        Ok(Run { manager: self.start_beside(run_id, &bot_url).await?, bot: Some(bot) })
    }

    /// Starts the manager of a run that records, beside a meeting-bot that is there already.
    pub async fn start_beside(&self, run_id: &str, bot_url: &str) -> Result<Process> {
        let mut command = self.manager("record", run_id).await?;
        command.env("MEETING_BOT_API_URL", bot_url);
        Process::start(command, &self.folder.join(format!("{run_id}-manager.log")))
    }

    /// Starts a run that only finalizes.
    pub async fn start_finalize(&self, run_id: &str) -> Result<Run> {
        let command = self.manager("finalize", run_id).await?;
        let manager = Process::start(command, &self.folder.join(format!("{run_id}-manager.log")))?;
        Ok(Run { manager, bot: None })
    }

    async fn manager(&self, verb: &str, run_id: &str) -> Result<Command> {
        let attempt = self.instance().await?.instance.facts.attempt;
        let mut command = Command::new(binary("manager")?);
        command.arg(verb).env("BOT_INSTANCE_ID", self.id.as_str()).env("ATTEMPT", attempt.to_string()).env("RUN_ID", run_id);
        command.env("STORE_URL", format!("sqlite:{}", self.folder.join("store.sqlite").display()));
        command.env("RECORDINGS_URL", &self.recordings_url).env("SCRATCH_DIR", self.folder.join(run_id));
        Ok(command)
    }
}
