//! Alerts to topics: AWS SNS as moto plays it, Google Pub/Sub as a small server with its JSON interface (and by hand, its emulator).
//!
//! Both are told where the service is by variables of the environment, so the test runs itself again with them.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use bot_store::outbox::{CAPACITY_EXHAUSTED, Event};
use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::process::Command;
use webhooks::alert::{Alert, AlertError, PERIOD_SECS};
use webhooks::post::Poster;
use webhooks::{Authorities, Trust};

use crate::site::{Site, loopback, pace};

const TOPIC: &str = "projects/recorder/topics/alerts";
const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:alerts";
const THIS_TEST: &str = "alerts::two_replicas_alert_once_a_period_by_sns_and_pub_sub";

#[test]
fn a_topic_s_name_is_checked() {
    for wrong in
        ["", "alerts", "arn:aws:sqs:eu-west-1:1:q", "arn:aws:sns::1:t", "arn:aws:sns:eu-west-1/:1:t", "arn:aws:sns:eu west:1:t"]
    {
        assert!(matches!(Alert::sns(wrong, &Trust::default()), Err(AlertError::Name(_))), "{wrong}");
    }
    for wrong in
        ["", "alerts", "projects/p/topics/", "projects/p/subscriptions/s", "projects/p/topics/t/x", "projects/p/topics/a b"]
    {
        assert!(matches!(Alert::pubsub(wrong, &Trust::default()), Err(AlertError::Name(_))), "{wrong}");
    }
}

/// What came to the topic.
type Published = Arc<Mutex<Vec<Value>>>;

async fn publish(
    State(published): State<Published>,
    Path(name): Path<String>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    if name != format!("{TOPIC}:publish") {
        return (StatusCode::NOT_FOUND, Json(json!({"error": {"code": 404, "status": "NOT_FOUND"}})));
    }
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let mut published = published.lock().unwrap();
    // As a service that is overloaded for a moment.
    if published.is_empty() {
        published.push(Value::Null);
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": {"code": 503, "status": "UNAVAILABLE"}})));
    }
    published.extend(messages);
    (StatusCode::OK, Json(json!({"messageIds": [published.len().to_string()]})))
}

/// One call of moto's query interface.
async fn moto(origin: &str, fields: &[(&str, &str)]) -> String {
    let body = fields.iter().map(|(name, value)| format!("{name}={}", value.replace(':', "%3A").replace('/', "%2F")));
    let request = reqwest::Client::new()
        .post(origin)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential=test/20270101/eu-west-1/{}/aws4_request", fields[0].1))
        .body(body.skip(1).collect::<Vec<_>>().join("&"));
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{fields:?}: {text}");
    text
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}")).1;
    rest.split_once(to).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_alert_once_a_period_by_sns_and_pub_sub() {
    if std::env::var_os("AWS_ENDPOINT_URL_SNS").is_some() {
        return alert_twice().await;
    }
    let published = Published::default();
    let pubsub = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pubsub_host = pubsub.local_addr().unwrap().to_string();
    let router = Router::new().route("/v1/{*name}", post(publish)).with_state(Arc::clone(&published));
    tokio::spawn(async move { axum::serve(pubsub, router).await });
    let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "moto_server".into());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _moto = Command::new(&program)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: scripts/setup.sh installs moto"));
    let origin = format!("http://127.0.0.1:{port}");
    let give_up = Instant::now() + Duration::from_secs(30);
    while reqwest::get(&origin).await.is_err() {
        assert!(Instant::now() < give_up, "moto does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    moto(&origin, &[("service", "sns"), ("Action", "CreateTopic"), ("Version", "2010-03-31"), ("Name", "alerts")]).await;
    let sqs = [("service", "sqs"), ("Action", "CreateQueue"), ("Version", "2012-11-05"), ("QueueName", "q")];
    let made = moto(&origin, &sqs).await;
    let queue = between(&made, "<QueueUrl>", "</QueueUrl>").to_owned();
    let to = [("Protocol", "sqs"), ("Endpoint", "arn:aws:sqs:eu-west-1:123456789012:q"), ("TopicArn", ARN)];
    moto(&origin, &[&[("service", "sns"), ("Action", "Subscribe"), ("Version", "2010-03-31")], &to[..]].concat()).await;
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS_TEST, "--nocapture"])
        .env("AWS_ENDPOINT_URL_SNS", &origin)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("PUBSUB_EMULATOR_HOST", pubsub_host)
        .kill_on_drop(true)
        .status()
        .await
        .unwrap();
    assert!(again.success(), "the alerts above were not delivered");
    let receive = [
        ("service", "sqs"),
        ("Action", "ReceiveMessage"),
        ("Version", "2012-11-05"),
        ("MaxNumberOfMessages", "10"),
        ("QueueUrl", &queue),
    ];
    let queued = moto(&origin, &receive).await;
    assert_eq!(queued.matches("<Message>").count(), 2, "one a period: {queued}");
    assert!(queued.contains("All recording bots are busy") && queued.contains("capacity.exhausted"), "{queued}");
    let published = published.lock().unwrap();
    assert_eq!(published.len(), 3, "one a period, after the refusal: {published:?}");
    let periods: BTreeSet<String> = published[1..]
        .iter()
        .map(|message| {
            assert_eq!(message["attributes"]["type"], CAPACITY_EXHAUSTED);
            let body: Value =
                serde_json::from_slice(&BASE64.decode(message["data"].as_str().unwrap().as_bytes()).unwrap()).unwrap();
            body["timestamp"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(periods.len(), 2);
}

/// Three times busy in two periods, seen by two replicas.
async fn alert_twice() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(&format!("sqlite:{}", folder.path().join("store.sqlite").display())).await;
    for _ in 0..2 {
        let alerts = vec![Alert::sns(ARN, &Trust::default()).unwrap(), Alert::pubsub(TOPIC, &Trust::default()).unwrap()];
        site.replica_of(Poster::new(loopback(), &Authorities::default(), pace().deadline).unwrap(), pace(), alerts).await;
    }
    let period = Utc::now().timestamp().div_euclid(PERIOD_SECS) * PERIOD_SECS;
    for seconds in [1, 2, PERIOD_SECS + 1] {
        let at = DateTime::from_timestamp(period + seconds, 0).unwrap();
        site.write(Event::new(CAPACITY_EXHAUSTED, "", at, json!({"busy": 4}))).await;
    }
    site.happens("bot.done", "").await;
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let deliveries = site.deliveries().await;
        let is_over = deliveries.len() == 4 && deliveries.iter().all(|one| one.state == webhooks::delivery::State::Delivered);
        if is_over && site.count(bot_store::listing::Listed::Outbox).await == 0 {
            return;
        }
        assert!(Instant::now() < give_up, "{deliveries:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
