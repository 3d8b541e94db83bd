//! What comes to a receiver, and what is written down of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bot_store::listing::Listed;
use bot_store::outbox::{CAPACITY_EXHAUSTED, Event};
use chrono::Utc;
use serde_json::{Value, json};
use webhooks::Pace;
use webhooks::delivery::{self, Delivery, State};
use webhooks::safe::{Kept, Safe};
use webhooks::schedule::Schedule;

use crate::receiver::{Receiver, status};
use crate::site::{Site, pace, secret_of};

pub(crate) async fn an_event_is_delivered_once_and_signed(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::that_accepts().await;
    let endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    site.replica(pace()).await;
    let id = site.happens("bot.done", "a").await;
    let received = receiver.until(1).await.remove(0);
    assert_eq!(received.id, id);
    assert!(received.is_signed_by(&secret_of(&endpoint)));
    assert!((Utc::now().timestamp() - received.timestamp).abs() < 30);
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!((&body["type"], &body["data"]["bot_id"]), (&json!("bot.done"), &json!("b")));
    assert!(body["timestamp"].as_str().unwrap().parse::<chrono::DateTime<Utc>>().is_ok());
    let delivery = site.until_over(&delivery::id(&endpoint.id, &id)).await;
    assert_eq!((delivery.state, delivery.attempt_count, delivery.attempts[0].status), (State::Delivered, 1, Some(204)));
    assert_eq!((site.count(Listed::Outbox).await, site.count(Listed::Pending).await), (0, 0));
    assert_eq!(receiver.received().len(), 1);
}

pub(crate) async fn an_endpoint_gets_its_organization_s_events_of_its_types_alone(url: String) {
    let site = Site::new(&url).await;
    let receivers = [Receiver::that_accepts().await, Receiver::that_accepts().await, Receiver::that_accepts().await];
    site.endpoint(&receivers[0].url, Some("a"), &["bot.failed"]).await;
    site.endpoint(&receivers[1].url, Some("b"), &[]).await;
    site.endpoint(&receivers[2].url, None, &[]).await;
    site.replica(pace()).await;
    let (done, failed) = (site.happens("bot.done", "a").await, site.happens("bot.failed", "a").await);
    let (other, own) = (site.happens("bot.failed", "b").await, site.happens("capacity.exhausted", "").await);
    receivers[2].until(4).await;
    receivers[1].until(1).await;
    receivers[0].until(1).await;
    let ids = |receiver: &Receiver| {
        let mut ids: Vec<String> = receiver.received().into_iter().map(|received| received.id).collect();
        ids.sort();
        ids
    };
    let mut all = vec![done, failed.clone(), other.clone(), own];
    all.sort();
    assert_eq!((ids(&receivers[0]), ids(&receivers[1]), ids(&receivers[2])), (vec![failed], vec![other], all));
}

pub(crate) async fn what_fails_is_tried_again_with_the_same_id_and_body_and_waits_as_long_as_is_wished(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::new(|n| async move {
        let mut response = status([500, 503, 200][n.min(2)]);
        if n == 1 {
            response.headers_mut().insert("retry-after", "1".parse().unwrap());
        }
        response
    })
    .await;
    let endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    site.replica(pace()).await;
    let id = site.happens("bot.done", "a").await;
    let received = receiver.until(3).await;
    assert!(received.iter().all(|one| one.id == id && one.body == received[0].body));
    assert!(received[2].at - received[1].at >= Duration::from_millis(950), "it was asked to wait");
    let delivery = site.until_over(&delivery::id(&endpoint.id, &id)).await;
    let log: Vec<_> = delivery.attempts.iter().map(|one| (one.status, one.result.as_str(), one.answer.as_str())).collect();
    let expected =
        [(Some(500), "refused", "answer 500"), (Some(503), "refused", "answer 503"), (Some(200), "accepted", "answer 200")];
    assert_eq!((log, delivery.state), (expected.to_vec(), State::Delivered));
    site.happens("bot.done", "a").await;
    receiver.until(4).await;
    // Noted after the try is written down.
    site.until_endpoint(&endpoint.id, |endpoint| endpoint.failing_since_at.is_none()).await;
}

