//! Deliveries to real HTTPS servers whose certificates are of a private authority.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use webhooks::delivery::{self, Delivery, State};
use webhooks::post::{Lookup, Outcome, Poster};
use webhooks::{Allowed, Authorities, Trust};

use crate::authority::{Authority, EXPIRED, NOT_YET, NOW, Shown, TlsListener};
use crate::guard::{listener, post};
use crate::receiver::{Receiver, status};
use crate::site::{Site, loopback, pace, secret_of};

const DEADLINE: Duration = Duration::from_secs(5);

/// Every name has these addresses.
fn all_names_at(addresses: &'static [&str]) -> Lookup {
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Arc::new(move |_| {
        let addresses = addresses.clone();
        Box::pin(async move { Ok(addresses) })
    })
}

fn poster(authorities: &Authorities) -> Poster {
    Poster::with_lookup(loopback(), authorities, DEADLINE, all_names_at(&["127.0.0.1"])).unwrap()
}

async fn server(shown: Shown) -> Receiver {
    let listener = TlsListener::new("127.0.0.1", shown).await;
    Receiver::on(listener, "https://hooks.test", |_| async { status(204) })
}

/// What came of an event for one endpoint, tried with this client alone.
async fn tried(site: &Site, url: &str, client: Poster) -> Delivery {
    let endpoint = site.endpoint(url, Some("a"), &[]).await;
    let replica = site.replica_with(client, pace()).await;
    let id = delivery::id(&endpoint.id, &site.happens("bot.done", "a").await);
    let delivery = site.until(&id, |delivery| delivery.attempt_count > 0).await;
    replica.abort();
    delivery
}

pub(crate) async fn a_receiver_of_a_private_authority_gets_events_once_the_authority_is_named(url: String) {
    let (site, authority) = (Site::new(&url).await, Authority::new());
    let receiver = server(authority.certificate("DNS:hooks.test", NOW)).await;
    let endpoint = site.endpoint(&receiver.url, Some("a"), &[]).await;
    let replica = site.replica_with(poster(&Authorities::default()), pace()).await;
    let id = delivery::id(&endpoint.id, &site.happens("bot.done", "a").await);
    let refused = site.until(&id, |delivery| delivery.attempt_count > 0).await;
    let attempt = &refused.attempts[0];
    assert_eq!((attempt.result.as_str(), attempt.status), ("untrusted_tls", None));
    assert!(
        attempt.answer.contains("authority that is not trusted") && attempt.answer.contains("WEBHOOK_CA_FILE"),
        "{attempt:?}"
    );
    assert!(!attempt.answer.contains("hooks.test") && !attempt.answer.contains("CANARY"), "{attempt:?}");
    assert!(receiver.received().is_empty(), "nothing was said to who is not believed");
    replica.abort();
    // Another replica, started with the authority, takes it up.
    site.replica_with(poster(&authority.authorities()), pace()).await;
    let delivered = site.until_over(&id).await;
    assert_eq!((delivered.state, delivered.attempts.last().unwrap().result.as_str()), (State::Delivered, "accepted"));
    assert!(receiver.received()[0].is_signed_by(&secret_of(&endpoint)));
}

