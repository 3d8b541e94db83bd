//! The bucket behind one conformance suite: a folder, moto's S3 server, and our GCS server; and GCS's own awkward answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use manager::objects::{Label, Objects, Put};
use manager::spool::{Route, Spool};
use tests::gcs::{Fault, GcsServer};
use tests::process::{Process, until};

fn label(bytes: &[u8]) -> Label {
    Label { content_type: "video/mp4", crc32c: crc32c::crc32c(bytes), segments_sha256: "abc".into() }
}

fn write(folder: &Path, bytes: &[u8]) -> std::path::PathBuf {
    let file = folder.join("final");
    std::fs::write(&file, bytes).unwrap();
    file
}

/// What every bucket must do.
async fn conforms(objects: &Objects) {
    let folder = tempfile::tempdir().unwrap();
    let one = Bytes::from_static(b"one");
    assert_eq!(objects.put_new("x/raw/a", one.clone(), &label(&one)).await.unwrap(), Put::Created);
    assert_eq!(objects.put_new("x/raw/a", one.clone(), &label(&one)).await.unwrap(), Put::Exists);
    for name in ["x/raw/b/1", "x/raw/b/2", "x/raw/c", "x/raw/d", "x/rawer", "y/raw/a"] {
        objects.put_new(name, one.clone(), &label(&one)).await.unwrap();
    }
    assert_eq!(objects.list("x/raw/").await.unwrap(), ["a", "b/1", "b/2", "c", "d"]);
    assert!(objects.list("nothing/").await.unwrap().is_empty());
    assert_eq!(objects.get("x/raw/a").await.unwrap().unwrap(), one);
    assert!(objects.get("x/raw/none").await.unwrap().is_none());
    assert!(objects.head("x/raw/none").await.unwrap().is_none());
    // Larger than a single-shot upload, not a multiple of anything.
    let large: Vec<u8> = (0..20_000_001_u32).map(|at| (at % 251) as u8).collect();
    for bytes in [b"interrupted try".as_slice(), &large] {
        let file = write(folder.path(), bytes);
        let over = objects.generation("x/video.mp4").await.unwrap();
        objects.put_final("x/video.mp4", &file, &label(bytes), over).await.unwrap();
        let head = objects.head("x/video.mp4").await.unwrap().unwrap();
        assert_eq!((head.bytes, head.crc32c), (bytes.len() as u64, crc32c::crc32c(bytes)));
    }
    assert_eq!(objects.list_after("x/raw/", "b/1").await.unwrap(), ["b/2", "c", "d"]);
    for (range, expected) in [(0..4, 0..4), (7..11, 7..11), (19_999_998..20_999_999, 19_999_998..20_000_001)] {
        let mut stream = objects.read("x/video.mp4", range).await.unwrap().unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = futures::StreamExt::next(&mut stream).await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(bytes, large[expected]);
    }
    for bytes in [b"first".as_slice(), b"second"] {
        objects.put_over_once("x/live.jpg", bytes.into(), &label(bytes), Duration::from_secs(5)).await.unwrap();
        assert_eq!(objects.get("x/live.jpg").await.unwrap().unwrap(), bytes);
    }
    if let Some(url) = objects.signed_url("x/video.mp4", Duration::from_secs(60)).await.unwrap() {
        let answer = reqwest::Client::new().get(&url).header("range", "bytes=5-9").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().as_ref()), (206, &large[5..10]), "{url}");
    }
    objects.delete("x/raw/b/1").await.unwrap();
    objects.delete("x/raw/b/1").await.expect("deleting twice is one");
    assert_eq!(objects.list("x/raw/").await.unwrap(), ["a", "b/2", "c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&Objects::open(&format!("file://{}", folder.path().display())).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "moto_server".into());
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let _server = Process::start(command, &folder.path().join("moto.log"))
        .expect("moto's S3 server is missing: run `scripts/setup.sh --install test`, then source .cache/env");
    let endpoint = format!("http://127.0.0.1:{port}");
    let bucket = format!("{endpoint}/recordings");
    until("moto to make a bucket", Duration::from_secs(60), || async {
        Ok(reqwest::Client::new().put(&bucket).send().await.is_ok_and(|answer| answer.status().is_success()).then_some(()))
    })
    .await
    .unwrap();
    let environment = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")];
    let url = with_environment("s3_conforms_inside", &environment);
    assert!(url.success(), "the suite against S3 failed");
}

/// Runs the ignored test `name` of this binary in a process of its own with `environment`, since an environment is shared.
fn with_environment(name: &str, environment: &[(&str, &str)]) -> std::process::ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .envs(environment.iter().copied())
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
        .status()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by s3_conforms, with its environment"]
async fn s3_conforms_inside() {
    conforms(&Objects::open("s3://recordings/deep/down").await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_conforms() {
    let server = GcsServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.json");
    std::fs::write(&key, account_key()).unwrap();
    let status = tokio::task::spawn_blocking({
        let (host, key) = (server.host(), key.display().to_string());
        move || {
            let environment = [("STORAGE_EMULATOR_HOST", host.as_str()), ("GOOGLE_APPLICATION_CREDENTIALS", &key)];
            with_environment("gcs_conforms_inside", &environment)
        }
    });
    assert!(status.await.unwrap().success(), "the suite against GCS failed");
    let video = server.object("x/video.mp4").unwrap();
    assert_eq!((video.content_type.as_str(), video.metadata["segments-sha256"].as_str()), ("video/mp4", Some("abc")));
}

/// The key of an account that nobody has: it signs, and opens nothing.
fn account_key() -> String {
    use aws_lc_rs::encoding::AsDer as _;
    let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", data_encoding::BASE64.encode(der.as_ref()));
    let (client_email, token_uri) = ("nobody@example.iam.gserviceaccount.com", "https://oauth2.googleapis.com/token");
    serde_json::json!({"type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": pem,
        "client_email": client_email, "client_id": "1", "token_uri": token_uri})
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by gcs_conforms, with its environment"]
async fn gcs_conforms_inside() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    conforms(&Objects::open("gs://recordings").await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_upload_is_written_once() {
    let server = GcsServer::start().await.unwrap();
    server.fail_next(&[Fault::Unavailable, Fault::AnswerLost]);
    let status = tokio::task::spawn_blocking({
        let host = server.host();
        move || with_environment("a_retried_upload_inside", &[("STORAGE_EMULATOR_HOST", &host)])
    });
    assert!(status.await.unwrap().success());
    assert_eq!(server.writes(), 1);
    assert_eq!(server.object("x/raw/a").unwrap().bytes, "segment");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_retried_upload_is_written_once, with its environment"]
async fn a_retried_upload_inside() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let objects = Objects::open("gs://recordings").await.unwrap();
    let bytes = Bytes::from_static(b"segment");
    assert!(matches!(objects.put_new("x/raw/a", bytes.clone(), &label(&bytes)).await, Ok(Put::Created | Put::Exists)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_upload_needs_no_right_but_to_create() {
    let server = GcsServer::start().await.unwrap();
    server.grants_creating_alone();
    server.fail_next(&[Fault::AnswerLost]);
    let status = tokio::task::spawn_blocking({
        let host = server.host();
        move || with_environment("a_retried_upload_inside", &[("STORAGE_EMULATOR_HOST", &host)])
    });
    assert!(status.await.unwrap().success());
    assert_eq!((server.writes(), &*server.object("x/raw/a").unwrap().bytes), (1, &b"segment"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_written_over_a_newer_one_than_was_seen() {
    let server = GcsServer::start().await.unwrap();
    let status = tokio::task::spawn_blocking({
        let host = server.host();
        move || with_environment("a_file_over_a_newer_one_inside", &[("STORAGE_EMULATOR_HOST", &host)])
    });
    assert!(status.await.unwrap().success());
    assert_eq!(server.object("x/video.mp4").unwrap().bytes, "newer");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_file_is_not_written_over_a_newer_one_than_was_seen, with its environment"]
async fn a_file_over_a_newer_one_inside() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let objects = Objects::open("gs://recordings").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let seen = objects.generation("x/video.mp4").await.unwrap();
    objects.put_final("x/video.mp4", &write(folder.path(), b"newer"), &label(b"newer"), seen).await.unwrap();
    let late = objects.put_final("x/video.mp4", &write(folder.path(), b"older"), &label(b"older"), seen).await;
    assert!(!late.unwrap_err().is_transient);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_segments_go_up_at_once_and_fewer_to_a_bucket_that_refuses() {
    let server = GcsServer::start().await.unwrap();
    server.answers_after(Duration::from_millis(100));
    let carry = || {
        let host = server.host();
        tokio::task::spawn_blocking(move || with_environment("a_few_segments_inside", &[("STORAGE_EMULATOR_HOST", &host)]))
    };
    assert!(carry().await.unwrap().success());
    assert!((2..=4).contains(&server.most_at_once()), "{} at once", server.most_at_once());
    assert_eq!(server.refused(), 0);
    server.takes_at_once(2);
    assert!(carry().await.unwrap().success(), "nothing is given up");
    assert!((1..=4).contains(&server.refused()), "{} refused", server.refused());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_few_segments_go_up_at_once_and_fewer_to_a_bucket_that_refuses, with its environment"]
async fn a_few_segments_inside() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("p000");
    std::fs::create_dir_all(&part).unwrap();
    for name in ["part.json".into(), "init.mp4".into()].into_iter().chain((0..12).map(bot_model::segment::segment_file)) {
        std::fs::write(part.join(&name), name.as_bytes()).unwrap();
    }
    let prefix = bot_model::object_prefix::ObjectPrefix::parse(&format!("x/{}", uuid::Uuid::new_v4().simple())).unwrap();
    let route = Route { prefix: prefix.clone(), attempt: 1, run: "r".into(), folder: folder.path().to_owned() };
    let objects = Objects::open("gs://recordings").await.unwrap();
    let (_finish, finished) = tokio::sync::watch::channel(true);
    let carried = Spool::new(objects.clone(), route).0.run(finished).await;
    assert_eq!((carried.parts, carried.segments), (1, 12));
    assert_eq!(objects.list(&prefix.raw_folder()).await.unwrap().len(), 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_gcs_server_refuses_a_wrong_checksum_and_a_stale_generation() {
    let server = GcsServer::start().await.unwrap();
    let http = reqwest::Client::new();
    let upload = |query: &str, crc: &str| {
        let url = format!("{}/upload/storage/v1/b/b/o?uploadType=multipart&name=n{query}", server.host());
        let body = format!("--B\r\ncontent-type: application/json\r\n\r\n{{\"crc32c\":\"{crc}\"}}\r\n--B\r\n\r\nabc\r\n--B--");
        http.post(url).header("content-type", "multipart/related; boundary=B").body(body).send()
    };
    let right = data_encoding::BASE64.encode(&crc32c::crc32c(b"abc").to_be_bytes());
    assert_eq!(upload("", "AAAAAA==").await.unwrap().status(), 400);
    assert_eq!(upload("&ifGenerationMatch=0", &right).await.unwrap().status(), 200);
    assert_eq!(upload("&ifGenerationMatch=0", &right).await.unwrap().status(), 412);
    let session =
        http.post(format!("{}/upload/storage/v1/b/b/o?uploadType=resumable&name=r", server.host())).body("{}").send().await;
    let url = session.unwrap().headers()["location"].to_str().unwrap().to_owned();
    let put = |range: &'static str, body: &'static str| http.put(&url).header("content-range", range).body(body).send();
    assert_eq!(put("bytes */*", "").await.unwrap().status(), 308);
    let partial = put("bytes 0-2/6", "abc").await.unwrap();
    assert_eq!((partial.status().as_u16(), partial.headers()["range"].to_str().unwrap()), (308, "bytes=0-2"));
    assert!(server.object("r").is_none(), "finalized by a status query");
    assert_eq!(put("bytes 3-5/6", "def").await.unwrap().status(), 200);
    assert_eq!(server.object("r").unwrap().bytes, "abcdef");
}
