//! The DevTools protocol over two pipes: NUL-delimited JSON, answers matched by id, every call with a deadline.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

/// Events kept for a slow listener; more than the page can cause between two ticks.
const EVENT_BACKLOG: usize = 256;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CdpError {
    /// The pipe is closed: the browser has ended.
    #[error("the browser has closed the connection")]
    Closed,
    /// No answer in time.
    #[error("the browser did not answer {method} within {seconds} s")]
    Deadline {
        /// The method.
        method: &'static str,
        /// The deadline.
        seconds: u64,
    },
    /// The browser refused.
    #[error("the browser refused {method}: {message}")]
    Refused {
        /// The method.
        method: &'static str,
        /// What it said.
        message: String,
    },
    /// The answer lacks what it should hold.
    #[error("the browser's answer to {method} lacks {what}")]
    Incomplete {
        /// The method.
        method: &'static str,
        /// The missing field.
        what: &'static str,
    },
    /// The pipe could not be set up.
    #[error("cannot set up the browser's pipe: {0}")]
    Io(#[from] std::io::Error),
}

/// Something that the browser said unasked.
#[derive(Debug, Clone)]
pub struct CdpEvent {
    /// Such as `Inspector.targetCrashed`.
    pub method: String,
    /// The session that it belongs to, if any.
    pub session: Option<String>,
    /// Its parameters.
    pub params: Value,
}

type Answer = Result<Value, String>;
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// A connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct CdpPipe {
    outbox: mpsc::UnboundedSender<String>,
    pending: Pending,
    next_id: Arc<AtomicU64>,
    events: broadcast::Sender<CdpEvent>,
    closed: watch::Receiver<bool>,
}

#[derive(Deserialize)]
struct Incoming {
    id: Option<u64>,
    method: Option<String>,
    #[serde(rename = "sessionId")]
    session: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl CdpPipe {
    /// Speaks over the two ends that the browser's descriptors 3 (it reads) and 4 (it writes) lead to.
    pub fn connect(to_browser: OwnedFd, from_browser: OwnedFd) -> Result<Self, CdpError> {
        let sender = pipe::Sender::from_owned_fd(to_browser)?;
        let receiver = pipe::Receiver::from_owned_fd(from_browser)?;
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let (closing, closed) = watch::channel(false);
        let pending = Pending::default();
        tokio::spawn(write_all(sender, inbox));
        tokio::spawn(read_all(receiver, pending.clone(), events.clone(), closing));
        Ok(Self { outbox, pending, next_id: Arc::default(), events, closed })
    }

    /// Calls `method` in `session` (the browser itself when `None`).
    pub async fn call(
        &self,
        session: Option<&str>,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Result<Value, CdpError> {
        if *self.closed.borrow() {
            return Err(CdpError::Closed);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        lock(&self.pending).insert(id, answer);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        self.outbox.send(message.to_string()).map_err(|_| CdpError::Closed)?;
        let outcome = timeout(limit, answered).await;
        lock(&self.pending).remove(&id);
        match outcome {
            Err(_) => Err(CdpError::Deadline { method, seconds: limit.as_secs() }),
            Ok(Err(_)) => Err(CdpError::Closed),
            Ok(Ok(Err(message))) => Err(CdpError::Refused { method, message }),
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    /// Everything that the browser says unasked from now on.
    pub fn events(&self) -> broadcast::Receiver<CdpEvent> {
        self.events.subscribe()
    }

    /// True once the browser has closed the pipe.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.clone()
    }
}

async fn write_all(mut sender: pipe::Sender, mut inbox: mpsc::UnboundedReceiver<String>) {
    while let Some(message) = inbox.recv().await {
        let mut bytes = message.into_bytes();
        bytes.push(0);
        if sender.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read_all(receiver: pipe::Receiver, pending: Pending, events: broadcast::Sender<CdpEvent>, closing: watch::Sender<bool>) {
    let mut reader = BufReader::new(receiver);
    let mut buffer = Vec::new();
    while let Ok(read) = reader.read_until(0, &mut buffer).await {
        if read == 0 {
            break;
        }
        buffer.pop();
        if let Ok(incoming) = serde_json::from_slice::<Incoming>(&buffer) {
            deliver(incoming, &pending, &events);
        }
        buffer.clear();
    }
    closing.send_replace(true);
    lock(&pending).clear();
}

fn deliver(incoming: Incoming, pending: &Pending, events: &broadcast::Sender<CdpEvent>) {
    if let Some(id) = incoming.id {
        if let Some(waiting) = lock(pending).remove(&id) {
            let answer = incoming.error.map_or(Ok(incoming.result), |refusal| Err(refusal.message));
            let _ = waiting.send(answer);
        }
    } else if let Some(method) = incoming.method {
        let _ = events.send(CdpEvent { method, session: incoming.session, params: incoming.params });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
