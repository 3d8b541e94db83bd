//! A store in a temporary file, a fleet, and controllers over both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bot_model::configuration::Naming;
use bot_model::document::{BotInstance, Fields, Meeting, RecordingProgress};
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::lifecycle::{Phase, Step};
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_store::protocol::run::{Bind, Purpose, bind, renew};
use bot_store::protocol::settle::settle;
use bot_store::protocol::{Advanced, InstanceRecord, Note, advance};
use bot_store::{DocumentKey, Store, Write};
use chrono::Utc;
use controller::config::{Config, Needs, Pace};
use controller::discover::Look;
use controller::engine::Engine;
use serde_json::{Value, json};

use crate::fleet::Fleet;

/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    _folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) fleet: Arc<Fleet>,
}

/// The defaults, but for what a test cannot wait for.
pub(crate) fn pace() -> Pace {
    let settings = [("STORE_URL", "sqlite:x"), ("POLL_INTERVAL", "1"), ("REAP_INTERVAL_SECONDS", "1")];
    let lookup = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::read(Needs::Store, lookup).unwrap().pace
}

impl Site {
    pub(crate) async fn new(slots: usize) -> Self {
        Self::named(slots, Naming::default()).await
    }

    pub(crate) async fn named(slots: usize, naming: Naming) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = bot_store::connect::open(&url, naming).await.unwrap();
        Self { _folder: folder, store, fleet: Arc::new(Fleet::new(slots)) }
    }

    pub(crate) fn controller(&self, id: &str) -> Arc<Engine> {
        self.controller_with(id, pace())
    }

    pub(crate) fn controller_with(&self, id: &str, pace: Pace) -> Arc<Engine> {
        Engine::new(Arc::clone(&self.store), Arc::clone(&self.fleet) as _, id, pace)
    }

    /// Writes a scheduled meeting of an organisation; `extra` adds or overrides.
    pub(crate) async fn meeting(&self, path: &str, extra: Value) -> MeetingPath {
        let mut fields = Fields::new();
        fields.insert("meeting_url".into(), json!("https://meet.google.com/abc-defg-hij"));
        fields.insert("status".into(), json!("scheduled"));
        fields.insert("creator_organization_id".into(), json!("org"));
        fields.extend(extra.as_object().cloned().unwrap_or_default());
        let path = MeetingPath::parse(path).unwrap();
        let write = Write::create(DocumentKey::Meeting(path.clone()), fields);
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
        path
    }

    pub(crate) async fn edit(&self, path: &MeetingPath, changes: Value) {
        let write = Write::merge_existing(DocumentKey::Meeting(path.clone()), changes.as_object().unwrap().clone());
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
    }

    pub(crate) async fn delete(&self, path: &MeetingPath) {
        let record = self.store.read(&DocumentKey::Meeting(path.clone())).await.unwrap().unwrap();
        assert!(self.store.commit(vec![Write::delete(record.key, record.version)]).await.unwrap().is_applied());
    }

    /// Writes a `bot_instances` document directly, as a backend may.
    pub(crate) async fn queue(&self, id: &str, extra: Value) -> InstanceId {
        let mut fields = Fields::new();
        fields.insert("meeting_url".into(), json!("https://zoom.us/j/123456789"));
        fields.insert("status".into(), json!("queued"));
        fields.extend(extra.as_object().cloned().unwrap_or_default());
        let id = InstanceId::parse(id).unwrap();
        let write = Write::create(DocumentKey::Instance(id.clone()), fields);
        assert!(self.store.commit(vec![write]).await.unwrap().is_applied());
        id
    }

    pub(crate) async fn fields(&self, path: &MeetingPath) -> Fields {
        self.store.read(&DocumentKey::Meeting(path.clone())).await.unwrap().unwrap().fields
    }

    pub(crate) async fn record(&self, id: &InstanceId) -> InstanceRecord {
        InstanceRecord::read(self.store.as_ref(), id).await.unwrap().unwrap()
    }

    pub(crate) async fn link(&self, path: &MeetingPath) -> Option<InstanceId> {
        Meeting::link(&self.fields(path).await, self.store.naming())
    }

    /// The instance that serves a meeting.
    pub(crate) async fn bot(&self, path: &MeetingPath) -> BotInstance {
        self.record(&self.link(path).await.expect("linked")).await.instance
    }

    /// Looks for meetings and claims, as two loops would.
    pub(crate) async fn round(&self, controller: &Engine) {
        controller.discover(Look::Everything, Utc::now()).await.unwrap();
        controller.claim(Utc::now()).await.unwrap();
    }

    /// What a manager does when it begins.
    pub(crate) async fn binds(&self, id: &InstanceId) -> InstanceRecord {
        let attempt = self.record(id).await.instance.facts.attempt;
        match bind(self.store.as_ref(), id, (attempt, "run"), Purpose::Record, Utc::now()).await.unwrap() {
            Bind::Bound(record) => record,
            other => panic!("not bound: {other:?}"),
        }
    }

    /// What a manager does when it is in the call: `segments` are in the bucket.
    pub(crate) async fn records(&self, id: &InstanceId, segments: u64) {
        let record = self.binds(id).await;
        let record = self.step(&record, Step::Record).await;
        let progress = RecordingProgress { started_at: Utc::now(), ended_at: None, parts: 1, segments, bytes: 1 };
        renew(self.store.as_ref(), &record, Some(&progress), Utc::now()).await.unwrap();
    }

    /// What a manager does at the end.
    pub(crate) async fn finishes(&self, id: &InstanceId) {
        let record = self.record(id).await;
        let record = if record.instance.phase == Phase::Finalizing { record } else { self.step(&record, Step::Finalize).await };
        let outcome = Outcome::new(OutcomeKind::HostEnded);
        let done =
            settle(self.store.as_ref(), &record, Step::Complete, outcome, Vec::new(), Note::new("manager", "done"), Utc::now());
        assert!(matches!(done.await.unwrap(), Advanced::Applied(_)));
    }

    async fn step(&self, record: &InstanceRecord, step: Step) -> InstanceRecord {
        match advance(self.store.as_ref(), record, step, Note::new("manager", "step"), Utc::now(), |_| {}).await.unwrap() {
            Advanced::Applied(record) => record,
            other => panic!("{step:?}: {other:?}"),
        }
    }
}

/// Waits until `probe` answers.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The value of a metric's line that begins with `name`.
pub(crate) fn metric(controller: &Engine, name: &str) -> f64 {
    let text = controller.metrics.encode();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
