//! Clients that sit in a frame of the page's own origin, and frames of another origin.

use std::time::Duration;

use bot_model::meeting_url::Platform;
use meeting_bot::platform::pack::Meaning;

use crate::browser::{Case, Looker};

const ZOOM: &[Case] = &[
    (
        "framed",
        r#"<h1>Zoom</h1><div style="height:120px"></div><iframe id="webclient" src="/client" style="margin-left:90px;border:7px solid;padding:11px" width="900" height="400"></iframe>"#,
        &[],
    ),
    (
        "client",
        r#"<div style="height:60px"></div><input id="input-for-name"><button class="preview-join-button" style="display:block;margin:80px 200px" onclick="this.outerHTML='<p>Please wait, the meeting host will let you in soon.</p>'">Join</button>"#,
        &[],
    ),
    (
        "foreign",
        r#"<iframe src="data:text/html,<p>This meeting has been ended by host" width="1000" height="600"></iframe>"#,
        &[],
    ),
    (
        "covered",
        r#"<iframe src="/client" width="900" height="400"></iframe><div style="position:fixed;inset:0;background:#fff8"></div>"#,
        &[],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_a_frame_of_the_same_origin_is_seen_and_clicked() {
    let looker = Looker::start(Platform::Zoom, ZOOM).await;
    let seen = looker.look("framed").await;
    assert!(seen.meanings.contains(&Meaning::NamePrompt) && seen.meanings.contains(&Meaning::ReadyToJoin), "{seen:?}");
    assert!(seen.steps.iter().any(|step| step.name == "ask_to_join" && step.reachable));
    looker.hand("fill_name").enter().await.unwrap().unwrap();
    looker.hand("fill_name").write("Recorder", false).await.unwrap();
    let filled = looker.again().await;
    let field = filled.steps.iter().find(|step| step.name == "fill_name").unwrap();
    assert_eq!(field.value.as_deref(), Some("Recorder"));
    looker.hand("ask_to_join").press().await.unwrap().unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !looker.again().await.meanings.contains(&Meaning::Lobby) {
        assert!(tokio::time::Instant::now() < deadline, "the click did not reach the button in the frame");
    }
    looker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_covers_a_frame_covers_what_is_in_it() {
    let looker = Looker::start(Platform::Zoom, ZOOM).await;
    let seen = looker.look("covered").await;
    assert!(seen.steps.iter().all(|step| !step.reachable), "{seen:?}");
    looker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_frame_of_another_origin_is_reported_and_not_looked_into() {
    let looker = Looker::start(Platform::Zoom, ZOOM).await;
    let seen = looker.look("foreign").await;
    assert_eq!((seen.foreign_frames, seen.meanings.len()), (1, 0), "{seen:?}");
    looker.stop().await;
}
