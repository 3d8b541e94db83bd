//! Watches: newline-separated events on a chunked body, replayed from a resourceVersion.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures::stream;
use serde_json::{Value, json};

use super::failure::{Cause, Failure};
use super::listing::parse_version;
use super::request::RequestInfo;
use super::resource::Resource;
use super::selector::Selector;
use super::shared::{Shared, WatchCut};
use super::store::{Change, Event};
use super::world::World;

/// A watch that asks for no end gets one anyway (a real server draws 30 to 60 minutes).
const DEFAULT_TIMEOUT_SECONDS: u32 = 1_800;
/// Seconds between bookmarks (recorded: about 60).
const BOOKMARK_SECONDS: u32 = 60;
/// A last bookmark comes so many seconds before the end (recorded: about 2), and not before that many.
const LAST_BOOKMARK_SECONDS: u32 = 2;

/// A watch that was granted.
pub(crate) struct Watch {
    resource: Resource,
    namespace: Option<String>,
    selector: Selector,
    /// Events up to here were sent.
    last: u64,
    first: Vec<Value>,
    ends_after: Duration,
    bookmarks: Option<(Duration, Duration)>,
    /// An ERROR ends the stream at once.
    is_over: bool,
}

impl World {
    /// Grants a watch, with the events it starts with.
    pub(crate) fn api_watch(&self, request: &RequestInfo, resource: Resource) -> Result<Watch, Failure> {
        let selector = Selector::parse(resource, request.parameter("labelSelector"), request.parameter("fieldSelector"))?;
        let wants_initial = request.parameter("sendInitialEvents") == "true";
        if wants_initial && request.parameter("resourceVersionMatch") != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            let cause = Cause::forbidden("resourceVersionMatch", why);
            return Err(Failure::invalid_options("ListOptions", cause));
        }
        let asked = request.parameter("resourceVersion");
        let version = if asked.is_empty() { 0 } else { parse_version(asked)? };
        let timeout = request.parameter("timeoutSeconds").parse().unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let second = self.timing.request_second;
        let last_bookmark = timeout.saturating_sub(LAST_BOOKMARK_SECONDS).max(LAST_BOOKMARK_SECONDS);
        let mut watch = Watch {
            resource,
            namespace: request.namespace.clone(),
            selector,
            last: version,
            first: Vec::new(),
            ends_after: second * timeout,
            bookmarks: (request.parameter("allowWatchBookmarks") == "true")
                .then_some((second * BOOKMARK_SECONDS, second * last_bookmark)),
            is_over: false,
        };
        self.begin(&mut watch, version, wants_initial);
        Ok(watch)
    }

    fn begin(&self, watch: &mut Watch, version: u64, wants_initial: bool) {
        if version == 0 || wants_initial {
            watch.last = self.store.version();
            let objects = self.store.list(watch.resource, watch.namespace.as_deref());
            let chosen = objects.filter(|(_, object)| watch.selector.matches(object));
            watch.first = chosen.map(|(_, object)| json!({"type": "ADDED", "object": **object})).collect();
            if wants_initial {
                let mut mark = bookmark(watch.resource, watch.last);
                mark["object"]["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                watch.first.push(mark);
            }
        } else if version < self.store.compacted() {
            let message = format!("too old resource version: {version} ({})", self.store.compacted());
            watch.first = vec![json!({"type": "ERROR", "object": Failure::too_old(message).body()})];
            watch.is_over = true;
        }
    }
}

impl Watch {
    /// The events after the last ones, as lines; with `None` the history no longer reaches back.
    fn next_lines(&mut self, world: &World) -> Vec<Value> {
        if self.last < world.store.compacted() && world.store.version() > self.last {
            let message = format!("too old resource version: {} ({})", self.last, world.store.compacted());
            self.is_over = true;
            return vec![json!({"type": "ERROR", "object": Failure::too_old(message).body()})];
        }
        let lines = world.store.since(self.last).filter_map(|event| self.line(event)).collect();
        self.last = self.last.max(world.store.version());
        lines
    }

