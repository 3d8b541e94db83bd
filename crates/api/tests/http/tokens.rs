//! Tokens of an issuer: every way to be let in, and to be refused.

use std::sync::atomic::Ordering;

use chrono::Utc;
use data_encoding::BASE64URL_NOPAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::issuer::{IssuerSite, Signer};
use crate::site::{Site, at, bot, instance};

pub(crate) async fn a_token_counts_by_its_issuer_s_signature_and_claims(url: String) {
    let (rsa, elliptic, stranger) = (Signer::rsa("one"), Signer::elliptic("two"), Signer::rsa("one"));
    let issuer = IssuerSite::start(&[&rsa, &elliptic]).await;
    let site = Site::with_settings(&url, |settings| settings.oidc = issuer.settings()).await;
    for (id, organization) in [("own", "a"), ("other", "b")] {
        site.put(instance(id), bot(organization, "queued", &at(0))).await;
    }
    let asks = async |token: &str, path: &str| site.get(path, token).await;
    for signer in [&rsa, &elliptic] {
        let token = signer.sign(&issuer.claims(&json!({})));
        assert_eq!(asks(&token, "/v1/bots/own").await.status, 200, "{}", signer.id);
        assert_eq!(asks(&token, "/v1/bots/other").await.problem(), "not-found");
        assert_eq!(asks(&token, "/v1/audit").await.problem(), "forbidden", "an operator is no admin");
        let root = signer.sign(&issuer.claims(&json!({"groups": ["root"]})));
        assert_eq!((asks(&root, "/v1/bots/other").await.status, asks(&root, "/v1/audit").await.status), (200, 200));
    }
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1, "the keys are asked for once");
    let now = Utc::now().timestamp();
    for (what, more) in [
        ("expired", json!({"exp": now - 61})),
        ("not valid yet", json!({"nbf": now + 90})),
        ("another audience", json!({"aud": "other"})),
        ("another issuer", json!({"iss": "https://evil.example"})),
        ("no end", json!({"exp": null})),
        ("no subject", json!({"sub": null})),
    ] {
        assert_eq!(asks(&rsa.sign(&issuer.claims(&more)), "/v1/bots").await.problem(), "unauthorized", "{what}");
    }
    for (what, more) in [("within the leeway", json!({"exp": now - 30})), ("one of several", json!({"aud": ["x", "recorder"]}))] {
        assert_eq!(asks(&rsa.sign(&issuer.claims(&more)), "/v1/bots").await.status, 200, "{what}");
    }
    for more in [json!({"groups": []}), json!({"groups": ["admin"]}), json!({"organizations": []})] {
        assert_eq!(asks(&rsa.sign(&issuer.claims(&more)), "/v1/bots").await.problem(), "forbidden", "{more}");
    }
    let good = issuer.claims(&json!({}));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let [_, body, signature] = parts(&rsa.sign(&good)).try_into().unwrap();
    let unsigned = format!("{}.{body}.", BASE64.encode(br#"{"alg":"none","kid":"one"}"#));
    // The public key as a shared secret: the oldest trick.
    let confused = encode(
        &Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) },
        &good,
        &EncodingKey::from_secret(rsa.public["n"].as_str().unwrap().as_bytes()),
    )
    .unwrap();
    let forged = format!(
        "{}.{}.{signature}",
        parts(&rsa.sign(&good))[0],
        BASE64.encode(good.to_string().replace("ops", "root").as_bytes())
    );
    for (what, token) in [
        ("unsigned", unsigned),
        ("a shared secret", confused),
        ("another claim", forged),
        ("another's key", stranger.sign(&good)),
        ("the key of the other kind", rsa.sign_as("two", &good)),
        ("no token", "a.b.c".to_owned()),
        ("endless", "x".repeat(20_000)),
    ] {
        assert_eq!(asks(&token, "/v1/bots").await.problem(), "unauthorized", "{what}");
    }
}

pub(crate) async fn a_new_key_of_the_issuer_is_found_and_a_storm_of_unknown_ones_asks_it_nothing(url: String) {
    let (old, new) = (Signer::rsa("old"), Signer::elliptic("new"));
    let issuer = IssuerSite::start(&[&old]).await;
    let site = Site::with_settings(&url, |settings| settings.oidc = issuer.settings()).await;
    // Asked for before there is a key: the next look comes after a while, and finds it.
    *issuer.keys.lock().unwrap() = vec![new.public.clone()];
    let token = new.sign(&issuer.claims(&json!({})));
    assert_eq!(site.get("/v1/bots", &token).await.status, 200);
    for id in 0..20 {
        let unknown = old.sign_as(&format!("unknown-{id}"), &issuer.claims(&json!({})));
        assert_eq!(site.get("/v1/bots", &unknown).await.problem(), "unauthorized");
    }
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1, "the issuer was not asked for each");
}

pub(crate) async fn the_proxy_s_assertion_counts_and_no_other_page_can_use_it(url: String) {
    let signer = Signer::elliptic("iap");
    let issuer = IssuerSite::start(&[&signer]).await;
    let site = Site::with_settings(&url, |settings| settings.oidc = issuer.settings()).await;
    site.put(instance("b"), bot("a", "recording", &at(0))).await;
    let claims = issuer.claims(&json!({"aud": "/projects/1/x", "groups": null, "email": "ann@x.example"}));
    let assertion = signer.sign(&claims);
    let ask = |method: &str, path: &str| site.ask(method, path, "").header("x-goog-iap-jwt-assertion", &assertion);
    assert_eq!(Site::send(ask("GET", "/v1/bots/b")).await.status, 200);
    let wrong = signer.sign(&issuer.claims(&json!({})));
    let request = site.ask("GET", "/v1/bots/b", "").header("x-goog-iap-jwt-assertion", &wrong);
    assert_eq!(Site::send(request).await.problem(), "unauthorized", "a token for the API is no assertion of the proxy");
    // The proxy's cookie goes along with what any page sends.
    let elsewhere = Site::send(ask("POST", "/v1/bots/b/leave").header("origin", "https://evil.example")).await;
    assert_eq!((elsewhere.problem(), elsewhere.body["detail"].as_str().unwrap().contains("another page")), ("forbidden", true));
    let own = Site::send(ask("POST", "/v1/bots/b/leave").header("origin", &site.origin)).await;
    assert!(own.body["detail"].as_str().unwrap().contains("role"), "a viewer does not ask bots to leave: {own:?}");
    assert_eq!(Site::send(site.ask("GET", "/v1/bots/b", "")).await.problem(), "unauthorized");
}
