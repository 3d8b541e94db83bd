//! How pages look and read: the policy is kept, nothing overflows, everything has a name, contrasts suffice; with `PORTAL_PICTURES` set,
//! pictures of each page go into that folder.

use api::access::{Access, Role};

use crate::chromium::Tab;
use crate::site::Site;

/// Every page of a site with a day's calls.
pub(crate) const PAGES: [(&str, &str); 19] = [
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
    ("limits", "/portal/limits"),
    ("limit", "/portal/limits/acme"),
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

/// Texts whose contrast with what lies behind them is below 4.5 (3 for large ones).
const FAINT: &str = "(() => {
    const parse = (text) => { const found = text.match(/[\\d.]+/g).map(Number); return found.length > 3 ? found : [...found, 1]; };
    const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
      .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = (one) => { for (let up = one; up; up = up.parentElement) { const colour = parse(getComputedStyle(up).backgroundColor); if (colour[3] === 1) return colour; } return [255, 255, 255, 1]; };
    const found = new Set();
    for (const one of document.querySelectorAll('body *')) {
      const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      const box = one.getBoundingClientRect();
      if (!text || box.width < 2 || box.height < 2 || one.closest('.hear, .skip, datalist, option, video')) continue;
      const style = getComputedStyle(one);
      const [a, b] = [light(parse(style.color)), light(behind(one))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const size = parseFloat(style.fontSize);
      if (ratio < (size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5)) found.add(one.tagName + '.' + one.className + ' ' + ratio.toFixed(2));
    }
    return [...found].join(', ');
})()";
/// What breaks the order of headings, or has two of a kind where there may be one.
const DISORDER: &str = "(() => {
    const found = [];
    const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]));
    if (levels.filter((one) => one === 1).length !== 1) found.push('not one h1');
    levels.forEach((one, index) => { if (index && one > levels[index - 1] + 1) found.push(`h${levels[index - 1]} then h${one}`); });
    for (const name of ['main', 'header.top', 'footer']) if (document.querySelectorAll(name).length !== 1) found.push(name);
    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    ids.filter((id, index) => ids.indexOf(id) !== index).forEach((id) => found.push(`two #${id}`));
    document.querySelectorAll('th:not([scope])').forEach((one) => found.push(`th ${one.textContent}`));
    if (!document.documentElement.lang || !document.title) found.push('no language or title');
    return found.join(', ');
})()";

