//! What is dialled, with real sockets: who listens there sees whether somebody came.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use chrono::Utc;
use futures::stream;
use webhooks::delivery;
use webhooks::post::{Answer, Lookup, Message, Outcome, Poster};
use webhooks::signature::Secret;
use webhooks::{Allowed, Authorities};

use crate::receiver::Receiver;
use crate::site::{Site, loopback, pace};

const DEADLINE: Duration = Duration::from_secs(3);

/// Counts who comes.
pub(crate) async fn listener(address: &str, port: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind((address, port)).await.unwrap();
    let (port, came) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counting = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (port, came)
}

pub(crate) async fn post(poster: &Poster, url: &str) -> Answer {
    let secrets = [Secret::random().unwrap()];
    poster.post(Message { url, id: "evt_1", body: "{}", secrets: &secrets }, Utc::now()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_is_not_dialled_whatever_it_said_before() {
    // One address is allowed, the other is not; both are this machine.
    let (port, outside) = listener("127.0.0.2", 0).await;
    let (_, inside) = listener("127.0.0.1", port).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    // It names the allowed one at first, then both, and then the forbidden ones alone.
    let rebinding: Lookup = Arc::new(move |name| {
        assert_eq!(name, "rebinding.example");
        let answers: &[&str] = match counting.fetch_add(1, Ordering::SeqCst) {
            0 => &["127.0.0.2"],
            1 => &["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.2", "169.254.169.254"],
            _ => &["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1"],
        };
        let answers: Vec<IpAddr> = answers.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(answers) })
    });
    let poster = Poster::with_lookup(Allowed::parse("127.0.0.2").unwrap(), &Authorities::default(), DEADLINE, rebinding).unwrap();
    let url = format!("https://rebinding.example:{port}/hook");
    // The listener knows no TLS: what counts is who is dialled.
    assert_eq!(post(&poster, &url).await.outcome, Outcome::Unreachable);
    assert_eq!(post(&poster, &url).await.outcome, Outcome::Unreachable);
    let dialled = outside.load(Ordering::SeqCst);
    assert!(dialled >= 2, "the allowed address was dialled {dialled} times");
    let refused = post(&poster, &url).await;
    assert_eq!(refused.outcome, Outcome::Forbidden, "{refused:?}");
    assert!(!refused.excerpt.contains("127.0.0"), "it tells nothing of the network: {refused:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 3, "each try asks once, and dials what it was told");
    assert_eq!((inside.load(Ordering::SeqCst), outside.load(Ordering::SeqCst)), (0, dialled));
    // This machine's own resolver, too.
    let system = Poster::new(Allowed::default(), &Authorities::default(), DEADLINE).unwrap();
    for host in ["localhost", "LOCALHOST"] {
        assert_eq!(post(&system, &format!("https://{host}:{port}/")).await.outcome, Outcome::Forbidden, "{host}");
    }
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "[::1]", "0"] {
        assert_eq!(post(&system, &format!("https://{host}:{port}/")).await.outcome, Outcome::Forbidden, "{host}");
    }
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_an_endless_answer_ends() {
    let (port, inside) = listener("127.0.0.1", 0).await;
    let location = format!("http://127.0.0.1:{port}/");
    let redirecting = Receiver::new(move |_| {
        let location = location.clone();
        async move { Response::builder().status(307).header("location", location).body(Body::empty()).unwrap() }
    })
    .await;
    let poster = Poster::new(loopback(), &Authorities::default(), DEADLINE).unwrap();
    let answer = post(&poster, &redirecting.url).await;
    assert_eq!((answer.outcome, answer.status), (Outcome::Refused, Some(307)));
    assert_eq!(inside.load(Ordering::SeqCst), 0);
    let endless = Receiver::new(|_| async {
        let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 65_536]));
        Response::new(Body::from_stream(chunks))
    })
    .await;
    let stalling =
        Receiver::new(|_| async { Response::new(Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>())) }).await;
    for receiver in [endless, stalling] {
        let begun = Instant::now();
        let answer = post(&poster, &receiver.url).await;
        assert_eq!((answer.outcome, answer.status), (Outcome::Accepted, Some(200)));
        assert!(answer.excerpt.len() <= 300 && begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    }
    let silent = Receiver::new(|_| std::future::pending()).await;
    let begun = Instant::now();
    assert_eq!(post(&poster, &silent.url).await.outcome, Outcome::TimedOut);
    assert!(begun.elapsed() < DEADLINE + Duration::from_secs(1));
}

pub(crate) async fn an_endpoint_whose_address_is_forbidden_is_told_why(url: String) {
    let site = Site::new(&url).await;
    let (port, inside) = listener("127.0.0.1", 0).await;
    // Stored while it was allowed, or by hand.
    let endpoint = site.endpoint(&format!("https://localhost:{port}/CANARY"), None, &[]).await;
    site.replica_with(Poster::new(Allowed::default(), &Authorities::default(), DEADLINE).unwrap(), pace()).await;
    let id = delivery::id(&endpoint.id, &site.happens("bot.done", "a").await);
    let delivery = site.until(&id, |delivery| delivery.attempt_count > 0).await;
    assert_eq!(delivery.attempts[0].result, "forbidden_address");
    assert!(delivery.attempts[0].answer.contains("WEBHOOK_ALLOW") && !delivery.attempts[0].answer.contains("CANARY"));
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}