pub(crate) async fn who_answers_410_is_switched_off_and_gets_nothing_more(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::new(|_| async { status(410) }).await;
    let endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    site.replica(pace()).await;
    let id = delivery::id(&endpoint.id, &site.happens("bot.done", "a").await);
    let delivery = site.until_over(&id).await;
    assert_eq!((delivery.state, delivery.reason.as_deref()), (State::Failed, Some("the receiver answered 410 Gone")));
    let give_up = Instant::now() + Duration::from_secs(10);
    while site.read_endpoint(&endpoint.id).await.is_enabled {
        assert!(Instant::now() < give_up, "it is still on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(site.read_endpoint(&endpoint.id).await.disabled_reason.as_deref(), Some("it answered 410 Gone"));
    site.happens("bot.done", "a").await;
    // What still was on its way to it is given up with a reason, too.
    let late = Delivery::new(&endpoint.id, &Event::new("bot.done", "a", Utc::now(), json!({})), Utc::now());
    let pending = delivery::Pending::new(&endpoint.id, Utc::now(), Utc::now());
    site.commit(vec![late.create(), pending.create(&late.id())]).await;
    let late = site.until_over(&late.id()).await;
    assert_eq!(late.reason.as_deref(), Some("its endpoint was deleted or switched off"));
    assert_eq!(receiver.received().len(), 1);
}

pub(crate) async fn both_secrets_sign_while_one_is_replaced(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::that_accepts().await;
    let mut endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    let old = secret_of(&endpoint);
    let found = webhooks::endpoint::read(site.store.as_ref(), &endpoint.id).await.unwrap().unwrap();
    let new = endpoint.rotate(&Safe::default(), Utc::now()).unwrap();
    site.commit(vec![endpoint.update(found.version)]).await;
    site.replica(pace()).await;
    site.happens("bot.done", "a").await;
    let received = receiver.until(1).await.remove(0);
    assert!(received.is_signed_by(&old) && received.is_signed_by(&new));
    assert_eq!(received.signature.split(' ').count(), 2);
}

pub(crate) async fn sealed_secrets_sign_and_where_the_key_is_lost_nothing_is_sent_until_it_is_back(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::that_accepts().await;
    let key = |of: &str| Safe::new(&[of.repeat(32).into()]).unwrap();
    let endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    let secret = secret_of(&endpoint);
    let stored = async || site.store.read(&endpoint.key()).await.unwrap().unwrap().fields["secrets"].to_string();
    assert!(stored().await.contains(&secret.reveal()), "without a key it lies there in clear");
    // It was there before the key.
    let replica = site.replica_keeping(key("a"), pace()).await;
    site.until_endpoint(&endpoint.id, |found| matches!(found.secrets[0].secret, Kept::Sealed(_))).await;
    let sealed = stored().await;
    assert!(!sealed.contains("whsec_") && sealed.contains("sealed:"), "{sealed}");
    site.happens("bot.done", "a").await;
    assert!(receiver.until(1).await[0].is_signed_by(&secret));
    replica.abort();

    let replica = site.replica_keeping(key("b"), pace()).await;
    let id = delivery::id(&endpoint.id, &site.happens("bot.done", "a").await);
    let tried = site.until(&id, |delivery| delivery.attempt_count > 0).await;
    assert!(tried.attempts[0].result == "unsigned" && tried.attempts[0].answer.contains("WEBHOOK_SECRETS_KEY"), "{tried:?}");
    assert_eq!(receiver.received().len(), 1);
    assert_eq!((stored().await, site.read_endpoint(&endpoint.id).await.failing_since_at), (sealed, None));
    replica.abort();

    let both = Safe::new(&["b", "a"].map(|of| of.repeat(32).into())).unwrap();
    site.replica_keeping(both, pace()).await;
    assert_eq!(site.until_over(&id).await.state, State::Delivered);
    assert!(receiver.until(2).await[1].is_signed_by(&secret));
    site.until_endpoint(&endpoint.id, |found| found.signing(&key("b"), Utc::now()).is_some()).await;
}

pub(crate) async fn what_was_given_up_is_replayed_under_the_same_id(url: String) {
    let site = Site::new(&url).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_well);
    let receiver = Receiver::new(move |_| {
        let code = if asked.load(Ordering::SeqCst) { 200 } else { 500 };
        async move { status(code) }
    })
    .await;
    let endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    // The first try, one more, and the last at the end of the time.
    let tried_for = Duration::from_millis(400);
    let schedule = Schedule { delays: vec![Duration::from_millis(4), Duration::from_secs(10)], tried_for };
    site.replica(Pace { schedule, ..pace() }).await;
    let id = delivery::id(&endpoint.id, &site.happens("bot.done", "a").await);
    let failed = site.until_over(&id).await;
    assert_eq!(failed.state, State::Failed, "{failed:?}");
    let tries = receiver.received().len();
    assert_eq!(usize::try_from(failed.attempt_count).unwrap(), tries);
    assert!((2..=3).contains(&tries), "{failed:?}");
    let record = site.store.read(&bot_store::DocumentKey::Delivery(id.clone())).await.unwrap().unwrap();
    let (found, version) = Delivery::of(&record).unwrap();
    is_well.store(true, Ordering::SeqCst);
    site.commit(found.replay(version, Utc::now()).unwrap()).await;
    let delivered = site.until_over(&id).await;
    assert_eq!(delivered.state, State::Delivered, "{delivered:?}");
    assert!(receiver.received().iter().all(|received| received.id == failed.event_id));
}

pub(crate) async fn an_event_is_delivered_whatever_its_writer_s_clock_says(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::that_accepts().await;
    site.endpoint(&receiver.url, None, &[]).await;
    site.replica(pace()).await;
    for days in [0, 3, -3] {
        // What was decided long ago and is committed now is behind everything that was told already.
        site.write(Event::new("bot.done", "", Utc::now() + chrono::TimeDelta::days(days), json!({}))).await;
    }
    receiver.until(3).await;
}

pub(crate) async fn an_event_that_is_told_once_a_period_is_delivered_once(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::that_accepts().await;
    site.endpoint(&receiver.url, None, &[]).await;
    site.replica(pace()).await;
    for _ in 0..3 {
        let alert = Event::new(CAPACITY_EXHAUSTED, "", Utc::now(), json!({"busy": 4})).once_per("noon");
        // Three replicas that saw the same at other moments.
        while !site.store.commit(vec![bot_store::outbox::write(alert.clone())]).await.unwrap().is_applied() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let last = site.happens("bot.done", "").await;
    let received = receiver.until(2).await;
    let mut ids: Vec<String> = received.into_iter().map(|one| one.id).collect();
    ids.sort();
    let mut expected = vec!["evt_capacity-exhausted_noon".to_owned(), last];
    expected.sort();
    assert_eq!(ids, expected);
    let give_up = Instant::now() + Duration::from_secs(10);
    while site.count(Listed::Outbox).await > 0 {
        assert!(Instant::now() < give_up, "it stays in the outbox");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(receiver.received().len(), 2);
}

pub(crate) async fn what_is_no_longer_kept_goes_and_the_rest_stays(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::that_accepts().await;
    let endpoint = site.endpoint(&receiver.url, None, &[]).await;
    let old = |days: i64| Utc::now() - chrono::TimeDelta::days(days);
    let mut kept = Delivery::new(&endpoint.id, &Event::new("bot.done", "", old(6), json!({})), old(6));
    let mut gone = Delivery::new(&endpoint.id, &Event::new("bot.done", "", old(8), json!({})), old(8));
    kept.end(None, old(6));
    gone.end(None, old(8));
    site.commit(vec![kept.create(), gone.create()]).await;
    site.replica(pace()).await;
    let give_up = Instant::now() + Duration::from_secs(10);
    while site.count(Listed::Deliveries).await != 1 {
        assert!(Instant::now() < give_up, "{:?}", site.deliveries().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(site.deliveries().await[0].event_id, kept.event_id);
}

pub(crate) async fn the_way_from_event_to_receiver_is_short(url: String) {
    let site = Site::new(&url).await;
    let receiver = Receiver::that_accepts().await;
    site.endpoint(&receiver.url, None, &[]).await;
    site.replica(Pace::default()).await;
    site.happens("bot.done", "").await;
    receiver.until(1).await;
    let mut millis = Vec::new();
    for n in 1..=40 {
        let begun = Instant::now();
        site.happens("bot.done", "").await;
        let received = receiver.until(n + 1).await;
        millis.push((received[n].at - begun).as_secs_f64() * 1e3);
    }
    millis.sort_by(f64::total_cmp);
    let (p50, p95) = (millis[millis.len() / 2], millis[millis.len() * 95 / 100]);
    eprintln!("{}: event to receiver p50 {p50:.0} ms, p95 {p95:.0} ms", url.split(':').next().unwrap_or_default());
    assert!(p50 < 1_000.0, "p50 {p50:.0} ms");
}