/// Whatever can be used has a name for who cannot see it, by the browser's own reckoning.
async fn nameless(tab: &Tab) -> Vec<String> {
    let tree = tab.call("Accessibility.getFullAXTree", serde_json::json!({})).await.unwrap();
    let used = [
        "link",
        "button",
        "textbox",
        "searchbox",
        "combobox",
        "checkbox",
        "radio",
        "image",
        "table",
        "navigation",
        "region",
        "meter",
        "form",
        "DateTime",
    ];
    let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true);
    let found = nodes.filter(|node| {
        node["role"]["value"].as_str().is_some_and(|role| used.contains(&role) && role != "table" && role != "form")
    });
    let is_nameless = |node: &&serde_json::Value| node["name"]["value"].as_str().is_none_or(|name| name.trim().is_empty());
    found.filter(is_nameless).map(|node| format!("{} {}", node["role"]["value"], node["properties"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_keeps_the_policy_fits_a_phone_and_can_be_read_by_everybody() {
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
            assert_eq!(tab.text(FAINT).await.unwrap(), "", "{name}, {width} px, dark: {is_dark}");
        }
        assert_eq!(tab.text(DISORDER).await.unwrap(), "", "{name}");
        assert_eq!(nameless(&tab).await, Vec::<String>::new(), "{name}");
        assert_eq!(tab.complaints(), Vec::<String>::new(), "{name}");
    }
}

/// Everything that the checks above find on the page as it stands, each fault behind its check's name.
async fn faults(tab: &Tab) -> Vec<String> {
    let mut found = Vec::new();
    for (check, script) in [("wide", WIDE), ("faint", FAINT), ("disorder", DISORDER)] {
        let fault = tab.text(script).await.unwrap();
        found.extend((!fault.is_empty()).then(|| format!("{check}: {fault}")));
    }
    found.extend(nameless(tab).await.into_iter().map(|fault| format!("nameless: {fault}")));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_broken_on_purpose_is_caught_by_the_check_that_is_for_it() {
    let site = Site::start(Access::DangerOpen).await;
    site.populate().await;
    let browser = site.browser();
    let tab = browser.tab().await.unwrap();
    tab.look(360, false).await.unwrap();
    tab.open(&site.url("/portal/bots/weekly-planning")).await.unwrap();
    let own = "const main = document.querySelector('main');";
    for (what, expected, breaking, mending) in [
        (
            "a text as light as what lies behind it",
            "faint: H1",
            "main.querySelector('h1').style.color = 'rgb(235, 235, 235)'",
            "main.querySelector('h1').style.color = ''",
        ),
        (
            "a text that darkness swallows",
            "faint: H1",
            "main.querySelector('h1').style.backgroundColor = 'rgb(20, 20, 20)'",
            "main.querySelector('h1').style.backgroundColor = ''",
        ),
        (
            "a button without a word",
            "nameless: \"button\"",
            "main.insertAdjacentHTML('beforeend', '<button id=broken></button>')",
            "broken.remove()",
        ),
        (
            "a link around a picture without words",
            "nameless: \"link\"",
            "main.insertAdjacentHTML('beforeend', '<a id=broken href=#x><svg width=9 height=9 aria-hidden=true></svg></a>')",
            "broken.remove()",
        ),
        (
            "a field whose label is for another",
            "nameless: \"textbox\"",
            "main.insertAdjacentHTML('beforeend', '<p id=broken><label for=other>Name</label><input id=one></p>')",
            "broken.remove()",
        ),
        (
            "a picture without words",
            "nameless: \"image\"",
            "main.insertAdjacentHTML('beforeend', '<img id=broken src=/portal/assets/icon.svg width=20 height=20>')",
            "broken.remove()",
        ),
        (
            "a heading that skips a level",
            "disorder: ",
            "main.insertAdjacentHTML('beforeend', '<h4 id=broken>Deep</h4>')",
            "broken.remove()",
        ),
        (
            "one id twice",
            "disorder: two #main",
            "main.insertAdjacentHTML('beforeend', '<p class=broken id=main>Twice</p>')",
            "main.querySelector('.broken').remove()",
        ),
        (
            "a head of a column without its scope",
            "disorder: th Lost",
            "main.insertAdjacentHTML('beforeend', '<table id=broken><tr><th>Lost</th></tr></table>')",
            "broken.remove()",
        ),
        (
            "a word wider than a phone",
            "wide: ",
            "main.insertAdjacentHTML('beforeend', '<pre id=broken>' + 'x'.repeat(400) + '</pre>'); broken.style.overflow = 'visible'",
            "broken.remove()",
        ),
    ] {
        assert_eq!(faults(&tab).await, Vec::<String>::new(), "before {what}");
        tab.eval(&format!("(() => {{ {own} {breaking}; return true; }})()")).await.unwrap();
        let found = faults(&tab).await;
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{what} is not caught: {found:?}");
        tab.eval(&format!("(() => {{ {own} {mending}; return true; }})()")).await.unwrap();
    }
    assert_eq!(tab.complaints(), Vec::<String>::new());
    // And what the policy forbids is complained about.
    tab.eval("document.querySelector('main').insertAdjacentHTML('beforeend', '<p style=\"color: red\">Red</p>')").await.unwrap();
    let give_up = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    while !tab.complaints().iter().any(|one| one.contains("Content Security Policy")) {
        assert!(tokio::time::Instant::now() < give_up, "a violation of the policy is not seen");
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_called_back_with_the_keyboard_alone() {
    let site = Site::start(Access::DangerOpen).await;
    site.populate().await;
    let browser = site.browser();
    let tab = browser.tab().await.unwrap();
    tab.open(&site.url("/portal/bots/weekly-planning")).await.unwrap();
    tab.press("Tab").await.unwrap();
    assert_eq!(tab.text("document.activeElement.className").await.unwrap(), "skip");
    tab.press("Enter").await.unwrap();
    for _ in 0..2 {
        tab.press("Tab").await.unwrap();
    }
    assert_eq!(tab.text("document.activeElement.dataset.key").await.unwrap(), "leave");
    assert_ne!(tab.text("getComputedStyle(document.activeElement).outlineStyle").await.unwrap(), "none");
    tab.eval("window.isOld = true").await.unwrap();
    tab.press("Enter").await.unwrap();
    tab.wait("window.isOld === undefined && document.readyState === 'complete'", std::time::Duration::from_secs(15))
        .await
        .unwrap();
    for _ in 0..20 {
        tab.press("Tab").await.unwrap();
        if tab.text("document.activeElement.innerText").await.unwrap() == "Leave" {
            break;
        }
    }
    tab.press("Enter").await.unwrap();
    tab.wait(
        "document.querySelector('main').innerText.includes('The bot was asked to leave.')",
        std::time::Duration::from_secs(15),
    )
    .await
    .unwrap();
}
