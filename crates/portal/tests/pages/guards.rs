//! Who may do what, and what must not happen.

use api::access::{Access, Role};
use serde_json::json;

use crate::looks::PAGES;
use crate::site::{EVIL, Site, ago};

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_no_button_and_is_refused_by_address_and_by_form() {
    let site = Site::start(Access::Keys).await;
    site.populate().await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "reader", Role::Viewer).await;
    for (name, path) in PAGES {
        tab.open(&site.url(path)).await.unwrap();
        let buttons = tab.text("[...document.querySelectorAll('main form[method=post] button, main .grave, main [data-key=retry], a.go')].map((one) => one.innerText).join()").await.unwrap();
        assert!(buttons.is_empty() || name == "settings", "{name}: {buttons}");
    }
    tab.open(&site.url("/portal/bots/weekly-planning/leave")).await.unwrap();
    assert!(tab.says().await.unwrap().contains("needs the role operator"));
    tab.open(&site.url("/portal/settings")).await.unwrap();
    for path in [
        "/portal/bots/weekly-planning/leave",
        "/portal/bots/lobby/retry",
        "/portal/meetings/m1/cancel",
        "/portal/schedule",
        "/portal/webhooks",
        "/portal/limits/acme",
        "/portal/limits/acme/default",
    ] {
        let status = tab
            .eval(&post(path, "&meeting_url=https://meet.google.com/abc-defg-hij&when=now&url=https://a.example"))
            .await
            .unwrap();
        assert_eq!(status, 403, "{path}");
    }
    for path in ["/portal/keys", "/portal/audit", "/portal/webhooks", "/portal/limits/acme", "/portal/limits/acme/default"] {
        tab.open(&site.url(path)).await.unwrap();
        assert!(tab.says().await.unwrap().contains("This key may not do that"), "{path}");
    }
}