pub(crate) async fn a_certificate_that_does_not_hold_is_refused_and_the_log_says_why(url: String) {
    let authority = Authority::new();
    let shown = [
        ("is for another name", authority.certificate("DNS:other.test,IP:127.0.0.1", NOW)),
        ("has expired", authority.certificate("DNS:hooks.test", EXPIRED)),
        ("is not valid yet", authority.certificate("DNS:hooks.test", NOT_YET)),
        ("authority that is not trusted", Authority::named("another").certificate("DNS:hooks.test", NOW)),
        ("not signed by whom it names", Authority::new().certificate("DNS:hooks.test", NOW)),
    ];
    let site = Site::new(&url).await;
    for (why, shown) in shown {
        let receiver = server(shown).await;
        let delivery = tried(&site, &receiver.url, poster(&authority.authorities())).await;
        let attempt = &delivery.attempts[0];
        assert!(attempt.result == "untrusted_tls" && attempt.answer.contains(why), "{why}: {attempt:?}");
        assert_eq!(delivery.state, State::Pending, "a renewed certificate mends it: {why}");
        assert!(receiver.received().is_empty(), "{why}");
    }
    let plain = Receiver::that_accepts().await;
    let delivery = tried(&site, &plain.url.replace("http:", "https:"), poster(&authority.authorities())).await;
    assert!(delivery.attempts[0].answer.contains("does not speak TLS"), "{:?}", delivery.attempts[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_changes_nothing_of_what_may_be_dialled() {
    let authority = Authority::new();
    let outside = TlsListener::new("127.0.0.2", authority.certificate("DNS:hooks.test", NOW)).await;
    let outside = Receiver::on(outside, "https://hooks.test", |_| async { status(204) });
    let port = outside.url.split(':').nth(2).unwrap().split('/').next().unwrap().parse().unwrap();
    let (_, inside) = listener("127.0.0.1", port).await;
    let client = |allowed: &str, addresses| {
        let allowed = Allowed::parse(allowed).unwrap();
        Poster::with_lookup(allowed, &authority.authorities(), DEADLINE, all_names_at(addresses)).unwrap()
    };
    // Of two addresses the allowed one is dialled, and the name is what its certificate is held against.
    let answer = post(&client("127.0.0.2", &["127.0.0.1", "::1", "127.0.0.2"]), &outside.url).await;
    assert_eq!((answer.outcome, outside.received().len()), (Outcome::Accepted, 1), "{answer:?}");
    let renamed = outside.url.replace("hooks.test", "other.test");
    let answer = post(&client("127.0.0.2", &["127.0.0.2"]), &renamed).await;
    assert!(answer.outcome == Outcome::Untrusted && answer.excerpt.contains("another name"), "{answer:?}");
    // A host that is allowed by name may do without TLS; with it, it is believed no sooner.
    let answer = post(&client("other.test", &["127.0.0.2"]), &renamed).await;
    assert_eq!(answer.outcome, Outcome::Untrusted, "{answer:?}");
    let forbidden: [&'static [&str]; 3] = [&["127.0.0.1"], &["::ffff:127.0.0.1"], &["169.254.169.254", "10.0.0.1"]];
    for addresses in forbidden {
        let answer = post(&client("127.0.0.2", addresses), &outside.url).await;
        assert_eq!(answer.outcome, Outcome::Forbidden, "{addresses:?}: {answer:?}");
    }
    assert_eq!((inside.load(Ordering::SeqCst), outside.received().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_an_address_shows_a_certificate_for_it() {
    let authority = Authority::new();
    let client = Poster::new(loopback(), &authority.authorities(), DEADLINE).unwrap();
    for (names, expected) in [("IP:127.0.0.1", Outcome::Accepted), ("DNS:hooks.test", Outcome::Untrusted)] {
        let receiver = server(authority.certificate(names, NOW)).await;
        let url = receiver.url.replace("hooks.test", "127.0.0.1");
        assert_eq!(post(&client, &url).await.outcome, expected, "{names}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_authorities_that_changes_counts_at_once_and_a_spoiled_one_changes_nothing() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let receiver = server(authority.certificate("DNS:hooks.test", NOW)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    // As a volume of a ConfigMap does it: another file takes its place.
    let put = |pem: &[u8]| {
        let new = folder.path().join("new");
        std::fs::write(&new, pem).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    let [ours, others] = [&authority, &other].map(|authority| std::fs::read(authority.file()).unwrap());
    let named = || Trust::file("WEBHOOK_CA_FILE", &file);
    assert!(named().unwrap_err().contains("No such file"));
    put(&others);
    let client = Poster::with_lookup(loopback(), named().unwrap(), DEADLINE, all_names_at(&["127.0.0.1"])).unwrap();
    let becomes = async |outcome: Outcome, why: &str| assert_eq!(post(&client, &receiver.url).await.outcome, outcome, "{why}");
    becomes(Outcome::Untrusted, "another authority").await;
    put(&[others.clone(), ours.clone()].concat());
    becomes(Outcome::Accepted, "both").await;
    for spoiled in [&b""[..], b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
        put(spoiled);
        assert!(named().is_err());
        becomes(Outcome::Accepted, "what cannot be used changes nothing").await;
    }
    std::fs::remove_file(&file).unwrap();
    becomes(Outcome::Accepted, "nor does what is not there").await;
    put(&others);
    becomes(Outcome::Untrusted, "taken back, and no connection of before goes on").await;
    // Written over in its place.
    std::fs::write(&file, [&ours[..], b"\n"].concat()).unwrap();
    becomes(Outcome::Accepted, "rewritten").await;
}
