//! `WEBHOOK_CA_FILE`, from the setting to a delivery by the controller's process.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::authority::{Authority, NOW, TlsListener};
use crate::machine::{Machine, bare};
use crate::{code, text};

/// The first attempt at a test event for a receiver at this address.
async fn attempt(machine: &Machine, url: &str) -> Value {
    let made = machine.run(&["keys", "create", "--name", "test", "--role", "admin", "--all-organizations"]).await;
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let api = format!("http://{}/v1/webhooks", machine.address());
    let post = async |path: String, body: Value| {
        http.post(path).bearer_auth(&key).json(&body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let made = post(api.clone(), json!({"url": url})).await;
    let hook = format!("{api}/{}", made["webhook"]["id"].as_str().unwrap_or_else(|| panic!("{made}")));
    post(format!("{hook}/test"), json!({})).await;
    let give_up = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let answer = http.get(format!("{hook}/deliveries")).bearer_auth(&key).send().await.unwrap();
        if let Some(attempt) = answer.json::<Value>().await.unwrap().pointer("/deliveries/0/attempts/0") {
            return attempt.clone();
        }
        assert!(tokio::time::Instant::now() < give_up, "nothing was tried");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_believes_the_authorities_that_its_setting_names() {
    let authority = Authority::new();
    // Its name is looked up by this machine; of its addresses the one that is allowed is dialled.
    let listener = TlsListener::new("127.0.0.1", authority.certificate("DNS:localhost", NOW)).await;
    let url = format!("https://localhost:{}/hook", axum::serve::Listener::local_addr(&listener).unwrap().port());
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(async || StatusCode::NO_CONTENT)).await });
    let file = authority.file().display().to_string();
    let allowed = ("WEBHOOK_ALLOW", "127.0.0.0/8");
    for (settings, result) in [(&[allowed, ("WEBHOOK_CA_FILE", &file)][..], "accepted"), (&[allowed], "untrusted_tls")] {
        let machine = Machine::start(settings).await;
        let attempt = attempt(&machine, &url).await;
        assert_eq!(attempt["result"], result, "{attempt}");
        machine.end().await;
    }
    for (file, reason) in [("/nowhere/ca.pem", "No such file"), ("/dev/null", "no certificate")] {
        let settings = [("STORE_URL", "sqlite:/tmp/x"), ("RECORDINGS_URL", "file:///tmp/r"), ("WEBHOOK_CA_FILE", file)];
        let output = bare(&["run"]).envs(settings).output().await.unwrap();
        let said = text(&output);
        assert!(code(&output) == 64 && said.contains("WEBHOOK_CA_FILE") && said.contains(reason), "{said}");
    }
}