    fn line(&self, event: &Event) -> Option<Value> {
        if event.key.resource != self.resource
            || self.namespace.as_ref().is_some_and(|namespace| *namespace != event.key.namespace)
        {
            return None;
        }
        let was_chosen = event.before.as_ref().is_some_and(|before| self.selector.matches(before));
        let is_chosen = event.change != Change::Deleted && self.selector.matches(&event.after);
        match (was_chosen, is_chosen) {
            (false, true) => Some(json!({"type": "ADDED", "object": *event.after})),
            (true, true) => Some(json!({"type": "MODIFIED", "object": *event.after})),
            // What leaves the selector is DELETED, in its last state that matched and with the new version.
            (true, false) => {
                let mut last = event.before.as_deref().cloned()?;
                last["metadata"]["resourceVersion"] = json!(event.version.to_string());
                Some(json!({"type": "DELETED", "object": last}))
            }
            (false, false) => None,
        }
    }

    /// The stream of events.
    pub(crate) fn into_body(self, shared: Arc<Shared>) -> Body {
        let now = Instant::now();
        let stream = WatchStream {
            ends_at: now + self.ends_after,
            next_bookmark: self.bookmarks.map(|(every, last)| now + every.min(last)),
            started: now,
            versions: shared.versions(),
            cuts: shared.watch_cuts(),
            shared,
            watch: self,
        };
        Body::from_stream(stream::unfold(stream, |mut stream| async move {
            let chunk = stream.next_chunk().await?;
            Some((chunk, stream))
        }))
    }
}

struct WatchStream {
    watch: Watch,
    shared: Arc<Shared>,
    versions: tokio::sync::watch::Receiver<u64>,
    cuts: tokio::sync::broadcast::Receiver<WatchCut>,
    started: Instant,
    ends_at: Instant,
    next_bookmark: Option<Instant>,
}

type Chunk = Result<Bytes, std::io::Error>;

impl WatchStream {
    async fn next_chunk(&mut self) -> Option<Chunk> {
        loop {
            if !self.watch.first.is_empty() {
                return Some(Ok(lines(&std::mem::take(&mut self.watch.first))));
            }
            if self.watch.is_over || Instant::now() >= self.ends_at {
                return None;
            }
            self.versions.borrow_and_update();
            let events = self.shared.read(|world| self.watch.next_lines(world));
            if !events.is_empty() {
                return Some(Ok(lines(&events)));
            }
            if let Some(mark) = self.due_bookmark() {
                return Some(Ok(lines(&[mark])));
            }
            let wakes_at = self.next_bookmark.unwrap_or(self.ends_at).min(self.ends_at);
            tokio::select! {
                changed = self.versions.changed() => if changed.is_err() { return None },
                cut = self.cuts.recv() => match cut {
                    Ok(cut) if cut.resource.is_none_or(|resource| resource == self.watch.resource) => {
                        return cut.is_abrupt.then(|| Err(std::io::Error::other("cut on demand")));
                    }
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(wakes_at.into()) => {}
            }
        }
    }

    fn due_bookmark(&mut self) -> Option<Value> {
        let (every, last) = self.watch.bookmarks?;
        let due = self.next_bookmark.filter(|at| *at <= Instant::now())?;
        let last_at = self.started + last;
        self.next_bookmark = if due >= last_at { None } else { Some((due + every).min(last_at)) };
        Some(bookmark(self.watch.resource, self.watch.last))
    }
}

fn lines(events: &[Value]) -> Bytes {
    let mut text = String::new();
    for event in events {
        text.push_str(&event.to_string());
        text.push('\n');
    }
    Bytes::from(text)
}

/// A bookmark's object is hollow: a Job's template has `containers: null` (recorded), which decoders must take.
fn bookmark(resource: Resource, version: u64) -> Value {
    let mut object = json!({
        "kind": resource.kind(), "apiVersion": resource.api_version(), "metadata": {"resourceVersion": version.to_string()},
    });
    match resource {
        Resource::Jobs => {
            object["spec"] = json!({"template": {"metadata": {}, "spec": {"containers": null}}});
            object["status"] = json!({});
        }
        Resource::Pods => {
            object["spec"] = json!({"containers": null});
            object["status"] = json!({});
        }
        Resource::Events | Resource::Nodes | Resource::PodDisruptionBudgets => {}
    }
    json!({"type": "BOOKMARK", "object": object})
}
