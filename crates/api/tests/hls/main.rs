//! A recording as HLS: real segments of a real ffmpeg, judged by ffprobe, and played by Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod call;

use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::mpsc;

use call::{Call, SEGMENT_SECS, ffmpeg};

/// What a playlist names, without its tags.
fn names(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

fn lengths(text: &str) -> Vec<f64> {
    let found = text.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','));
    found.map(|secs| secs.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playlist_grows_with_the_call_and_ends_with_it() {
    let call = Call::new(None).await;
    let path = call.path("playlist.m3u8");
    assert_eq!(call.problem(&path).await, "nothing that could be played is in the bucket");
    call.part(1, "r", 0, 0..2);
    call.part_without(1, "r", 0, 3..4);
    let first = call.later(&path, |text| names(text).len() == 2).await;
    assert!(first.starts_with("#EXTM3U\n#EXT-X-VERSION:7\n") && first.contains("#EXT-X-PLAYLIST-TYPE:EVENT"), "{first}");
    assert!(!first.contains("ENDLIST") && !first.contains("DISCONTINUITY"), "{first}");
    // The hole is filled: what lay behind it comes, and nothing that was told has changed.
    call.part_without(1, "r", 0, 2..3);
    let second = call.later(&path, |text| names(text).len() == 4).await;
    assert!(second.starts_with(&first), "{first}\n{second}");
    // Another attempt, on another clock.
    call.recorded(2, "q", 2).await;
    call.part(2, "q", 0, 0..3);
    let third = call.later(&path, |text| names(text).len() == 7).await;
    assert!(third.starts_with(&second), "{second}\n{third}");
    assert_eq!((third.matches("#EXT-X-DISCONTINUITY\n").count(), third.matches("#EXT-X-MAP:").count()), (1, 2));
    assert!(lengths(&third).iter().all(|secs| (secs - SEGMENT_SECS).abs() < 0.1), "{third}");
    call.ended().await;
    let last = call.later(&path, |text| text.ends_with("#EXT-X-ENDLIST\n")).await;
    assert_eq!(last, format!("{third}#EXT-X-ENDLIST\n"));
    for wrong in ["a1-r_p0_part-00000000.json", "..%2f..%2fvideo.mp4", "a9-r_p0_000000-00000000.m4s", "x"] {
        call.problem(&call.path(wrong)).await;
    }
    call.raw_deleted().await;
    assert!(call.problem(&path).await.contains("video.mp4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_attempt_carries_out_late_moves_nothing_that_players_have_read() {
    let call = Call::new(None).await;
    let path = call.path("playlist.m3u8");
    call.part(1, "r", 0, 0..2);
    call.recorded(2, "q", 1).await;
    call.part(2, "q", 0, 0..2);
    let first = call.later(&path, |text| names(text).len() == 4).await;
    // The first attempt's disk is found: two more segments of its part, and a part that nobody knew of.
    call.part_without(1, "r", 0, 2..4);
    call.part(1, "r", 1, 0..2);
    call.part_without(2, "q", 0, 2..3);
    // Another replica, which has told nothing yet and looks at everything, says the same.
    let other = call.other_replica().await;
    for call in [&call, &other] {
        let second = call.later(&path, |text| names(text).len() == 5).await;
        assert!(second.starts_with(&first) && !second.contains("a1-r_p0_000002"), "{first}\n{second}");
    }
    call.ended().await;
    for call in [&call, &other] {
        let last = call.later(&path, |text| text.ends_with("#EXT-X-ENDLIST\n")).await;
        assert!(
            last.starts_with(&first) && last.contains("# 4 segments came too late for this list; video.mp4 has them"),
            "{last}"
        );
        assert_eq!(names(&last).len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_reads_every_frame_of_it() {
    let call = Call::new(None).await;
    call.part(1, "r", 0, 0..4);
    call.recorded(2, "q", 2).await;
    call.part(2, "q", 0, 0..3);
    call.ended().await;
    let url = format!("{}{}", call.origin, call.path("playlist.m3u8"));
    let probe = ["-v", "error", "-count_packets", "-show_entries", "stream=codec_name,nb_read_packets", "-of", "json", &url];
    let found: serde_json::Value = serde_json::from_str(&ffmpeg("ffprobe", &probe)).unwrap();
    let streams = found["streams"].as_array().unwrap();
    let of = |codec: &str| streams.iter().find(|stream| stream["codec_name"] == codec).unwrap()["nb_read_packets"].clone();
    assert_eq!(of("h264"), json!("105"), "7 segments of a second at 15 frames: {found}");
    assert!(of("aac").as_str().unwrap().parse::<u32>().unwrap() > 300, "{found}");
    // Every packet decodes.
    assert_eq!(ffmpeg("ffmpeg", &["-v", "error", "-xerror", "-i", &url, "-f", "null", "-"]), "");
}

/// A page that plays what is at `src` and tells how far it came.
const PLAYER: &str = "<!doctype html><video id=v muted autoplay></video><script>\
    const tell = () => fetch('/told', {method: 'POST', body: JSON.stringify({at: v.currentTime, wide: v.videoWidth, ended: v.ended,\
        error: v.error && v.error.message})});\
    v.src = new URLSearchParams(location.search).get('src'); v.onended = tell; v.onerror = tell; v.ontimeupdate = tell;</script>";

#[tokio::test(flavor = "multi_thread")]
async fn chromium_plays_it_to_the_end() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let player = Router::new().route("/player", get(|| async { Html(PLAYER) })).route(
        "/told",
        post(move |body: String| {
            let told = told.clone();
            async move { drop(told.send(body)) }
        }),
    );
    let call = Call::new(Some(player)).await;
    call.part(1, "r", 0, 0..3);
    call.recorded(2, "q", 2).await;
    call.part(2, "q", 0, 0..2);
    call.ended().await;
    let profile = tempfile::tempdir().unwrap();
    let page = format!("{}/player?src={}", call.origin, call.path("playlist.m3u8"));
    let program = std::env::var("CHROME_PATH").unwrap_or_else(|_| "chromium".into());
    let _browser = tokio::process::Command::new(program)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--autoplay-policy=no-user-gesture-required"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(&page)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("Chromium is missing: scripts/setup.sh --install test, then source .cache/env");
    let mut last = serde_json::Value::Null;
    let ended = async {
        while let Some(text) = heard.recv().await {
            last = serde_json::from_str(&text).unwrap();
            assert!(last["error"].is_null(), "{last}");
            if last["ended"] == true {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(40), ended).await.is_ok();
    assert!(in_time && last["wide"] == 320 && last["at"].as_f64().unwrap() > 4.5 * SEGMENT_SECS, "{last}");
}
