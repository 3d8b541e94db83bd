//! Coming in without a key of ours: by a token of the issuer, and through a proxy that vouches for whoever it lets in.

use api::access::Access;
use serde_json::{Value, json};

use crate::chromium::Tab;
use crate::issuer::{IssuerSite, Signer};
use crate::site::Site;

async fn site(issuer: &IssuerSite) -> Site {
    let site = Site::start_with(Access::Keys, |settings| settings.oidc = issuer.settings()).await;
    site.populate().await;
    site
}

async fn enter(tab: &Tab, token: &str) {
    tab.fill("#key", token).await.unwrap();
    tab.go("main button").await.unwrap();
}

async fn foot(tab: &Tab) -> String {
    tab.text("document.querySelector('.foot').innerText").await.unwrap()
}

/// Has a bot leave, and says which page was the answer.
async fn leave(tab: &Tab, site: &Site) -> String {
    tab.open(&site.url("/portal/bots/weekly-planning/leave")).await.unwrap();
    tab.go("main form button").await.unwrap();
    tab.says().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_token_of_the_issuer_signs_in_with_it_and_may_what_its_claims_grant() {
    let (signer, stranger) = (Signer::elliptic("one"), Signer::elliptic("one"));
    let issuer = IssuerSite::start(&[&signer]).await;
    let site = site(&issuer).await;
    let browser = site.browser();
    let claims = |more: Value| {
        let mut claims = issuer.claims(&json!({"organizations": ["acme"], "email": "clara@x.example"}));
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let tab = browser.tab().await.unwrap();
    tab.open(&site.url("/portal/bots")).await.unwrap();
    let expired = claims(json!({"exp": chrono::Utc::now().timestamp() - 600}));
    for token in [stranger.sign(&claims(json!({}))), signer.sign(&expired), signer.sign(&claims(json!({"aud": "another"})))] {
        enter(&tab, &token).await;
        assert!(tab.says().await.unwrap().contains("unknown, revoked or expired"), "{}", tab.says().await.unwrap());
    }
    // Signed and of the issuer, with nothing that the settings grant anything for.
    enter(&tab, &signer.sign(&claims(json!({"groups": ["guests"]})))).await;
    assert_eq!(tab.text("location.pathname").await.unwrap(), "/portal/sign-in");
    assert!(!tab.text("document.getElementById('key-error').innerText").await.unwrap().is_empty());

    enter(&tab, &signer.sign(&claims(json!({})))).await;
    assert_eq!(tab.text("location.pathname").await.unwrap(), "/portal/bots", "{}", tab.says().await.unwrap());
    assert!(tab.says().await.unwrap().contains("Weekly planning"));
    assert!(foot(&tab).await.contains("clara@x.example (operator)"), "{}", foot(&tab).await);
    assert!(leave(&tab, &site).await.contains("The bot was asked to leave."));
    tab.open(&site.url("/portal/keys")).await.unwrap();
    assert!(tab.says().await.unwrap().contains("This key may not do that"));
    // Of another organization nothing is seen.
    let elsewhere = browser.tab().await.unwrap();
    elsewhere.open(&site.url("/portal/bots")).await.unwrap();
    enter(&elsewhere, &signer.sign(&claims(json!({"organizations": ["other"]})))).await;
    assert!(!elsewhere.says().await.unwrap().contains("Weekly planning"));
    let root = browser.tab().await.unwrap();
    root.open(&site.url("/portal/audit")).await.unwrap();
    enter(&root, &signer.sign(&claims(json!({"groups": ["root"], "sub": "u2", "email": "root@x.example"})))).await;
    let says = root.says().await.unwrap();
    assert!(says.contains("clara@x.example") && says.contains("Bot leave"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_proxy_nobody_signs_in_and_without_its_assertion_nobody_is_in() {
    let signer = Signer::elliptic("iap");
    let issuer = IssuerSite::start(&[&signer]).await;
    let site = site(&issuer).await;
    let browser = site.browser();
    let tab = browser.tab().await.unwrap();
    let through = async |assertion: Option<String>| {
        let headers = assertion.map_or_else(|| json!({}), |text| json!({"x-goog-iap-jwt-assertion": text}));
        tab.call("Network.setExtraHTTPHeaders", json!({"headers": headers})).await.unwrap();
    };
    let claims = |more: Value| {
        let own = json!({"aud": "/projects/1/x", "email": "clara@x.example", "organizations": ["acme"]});
        let mut claims = issuer.claims(&own);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    through(Some(signer.sign(&claims(json!({}))))).await;
    tab.open(&site.url("/")).await.unwrap();
    assert_eq!(tab.text("location.pathname").await.unwrap(), "/portal/", "nobody is asked for a key");
    assert!(tab.says().await.unwrap().contains("Weekly planning") && foot(&tab).await.contains("clara@x.example (operator)"));
    // Its forms work as with a key, and events come.
    assert!(leave(&tab, &site).await.contains("The bot was asked to leave."));
    tab.open(&site.url("/portal/bots/design-review")).await.unwrap();
    let live = "document.getElementById('pulse-text').textContent === 'Live'";
    tab.wait(live, std::time::Duration::from_secs(15)).await.unwrap();
    // Another person through the same browser has that person's rights, whatever its cookie says.
    through(Some(signer.sign(&claims(json!({"groups": [], "email": "ann@x.example", "sub": "u2"}))))).await;
    tab.open(&site.url("/portal/bots/design-review")).await.unwrap();
    assert!(foot(&tab).await.contains("ann@x.example (viewer)"), "{}", foot(&tab).await);
    assert_eq!(tab.eval("document.querySelector('[data-key=leave]') === null").await.unwrap(), true);
    // A token for the API is no assertion, and the cookie alone lets nobody in.
    for assertion in [Some(signer.sign(&claims(json!({"aud": "recorder"})))), None] {
        through(assertion).await;
        tab.open(&site.url("/portal/bots")).await.unwrap();
        assert_eq!(tab.text("location.pathname").await.unwrap(), "/portal/sign-in");
    }
}