/// The status of a form sent with the page's own token.
fn post(path: &str, more: &str) -> String {
    format!(
        "fetch('{path}', {{method: 'POST', redirect: 'manual', headers: {{'content-type': 'application/x-www-form-urlencoded'}}, \
         body: 'token=' + document.querySelector('[name=token]').value + '{more}'}}).then((answer) => answer.status)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_from_elsewhere_without_their_token_or_after_the_sign_out_change_nothing() {
    let site = Site::start(Access::Keys).await;
    site.populate().await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "operations", Role::Operator).await;
    let leave = "/portal/bots/weekly-planning/leave";
    tab.open(&site.url(leave)).await.unwrap();
    for token in ["", "token=0", "token=00000000000000000000000000000000"] {
        let script =
            format!("fetch('{leave}', {{method: 'POST', body: new URLSearchParams('{token}')}}).then((answer) => answer.status)");
        assert_eq!(tab.eval(&script).await.unwrap(), 403, "{token}");
    }
    // The cookie and the token of this session, sent by another site's page.
    let cookies = tab.call("Network.getCookies", json!({})).await.unwrap();
    let session = cookies["cookies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"].as_str().unwrap().starts_with("portal-") && one["httpOnly"] == true)
        .unwrap()
        .clone();
    assert_eq!((session["httpOnly"].clone(), session["sameSite"].clone()), (json!(true), json!("Strict")));
    assert!(!session.to_string().contains("mbk_"));
    let token = tab.text("document.querySelector('[name=token]').value").await.unwrap();
    let cookie = format!("{}={}", session["name"].as_str().unwrap(), session["value"].as_str().unwrap());
    let send = async |origin: &str| raw(&site, leave, &cookie, origin, &format!("token={token}&once=abc")).await;
    for origin in ["Origin: https://evil.example\r\n", "Origin: null\r\n", ""] {
        assert!(send(origin).await.starts_with("HTTP/1.1 403"), "{origin}");
    }
    tab.open(&site.url("/portal/bots/weekly-planning")).await.unwrap();
    assert!(!tab.says().await.unwrap().contains("Asked to leave"));
    tab.go(".foot button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("You have signed out."));
    let own = format!("Origin: {}\r\n", site.origin);
    assert!(send(&own).await.starts_with("HTTP/1.1 401"), "a session that was signed out went on");
    tab.open(&site.url("/portal/bots")).await.unwrap();
    assert_eq!(tab.text("location.pathname").await.unwrap(), "/portal/sign-in");
    tab.fill("#key", "mbk_wrong").await.unwrap();
    tab.go("main button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("unknown, revoked or expired"));
}

/// The head of an answer to a form, sent as another program would.
async fn raw(site: &Site, path: &str, cookie: &str, more: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = site.origin.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n{more}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_shown_as_text_everywhere() {
    let site = Site::start(Access::Keys).await;
    site.done("customer-call", EVIL).await;
    site.bot(
        "weekly-planning",
        "recording",
        EVIL,
        json!({"bot_name": EVIL, "creator_organization_id": EVIL, "creator_user_id": EVIL,
        "outcome": {"kind": "lobby_timeout", "attribution": "host", "message": EVIL}}),
    )
    .await;
    let people = json!({"participants": [{"id": 1, "name": EVIL, "role": EVIL}], "chat": [{"secs": 1.0, "author": EVIL, "text": EVIL}], "duration_secs": 5.0});
    let artifacts =
        json!([site.artifact("evil", "timeline.json", people.to_string().as_bytes(), json!({"codecs": [EVIL], "crc32c": EVIL}))]);
    site.bot("evil", "done", EVIL, json!({"artifacts": artifacts})).await;
    site.event("evil", 9, "done", EVIL).await;
    site.meeting(
        "m1",
        json!({"title": EVIL, "bot_name": EVIL, "meeting_url": "javascript:alert(1)", "start_time": ago(-900), "status": EVIL,
        "updated_by": EVIL, "creator_user_id": EVIL}),
    )
    .await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, EVIL.get(..60).unwrap(), Role::Admin).await;
    for path in [
        "/portal/",
        "/portal/bots",
        "/portal/bots/evil",
        "/portal/bots/weekly-planning",
        "/portal/meetings",
        "/portal/meetings/m1",
        "/portal/meetings/m1/change",
        "/portal/bots/weekly-planning/leave",
        "/portal/keys",
        "/portal/audit",
        "/portal/bots?organization=%3Cscript%3Edocument.title=1%3C/script%3E",
        "/portal/bots?did=%3Cscript%3E",
        "/portal/%3Cscript%3Edocument.title='owned'%3C/script%3E",
    ] {
        tab.open(&site.url(path)).await.unwrap();
        let found = tab.text("document.title.startsWith('owned') + ' ' + document.querySelectorAll('main img[src=x], main script, [onerror]').length + ' ' + [...document.querySelectorAll('a')].filter((one) => one.protocol === 'javascript:').length").await.unwrap();
        assert_eq!(found, "false 0 0", "{path}");
        let complaints: Vec<String> =
            tab.complaints().into_iter().filter(|one| !one.contains("404") && !one.contains("400")).collect();
        assert!(complaints.is_empty(), "{path}: {complaints:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_and_without_keys_on_this_machine_everything_works() {
    let site = Site::start(Access::DangerOpen).await;
    site.populate().await;
    let browser = site.browser();
    let tab = browser.tab().await.unwrap();
    // The page's own scripts are kept from loading; what the test asks of the page still runs.
    tab.call("Network.setBlockedURLs", json!({"urls": ["*portal.js*"]})).await.unwrap();
    tab.open(&site.url("/")).await.unwrap();
    assert!(tab.says().await.unwrap().contains("Weekly planning"), "{}", tab.says().await.unwrap());
    tab.open(&site.url("/portal/bots/weekly-planning/leave")).await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("The bot was asked to leave."));
    tab.open(&site.url("/portal/schedule")).await.unwrap();
    tab.fill("#meeting_url", "https://meet.google.com/xyz-defg-hij").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("Queued. A bot is on its way."), "{}", tab.says().await.unwrap());
    tab.open(&site.url("/portal/settings")).await.unwrap();
    tab.fill("#zone", "Asia/Kolkata").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.text("document.querySelector('.foot').innerText").await.unwrap().contains("Asia/Kolkata"));
    let heads = raw(&site, "/portal/sign-out", "", "", "").await;
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "frame-ancestors 'none'",
        "cache-control: no-store",
        "referrer-policy: same-origin",
        "x-content-type-options: nosniff",
    ] {
        assert!(heads.to_lowercase().contains(header), "{header}: {heads}");
    }
}
