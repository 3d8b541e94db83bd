//! A platform that the configuration adds; a process of its own, since what is installed holds for the whole process.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use bot_model::meeting_url::{MeetingUrl, MeetingUrlError, Platform};
use bot_model::platform::OtherPlatforms;

#[test]
fn calls_on_a_configured_host_are_parsed_and_rebuilt_and_the_rest_stays_as_it_is() {
    let zoom = "https://us02web.zoom.us/j/81234567890";
    let before = MeetingUrl::parse(zoom).unwrap();
    assert_eq!(MeetingUrl::parse("https://meet.jit.si/Standup"), Err(MeetingUrlError::UnknownHost));
    OtherPlatforms::parse("jitsi=meet.jit.si,jitsi=8x8.vc").unwrap().install();

    let call = MeetingUrl::parse("https://MEET.jit.si/Standup-7?jwt=CANARY#config.startWithAudioMuted=true").unwrap();
    assert_eq!(call.platform().as_str(), "jitsi");
    assert_eq!(call.native_id(), "meet.jit.si/Standup-7");
    assert_eq!(call.join_url(None).as_deref(), Some("https://meet.jit.si/Standup-7"));
    assert_eq!(MeetingUrl::parse(&call.expose()), Ok(call.clone()));
    let tenant = MeetingUrl::parse("https://8x8.vc/acme/standup").unwrap();
    assert_eq!((tenant.platform(), tenant.native_id().as_str()), (call.platform(), "8x8.vc/acme/standup"));
    let practice = MeetingUrl::parse("practice:jitsi/room").unwrap();
    assert_eq!(practice.join_url(Some("http://127.0.0.1:1")).as_deref(), Some("http://127.0.0.1:1/jitsi/room"));

    for bad in [
        "https://meet.jit.si/",
        "https://meet.jit.si/a/b/c/d",
        "https://meet.jit.si/a%2Fb",
        "https://meet.jit.si/a b",
        "https://meet.jit.si.evil.example/a",
        "https://evil.jit.si/a",
        "https://meet.jit.si:8443/a",
        "https://user@meet.jit.si/a",
        "http://meet.jit.si/a",
        "https://meet.jit.si/a?u=https://evil.example",
    ] {
        assert!(MeetingUrl::parse(bad).is_err(), "accepted {bad}");
    }
    let json = serde_json::to_string(&call.platform()).unwrap();
    assert_eq!(serde_json::from_str::<Platform>(&json).unwrap(), call.platform());
    assert!(serde_json::from_str::<Platform>("\"webex\"").is_err());
    assert_eq!(MeetingUrl::parse(zoom), Ok(before), "the built-in platforms are what they were");
    assert_eq!(Platform::configured().len(), 4);
}
