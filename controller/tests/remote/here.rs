//! Commands without an address and without a key, on the controller's own machine.

use serde_json::json;

use crate::machine::{Machine, bare};
use crate::{code, json_of, text};

#[tokio::test(flavor = "multi_thread")]
async fn on_the_machine_of_the_controller_neither_address_nor_key_need_be_given() {
    let machine = Machine::start(&[]).await;
    assert_eq!(code(&machine.run(&["schedule", "https://zoom.us/j/123456789", "--at", "2037-01-01T00:00:00Z"]).await), 0);
    let list = machine.run(&["list", "--meetings", "--json"]).await;
    assert_eq!(json_of(&list).as_array().map(Vec::len), Some(1), "{}", text(&list));
    // The key is made once, for this user alone to read, and no answer shows it.
    let (file, keys) = (machine.key_file(), machine.keys().await);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!((mode & 0o777, keys.len(), &keys[0]["role"]), (0o600, 1, &json!("operator")));
    for arguments in [&["leave", "none"][..], &["watch", "none"], &["log", "none"], &["link", "none", "x"], &["download", "none"]]
    {
        let output = machine.run(arguments).await;
        assert_eq!(code(&output), 66, "{arguments:?}: {}", text(&output));
        assert!(!text(&output).contains("mbk_"));
    }
    assert_eq!(machine.keys().await.len(), 1);
    // One that was revoked, or damaged, is followed by another.
    let id = keys[0]["id"].as_str().unwrap();
    assert_eq!(code(&machine.run(&["keys", "revoke", id]).await), 0);
    assert_eq!(code(&machine.run(&["list"]).await), 0);
    std::fs::write(&file, "mbk_half").unwrap();
    assert_eq!(code(&machine.run(&["list"]).await), 0);
    assert_eq!(machine.keys().await.len(), 3);
    // What is given goes first, and is not replaced.
    let wrong = machine.run_with(&["list"], &[("API_KEY", "mbk_wrong")]).await;
    assert!(code(&wrong) == 77 && text(&wrong).contains("API_KEY is set"), "{}", text(&wrong));
    let elsewhere = machine.run_with(&["list"], &[("API_URL", "http://127.0.0.1:1")]).await;
    assert!(code(&elsewhere) == 69 && !text(&elsewhere).contains("tried"), "{}", text(&elsewhere));
    assert_eq!(machine.keys().await.len(), 3);
    machine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_asked_for_a_key_none_is_made() {
    let machine = Machine::start(&[("API_ACCESS", "danger_open")]).await;
    let list = machine.run(&["list", "--json"]).await;
    assert_eq!((code(&list), json_of(&list)), (0, json!([])), "{}", text(&list));
    assert!(machine.keys().await.is_empty() && !machine.folder.path().join("state").exists());
    machine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reaches_nothing_or_is_not_let_in_is_told_what_was_tried() {
    let machine = Machine::start(&[]).await;
    let address = machine.address();
    let ask = async |settings: &[(&str, &str)]| bare(&["list"]).envs(settings.iter().copied()).output().await.unwrap();
    let silent = ask(&[("HTTP_LISTEN", "127.0.0.1:1")]).await;
    let said = text(&silent);
    assert_eq!(code(&silent), 69, "{said}");
    for part in [
        "http://127.0.0.1:1",
        "--api (not given), API_URL (not set), API_LISTEN (not set), HTTP_LISTEN (127.0.0.1:1)",
        "controller run",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let unknown = ask(&[("HTTP_LISTEN", "127.0.0.1:0")]).await;
    assert!(code(&unknown) == 64 && text(&unknown).contains("HTTP_PORT_FILE"), "{}", text(&unknown));
    // The controller is there, and these settings have no store in which a key could be made.
    for settings in [&[("HTTP_LISTEN", address.as_str())][..], &[("HTTP_LISTEN", &address), ("GCP_PROJECT_ID", "p")]] {
        let stranger = ask(settings).await;
        assert!(code(&stranger) == 77 && text(&stranger).contains("tried API_KEY (not set)"), "{}", text(&stranger));
    }
    assert!(machine.keys().await.is_empty());
    machine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_a_bot_waits_a_restart_of_the_controller_out_and_is_told_the_end() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    // On a loopback address of its own, so that the port is still free when the controller comes back to it.
    let mut machine = Machine::start(&[("HTTP_LISTEN", "127.0.83.9:0")]).await;
    let address = machine.address();
    machine.settings.push(("HTTP_LISTEN", address));
    let made = machine.run(&["schedule", "https://zoom.us/j/123456789", "--at", "now"]).await;
    assert_eq!(code(&made), 0, "{}", text(&made));
    let give_up = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let bot = loop {
        let found = json_of(&machine.run(&["list", "--json"]).await);
        if let Some(id) = found.pointer("/0/id").and_then(serde_json::Value::as_str) {
            break id.to_owned();
        }
        assert!(tokio::time::Instant::now() < give_up, "no bot: {found}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let mut watching =
        bare(&["watch", &bot]).envs(machine.settings.clone()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("queued"));
    machine.stop().await;
    machine.begin().await;
    assert_eq!(code(&machine.run(&["leave", &bot]).await), 0);
    let said = async {
        let mut said = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            said += &line;
        }
        said
    };
    let said = tokio::time::timeout(std::time::Duration::from_secs(90), said).await.unwrap();
    assert_eq!(
        (watching.wait().await.unwrap().code(), said.contains("cancelled") || said.contains("failed")),
        (Some(3), true),
        "{said}"
    );
    machine.end().await;
}
