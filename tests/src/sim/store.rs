//! The store in memory: conditional atomic commits on versions that never repeat, as the port demands (it passes the adapters' own
//! conformance suite), seen by each actor through its weather.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bot_model::capacity::ledger::Ledger;
use bot_model::configuration::Naming;
use bot_model::ids::InstanceId;
use bot_model::invariants::{Violation, moves_forward};
use bot_model::lifecycle::Phase;
use bot_store::clock::simulated::true_now;
use bot_store::listing::{self, Listing};
use bot_store::protocol::InstanceRecord;
use bot_store::{
    Commit, DocumentKey, Hint, HintStream, InstanceQuery, MeetingQuery, Page, Precondition, Record, Store, StoreError,
    StoreErrorKind, Version, Write, WriteMode,
};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::sleep;

use super::actor::{Actor, Fate, Weather, on_its_way};
use super::plan::{between, draws};

/// The documents themselves.
pub struct Documents {
    naming: Naming,
    state: Mutex<State>,
    hints: broadcast::Sender<Hint>,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<String, Record>,
    revision: u64,
    violations: Vec<Violation>,
    moves: Vec<Move>,
}

/// An instance came into a phase.
#[derive(Debug, Clone)]
pub struct Move {
    /// By a clock that nobody in the system has.
    pub at: DateTime<Utc>,
    /// Which.
    pub id: InstanceId,
    /// Where it stands from now on.
    pub phase: Phase,
}

/// The store as one actor sees it.
#[derive(Clone)]
pub struct SimStore {
    documents: Arc<Documents>,
    weather: Arc<Weather>,
    actor: Arc<Actor>,
}

