//! Whatever is accepted is rebuilt on a known host, reads back as itself, and is shown without its secret.
#![no_main]

use bot_model::meeting_url::MeetingUrl;

libfuzzer_sys::fuzz_target!(|input: &str| {
    if let Ok(url) = MeetingUrl::parse(input) {
        assert_eq!(MeetingUrl::parse(&url.expose()), Ok(url.clone()));
        let opened = url.join_url(Some("http://127.0.0.1:1")).expect("an origin was given");
        let hosts = ["https://meet.google.com/", "https://teams.microsoft.com/", "https://teams.live.com/", "http://127.0.0.1:1/"];
        let host = opened.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        assert!(hosts.iter().any(|known| opened.starts_with(known)) || host == "zoom.us" || host.ends_with(".zoom.us"));
    }
});
