//! A webhook's life with a receiver that is really there, and the deliverer of a controller beside the pages.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::access::{Access, Role};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt as _;
use tokio::sync::Notify;
use webhooks::engine::Parts;
use webhooks::metrics::Metrics;
use webhooks::post::Poster;
use webhooks::signature::{Secret, is_signed};
use webhooks::{Allowed, Authorities, Pace, Webhooks};

use crate::chromium::Tab;
use crate::site::Site;

const SOON: Duration = Duration::from_secs(30);

/// What came: id, instant, signature, body.
type Came = (String, i64, String, Bytes);

/// Answers 410 to the first request, and 204 to all after it.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Came>>>);

impl Receiver {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn came(&self) -> Vec<Came> {
        self.0.lock().unwrap().clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let mut came = receiver.0.lock().unwrap();
    came.push((text("webhook-id"), text("webhook-timestamp").parse().unwrap(), text("webhook-signature"), body));
    if came.len() == 1 { StatusCode::GONE } else { StatusCode::NO_CONTENT }
}

fn loopback() -> Allowed {
    Allowed::parse("127.0.0.0/8").unwrap()
}

/// What a controller does beside its pages.
fn deliver(site: &Site) {
    let hints = Arc::new(Notify::new());
    let poster = Poster::new(loopback(), &Authorities::default(), Duration::from_secs(10)).unwrap();
    let pace = Pace { poll: Duration::from_millis(500), ..Pace::default() };
    let (store, metrics, alerts) = (Arc::clone(&site.store), Metrics::default(), Vec::new());
    let engine =
        Webhooks::new(Parts { store, poster, pace, metrics, alerts, safe: webhooks::Safe::default(), hints: Arc::clone(&hints) });
    tokio::spawn(engine.run(site.stop.clone()));
    let store = Arc::clone(&site.store);
    tokio::spawn(async move {
        let mut changes = store.watch().await.unwrap();
        while changes.next().await.is_some() {
            hints.notify_one();
        }
    });
}

/// Waits until the page says something, opened anew as often as need be where it does not follow by itself.
async fn until_says(tab: &Tab, address: &str, wanted: &str) {
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        tab.open(address).await.unwrap();
        let says = tab.says().await.unwrap();
        if says.contains(wanted) {
            return;
        }
        assert!(tokio::time::Instant::now() < give_up, "no {wanted}: {says}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refused_is_sent_again_once_its_endpoint_is_enabled_again() {
    let site = Site::start_with(Access::Keys, |settings| settings.webhook_allow = loopback()).await;
    deliver(&site);
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "operations", Role::Admin).await;
    tab.open(&site.url("/portal/webhooks")).await.unwrap();
    tab.fill("#url", &url).await.unwrap();
    tab.go("main form button").await.unwrap();
    let secret = Secret::parse(&tab.text("document.getElementById('secret').innerText").await.unwrap()).unwrap();
    tab.go("main a.button").await.unwrap();
    let page = tab.text("location.href.split('?')[0]").await.unwrap();
    assert_eq!(tab.eval("document.querySelector(\"a[href$='/enable']\") === null").await.unwrap(), true);
    tab.go("form[action$='/test'] button").await.unwrap();

    // It answers 410: the endpoint is switched off, and the page says by whom and what was tried.
    until_says(&tab, &page, "Disabled").await;
    let says = tab.says().await.unwrap();
    assert!(says.contains("410 Gone") && says.contains("HTTP 410") && says.contains("Failed"), "{says}");
    tab.go("a[href$='/enable']").await.unwrap();
    assert!(tab.says().await.unwrap().contains("Enable this webhook?"));
    tab.go("main form button").await.unwrap();
    let says = tab.says().await.unwrap();
    assert!(says.contains("Saved.") && says.contains("Active") && !says.contains("Disabled"), "{says}");

    // The same event, under the same id, by one press; the page follows without a reload.
    tab.go("form[action$='/replay'] button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("The event is sent once more"));
    tab.eval("window.isThere = true").await.unwrap();
    tab.wait("window.isThere === true && document.getElementById('deliveries').innerText.includes('HTTP 204')", SOON)
        .await
        .unwrap();
    assert!(tab.text("document.getElementById('deliveries').innerText").await.unwrap().contains("Delivered"));
    let came = receiver.came();
    assert_eq!((came.len(), &came[0].0, &came[0].3), (2, &came[1].0, &came[1].3), "the same event, twice");
    assert!(came.iter().all(|(id, at, signature, body)| is_signed(&secret, signature, id, *at, body)));
    tab.open(&site.url("/portal/audit")).await.unwrap();
    let says = tab.says().await.unwrap();
    for action in ["Webhook test", "Webhook change", "Webhook replay"] {
        assert!(says.contains(action), "{action}: {says}");
    }
}
