//! Several replicas, dead ones, and receivers that are slow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bot_store::listing::Listed;
use webhooks::Pace;
use webhooks::delivery;

use crate::receiver::{Receiver, status};
use crate::site::{Site, pace};

pub(crate) async fn two_replicas_lose_nothing_and_double_nothing(url: String) {
    const EVENTS: usize = 100;
    let site = Site::new(&url).await;
    // Every tenth is refused once.
    let receiver = Receiver::new(|n| async move { status(if n % 10 == 3 { 503 } else { 200 }) }).await;
    site.endpoint(&receiver.url, None, &[]).await;
    let replicas = [site.replica(pace()).await, site.replica(pace()).await];
    let mut ids = Vec::new();
    for _ in 0..EVENTS {
        ids.push(site.happens("bot.done", "a").await);
    }
    let give_up = Instant::now() + Duration::from_secs(30);
    while site.count(Listed::Outbox).await + site.count(Listed::Pending).await > 0 {
        assert!(Instant::now() < give_up, "{} left", site.count(Listed::Pending).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut counts: HashMap<String, u32> = HashMap::new();
    for received in receiver.received() {
        *counts.entry(received.id).or_default() += 1;
    }
    assert!(ids.iter().all(|id| counts.contains_key(id)), "lost");
    let deliveries = site.deliveries().await;
    let tries: u32 = deliveries.iter().map(|delivery| delivery.attempt_count).sum();
    let doubled = counts.values().sum::<u32>() - tries;
    eprintln!("{EVENTS} events by two replicas: {tries} tries written down, {doubled} more came");
    assert_eq!((deliveries.len(), doubled), (EVENTS, 0));
    replicas.iter().for_each(tokio::task::JoinHandle::abort);
}

pub(crate) async fn who_dies_between_delivery_and_record_is_followed_by_another_under_the_same_id(url: String) {
    let site = Site::new(&url).await;
    let answered = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&answered);
    let receiver = Receiver::new(move |n| {
        let gate = Arc::clone(&gate);
        async move {
            if n == 0 {
                let _ = gate.acquire().await;
            }
            status(200)
        }
    })
    .await;
    let endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    let patient = Pace { deadline: Duration::from_secs(2), ..pace() };
    let first = site.replica(patient.clone()).await;
    let id = site.happens("bot.done", "a").await;
    receiver.until(1).await;
    // It has been delivered, and nobody will write it down.
    first.abort();
    let _ = first.await;
    answered.add_permits(1);
    site.replica(patient).await;
    let received = receiver.until(2).await;
    assert_eq!((&received[0].id, &received[1].id), (&id, &id));
    assert_eq!(received[0].body, received[1].body);
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_millis(1_500), "not before the claim has run out: {waited:?}");
    let delivery = site.until_over(&delivery::id(&endpoint.id, &id)).await;
    assert_eq!(delivery.attempt_count, 1, "the try of the dead one is in nobody's log");
}

pub(crate) async fn a_receiver_that_never_answers_delays_nobody_else(url: String) {
    const EVENTS: usize = 40;
    let site = Site::new(&url).await;
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&under_way), Arc::clone(&most));
    let dead = Receiver::new(move |_| {
        let (under_way, most) = (Arc::clone(&counted.0), Arc::clone(&counted.1));
        async move {
            let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(900)).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            std::future::pending().await
        }
    })
    .await;
    let quick = Receiver::that_accepts().await;
    site.endpoint(&dead.url, None, &[]).await;
    site.endpoint(&quick.url, None, &[]).await;
    site.replica(pace()).await;
    let begun = Instant::now();
    let writing = async {
        for _ in 0..EVENTS {
            site.happens("bot.done", "a").await;
        }
    };
    writing.await;
    let written = begun.elapsed();
    quick.until(EVENTS).await;
    let behind = begun.elapsed() - written;
    assert!(behind < Duration::from_secs(2), "the quick one got the last event {behind:?} after it happened");
    dead.until(5).await;
    assert!(most.load(Ordering::SeqCst) <= pace().at_once, "{} at once", most.load(Ordering::SeqCst));
    assert!(site.count(Listed::Pending).await > 0, "what it did not accept is kept");
}
