//! How pages look and read: the policy is kept, nothing overflows, everything has a name, contrasts suffice; with `PORTAL_PICTURES` set,
//! pictures of each page go into that folder.

use api::access::{Access, Role};

use crate::site::Site;

/// Every page of a site with a day's calls.
pub(crate) const PAGES: [(&str, &str); 17] = [
    ("overview", "/portal/"),
    ("bots", "/portal/bots"),
    ("bots-filtered", "/portal/bots?phase=failed&days=7"),
    ("bot-recording", "/portal/bots/weekly-planning"),
    ("bot-done", "/portal/bots/customer-call"),
    ("bot-failed", "/portal/bots/lobby"),
    ("bot-queued", "/portal/bots/all-hands"),
    ("leave", "/portal/bots/weekly-planning/leave"),
    ("priority", "/portal/bots/all-hands/priority"),
    ("meetings", "/portal/meetings"),
    ("meeting", "/portal/meetings/m1"),
    ("change", "/portal/meetings/m1/change"),
    ("schedule", "/portal/schedule"),
    ("webhooks", "/portal/webhooks"),
    ("keys", "/portal/keys"),
    ("audit", "/portal/audit"),
    ("settings", "/portal/settings"),
];

/// What makes the page wider than the screen.
const WIDE: &str = "(() => { const width = document.documentElement.clientWidth; \
    if (document.documentElement.scrollWidth <= width) return ''; \
    return [...document.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > width + 1) \
      .map((one) => one.tagName + '#' + one.id + '.' + one.className).join(' ') || 'something'; })()";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_keeps_the_policy_and_fits_a_phone() {
    let site = Site::start(Access::Keys).await;
    site.populate().await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "operations", Role::Admin).await;
    let folder = std::env::var_os("PORTAL_PICTURES").map(std::path::PathBuf::from);
    for (name, path) in PAGES {
        tab.look(1280, false).await.unwrap();
        tab.open(&site.url(path)).await.unwrap();
        for (width, is_dark) in [(1280, false), (1280, true), (360, false), (360, true)] {
            tab.look(width, is_dark).await.unwrap();
            let wide = tab.text(WIDE).await.unwrap();
            if let Some(folder) = &folder {
                let scheme = if is_dark { "dark" } else { "light" };
                std::fs::write(folder.join(format!("{name}-{width}-{scheme}.png")), tab.picture(true).await.unwrap()).unwrap();
            }
            assert_eq!(wide, "", "{name} overflows at {width} px");
        }
        assert_eq!(tab.complaints(), Vec::<String>::new(), "{name}");
    }
}