impl Documents {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { naming: Naming::default(), state: Mutex::default(), hints: broadcast::channel(256).0 })
    }

    /// As seen by `actor`.
    pub fn seen_by(self: &Arc<Self>, actor: &Arc<Actor>, weather: &Arc<Weather>) -> SimStore {
        SimStore { documents: Arc::clone(self), weather: Arc::clone(weather), actor: Arc::clone(actor) }
    }

    /// Every document, as it stands.
    pub fn all(&self) -> Vec<Record> {
        self.lock().documents.values().cloned().collect()
    }

    /// Every change of a phase, in the order of time.
    pub fn moves(&self) -> Vec<Move> {
        self.lock().moves.clone()
    }

    /// Entries of the ledger of places.
    pub fn held_places(&self) -> usize {
        let key = DocumentKey::Capacity("places".into()).path();
        self.lock().documents.get(&key).and_then(|record| Ledger::decode(&record.fields)).map_or(0, |ledger| ledger.holders.len())
    }

    /// Broken invariants of single steps.
    pub fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// Names and values.
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// The list of segments that an instance's document holds.
    pub fn frozen(&self, id: &InstanceId) -> Option<String> {
        let state = self.lock();
        let record = state.documents.get(&DocumentKey::Instance(id.clone()).path())?;
        InstanceRecord::from_record(record, &self.naming).ok()?.instance.facts.frozen.map(|frozen| frozen.sha256)
    }

    /// Applies all or none.
    pub fn apply(&self, writes: &[Write]) -> Commit {
        self.apply_of(writes, None)
    }

    /// The same, sent by an actor of the simulation.
    fn apply_of(&self, writes: &[Write], by: Option<&Actor>) -> Commit {
        let mut state = self.lock();
        if !writes.iter().all(|write| state.allows(write)) {
            return Commit::Conflict;
        }
        if let Some(actor) = by {
            writes.iter().for_each(|write| state.check_writer(write, actor, &self.naming));
        }
        let versions = writes.iter().map(|write| state.write(write, &self.naming)).collect();
        drop(state);
        for write in writes {
            let hint = match &write.key {
                DocumentKey::Meeting(path) => Hint::Meeting(path.clone()),
                DocumentKey::Instance(_) => Hint::Instances,
                DocumentKey::Outbox(_) => Hint::Outbox,
                _ => continue,
            };
            let _ = self.hints.send(hint);
        }
        Commit::Applied(versions)
    }

    fn page(&self, after: Option<&str>, limit: usize, wanted: impl Fn(&Record) -> bool) -> Page {
        let state = self.lock();
        let later =
            state.documents.iter().filter(|(path, record)| after.is_none_or(|after| path.as_str() > after) && wanted(record));
        let mut records: Vec<Record> = later.map(|(_, record)| record.clone()).take(limit + 1).collect();
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(|record| record.key.path());
        Page { records, next }
    }

    /// What a list has, in its order, by instant and path.
    fn listed(&self, listing: &Listing) -> Vec<((i64, String), Record)> {
        let state = self.lock();
        let placed = |record: &Record| Some((listing.place_of(record, &self.naming)?, record.key.path()));
        let mut found: Vec<_> =
            state.documents.values().filter_map(|record| placed(record).map(|place| (place, record.clone()))).collect();
        found.sort_by(|(one, _), (two, _)| one.cmp(two));
        if listing.is_newest_first {
            found.reverse();
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn allows(&self, write: &Write) -> bool {
        let found = self.documents.get(&write.key.path());
        match &write.precondition {
            Precondition::Absent => found.is_none(),
            Precondition::Exists => found.is_some(),
            Precondition::Unchanged(version) => found.is_some_and(|record| record.version == *version),
        }
    }

    fn write(&mut self, write: &Write, naming: &Naming) -> Version {
        self.revision += 1;
        let version = Version::from_adapter(self.revision.to_string());
        let path = write.key.path();
        let before = self.documents.get(&path).cloned();
        match &write.mode {
            WriteMode::Delete => drop(self.documents.remove(&path)),
            WriteMode::Merge(changes) => {
                let mut fields = before.as_ref().map(|record| record.fields.clone()).unwrap_or_default();
                for (name, value) in changes {
                    if value.is_null() {
                        fields.remove(name)
                    } else {
                        fields.insert(name.clone(), value.clone())
                    };
                }
                let record = Record { key: write.key.clone(), fields, version: version.clone() };
                self.check(before.as_ref(), &record, naming);
                self.documents.insert(path, record);
            }
        }
        version
    }

    /// I6: no run writes to its instance once another attempt, or another run of its attempt, owns it, or once it has ended.
    fn check_writer(&mut self, write: &Write, actor: &Actor, naming: &Naming) {
        let (Some((id, attempt)), DocumentKey::Instance(written)) = (&actor.run, &write.key) else { return };
        let before = self.documents.get(&write.key.path()).filter(|_| id == written);
        let before = before.and_then(|record| InstanceRecord::from_record(record, naming).ok());
        let Some(instance) = before.map(|record| record.instance) else { return };
        let owner = instance.facts.run.as_ref().filter(|run| run.attempt == *attempt && run.ended_at.is_none());
        let is_another_s = owner.is_some_and(|run| run.pod_uid != actor.name);
        if instance.facts.attempt != *attempt || is_another_s || instance.phase.is_terminal() {
            let what = format!(
                "{} of attempt {attempt} changed {id}, which is {} of attempt {} and run {owner:?}",
                actor.name, instance.phase, instance.facts.attempt
            );
            self.violations.push(Violation { id: "I6", what });
        }
    }

    /// I5 and I6 hold after every single step.
    fn check(&mut self, before: Option<&Record>, after: &Record, naming: &Naming) {
        let decoded = |record: &Record| InstanceRecord::from_record(record, naming).ok().map(|record| record.instance);
        let phase = before.and_then(decoded).map(|before| before.phase);
        if let Some(moved) = decoded(after).filter(|after| Some(after.phase) != phase) {
            self.moves.push(Move { at: true_now().unwrap_or_default(), id: moved.id, phase: moved.phase });
        }
        if let (Some(before), Some(after)) = (before.and_then(decoded), decoded(after))
            && let Err(violation) = moves_forward(&before, &after)
        {
            self.violations.push(violation);
        }
    }
}

fn failed(operation: &'static str, kind: StoreErrorKind) -> StoreError {
    StoreError { kind, operation, message: "as the plan says".into() }
}

impl SimStore {
    async fn call<T>(&self, operation: &'static str, work: impl FnOnce(&Documents) -> T) -> Result<T, StoreError> {
        match self.weather.fate(&self.actor).await {
            Fate::Refused => Err(failed(operation, StoreErrorKind::Unavailable)),
            fate => {
                let done = work(&self.documents);
                sleep(Duration::from_millis(between(1, 30))).await;
                let lost = if operation == "commit" { StoreErrorKind::Unknown } else { StoreErrorKind::Unavailable };
                if fate == Fate::AnswerLost { Err(failed(operation, lost)) } else { Ok(done) }
            }
        }
    }

    /// A write whose sender gives it up before it arrives.
    async fn late(&self, writes: Vec<Write>) -> StoreError {
        let (documents, actor) = (Arc::clone(&self.documents), Arc::clone(&self.actor));
        tokio::spawn(async move {
            sleep(on_its_way()).await;
            documents.apply_of(&writes, Some(&actor));
        });
        sleep(Duration::from_secs(between(1, 12))).await;
        failed("commit", StoreErrorKind::Unknown)
    }

    fn has_status(record: &Record, field: &str, statuses: &[String]) -> bool {
        record.fields.get(field).and_then(Value::as_str).is_some_and(|status| statuses.iter().any(|wanted| wanted == status))
    }
}

#[async_trait]
impl Store for SimStore {
    fn naming(&self) -> &Naming {
        &self.documents.naming
    }

    async fn read(&self, key: &DocumentKey) -> Result<Option<Record>, StoreError> {
        let path = key.path();
        self.call("read", move |documents| documents.lock().documents.get(&path).cloned()).await
    }

    async fn meetings(&self, query: &MeetingQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let field = self.documents.naming.meeting_status_field.clone();
        let wanted = move |record: &Record| {
            matches!(record.key, DocumentKey::Meeting(_))
                && match query {
                    MeetingQuery::WithStatus(statuses) => Self::has_status(record, &field, statuses),
                    MeetingQuery::StartingWithin { statuses, from, to } => {
                        let start = record.fields.get("start_time").and_then(Value::as_str);
                        let start = start.and_then(|text| text.parse::<DateTime<Utc>>().ok());
                        Self::has_status(record, &field, statuses) && start.is_some_and(|start| (*from..=*to).contains(&start))
                    }
                }
        };
        self.call("meetings", |documents| documents.page(after, limit, wanted)).await
    }

    async fn instances(&self, query: &InstanceQuery, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let InstanceQuery::WithStatus(statuses) = query;
        let field = self.documents.naming.instance_status_field.clone();
        let wanted =
            move |record: &Record| matches!(record.key, DocumentKey::Instance(_)) && Self::has_status(record, &field, statuses);
        self.call("instances", |documents| documents.page(after, limit, wanted)).await
    }

    async fn events(&self, id: &InstanceId) -> Result<Vec<Record>, StoreError> {
        let of = id.clone();
        let is_his = move |record: &Record| matches!(&record.key, DocumentKey::Event(id, _) if *id == of);
        self.call("events", |documents| documents.page(None, usize::MAX - 1, is_his).records).await
    }

    async fn list(&self, listing: &Listing, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let after = after.and_then(listing::of_cursor).map(|(micros, path)| (micros, path.to_owned()));
        self.call("list", |documents| {
            let mut found = documents.listed(listing);
            found.retain(|(place, _)| {
                after.as_ref().is_none_or(|after| if listing.is_newest_first { place < after } else { place > after })
            });
            let more = found.len() > limit;
            found.truncate(limit);
            let next = found.last().filter(|_| more).map(|((micros, path), _)| listing::cursor_after(*micros, path));
            Page { records: found.into_iter().map(|(_, record)| record).collect(), next }
        })
        .await
    }

    async fn count(&self, listing: &Listing) -> Result<u64, StoreError> {
        self.call("count", |documents| documents.listed(listing).len() as u64).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, StoreError> {
        if self.weather.is_late() {
            return Err(self.late(writes).await);
        }
        self.call("commit", |documents| documents.apply_of(&writes, Some(&self.actor))).await
    }

    async fn commit_each(&self, groups: Vec<Vec<Write>>) -> Vec<Result<Commit, StoreError>> {
        let mut answers = Vec::with_capacity(groups.len());
        for group in groups {
            answers.push(self.commit(group).await);
        }
        answers
    }

    async fn watch(&self) -> Result<HintStream, StoreError> {
        let receiver = self.call("watch", |documents| documents.hints.subscribe()).await?;
        let hints = futures::stream::unfold(receiver, |mut receiver| async {
            let hint = match receiver.recv().await {
                Ok(hint) => hint,
                Err(broadcast::error::RecvError::Lagged(_)) => Hint::Anything,
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((hint, receiver))
        });
        // A stream ends now and then, and everything until the next one opens goes unheard.
        Ok(hints.take_while(|_| async { !draws(20) }).boxed())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call("ping", |_| ()).await
    }
}
