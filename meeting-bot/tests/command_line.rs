//! The subcommands and what they answer to a bad configuration.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::process::{Command, Output};

/// Runs the binary; a variable of an empty value is removed from its environment.
fn meeting_bot(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meeting-bot"));
    for (name, value) in environment {
        if value.is_empty() {
            command.env_remove(name)
        } else {
            command.env(name, value)
        };
    }
    let Output { status, stderr, .. } = command.args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn every_wrong_setting_is_named_at_once_with_exit_code_64() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("meet.toml"), "schema = 7").unwrap();
    let packs = folder.path().to_str().unwrap();
    let settings = [("MEETING_BOT_LISTEN", "0.0.0.0:80"), ("PRACTICE_ROOM_ORIGIN", "ftp://x"), ("SIGNAL_PACKS_DIR", packs)];
    let (code, text) = meeting_bot(&["serve"], &settings);
    assert_eq!(code, Some(64), "{text}");
    for part in ["MEETING_BOT_LISTEN is \"0.0.0.0:80\"", "PRACTICE_ROOM_ORIGIN is \"ftp://x\"", "SIGNAL_PACKS_DIR", "meet.toml"] {
        assert!(text.contains(part), "{part} is not named in:\n{text}");
    }
    assert_eq!(meeting_bot(&["--no-such-flag"], &[]).0, Some(64));
}

#[test]
fn doctor_finds_this_machine_complete_and_an_empty_one_not() {
    let (code, text) = meeting_bot(&["doctor"], &[]);
    assert_eq!(code, Some(0), "install what is missing:\n{text}");
    // What the set-up found elsewhere would be found here, too.
    let (code, text) = meeting_bot(&["doctor"], &[("PATH", "/nowhere"), ("CHROME_PATH", "")]);
    assert_eq!(code, Some(69));
    for package in ["install chromium", "install xvfb", "install pulseaudio", "install pulseaudio-utils", "install ffmpeg"] {
        assert!(text.contains(package), "{package} is not named in:\n{text}");
    }
}

#[test]
fn probe_fails_where_nothing_listens() {
    assert_eq!(meeting_bot(&["probe", "--listen", "127.0.0.1:1"], &[]).0, Some(1));
}

#[test]
fn check_pack_accepts_the_built_in_pack_and_names_what_is_wrong_with_another() {
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/packs/meet.toml");
    let (code, text) = meeting_bot(&["check-pack", good], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("is valid"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "schema = 1\nplatform = \"webex\"\n").unwrap();
    let (code, text) = meeting_bot(&["check-pack", bad.to_str().unwrap()], &[]);
    assert_eq!(code, Some(64));
    assert!(text.contains("missing field `version`"), "{text}");
}

#[test]
fn an_identity_that_cannot_be_used_is_refused_at_once_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    std::fs::write(&state, r#"{"cookies":[{"name":"CANARY","value":"CANARY","domain":""}]}"#).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_meeting-bot"))
        .env("MEETING_BOT_LISTEN", "127.0.0.1:0")
        .env("BROWSER_STORAGE_STATE", &state)
        .env("BROWSER_PROFILE_DIR", folder.path())
        .env("DEBUG_BUNDLE", "sometimes")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8_lossy(&output.stderr);
    for part in ["BROWSER_STORAGE_STATE cookie 1 has no domain", "BROWSER_PROFILE_DIR is no Chromium profile", "DEBUG_BUNDLE is"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!told.contains("CANARY"), "{told}");
}
