//! Every action, as a person does it; and two persons at once.

use std::time::Duration;

use api::access::{Access, Role};
use serde_json::json;

use crate::chromium::Tab;
use crate::site::{EVIL, Site, ago};

const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_is_scheduled_changed_and_cancelled_and_a_wrong_form_keeps_its_values() {
    let site = Site::start(Access::Keys).await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "operations", Role::Operator).await;
    tab.go("a.go").await.unwrap();
    tab.fill("#meeting_url", "ftp://nowhere").await.unwrap();
    tab.fill("#title", EVIL).await.unwrap();
    tab.fill("#start", "2027-03-28T02:30").await.unwrap();
    tab.fill("#zone", "Europe/Berlin").await.unwrap();
    tab.fill("#priority", "many").await.unwrap();
    tab.go("main form button").await.unwrap();
    let says = tab.says().await.unwrap();
    assert!(says.contains("jump over this time") && says.contains("whole number"), "{says}");
    assert_eq!(tab.text("document.activeElement.id").await.unwrap(), "problems");
    for (field, value) in [("meeting_url", "ftp://nowhere"), ("title", EVIL), ("start", "2027-03-28T02:30"), ("priority", "many")]
    {
        assert_eq!(tab.text(&format!("document.getElementById('{field}').value")).await.unwrap(), value);
    }
    assert_eq!(tab.eval("document.getElementById('start').getAttribute('aria-invalid')").await.unwrap(), "true");
    tab.fill("#start", "2027-06-28T14:30").await.unwrap();
    tab.fill("#priority", "7").await.unwrap();
    tab.go("main form button").await.unwrap();
    let error = tab.text("document.getElementById('meeting_url-error').innerText").await.unwrap();
    assert!(error.contains("https://"), "{error}");
    tab.fill("#meeting_url", "https://meet.google.com/abc-defg-hij").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("Scheduled. A bot is sent"), "{}", tab.says().await.unwrap());
    assert_eq!(tab.text("document.querySelector('h1').textContent").await.unwrap(), EVIL);
    assert!(!tab.text("document.title").await.unwrap().starts_with("owned"));
    tab.go("[data-key=change]").await.unwrap();
    assert_eq!(
        tab.text("document.getElementById('start').value + document.getElementById('zone').value").await.unwrap(),
        "2027-06-28T12:30UTC"
    );
    tab.fill("#start", "2027-06-28T16:00").await.unwrap();
    tab.fill("#title", "Moved").await.unwrap();
    tab.go("main form button").await.unwrap();
    let says = tab.says().await.unwrap();
    assert!(says.contains("Moved") && says.contains("16:00") && says.contains("by operations"), "{says}");
    tab.go("[data-key=cancel]").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("The meeting was cancelled."));
    assert!(tab.eval("document.querySelector('[data-key=cancel]') === null").await.unwrap() == true);
    assert_eq!(unexpected(&tab), Vec::<String>::new());
}

