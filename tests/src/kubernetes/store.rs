//! The objects, one rising resourceVersion over all of them, and the history that watches replay.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use super::json_path::{self, text};
use super::resource::{Key, Resource};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) change: Change,
    pub(crate) before: Option<Arc<Value>>,
    /// The object after the write; for a deletion the last state with the newer resourceVersion.
    pub(crate) after: Arc<Value>,
}

/// How many writes are kept for watches to replay. Each holds a whole object (about 20 KB in memory), and a thousand Jobs
/// write about 20,000 in their lives; a watch that is this far behind gets 410, as it would from a real server's cache.
const HISTORY_EVENTS: usize = 6_000;

/// The resourceVersion of an empty cluster; what is older cannot be watched.
const FIRST_VERSION: u64 = 1_000;

/// The state of the cluster.
pub(crate) struct Store {
    version: u64,
    compacted: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Event>,
    owned: HashMap<String, BTreeSet<Key>>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            version: FIRST_VERSION,
            compacted: FIRST_VERSION,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            owned: HashMap::new(),
        }
    }
}

impl Store {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Watches and exact lists from before this fail.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects of a resource in the order of their keys, of one namespace or of all.
    pub(crate) fn list<'a>(
        &'a self,
        resource: Resource,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + 'a {
        let first = Key::new(resource, namespace.unwrap_or_default(), "");
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.resource == resource && namespace.is_none_or(|wanted| key.namespace == wanted))
    }

    /// The keys of the objects that name `uid` as an owner.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Key> {
        self.owned.get(uid).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Adds an object.
    pub(crate) fn insert(&mut self, key: Key, value: Value) -> Event {
        self.write(key, Change::Added, None, value)
    }

    /// Replaces an object; nothing happens when nothing changes.
    pub(crate) fn replace(&mut self, key: &Key, mut value: Value) -> Option<Event> {
        let before = self.objects.get(key)?.clone();
        json_path::set(&mut value, &["metadata", "resourceVersion"], before["metadata"]["resourceVersion"].clone());
        if value == *before {
            return None;
        }
        Some(self.write(key.clone(), Change::Modified, Some(before), value))
    }

    /// Removes an object. The event carries its last state with a newer resourceVersion.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Event> {
        let before = self.objects.get(key)?.clone();
        let last = (*before).clone();
        Some(self.write(key.clone(), Change::Deleted, Some(before), last))
    }

    fn write(&mut self, key: Key, change: Change, before: Option<Arc<Value>>, mut value: Value) -> Event {
        self.version += 1;
        json_path::set(&mut value, &["metadata", "resourceVersion"], json!(self.version.to_string()));
        let after = Arc::new(value);
        if let Some(before) = &before {
            self.forget_owners(&key, before);
        }
        if change == Change::Deleted {
            self.objects.remove(&key);
        } else {
            self.remember_owners(&key, &after);
            self.objects.insert(key.clone(), after.clone());
        }
        let event = Event { version: self.version, key, change, before, after };
        self.history.push_back(event.clone());
        if self.history.len() > HISTORY_EVENTS
            && let Some(dropped) = self.history.pop_front()
        {
            self.compacted = dropped.version;
        }
        event
    }

    fn remember_owners(&mut self, key: &Key, object: &Value) {
        for owner in json_path::list(object, "/metadata/ownerReferences") {
            self.owned.entry(text(owner, "/uid").to_owned()).or_default().insert(key.clone());
        }
    }

    fn forget_owners(&mut self, key: &Key, object: &Value) {
        for owner in json_path::list(object, "/metadata/ownerReferences") {
            let uid = text(owner, "/uid");
            if let Some(keys) = self.owned.get_mut(uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.owned.remove(uid);
                }
            }
        }
    }

    /// The writes after `version`, oldest first.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = &Event> {
        let from = self.history.partition_point(|event| event.version <= version);
        self.history.range(from..)
    }

    /// The objects as they were at `version` (not before the compaction).
    pub(crate) fn at(&self, version: u64, resource: Resource, namespace: Option<&str>) -> BTreeMap<Key, Arc<Value>> {
        let mut found: BTreeMap<_, _> =
            self.list(resource, namespace).map(|(key, object)| (key.clone(), object.clone())).collect();
        let undone: Vec<_> = self.since(version).filter(|event| event.key.resource == resource).collect();
        for event in undone.into_iter().rev() {
            if namespace.is_some_and(|wanted| event.key.namespace != wanted) {
                continue;
            }
            match &event.before {
                Some(before) => found.insert(event.key.clone(), before.clone()),
                None => found.remove(&event.key),
            };
        }
        found
    }

    /// Forgets the history: what watches from before now gets 410.
    pub(crate) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.version;
    }
}
