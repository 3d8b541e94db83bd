//! `TRUSTED_CA_FILE` and `WEBHOOK_CA_FILE`, from the setting to what the controller's process believes: receivers of webhooks, an issuer
//! of tokens, the API that a command names.

use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
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

/// A receiver, an issuer without keys, and an API without bots, at one address. Its name is looked up by this machine; of its addresses
/// the one that is allowed is dialled.
async fn server(authority: &Authority) -> String {
    let listener = TlsListener::new("127.0.0.1", authority.certificate("DNS:localhost", NOW)).await;
    let origin = format!("https://localhost:{}", axum::serve::Listener::local_addr(&listener).unwrap().port());
    let discovery = json!({"issuer": origin, "jwks_uri": format!("{origin}/keys")});
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(async move || Json(discovery)))
        .route("/keys", get(async || Json(json!({"keys": []}))))
        .route("/v1/bots", get(async || Json(json!({"bots": []}))))
        .fallback(async || StatusCode::NO_CONTENT);
    tokio::spawn(async { axum::serve(listener, router).await });
    origin
}

/// What is said to a token of the issuer, which names a key that it does not have.
async fn of_token(machine: &Machine) -> (u16, String) {
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(format!("http://{}/v1/bots", machine.address())).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_believes_the_authorities_that_its_settings_name() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let origin = server(&authority).await;
    let url = format!("{origin}/hook");
    let issuer = [("OIDC_ISSUER", origin.as_str()), ("OIDC_AUDIENCE", "recorder"), ("OIDC_ROLES", "ops=viewer")];
    let common = [&issuer[..], &[("WEBHOOK_ALLOW", "127.0.0.0/8")]].concat();
    let ours = authority.file().display().to_string();

    // Who is believed of a receiver is not believed of an issuer.
    let machine = Machine::start(&[&common[..], &[("WEBHOOK_CA_FILE", ours.as_str())]].concat()).await;
    assert_eq!(attempt(&machine, &url).await["result"], "accepted");
    assert_eq!(of_token(&machine).await.0, 503);
    machine.logged(&["authority that is not trusted"]).await;
    machine.end().await;

    // One setting for all, and a file that is replaced while the controller runs.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::copy(other.file(), &file).unwrap();
    let named = file.display().to_string();
    let machine = Machine::start(&[&common[..], &[("TRUSTED_CA_FILE", named.as_str())]].concat()).await;
    assert_eq!(attempt(&machine, &url).await["result"], "untrusted_tls");
    std::fs::copy(authority.file(), folder.path().join("new")).unwrap();
    std::fs::rename(folder.path().join("new"), &file).unwrap();
    assert_eq!(attempt(&machine, &url).await["result"], "accepted");
    let (status, said) = of_token(&machine).await;
    assert!(status == 401 && said.contains("no such key"), "{status} {said}");
    std::fs::write(&file, "nothing").unwrap();
    assert_eq!(attempt(&machine, &url).await["result"], "accepted", "what it held goes on counting");
    machine.logged(&["WARN", "cannot be used", "TRUSTED_CA_FILE", &named]).await;
    machine.end().await;

    let list = async |more: &[(&str, &str)]| {
        let mut command = bare(&["list", "--api", &origin]);
        command.env("API_KEY", "mbk_x").env_remove("TRUSTED_CA_FILE").envs(more.iter().copied());
        code(&command.output().await.unwrap())
    };
    assert_eq!((list(&[("TRUSTED_CA_FILE", &ours)]).await, list(&[]).await), (0, 69));
    for variable in ["TRUSTED_CA_FILE", "WEBHOOK_CA_FILE"] {
        for (file, reason) in [("/nowhere/ca.pem", "No such file"), ("/dev/null", "no certificate")] {
            let settings = [("STORE_URL", "sqlite:/tmp/x"), ("RECORDINGS_URL", "file:///tmp/r"), (variable, file)];
            let output = bare(&["run"]).envs(settings).output().await.unwrap();
            let said = text(&output);
            assert!(code(&output) == 64 && said.contains(variable) && said.contains(reason), "{said}");
        }
    }
}