/// What the console complained about, but for forms that were refused on purpose.
fn unexpected(tab: &Tab) -> Vec<String> {
    tab.complaints().into_iter().filter(|one| !one.contains("the server responded with a status of 4")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_leave_are_sent_again_and_change_places_and_the_page_follows_by_itself() {
    let site = Site::start(Access::Keys).await;
    site.populate().await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "operations", Role::Operator).await;
    tab.open(&site.url("/portal/bots/all-hands")).await.unwrap();
    tab.go("[data-key=priority]").await.unwrap();
    tab.fill("#priority", "4000").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("-1000 to 1000"));
    tab.fill("#priority", "99").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("The priority was changed."));
    // A second tab of the same person sees what the first one does, without a reload and with its focus kept.
    let other = browser.beside(&tab).await.unwrap();
    other.open(&site.url("/portal/bots/weekly-planning")).await.unwrap();
    other.wait("document.getElementById('pulse-text').textContent === 'Live'", SOON).await.unwrap();
    other.eval("window.isOld = true; document.querySelector('[data-key=meeting]').focus(); true").await.unwrap();
    tab.open(&site.url("/portal/bots/weekly-planning")).await.unwrap();
    tab.go("[data-key=leave]").await.unwrap();
    assert!(tab.says().await.unwrap().contains("What it has recorded becomes files"));
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("The bot was asked to leave."));
    other.wait("document.querySelector('main').innerText.includes('Asked to leave')", SOON).await.unwrap();
    assert_eq!(other.eval("window.isOld === true && document.activeElement.dataset.key === 'meeting'").await.unwrap(), true);
    tab.open(&site.url("/portal/bots/lobby")).await.unwrap();
    let says = tab.says().await.unwrap();
    assert!(
        says.contains("Nobody admitted the bot") && says.contains("The meeting's host") && says.contains("Ask the host to admit"),
        "{says}"
    );
    tab.go("[data-key=retry]").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("Another bot is on its way."));
    assert_eq!(unexpected(&tab), Vec::<String>::new());
    assert_eq!(unexpected(&other), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_at_once_one_wins_and_the_other_is_told_who() {
    let site = Site::start(Access::Keys).await;
    site.meeting("both", json!({"title": "Contested", "start_time": ago(-7_200)})).await;
    let browser = site.browser();
    let (first, second) = (
        site.signed_in(&browser, "first-desk", Role::Operator).await,
        site.signed_in(&browser, "second-desk", Role::Operator).await,
    );
    for tab in [&first, &second] {
        tab.open(&site.url("/portal/meetings/both/change")).await.unwrap();
    }
    first.fill("#title", "First").await.unwrap();
    first.go("main form button").await.unwrap();
    second.fill("#title", "Second").await.unwrap();
    second.go("main form button").await.unwrap();
    let says = second.says().await.unwrap();
    assert!(says.contains("Somebody was faster") && says.contains("first-desk"), "{says}");
    second.go("main a.button").await.unwrap();
    assert_eq!(second.text("document.querySelector('h1').textContent").await.unwrap(), "First");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_added_tested_rotated_and_deleted_without_any_script() {
    let site = Site::start(Access::Keys).await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "operations", Role::Admin).await;
    tab.open(&site.url("/portal/webhooks")).await.unwrap();
    tab.fill("#url", "http://127.0.0.1/").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(!tab.text("document.getElementById('url-error').innerText").await.unwrap().is_empty());
    tab.fill("#url", "https://hooks.example.com/x").await.unwrap();
    tab.eval("document.querySelector('[name=\"type:bot.done\"]').checked = true").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.text("document.getElementById('secret').innerText").await.unwrap().starts_with("whsec_"));
    tab.go("main a.button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("Bot done"), "{}", tab.says().await.unwrap());
    tab.go("form[action$='/test'] button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("Webhook test"), "{}", tab.says().await.unwrap());
    tab.go("a[href$='/rotate']").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.text("document.getElementById('secret').innerText").await.unwrap().starts_with("whsec_"));
    tab.go("main a.button").await.unwrap();
    tab.go("a[href$='/delete']").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("Deleted."));
    tab.open(&site.url("/portal/audit")).await.unwrap();
    let says = tab.says().await.unwrap();
    for action in ["Webhook create", "Webhook test", "Webhook rotate", "Webhook delete"] {
        assert!(says.contains(action), "{action}: {says}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_shown_once_and_revoked_and_its_sessions_end() {
    let site = Site::start(Access::Keys).await;
    let browser = site.browser();
    let tab = site.signed_in(&browser, "operations", Role::Admin).await;
    tab.open(&site.url("/portal/keys")).await.unwrap();
    tab.fill("#name", "night shift").await.unwrap();
    tab.fill("#days", "9000").await.unwrap();
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("1 to 3650"), "{}", tab.says().await.unwrap());
    tab.fill("#days", "30").await.unwrap();
    tab.go("main form button").await.unwrap();
    let key = tab.text("document.getElementById('secret').innerText").await.unwrap();
    assert!(key.starts_with("mbk_"), "{}", tab.says().await.unwrap());
    let other = browser.tab().await.unwrap();
    other.open(&site.url("/portal/bots")).await.unwrap();
    other.fill("#key", &key).await.unwrap();
    other.go("main button").await.unwrap();
    assert_eq!(other.text("location.pathname").await.unwrap(), "/portal/bots");
    tab.open(&site.url("/portal/keys")).await.unwrap();
    assert!(!tab.says().await.unwrap().contains(key.rsplit('_').next().unwrap()));
    tab.go("tbody tr:first-child a[href$='/revoke']").await.unwrap();
    assert!(tab.says().await.unwrap().contains("night shift"), "{}", tab.says().await.unwrap());
    tab.go("main form button").await.unwrap();
    assert!(tab.says().await.unwrap().contains("The key was revoked."));
    other.wait("location.pathname === '/portal/sign-in'", SOON * 2).await.unwrap();
    assert!(other.says().await.unwrap().contains("expired or was revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_s_limits_are_listed_set_after_a_question_and_of_two_admins_the_second_is_told() {
    let site = Site::start(Access::Keys).await;
    site.populate().await;
    let browser = site.browser();
    let (first, second, reader) = (
        site.signed_in(&browser, "first-desk", Role::Admin).await,
        site.signed_in(&browser, "second-desk", Role::Admin).await,
        site.signed_in(&browser, "reader", Role::Operator).await,
    );
    // Nobody has set any: both open the form of the same organization.
    for tab in [&first, &second] {
        tab.go("nav a[href='/portal/limits']").await.unwrap();
        assert!(tab.says().await.unwrap().contains("acme"), "{}", tab.says().await.unwrap());
        tab.go("a[href='/portal/limits/acme']").await.unwrap();
    }
    first.fill("#max_active_bots", "many").await.unwrap();
    first.fill("#time_zone", "Mars").await.unwrap();
    first.go("main form button").await.unwrap();
    let says = first.says().await.unwrap();
    assert!(says.contains("whole number") && says.contains("name of the list"), "{says}");
    assert_eq!(first.text("document.getElementById('max_active_bots').value").await.unwrap(), "many");
    first.fill("#max_active_bots", "9000").await.unwrap();
    first.fill("#max_bots_per_day", "40").await.unwrap();
    first.fill("#time_zone", "Europe/Zurich").await.unwrap();
    first.go("main form button").await.unwrap();
    // What only the API judges comes back to its field, too.
    first.go("main form button").await.unwrap();
    assert!(first.text("document.getElementById('max_active_bots-error').innerText").await.unwrap().contains("0 to"));
    first.fill("#max_active_bots", "0").await.unwrap();
    first.go("main form button").await.unwrap();
    let says = first.says().await.unwrap();
    assert!(says.contains("No bot is sent for this organization any more") && says.contains("any number at once"), "{says}");
    first.go("main a.button").await.unwrap();
    assert!(!first.says().await.unwrap().contains("first-desk"), "looking at the question changes nothing");
    first.go("a[href='/portal/limits/acme']").await.unwrap();
    first.fill("#max_active_bots", "5").await.unwrap();
    first.fill("#max_bots_per_day", "40").await.unwrap();
    first.fill("#time_zone", "Europe/Zurich").await.unwrap();
    first.go("main form button").await.unwrap();
    assert!(first.says().await.unwrap().contains("5 at once, 40 a day (Europe/Zurich)"), "{}", first.says().await.unwrap());
    first.go("main form button").await.unwrap();
    let says = first.says().await.unwrap();
    assert!(says.contains("The limits were set.") && says.contains("of 40") && says.contains("by first-desk"), "{says}");

    second.fill("#max_active_bots", "7").await.unwrap();
    second.go("main form button").await.unwrap();
    second.go("main form button").await.unwrap();
    let says = second.says().await.unwrap();
    assert!(says.contains("Somebody was faster") && says.contains("first-desk"), "{says}");
    second.go("main a.button").await.unwrap();
    assert_eq!(second.text("document.getElementById('max_active_bots').value").await.unwrap(), "5");

    // The way back is asked for, too, and is no longer there for who was not the first.
    for tab in [&first, &second] {
        tab.open(&site.url("/portal/limits/acme")).await.unwrap();
        tab.go("[data-key=default]").await.unwrap();
        let says = tab.says().await.unwrap();
        assert!(
            says.contains("5 at once, 40 a day (Europe/Zurich)") && says.contains("any number at once, any number a day"),
            "{says}"
        );
    }
    first.go("main form button").await.unwrap();
    let says = first.says().await.unwrap();
    assert!(says.contains("no limits of its own any more") && !says.contains("first-desk"), "{says}");
    second.go("main form button").await.unwrap();
    assert!(second.says().await.unwrap().contains("Somebody was faster"), "{}", second.says().await.unwrap());
    second.go("main a.button").await.unwrap();
    assert_eq!(second.eval("document.querySelector('[data-key=default]') === null").await.unwrap(), true);
    second.fill("#time_zone", "Europe/Zurich").await.unwrap();
    second.go("main form button").await.unwrap();
    second.go("main form button").await.unwrap();
    assert!(second.says().await.unwrap().contains("by second-desk"), "{}", second.says().await.unwrap());

    // Who may not set them sees them, and neither button nor form.
    reader.open(&site.url("/portal/limits")).await.unwrap();
    assert!(reader.says().await.unwrap().contains("Europe/Zurich"));
    assert_eq!(reader.eval("document.querySelectorAll('main a[href], main form').length").await.unwrap(), 0);
    reader.open(&site.url("/portal/limits/acme")).await.unwrap();
    assert!(reader.says().await.unwrap().contains("needs the role admin"));

    // One that has no bots is reached by its name, whatever is in it.
    first.fill("#organization", EVIL).await.unwrap();
    first.go("main form button").await.unwrap();
    assert_eq!(first.text("document.querySelector('h1').textContent").await.unwrap(), format!("Limits of {EVIL}"));
    first.fill("#max_bots_per_day", "1").await.unwrap();
    first.go("main form button").await.unwrap();
    first.go("main form button").await.unwrap();
    assert!(first.says().await.unwrap().contains("<img src=x"), "{}", first.says().await.unwrap());
    first.open(&site.url("/portal/audit")).await.unwrap();
    let count =
        "[...document.querySelectorAll('tbody tr')].filter((row) => row.innerText.includes('Organization limits')).length";
    assert_eq!(first.eval(count).await.unwrap(), 4, "set three times, and taken back once");
    assert_eq!(unexpected(&first), Vec::<String>::new());
}
