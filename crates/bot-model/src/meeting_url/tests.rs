use super::*;
use proptest::prelude::*;

const TEAMS_LONG: &str = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_NDQ5%40thread.v2/0?context=%7b%22Tid%22%3a%22aaaaaaaa-1111-2222-3333-444444444444%22%2c%22Oid%22%3a%22bbbbbbbb-1111-2222-3333-444444444444%22%7d";

#[test]
fn the_same_call_has_one_native_id_however_it_is_written() {
    for (input, platform, native_id) in [
        ("https://meet.google.com/abc-defg-hij", Platform::Meet, "abc-defg-hij"),
        ("HTTPS://meet.google.com/ABC-defg-hij?authuser=1", Platform::Meet, "abc-defg-hij"),
        ("https://us02web.zoom.us/j/81234567890?pwd=aB.c-1", Platform::Zoom, "81234567890"),
        ("https://zoom.us/wc/join/81234567890", Platform::Zoom, "81234567890"),
        ("https://teams.live.com/meet/9312345678901?p=AbC", Platform::Teams, "9312345678901"),
        (TEAMS_LONG, Platform::Teams, "19:meeting_NDQ5@thread.v2"),
        ("practice:meet/demo-room", Platform::Meet, "practice/demo-room"),
    ] {
        let url = MeetingUrl::parse(input).unwrap_or_else(|error| panic!("{input}: {error}"));
        assert_eq!((url.platform(), url.native_id().as_str()), (platform, native_id), "{input}");
        assert_eq!(MeetingUrl::parse(&url.expose()), Ok(url.clone()), "{input} does not round-trip");
    }
}

#[test]
fn teams_wrappers_are_unpacked_and_rebuilt() {
    let inner = encode_component(TEAMS_LONG.trim_start_matches("https://teams.microsoft.com"));
    let launcher = format!("https://teams.microsoft.com/dl/launcher/launcher.html?url=%2F_%23{inner}&type=meetup-join");
    assert_eq!(MeetingUrl::parse(&launcher), MeetingUrl::parse(TEAMS_LONG));
    let coords = BASE64.encode(br#"{"conversationId":"19:meeting_NDQ5@thread.v2","tenantId":"aaaaaaaa-1111-2222-3333-444444444444","organizerId":"bbbbbbbb-1111-2222-3333-444444444444","messageId":"0"}"#);
    let light = format!("https://teams.microsoft.com/light-meetings/launch?coords={}", encode_component(&coords));
    assert_eq!(MeetingUrl::parse(&light), MeetingUrl::parse(TEAMS_LONG));
}

#[test]
fn hostile_addresses_are_refused() {
    let long = format!("https://zoom.us/j/123456789?pwd={}", "a".repeat(3_000));
    for input in [
        "",
        "http://meet.google.com/abc-defg-hij",
        "javascript:alert(1)",
        "https://meet.google.com.evil.example/abc-defg-hij",
        "https://evilzoom.us/j/123456789",
        "https://zoom.us.evil.example/j/123456789",
        "https://evil.example/?x=zoom.us/j/123456789",
        "https://user@zoom.us/j/123456789",
        "https://zoom.us:8443/j/123456789",
        "https://zoom.us./j/123456789",
        "https://127.0.0.1/j/123456789",
        "https://[::1]/j/123456789",
        "https://2130706433/j/123456789",
        "https://mееt.google.com/abc-defg-hij",
        "https://xn--zom-2qa.us/j/123456789",
        "https://zoom.us\\@evil.example/j/123456789",
        "https://meet.google.com/abc-defg-hij?next=https://evil.example",
        "https://meet.google.com/abc-defg-hij?next=https%253A%252F%252Fevil.example",
        "https://meet.google.com/abc\u{202e}-defg-hij",
        "https://meet.google.com/landing",
        "https://zoom.us/my/somebody",
        "https://zoom.us/j/12",
        "https://teams.microsoft.com/l/meetup-join/x/0?context=%7B%7D",
        "practice:meet/../etc",
        "practice:webex/a",
        "practice:meet/a?next=b",
        long.as_str(),
    ] {
        assert!(MeetingUrl::parse(input).is_err(), "accepted {input:?}");
    }
}

#[test]
fn display_and_debug_hide_the_secret() {
    let url = MeetingUrl::parse("https://zoom.us/j/123456789?pwd=CANARY").unwrap();
    assert!(!format!("{url} {url:?}").contains("CANARY"));
    assert!(url.expose().ends_with("pwd=CANARY"));
}

#[test]
fn the_address_opened_carries_the_passcode_and_only_a_passcode_is_one() {
    for (input, opened, passcode) in [
        ("https://us02web.zoom.us/j/81234567890?pwd=aB1", "https://app.zoom.us/wc/81234567890/join?pwd=aB1", Some("aB1")),
        ("https://zoom.us/w/81234567890?tk=tok", "https://app.zoom.us/wc/81234567890/join?tk=tok", None),
        ("https://teams.live.com/meet/9312345678901?p=AbC", "https://teams.live.com/meet/9312345678901?p=AbC", Some("AbC")),
        ("practice:zoom/locked?passcode=s3", "http://room/zoom/locked?passcode=s3", Some("s3")),
        ("practice:zoom/locked?pwd=s3", "http://room/zoom/locked?passcode=s3", Some("s3")),
        ("https://meet.google.com/abc-defg-hij", "https://meet.google.com/abc-defg-hij", None),
    ] {
        let url = MeetingUrl::parse(input).unwrap();
        assert_eq!((url.join_url(Some("http://room")).as_deref(), url.passcode()), (Some(opened), passcode));
    }
}

#[test]
fn a_practice_room_needs_the_process_to_say_where() {
    let url = MeetingUrl::parse("practice:meet/room-1").unwrap();
    assert_eq!(url.join_url(None), None);
    assert_eq!(url.join_url(Some("http://127.0.0.1:8400/")).as_deref(), Some("http://127.0.0.1:8400/meet/room-1"));
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_rebuilt_on_a_known_host(input in "(https://)?[a-z.@:/?#%=&-]{0,40}(zoom\\.us|meet\\.google\\.com)?[a-z0-9./?#%=&-]{0,40}") {
        if let Ok(url) = MeetingUrl::parse(&input) {
            let rebuilt = Url::parse(&url.join_url(None).unwrap()).unwrap();
            let host = rebuilt.host_str().unwrap().to_owned();
            prop_assert!(["meet.google.com", "teams.microsoft.com", "teams.live.com", "zoom.us"].contains(&host.as_str()) || host.ends_with(".zoom.us"));
            prop_assert_eq!(MeetingUrl::parse(&url.expose()), Ok(url));
        }
    }

    #[test]
    fn parsing_never_panics(input in any::<String>()) {
        let _ = MeetingUrl::parse(&input);
    }
}
