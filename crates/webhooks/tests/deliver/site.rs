//! A store with deliverers on it, at a pace for tests.

use std::sync::Arc;
use std::time::Duration;

use bot_model::configuration::Naming;
use bot_store::listing::{Listed, Listing};
use bot_store::outbox::{self, Event};
use bot_store::{DocumentKey, Store, Write};
use chrono::Utc;
use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use webhooks::alert::Alert;
use webhooks::delivery::{Delivery, State};
use webhooks::endpoint::{self, Endpoint};
use webhooks::engine::Parts;
use webhooks::metrics::Metrics;
use webhooks::post::Poster;
use webhooks::schedule::Schedule;
use webhooks::signature::Secret;
use webhooks::{Allowed, Authorities, Pace, Safe, Webhooks};

pub(crate) struct Site {
    pub(crate) store: Arc<dyn Store>,
    stop: CancellationToken,
    _guard: DropGuard,
}

/// Like in life, but in seconds.
pub(crate) fn pace() -> Pace {
    let millis = Duration::from_millis;
    Pace {
        schedule: Schedule { delays: vec![millis(100), millis(300)], tried_for: Duration::from_secs(3_600) },
        poll: millis(500),
        deadline: millis(1_000),
        claim: millis(2_500),
        tidy: millis(200),
        ..Pace::default()
    }
}

pub(crate) fn loopback() -> Allowed {
    Allowed::parse("127.0.0.0/8").unwrap()
}

/// The secret of an endpoint that lies in clear.
pub(crate) fn secret_of(endpoint: &Endpoint) -> Secret {
    endpoint.signing(&Safe::default(), Utc::now()).unwrap().remove(0)
}

impl Site {
    pub(crate) async fn new(url: &str) -> Self {
        let store = bot_store::connect::open(url, Naming::default()).await.unwrap();
        let stop = CancellationToken::new();
        Self { store, stop: stop.clone(), _guard: stop.drop_guard() }
    }

    /// One replica, with hints as the controller has them. Aborted, it is as dead as a killed process: nothing is kept in memory.
    pub(crate) async fn replica(&self, pace: Pace) -> JoinHandle<()> {
        let poster = Poster::new(loopback(), &Authorities::default(), pace.deadline).unwrap();
        self.replica_with(poster, pace).await
    }

    pub(crate) async fn replica_with(&self, poster: Poster, pace: Pace) -> JoinHandle<()> {
        self.replica_of(poster, pace, Vec::new()).await
    }

    pub(crate) async fn replica_of(&self, poster: Poster, pace: Pace, alerts: Vec<Alert>) -> JoinHandle<()> {
        self.begin(poster, pace, alerts, Safe::default()).await
    }

    /// One that has the keys of secrets.
    pub(crate) async fn replica_keeping(&self, safe: Safe, pace: Pace) -> JoinHandle<()> {
        let poster = Poster::new(loopback(), &Authorities::default(), pace.deadline).unwrap();
        self.begin(poster, pace, Vec::new(), safe).await
    }

    async fn begin(&self, poster: Poster, pace: Pace, alerts: Vec<Alert>, safe: Safe) -> JoinHandle<()> {
        let hints = Arc::new(Notify::new());
        let mut stream = self.store.watch().await.unwrap();
        let parts = Parts {
            store: Arc::clone(&self.store),
            poster,
            pace,
            metrics: Metrics::default(),
            alerts,
            safe,
            hints: Arc::clone(&hints),
        };
        let (webhooks, stop) = (Webhooks::new(parts), self.stop.clone());
        tokio::spawn(async move {
            let told = async {
                while stream.next().await.is_some() {
                    hints.notify_one();
                }
            };
            tokio::select! {
                () = webhooks.run(stop) => {}
                () = async { told.await; std::future::pending().await } => {}
            }
        })
    }

    pub(crate) async fn endpoint(&self, url: &str, organization: Option<&str>, types: &[&str]) -> Endpoint {
        let mut endpoint = Endpoint::new(url.to_owned(), organization.map(str::to_owned), "test", Utc::now()).unwrap();
        endpoint.event_types = types.iter().map(|name| (*name).to_owned()).collect();
        assert!(self.store.commit(vec![endpoint.create()]).await.unwrap().is_applied());
        endpoint
    }

    pub(crate) async fn read_endpoint(&self, id: &str) -> Endpoint {
        endpoint::read(self.store.as_ref(), id).await.unwrap().unwrap().endpoint
    }

    /// Waits until an endpoint is as wanted.
    pub(crate) async fn until_endpoint(&self, id: &str, wanted: impl Fn(&Endpoint) -> bool) -> Endpoint {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let endpoint = self.read_endpoint(id).await;
            if wanted(&endpoint) {
                return endpoint;
            }
            assert!(tokio::time::Instant::now() < give_up, "not in time: {:?}", endpoint.failing_since_at);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Something that happened; its id.
    pub(crate) async fn happens(&self, event_type: &str, organization: &str) -> String {
        let event = Event::new(event_type, organization, Utc::now(), json!({"bot_id": "b", "phase": "done"}));
        let id = event.id.clone();
        self.write(event).await;
        id
    }

    pub(crate) async fn write(&self, event: Event) {
        assert!(self.store.commit(vec![outbox::write(event)]).await.unwrap().is_applied());
    }

    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        let page = self.store.list(&Listing::oldest(Listed::Deliveries), None, 1_000).await.unwrap();
        page.records.iter().map(|record| Delivery::of(record).unwrap().0).collect()
    }

    pub(crate) async fn count(&self, kind: Listed) -> u64 {
        self.store.count(&Listing::oldest(kind)).await.unwrap()
    }

    /// Waits until a delivery is as wanted.
    pub(crate) async fn until(&self, id: &str, wanted: impl Fn(&Delivery) -> bool) -> Delivery {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.store.read(&DocumentKey::Delivery(id.to_owned())).await.unwrap();
            let found = found.as_ref().and_then(Delivery::of).map(|(delivery, _)| delivery);
            match found {
                Some(delivery) if wanted(&delivery) => return delivery,
                other => assert!(tokio::time::Instant::now() < give_up, "not in time: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn until_over(&self, id: &str) -> Delivery {
        self.until(id, |delivery| delivery.state != State::Pending).await
    }

    pub(crate) async fn commit(&self, writes: Vec<Write>) {
        assert!(self.store.commit(writes).await.unwrap().is_applied());
    }
}
