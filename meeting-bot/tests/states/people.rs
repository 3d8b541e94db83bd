//! Who is there, who speaks, and what is written, as each pack reads it.

use std::collections::BTreeSet;

use bot_model::meeting_url::Platform;
use meeting_bot::platform::probe::{PersonSeen, Seen};

use crate::browser::{Case, Looker};

const MEET: &[Case] = &[(
    "call",
    r#"<div data-participant-id="spaces/x/devices/1" data-self-name="Recorder"><span class="notranslate">Recorder</span></div>
       <div data-participant-id="spaces/x/devices/2" data-audio-level="0.4"><span class="notranslate">Ann  O’Hara</span></div>
       <div data-participant-id="spaces/x/devices/2"><span class="notranslate">Ann O’Hara</span></div>
       <div data-participant-id="spaces/x/devices/3" data-audio-level="0"><div class="gjg47c"></div><span class="notranslate">Ben</span></div>
       <div data-participant-id="spaces/x/devices/4"><div class="Oaajhc">m</div><span class="notranslate">Cy</span></div>
       <div data-participant-id="fx" aria-label="Backgrounds and effects">Backgrounds and effects</div>
       <button aria-label="Turn on captions">c</button><button aria-label="People - 4 joined">p</button>
       <div data-message-id="m1"><b>Ann O’Hara</b><div jsname="dTKtvb">Hello   there</div></div>
       <div data-message-id="m2"><div jsname="dTKtvb">and again</div></div>"#,
    &[],
)];

const TEAMS: &[Case] = &[(
    "call",
    r#"<div data-stream-type="Video" data-tid="Recorder" data-is-self="true">Recorder</div>
       <div data-stream-type="Video" data-tid="Ann"><div data-tid="voice-level-stream-outline" class="vdi-frame-occlusion">Ann</div></div>
       <div data-stream-type="Video" data-tid="Ben (Guest)"><div data-tid="voice-level-stream-outline">Ben</div></div>
       <div data-stream-type="ScreenSharing" data-tid="Ann">screen</div>
       <button id="roster-button" aria-label="People (3)">p</button><button id="hangup-button">Leave</button>
       <div data-tid="chat-pane-message"><span data-tid="message-author-name">Ann</span><div data-tid="messageBodyContent">Hello</div></div>
       <div data-tid="chat-pane-message"><span data-tid="message-author-name">Ann</span><div data-tid="messageBodyContent">Hello</div></div>"#,
    &[],
)];

const ZOOM: &[Case] = &[(
    "call",
    r#"<div class="speaker-active-container__video-frame"><div class="video-avatar__avatar"><div class="video-avatar__avatar-footer"><span>Ann</span></div></div></div>
       <div class="video-avatar__avatar"><div class="video-avatar__avatar-footer"><span>Ben</span></div></div>
       <div class="participants-item__item-layout"><span class="participants-item__display-name">Recorder</span><span>(me)</span></div>
       <footer id="wc-footer"><button aria-label="open the participants list pane,3 participants">p</button><button aria-label="Leave">x</button></footer>
       <div aria-label="Chat Message List"><div class="new-chat-message__container"><span class="chat-message-text__user-name">Ann</span><div class="new-chat-message__text-content">Hello</div></div></div>"#,
    &[],
)];

fn person(key: &str, name: &str, is_self: bool) -> PersonSeen {
    PersonSeen { key: key.to_owned(), name: name.to_owned(), is_self }
}

fn said(seen: &Seen) -> Vec<(&str, &str)> {
    seen.chat.iter().map(|message| (message.author.as_str(), message.text.as_str())).collect()
}

fn keys(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn meets_tiles_say_who_is_there_and_who_speaks() {
    let looker = Looker::start(Platform::Meet, MEET).await;
    let seen = looker.look("call").await;
    let id = |number: u32| format!("spaces/x/devices/{number}");
    let expected = [(1, "Recorder", true), (2, "Ann O'Hara", false), (3, "Ben", false), (4, "Cy", false)]
        .map(|(n, name, me)| person(&id(n), name, me));
    assert_eq!(seen.people.as_deref(), Some(&expected[..]));
    assert_eq!(seen.speaking, BTreeSet::from([id(2), id(4)]));
    assert_eq!(said(&seen), [("Ann O'Hara", "Hello there"), ("Ann O'Hara", "and again")]);
    assert_eq!(seen.chat[0].key, "m1");
    assert_eq!((seen.counts["tiles"], seen.counts["people_button"]), (Some(3), Some(3)));
    looker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_tiles_say_who_is_there_and_who_speaks() {
    let looker = Looker::start(Platform::Teams, TEAMS).await;
    let seen = looker.look("call").await;
    let expected =
        [("Recorder", "Recorder", true), ("Ann", "Ann", false), ("Ben", "Ben", false)].map(|(k, n, me)| person(k, n, me));
    assert_eq!(seen.people.as_deref(), Some(&expected[..]));
    assert_eq!(seen.speaking, keys(&["Ann"]));
    assert_eq!((seen.counts["tiles"], seen.counts["roster_button"]), (Some(2), Some(2)));
    assert_eq!(said(&seen), [("Ann", "Hello"), ("Ann", "Hello")]);
    assert_ne!(seen.chat[0].key, seen.chat[1].key, "the same words twice are two messages");
    assert_eq!(looker.again().await.chat, seen.chat, "keys change between looks");
    looker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zooms_names_say_who_is_there_and_who_speaks() {
    let looker = Looker::start(Platform::Zoom, ZOOM).await;
    let seen = looker.look("call").await;
    let expected = [("Ann", false), ("Ben", false), ("Recorder", true)].map(|(name, me)| person(name, name, me));
    assert_eq!(seen.people.as_deref(), Some(&expected[..]));
    assert_eq!(seen.speaking, keys(&["Ann"]));
    assert_eq!((seen.counts["footer_button"], seen.counts["tiles"]), (Some(2), Some(1)));
    assert_eq!(said(&seen), [("Ann", "Hello")]);
    looker.stop().await;
}
